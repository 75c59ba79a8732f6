"""The simulation library: what it holds, how it is built, kept and opened."""
