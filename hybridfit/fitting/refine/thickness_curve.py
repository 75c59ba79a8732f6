"""χ² against thickness over the whole library, at the tilt and camera of an answer.

A search about a confident seed covers a few nanometres.  This curve shows the other thicknesses in the
picture of the answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.least_squares import Problem
from hybridfit.fitting.refine.refiner import Minimum, Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.frame import Frame

Array = NDArray[np.float64]


def along_thickness(
    refiner: Refiner, frame: Frame, minimum: Minimum, region: Region, fine_pixel: float
) -> Array:
    """(2, n): thickness (nm) over the whole library, and Σ r² there relative to the pattern's variance.

    Intensity factor and background are fitted at every thickness; everything else is the answer's.

    Parameters
    ----------
    refiner : Refiner
        Of the library in which the minimum was found.
    frame : Frame
    minimum : Minimum
    region : Region
        The pixels to compare.
    fine_pixel : float, mrad
        Wider pixels are divided.
    """
    model = refiner.model(frame, minimum.answer, region, fine_pixel)
    low, high = refiner.library.thickness_range
    step = refiner.settings.refining.curve_step
    count = max(int(np.ceil((high - low) / step)), 1)
    answer = minimum.answer.thickness
    thickness = np.union1d(np.linspace(low, high, count + 1), np.clip(answer, low, high))
    problem = Problem(model, region.image[region.mask], np.full(model.n_pixels, 1 / region.variance))
    chi2 = []
    for t in thickness:
        _, image, _ = problem.linear(model.evaluate({**minimum.fit.values, "thickness": float(t)}))
        chi2.append(((problem.data - image) ** 2).mean() / region.variance)
    return np.stack([thickness, chi2])
