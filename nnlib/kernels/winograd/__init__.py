"""Winograd's minimal filtering, F(2 x 2, 3 x 3)."""
