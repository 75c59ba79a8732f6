"""Readers of PNG, JPEG and TIFF: a path in, the frames of the open file out. Colour becomes grey."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.settings import READING
from hybridfit.io.stack import Stack, check_frame, check_piece, joined, short_by, stack_of

_MOST_PER_BYTE = 1032  # bytes that zlib packs into one


@contextmanager
def read_pillow(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> Iterator[Stack]:
    """Frames of a picture that Pillow decodes."""
    from PIL import Image

    def read(i: int) -> np.ndarray:
        with _no_warnings():
            image.seek(i)
            check_frame(path, image.size[::-1])
            if image.mode in ("P", "PA"):
                return _by_palette(path, image)
            plain = image.mode in ("L", "F", "I", "LA", "RGB", "RGBA") or image.mode.startswith("I;16")
            page = np.asarray(image if plain else image.convert("RGBA"))  # 1 bit, CMYK ...
        return _grey(path, page) if page.ndim == 3 else page

    with contextlib.ExitStack() as stack:
        with _no_warnings():  # that the picture is large, which `check_frame` refuses, or has damaged tags
            image = stack.enter_context(Image.open(path, formats=formats))
            check_frame(path, image.size[::-1])
            count = getattr(image, "n_frames", 1) if "TIFF" in formats else 1
        yield Stack(count, read)


@contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def read_tiff(path: Path) -> Iterator[Stack]:
    """Frames of a TIFF, without thumbnails: all series of pages in order."""
    import tifffile

    with complaints_of("tifffile") as complaints, tifffile.TiffFile(path) as tiff:
        series, note = data_series(tiff)
        plain = (1, 8, 32946)  # uncompressed, deflate
        if all(s.keyframe.compression in plain and s.keyframe.photometric != 3 for s in series):
            stack = joined([_series(path, tiff, s) for s in series]) if series else Stack(0, _nothing)
            if any("invalid page offset" in text for text in complaints):
                cut = InputError(f"{path} is truncated: pages are missing from it; copy it again")
                stack = Stack(stack.count, stack.read, cut)
            yield replace(stack, note=note)
            return
    with read_pillow(path, ("TIFF",)) as stack:  # LZW, JPEG, palettes: tifffile alone has no decoder
        yield stack


def data_series(tiff: Any) -> tuple[list[Any], str]:
    """The series of a TIFF that hold what was recorded, and a line on what is left out.

    Thumbnails are left out, and pictures of 8 bits, with a scale bar for one, of the data of more bits behind
    them, as JEOL writes them.
    """
    series = [s for s in tiff.series if not s.keyframe.is_reduced]
    deep = [s for s in series if s.dtype.itemsize > 1]
    shown = [s for s in series if s.dtype.itemsize == 1 and math.prod(s.shape) <= 4 * math.prod(s.shape[-2:])]
    if not deep or not shown or len(deep) + len(shown) < len(series):
        return series, ""
    return deep, f"8-bit picture left out for the data of {8 * deep[0].dtype.itemsize} bits behind it"


def _nothing(i: int) -> np.ndarray:
    raise IndexError(i)


@contextmanager
def complaints_of(name: str) -> Iterator[list[str]]:
    """What a library logs, which says nothing on the terminal meanwhile.

    tifffile only logs a broken chain of pages, and reads on.
    """
    log, complaints = logging.getLogger(name), []

    def note(record: logging.LogRecord) -> bool:
        complaints.append(record.getMessage())
        return False

    log.addFilter(note)
    try:
        yield complaints
    finally:
        log.removeFilter(note)


def _series(path: Path, tiff: Any, series: Any) -> Stack:
    """The frames of a series. Colour planes one after the other are a stack of three.

    tifffile has written stacks of three as colour.
    """
    colour = series.axes.endswith("S")
    shape = series.shape[:-1] if colour else series.shape
    frame = series.shape[len(shape[:-2]) :]
    each = math.prod(shape[:-2])

    def read(i: int) -> np.ndarray:
        if series.dataoffset is not None:
            dtype = series.dtype.newbyteorder(tiff.byteorder)
            size = math.prod(frame)
            at = series.dataoffset + i * size * dtype.itemsize
            _check_end(path, at + size * dtype.itemsize)
            array = np.fromfile(path, dtype, size, offset=at).reshape(frame)
        elif len(series.pages) == each:
            array = read_page(path, series.pages[i])
        else:  # colour planes of a page, or volumes
            pages = len(series.pages)
            page = read_page(path, series.pages[i * pages // each])
            array = page.reshape(-1, *frame)[i % (each // pages)]
        return _grey(path, array) if colour else array

    return stack_of(path, shape, read)


def read_page(path: Path, page: Any) -> np.ndarray:
    """The array of a page, where the file holds all of it and no piece is larger than it should be."""
    if page is None:
        raise InputError(f"{path} is truncated: pages are missing from it; copy it again")
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    _check_end(path, max((at + size for at, size in places), default=0))
    check_piece(path, page.keyframe.nbytes)
    if page.keyframe.compression != 1:
        for at, size in places:
            if size * _MOST_PER_BYTE > READING.chunk_bytes_at_most:
                _check_inflated(path, at, size)
    array: np.ndarray = page.asarray()
    return array


def _check_end(path: Path, needed: int) -> None:
    held = path.stat().st_size
    if held < needed:
        raise short_by(path, held, needed)


def _check_inflated(path: Path, at: int, size: int) -> None:
    """Raise an InputError where a deflated piece makes too many bytes: tifffile would make them all."""
    inflate, total = zlib.decompressobj(), 0
    with path.open("rb") as file:
        file.seek(at)
        while size > 0 and not inflate.eof:
            left = file.read(min(size, 2**14))
            size -= max(len(left), 1)
            while left and not inflate.eof:
                total += len(inflate.decompress(left, 2**20))
                left = inflate.unconsumed_tail
                check_piece(path, total)


def _grey(path: Path, colour: np.ndarray) -> np.ndarray:
    """Channels last to one channel: the first if they agree, else luminance (BT.601); alpha is dropped.

    Channels must be multiples of one another, as those of a tinted picture are. A few pixels in colour, such
    as a scale bar, become NaN.

    Raises
    ------
    InputError
        If the picture is in colours, which are no intensities.
    """
    first = colour[..., 0]
    if colour.shape[-1] < 3 or all(np.array_equal(first, colour[..., i]) for i in (1, 2)):
        return first
    channels = colour[..., :3].astype(np.float64)
    luminance: np.ndarray = channels @ np.array([0.299, 0.587, 0.114])
    power = float((luminance**2).sum()) or 1.0
    tint = np.einsum("ijk,ij->k", channels, luminance) / power
    off = np.abs(channels - tint * luminance[..., None]).max(axis=-1)
    strange = off > READING.colour * float(np.ptp(channels))
    if strange.mean() > READING.coloured_at_most:
        raise _in_colours(path)
    rounded = np.rint(luminance).astype(colour.dtype) if colour.dtype.kind in "ui" else luminance
    return np.where(strange, np.nan, rounded) if strange.any() else rounded


def _by_palette(path: Path, image: Any) -> np.ndarray:
    """What a palette image holds: its indices, where a whole grey ramp shows them; else its greys.

    A ramp of 256 greys, brighter or darker with every index, is how indices are displayed. A shorter palette
    of greys is how a grey picture is packed.

    Raises
    ------
    InputError
        If the palette has colours.
    """
    indices = np.asarray(image if image.mode == "P" else image.convert("P"))
    palette = np.array(image.getpalette("RGB"), int).reshape(-1, 3)
    if int(indices.max(initial=0)) >= len(palette):
        raise InputError(f"{path} has indices that its palette does not have; it is damaged, save it again")
    if np.ptp(palette[np.unique(indices)], axis=1).max() > 0:
        raise _in_colours(path)
    steps = np.diff(palette[:, 0])
    if (
        len(palette) == 256
        and np.ptp(palette, axis=1).max() == 0
        and ((steps > 0).all() or (steps < 0).all())
    ):
        return indices
    greys: np.ndarray = palette[:, 0].astype("u1")[indices]
    return greys


def _in_colours(path: Path) -> InputError:
    return InputError(
        f"{path} is a picture in colours, and they are no intensities: save the frame as it was recorded, "
        "in grey, without a colour map"
    )
