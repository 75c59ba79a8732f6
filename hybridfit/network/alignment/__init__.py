"""The network that finds the direct disc of any crystal: its centre and its size, and how sure it is."""
