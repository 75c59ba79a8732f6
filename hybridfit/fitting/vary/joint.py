"""Frames together: one set of normal equations for what they share and for what each has of its own.

With S_f the projected, weighted sensitivity of frame f to its own parameters and to the shared ones, r_f
its residual, λ_f the inflation that makes its naive variances honest, and priors x_i = μ_i ± σ_i of what is
taken for granted, the log-posterior is −½ of

    Σ_f |r_f|²/λ_f + Σ_i (x_i − μ_i)²/σ_i²,

and a step solves Σ_f S_f S_fᵀ/λ_f + diag(1/σ_i²).  A frame in which misfit outweighs noise counts less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.gram import Normal
from hybridfit.fitting.refine.plain import Parameters, PlainParameters
from hybridfit.fitting.refine.problem import Problem, fitted_names

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What is known of a number before the fit: mean and standard deviation."""

    mean: float
    sigma: float


@dataclass(frozen=True, eq=False)
class Part:
    """A frame of a joint fit: its problem, and its parameters, own and shared ones."""

    problem: Problem
    params: PlainParameters

    @property
    def names(self) -> list[str]:
        """The parameters that vary."""
        return fitted_names(self.params)


class Joint:
    """The joint problem of several frames.

    Parameters
    ----------
    parts : sequence of Part
        Weights contain 1/λ.
    shared : names of the parameters that all frames have in common
    priors : mapping of the names of some of these to Prior

    Attributes
    ----------
    params : PlainParameters
        Shared ones by name, own ones as "name 1", "name 2", … by the number of their frame.
    data : (n,) array
    """

    def __init__(self, parts: Sequence[Part], shared: Sequence[str], priors: Mapping[str, Prior]) -> None:
        self.parts, self.shared, self.priors = list(parts), list(shared), dict(priors)
        self.data = np.concatenate([part.problem.data for part in parts])
        self.params = PlainParameters()
        for name in shared:
            self.params[name] = parts[0].params[name]
        for i, part in enumerate(parts):
            for name in part.names:
                if name in self.shared:
                    part.params[name] = self.params[name]
                else:
                    self.params[self.of(name, i)] = part.params[name]
        self.names = fitted_names(self.params)
        self.places = [
            np.array([self.names.index(self.of(name, i)) for name in part.names])
            for i, part in enumerate(parts)
        ]

    def of(self, name: str, frame: int) -> str:
        """The name here of a parameter of a frame, counted from 0."""
        return name if name in self.shared else f"{name} {frame + 1}"

    def normal_equations(self, params: Parameters) -> Normal:
        """Of all frames and priors; params are this problem's own."""
        count = len(self.names)
        cost, normal, slope = 0.0, np.zeros((count, count)), np.zeros(count)
        for part, place in zip(self.parts, self.places, strict=True):
            each = part.problem.normal_equations(part.params)
            cost += each.cost
            normal[np.ix_(place, place)] += each.normal
            slope[place] += each.slope
        for name, prior in self.priors.items():
            if name not in self.names:
                continue
            i, away = self.names.index(name), (params[name].value - prior.mean) / prior.sigma
            cost += away**2
            normal[i, i] += 1 / prior.sigma**2
            slope[i] -= away / prior.sigma
        return Normal(cost, normal, slope)
