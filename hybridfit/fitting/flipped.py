"""Fits of frames that the camera has mirrored.

Pixels stay those of the file: centre, scale, ellipticity and the pictures are as recorded, and

    pixel (col, row) = centre + scale · R(rotation) · E · F · k,    F = diag(1, −1),

so that rotation still turns kx from the columns towards the rows, while ky points the other way.
Tilts are in the frame of the crystal, not of its mirror image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import lmfit
import numpy as np
from numpy.typing import ArrayLike

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.result import FitResult
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirrored

TURNED = "tilt_y"  # what has the other sign in the mirror
SAID = re.compile(r"(tilt -?[\d.]+, )(-?)([\d.]+ mrad)")  # of another minimum, in a message


class FlippedFitter:
    """A `Fitter` for a camera that mirrors its frames (left and right, or top and bottom).

    Parameters
    ----------
    library, semi_angle, fix, hints, options
        As for `Fitter`.  A network serves where the crystal is its own mirror image across x; the
        whole library is searched for others.

    Attributes
    ----------
    fitter : Fitter
        Of the mirror image, with tilts in the frame of that.
    """

    def __init__(
        self,
        library: Library,
        semi_angle: float,
        *,
        fix: Mapping[str, float | None] | None = None,
        hints: Hints | None = None,
        **options: Any,
    ) -> None:
        if hints is not None and hints.tilt is not None:
            hints = replace(hints, tilt=(hints.tilt[0], -hints.tilt[1]))
        self.library = library
        self.fitter = Fitter(
            mirrored(library), semi_angle, fix=flipped_fix(fix or {}), hints=hints, **options
        )

    def fit(self, frame: Frame | ArrayLike) -> FitResult:
        """As `Fitter.fit`."""
        return flipped_result(self.fitter.fit(frame))

    def refine(self, frame: Frame | ArrayLike, seed: Candidate) -> FitResult:
        """As `Fitter.refine`."""
        return flipped_result(self.fitter.refine(frame, _flipped(seed)))


def flipped_fix(fix: Mapping[str, float | None]) -> dict[str, float | None]:
    """What is fixed, in the frame of the mirror image, or back."""
    return {n: -v if n == TURNED and isinstance(v, int | float) else v for n, v in fix.items()}


def flipped_result(result: FitResult) -> FitResult:
    """A result of the mirror image, in the frame of the crystal."""
    parameters = dict(result.parameters)
    p = parameters[TURNED]
    interval = None if p.interval95 is None else (-p.interval95[1], -p.interval95[0])
    parameters[TURNED] = replace(p, value=-p.value, interval95=interval)
    if result.minimizer is not None:
        _flip_minimizer(result.minimizer)
    return replace(
        result,
        parameters=parameters,
        message=flipped_words(result.message),
        seed=_flipped(result.seed),
        candidates=tuple(_flipped(candidate) for candidate in result.candidates),
        fitter=None,  # it knows the model of the mirror image
        flipped=True,
    )


def flipped_words(message: str) -> str:
    """A message with the tilt that it names, if any, in the frame of the crystal."""
    return SAID.sub(lambda said: f"{said[1]}{'' if said[2] else '-'}{said[3]}", message)


def _flipped(candidate: Candidate) -> Candidate:
    return replace(candidate, tilt_y=-candidate.tilt_y)


def _flip_minimizer(minimizer: lmfit.minimizer.MinimizerResult) -> None:
    p = minimizer.params[TURNED]
    low, high, error = -p.max, -p.min, p.stderr
    p.set(value=-p.value, min=low, max=high)
    p.stderr = error
    names = list(getattr(minimizer, "var_names", ()))
    if TURNED in names and getattr(minimizer, "covar", None) is not None:
        sign = np.where(np.array(names) == TURNED, -1.0, 1.0)
        minimizer.covar = sign[:, None] * minimizer.covar * sign
    for name in names:
        for other, value in (minimizer.params[name].correl or {}).items():
            if (name == TURNED) != (other == TURNED):
                minimizer.params[name].correl[other] = -value
