"""What a picture of a fit is drawn from, as bytes beside its JSON: images, the χ² curve, a few words.

The bytes are a NumPy archive of plain arrays. Nothing in it is ever run: no pickles.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.quantities import QUANTITIES


@dataclass(frozen=True)
class Kept:
    """Images and curve of a fit.

    Attributes
    ----------
    experiment, fit, radius_mrad : (rows, cols) float32 arrays
        The compared region, in units of the frame; NaN where nothing was compared.
    extent : (left, right, bottom, top), px of the frame
    curve : (2, n) array or None
        Thickness (nm) and χ².
    varied : names of the fitted parameters
    curve_searched : whether the curve is the least χ², not that at the answer's tilt and camera
    """

    experiment: NDArray[Any]
    fit: NDArray[Any]
    radius_mrad: NDArray[Any]
    extent: tuple[float, float, float, float]
    curve: NDArray[np.float64] | None
    varied: tuple[str, ...]
    curve_searched: bool

    def packed(self) -> bytes:
        """As bytes, for `Session.add`."""
        about = {"extent": self.extent, "varied": self.varied, "curve_searched": self.curve_searched}
        arrays: dict[str, Any] = {
            name: np.asarray(getattr(self, name), np.float32) for name in ("experiment", "fit", "radius_mrad")
        }
        if self.curve is not None:
            arrays["curve"] = np.asarray(self.curve, float)
        out = io.BytesIO()
        np.savez_compressed(out, about=np.array(json.dumps(about)), **arrays)
        return out.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> Kept:
        """From bytes; an InputError where they are damaged."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                images = [stored[name] for name in ("experiment", "fit", "radius_mrad")]
                curve = stored["curve"] if "curve" in stored else None
            if len({image.shape for image in images}) > 1 or images[0].ndim != 2:
                raise ValueError("images of unlike shapes")
            left, right, bottom, top = (float(v) for v in about["extent"])
            experiment, fit, radius = images
            return cls(
                experiment,
                fit,
                radius,
                extent=(left, right, bottom, top),
                curve=curve,
                varied=tuple(str(name) for name in about["varied"]),
                curve_searched=bool(about["curve_searched"]),
            )
        except Exception as error:  # whatever zipfile and NumPy raise of damaged bytes
            raise InputError(f"the images of this fit are damaged ({error}); fit the frame again") from None


class Images(Protocol):
    """The compared region of a fit."""

    @property
    def experiment(self) -> NDArray[Any]: ...
    @property
    def fit(self) -> NDArray[Any]: ...
    @property
    def radius_mrad(self) -> NDArray[Any]: ...
    @property
    def extent(self) -> tuple[float, float, float, float]: ...


class Fitted(Protocol):
    """What is asked of a `hybridfit.fitting.result.FitResult`, which this package does not import."""

    @property
    def thumbnail(self) -> Images: ...
    @property
    def varied(self) -> tuple[str, ...]: ...
    @property
    def along_thickness(self) -> Any: ...
    @property
    def curve_searched(self) -> bool: ...
    @property
    def whole_curve(self) -> NDArray[np.float64] | None:
        """Computed when it is first asked for."""


def kept_of(result: Fitted, *, curve: bool = True) -> Kept:
    """What is kept of a result.

    Parameters
    ----------
    result : FitResult
    curve : bool
        Whether χ² over the whole library is computed where it is not known yet (0.8 s); it is missing else.
    """
    shown = result.thumbnail
    known = curve or result.along_thickness is None or "whole_curve" in vars(result)  # a cached property
    return Kept(
        np.asarray(shown.experiment, np.float32),
        np.asarray(shown.fit, np.float32),
        np.asarray(shown.radius_mrad, np.float32),
        extent=shown.extent,
        curve=result.whole_curve if known else None,
        varied=tuple(result.varied),
        curve_searched=result.curve_searched,
    )


class KeptAnswer:
    """A fit of the session, as pictures and reports take it (`hybridfit.plot.answer.Answer`).

    Parameters
    ----------
    answer : mapping
        The JSON of the fit.
    kept : Kept
    """

    def __init__(self, answer: Mapping[str, Any], kept: Kept) -> None:
        self._json = dict(answer)
        self.thumbnail, self.whole_curve = kept, kept.curve
        self.varied, self.curve_searched = kept.varied, kept.curve_searched
        self.source, self.library = str(answer["file"]), str(answer["library"])
        self.message = str(answer["message"])
        self.status = SimpleNamespace(name=str(answer["status"]))
        self.flipped = bool(answer.get("flipped", False))
        self.parameters = {
            name: _value(answer[known.json_key])
            for name, known in QUANTITIES.items()
            if isinstance(answer.get(known.json_key), Mapping)
        }
        self.structure = {name: _value(each) for name, each in answer["structure"].items()}
        self.candidates = [_rival(each) for each in answer["candidates"]]
        for name in ("residual_fraction", "misfit_fraction", "reduced_chi2"):
            number = answer[name]
            setattr(self, name, math.nan if number is None else float(number))
        names = {known.json_key: name for name, known in QUANTITIES.items()}
        self.budget = {names.get(key, key): dict(parts) for key, parts in answer["budget"].items()}

    residual_fraction: float
    misfit_fraction: float
    reduced_chi2: float

    def to_json(self) -> dict[str, Any]:
        """The JSON of the fit, as it was given."""
        return dict(self._json)


def _value(found: Mapping[str, Any]) -> SimpleNamespace:
    interval, odds = found["interval95"], found.get("odds")
    return SimpleNamespace(
        value=math.nan if found["value"] is None else float(found["value"]),
        stderr=found["stderr"],
        interval95=None if interval is None else (interval[0], interval[1]),
        unit=found.get("unit"),
        odds=None if odds is None else {float(value): share for value, share in odds.items()},
    )


def _rival(found: Mapping[str, Any]) -> SimpleNamespace:
    chi2 = found["chi2"]
    return SimpleNamespace(
        thickness=found["thickness_nm"],
        tilt_x=found["tilt_x_mrad"],
        tilt_y=found["tilt_y_mrad"],
        chi2=math.nan if chi2 is None else chi2,
    )


def with_curve(kept: Kept, result: Fitted) -> Kept:
    """The same with χ² over the whole library."""
    return replace(kept, curve=result.whole_curve, curve_searched=result.curve_searched)
