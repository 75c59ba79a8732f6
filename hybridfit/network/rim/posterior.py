"""From evidence to circles: where the sum along a circle is largest, how wide the peak is, and what it holds.

    E(c) = Σ_θ L(θ, r(θ; c)),    c = (d, log s)

The search climbs from the best points of a coarse grid, with steps that shrink.  A small grid about the top,
as wide as the peak, gives its mean, standard deviations, and share of Z = ∫ e^E / V.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.network.rim.hough import likeliest
from hybridfit.network.rim.shape import ROWS, WINDOW, angles

Array = NDArray[np.float64]
Single = NDArray[np.float32]

_theta = angles(ROWS)
_cos, _sin = np.cos(_theta), np.sin(_theta)


class Circles(NamedTuple):
    """The circle that is likeliest in each of n crops.

    centre (n, 2), (column, row) from the middle of the crop in radii of the guess · size (n,), log(true
    radius/guess) · sigma (n, 2) and spread (n,): standard deviations of them · there (n,): the probability
    that a direct disc lies in the window · first (n,): the share of the peak in that
    """

    centre: Array
    size: Array
    sigma: Array
    spread: Array
    there: Array
    first: Array


def circles(evidence: Single, reach: tuple[float, float, float] = WINDOW) -> Circles:
    """Of evidence (n, ROWS, RADII).

    reach is how far the two components of the centre and log size may be off; what is known has 0.
    """
    out, window = np.empty((len(evidence), 8)), np.array(reach, dtype=float)
    for one, numbers in zip(evidence, out, strict=True):
        likeliest(np.asarray(one, dtype=np.float64, order="C"), _cos, _sin, window, numbers)
    return Circles(out[:, :2], out[:, 2], out[:, 3:5], out[:, 5], out[:, 6], out[:, 7])
