"""What a picture of a fit needs to know: any object with these attributes can be drawn.

`hybridfit.fitting.result.FitResult` is one. The pictures do not import it, so that results may import the
pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Value(Protocol):
    """A number with its standard error and 95 % interval, as far as they are known."""

    @property
    def value(self) -> float:
        """The number itself."""

    @property
    def stderr(self) -> float | None:
        """None where it was fixed, is discrete, or sits on a bound."""

    @property
    def interval95(self) -> tuple[float, float] | None:
        """Lower and upper end."""

    @property
    def unit(self) -> str | None:
        """Of a structural parameter; other units are in `hybridfit.quantities`."""

    @property
    def odds(self) -> Mapping[float, float] | None:
        """Of every value of a discrete parameter."""


class Rival(Protocol):
    """A minimum of χ² that was refined."""

    @property
    def thickness(self) -> float:
        """nm."""

    @property
    def tilt_x(self) -> float:
        """mrad."""

    @property
    def tilt_y(self) -> float:
        """mrad."""

    @property
    def chi2(self) -> float:
        """Sum of squares over the pattern's variance; not above 0 where it is not known."""


class Images(Protocol):
    """The compared region: images (rows, cols), NaN where nothing was compared."""

    @property
    def experiment(self) -> Array:
        """Frame units."""

    @property
    def fit(self) -> Array:
        """Frame units."""

    @property
    def radius_mrad(self) -> Array:
        """Scattering angle of every pixel."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top in px of the frame."""


class Ending(Protocol):
    """How a fit ended: the name of its status."""

    @property
    def name(self) -> str:
        """A key of `style.STATUS_COLOURS`."""


class Answer(Protocol):
    """The answer for one frame; see `hybridfit.fitting.result.FitResult` for what each attribute means."""

    @property
    def source(self) -> str: ...
    @property
    def library(self) -> str: ...
    @property
    def status(self) -> Ending: ...
    @property
    def message(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Value]: ...
    @property
    def structure(self) -> Mapping[str, Value]: ...
    @property
    def varied(self) -> Sequence[str]: ...
    @property
    def candidates(self) -> Sequence[Rival]: ...
    @property
    def whole_curve(self) -> Array | None: ...
    @property
    def curve_searched(self) -> bool: ...
    @property
    def flipped(self) -> bool: ...
    @property
    def thumbnail(self) -> Images: ...
    @property
    def residual_fraction(self) -> float: ...
    @property
    def misfit_fraction(self) -> float: ...
    @property
    def reduced_chi2(self) -> float: ...
    @property
    def budget(self) -> Mapping[str, Mapping[str, float]]: ...
