"""Normalisation by batch, group, row and neighbouring channels, forward and gradients."""
