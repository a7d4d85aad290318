"""Copies, orders of axes, resizing, and rows picked by number."""
