"""Reading frames and scans, and writing files. Only this package knows file formats.

A frame is an array of rows by columns, row 0 at the top, and a map of the pixels that can be trusted. Arrays
are taken as they are stored, never flipped or transposed; a three-dimensional array is a stack, frame first.
A scan is an array of rows by columns of such frames, and is read a block at a time.
"""

from hybridfit.io.frames import BadFrame, FrameFile, open_frames, read_frames, read_mask
from hybridfit.io.scan.file import ScanFile
from hybridfit.io.scan.opening import open_scan
from hybridfit.io.writing import atomic_path, check_replaceable, write_json_atomic, write_tiff_atomic

__all__ = [
    "BadFrame",
    "FrameFile",
    "ScanFile",
    "atomic_path",
    "check_replaceable",
    "open_frames",
    "open_scan",
    "read_frames",
    "read_mask",
    "write_json_atomic",
    "write_tiff_atomic",
]
