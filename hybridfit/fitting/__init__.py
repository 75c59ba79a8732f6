"""From a frame to an answer: rough geometry, search, refinement, result."""
