"""Master files of Dectris cameras (EIGER, ARINA, QUADRO): frames in linked files, pixel mask, flat field.

A master links to `entry/data/data_000001`, `data_000002` … in files of their own. Its pixel mask is 0 where a
pixel is good; bits tell gaps, dead, and noisy pixels. The flat field are factors that counts are multiplied
with, unless the camera has done so itself: `flatfield_correction_applied`.

Sources: Dectris, header documentation of NeXus files (names); yamtbx, `eiger_apply_flatfield_correction.py`,
which multiplies the counts of EIGER files with it. NeXus (NXdetector, NXmx) leaves open how it is applied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridfit.defects import no_data

_PART = re.compile(r"(^|.*/)data_\d{6}$")
_DETECTOR = ("entry/instrument/detector/detectorSpecific/", "entry/instrument/detector/")
_APPLIED = ("flatfield_correction_applied", "flatfield_applied")


@dataclass(frozen=True, eq=False)
class Master:
    """What a master file says.

    Attributes
    ----------
    parts : tuple of str
        The datasets that hold the frames, in order.
    mask : ndarray of bool, (rows, cols), or None
        True = the pixel measures nothing.
    flat : ndarray of float32, (rows, cols), or None
        Factors of the counts that are still to be applied.
    """

    parts: tuple[str, ...]
    mask: np.ndarray | None = None
    flat: np.ndarray | None = None

    @property
    def note(self) -> str:
        """What changes the frames, in a few words."""
        masked = "" if self.mask is None else f"{np.count_nonzero(self.mask)} px masked by the file"
        return ", ".join(
            filter(None, [masked, "" if self.flat is None else "flat field of the file applied"])
        )

    def corrected(self, frames: np.ndarray) -> np.ndarray:
        """Frames times the flat field; pixels that mean no measurement become NaN."""
        if self.flat is None:
            return frames
        missing = frames == np.iinfo(frames.dtype).max if frames.dtype.kind == "u" else no_data(frames)
        out: np.ndarray = frames * self.flat
        if missing is not None:
            out[missing] = np.nan
        return out


def master_of(variables: Mapping[str, Any]) -> Master | None:
    """What the file is as a master; None for one of another kind. Called under the lock of HDF5."""
    stacks = {name: v for name, v in variables.items() if v.ndim == 3 and _PART.match(name)}
    if len({v.shape[1:] for v in stacks.values()}) != 1:  # there are none, or others
        return None
    shape = next(iter(stacks.values())).shape[1:]
    mask, flat = (_image(variables, name, shape) for name in ("pixel_mask", "flatfield"))
    if any(bool(_value(variables, name)) for name in _APPLIED):
        flat = None
    return Master(
        tuple(sorted(stacks)),
        mask != 0 if mask is not None and mask.any() else None,
        flat.astype("f4") if flat is not None and (flat != 1).any() else None,
    )


def _image(variables: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """An image of the detector, where the file has one of the size of its frames."""
    values = _value(variables, name)
    return values if values is not None and values.shape == shape and values.dtype.kind in "uif" else None


def _value(variables: Mapping[str, Any], name: str) -> np.ndarray | None:
    for folder in _DETECTOR:
        variable = variables.get(folder + name)
        if variable is not None:
            variable.set_auto_mask(False)
            return np.asarray(variable[...])
    return None
