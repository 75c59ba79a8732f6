"""A crystal: its unit cell and the atoms in it, read from a CIF.

    r = x a + y b + z c,        [a* b* c*] = [a b c]⁻ᵀ,        V = |det [a b c]|

x, y, z fractional coordinates; a, b, c the edges of the cell (Å); a*, b*, c* the reciprocal basis (Å⁻¹, no
2π); V the volume (Å³); B = 8π²⟨u²⟩ the isotropic Debye–Waller factor (Å²).

Source: International Tables for Crystallography B, chapter 1.1; CIFs are read by gemmi.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.settings import CRYSTAL
from hybridfit.physics.symmetry import translations

Array = NDArray[np.float64]
NO_CELL = (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)  # what gemmi has where a file has none


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
    """

    cell: tuple[float, float, float, float, float, float]
    elements: tuple[str, ...]
    positions: Array
    occupancies: Array
    debye_waller: Array
    labels: tuple[str, ...] = ()

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
    def from_cif(cls, path: str | Path) -> Crystal:
        """Read the first structure of a CIF and expand it to the whole unit cell.

        Anisotropic displacements are replaced by their isotropic equivalent.

        Raises
        ------
        RecipeError
            The file cannot be read, holds no atoms or no cell, names an element or a space
            group that there is not, or has values that no crystal has.
        """
        try:
            structure = gemmi.read_small_structure(str(path))
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise RecipeError(f"cannot read the CIF {path}: {_one_line(error)}") from None
        if not structure.sites:
            raise RecipeError(f"the CIF {path} holds no atoms; it needs an _atom_site loop")
        for site in structure.sites:
            if site.element.atomic_number == 0:
                raise RecipeError(
                    f"the CIF {path}: atom {site.label!r} ({site.type_symbol!r}) is no known element"
                )
        cell = structure.cell
        values = (cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma)
        if values == NO_CELL:
            raise RecipeError(f"the CIF {path} has no unit cell; it needs _cell_length_a … _cell_angle_gamma")
        try:
            check_cell(values)
        except RecipeError as error:
            raise RecipeError(f"the CIF {path}: {error}") from None
        if len(structure.sites) > CRYSTAL.most_atoms:
            raise RecipeError(
                f"the CIF {path} lists {len(structure.sites)} sites; at most {CRYSTAL.most_atoms} are usable"
            )
        group = structure.spacegroup_hm or structure.spacegroup_number
        if group and structure.spacegroup is None and not structure.symops:
            # gemmi would carry on with the listed atoms alone
            raise RecipeError(f"the CIF {path}: unknown space group {group!r}; list its symmetry operations")
        sites = structure.get_all_unit_cell_sites()

        def mean_square(site: gemmi.SmallStructure.Site) -> float:
            return site.aniso.trace() / 3 if site.aniso.nonzero() else site.u_iso

        try:
            return cls(
                cell=values,
                elements=tuple(site.element.name for site in sites),
                positions=np.array([[site.fract.x, site.fract.y, site.fract.z] for site in sites]),
                occupancies=np.array([site.occ for site in sites]),
                debye_waller=np.array([8 * np.pi**2 * mean_square(site) for site in sites]),
                labels=tuple(site.label for site in sites),
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

    def kinds(self) -> list[tuple]:
        """What makes two sites alike: element, occupancy, Debye–Waller factor."""
        return [
            (element, round(float(occ), 6), round(float(b), 6))
            for element, occ, b in zip(self.elements, self.occupancies, self.debye_waller, strict=True)
        ]


def check_cell(cell: Sequence[float]) -> None:
    """Raise a RecipeError for lengths (Å) and angles (°) that make no unit cell."""
    shortest, longest = CRYSTAL.lengths
    lengths, cosines = np.array(cell[:3], float), np.cos(np.deg2rad(np.array(cell[3:], float)))
    # V² / (abc)², the determinant of the metric of unit vectors
    flat = 1 - (cosines**2).sum() + 2 * cosines.prod()
    if not (
        np.isfinite(lengths).all()
        and ((lengths >= shortest) & (lengths <= longest)).all()
        and all(0 < angle < 180 for angle in cell[3:])
        and flat > CRYSTAL.steepest_angles**2
    ):
        raise RecipeError(
            f"the cell {' '.join(f'{value:.6g}' for value in cell)} is none; give three lengths "
            f"({shortest:g} … {longest:g} Å) and three angles (°) that make one"
        )


def _one_line(error: Exception) -> str:
    """The message of an error, shortened to what fits into a line."""
    words = " ".join(str(error).split())
    return words if len(words) <= 200 else f"{words[:200]} …"
