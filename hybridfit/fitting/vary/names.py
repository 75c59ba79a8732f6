"""Names of structural numbers: "B:Sr" (all Sr), "z:O1" (the site O1), "occ:La"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hybridfit.errors import InputError

KINDS = {"B": "Å²", "x": "1", "y": "1", "z": "1", "occ": "1"}  # and their units
EXAMPLE = "B:Sr, B:O, z:O1 or occ:La"


@dataclass(frozen=True)
class Varied:
    """A number of the crystal that is fitted.

    Attributes
    ----------
    kind : "B", "x", "y", "z" or "occ"
    atoms : str
        Label of a site in the CIF, or an element: all its sites.
    """

    kind: str
    atoms: str

    @property
    def name(self) -> str:
        """As a user writes it: "B:Sr"."""
        return f"{self.kind}:{self.atoms}"

    @property
    def unit(self) -> str:
        """Å² of a B; coordinates are fractions of the cell."""
        return KINDS[self.kind]

    @property
    def axis(self) -> int:
        """Of a coordinate: 0, 1 or 2."""
        return "xyz".index(self.kind)


def parsed(given: Any) -> tuple[Varied, ...]:
    """What a user gives: names with commas between them, or a sequence of names.

    Raises
    ------
    InputError
        Something else, or the same name twice.
    """
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"vary is {given!r}; give names such as {EXAMPLE}")
    out: list[Varied] = []
    for part in (part.strip() for part in parts):
        kind, colon, atoms = part.partition(":")
        if not colon or kind not in KINDS or not atoms.strip():
            raise InputError(
                f"{part!r} is nothing to vary; give B, x, y, z or occ, a colon, and a label of the CIF or an "
                f"element, such as {EXAMPLE}"
            )
        varied = Varied(kind, atoms.strip())
        if varied in out:
            raise InputError(f"{varied.name} is given twice; give every name once")
        out.append(varied)
    if not out:
        raise InputError(f"vary names nothing; give names such as {EXAMPLE}")
    return tuple(out)
