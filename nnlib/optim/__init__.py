"""Optimisers, the learning rate's course and the clipping of gradients, one file each."""
