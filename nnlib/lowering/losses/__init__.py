"""Losses lowered, one file for each of :mod:`nnlib.losses`."""
