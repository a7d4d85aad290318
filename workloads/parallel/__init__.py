"""Parallel strategies: how the work of one training step is divided among ranks, by numbers and by time."""
