"""Programs of high-performance computing that are no neural networks, on the same machine and its network."""
