"""Fits of frames that say themselves which library they show: `--library auto` of a watch.

The first frame is identified.  Later ones are fitted with its library, until one is a poor match or fails:
it is then identified, too, and a library that it shows takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hybridfit.errors import InputError
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.identification.answer import Identification
from hybridfit.identification.identifier import Identifier
from hybridfit.identification.suggest import DOUBTFUL, of_any_crystal

Fit = Callable[[Frame], FitResult]


class AutoFitter:
    """Fits frames of one semi-angle with the library that they show.

    Parameters
    ----------
    identifier : Identifier
        Of the libraries that come into question.
    fitter_of : callable(name) -> callable(Frame) -> FitResult
        Makes the fits with a library, by its name.
    said : callable(Identification), optional
        Called when a library takes over.

    Attributes
    ----------
    library : str or None
        Name of the one that fits now.
    """

    def __init__(
        self,
        identifier: Identifier,
        fitter_of: Callable[[str], Fit],
        said: Callable[[Identification], None] = lambda found: None,
    ) -> None:
        self.library: str | None = None
        self._identifier, self._fitter_of, self._said = identifier, fitter_of, said
        self._fits: dict[str, Fit] = {}

    @classmethod
    def of_built(
        cls, semi_angle: float, said: Callable[[Identification], None] = lambda found: None, **options: Any
    ) -> AutoFitter:
        """With all libraries that are built; options are fields of `FitSettings`, and `network`.

        Raises
        ------
        InputError
            There is none that reaches the semi-angle, or an option cannot be.
        """
        FitSettings(semi_angle=semi_angle, **{k: v for k, v in options.items() if k != "network"})  # checks
        identifier = Identifier(semi_angle, mirror=False, **of_any_crystal(options))
        libraries = {each.name: each.library for each in identifier.known}
        return cls(identifier, lambda name: Fitter(libraries[name], semi_angle, **options).fit, said)

    def fit(self, frame: Frame) -> FitResult:
        """Fit a frame with the library that it shows.

        Raises
        ------
        InputError
            The frame cannot be used; or no library fits yet, and it shows none of them.
        """
        if self.library is None:
            self._take(self._identifier.identify(frame), frame)
            return self._fit(frame)
        try:
            result = self._fit(frame)
        except InputError:
            if not self._taken_over(frame):
                raise
            return self._fit(frame)
        if result.status in DOUBTFUL and self._taken_over(frame):
            return self._fit(frame)
        return result

    def _taken_over(self, frame: Frame) -> bool:
        """Whether a frame shows another library, which is then taken."""
        found = self._identifier.identify(frame)
        if found.answer is None or found.answer == self.library:
            return False
        self._take(found, frame)
        return True

    def _fit(self, frame: Frame) -> FitResult:
        assert self.library is not None
        if self.library not in self._fits:
            self._fits[self.library] = self._fitter_of(self.library)
        return self._fits[self.library](frame)

    def _take(self, found: Identification, frame: Frame) -> None:
        """Take the library that was found."""
        if found.answer is None:
            raise InputError(f"{frame.source}: {found.message}")
        self.library = found.answer
        self._said(found)
