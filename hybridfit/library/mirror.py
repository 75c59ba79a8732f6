"""The mirror image of a crystal: what a camera that mirrors its frames makes of one.

    P̃(k; τ) = P(F k; F τ),    F = diag(1, −1)

A mirrored frame of a crystal is a plain frame of the crystal's mirror image, which has the same
intensities on a mirrored lattice: nothing has to be solved again.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.axes import bases_of
from hybridfit.library.library import Library

FLIP = np.diag([1.0, -1.0])


def mirrored(library: Library) -> Library:
    """The library of the mirror image (x, −y); the same one where the crystal is its own.

    Parameters
    ----------
    library : Library
        Only its lattice is changed; intensities are shared, not copied.
    """
    data = library.dataset
    columns = bases_of(data).transpose(0, 2, 1)
    for r in data.symmetry.values:
        if np.allclose(columns @ r @ np.linalg.inv(columns), FLIP, atol=1e-4):
            return library
    attrs = {"checksum": hashlib.sha256(f"{data.attrs['checksum']} mirrored".encode()).hexdigest()}
    basis, qy = data.basis.copy(data=data.basis.values @ FLIP), data.qy.copy(data=-data.qy.values)
    diffuse = None if library.diffuse is None else library.diffuse.on(FLIP)
    image = data.assign(basis=basis).assign_coords(qy=qy).assign_attrs(attrs)
    return Library(image, diffuse=diffuse, on_demand=library.on_demand)


def mirror_of(library: Library) -> NDArray[np.float64] | None:
    """A mirror of the projection, as a matrix on (kx, ky); None where there is none."""
    basis = library.dataset.basis.values
    for r in library.dataset.symmetry.values:
        if np.linalg.det(r) < 0:
            # row vectors: k = n · basis, and n goes to n rᵀ
            return (np.linalg.inv(basis) @ r.T @ basis).T
    return None
