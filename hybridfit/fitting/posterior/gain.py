"""The gain of a camera, counts per electron, from the noise of one frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridfit.fitting.posterior.settings import POSTERIOR, PosteriorSettings
from hybridfit.fitting.refine.noise import Noise, electrons_in

Array = NDArray[np.float64]

GROUPS = 12
SAMPLED = 128  # rows that tell whether a frame is bright
_SECOND = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0])


def gain_of(image: Array, valid: NDArray[np.bool_], settings: PosteriorSettings = POSTERIOR) -> float:
    """Counts per electron of a camera, from one frame: the variance of its noise over its intensity.

    Noise is what a second difference along both axes leaves.  Structure adds to it, so of groups of pixels
    of like intensity those with the least variance over intensity are believed: a low quantile.  Whole
    numbers whose variance is about their mean are electrons, and the gain is 1.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    settings : PosteriorSettings

    Returns
    -------
    float
        0 where the frame has no noise, or nothing but noise.
    """
    whole = ndimage.uniform_filter(valid.astype(float), 3, mode="constant") > 1 - 1e-9
    if whole.sum() < 4 * GROUPS:
        return 0.0
    differences = ndimage.convolve(image, _SECOND)[whole] ** 2 / float((_SECOND**2).sum())
    mean = ndimage.uniform_filter(image, 5, mode="nearest")[whole]
    order = np.argsort(mean)
    # groups of as many electrons: each then says as much
    cumulated = np.cumsum(np.maximum(mean[order], 0))
    if cumulated[-1] <= 0:
        return 0.0
    group = np.minimum((cumulated / cumulated[-1] * GROUPS).astype(int), GROUPS - 1)
    pixels = np.bincount(group, minlength=GROUPS)
    variance = np.bincount(group, differences[order], GROUPS)
    level = np.bincount(group, mean[order], GROUPS)
    told = (pixels >= settings.group) & (level > 0)
    if not told.any():
        return 0.0
    gain = float(np.quantile(variance[told] / level[told], settings.believed))
    counted = bool((image[valid] == np.round(image[valid])).all())
    return 1.0 if counted and abs(gain - 1) < settings.counted else gain


def noise_of_few(
    image: Array, valid: NDArray[np.bool_], gain: float | None, settings: PosteriorSettings = POSTERIOR
) -> Noise | None:
    """Counting noise of a frame, where its electrons are few; None where they are not.

    Parameters
    ----------
    image : (rows, cols) array
    valid : (rows, cols) bool array
    gain : float, counts per electron, optional
        By default it is estimated from the frame.
    settings : PosteriorSettings
    """
    counts = float(image[valid].sum())
    if gain is None:
        rows = slice(None, None, max(1, image.shape[0] // SAMPLED))
        if electrons_in(image[rows], valid[rows]) > settings.few:  # at least so many: structure adds to noise
            return None
        gain = gain_of(image, valid)
    if gain <= 0 or not settings.fewest <= counts / gain <= settings.few:
        return None
    return Noise(0.0, gain, 0.0)
