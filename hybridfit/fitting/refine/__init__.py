"""Least squares from a seed, with honest errors."""
