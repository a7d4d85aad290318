"""Sums along axes, and pooling."""
