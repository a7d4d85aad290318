"""Kernels over sparse matrices."""
