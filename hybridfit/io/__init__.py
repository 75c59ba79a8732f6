"""Frames in, files out: the only package that knows file formats.

A frame is an array of rows by columns, row 0 at the top, and a map of the pixels that can be trusted. Arrays
are taken as they are stored, never flipped or transposed; a three-dimensional array is a stack, frame first.
"""

from hybridfit.io.reading import read_frames, read_mask
from hybridfit.io.writing import atomic_path, write_json_atomic, write_tiff_atomic

__all__ = ["atomic_path", "read_frames", "read_mask", "write_json_atomic", "write_tiff_atomic"]
