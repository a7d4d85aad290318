"""Functions of single numbers, and of two arrays number by number."""
