"""Where a fit starts: the direct disc, and what a network says."""
