"""EMPAD: files without a header. A frame is 130 × 128 float32, and its last two rows are no pixels.

The shape of the scan stands in the file's name, as in scan_x256_y128.raw, or in the .xml beside it.
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
    """Frames of 128 × 128 px. A `scan_shape` that is given replaces what the name and the .xml say."""
    scan = scan_shape or _named(path.name) or _described(path)
    count = max(path.stat().st_size // FRAME, 1)
    shape = (count, SIDE, SIDE) if scan is None else (*scan, SIDE, SIDE)
    if scan is not None and count > scan[0] * scan[1]:
        raise InputError(
            f"{path} holds {count} EMPAD frames; a scan of {scan[0]} × {scan[1]} positions has "
            f"{scan[0] * scan[1]}: give scan_shape, or shape and dtype if it is not from an EMPAD"
        )
    return binary_source(path, "EMPAD", shape, DTYPE, 0, footer=FRAME - SIDE * SIDE * 4)


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
