"""Models of other programs against those programs."""
