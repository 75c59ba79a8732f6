"""A library and network for a new crystal: numbers by convergence, and a try-out."""
