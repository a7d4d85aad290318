"""Recurrent layers, row convolution and CTC."""
