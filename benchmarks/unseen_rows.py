"""A frame of `benchmarks.unseen_frames`: where its disc is found, or what its fit says, against the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import NAMES, Row, judged
from benchmarks.unseen import Case, cases, library_of
from benchmarks.unseen_frames import Drawn, frames
from hybridfit import Fitter, Library
from hybridfit.errors import HybridfitError, InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.seed.alignment import Aligner
from hybridfit.frame import make_frame
from hybridfit.model import FITTED_BEYOND_DISC, ForwardModel
from hybridfit.pattern.camera import Camera

ALIGNMENT, FIT = "alignment", "fit"
FREE = (*NAMES, *Camera._fields, "blur")
DARKEST = 0.02  # of the mean: what a pixel's expected value is at least, for the bound
WINDOW = (3.0, 1.0)  # nm, mrad: of the library around the truth


def row_of(kind: str, i: int, count: int) -> Row:
    """Frame i of count; kind is "PART CRYSTAL", so that `benchmarks.kept` can tell rows apart."""
    part, name = kind.split(" ", 1)
    case = cases()[name]
    try:
        drawn = frames(case, part, count)[i]
    except InputError as error:  # the library would be too large
        return {"crystal": name, "left_out": str(error)}
    truth = drawn.truth
    row: Row = {"crystal": name, "kind": drawn.kind, "masked": drawn.mask is not None}
    row |= {what: truth[what] for what in ("semi_angle", "electrons", "size")}
    row["true_thickness"] = truth["thickness"]
    row["tilt"] = float(np.hypot(truth["tilt_x"], truth["tilt_y"]))
    row["radius"] = truth["scale"] * truth["semi_angle"]
    return row | (aligned(drawn) if part == ALIGNMENT else fitted(case, drawn))


# ---------------------------------------------------------------- the disc


@lru_cache(maxsize=4)
def _aligner(semi_angle: float) -> Aligner:
    return _calibrated(semi_angle, None)


def _calibrated(semi_angle: float, scale: float | None) -> Aligner:
    """An aligner that knows the scale (px/mrad)."""
    found = Aligner.shipped(semi_angle, hints=Hints(scale=scale))
    if found is None:
        raise RuntimeError("the weights of the aligner are missing")
    return found


def aligned(drawn: Drawn) -> Row:
    """Errors of size and centre of the disc, of the radius, and how sure the aligner is."""
    truth = drawn.truth
    aligner = _aligner(truth["semi_angle"])
    try:
        frame = make_frame(drawn.image, mask=drawn.mask)
        start = time.perf_counter()
        found = aligner.align(frame)
        seconds = time.perf_counter() - start
        calibrated = _calibrated(truth["semi_angle"], truth["scale"]).align(frame)
    except HybridfitError as error:
        return {"size_error": 1.0, "centre_error": 1.0, "sure": False, "message": str(error)}
    return {
        **_off(found.camera, truth),
        "doubt": float(found.doubt),
        "sure": bool(found.sure),
        "seconds": seconds,
        "calibrated_centre_error": _off(calibrated.camera, truth)["centre_error"],
    }


# ---------------------------------------------------------------- the fit


@lru_cache(maxsize=1)
def _fitter(case: Case) -> Fitter:
    return Fitter(library_of("fitted", case), case.semi_angles[0])


def fitted(case: Case, drawn: Drawn) -> Row:
    """The fit without a network of the crystal's own, and the Cramér–Rao bounds of this frame."""
    new = _fitter.cache_info().misses
    fitter, truth = _fitter(case), drawn.truth
    order = fitter.library.rotation_order
    frame = make_frame(drawn.image, mask=drawn.mask)
    found: list[FitResult] = []

    def fit() -> FitResult:
        found.append(fitter.fit(frame))
        return found[-1]

    row = judged(fit, truth, order)
    if _fitter.cache_info().misses > new:  # the first made templates: its time is that of a second run
        row["seconds"] = judged(fit, truth, order).get("seconds")
    row["bounds"] = bounds(fitter.library, drawn)
    return row | disc_errors(found[-1] if found else None, truth)


def disc_errors(result: FitResult | None, truth: Mapping[str, Any]) -> Row:
    """Errors of size and centre of the disc of a fit, of the radius; 1 where there is none."""
    if result is None:
        return {"size_error": 1.0, "centre_error": 1.0}
    x, y, scale = (result[name].value for name in ("centre_x", "centre_y", "scale"))
    return _off((x, y, scale), truth)


def _off(camera: tuple[float, float, float], truth: Mapping[str, Any]) -> Row:
    """Errors of size and centre of the disc of a camera (px, px/mrad)."""
    x, y, scale = camera
    off = np.hypot(x - truth["centre_x"], y - truth["centre_y"])
    return {
        "size_error": float(abs(scale / truth["scale"] - 1)),
        "centre_error": float(off / (truth["scale"] * truth["semi_angle"])),
    }


def bounds(library: Library, drawn: Drawn) -> dict[str, float]:
    """Cramér–Rao standard deviations of thickness and tilt (nm, mrad), camera, blur and background free."""
    truth = drawn.truth
    camera = Camera(*(truth[name] for name in Camera._fields))
    row, col = np.indices(drawn.image.shape)
    reach = (truth["semi_angle"] + FITTED_BEYOND_DISC) * camera.scale
    mask: NDArray[np.bool_] = np.hypot(col - camera.centre_x, row - camera.centre_y) <= reach
    if drawn.mask is not None:
        mask &= ~drawn.mask
    tilt = truth["tilt_x"], truth["tilt_y"]
    window = library.window(
        truth["thickness"], tilt, half_widths=WINDOW, semi_angle=truth["semi_angle"] + 0.5
    )
    model = ForwardModel(window, mask, camera, semi_angle=truth["semi_angle"])
    values: dict[str, Any] = {name: truth[name] for name in (*FREE, "semi_angle")}
    found = model.evaluate(values, FREE)
    seen = drawn.image[mask].astype(float)
    coefficients = np.linalg.lstsq(found.columns.T, seen, rcond=None)[0]
    expected = np.maximum(coefficients @ found.columns, DARKEST * seen.mean())
    slopes = np.vstack([found.sensitivity(coefficients), found.columns])
    information = (slopes / expected) @ slopes.T
    unit = np.sqrt(np.diag(information))
    unit[unit == 0] = 1.0  # a blur that is too narrow for any pixel changes nothing
    inverse = np.linalg.pinv(information / np.outer(unit, unit), hermitian=True) / np.outer(unit, unit)
    return {name: float(np.sqrt(max(inverse[i, i], 0.0))) for i, name in enumerate(NAMES)}
