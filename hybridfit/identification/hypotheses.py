"""Hypotheses: a library at one value of each discrete parameter, as the frame was recorded or mirrored.

A camera that mirrors its frames makes P(F k; F τ) of a pattern, F = diag(1, −1).  Its templates are those of
the crystal at the angles −φ and the tilts F τ: the complex conjugates of their Fourier series.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.structural import reference_values
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.search.templates import Templates
from hybridfit.fitting.settings import FitSettings
from hybridfit.identification.known import Known
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirror_of, mirrored
from hybridfit.pattern.pool import Pool

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """What a frame may show.

    Attributes
    ----------
    known : Known
    discrete : mapping of name to value
        Discrete structural parameters, such as a polarity.
    flipped : bool
        Whether the frame is taken as mirrored by the camera.
    library : Library
        At these values; with its continuous parameters.
    templates : Templates
        As the camera has seen them.
    settings : FitSettings
    workers : int
    """

    known: Known
    discrete: Mapping[str, float]
    flipped: bool
    library: Library
    templates: Templates = field(repr=False)
    settings: FitSettings = field(repr=False)
    workers: int

    @cached_property
    def seen(self) -> Library:
        """What the camera has seen: the mirror image, where it mirrors."""
        return mirrored(self.library) if self.flipped else self.library

    @cached_property
    def refiner(self) -> Refiner:
        """Refinements of what the camera has seen."""
        return Refiner(self.seen, self.settings, pool=Pool(self.workers), discrete=self.discrete)

    @property
    def start(self) -> dict[str, float]:
        """Where the continuous structural parameters start: in the middle of their range."""
        return {name: (axis.low + axis.high) / 2 for name, axis in self.library.structure.items()}

    def outward(self, candidate: Candidate) -> Candidate:
        """A candidate of what the camera has seen, in the frame of the crystal."""
        return candidate.mirrored() if self.flipped else candidate


def hypotheses_of(
    known: Known, settings: FitSettings, workers: int, progress: Progress, mirror: bool = True
) -> list[Hypothesis]:
    """Every hypothesis of a library, the plain ones first.

    Parameters
    ----------
    known : Known
    settings : FitSettings
        With the semi-angle.
    workers : int, threads
    progress : callable(stage, fraction)
    mirror : bool
        Whether frames may be mirrored by the camera; of a projection with a mirror that changes nothing.
        With `settings.flip` they are.
    """
    library = Library(known.library.dataset, on_demand=True)
    reference = reference_values(library, {})
    axes = {name: axis for name, axis in library.structure.items() if not axis.continuous}
    inside = replace(settings, flip=False)
    out: list[Hypothesis] = []
    for values in itertools.product(
        *(_reference_first(axis.values, reference[n]) for n, axis in axes.items())
    ):
        discrete = dict(zip(axes, values, strict=True))
        searcher = Searcher(
            library.at(**{**reference, **discrete}),
            settings.semi_angle,
            hints=settings.hints,
            workers=workers,
            progress=progress,
            settings=settings.searching,
            finding=settings.seeding.disc,
        )
        crystal = library.at(**discrete)
        plain = searcher.templates()
        flips = [settings.flip]
        if mirror and not settings.flip and mirror_of(searcher.library) is None:
            flips.append(True)
        for flip in flips:
            templates = conjugated(plain) if flip else plain
            out.append(Hypothesis(known, discrete, flip, crystal, templates, inside, workers))
    return sorted(out, key=lambda h: h.flipped)


def conjugated(templates: Templates) -> Templates:
    """The same library points as a camera shows them that mirrors its frames."""
    sign = np.array([1, -1], np.float32)[:, None]
    return replace(templates, series=templates.series * sign, tilt_y=-templates.tilt_y)


def _reference_first(values: Sequence[float] | np.ndarray, reference: float) -> list[float]:
    return [reference, *(float(v) for v in values if v != reference)]
