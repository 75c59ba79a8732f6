"""Levenberg–Marquardt on a projected problem, without lmfit's overhead.

With the sensitivity S = P⊥ W^½ ∂model/∂θ and the residual r, a step solves

    (S Sᵀ + λ diag(S Sᵀ)) δ = S r,

parameters on a bound that a step would take them across being left out.  A step is taken where it lowers
|r|²; λ falls then, and rises otherwise.  The end is where the next step would be shorter than `within`
standard errors, δᵀ S Sᵀ δ ≤ within² |r|²/n: the criterion is one of the answer, not of its last digits.  The
end is, too, where so short a step does not lower |r|²: a minimum may lie in a kink of an interpolated model.

For models that may not fit, the end is also where |r|² hardly falls, and λ falls only where |r|² has fallen
by about the 2 δᵀ S r − δᵀ S Sᵀ δ that were expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import lmfit

    from hybridfit.fitting.refine.gram import Normal
    from hybridfit.fitting.refine.plain import Parameters, PlainParameter

Array = NDArray[np.float64]
FIRST, LEAST, MOST, FACTOR = 1e-3, 1e-9, 1e6, 10.0  # of λ
SINGULAR = 1e-12  # of the largest eigenvalue: a smaller one is taken for 0
FAIR, BAD = 0.7, 0.3  # of the expected fall of |r|²: λ falls above, and rises below


class Projected(Protocol):
    """What is minimised: of n data, beside the linear parameters."""

    data: Array

    def normal_equations(self, params: Parameters) -> Normal: ...


class Solved(NamedTuple):
    """What `refine` reads of a minimisation, named as lmfit names it."""

    params: Parameters
    nfev: int
    success: bool
    call_kws: dict[str, Any]


def solve(
    problem: Projected, params: Parameters, within: float, evaluations: int, least: float = 0.0
) -> Solved:
    """Minimise |r|² over the parameters that vary, within their bounds; params are changed.

    Parameters
    ----------
    problem : Projected
    params : Parameters
        Without expressions.
    within : float
        Standard errors; the next step would be shorter.
    evaluations : int
        At most so many.
    least : float
        The end is, too, where a step has lowered |r|² by less than this share, as was expected of it.
    """
    varied = [p for p in params.values() if p.vary]
    low, high = (np.array([getattr(p, end) for p in varied], float) for end in ("min", "max"))
    x = np.array([p.value for p in varied], float)
    damping, count, done = FIRST, 1, False
    cost, normal, slope = problem.normal_equations(params)
    while count < evaluations:
        free = ~(((x <= low) & (slope < 0)) | ((x >= high) & (slope > 0)))
        step_of = _steps(normal, slope, free)
        plain = step_of(0.0)
        if float(plain @ normal @ plain) <= within**2 * cost / problem.data.size:
            done = True
            break
        step = step_of(damping)
        new = np.clip(x + step, low, high)
        _put(varied, new)
        now = problem.normal_equations(params)
        count += 1
        if now.cost < cost:
            moved, fell = new - x, cost - now.cost
            expected = float(2 * moved @ slope - moved @ normal @ moved)
            x = new
            cost, normal, slope = now
            if least == 0 or fell > FAIR * expected:
                damping = max(damping / FACTOR, LEAST)
            elif fell < BAD * expected:
                damping = min(damping * FACTOR, MOST)
            if max(fell, expected) < least * cost:
                done = True
                break
            continue
        _put(varied, x)
        if float(step @ normal @ step) <= within**2 * cost / problem.data.size:  # a kink: there is no nearer
            done = True
            break
        damping *= FACTOR
        if damping > MOST:
            break
    return Solved(params, count, done, {})


def _steps(normal: Array, slope: Array, free: NDArray[np.bool_]) -> Callable[[float], Array]:
    """The step of the free parameters at a damping; 0 of the others, and along what changes nothing."""
    every = bool(free.all())
    part = normal if every else normal[np.ix_(free, free)]
    scale = np.sqrt(np.maximum(part.diagonal(), 1e-300))
    values, vectors = np.linalg.eigh(part / (scale[:, None] * scale))
    along = vectors.T @ ((slope if every else slope[free]) / scale)

    def step(damping: float) -> Array:
        damped = values + damping
        known = np.abs(damped) > SINGULAR * np.abs(damped).max(initial=0.0)
        found = vectors @ (np.where(known, along, 0.0) / np.where(known, damped, 1.0)) / scale
        if every:
            return np.asarray(found, float)
        out = np.zeros(len(slope))
        out[free] = found
        return out

    return step


def _put(varied: list[lmfit.Parameter | PlainParameter], values: Array) -> None:
    for p, value in zip(varied, values.tolist(), strict=True):
        p.value = value
