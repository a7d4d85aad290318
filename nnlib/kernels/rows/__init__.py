"""Softmax and losses along rows."""
