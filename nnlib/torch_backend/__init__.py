"""The numerics of networks by PyTorch instead of NumPy; imported only by who asks for it."""
