"""A CPE's two in-order pipes: instruction lists run on a scoreboard, and what the inner loops of kernels cost."""
