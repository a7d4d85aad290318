"""Convolutions: the plans, the tuner that chooses among them, and those plans that need no room of their own."""
