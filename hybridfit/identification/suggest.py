"""What else a frame may show that a library fits poorly: other built libraries that are quickly tried.

Templates of a library take seconds at a semi-angle that it is new to.  Only libraries whose templates are
kept are tried, and what is said names how many these were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hybridfit.errors import HybridfitError
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.settings import FitSettings
from hybridfit.fitting.status import Status
from hybridfit.frame import Frame
from hybridfit.identification.answer import percent
from hybridfit.identification.identifier import Identifier
from hybridfit.identification.known import Known, built_names, comparable, open_known
from hybridfit.library.library import Library

DOUBTFUL = Status.poor_match, Status.failed  # what a fit with the wrong library ends with
BETTER = "{tried} tried: {name} fits it ({odds}); give --library {name}."
NEITHER = "{tried} tried, and none fits it."
UNTRIED = "`hybridfit identify` says whether another library that is built fits it."


class Others:
    """The built libraries other than one.

    Parameters
    ----------
    library : Library
        The one that fits poorly.
    semi_angle : float, mrad
    progress : callable(stage, fraction), optional
    options : fields of `FitSettings`
        background, hints, …
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        progress: Callable[[str, float], None] | None = None,
        **options: Any,
    ) -> None:
        self._own = str(library.dataset.attrs["checksum"])
        self._settings = FitSettings(semi_angle=semi_angle, **options)
        self._options, self._progress = options, progress

    def sentence(self, frame: Frame) -> str:
        """What is said of a frame; empty where no other library is built that could be compared."""
        try:
            known, _ = open_known(built_names())
            others = [each for each in known if each.library.dataset.attrs["checksum"] != self._own]
            others, _ = comparable(others, self._settings.semi_angle, frame.calibration)
        except HybridfitError:
            return ""
        quick = [each for each in others if self._kept(each)]
        if not quick:
            return UNTRIED
        identifier = Identifier(
            self._settings.semi_angle,
            [each.name for each in quick],
            progress=self._progress,
            mirror=False,
            **self._options,
        )
        try:
            found = identifier.identify(frame)
        except HybridfitError:
            return ""
        many = len(quick)
        tried = f"{many} other built libraries were" if many > 1 else "One other built library was"
        if found.answer is None:
            return NEITHER.format(tried=tried)
        return BETTER.format(tried=tried, name=found.answer, odds=percent(found.probability))

    def _kept(self, known: Known) -> bool:
        """Whether its templates are in the cache."""
        searcher = Searcher(
            known.library,
            self._settings.semi_angle,
            hints=self._settings.hints,
            workers=1,
            progress=lambda stage, fraction: None,
            settings=self._settings.searching,
        )
        return not known.library.structure and searcher.kept


def of_any_crystal(options: Mapping[str, Any]) -> dict[str, Any]:
    """What other libraries take of the options of a fit: all that is not of its crystal."""
    about = {name: options[name] for name in ("background", "flip") if name in options}
    if (hints := options.get("hints")) is not None:
        about["hints"] = replace(hints, thickness=None, tilt=None)
    return about


def with_suggestion(result: FitResult, words: str) -> FitResult:
    """The same answer with a further sentence in its message."""
    return replace(result, remarks=(*result.remarks, words)) if words else result
