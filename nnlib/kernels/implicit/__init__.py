"""Implicit GEMM: convolutions as products over tiles of images, batch-size-aware and image-size-aware."""
