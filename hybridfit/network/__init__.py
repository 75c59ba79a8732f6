"""Networks: thickness, tilt and alignment of a pattern in milliseconds."""
