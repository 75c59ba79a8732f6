"""The likeliest parameters near a start, under counting statistics.

With z_i electrons in pixel i, of which the model expects λ_i(x), x = (θ, c): parameters and linear
coefficients, the posterior is, up to a constant,

    −ln p(x) = Σ_i (λ_i − z_i ln λ_i) + ½ Σ_j ((x_j − m_j)/s_j)².

It is climbed by Fisher's scoring with Levenberg's damping,

    (F + μ diag F) δ = g,    g = Jᵀ (z/λ − 1) − (x − m)/s²,    F = Jᵀ diag(1/λ) J + diag(1/s²),

within bounds: background and blur cannot be negative.  F⁻¹ at the maximum is the covariance, and its
determinant the volume of the maximum (Laplace's approximation).

A frame has counts y = b n + noise of variance a, so z = y/b + a/b² and λ = μ/b + a/b² [1].

.. [1] Snyder, Hammoud & White, J. Opt. Soc. Am. A 10 (1993) 1014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from hybridfit.fitting.refine.noise import Noise
from hybridfit.known_camera import Model
from hybridfit.pattern.columns import Columns

Array = NDArray[np.float64]

FLOOR = 1e-3  # of the mean: no pixel is expected to have fewer electrons
LINEAR_STEPS = 4


@dataclass(frozen=True, eq=False)
class Point:
    """A place in the space of all parameters.

    Attributes
    ----------
    values : mapping of parameter name to value
    coefficients : (1 + m,) array
        Intensity factor and background (frame units).
    cost : float
        −ln p, in nats.
    gradient : (p + 1 + m,) array
        g, along the varied parameters and the coefficients.
    information : (p + 1 + m, p + 1 + m) array
        F.
    image : (n,) array
        The model (frame units).
    likelihood : float
        The part of −cost without the priors.
    gain : float
        What the next step would gain (nats).
    """

    values: Mapping[str, float]
    coefficients: Array
    cost: float
    gradient: Array
    information: Array
    image: Array
    likelihood: float
    gain: float = np.inf


class Posterior:
    """−ln p of one region of a frame.

    Parameters
    ----------
    model : ForwardModel or KnownCameraModel
    data : (n,) array
        The frame on the pixels of the model.
    noise : Noise
        Of these pixels: a + b μ.
    names : parameters that vary
    bounds : mapping of name to (lowest, highest)
    priors : mapping of name to (mean, standard deviation)
    """

    def __init__(
        self,
        model: Model,
        data: Array,
        noise: Noise,
        names: Sequence[str],
        bounds: Mapping[str, tuple[float, float]],
        priors: Mapping[str, tuple[float, float]],
    ) -> None:
        self.model, self.data, self.names = model, data, tuple(names)
        self.b = noise.per_intensity
        self.shift = noise.constant / self.b**2
        self.z = np.maximum(data / self.b + self.shift, 0.0)
        self.floor = FLOOR * max(float(self.z.mean()), 1e-12)
        self.noise = noise._replace(constant=max(noise.constant, self.floor * self.b**2))
        self.low = np.array([bounds[name][0] for name in names])
        self.high = np.array([bounds[name][1] for name in names])
        self.prior_mean = np.array([priors.get(name, (0.0, np.inf))[0] for name in names])
        self.prior_weight = np.array([priors.get(name, (0.0, np.inf))[1] for name in names]) ** -2.0

    def expected(self, image: Array) -> Array:
        """λ of an image."""
        return np.maximum(image / self.b + self.shift, self.floor)

    def likelihood(self, image: Array) -> float:
        """Σ (z ln λ − λ) less the same of λ = z: minus half the deviance."""
        expected = self.expected(image)
        hit = self.z > 0
        z = self.z[hit]
        return float((z * np.log(expected[hit] / z) + z).sum() - expected.sum())

    def at(self, values: Mapping[str, float], coefficients: Array | None = None) -> Point:
        """The posterior at parameters; coefficients are those that are likeliest there."""
        columns = self.model.evaluate(values, self.names)
        c = self._linear(columns, coefficients)
        image = c @ columns.columns + columns.fixed
        expected = self.expected(image)
        slopes = np.concatenate([columns.sensitivity(c), columns.columns]) / self.b
        x = np.array([values[name] for name in self.names])
        pull = (x - self.prior_mean) * self.prior_weight
        information = (slopes / expected) @ slopes.T
        p = len(x)
        information[np.arange(p), np.arange(p)] += self.prior_weight
        gradient = slopes @ (self.z / expected - 1)
        gradient[:p] -= pull
        likelihood = self.likelihood(image)
        cost = -likelihood + 0.5 * float(pull @ (x - self.prior_mean))
        return Point(dict(values), c, cost, gradient, information, image, likelihood)

    def _linear(self, columns: Columns, start: Array | None) -> Array:
        """The likeliest coefficients ≥ 0 of columns: a weighted non-negative fit, again and again."""
        a = columns.columns / self.b
        fixed = columns.fixed / self.b + self.shift
        weight = 1 / np.maximum(self.z.mean(), 1e-12) if start is None else None
        expected = self.floor if start is None else np.maximum(start @ a + fixed, self.floor)
        c = start
        for _ in range(LINEAR_STEPS + (start is None)):
            w = np.full(len(self.z), weight) if weight is not None else 1 / expected
            weight = None
            normal = (a * w) @ a.T
            target = a @ (w * (self.z - fixed))
            scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
            root = np.linalg.cholesky(normal / np.outer(scale, scale) + 1e-9 * np.eye(len(scale)))
            new, _ = optimize.nnls(root.T, np.linalg.solve(root, target / scale))
            new = new / scale
            expected = np.maximum(new @ a + fixed, self.floor)
            done = c is not None and np.allclose(new, c, rtol=1e-4, atol=0)
            c = new
            if done:
                break
        assert c is not None
        return c

    def along(self, point: Point, i: int, value: float) -> Point:
        """The point with parameter i at a value, and all others where the Gaussian of the point has them."""
        others = np.delete(np.arange(len(point.gradient)), i)
        away = value - point.values[self.names[i]]
        part = point.information[np.ix_(others, others)]
        scale = np.sqrt(np.maximum(np.diag(part), 1e-300))
        normal = part / np.outer(scale, scale) + 1e-6 * np.eye(len(others))
        step = np.zeros(len(point.gradient))
        step[others] = -away * np.linalg.solve(normal, point.information[others, i] / scale) / scale
        step[i] = away
        p = len(self.names)
        x = np.clip([point.values[name] for name in self.names] + step[:p], self.low, self.high)
        return self.at({**point.values, **dict(zip(self.names, x.tolist(), strict=True))}, self.opened(point))

    @staticmethod
    def opened(point: Point) -> Array:
        """Coefficients to start from, none of them quite 0."""
        return np.maximum(point.coefficients, 1e-9 * point.coefficients.max())

    def climb(self, start: Point, steps: int, gain_left: float, held: int | None = None) -> Point:
        """Up to so many steps uphill; ends where the next one would gain less than `gain_left` nats.

        Parameter `held` stays.
        """
        point, damping = start, 1e-3
        p = len(self.names)
        for _ in range(steps):
            step, gain = self._step(point, damping, held)
            point = replace(point, gain=gain)
            if gain < gain_left:
                break
            x = np.array([point.values[name] for name in self.names])
            for _ in range(4):
                trial = np.clip(x + step[:p], self.low, self.high)
                new = self.at(
                    {**point.values, **dict(zip(self.names, trial.tolist(), strict=True))},
                    self.opened(point),
                )
                if new.cost < point.cost:
                    damping = max(damping / 5, 1e-6)
                    point = new
                    break
                damping = max(10 * damping, 1e-2)
                step, _ = self._step(point, damping, held)
            else:
                return point
        return replace(point, gain=self._step(point, 0.0, held)[1])

    def _step(self, point: Point, damping: float, held: int | None = None) -> tuple[Array, float]:
        """δ within the bounds, and what the quadratic model says that it gains."""
        p = len(self.names)
        x = np.array([point.values[name] for name in self.names])
        g, f = point.gradient, point.information
        free = np.ones(len(g), bool)
        room = 1e-9 * np.maximum(np.abs(self.high - self.low), 1e-9)
        room[~np.isfinite(room)] = 0.0
        free[:p] &= ~((x <= self.low + room) & (g[:p] < 0)) & ~((x >= self.high - room) & (g[:p] > 0))
        if held is not None:
            free[held] = False
        free[p:] &= ~((point.coefficients <= 0) & (g[p:] < 0))
        index = np.flatnonzero(free)
        part = f[np.ix_(index, index)]
        scale = np.sqrt(np.maximum(np.diag(part), 1e-300))
        normal = part / np.outer(scale, scale) + (damping + 1e-10) * np.eye(len(index))
        step = np.zeros(len(g))
        step[index] = np.linalg.solve(normal, g[index] / scale) / scale
        return step, 0.5 * float(g @ step)
