"""`hybridfit.fit`: one frame, one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from numpy.typing import ArrayLike

from hybridfit.errors import InputError
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitOptions, FitSettings
from hybridfit.fitting.vary.fit import StructureFitter
from hybridfit.frame import Frame
from hybridfit.io.arrays import frame_of
from hybridfit.io.frames import read_one
from hybridfit.library.library import Library
from hybridfit.options import settings_from

if TYPE_CHECKING:
    from hybridfit.network.weights import Network


def fit(
    frame: Frame | ArrayLike | str | Path,
    library: Library | str | Path,
    *,
    semi_angle: float | None = None,
    network: Network | str | Path | None = None,
    vary: str | Sequence[str] | None = None,
    **options: Unpack[FitOptions],
) -> FitResult:
    """Thickness, tilt and camera geometry of one PACBED frame.

    Parameters
    ----------
    frame : Frame, (rows, cols) array, or the path of a file that holds one frame
        NumPy, dask and xarray arrays, and HyperSpy signals, whose axes and units are used.
    library : Library, or the name or file of one
    semi_angle : float, mrad, optional
        By default what the file or the signal says.
    network : Network, or the path of its weights, optional
    vary : names with commas between them, or a sequence of names, optional
        Numbers of the crystal that are fitted, too, by solving it again: "B:Sr,z:O1,occ:La".  See
        `hybridfit.fit_together`, which takes several frames.
    options : fields of `FitSettings`
        method, background, fix, free, bounds, expressions, hints, flip, …: see there.  `Fitter` is the thing
        to use for many frames.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError, LibraryError
    """
    options = {"keep_model": True, "whole_curve": True, **options}
    if isinstance(frame, str | Path):
        frame = read_one(frame)
    if semi_angle is None:
        frame = frame_of(frame)
        semi_angle = frame.calibration.get("semi_angle_mrad")
    if semi_angle is None:
        raise InputError("the frame does not say its semi-angle; give semi_angle in mrad, such as 13.6")
    settings = settings_from(FitSettings, None, {**options, "semi_angle": semi_angle}, "fit")
    if vary is not None:
        return StructureFitter(library, vary, network=network, settings=settings).fit([frame]).frames[0]
    return Fitter(library, network=network, settings=settings).fit(frame)
