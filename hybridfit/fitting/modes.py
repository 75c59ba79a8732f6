"""Modes: the maxima of a posterior, their odds, and samples of it.

Near a maximum the posterior is a Gaussian with covariance C.  Laplace's approximation gives the mode m the
probability

    p_m ∝ exp(−cost_m) √det C_m,

C_m being of all parameters and linear coefficients, because a broad maximum holds more than a narrow one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import canonical
from hybridfit.quantities import quantity

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mode:
    """One maximum of the posterior.

    Attributes
    ----------
    names : tuple of str
        The parameters that vary.
    mean : (p,) array
        Where the maximum is, in the units of `hybridfit.quantities`.
    covariance : (p, p) array
    odds : float
        Its share of the posterior.
    bounds : (p, 2) array
        Samples stay within these.
    """

    names: tuple[str, ...]
    mean: Array
    covariance: Array
    odds: float
    bounds: Array

    def mirrored(self, name: str) -> Mode:
        """The same with the other sign of a parameter."""
        sign = np.where(np.array(self.names) == name, -1.0, 1.0)
        bounds = np.where(sign[:, None] < 0, -self.bounds[:, ::-1], self.bounds)
        return replace(
            self, mean=sign * self.mean, covariance=sign[:, None] * self.covariance * sign, bounds=bounds
        )

    def samples(self, n: int, rng: np.random.Generator) -> Array:
        """(n, p) samples of the Gaussian, within the bounds."""
        out = np.empty((0, len(self.mean)))
        low, high = self.bounds.T
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        for _ in range(20):
            drawn = self.mean + rng.standard_normal((2 * n + 8, len(self.mean))) @ root.T
            out = np.concatenate([out, drawn[((drawn >= low) & (drawn <= high)).all(axis=1)]])
            if len(out) >= n:
                return out[:n]
        rest = self.mean + rng.standard_normal((n - len(out), len(self.mean))) @ root.T
        return np.concatenate([out, np.clip(rest, low, high)])


def odds_of(log_weights: Sequence[float]) -> Array:
    """Probabilities that sum to 1, in proportion to exp(log weight)."""
    weights = np.exp(np.asarray(log_weights, dtype=float) - max(log_weights))
    return weights / weights.sum()


def log_volume(information: Array) -> float:
    """ln √det(2π F⁻¹): the volume of a Gaussian maximum."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    values = np.linalg.eigvalsh(information / np.outer(scale, scale))
    spread = np.log(np.maximum(values, 1e-9)).sum() + 2 * np.log(scale).sum()
    return 0.5 * (len(scale) * np.log(2 * np.pi) - float(spread))


def covariance_of(information: Array) -> Array:
    """F⁻¹, also where a parameter is hardly known."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    inverse = np.linalg.pinv(information / np.outer(scale, scale), rcond=1e-10, hermitian=True)
    return np.asarray(inverse / np.outer(scale, scale), float)


def in_canonical_frame(
    names: Sequence[str], values: Mapping[str, float], covariance: Array, order: int
) -> tuple[dict[str, float], Array]:
    """The same pattern with its rotation in (−180/n, 180/n]; tilt and covariance turn along."""
    x, y, rotation = canonical(values["tilt_x"], values["tilt_y"], values["rotation"], order)
    turned = {**values, "tilt_x": x, "tilt_y": y, "rotation": rotation}
    if not {"tilt_x", "tilt_y"} <= set(names):
        return turned, covariance
    angle = np.deg2rad(values["rotation"] - rotation)
    c, s = np.cos(angle), np.sin(angle)
    i, j = list(names).index("tilt_x"), list(names).index("tilt_y")
    turn = np.eye(len(names))
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turned, turn @ covariance @ turn.T


def samples_of(modes: Sequence[Mode], n: int, seed: int | None, units: Mapping[str, str]) -> xr.Dataset:
    """Samples of the posterior, each of a mode that is drawn by its odds.

    Parameters
    ----------
    modes : sequence of Mode, at least one
    n : int
        How many samples.
    seed : int, optional
        The same seed gives the same samples.
    units : mapping of structural parameter to its unit

    Returns
    -------
    xarray.Dataset
        On `sample`: every varied parameter under its name, with CF units, and `mode`, the number of the mode
        that a sample is of; on `mode_number`: `odds`.

    Raises
    ------
    InputError
        n is no number of samples.
    """
    import xarray as xr

    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"{n!r} is no number of samples; give a whole number from 1 on, such as 1000")
    rng = np.random.default_rng(seed)
    odds = np.array([mode.odds for mode in modes])
    which = rng.choice(len(modes), size=int(n), p=odds / odds.sum())
    names = modes[0].names
    drawn = np.empty((int(n), len(names)))
    for i, mode in enumerate(modes):
        mine = np.flatnonzero(which == i)
        if len(mine):
            drawn[mine] = mode.samples(len(mine), rng)
    out = xr.Dataset(
        {name: ("sample", drawn[:, j], quantity(name, units.get(name)).attrs) for j, name in enumerate(names)}
    )
    out["mode"] = ("sample", which, {"long_name": "mode of the posterior", "units": "1"})
    out["odds"] = ("mode_number", odds / odds.sum(), {"long_name": "odds of a mode", "units": "1"})
    return out.assign_coords(mode_number=("mode_number", np.arange(len(modes)), {"units": "1"}))


def samples_json(samples: xr.Dataset) -> dict[str, list[float]]:
    """Samples as lists under the names of `FitResult.to_json`, `mode` of each, and `odds` of the modes."""
    out = {}
    for name, values in samples.data_vars.items():
        known = str(name) in ("mode", "odds")
        unit = values.attrs.get("units")
        out[str(name) if known else quantity(str(name), unit).json_key] = values.values.tolist()
    return out
