"""Crystal files (CIF): the block that holds the structure, its symmetry, and all atoms of the cell.

A file is believed, and then compared with what a crystal can be: see `physics.cif_checks`. What the file does
not say is looked up or assumed, and stands in the notes.

Source: International Tables for Crystallography A (space groups, origin choices) and G (CIF); gemmi reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.physics.cif_checks import Atoms, check_atoms, check_complete, complaint_of, nearest
from hybridfit.physics.settings import CRYSTAL
from hybridfit.physics.unit_cell import NO_CELL, check_cell
from hybridfit.physics.vibration import completed, displacements

Array = NDArray[np.float64]
_SYMMETRY = (
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_operation_xyz",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_alt",
    "_space_group_name_H-M_full",
    "_symmetry_Int_Tables_number",
    "_space_group_IT_number",
    "_symmetry_space_group_name_Hall",
    "_space_group_name_Hall",
)
_UNIQUE_FROM = 75  # space groups from this number have no settings but those of origin and of R


@dataclass(frozen=True)
class CifContent:
    """What `read_cif` finds.

    Attributes
    ----------
    atoms : Atoms
        All of the unit cell.
    debye_waller : (n,) array, isotropic B (Å²)
    notes : tuple of str
        What is not from the file, a sentence each.
    """

    atoms: Atoms
    debye_waller: Array
    notes: tuple[str, ...]


def read_cif(path: str | Path, block: str | None, debye_waller: Mapping[str, float]) -> CifContent:
    """Read the structure of a CIF and expand it to the whole unit cell.

    Parameters
    ----------
    path : path
    block : str, optional
        Name of the data block; needed where several hold a structure.
    debye_waller : mapping of element to float
        B (Å²) that replaces what the file has.

    Raises
    ------
    RecipeError
        The file cannot be read, holds no atoms, no cell or several structures, names an element or a space
        group that there is not, or its atoms cannot all be there.
    """
    try:
        document = gemmi.cif.read(str(path))
        content, notes = _chosen(document, block)
        small = gemmi.make_small_structure_from_block(content)
    except RecipeError as error:
        raise RecipeError(f"the CIF {path} {error}") from None
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise RecipeError(f"cannot read the CIF {path}: {_one_line(error)}") from None
    if not small.sites:
        raise RecipeError(f"the CIF {path} holds no atoms; it needs an _atom_site loop")
    try:
        return _content(content, small, notes, debye_waller)
    except RecipeError as error:
        raise RecipeError(f"the CIF {path}: {error}") from None


def _chosen(document: gemmi.cif.Document, name: str | None) -> tuple[gemmi.cif.Block, tuple[str, ...]]:
    """The block that holds a structure, and the note that names it where there are others."""
    blocks = [each for each in document if _holds_atoms(each)] or list(document)
    listed = ", ".join(each.name for each in blocks[:8]) + (" …" if len(blocks) > 8 else "")
    if not blocks:
        raise RuntimeError("no data block")
    if name is not None:
        wanted = name.removeprefix("data_").casefold()
        found = [each for each in blocks if each.name.casefold() == wanted]
        if not found:
            raise RecipeError(f"has no structure in a block {name!r}; there are {listed}")
        return found[0], ()
    if len(blocks) > 1:
        raise RecipeError(
            f"holds {len(blocks)} structures: {listed}; choose one with --block {blocks[0].name} "
            f'(in a recipe: block = "{blocks[0].name}")'
        )
    if len(document) == 1:
        return blocks[0], ()
    return blocks[0], (f"of {len(document)} blocks of the CIF, {blocks[0].name!r} holds the structure",)


def _holds_atoms(block: gemmi.cif.Block) -> bool:
    return len(block.find_values("_atom_site_fract_x")) > 0


def _content(
    block: gemmi.cif.Block,
    small: gemmi.SmallStructure,
    notes: tuple[str, ...],
    debye_waller: Mapping[str, float],
) -> CifContent:
    cell = small.cell
    values = (cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma)
    if values == NO_CELL:
        raise RecipeError("it has no unit cell; it needs _cell_length_a … _cell_angle_gamma")
    check_cell(values)
    sites = list(small.sites)
    if len(sites) > CRYSTAL.most_atoms:
        raise RecipeError(f"it lists {len(sites)} sites; at most {CRYSTAL.most_atoms} are usable")
    for site in sites:
        if site.element.atomic_number == 0:
            raise RecipeError(f"atom {site.label!r} ({site.type_symbol!r}) is no known element")
        _check_occupancy(site)
    labels, elements = [site.label for site in sites], [site.element.name for site in sites]
    factors, said = completed(displacements(block, cell, labels), elements, labels, debye_waller)
    for site, b in zip(sites, factors, strict=True):  # travels with the site when symmetry makes others of it
        site.u_iso, site.aniso = float(b), gemmi.SMat33d(0, 0, 0, 0, 0, 0)
    atoms, expanded_b, setting = _expanded(block, small)
    return CifContent(atoms, expanded_b, (*notes, *(note for note in (setting, said) if note)))


def _check_occupancy(site: gemmi.SmallStructure.Site) -> None:
    if site.occ > CRYSTAL.fullest_site:
        raise RecipeError(
            f"occupancy {site.occ:g} of {site.label!r} is none: is it the multiplicity of the site? "
            "give 0 … 1, or leave the column out"
        )


def _expanded(block: gemmi.cif.Block, small: gemmi.SmallStructure) -> tuple[Atoms, Array, str]:
    """All atoms with B, in the setting that the file means, and a note where the file does not say it."""
    if not any(_has_value(block, tag) for tag in _SYMMETRY):
        atoms, b = _atoms(small)
        check_complete(atoms, block)
        check_atoms(atoms, block)
        return atoms, b, ""
    choices = _settings(small)
    if not choices:
        atoms, b = _atoms(small)
        check_atoms(atoms, block)
        return atoms, b, ""
    tried = []
    for name in choices:
        small.spacegroup_hm = name
        small.determine_and_set_spacegroup("H2")
        tried.append((name, *_atoms(small)))
    if len(tried) == 1:
        _, atoms, b = tried[0]
        check_atoms(atoms, block)
        return atoms, b, ""
    (first, one, _), (second, two, b2) = tried
    if _same(one, two):
        check_atoms(two, block)
        return two, b2, ""
    good = [not complaint_of(atoms, block) for atoms in (one, two)]
    near = [nearest(atoms) for atoms in (one, two)]
    if all(good):  # a distance shorter than a bond tells, where the other has none
        least = min(CRYSTAL.sensible_setting, CRYSTAL.worse_setting * max(near))
        good = [value >= least for value in near]
    if all(good) or not any(good):
        raise RecipeError(
            f"the space group has two origins, and the file does not say which: {first} makes "
            f"{len(one.elements)} atoms, {second} {len(two.elements)}; write one of these names "
            "as the space group, or list the symmetry operations"
        )
    name, atoms, b = tried[good.index(True)]
    note = f"the file does not say which origin it uses: {name}, of {len(atoms.elements)} atoms, is taken"
    return atoms, b, note


def _has_value(block: gemmi.cif.Block, tag: str) -> bool:
    return any(value.strip("'\"; ") not in ("", ".", "?") for value in block.find_values(tag))


def _settings(small: gemmi.SmallStructure) -> list[str]:
    """Names of the space group that the file may mean: none where gemmi has understood it, or there is none.

    Raises
    ------
    RecipeError
        There is no such space group.
    """
    if small.symops or small.spacegroup_hall:
        if small.spacegroup is None and not small.symops:
            raise RecipeError(f"unknown space group {small.spacegroup_hall!r}; list its symmetry operations")
        return []
    given = small.spacegroup_hm
    bare, setting = _split(given)
    group = gemmi.find_spacegroup_by_name(bare) if bare else None
    number = small.spacegroup_number
    if group is None and _UNIQUE_FROM <= number <= 230:
        group = gemmi.find_spacegroup_by_number(number)
    if group is None:
        # gemmi would carry on with the listed atoms alone
        raise RecipeError(f"unknown space group {given or number!r}; list its symmetry operations")
    if group.ext in ("1", "2"):
        chosen = setting if setting in ("1", "2") else "12"
        return [f"{group.hm}:{choice}" for choice in chosen]
    if group.ext in ("H", "R"):
        if setting not in ("H", "R"):
            setting = "H" if abs(small.cell.gamma - 120) < 1 and abs(small.cell.alpha - 90) < 1 else "R"
        return [f"{group.hm}:{setting}"]
    return [group.xhm()] if small.spacegroup is None else []


def _split(name: str) -> tuple[str, str]:
    """A name without its setting, and that: 1 or 2 (origin), H or R (axes), or nothing."""
    text = " ".join(name.replace("_", " ").split())
    found = re.search(r"\(?\s*origin (?:choice )?([12])\s*\)?$|(?<=[ :])([12SZHR])$", text, re.IGNORECASE)
    if found is None:
        return text, ""
    bare = text[: found.start()].rstrip(" :")
    setting = (found[1] or found[2]).upper()
    setting = {"S": "1", "Z": "2"}.get(setting, setting)
    whole = gemmi.find_spacegroup_by_name(text)
    if ":" not in text and found[1] is None and whole is not None and whole.ext not in ("1", "2", "H", "R"):
        return text, ""  # P 1 1 2, whose last letter belongs to the name
    return bare, setting


def _atoms(small: gemmi.SmallStructure) -> tuple[Atoms, Array]:
    small.setup_cell_images()
    sites = small.get_all_unit_cell_sites()
    cell = small.cell
    atoms = Atoms(
        cell=(cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma),
        elements=tuple(site.element.name for site in sites),
        positions=np.array([[site.fract.x, site.fract.y, site.fract.z] for site in sites]),
        occupancies=np.array([site.occ for site in sites]),
        labels=tuple(site.label for site in sites),
        operations=(
            (np.eye(3), np.zeros(3)),
            *((np.array(op.mat.tolist()), np.array(op.vec.tolist())) for op in cell.images),
        ),
    )
    return atoms, np.array([site.u_iso for site in sites])


def _same(one: Atoms, two: Atoms) -> bool:
    """Whether two origins make the same crystal, moved: as many atoms at the same distances."""
    if sorted(one.elements) != sorted(two.elements):
        return False
    return bool(np.allclose(one.sorted_distances(), two.sorted_distances(), atol=CRYSTAL.one_place))


def _one_line(error: Exception) -> str:
    """The message of an error, shortened to what fits into a line."""
    words = " ".join(str(error).split())
    return words if len(words) <= 200 else f"{words[:200]} …"
