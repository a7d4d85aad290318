"""Losses: what a network's outputs are measured by, one file per family."""
