"""Weighted residuals of a forward model against data, with what is linear in it profiled out.

Variable projection, and Kaufman's approximation of its Jacobian; `least_squares` has the equations.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.algebra import inverse_of, orthonormal
from hybridfit.fitting.refine.gram import Normal, among, normal_of
from hybridfit.fitting.refine.plain import Parameters
from hybridfit.pattern.columns import Columns

Array = NDArray[np.float64]

ROUNDING = 1e-12


class Imaged(Protocol):
    """What is compared with data: a `ForwardModel`, or what does the same."""

    @property
    def mask(self) -> NDArray[np.bool_]: ...

    @property
    def n_pixels(self) -> int: ...

    @property
    def pixel(self) -> Any: ...

    def evaluate(self, values: Mapping[str, float], names: Sequence[str] = ()) -> Columns: ...

    def assumption_slopes(self, values: Mapping[str, float]) -> dict[str, Array]: ...


class Problem:
    """Weighted residuals and Jacobian of a forward model against data, as lmfit wants them."""

    def __init__(self, model: Imaged, data: Array, weights: Array) -> None:
        self.model = model
        self.data = data
        self.root_weights = np.sqrt(weights)
        self._last: tuple[dict[str, float], Columns] | None = None
        self._solved: tuple[Columns, tuple[Array, Array]] | None = None
        self._basis: tuple[Columns, Array] | None = None
        self._slopes: tuple[Columns, Array] | None = None
        self._inverse: tuple[Array, Array] | None = None

    def weighted(self, weights: Array, within: float = 0.0) -> Problem:
        """The same with other weights; what is known of the model is kept.

        It is this problem itself where no weight differs by more than `within`, a share of it.
        """
        if within and float(np.abs(weights / self.root_weights**2 - 1).max()) <= within:
            return self
        new = Problem(self.model, self.data, weights)
        new._last = self._last
        return new

    def linear(self, columns: Columns) -> tuple[Array, Array]:
        """ĉ and the model image."""
        if self._solved is None or self._solved[0] is not columns:
            g = among(columns.columns, self.data - columns.fixed, self.root_weights)
            coefficients = inverse_of(g[:-1, :-1]) @ g[:-1, -1]
            self._solved = columns, (coefficients, coefficients @ columns.columns + columns.fixed)
        return self._solved[1]

    def basis(self, columns: Columns) -> Array:
        """(n, 1 + m): an orthonormal basis of the weighted columns."""
        if self._basis is None or self._basis[0] is not columns:
            self._basis = columns, orthonormal(columns.columns * self.root_weights)
        return self._basis[1]

    def residual(self, params: Parameters) -> Array:
        """W^½ (data − model)."""
        return self.root_weights * (self.data - self.linear(self.columns(params))[1])

    def jacobian(self, params: Parameters) -> Array:
        """(n, varying parameters) derivative of `residual`."""
        return -self.sensitivity(params).T

    def columns(self, params: Parameters) -> Columns:
        """Columns with their derivatives; the Levenberg–Marquardt step asks for both at one point."""
        values = params.valuesdict()
        if self._last is None or not _same(self._last[0], values):
            self._last = (
                dict(values),
                self.model.evaluate(values, [*fitted_names(params), *tied_names(params)]),
            )
        return self._last[1]

    def sensitivity(self, params: Parameters) -> Array:
        """(varying parameters, n): P⊥ W^½ ∂model/∂θ."""
        columns = self.columns(params)
        if self._slopes is None or self._slopes[0] is not columns:
            coefficients, q = self.linear(columns)[0], self.basis(columns)
            slopes = columns.sensitivity(coefficients)
            if tied_names(params):
                p = len(fitted_names(params))
                slopes = slopes[:p] + tie_slopes(params).T @ slopes[p:]
            slopes *= self.root_weights
            slopes -= (slopes @ q) @ q.T
            self._slopes = columns, slopes
        return self._slopes[1]

    def normal_equations(self, params: Parameters) -> Normal:
        """|r|², S Sᵀ and S r, S being the sensitivity and r the residual."""
        columns = self.columns(params)
        known = None if tied_names(params) else normal_of(columns, self.data, self.root_weights)
        if known is not None:
            return known
        r, s = self.residual(params), self.sensitivity(params)
        return Normal(float(r @ r), s @ s.T, s @ r)

    def inverse(self, params: Parameters) -> Array:
        """(varying, varying) (J Jᵀ)⁻¹ of the sensitivity J; where it says nothing, a pseudo-inverse."""
        j = self.sensitivity(params)
        if self._inverse is None or self._inverse[0] is not j:
            self._inverse = j, inverse_of(j @ j.T)
        return self._inverse[1]


def _same(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether two sets of values differ by rounding alone: lmfit's bounds take them to and fro."""
    return all(abs(a[name] - b[name]) <= ROUNDING * max(1.0, abs(b[name])) for name in b)


def fitted_names(params: Parameters) -> list[str]:
    """Names of the parameters that vary."""
    return [name for name, p in params.items() if p.vary]


def tied_names(params: Parameters) -> list[str]:
    """Names of the parameters that an expression ties to others."""
    return [name for name, p in params.items() if p.expr]


def tie_slopes(params: Parameters) -> Array:
    """(tied, fitted): derivatives of the tied parameters, by central differences of their expressions."""
    fitted, tied = fitted_names(params), tied_names(params)
    trial = copy.deepcopy(params)
    for name in fitted:  # a bound would cut the step
        trial[name].set(min=-np.inf, max=np.inf)
    out = np.zeros((len(tied), len(fitted)))
    for i, name in enumerate(fitted):
        middle = float(params[name].value)
        step = 1e-6 * max(abs(middle), 1.0)
        ends = []
        for value in (middle - step, middle + step):
            trial[name].value = value
            trial.update_constraints()
            ends.append([float(trial[other].value) for other in tied])
        trial[name].value = middle
        out[:, i] = (np.array(ends[1]) - np.array(ends[0])) / (2 * step)
    return out
