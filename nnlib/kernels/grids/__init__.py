"""Kernels over grids of points, each of which looks at its neighbours."""
