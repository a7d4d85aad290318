"""Jobs: what a machine does for a workload under a mapping, and how long it takes."""
