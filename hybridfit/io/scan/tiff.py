"""Scans in TIFF: the pages are the frames, in one piece or one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.pictures import complaints_of, data_series, read_page
from hybridfit.io.scan.binary import BinarySource, binary_source
from hybridfit.io.scan.source import Block, Layout, Read, check_numbers, frame_by_frame, split_shape


@dataclass(frozen=True)
class TiffSource:
    """Pages that are compressed or scattered; they are found through the chain of pages."""

    path: Path
    layout: Layout

    def open(self) -> Read:
        import tifffile

        def get(block: Block) -> np.ndarray:
            numbers = np.arange(np.prod(self.layout.stored)).reshape(self.layout.stored)[block]
            with complaints_of("tifffile"), tifffile.TiffFile(self.path) as tiff:
                series: Any = data_series(tiff)[0][0]
                pages = [read_page(self.path, series.pages[i]) for i in numbers.ravel()]
            return np.reshape(pages, (*numbers.shape, *self.layout.frame_shape))

        return lambda block: frame_by_frame(get, block, self.layout)


def tiff_source(path: Path) -> TiffSource | BinarySource:
    """The first series of a TIFF: what its makers stored as one array.

    Raises
    ------
    InputError
        If its pages are colour, or a compression needs more than tifffile.
    """
    import tifffile

    with complaints_of("tifffile"), tifffile.TiffFile(path) as tiff:
        series: Any = data_series(tiff)[0][0]
        page = series.keyframe
        if page.samplesperpixel != 1 or page.photometric == 3:
            raise InputError(
                f"{path} is a colour TIFF; save the frames as they were recorded, in one channel"
            )
        if series.dataoffset is not None:
            dtype = page.dtype.newbyteorder(tiff.byteorder)
            return binary_source(path, "TIFF", series.shape, dtype, series.dataoffset)
        stored, frame_shape = split_shape(path, series.shape)
        if page.shape != frame_shape:
            raise InputError(
                f"{path} has pages of {page.shape} in a series of {series.shape}; save one a frame"
            )
        read_page(path, page)  # raises for a compression that needs another package
        check_numbers(path, page.dtype)
        return TiffSource(path, Layout("TIFF", stored, frame_shape, page.dtype.newbyteorder("=")))
