"""Masks of an annulus: its pixels are set to their mean, or left out (Xu & LeBeau 2018, band-pass mask).

    inner ≤ |pixel − centre|/scale < outer

Set to its mean, the annulus still says how bright it is. Left out, it says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.frame import Frame, make_frame

HOW = ("mean", "exclude")


def mask_annulus(
    frame: Frame | ArrayLike,
    centre: tuple[float, float],
    inner: float,
    outer: float,
    *,
    scale: float,
    how: str = "mean",
) -> Frame:
    """Remove the features of an annulus from a frame.

    Parameters
    ----------
    frame : Frame or (rows, cols) array
    centre : (col, row), px
        Of the direct disc.
    inner, outer : float, mrad
        Radii of the annulus; with inner = 0 it is a disc.
    scale : float, px/mrad
    how : str
        "mean": its valid pixels are set to their mean, so that the total stays.
        "exclude": its pixels become invalid, so that network and fit leave them out.

    Returns
    -------
    Frame
        A copy that differs within the annulus only.

    Raises
    ------
    InputError
        The radii bound no annulus, or the annulus holds none or all of the valid pixels.
    """
    frame = frame if isinstance(frame, Frame) else make_frame(frame)
    check_how(how)
    check_annulus(inner, outer)
    if not (np.isfinite([*centre, scale]).all() and scale > 0):
        raise InputError(
            f"centre {centre} px and scale {scale:g} px/mrad are no camera; give those of a fit of the frame"
        )
    inside = frame.valid & in_annulus(frame.image.shape, centre, inner, outer, scale)
    if not inside.any():
        reach = float(
            np.hypot(*(max(c, n - 1 - c) for c, n in zip(centre, frame.image.T.shape, strict=True)))
        )
        raise InputError(
            f"the annulus {inner:g}–{outer:g} mrad holds no valid pixel of {frame.source}, "
            f"which reaches to {reach / scale:.3g} mrad; radii are in mrad, not px"
        )
    if how == "exclude":
        if inside.sum() == frame.valid.sum():
            raise InputError(
                f"without the annulus {inner:g}–{outer:g} mrad no pixel of {frame.source} is left; "
                "take a narrower one"
            )
        return Frame(frame.image, frame.valid & ~inside, frame.source)
    image = frame.image.copy()
    image[inside] = image[inside].mean()
    return Frame(image, frame.valid, frame.source)


def in_annulus(
    shape: tuple[int, ...], centre: tuple[float, float], inner: float, outer: float, scale: float
) -> NDArray[np.bool_]:
    """Which pixels of a frame of this shape lie in an annulus: px, mrad, px/mrad."""
    row, col = np.indices(shape)
    radius = np.hypot(col - centre[0], row - centre[1]) / scale
    inside: NDArray[np.bool_] = (radius >= inner) & (radius < outer)
    return inside


def check_how(how: str) -> None:
    """Raise an InputError for a way of masking that there is not."""
    if how not in HOW:
        raise InputError(f"unknown way of masking {how!r}; the ways are {', '.join(HOW)}")


def check_annulus(inner: float, outer: float) -> None:
    """Raise an InputError for radii (mrad) that bound no annulus."""
    if not 0 <= inner < outer < np.inf:
        raise InputError(f"radii {inner:g} and {outer:g} mrad bound no annulus; give 0 ≤ inner < outer")
