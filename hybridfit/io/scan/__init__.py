"""4D-STEM scans: one module a format."""
