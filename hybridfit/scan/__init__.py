"""4D-STEM scans: maps of thickness and tilt, position by position, block by block.

source (positions of a scan file) → network, in batches → workers (search and refinement)
→ blocks on disk → neighbours mend what is poor → one dataset
"""
