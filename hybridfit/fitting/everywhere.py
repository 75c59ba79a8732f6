"""The full search of a library with discrete parameters: at each of their values, the best of all first.

A crystal of the other polarity resembles a frame best at another thickness and tilt: what is found at
one value need not lead to the answer at another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.refine.structural import reference_values
from hybridfit.fitting.search.full import Searcher, Templates
from hybridfit.fitting.search.window import joined
from hybridfit.frame import Frame
from hybridfit.library.library import Library

Array = NDArray[np.float64]


class Everywhere:
    """A `Searcher` for every combination of discrete values, the reference first; used like one."""

    def __init__(self, searchers: Sequence[Searcher]) -> None:
        self.searchers = searchers

    def templates(self) -> Templates:
        """Those of the reference; they are made for all."""
        first, *_ = [searcher.templates() for searcher in self.searchers]
        return first

    def search(self, frame: Frame) -> tuple[list[Candidate], Array]:
        """Candidates of all searches, best first, and the least χ² at every thickness: (2, n), nm."""
        searched = [searcher.search(frame) for searcher in self.searchers]
        found = sorted((c for each, _ in searched for c in each), key=lambda c: c.chi2)
        return found, searched[0][1] if len(searched) == 1 else joined([curve for _, curve in searched])


def search_everywhere(
    library: Library,
    fix: Mapping[str, float | None],
    semi_angle: float,
    hints: Hints,
    workers: int,
    progress: Callable[[str, float], None],
) -> Everywhere:
    """What searches a library: arguments as of `Fitter`."""
    reference = reference_values(library, fix)
    discrete = {
        name: [reference[name], *(float(v) for v in axis.values if v != reference[name] and name not in fix)]
        for name, axis in library.structure.items()
        if not axis.continuous
    }
    crystals = [
        library.at(**(reference | dict(zip(discrete, values, strict=True))))
        for values in itertools.product(*discrete.values())
    ]
    return Everywhere(
        [Searcher(each, semi_angle, hints=hints, workers=workers, progress=progress) for each in crystals]
    )
