"""An annulus of a pattern, set to its mean or left out: the band-pass mask of Xu & LeBeau (2018).

    inner ≤ |pixel − centre|/scale < outer

What is set to its mean still says how bright the annulus is; what is left out says nothing.
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
    """Take the features of an annulus out of a frame.

    Parameters
    ----------
    frame : Frame or (rows, cols) array
    centre : (col, row), px
        Of the direct disc.
    inner, outer : float, mrad
        Radii of the annulus; inner = 0 makes it a disc.
    scale : float, px/mrad
    how : str
        "mean": its valid pixels are set to their mean, so that the total stays.
        "exclude": its pixels are not valid any more, and neither network nor fit looks at them.

    Returns
    -------
    Frame
        A new one; outside the annulus it is the same.

    Raises
    ------
    InputError
        Radii that bound no annulus, one without a valid pixel, or one that leaves none.
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
