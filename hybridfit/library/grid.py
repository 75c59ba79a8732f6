"""The grid of directions of a library: its steps, the wedge that is stored, and the way back to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridfit.errors import LibraryError
from hybridfit.library.planes import planes_of
from hybridfit.library.settings import BUILD
from hybridfit.pattern.expand import Intensity, Table, lattice_of

HALO = 4  # grid steps solved beyond the largest direction: interpolation reaches two further
SAME_LENGTH = 1e-4  # relative


def largest_step(bases: NDArray[Any], sampling: NDArray[Any]) -> float:
    """The largest distance between neighbouring directions (mrad) on the grids of bases (…, 2, 2) mrad."""
    return float(np.linalg.norm(bases / sampling[:, None], axis=-1).max())


def sampling_of(basis: NDArray[Any], symmetry: NDArray[Any], largest: float) -> NDArray[np.int64]:
    """Grid steps per basis vector: at most `largest` apart, and a grid that the symmetry maps to itself."""
    n = np.ceil(np.linalg.norm(basis, axis=1) / largest - 1e-9).astype(np.int64)
    mixes = any(r[0, 1] != 0 or r[1, 0] != 0 for r in symmetry)
    return np.full(2, n.max()) if mixes else n


def beams_reach(semi_angle: float, tilt: float) -> float:
    """How long stored beams are (mrad): their discs reach into patterns of such a semi-angle and tilt (mrad).

    Far from the zone axis patterns follow the intensity, towards the centre of the Laue circle.
    """
    return 2 * semi_angle + BUILD.beyond_disc + (tilt if tilt > BUILD.near_tilt else 0.0)


def lattice_order(basis: NDArray[Any]) -> int:
    """n of the n-fold rotation axis of a plane lattice with a reduced basis (rows): 2, 4 or 6."""
    a, b = np.linalg.norm(basis, axis=1)
    cosine = abs(float(basis[0] @ basis[1])) / (a * b)
    if abs(a / b - 1) > SAME_LENGTH:
        return 2
    return 4 if cosine < SAME_LENGTH else 6 if abs(cosine - 0.5) < SAME_LENGTH else 2


def wedge(grid_step: NDArray[Any], symmetry: NDArray[Any], reach: float) -> NDArray[np.int64]:
    """(d, 2) grid points within reach (mrad), one of each set of equivalent ones."""
    span = np.ceil(reach * np.linalg.norm(np.linalg.inv(grid_step), axis=0)).astype(int)
    m1, m2 = np.meshgrid(*(np.arange(-s, s + 1) for s in span), indexing="ij")
    points = np.stack([m1.ravel(), m2.ravel()], axis=1)
    points = points[np.linalg.norm(points @ grid_step, axis=1) <= reach]
    width = 2 * int(np.abs(points).max()) + 1
    # the representative is the image that comes last in lexicographic order
    keys = np.stack([(image := points @ r.T)[:, 0] * width + image[:, 1] for r in symmetry])
    return points[keys[0] == keys.max(axis=0)]


def make_table(data: xr.Dataset, beams: int, *, on_demand: bool = False) -> Table:
    """What the kernels read of a library's dataset: its first `beams` beams, read now or on demand.

    Raises
    ------
    LibraryError
        The symmetry leads from one of the beams to one that is not there.
    """
    return layout(
        data,
        beams,
        data.basis.values,
        data.sampling.values.astype(np.int64),
        data.direction_n.values.astype(np.int64),
        planes_of(data.variables["intensity"], on_demand, np.float32),
    )


def layout(
    data: xr.Dataset,
    beams: int,
    basis: NDArray[Any],
    sampling: NDArray[np.int64],
    directions: NDArray[np.int64],
    intensity: Intensity,
) -> Table:
    """A table on a grid of directions.

    Parameters
    ----------
    data : xarray.Dataset
        Of the library: its beams, thicknesses and symmetry.
    beams : int
    basis : (2, 2) array, mrad
    sampling : (2,) int array
        Grid steps per basis vector.
    directions : (d, 2) int array
    intensity : (thickness, beam, d) float32

    Raises
    ------
    LibraryError
        As of `make_table`.
    """
    beam_n = data.beam_n.values.astype(np.int64)[:beams]
    thickness = data.thickness.values
    beam_at = _index_map(beam_n, np.arange(len(beam_n)))
    symmetry = data.symmetry.values.astype(np.int64)
    permutation = np.stack([_look_up(beam_at, beam_n @ r.T) for r in symmetry])
    if (permutation < 0).any():
        raise LibraryError("the beams of this library are not closed under its symmetry; build it again")
    images, numbers, operations = [], [], []
    for i, r in enumerate(symmetry):  # R q = wedge, so q = R⁻¹ wedge
        images.append(directions @ np.linalg.inv(r).round().astype(np.int64).T)
        numbers.append(np.arange(len(directions)))
        operations.append(np.full(len(directions), i))
    to_grid, beam_xy = lattice_of(basis, sampling, beam_n)
    where = np.concatenate(images[::-1])  # the identity is written last: it wins on the wedge's own edge
    return Table(
        intensity=intensity,
        thickness_first=float(thickness[0]),
        thickness_step=float(thickness[1] - thickness[0]),
        to_grid=to_grid,
        sampling=sampling,
        beam_n=beam_n,
        beam_xy=beam_xy,
        beam_at=beam_at,
        permutation=permutation.astype(np.int32),
        direction_at=_index_map(where, np.concatenate(numbers[::-1])),
        operation_at=_index_map(where, np.concatenate(operations[::-1])),
    )


def _index_map(points: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.int32]:
    """2-D array with values[i] at points[i] + half the shape, −1 elsewhere."""
    half = np.abs(points).max(axis=0) + 3
    out = np.full(2 * half + 1, -1, np.int32)
    out[points[:, 0] + half[0], points[:, 1] + half[1]] = values
    return out


def _look_up(index: NDArray[np.int32], points: NDArray[np.int64]) -> NDArray[np.int32]:
    half = np.array(index.shape) // 2
    return index[points[:, 0] + half[0], points[:, 1] + half[1]]
