"""Every quantity that is fitted, simulated, mapped or drawn: its name, its unit, and how it is written.

This is the only place for them. A unit has three spellings: for people (°), for the JSON of the command
line (deg), and for netCDF after the CF conventions (degree). Structural parameters of a library are not
listed here, because every library has its own; `quantity` makes an entry of the unit that the library gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Spelling(NamedTuple):
    """How one unit is written elsewhere: in JSON keys, in netCDF attributes, and in a sentence."""

    json: str
    cf: str
    words: str


# units that are not written the same everywhere
SPELLINGS = {
    "": Spelling("", "1", ""),
    "px/mrad": Spelling("px_per_mrad", "px/mrad", "px/mrad"),
    "°": Spelling("deg", "degree", "degrees"),
    "V/nm": Spelling("V_per_nm", "V nm-1", "V/nm"),
}


@dataclass(frozen=True)
class Quantity:
    """A quantity and how it is written.

    Attributes
    ----------
    name : str
        In Python, JSON and netCDF.
    unit : str
        For people; "" where there is none.
    label : str
        A few words for pictures and tables.
    long_name : str
        A full description, as netCDF attribute.
    digits : int
        Decimals of a value whose error is not known.
    signed : bool
        Whether pictures colour it about zero.
    """

    name: str
    unit: str
    label: str
    long_name: str
    digits: int = 3
    signed: bool = False

    @property
    def dimensionless(self) -> bool:
        """Whether it has no unit."""
        return self.unit == ""

    @property
    def spelling(self) -> Spelling:
        """The unit in JSON, in netCDF and in a sentence."""
        return SPELLINGS.get(self.unit, Spelling(self.unit, self.unit, self.unit))

    @property
    def json_key(self) -> str:
        """The key of its value in JSON, which ends in the unit: "scale_px_per_mrad"."""
        return self.name if self.dimensionless else f"{self.name}_{self.spelling.json}"

    @property
    def attrs(self) -> dict[str, str]:
        """CF attributes of the variable that holds it."""
        return {"units": self.spelling.cf, "long_name": self.long_name}

    @property
    def stderr_attrs(self) -> dict[str, str]:
        """CF attributes of the variable that holds its standard error."""
        return {"units": self.spelling.cf, "long_name": f"standard error of the {self.long_name}"}


QUANTITIES: Mapping[str, Quantity] = {
    q.name: q
    for q in (
        Quantity("thickness", "nm", "thickness", "specimen thickness", 2),
        Quantity("tilt_x", "mrad", "tilt x", "tilt along the crystal's x", 2, signed=True),
        Quantity("tilt_y", "mrad", "tilt y", "tilt along the crystal's y", 2, signed=True),
        Quantity("tilt_magnitude", "mrad", "tilt, magnitude", "magnitude of the tilt", 2),
        Quantity(
            "tilt_azimuth", "°", "tilt, azimuth", "azimuth of the tilt, from the crystal's x to its y", 1
        ),
        Quantity("centre_x", "px", "centre, column", "centre of the direct disc, column", 2),
        Quantity("centre_y", "px", "centre, row", "centre of the direct disc, row", 2),
        Quantity("scale", "px/mrad", "scale", "camera calibration", 4),
        Quantity("rotation", "°", "rotation", "rotation of the crystal's x from columns towards rows", 2),
        Quantity(
            "ellipticity_a",
            "",
            "ellipticity a",
            "elliptical distortion along columns and rows",
            4,
            signed=True,
        ),
        Quantity(
            "ellipticity_b", "", "ellipticity b", "elliptical distortion along the diagonals", 4, signed=True
        ),
        Quantity("semi_angle", "mrad", "semi-angle", "convergence semi-angle", 3),
        Quantity("blur", "mrad", "blur", "standard deviation of the blur", 3),
        Quantity("vacuum", "", "vacuum", "share of the averaged area that is empty", 3),
        Quantity(
            "thickness_spread",
            "nm",
            "thickness, spread",
            "standard deviation of the thickness in the averaged area",
            2,
        ),
        Quantity(
            "tilt_spread",
            "mrad",
            "tilt, spread",
            "standard deviation of either component of the tilt in the averaged area",
            3,
        ),
        Quantity("deflection_x", "mrad", "deflection x", "deflection along columns", 3, signed=True),
        Quantity("deflection_y", "mrad", "deflection y", "deflection along rows", 3, signed=True),
        Quantity("field_x", "V/nm", "field x", "electric field along x", 3, signed=True),
        Quantity("field_y", "V/nm", "field y", "electric field along y", 3, signed=True),
        Quantity("intensity_factor", "", "intensity", "intensity of the empty beam per pixel"),
        Quantity("residual_fraction", "", "residual / variance", "residual variance over pattern variance"),
        Quantity("misfit_fraction", "", "misfit / variance", "residual fraction less what noise explains"),
        Quantity("reduced_chi2", "", "reduced χ²", "reduced chi-square"),
    )
}


def quantity(name: str, unit: str | None = None) -> Quantity:
    """The quantity of this name; any other is a structural parameter in the unit that its library gives.

    Parameters
    ----------
    name : str
    unit : str, optional
        Of a structural parameter, for people or after the CF conventions; "1" and None mean that it has none.
    """
    known = QUANTITIES.get(name)
    if known is not None:
        return known
    words = name.replace("_", " ")
    by_cf = {spelling.cf: own for own, spelling in SPELLINGS.items()}
    return Quantity(name, "" if unit is None else by_cf.get(unit, unit), words, words)


def decimals(stderr: float, most: int = 8) -> int:
    """Decimals that show the first two digits of a standard error."""
    return max(0, min(most, 1 - math.floor(math.log10(stderr))))
