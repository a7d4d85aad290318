"""Predictions of programs that are no networks: Linpack, conjugate gradients, a climate step with what answers it."""
