"""A frame: what the camera recorded, and which of its pixels can be trusted.

Row 0 is at the top; saturated, hot and dead pixels are found here, once for every kind of input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from hybridfit.defects import Defects, find_hot_clusters, find_unmeasured, no_data
from hybridfit.errors import InputError

SMALLEST_SIDE_PX = 16
LARGEST_VALUE = 1e30  # beyond it: fill values of netCDF, or nonsense whose square overflows
NAN_AT_MOST = 0.5  # of a frame
SATURATED_AT_MOST = 0.25  # of the bright region


@dataclass(frozen=True, eq=False)
class Frame:
    """One diffraction pattern as the camera recorded it.

    Attributes
    ----------
    image : ndarray of float64, (rows, cols)
        Intensity, finite everywhere. Do not use values where `valid` is False.
    valid : ndarray of bool, (rows, cols)
        True where the pixel can be used: not masked, saturated, hot or dead.
    source : str
        The file it came from, "file[i]" for a frame of a stack.
    note : str
        What was masked that no mask said, in one line: "1527 px masked: a cross of 3 rows and 3 columns".
    calibration : mapping
        What the file says of camera and microscope: "mrad_per_px", "semi_angle_mrad" and "energy_kv", those
        which it states.
    """

    image: np.ndarray
    valid: np.ndarray
    source: str
    note: str = ""
    calibration: Mapping[str, float] = field(default_factory=dict)


def make_frame(image: ArrayLike, *, source: str = "array", mask: ArrayLike | None = None) -> Frame:
    """Check a two-dimensional array and find the pixels that cannot be trusted.

    Parameters
    ----------
    image : array_like, (rows, cols)
        Integer or real; negative values are allowed (dark-subtracted cameras). Copied. The masked entries
        of a `numpy.ma` array are left out.
    source : str
        Where it came from; error messages start with it.
    mask : array_like of bool, (rows, cols), optional
        True = leave this pixel out.

    Raises
    ------
    InputError
        If the array is not a usable frame: wrong dimensions or type, smaller than 16 px, half of its pixels
        NaN or infinite, all zero, constant, or more than 25 % of its bright region saturated.
    """
    try:
        raw = np.ma.asarray(image) if isinstance(image, np.ma.MaskedArray) else np.asarray(image)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{source} is not an array ({str(error).splitlines()[0]}); pass a 2-D numeric array"
        ) from error
    if raw.dtype.kind not in "uif":
        remedy = "pass its intensity, abs(image)**2" if raw.dtype.kind == "c" else "pass integers or floats"
        raise InputError(f"{source} holds {raw.dtype} values, not intensities; {remedy}")
    if raw.ndim != 2:
        raise InputError(f"{source} has {raw.ndim} dimensions {raw.shape}; a frame has 2 (rows, columns)")
    if min(raw.shape) < SMALLEST_SIDE_PX:
        raise InputError(
            f"{source} is {raw.shape[0]} by {raw.shape[1]} px; "
            f"at least {SMALLEST_SIDE_PX} px a side are needed: record or crop a larger frame"
        )
    left_out = np.zeros(raw.shape, bool) if mask is None else np.asarray(mask)
    if left_out.shape != raw.shape or left_out.dtype.kind not in "bui":
        given = f"{left_out.dtype} {left_out.shape}"
        raise InputError(f"{source}: mask is {given}; expected bool {raw.shape}, True = leave this pixel out")
    asked = np.ma.getmaskarray(raw) | left_out.astype(bool)
    data = np.ma.getdata(raw)
    defects = Defects(asked.copy())
    missing = no_data(data) if data.dtype.kind in "ui" else None  # of floats: below
    if missing is not None:
        defects.add(missing, f"at {np.iinfo(data.dtype).max}")
    if defects.mask.all():
        raise InputError(f"{source} has no pixel left once masked; True in a mask leaves the pixel out")

    with np.errstate(over="ignore", invalid="ignore"):  # a long double may exceed float64
        values = np.array(data, dtype=np.float64)
        good = np.abs(values) < LARGEST_VALUE  # False for NaN
    bad = ~(good | defects.mask)
    n_bad = np.count_nonzero(bad)
    if n_bad > NAN_AT_MOST * raw.size:
        raise InputError(
            f"{source} has {n_bad} NaN or infinite pixels of {raw.size}; mask them (mask = True) or mend them"
        )
    if n_bad:
        defects.add(bad, "NaN or infinite")
    valid = ~defects.mask
    used = _of(values, valid)
    _check_contrast(used, source)
    holes = None if good.all() else ~good
    if holes is not None:
        values[holes] = used[0]
    found = np.count_nonzero(defects.mask)
    find_unmeasured(values, defects)
    if np.count_nonzero(defects.mask) > found:
        valid = ~defects.mask
        used = _of(values, valid)
        _check_contrast(used, source)
    dark, typical, high = np.percentile(used, [1, 50, 99.5]).tolist()
    if holes is not None:
        values[holes] = typical
    smooth = _median5(_median5(values if valid.all() else np.where(valid, values, typical)).T).T
    find_hot_clusters(values, smooth, (dark, high), defects)
    valid = ~defects.mask
    valid &= ~_hot_or_dead(values, smooth, valid, (dark, high))
    _check_contrast(_of(values, valid), source)

    saturated, level = _saturated(values, valid, data.dtype)
    if saturated.any():
        border = float(np.median(np.concatenate([smooth[[0, -1]].ravel(), smooth[:, [0, -1]].ravel()])))
        bright = smooth > border + 0.5 * (float(smooth.max()) - border)
        fraction = float(saturated[bright].mean()) if bright.any() else 0.0
        if fraction > SATURATED_AT_MOST:
            raise InputError(
                f"{source} is saturated: {100 * fraction:.0f} % of its bright region is at {level:g} "
                f"(at most {100 * SATURATED_AT_MOST:.0f} %); record it with less dose per frame"
            )
    defects.mask &= ~asked
    return Frame(values, valid & ~saturated, source, defects.note)


def _of(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The values of valid pixels; no copy where all are."""
    return values.ravel() if valid.all() else values[valid]


