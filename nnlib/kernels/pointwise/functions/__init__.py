"""The functions of element-wise kernels by group: names of arrays, instructions and numbers."""
