"""EMPAD: files without a header. A frame is 130 × 128 float32, and its last two rows are no pixels.

The shape of the scan stands in the file's name, as in scan_x256_y128.raw, or in the .xml beside it. Programs
also save the 128 × 128 pixels alone under such a name; the size of the file tells.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.scan.binary import BinarySource, binary_source

SIDE, ROWS = 128, 130
DTYPE = np.dtype("<f4")
FRAME = ROWS * SIDE * DTYPE.itemsize  # bytes
CROPPED = SIDE * SIDE * DTYPE.itemsize  # without the last two rows


def is_empad(path: Path) -> bool:
    """True for a .raw file of whole EMPAD frames, and for one that is named as EMPAD names them."""
    if path.suffix.lower() != ".raw":
        return False
    whole = path.stat().st_size % FRAME == 0
    return whole or _named(path.name) is not None or path.with_suffix(".xml").is_file()


def empad_raw(xml: Path) -> Path:
    """The .raw file that an EMPAD .xml names."""
    root = _parsed(xml)
    element = None if root is None else root.find(".//raw_file")
    name = "" if element is None else element.get("filename") or element.findtext("filename") or ""
    path = xml.with_name(Path(name.replace("\\", "/")).name) if name else xml.with_suffix(".raw")
    if not path.is_file():
        raise InputError(f"{xml}: there is no {path.name} beside it; an EMPAD scan is a .raw and its .xml")
    return path


def empad_source(path: Path, scan_shape: tuple[int, int] | None) -> BinarySource:
    """Frames of 128 × 128 px. A `scan_shape` that is given replaces what the name and the .xml say.

    Raises
    ------
    InputError
        If name and .xml contradict each other and the size of the file decides for neither, or the file holds
        more frames than the scan has positions.
    """
    size = path.stat().st_size
    told = [scan_shape] if scan_shape else [scan for scan in (_named(path.name), _described(path)) if scan]
    sized = [
        (scan, frame) for scan in told for frame in (FRAME, CROPPED) if scan[0] * scan[1] * frame == size
    ]
    if not sized and len(set(told)) > 1:
        raise InputError(
            f"{path}: the scan is {_words(told[0])} by its name and {_words(told[1])} by the .xml, and the "
            "size of the file goes with neither: give scan_shape"
        )
    scan, frame = sized[0] if sized else (told[0] if told else None, FRAME)
    count = max(size // frame, 1)
    if scan is not None and count > scan[0] * scan[1]:
        raise InputError(
            f"{path} holds {count} EMPAD frames; a scan of {_words(scan)} positions has "
            f"{scan[0] * scan[1]}: give scan_shape, or shape and dtype if it is not from an EMPAD"
        )
    shape = (count, SIDE, SIDE) if scan is None else (*scan, SIDE, SIDE)
    kind = "EMPAD" if frame == FRAME else "EMPAD, cropped to 128 × 128 px"
    return binary_source(path, kind, shape, DTYPE, 0, footer=frame - CROPPED)


def _words(scan: tuple[int, int]) -> str:
    return f"{scan[0]} × {scan[1]}"


def _named(name: str) -> tuple[int, int] | None:
    """Rows and columns of the scan in a name such as scan_x256_y128.raw."""
    found = re.search(r"x(\d+)_y(\d+)", name, re.IGNORECASE)
    if found is None or 0 in (int(found[1]), int(found[2])):
        return None
    return int(found[2]), int(found[1])


def _described(path: Path) -> tuple[int, int] | None:
    """Rows and columns of the scan by the .xml beside the file."""
    root = _parsed(path.with_suffix(".xml"))
    if root is None:
        return None
    try:
        columns, rows = (int(root.findtext(f".//pix_{axis}") or 0) for axis in "xy")
    except ValueError:
        return None
    if rows > 0 and columns > 0:
        return rows, columns
    element = root.find(".//raw_file")
    return None if element is None else _named(element.get("filename") or "")


def _parsed(xml: Path) -> ElementTree.Element | None:
    try:
        return ElementTree.parse(xml).getroot()
    except (OSError, ElementTree.ParseError):
        return None
