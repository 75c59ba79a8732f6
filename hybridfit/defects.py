"""Pixels that a camera did not measure, found by what no pattern does.

- Rows and columns of one value from edge to edge, between rows that have a pattern: gaps between chips, dead
  rows, padding.
- Values that stand for no measurement: the largest of the number type, −1, −2, far from all others.
- Connected pixels of one value, darker than what surrounds them: beam stops, dead clusters. Where a share p
  of the pixels is zero, n zeros hang together by chance about (λ p)ⁿ times as often as one, with λ = 4.06, by
  which the number of shapes grows with n (lattice animals) [1].
- Few pixels far brighter than the pattern, too many for a median to find: hot clusters.

.. [1] Jensen & Guttmann, J. Phys. A 33 (2000) L257.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

PATTERN_SHARE = 0.5  # of a row: so many pixels of another value are a pattern beside a dead row,
UNEVEN = 0.1  # of the values beside a dead row: they and its own differ by more
SCATTERED, FEWEST = 10, 25  # or so many runs of so many pixels: single electrons
RUN = 8  # equal pixels in a row are looked at, or a block of 3 × 3
MOST_EQUAL = 0.35  # of a frame: where more pixels have one value, it is that of the dark field
SHAPES = 4.06
RING = 4  # px around a set
SURE = 25.0  # −ln of the number of such sets by chance
CORNER = 0.01  # of a frame: a larger set in a corner is dark field
FAINT = 0.5  # of what surrounds such a set
FEW_HITS = 30  # runs and blocks of zeros: so few are looked at one by one
STEPS = 3.0  # of the values: what surrounds such a set is brighter by so many
MOST_ALIKE = (
    0.15  # of neighbours in a frame: where more are equal, it has no noise, and equality says nothing
)
STRAY = 0.01  # of a frame: so few negative pixels may be isolated
BRIGHTER, LARGEST_CLUSTER = 2.0, 40  # of the pattern; px
SENTINELS = (65535.0, 2.0**31 - 1, 2.0**32 - 1)
SPARSE, BLOCK = 0.02, 4  # of the pixels are zero: blocks of 4 × 4 px are looked at, too
THIN = 3  # px: a longer set that is so wide is a line
SMALLEST_STOP = 30  # px: a larger set that reaches the edge is a beam stop


@dataclass
class Defects:
    """What was found: a mask (True = not measured), and what it is made of, in words."""

    mask: Mask
    found: list[str] = field(default_factory=list)

    def add(self, mask: Mask, words: str) -> None:
        """Take in further pixels."""
        if (mask & ~self.mask).any():
            self.mask |= mask
            if words not in self.found:
                self.found.append(words)

    @property
    def note(self) -> str:
        """One line: how many pixels, and what they are; empty where there are none."""
        count = int(np.count_nonzero(self.mask))
        return f"{count} px masked: {', '.join(self.found)}" if count else ""


def no_data(data: np.ndarray) -> Mask | None:
    """Pixels that 32-bit cameras mark as not measured, or that are no numbers; None where there are none.

    Parameters
    ----------
    data : ndarray, (..., rows, cols)
        As it is stored.
    """
    if data.dtype.kind in "ui" and data.dtype.itemsize >= 4:
        most = np.iinfo(data.dtype).max
        return data == most if data.size and data.max() == most else None
    if data.dtype.kind == "f":
        bad = ~np.isfinite(data)
        return bad if bad.any() else None
    return None


def unmeasured(image: np.ndarray, mask: Mask | None = None) -> Defects:
    """What a frame lacks before it is binned; errors are left to `hybridfit.frame.make_frame`.

    Parameters
    ----------
    image : ndarray, (rows, cols)
        As it is stored, or a mean.
    mask : ndarray of bool, (rows, cols), optional
        True = left out already.
    """
    defects = Defects(np.zeros(image.shape, bool) if mask is None else mask.astype(bool))
    missing = no_data(image)
    if missing is not None:
        defects.add(missing, "without data")
    values = np.where(defects.mask, 0.0, image) if missing is not None else image.astype(np.float64)
    if not defects.mask.all():
        find_unmeasured(values, defects)
    if mask is not None:
        defects.mask &= ~mask
    return defects


def mean_of(frames: np.ndarray) -> tuple[np.ndarray, Mask | None]:
    """The mean of frames, and the pixels that none of them has; a frame's missing pixels are left out of it.

    Parameters
    ----------
    frames : ndarray, (n, rows, cols)
        As they are stored.
    """
    missing = no_data(frames)
    if missing is None:
        mean = np.asarray(np.mean(frames, axis=0, dtype=np.float64))
        return mean, None
    there = ~missing
    counts = there.sum(axis=0)
    sums = np.sum(frames, axis=0, dtype=np.float64, where=there)
    return sums / np.maximum(counts, 1), counts == 0


def find_unmeasured(values: np.ndarray, defects: Defects) -> None:
    """Find lines, sentinels and connected sets.

    Parameters
    ----------
    values : ndarray of float64, (rows, cols)
        Finite; what is masked already has any value.
    defects : Defects
        What is known so far; what is found is added.
    """
    across = values[:, 1:] == values[:, :-1]
    down = values[1:] == values[:-1]
    rows, cols = across.all(axis=1), down.all(axis=0)
    if rows.any() or cols.any():
        _lines(values, rows, cols, defects)
    _sentinels(values, defects)
    _sets(values, across, down, defects)
    _sparse_set(values, defects)


def _lines(values: np.ndarray, rows: Mask, cols: Mask, defects: Defects) -> None:
    dead_rows = _dead(values, rows, ~cols)
    dead_cols = _dead(values.T, cols, ~rows)
    n_rows, n_cols = int(dead_rows.sum()), int(dead_cols.sum())
    if not n_rows and not n_cols:
        return
    inside = [bool(dead[1:-1].any()) for dead in (dead_rows, dead_cols)]
    parts = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in ((n_rows, "row"), (n_cols, "column")) if n]
    mask = dead_rows[:, None] | dead_cols[None, :]
    defects.add(mask, ("a cross of " if all(inside) else "") + " and ".join(parts))


def _dead(values: np.ndarray, constant: Mask, others: Mask) -> Mask:
    """Those of the rows of one value that have a pattern beside them: on both sides, but for the edges."""
    out = np.zeros(len(constant), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], constant, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        sides = [i for i in (start - 1, stop) if 0 <= i < len(constant)]
        value, strict = values[start, 0], len(sides) < 2
        if sides and all(_has_pattern(values[i][others], value, strict) for i in sides):
            out[start:stop] = True
    return out


def _has_pattern(other: np.ndarray, value: float, strict: bool) -> bool:
    """Whether a row beside one of this value has a pattern, not the rim of a disc or what rounding leaves."""
    if not other.size:
        return False
    low, high = float(other.min()), float(other.max())
    if max(high, value) - min(low, value) <= UNEVEN * max(abs(low), abs(high)):
        return False
    differs = other != value
    if differs.mean() >= PATTERN_SHARE:
        return True
    runs = int(np.count_nonzero(differs[1:] > differs[:-1]))
    return not strict and runs >= SCATTERED and int(differs.sum()) >= FEWEST


def _sentinels(values: np.ndarray, defects: Defects) -> None:
    left = np.where(defects.mask, np.nan, values) if defects.mask.any() else values
    top, bottom = float(np.fmax.reduce(left, axis=None)), float(np.fmin.reduce(left, axis=None))
    if top in SENTINELS:
        at = left == top
        below = float(np.fmax.reduce(np.where(at, np.nan, left), axis=None))
        if below < 0.5 * top:  # where a disc is saturated, its rim has what is between
            defects.add(at, f"at {top:.0f}")
    if bottom > -1:
        return
    at = left < 0 if bottom in (-1.0, -2.0) else left == bottom
    if bottom in (-1.0, -2.0):
        if not np.isin(left[at], (-1.0, -2.0)).all():
            return
    elif not float(np.fmin.reduce(np.where(at, np.nan, left), axis=None)) > 0.5 * bottom:
        return
    if at.mean() <= STRAY or _in_company(at) > 0.9:
        defects.add(at, f"at {bottom:.0f}")


def _in_company(at: Mask) -> float:
    """The share of pixels of a set that have at least two of the eight neighbours in it."""
    padded = np.pad(at, 1).astype(np.int8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - at
    return float((around[at] >= 2).mean())


def _sets(values: np.ndarray, across: Mask, down: Mask, defects: Defects) -> None:
    three, column = across[:, 1:] & across[:, :-1], down[1:] & down[:-1]
    if not (three.any() or column.any()):
        return
    hit = np.zeros(values.shape, bool)  # where a block or a run of equal pixels is
    hit[1:-1, 1:-1] = three[2:] & three[1:-1] & three[:-2] & column[:, 1:-1]
    for run, part in ((_runs(three), hit), (_runs(column.T), hit.T)):
        part[:, : run.shape[1]] |= run
    hit &= ~defects.mask
    zero = values == 0
    if np.count_nonzero(zero) <= MOST_EQUAL * zero.size:
        dark = hit & zero
        if dark.any():
            dark &= _among_bright(values)
            points = np.argwhere(dark)
            if len(points) > FEW_HITS or any(_stands_out(zero, *at) for at in points):
                _sets_at(values, zero & ~defects.mask, 0.0, dark, defects)
    if float(across.mean()) > MOST_ALIKE:
        return
    hit &= ~zero
    levels, counts = np.unique(values[hit], return_counts=True)
    for level in levels[np.argsort(counts)[::-1][:3]]:
        equal = (values == level) & ~defects.mask
        _sets_at(values, equal, float(level), hit & equal, defects)


def _stands_out(zero: Mask, row: int, col: int) -> bool:
    """Whether a few zeros at a place are not of the many that are there by chance."""
    around = zero[max(row - 7, 0) : row + 8, max(col - 7, 0) : col + 8]
    return bool(SHAPES * around.mean() < 1)


def _runs(three: Mask) -> Mask:
    """Where runs of `RUN` equal pixels start, from where runs of three do."""
    five = three[:, 2:] & three[:, :-2]
    return five[:, RUN - 5 :] & five[:, : 5 - RUN]


def _sums(values: np.ndarray, b: int) -> np.ndarray:
    """Sums over blocks of b × b pixels; what is left over at the end is left out."""
    rows, cols = (n // b for n in values.shape)
    part = values[: rows * b, : cols * b]
    out: np.ndarray = part.reshape(rows, b, cols * b).sum(axis=1).reshape(rows, cols, b).sum(axis=2)
    return out


def _whole(blocks: Mask, b: int, shape: tuple[int, ...]) -> Mask:
    """Pixels of blocks; those behind the last block belong to it."""
    out = np.repeat(np.repeat(blocks, b, axis=0), b, axis=1)
    over = [max(n - m, 0) for n, m in zip(shape, out.shape, strict=True)]
    return np.pad(out, [(0, n) for n in over], mode="edge") if any(over) else out


def _among_bright(values: np.ndarray) -> Mask:
    """Pixels in or beside blocks whose mean is some electrons."""
    b = 2 * BLOCK
    electron = float(np.where(values > 0, values, np.inf).min())
    bright = np.pad(_sums(values, b) >= 0.5 * STEPS * electron * b**2, 1)
    bright = bright[:-2] | bright[1:-1] | bright[2:]
    return _whole(bright[:, :-2] | bright[:, 1:-1] | bright[:, 2:], b, values.shape)


def _sparse_set(values: np.ndarray, defects: Defects) -> None:
    """The same in frames of few electrons: blocks without any, among blocks that have some."""
    if np.count_nonzero(values) > (1 - SPARSE) * values.size or values.min() < 0:
        return
    known = defects.mask.any()
    sums = _sums(np.where(defects.mask, 0.0, values) if known else values, BLOCK)
    hidden = _sums(defects.mask, BLOCK) > 0 if known else np.zeros(sums.shape, bool)
    empty = (sums == 0) & ~hidden
    if not 0 < empty.mean() <= MOST_EQUAL:
        return
    found = Defects(hidden.copy())
    _sets_at(sums, empty, 0.0, empty, found)
    if not found.found:
        return
    from scipy.ndimage import binary_dilation

    # whole blocks, with those at the rim: to mask the zeros alone would make the rest too bright
    wide = binary_dilation(found.mask & ~hidden, np.ones((3, 3)))
    rows, cols = (n - n % BLOCK for n in values.shape)
    mask = np.zeros(values.shape, bool)
    mask[:rows, :cols] = _whole(wide, BLOCK, (rows, cols))
    defects.add(mask, "a beam stop" if found.found == ["part of a line"] else found.found[0])


def _sets_at(values: np.ndarray, equal: Mask, level: float, hit: Mask, defects: Defects) -> None:
    """Connected pixels of a value that are darker than what surrounds them, and too many to be chance.

    Sets without a `hit` are not looked at. Where a set fills a corner of the frame, the value is that of a
    dark field.
    """
    from scipy.ndimage import binary_dilation, find_objects, label

    if equal.mean() > MOST_EQUAL:
        return
    labels, _ = label(equal)
    sizes = np.bincount(labels.ravel())
    if any(i and sizes[i] >= CORNER * equal.size for i in labels[[0, 0, -1, -1], [0, -1, 0, -1]]):
        return
    boxes = find_objects(labels)
    wanted = np.unique(labels[hit])
    for i in [int(i) for i in wanted[np.argsort(sizes[wanted])[::-1][:64]] if i and sizes[i] >= RUN]:
        box = tuple(slice(max(s.start - RING, 0), s.stop + RING) for s in boxes[i - 1])
        own = labels[box] == i
        ring = binary_dilation(own, iterations=RING) & ~own & ~defects.mask[box]
        around = values[box][ring]
        hits = float(np.count_nonzero(around == level))
        chance = SHAPES * (hits + 2 * math.sqrt(hits) + 0.5) / max(around.size, 1)
        if chance >= 1 or -math.log(chance) * sizes[i] < SURE:
            continue
        steps = np.diff(np.unique(around))
        usual = float(np.median(around))
        if usual - level < STEPS * (steps.min() if steps.size else 1.0) or level > FAINT * usual:
            continue
        mask = np.zeros(equal.shape, bool)
        mask[box] = own
        at_edge = mask[[0, -1]].any() or mask[:, [0, -1]].any()
        thin = min(s.stop - s.start for s in boxes[i - 1]) <= THIN
        words = "a beam stop" if at_edge and sizes[i] >= SMALLEST_STOP else "dead pixels"
        defects.add(mask, "part of a line" if thin and sizes[i] >= 3 * THIN else words)


def find_hot_clusters(
    values: np.ndarray, smooth: np.ndarray, levels: tuple[float, float], defects: Defects
) -> None:
    """Find a few neighbouring pixels that are far brighter than the pattern.

    Parameters
    ----------
    values, smooth : ndarray of float64, (rows, cols)
        The frame, and its running median.
    levels : (dark, high)
        Of the pattern: its percentiles 1 and 99.5.
    defects : Defects
        What is known so far; what is found is added.
    """
    dark, high = levels
    limit = dark + BRIGHTER * (high - dark)
    if not high > dark or float(smooth.max()) <= limit:
        return
    from scipy.ndimage import binary_dilation, find_objects, label

    labels, count = label((values > limit) & ~defects.mask, np.ones((3, 3)))
    for i, box in enumerate(find_objects(labels) if count <= 64 else [], 1):
        wide = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
        own = labels[wide] == i
        near = binary_dilation(own, np.ones((3, 3)))
        ring = binary_dilation(near, iterations=2) & ~near
        if not 2 <= own.sum() <= LARGEST_CLUSTER or not ring.any():
            continue
        if float(np.median(values[wide][ring])) < dark + 0.5 * (limit - dark):
            mask = np.zeros(values.shape, bool)
            mask[wide] = near
            defects.add(mask, "hot pixels")
