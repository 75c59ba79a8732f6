"""Which axes of an array without names are those of a frame, where its sizes tell; else what is usual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hybridfit.errors import InputError
from hybridfit.frame import SMALLEST_SIDE_PX

NUMPY, MATLAB = "numpy", "MATLAB"
LIKELY_SIDE_PX = 32  # smaller frames are rare


def unnamed_order(path: Path, shape: Sequence[int], usual: str = NUMPY) -> tuple[tuple[int, ...], str]:
    """The axes of an array as positions, rows, columns, and a line that says so where sizes do not tell.

    numpy keeps frames in the last two axes, MATLAB in the first two. The other end is taken where the usual
    one cannot hold frames.

    Parameters
    ----------
    path : path
    shape : sequence of int
        Two to four sizes.
    usual : "numpy" or "MATLAB"

    Raises
    ------
    InputError
        If both ends may be frames, and the unusual one is the likelier.
    """
    n = len(shape)
    stored = tuple(range(n))
    if n < 3:
        return stored, ""
    ends = {NUMPY: stored, MATLAB: (*stored[2:], 0, 1)}
    unusual = MATLAB if usual == NUMPY else NUMPY
    sides = {end: tuple(int(shape[i]) for i in order[-2:]) for end, order in ends.items()}
    could = {end: min(pair) >= SMALLEST_SIDE_PX for end, pair in sides.items()}
    likely = {end: min(pair) >= LIKELY_SIDE_PX for end, pair in sides.items()}
    square = {end: pair[0] == pair[1] for end, pair in sides.items()}
    likelier = likely[unusual] > likely[usual]
    if n == 3 and likely[unusual] == likely[usual]:
        likelier = square[unusual] > square[usual]
    surer = likely[usual] > likely[unusual]
    if not could[unusual] or surer:
        return ends[usual], ""
    words = {end: _words(shape, ends[end]) for end in ends}
    if likelier and could[usual] and (n == 4 or likely[usual] == likely[unusual]):
        raise InputError(
            f"{path} may hold {words[NUMPY]}, or {words[MATLAB]}; save it as netCDF or HDF5 with named axes "
            "(such as y, x, ky, kx)"
        )
    taken = unusual if likelier or not could[usual] else usual
    return ends[taken], f"axes {tuple(map(int, shape))} taken as {words[taken]}"


def _words(shape: Sequence[int], order: Sequence[int]) -> str:
    *positions, rows, cols = (int(shape[i]) for i in order)
    count = " × ".join(map(str, positions))
    return f"{count} {'frames' if len(positions) == 1 else 'positions'} of {rows} × {cols} px"