def _check_contrast(values: np.ndarray, source: str) -> None:
    if values.size == 0 or values.min() == values.max():
        what = "zero" if values.size == 0 or values[0] == 0 else f"{values[0]:g}"
        raise InputError(f"{source} is {what} in every usable pixel: no pattern was recorded; check the file")


def _median5(a: np.ndarray) -> np.ndarray:
    """Median of five neighbours along the last axis (a network of minima and maxima).

    Along rows, then columns, it ignores isolated outliers as the median of 5 by 5 does, ten times faster.
    """
    p = np.pad(a, ((0, 0), (2, 2)), mode="reflect")
    a, b, c, d, e = (p[:, i : p.shape[1] - 4 + i] for i in range(5))
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    out: np.ndarray = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), e))
    return out


def _hot_or_dead(
    image: np.ndarray, smooth: np.ndarray, valid: np.ndarray, levels: tuple[float, float]
) -> np.ndarray:
    """Isolated pixels that stand off their neighbourhood by far more than noise and structure explain.

    An outlier exceeds 12 s and 30 % of the signal; an exact zero in a bright place need only reach 6 s. The
    variance s**2 is the larger of the residual's over 25 by 25 px, without the pixel itself and those found
    before, and the shot noise g (signal + g), g being the height of one electron. `levels` are percentiles 1
    and 99.5 of the frame.
    """
    from scipy.ndimage import uniform_filter  # half the import time of this module

    excess = np.where(valid, image - smooth, 0.0)
    dark, high = levels
    signal = float(np.percentile(smooth, 99.5)) - dark
    noise = 1.48 * float(np.median(np.abs(excess)))  # from the median deviation
    if signal <= max(0.5 * (high - dark), 5 * noise):
        # Single electrons are the pattern: the median wipes it out. Only what dwarfs them all is a defect.
        rank = max(10, excess.size // 10_000)
        electron = float(np.partition(excess, -rank, axis=None)[-rank])
        return (excess > 10 * electron) & (electron > 0)
    found = np.zeros(image.shape, bool)
    if np.abs(excess).max() <= 0.3 * signal:
        return found
    bright = valid & (smooth - dark > 0.5 * signal)
    squares = excess[bright] ** 2
    g: float = squares[squares <= np.percentile(squares, 99.5)].mean() / (smooth[bright] - dark).mean()
    shot = g * np.maximum(smooth - dark, 0) + g**2
    n = 25
    for _ in range(4):
        rest = np.where(found, 0.0, excess**2)
        local = (uniform_filter(rest, n) * n**2 - rest) / (n**2 - 1)
        sigma = np.sqrt(np.maximum(local, shot))
        dead = (image == 0) & (-excess > np.maximum(6 * sigma, 0.3 * signal))
        now = valid & (dead | (np.abs(excess) > np.maximum(12 * sigma, 0.3 * signal)))
        if np.array_equal(now, found):
            break
        found = now
    return found


def _saturated(image: np.ndarray, valid: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, float]:
    """Pixels clipped at the maximum, and that maximum.

    The maximum is a clipping level if it is the full scale of an 8 or 16 bit camera (or of the dtype) and
    taken twice, or if it is a plateau: more than 8 pixels, and four times as many as on any value within 3 %
    below. Fewer than 50 different values (electron counting) never make a plateau.
    """
    level = float(image[valid].max())
    at_level = valid & (image == level)
    n = int(np.count_nonzero(at_level))
    full_scale = {255.0, 65535.0} | ({float(np.iinfo(dtype).max)} if dtype.kind in "ui" else set())
    if level in full_scale and n > 1:
        return at_level, level
    below = image[valid & (image < level) & (image >= level - 0.03 * abs(level))]
    commonest = int(np.unique(below, return_counts=True)[1].max(initial=0))
    if n > max(8, 4 * commonest) and np.unique(image[valid]).size > 50:
        return at_level, level
    return np.zeros(image.shape, bool), level
