"""The network that measures the rim of a direct disc that is nearly known, and says whether it is there."""
