"""The windowed search: the least χ² within ±3 nm and ±1 mrad of a seed, or nearer.

Library points are composed from the part of the library around the seed, with smaller steps than those of
the full search.  Trial cameras are the seed's, moved and scaled a little.  They cover nearly the same pixels
and are compared by χ² on their own rings (`rings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate, obeying
from hybridfit.fitting.search.cameras import around, beside, possible
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import make_templates, tilt_grid
from hybridfit.fitting.search.trials import BinnedFrame, Trials
from hybridfit.frame import Frame
from hybridfit.library.library import Library

Array = NDArray[np.float64]


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
    settings: SearchSettings = SEARCH,
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
    settings : SearchSettings

    Returns
    -------
    candidates : list of Candidate, best first
        χ² is relative to the variance of the frame on the rings; the probability is the seed's.
        Empty where the seed's camera cannot be that of the frame, or nothing resembles the frame.
    curve : (2, n)
        Thickness (nm) and the least χ² there.
    """
    low, high = library.thickness_range
    steps = np.arange(-half_widths[0], half_widths[0] + 1e-9, settings.window_thickness_step)
    thickness = np.unique(np.clip(seed.thickness + steps, low, high))
    camera = np.array([[seed.centre_x, seed.centre_y, seed.scale]])
    if not possible(frame, camera, semi_angle, settings).all():
        return [], np.stack([thickness, np.ones(len(thickness))])
    tilts = tilt_grid(half_widths[1], 1, settings.window_tilt_step) + np.array(seed.tilt)
    tilts *= np.minimum(1, tilt_limit / np.maximum(np.hypot(*tilts.T), 1e-12))[:, None]
    templates = make_templates(library, semi_angle, thickness, tilts, workers=workers, settings=settings)
    given = {
        name: getattr(seed, name, None) if value is None else value for name, value in (fix or {}).items()
    }
    # who is sure of thickness and tilt has aligned the frame well
    sure = half_widths[0] < WINDOW[0] and half_widths[1] < WINDOW[1]
    scale_step = 0.0 if "scale" in given else settings.window_scale_step
    trials = Trials(
        BinnedFrame.of(frame, seed.scale * settings.reach(semi_angle), settings),
        templates,
        rotation_range=(seed.rotation - settings.window_rotation, seed.rotation + settings.window_rotation),
        workers=workers,
        settings=settings,
    )
    trials.add((beside if sure else around)(camera, settings.window_shift_step, scale_step))
    found = trials.candidates(trials.relative, library.rotation_order, most)
    near = [obeying(replace(candidate, probability=seed.probability), given) for candidate in found]
    return near, trials.least_by_thickness(trials.relative)
