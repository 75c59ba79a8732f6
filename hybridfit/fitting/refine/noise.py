"""Noise: what the residual of a fit says about counting noise, misfit and their correlation.

The variance of pixel i with model intensity μ_i is written

    v_i = a + b μ_i + c μ_i² + s²,

a, b, c ≥ 0 are the noise of the camera, of counting and of what a flat field leaves.  They come from
differences of neighbouring residuals, in which smooth misfit cancels; c is 0 unless the data ask for it.
Where neighbours share noise (`spread`), pixels farther apart are compared.  s² is the misfit of the model:
what the residual has beyond noise.  Where noise dominates, the weights 1/v are those of a
maximum-likelihood fit of counts; where misfit dominates, they are uniform, as in Xu & LeBeau (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize

from hybridfit.fitting.refine.pairs import (
    differences_by_level,
    means_in_groups,
    on_image,
    products_within,
)
from hybridfit.fitting.refine.settings import REFINE, RefineSettings
from hybridfit.fitting.refine.spread import (
    FAR,
    NEAR,
    correlation_of,
    even_pixels,
    kernel_of,
    mean_differences,
    shared,
    sum_of,
)

Array = NDArray[np.float64]
BINS = 12
FAINT = 0.03  # electrons in a pixel: of a model that has fewer, the variance is that of so many
NEAREST = 4  # px: shifts up to here are summed one by one; noise reaches no farther


class Noise(NamedTuple):
    """Variance a + b μ + c μ² + s² (frame units squared), and how neighbouring pixels share its noise.

    constant, per_intensity, misfit : float
        a, b, s².
    relative : float
        c: what the flat field leaves, a variance relative to the intensity squared.
    correlation : tuple of float
        Of the noise at the distances of `spread.NEAR`; empty where pixels are independent.
    """

    constant: float
    per_intensity: float
    misfit: float
    relative: float = 0.0
    correlation: tuple[float, ...] = ()

    def variance(self, model: Array) -> Array:
        """Noise and misfit at model intensities."""
        return self.counting(model) + self.misfit

    def on_pixels(self, ratio: float) -> Noise:
        """The noise of pixels that are the mean of `ratio` times as many, independent ones."""
        parts = self.constant / ratio, self.per_intensity / ratio, self.misfit, self.relative / ratio
        return Noise(*parts)

    def counting(self, model: Array) -> Array:
        """Noise alone; where the model has next to no electron, one may come all the same."""
        level = np.maximum(model, FAINT * self.per_intensity)
        if self.relative:
            return self.constant + level * (self.per_intensity + self.relative * level)
        return self.constant + self.per_intensity * level

    @property
    def spread(self) -> float:
        """Σ_Δ ρ(Δ): the variance of the sum of many pixels over that of independent ones."""
        return sum_of(self.correlation)

    def share(self, model: Array) -> Array:
        """Noise over noise and misfit."""
        return np.asarray(self.counting(model) / self.variance(model))


def estimate_noise(
    residual: Array, model: Array, mask: NDArray[np.bool_], settings: RefineSettings = REFINE
) -> Noise:
    """Noise and misfit from residual and model, both (n,) on the pixels of mask (rows, cols)."""
    r, m = on_image(residual, mask), on_image(model, mask)
    found = _by_intensity(r, m, mask, NEAR[0], settings)
    standardised = on_image(residual / np.sqrt(found.counting(model) + 1e-300), mask)
    if shared(standardised, mask, settings):
        even = mask & even_pixels(m / np.sqrt(found.counting(m) + 1e-300), mask)
        rho, v = correlation_of(standardised, even, settings)
        if len(rho):  # pixels that are farther apart know the variance
            far = float(mean_differences(standardised, even, FAR[:1])[0][0])
            found = _by_intensity(r, m, even, FAR[0], settings)
            kept = [part * v / far for part in (found.constant, found.per_intensity, found.relative)]
            found = Noise(kept[0], kept[1], 0.0, kept[2], tuple(rho.tolist()))
    floor = 1e-12 * float((model**2).mean()) + 1e-300
    counting = float(found.counting(model).mean())
    misfit = max(float((residual**2).mean()) - counting, 0.0)
    return found._replace(constant=found.constant + floor, misfit=misfit)


def _by_intensity(
    r: Array,
    m: Array,
    mask: NDArray[np.bool_],
    shifts: Sequence[tuple[int, int]],
    settings: RefineSettings,
) -> Noise:
    """a, b and c from the differences of residuals r at model intensities m, both (rows, cols)."""
    largest = float(m.max()) if m.max() > 0 else 1.0
    table = differences_by_level(r, m, mask, np.array(shifts), largest)
    y, x = means_in_groups(table, BINS)
    scale_x, scale_y = max(float(x.max()), 1e-300), max(float(y.max()), 1e-300)
    x, y = x / scale_x, y / scale_y
    scale_x *= largest
    design = np.stack([np.ones(BINS), x, x**2], axis=1)
    # a group without any noise, such as what counting cameras record beside a disc, is not sure of that
    expected = design[:, :2] @ _both_positive(design[:, :2], y)
    weight = 1 / np.maximum(np.maximum(y, expected), 1e-3)
    design *= weight[:, None]
    a, b = found = _both_positive(design[:, :2], y * weight)
    left = float(np.linalg.norm(y * weight - design[:, :2] @ found))
    c = 0.0
    # of a mean of n squares of Gaussian differences, neighbours of which share a pixel
    error = np.sqrt(3 * BINS / max(float(table[:, 0].sum()), 1.0))
    if left > settings.flat_field * error:  # else no third term can say so much
        (a2, b2, c2), rest = optimize.nnls(design, y * weight)
        if left**2 - rest**2 > (settings.flat_field * error) ** 2:
            a, b, c = a2, b2, c2
    return Noise(
        float(a * scale_y), float(b * scale_y / scale_x), 0.0, float(c * scale_y / scale_x) / scale_x
    )


def _both_positive(design: Array, y: Array) -> Array:
    """(2,): least squares of two columns (n, 2) with coefficients that are not below 0."""
    (aa, ab), (_, bb) = design.T @ design
    a, b = design.T @ y
    determinant = aa * bb - ab**2
    if determinant > 0:
        both = (bb * a - ab * b) / determinant, (aa * b - ab * a) / determinant
        if min(both) >= 0:
            return np.array(both)
    alone = max(a, 0.0) / max(aa, 1e-300), max(b, 0.0) / max(bb, 1e-300)
    first = max(a, 0.0) * alone[0] >= max(b, 0.0) * alone[1]  # which takes more of the squares away
    return np.array([alone[0], 0.0] if first else [0.0, alone[1]])


def electrons_in(image: Array, valid: NDArray[np.bool_]) -> float:
    """Least number of electrons in a frame: all difference between neighbouring pixels is taken for noise.

    Of N electrons in n pixels, with a variance in proportion to the intensity, N = n · mean²/variance.
    """
    squares, count = 0.0, 0
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:, :], np.s_[:-1, :])):
        both = valid[a] & valid[b]
        squares += float(((image[a] - image[b])[both] ** 2).sum()) / 2
        count += int(both.sum())
    mean = float(image[valid].mean())
    return int(valid.sum()) * mean**2 * count / max(squares, 1e-300)


def effective_pixels(
    standardised: Array,
    mask: NDArray[np.bool_],
    misfit_share: float,
    settings: RefineSettings = REFINE,
    correlation: Sequence[float] = (),
) -> float:
    """Number of independent pixels that a residual amounts to: n / Σ_Δ ρ(Δ).

    Noise is independent from pixel to pixel, or its correlation is known and left out; misfit is
    smooth.  The autocorrelation ρ is summed
    over all shifts Δ with Parzen's window.  The window ends at `settings.taper` times the distance at
    which the radial mean of ρ has fallen to `settings.faded` of the misfit's share, or to its own noise.

    Parameters
    ----------
    standardised : (n,) array
        Residual over the square root of its variance.
    mask : (rows, cols) bool array
        The n pixels.
    misfit_share : float
        Share of the misfit in the variance of the residual, 0 … 1.
    settings : RefineSettings
    correlation : sequence of float
        Of the noise, at the distances of `spread.NEAR`.
    """
    n, known, near = len(standardised), *_shells(mask.shape, mask.tobytes())
    image = np.zeros(mask.shape)
    image[mask] = standardised
    within = near.distance.shape[0] // 2
    half = products_within(image, within)
    own = max(float(half[0, within] / n), 1e-300)

    def summed(products: Array, shells: _Shells, most: float) -> float | None:
        """Σ_Δ ρ(Δ); None where these shifts do not reach as far as they should."""
        rho = products / shells.overlap / own
        if len(correlation):
            white, shared = kernel_of((), shells.shape), kernel_of(correlation, shells.shape)
            rho -= (1 - misfit_share) * (shared - white)[shells.at]
        radial = np.bincount(shells.shell, (rho * shells.pairs_at).ravel(), len(known.pairs))
        threshold = np.maximum(settings.faded * misfit_share, known.chance)
        faded = np.flatnonzero(radial / np.maximum(known.pairs, 1) < threshold)
        first = max(float(faded[0]), 1.0) if len(faded) else np.inf
        reach = settings.taper * first if np.isfinite(first) else float(max(mask.shape))
        if max(first, reach) > most:
            return None
        inside = shells.distance < reach  # the window ends there
        x = shells.distance[inside] / reach
        taper = np.where(x < 0.5, 1 - 6 * x**2 + 6 * x**3, 2 * (1 - x) ** 3)
        return float((rho[inside] * taper).sum())

    found = summed(np.concatenate([half[:0:-1, ::-1], half]), near, within)
    if found is None:
        raw = fft.irfft2(np.abs(fft.rfft2(image, known.shape)) ** 2, known.shape)
        found = summed(raw, known, np.inf)
    assert found is not None
    return float(np.clip(n / max(found, 1.0), 1.0, n))


class _Shells(NamedTuple):
    """What an autocorrelation needs to know of a mask, at some shifts.

    shape : of the padded transform
    at : rows and columns of the shifts in the transform
    distance : of every shift (px)
    shell : (·,) the distance, rounded
    pairs_at, overlap : how many pairs of pixels are a shift apart; at least one
    pairs, chance : of every shell, and what chance leaves of a correlation there
    """

    shape: tuple[int, ...]
    at: tuple[NDArray[np.int64], ...]
    distance: Array
    shell: NDArray[np.int64]
    pairs_at: Array
    overlap: Array
    pairs: Array
    chance: Array


@lru_cache(maxsize=8)
def _shells(size: tuple[int, int], mask: bytes) -> tuple[_Shells, _Shells]:
    """The same for all frames that compare the same pixels; and of the shifts within NEAREST."""
    pixels = np.frombuffer(mask, bool).reshape(size).astype(float)
    shape = tuple(fft.next_fast_len(2 * each) for each in size)
    pairs_at = fft.irfft2(np.abs(fft.rfft2(pixels, shape)) ** 2, shape)
    dy, dx = (np.minimum(np.arange(each), each - np.arange(each)) for each in shape)
    distance = np.hypot(dy[:, None], dx[None, :])
    shell = np.minimum(distance.round().astype(np.int64), max(size))
    pairs = np.asarray(np.bincount(shell.ravel(), np.maximum(pairs_at, 0).ravel()), float)
    chance = 2 / np.sqrt(np.maximum(pairs / 2, 1))

    def at(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> _Shells:
        cut = np.ix_(rows, columns)
        there = pairs_at[cut]
        each = (distance[cut], shell[cut].ravel(), there, np.maximum(there, 1))
        return _Shells(shape, cut, *each, pairs, chance)

    within = min(NEAREST, min(size) - 1)
    near = np.arange(-within, within + 1)
    return at(*(np.arange(each) for each in shape)), at(near, near)
