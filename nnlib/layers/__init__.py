"""Layers: shape rules and numerics, one file per family."""
