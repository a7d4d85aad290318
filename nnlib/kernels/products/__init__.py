"""Matrix products on the mesh."""
