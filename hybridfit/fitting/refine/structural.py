"""Structural parameters in a fit: where continuous ones start, what discrete ones are held at, their odds.

Seeds are found at a reference value.  From there every combination of the discrete values is fitted
by itself, each from several starts of the continuous parameters, and the least χ² wins.  With it
goes the odds of a value v,

    p(v) ∝ exp(−Δχ²(v)/2),        Δχ²(v) = (χ²(v)/χ²_least − 1) · N_eff,

χ²(v) being the least with that value, N_eff the independent pixels of the best fit's residual.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybridfit.fitting.candidates import Candidate, turn
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.library.axes import StructuralAxis
from hybridfit.library.grid import lattice_order
from hybridfit.library.library import Library

Fix = Mapping[str, float | None]
Discrete = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Variant:
    """A combination of discrete values: its refinements, and starts for the continuous parameters."""

    refiner: Refiner
    starts: tuple[dict[str, float], ...]


def reference_values(library: Library, fix: Fix) -> dict[str, float]:
    """Values of all structural parameters at which seeds are found: near 0 or the middle, unless fixed."""
    return {name: _known(name, axis, fix) for name, axis in library.structure.items()}


def make_variants(
    library: Library, fix: Fix, make: Callable[..., Refiner], shares: Sequence[float]
) -> list[Variant]:
    """Every combination of the discrete values, the reference first; a single one where there is none.

    Parameters
    ----------
    library : Library
    fix : mapping of parameter name to value, or to None to keep the reference
    make : callable (library without discrete parameters, discrete=their values) → Refiner
    shares : sequence of float
        Of the range of a continuous parameter: where it starts.
    """
    axes = library.structure
    reference = reference_values(library, fix)
    choices: dict[str, list[float]] = {}
    for name, axis in axes.items():
        if not axis.continuous:
            others = [] if name in fix else [float(v) for v in axis.values if v != reference[name]]
            choices[name] = [reference[name], *others]
    starts = tuple(
        _starts({name: axis for name, axis in axes.items() if axis.continuous}, reference, fix, shares)
    )
    out = []
    for combination in itertools.product(*choices.values()):
        discrete = dict(zip(choices, combination, strict=True))
        out.append(Variant(make(library.at(**discrete), discrete=discrete), starts))
    return out


def all_turns(
    found: Sequence[Candidate], library: Library, reference: Library, rotation: float | None = None
) -> list[Candidate]:
    """What candidates at the reference stand for in the other crystals of a library.

    The reference may have a higher symmetry than the others, or be the turned image of one of them:
    without a known rotation (degrees) every turn of the lattice that they tell apart is worth a look;
    with one, of those turns that leave the reference as it is, the one that comes nearest.
    """
    common = library.rotation_order
    if not library.structure:
        return list(found)
    order = lattice_order(reference.dataset.basis.values) if rotation is None else reference.rotation_order
    out: list[Candidate] = []
    for candidate in found:
        turns = [turn(candidate, 360 * k / order) for k in range(order // common)]
        if rotation is not None:
            sector = 360 / common
            away = [abs((c.rotation - rotation + sector / 2) % sector - sector / 2) for c in turns]
            turns = [turns[int(np.argmin(away))]]
        out += turns
    return out


def odds(
    best: Discrete, tried: Iterable[tuple[Discrete, float]], n_effective: float
) -> dict[str, dict[float, float] | None]:
    """Odds of every value of each discrete parameter; None where only one value was tried.

    Parameters
    ----------
    best : values of the discrete parameters
    tried : values of the discrete parameters and χ² of every minimum, all under the same weights
    n_effective : float
        Independent pixels that the residual of the best fit amounts to.
    """
    tried = list(tried)
    least = min(chi2 for _, chi2 in tried)
    out: dict[str, dict[float, float] | None] = {}
    for name in best:
        chi2: dict[float, float] = {}
        for discrete, each in tried:
            chi2[discrete[name]] = min(each, chi2.get(discrete[name], np.inf))
        rise = {v: (each / least - 1) * n_effective for v, each in sorted(chi2.items())}
        weights = {v: float(np.exp(-each / 2)) for v, each in rise.items()}
        total = sum(weights.values())
        out[name] = {v: weight / total for v, weight in weights.items()} if len(chi2) > 1 else None
    return out


def _known(name: str, axis: StructuralAxis, fix: Fix) -> float:
    value = fix.get(name)
    return axis.reference if value is None else axis.checked(name, value)


def _starts(
    axes: Mapping[str, StructuralAxis], reference: Discrete, fix: Fix, shares: Sequence[float]
) -> Iterable[dict[str, float]]:
    """The first share of all ranges, the middle; then each parameter by itself at the others."""
    spread = {
        name: [reference[name]]
        if name in fix
        else [axis.low + share * (axis.high - axis.low) for share in shares]
        for name, axis in axes.items()
    }
    middle = {name: values[0] for name, values in spread.items()}
    yield middle
    for name, values in spread.items():
        for value in values[1:]:
            yield middle | {name: value}
