"""How large a file's content may be: sizes are worked out from headers before any memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class ReaderSettings:
    """Bounds of what is read.

    Attributes
    ----------
    frame_pixels_at_most : int
        Pixels of one frame.
    chunk_bytes_at_most : int
        Bytes of one compressed piece of a file once it is decoded. A piece is decoded as a whole, however
        few of its frames are wanted.
    positions_at_most : int
        Frames of a stack, and positions of a scan.
    stack_per_stored_at_most, scan_per_stored_at_most : float
        Bytes that a stack or a scan declares over the bytes that the file stores of it.
    objects_at_most, depth_at_most : int
        Groups and datasets of an HDF5 file, and groups inside each other.
    open_seconds_at_most, open_bytes_at_most : float, int
        Processor time (s) and memory (bytes) for opening a file and reading its header.
    """

    frame_pixels_at_most: int = threshold(
        25_000_000,
        "px",
        "the largest camera frames in use have 5760 × 4092 px; twice as many need more than 2 GB",
        "benchmarks.fuzz_readers",
    )
    chunk_bytes_at_most: int = threshold(
        2**29, "bytes", "a larger piece and its copies need more than 2 GB", "benchmarks.fuzz_readers"
    )
    positions_at_most: int = threshold(
        2**24,
        "positions",
        "a scan of 4096 × 4096 positions takes five hours to fit at 1 ms a position",
        "design",
    )
    stack_per_stored_at_most: float = threshold(
        2000.0,
        "bytes per byte",
        "gzip packs at most 1032 bytes into one; above this most frames were not written",
        "design",
    )
    scan_per_stored_at_most: float = threshold(
        1e7,
        "bytes per byte",
        "a scan that was stopped early holds few of its positions, but not nearly none",
        "design",
    )
    objects_at_most: int = threshold(
        50_000,
        "objects",
        "opening a file takes 0.1 ms for each; links that go in circles never end",
        "design",
    )
    depth_at_most: int = threshold(
        50, "levels", "no program nests groups so deeply; links that go in circles do", "design"
    )
    open_seconds_at_most: float = threshold(
        5.0, "s", "processor time in which a header is read; the largest take a tenth of it", "design"
    )
    open_bytes_at_most: int = threshold(
        2**30, "bytes", "memory in which a header is read; the largest take a tenth of it", "design"
    )
    colour: float = threshold(
        0.08,
        "of the range",
        "a pixel whose channels are off those of a tint by more is coloured; JPEG is off by 0.03",
        "design",
    )
    coloured_at_most: float = threshold(
        0.05, "of a picture", "scale bars and text in colour are less, colour maps more", "design"
    )


READING = ReaderSettings()
