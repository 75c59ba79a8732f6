"""How the answer for one pattern changes when an annulus is masked, for annuli of growing radius.

After Xu & LeBeau (2018), Section 5.1, where the annulus was 2.2 mrad wide at a semi-angle of 13.6 mrad. Both
the network and the least-squares fit can be asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import HybridfitError, InputError
from hybridfit.explain.masks import check_annulus, check_how, in_annulus, mask_annulus
from hybridfit.explain.settings import SWEEP, SweepSettings
from hybridfit.fitting.candidates import Candidate, Seed, tilt_distance
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.result import FitResult
from hybridfit.frame import Frame, make_frame
from hybridfit.model import FITTED_BEYOND_DISC
from hybridfit.quantities import quantity

Array = NDArray[np.float64]

NAMES = ("thickness", "tilt_x", "tilt_y")


def sweep_mask(
    frame: Frame | ArrayLike,
    fitter: Fitter,
    *,
    radii: ArrayLike | None = None,
    width: float = SWEEP.width,
    how: str = "mean",
    anew: bool = False,
    settings: SweepSettings = SWEEP,
) -> xr.Dataset:
    """Mask one annulus after the other, and ask for thickness and tilt each time.

    Parameters
    ----------
    frame : Frame or (rows, cols) array
    fitter : Fitter
        Its method says what is asked: "cnn", the network; "lsf", the least-squares fit; "hybrid", both.
    radii : (n,), mrad, optional
        Middles of the annuli, about the centre of the unmasked answer. By default they lie half a width
        apart and reach to the end of the fitted region. Where the radius is below half a width, the annulus
        is a disc.
    width : float, mrad
        Width of an annulus, above 0.
    how : str
        "mean" or "exclude", as for `mask_annulus`. The first asks what the features of the annulus
        contribute, as in the paper; the second what the rest of the pattern says.
    anew : bool
        False: the alignment of the unmasked pattern is kept. The network reads the same crop every time, and
        the fit starts from the unmasked answer. True: disc, seed and answer are found again each time.
    settings : SweepSettings, optional
        The number of default radii.

    Returns
    -------
    xarray.Dataset
        On (by, radius), where `by` is "network", "fit" or both: thickness, tilt_x, tilt_y, each with its
        `_stderr`; thickness_change; and tilt_change, the distance of the tilts up to symmetry. NaN where
        there was no answer. On (by): `unmasked_thickness` and so on. On (radius): radius_bounds, and pixels,
        the number of masked pixels; where that is 0 the answer is the unmasked one.

    Raises
    ------
    InputError
        Radii or a width that make no annulus, or a frame that cannot be fitted unmasked.
    """
    if not isinstance(fitter, Fitter):
        raise InputError(
            f"{type(fitter).__name__} is no Fitter; make one, Fitter(library, semi_angle, method=…)"
        )
    if fitter.settings.flip:
        raise InputError(
            "a sweep takes no fitter with flip=True; mirror the frame, image[:, ::-1], and give one without"
        )
    check_how(how)
    frame = frame if isinstance(frame, Frame) else make_frame(frame)
    radius, bounds = _bounds(radii, width, fitter.semi_angle, settings)
    seed = None if fitter.seeder is None else fitter.seeder.seed(frame)
    result = None if fitter.method == "cnn" else _fit(fitter, frame, seed)
    camera = result.candidates[0] if result is not None else _likeliest(seed)
    centre, scale = (camera.centre_x, camera.centre_y), camera.scale
    masked, pixels = [], []
    for inner, outer in bounds.tolist():
        n = int((frame.valid & in_annulus(frame.image.shape, centre, inner, outer, scale)).sum())
        masked.append(mask_annulus(frame, centre, inner, outer, scale=scale, how=how) if n else frame)
        pixels.append(n)
    answers: dict[str, tuple[Array, Array]] = {}
    if seed is not None:
        unmasked, *found = _seeds(fitter, [frame, *masked], None if anew else _likeliest(seed))
        answers["network"] = _of_seed(unmasked), np.array([_of_seed(s) for s in found])
    if result is not None:
        fits = [_refit(fitter, each, None if anew else camera) for each in masked]
        answers["fit"] = (
            _of_result(result),
            np.array([np.full((len(NAMES), 2), np.nan) if fit is None else _of_result(fit) for fit in fits]),
        )
    for before, after in answers.values():
        after[np.array(pixels) == 0] = before
    out = _dataset(answers, fitter.library.rotation_order)
    about = {"units": "mrad", "long_name": "radius of the masked annulus", "bounds": "radius_bounds"}
    out = out.assign_coords(radius=("radius", radius, about))
    out["radius_bounds"] = (("radius", "bound"), bounds)
    out["pixels"] = ("radius", np.array(pixels), {"units": "1", "long_name": "number of masked pixels"})
    attrs = fitter.library.dataset.attrs
    zone = " ".join(str(int(i)) for i in np.atleast_1d(attrs["zone"]))
    out.attrs = {
        "source": frame.source,
        "library": f"{attrs['crystal']} [{zone}] {attrs['energy_kv']:g} kV",
        "semi_angle_mrad": fitter.semi_angle,
        "width_mrad": float(width),
        "masked": how,
        "anew": int(anew),
    }
    return out


def _bounds(
    radii: ArrayLike | None, width: float, semi_angle: float, settings: SweepSettings
) -> tuple[Array, Array]:
    """Middle (n,), inner and outer radius (n, 2) of every annulus (mrad)."""
    if not 0 < width < np.inf:
        raise InputError(f"an annulus of width {width:g} mrad cannot be; give a positive width")
    if radii is None:
        step = width / settings.steps
        middles = np.arange(step, semi_angle + FITTED_BEYOND_DISC + step, step)
    else:
        middles = np.atleast_1d(np.asarray(radii, dtype=float))
    if middles.ndim != 1 or not middles.size:
        raise InputError(f"radii of shape {middles.shape} cannot be swept; give a list of radii in mrad")
    if not (middles >= 0).all():
        raise InputError(f"radius {np.nanmin(middles):g} mrad cannot be swept; give radii of 0 or more")
    bounds = np.stack([np.maximum(middles - width / 2, 0), middles + width / 2], axis=1)
    for inner, outer in bounds.tolist():
        check_annulus(inner, outer)
    return middles, bounds


def _likeliest(seed: Seed | None) -> Candidate:
    assert seed is not None  # a fitter without a network has a fit
    return seed.candidates[0]


def _fit(fitter: Fitter, frame: Frame, seed: Seed | None) -> FitResult:
    return fitter.fit(frame) if seed is None else fitter.fit_seeded(frame, seed)


def _seeds(fitter: Fitter, frames: Sequence[Frame], camera: Candidate | None) -> list[Seed]:
    """Answers of the network for frames; they are cut out by a camera if it is given."""
    from hybridfit.fitting.seed.network import Seeder

    seeder = fitter.seeder
    assert seeder is not None
    if camera is not None:
        hints = Hints(centre=(camera.centre_x, camera.centre_y), scale=camera.scale)
        seeder = Seeder(
            seeder.network,
            seeder.library,
            seeder.semi_angle,
            hints=hints,
            background=fitter.settings.background,
        )
    return seeder.seed_many(frames)


def _refit(fitter: Fitter, frame: Frame, start: Candidate | None) -> FitResult | None:
    """The fit of a masked frame; None where it cannot be fitted."""
    try:
        return fitter.fit(frame) if start is None else fitter.refine(frame, start)
    except HybridfitError:
        return None


def _of_seed(seed: Seed) -> Array:
    """Value and standard error of NAMES: (3, 2)."""
    best = seed.candidates[0]
    return np.array([(getattr(best, name), s) for name, s in zip(NAMES, seed.spread, strict=True)])


def _of_result(result: FitResult) -> Array:
    values = [result[name] for name in NAMES]
    return np.array([(p.value, np.nan if p.stderr is None else p.stderr) for p in values])


def _dataset(answers: dict[str, tuple[Array, Array]], order: int) -> xr.Dataset:
    """The answers on (by, radius), and the unmasked ones on (by)."""
    unmasked = np.array([answer for answer, _ in answers.values()])  # (by, name, 2)
    masked = np.array([found for _, found in answers.values()])  # (by, radius, name, 2)
    dims, out = ("by", "radius"), xr.Dataset()
    for i, name in enumerate(NAMES):
        known = quantity(name)
        for k, (suffix, about) in enumerate({"": known.attrs, "_stderr": known.stderr_attrs}.items()):
            out[name + suffix] = (dims, masked[:, :, i, k], about)
            about = about | {"long_name": f"{about['long_name']}, nothing masked"}
            out[f"unmasked_{name}{suffix}"] = ("by", unmasked[:, i, k], about)
    change = masked[:, :, 0, 0] - unmasked[:, None, 0, 0]
    about = {"units": "nm", "long_name": "change of thickness"}
    out["thickness_change"] = (dims, change, about)
    moved = [
        [tilt_distance(tuple(tilt), tuple(at), order) for tilt in row]
        for row, at in zip(masked[:, :, 1:, 0], unmasked[:, 1:, 0], strict=True)
    ]
    about = {"units": "mrad", "long_name": "change of tilt, up to symmetry"}
    out["tilt_change"] = (dims, np.array(moved), about)
    return out.assign_coords(by=("by", list(answers)))
