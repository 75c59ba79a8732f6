"""Debye–Waller factors (Å²) of a crystal file, and what is taken for atoms that have none.

    B = 8π² U_eq,     U_eq = ⅓ Σ_ij U_ij a*_i a*_j (a_i · a_j)     [1]

U_ij are the anisotropic displacements (Å²) of the file; a_i the edges of the cell; a*_i the lengths of the
reciprocal axes. In an oblique cell U_eq is not the trace of U over three.

Atoms without B in the file get, in this order: what the user gives for the element; the mean of the same
element's other sites; in a crystal of one element, the tabulated value [2]; in a compound, a stated default.

.. [1] Fischer & Tillmanns, Acta Cryst. C44 (1988) 775.
.. [2] Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 456, table 1: phonon densities of states, here at
   293 K from their values at 280 K. B is proportional to the temperature so high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gemmi
import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.settings import CRYSTAL

Array = NDArray[np.float64]
_WARMER = 293 / 280  # B is proportional to the temperature
_AT_280_K = {
    **{"Li": 4.595, "Be": 0.404, "C": 0.142, "Na": 6.364, "Mg": 1.731, "Al": 0.746, "Si": 0.463, "K": 10.239},
    **{"Ca": 1.908, "Sc": 0.712, "Ti": 0.491, "V": 0.546, "Cr": 0.239, "Fe": 0.310, "Ni": 0.340, "Cu": 0.526},
    **{"Zn": 1.091, "Ge": 0.573, "Rb": 12.604, "Sr": 3.622, "Y": 0.817, "Zr": 0.543, "Nb": 0.429},
    **{"Mo": 0.205, "Pd": 0.425, "Ag": 0.702, "Sn": 1.083, "Cs": 16.770, "Ba": 2.928, "La": 1.774},
    **{"Tb": 0.966, "Ho": 0.802, "Ta": 0.308, "W": 0.153, "Pt": 0.356, "Au": 0.593, "Pb": 2.034, "Th": 0.698},
}
_PARTS = ("11", "22", "33", "12", "13", "23")


def tabulated(element: str) -> float | None:
    """B (Å²) of an elemental crystal at 293 K, None where the table has none."""
    found = _AT_280_K.get(element)
    return None if found is None else round(found * _WARMER, 3)


def displacements(block: gemmi.cif.Block, cell: gemmi.UnitCell, labels: Sequence[str]) -> Array:
    """B (Å²) of the sites of a CIF as the file has it, NaN where it has none.

    Parameters
    ----------
    block : gemmi.cif.Block
    cell : gemmi.UnitCell
    labels : sequence of str
        Of the sites, in the order of the file.
    """
    n = len(labels)
    out = np.full(n, np.nan)
    for column, factor in (("B_iso_or_equiv", 1.0), ("U_iso_or_equiv", 8 * np.pi**2)):
        values = [gemmi.cif.as_number(v) for v in block.find_values(f"_atom_site_{column}")]
        if len(values) == n:
            listed = factor * np.array(values, float)
            out = np.where(np.isfinite(listed), listed, out)
    for label, b in _anisotropic(block, cell).items():
        for i in (i for i in range(n) if labels[i] == label):
            out[i] = b
    out[out == 0] = np.nan  # a placeholder: every atom vibrates
    return out


def _anisotropic(block: gemmi.cif.Block, cell: gemmi.UnitCell) -> dict[str, float]:
    """B (Å²) by site label, of those whose six components are given."""
    edges = np.array(cell.orth.mat.tolist()).T
    metric = edges @ edges.T
    lengths = np.sqrt(np.diag(np.linalg.inv(metric)))  # of the reciprocal axes
    out: dict[str, float] = {}
    for kind in ("U", "B", "beta"):
        table = block.find("_atom_site_aniso_", ["label", *(f"{kind}_{part}" for part in _PARTS)])
        for row in table:
            values = [gemmi.cif.as_number(row[i]) for i in range(1, 7)]
            if not np.isfinite(values).all() or not any(values):
                continue
            u11, u22, u33, u12, u13, u23 = values
            u = np.array([[u11, u12, u13], [u12, u22, u23], [u13, u23, u33]])
            if kind == "beta":  # exp(−β_ij h_i h_j) in place of exp(−2π² U_ij a*_i a*_j h_i h_j)
                u /= 2 * np.pi**2 * np.outer(lengths, lengths)
            equivalent = float((u * np.outer(lengths, lengths) * metric).sum()) / 3
            out[gemmi.cif.as_string(row[0])] = equivalent if kind == "B" else 8 * np.pi**2 * equivalent
    return out


def completed(
    found: Array, elements: Sequence[str], labels: Sequence[str], given: Mapping[str, float]
) -> tuple[Array, str]:
    """B (Å²) of every site, and the sentence that says which of them are not from the file.

    Parameters
    ----------
    found : (n,) array
        B as the file has it, NaN where it has none.
    elements, labels : sequences of n str
    given : mapping of element to float
        What the user gives (Å²), which replaces what the file has.

    Raises
    ------
    RecipeError
        A negative B; an element that is not in the crystal, or one for which no B is known.
    """
    strange = [e for e in given if e not in elements]
    if strange:
        there = ", ".join(dict.fromkeys(elements))
        raise RecipeError(f"Debye–Waller factor of {strange[0]!r}: there is none in this crystal ({there})")
    b = np.array([given.get(e, value) for e, value in zip(elements, found, strict=True)], float)
    for element, label, value in zip(elements, labels, b, strict=True):
        if value < 0:
            raise RecipeError(
                f"B = {value:.3g} Å² of {label!r} is negative, and no atom has that; correct it, or give "
                f"--debye-waller {element}=B (in a recipe: debye_waller = {{ {element} = B }})"
            )
    words: list[str] = []
    assumed: list[str] = []
    for element in dict.fromkeys(e for e, value in zip(elements, b, strict=True) if np.isnan(value)):
        here = np.array([e == element for e in elements])
        known = b[here & np.isfinite(b)]
        if len(known):
            value, why = float(known.mean()), "the mean of its other sites"
        elif len(set(elements)) > 1:
            value, why = CRYSTAL.usual_debye_waller, ""
        else:
            table = tabulated(element)
            if table is None:
                raise RecipeError(
                    f"there is no B for {element}, nor a tabulated one; give --debye-waller {element}=B "
                    f"in Å² (in a recipe: debye_waller = {{ {element} = B }})"
                )
            value, why = table, "at 293 K, Peng et al., Acta Cryst. A52 (1996) 456"
        if why:
            words.append(f"B of {element} is {value:.3g} Å² ({why})")
        else:
            assumed.append(element)
        b[here & np.isnan(b)] = value
    if assumed:
        words.append(f"B of {', '.join(assumed)} is {CRYSTAL.usual_debye_waller:g} Å², a usual value")
    if not words:
        return b, ""
    return (
        b,
        f"the file lacks displacement factors: {'; '.join(words)}; --debye-waller ELEMENT=B gives others",
    )
