"""How swCaffe ran layers: convolutions over column matrices in Caffe's order, and what stayed on the MPE."""
