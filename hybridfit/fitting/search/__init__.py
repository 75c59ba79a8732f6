"""The search: library points and cameras, paired and ranked by χ²."""
