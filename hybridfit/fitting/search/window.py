"""The windowed search: least χ² within ±3 nm and ±1 mrad of a seed, or nearer, on rings.

As in `fitting.search`, intensity factor and background are profiled out and every rotation comes
out of one correlation; here the library points are composed on the spot from the selection of the
library around the seed, and the trial cameras are the seed's, moved and scaled a little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate, obeying
from hybridfit.fitting.search.cameras import around, beside
from hybridfit.fitting.search.full import SEARCHED_RADIUS_PX, candidates, match
from hybridfit.fitting.search.templates import BEYOND_DISC, make_templates, tilt_grid
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.pattern.binning import bin_frame

Array = NDArray[np.float64]

THICKNESS_STEP = 1.5  # nm
TILT_STEP = 0.7  # mrad
SHIFT, SCALE = 0.25, 0.01  # mrad and relative: steps of the trial cameras
TURN = 6.0  # degrees either way


def search_window(
    library: Library,
    frame: Frame,
    seed: Candidate,
    semi_angle: float,
    *,
    tilt_limit: float,
    half_widths: tuple[float, float] = WINDOW,
    fix: Mapping[str, float | None] | None = None,
    most: int = 1,
    workers: int = 1,
) -> tuple[list[Candidate], Array]:
    """The best library points and cameras near a seed.

    Parameters
    ----------
    library : Library, in memory
    frame : Frame
    seed : Candidate
    semi_angle : float, mrad
    tilt_limit : float, mrad
        Largest tilt of the library at this semi-angle.
    half_widths : (float, float), nm and mrad
    fix : mapping of parameter name to value, or to None to keep that of the seed
        A scale that is fixed is not searched; what is found obeys the rest.
    most : int
        Candidates at most.
    workers : int, threads

    Returns
    -------
    candidates : list of Candidate, best first
        χ² is relative to the variance of the frame on the rings; the probability is the seed's.
    curve : (2, n)
        Thickness (nm) and the least χ² there.
    """
    low, high = library.thickness_range
    steps = np.arange(-half_widths[0], half_widths[0] + 1e-9, THICKNESS_STEP)
    thickness = np.unique(np.clip(seed.thickness + steps, low, high))
    tilts = tilt_grid(half_widths[1], 1, TILT_STEP) + np.array(seed.tilt)
    tilts *= np.minimum(1, tilt_limit / np.maximum(np.hypot(*tilts.T), 1e-12))[:, None]
    templates = make_templates(library, semi_angle, thickness, tilts, workers=workers)
    given = {
        name: getattr(seed, name, None) if value is None else value for name, value in (fix or {}).items()
    }
    camera = np.array([[seed.centre_x, seed.centre_y, seed.scale]])
    # who is sure of thickness and tilt has aligned the frame well
    sure = half_widths[0] < WINDOW[0] and half_widths[1] < WINDOW[1]
    cameras = (beside if sure else around)(camera, SHIFT, 0.0 if "scale" in given else SCALE)
    factor = max(1, int(seed.scale * (semi_angle + BEYOND_DISC) / SEARCHED_RADIUS_PX))
    image, valid = bin_frame(frame.image, frame.valid, factor)
    binned = cameras.copy()
    binned[:, :2] = (binned[:, :2] - (factor - 1) / 2) / factor
    binned[:, 2] /= factor
    turn = (seed.rotation - TURN, seed.rotation + TURN)
    chi2, rotation = match(image, valid, templates, binned, rotation_range=turn, workers=workers)
    found = candidates(templates, cameras, chi2, rotation, library.rotation_order, most)
    by_template = chi2.min(axis=0)
    least = [by_template[templates.thickness == t].min() for t in thickness]
    near = [obeying(replace(candidate, probability=seed.probability), given) for candidate in found]
    return near, np.stack([thickness, least])


def joined(curves: Sequence[Array]) -> Array:
    """The least of several curves (2, n) at all their thicknesses."""
    t, chi2 = np.concatenate(curves, axis=1)
    thickness = np.unique(t)
    return np.stack([thickness, [chi2[t == each].min() for each in thickness]])
