"""A crystal: its unit cell and the atoms in it, read from a CIF.

    r = x a + y b + z c,        [a* b* c*] = [a b c]⁻ᵀ,        V = |det [a b c]|

x, y, z fractional coordinates; a, b, c the edges of the cell (Å); a*, b*, c* the reciprocal basis (Å⁻¹, no
2π); V the volume (Å³); B = 8π²⟨u²⟩ the isotropic Debye–Waller factor (Å²).

Source: International Tables for Crystallography B, chapter 1.1; CIFs are read by gemmi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.cif import read_cif
from hybridfit.physics.settings import CRYSTAL
from hybridfit.physics.symmetry import translations
from hybridfit.physics.unit_cell import check_cell

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Crystal:
    """Atoms in a unit cell.

    Parameters
    ----------
    cell : tuple of float
        a, b, c (Å) and α, β, γ (degrees).
    elements : tuple of str
    positions : (n, 3) array, fractional coordinates
    occupancies : (n,) array
    debye_waller : (n,) array, isotropic B = 8π²⟨u²⟩ (Å²)
    labels : tuple of str, optional
        Names of the sites; atoms that symmetry makes of one site share its name.  By default the
        elements.
    notes : tuple of str, optional
        What a file did not say and was assumed, a sentence each.
    """

    cell: tuple[float, float, float, float, float, float]
    elements: tuple[str, ...]
    positions: Array
    occupancies: Array
    debye_waller: Array
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.elements)
        if len(self.labels) not in (0, n):
            raise RecipeError(f"labels must name all {n} atoms, got {len(self.labels)}; or leave them out")
        object.__setattr__(self, "labels", tuple(self.labels or self.elements))
        if len(self.cell) != 6:
            raise RecipeError(f"cell must be three lengths (Å) and three angles (°), got {self.cell}")
        object.__setattr__(self, "cell", tuple(float(value) for value in self.cell))
        check_cell(self.cell)
        for name, shape in {"positions": (n, 3), "occupancies": (n,), "debye_waller": (n,)}.items():
            array = np.array(getattr(self, name), dtype=float)
            if array.shape != shape or not np.isfinite(array).all():
                raise RecipeError(f"{name} must be finite and of shape {shape}, got shape {array.shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check_values()

    def _check_values(self) -> None:
        """Raise a RecipeError for what no atom has, and for more atoms than can be treated."""
        if not 0 < len(self.elements) <= CRYSTAL.most_atoms:
            raise RecipeError(
                f"{len(self.elements)} atoms in the cell are not usable; give 1 … {CRYSTAL.most_atoms} "
                "(is there a smaller cell?)"
            )
        most = CRYSTAL.largest_occupancy
        for label, occupancy in zip(self.labels, self.occupancies, strict=True):
            if abs(occupancy) > most:
                raise RecipeError(f"occupancy {occupancy:g} of {label!r} is none; give 0 … 1")
        hottest = CRYSTAL.largest_debye_waller
        for label, b in zip(self.labels, self.debye_waller, strict=True):
            if abs(b) > hottest:
                raise RecipeError(f"B = {b:g} Å² of {label!r} is out of range; give 0 … {hottest:g} Å²")

    @classmethod
    def from_cif(
        cls,
        path: str | Path,
        *,
        block: str | None = None,
        debye_waller: Mapping[str, float] | None = None,
    ) -> Crystal:
        """Read the structure of a CIF and expand it to the whole unit cell.

        Anisotropic displacements are replaced by their isotropic equivalent. What is not from the file
        stands in `notes`.

        Parameters
        ----------
        path : path
        block : str, optional
            Name of the data block; needed where several hold a structure.
        debye_waller : mapping of element to float, optional
            B (Å²) that replaces what the file has.

        Raises
        ------
        RecipeError
            The file cannot be read, holds no atoms, no cell or several structures, names an element or a
            space group that there is not, or has values that no crystal has.
        """
        read = read_cif(path, block, debye_waller or {})
        atoms = read.atoms
        try:
            return cls(
                cell=atoms.cell,
                elements=atoms.elements,
                positions=atoms.positions,
                occupancies=atoms.occupancies,
                debye_waller=read.debye_waller,
                labels=atoms.labels,
                notes=read.notes,
            )
        except RecipeError as error:
            raise RecipeError(f"the CIF {path}: {error}") from None

    @property
    def direct_basis(self) -> Array:
        """(3, 3) array: rows are a, b, c in Cartesian Å."""
        return np.array(gemmi.UnitCell(*self.cell).orth.mat.tolist()).T

    @property
    def reciprocal_basis(self) -> Array:
        """(3, 3) array: rows are a*, b*, c* in Å⁻¹ (no 2π)."""
        return np.asarray(np.linalg.inv(self.direct_basis).T, dtype=np.float64)

    @property
    def volume(self) -> float:
        """Unit-cell volume (Å³)."""
        return float(abs(np.linalg.det(self.direct_basis)))

    def centring_translations(self) -> Array:
        """(m, 3) array of the fractional translations that map the crystal onto itself, zero included."""
        return translations(self.positions, self.kinds())

    def kinds(self) -> list[tuple[Any, ...]]:
        """What makes two sites alike: element, occupancy, Debye–Waller factor."""
        return [
            (element, round(float(occ), 6), round(float(b), 6))
            for element, occ, b in zip(self.elements, self.occupancies, self.debye_waller, strict=True)
        ]
