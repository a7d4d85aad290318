"""Attention whose scores never leave the LDM, forward and gradients."""
