"""How large a library will be and how long it will take, from its recipe and before memory is taken.

The plane of the zone axis has one beam per area |det(g₁, g₂)| and one direction per area of a grid step,

    N(|g| ≤ g_max) = π g_max² / |det(g₁, g₂)|,        D = π (α + τ)² N₁ N₂ / (|det(g₁, g₂)| · m),

with m point operations of the projection, α the largest semi-angle and τ the largest tilt.  A solve costs
8 N² D operations for each term of the Chebyshev series (`hybridfit.physics.bloch`), of which

    rt ≈ ½ (R² + q²) · πt/K

are needed up to a thickness t, q = (α + τ)/λ,
R the radius of the strong beams on the axis.  It is an estimate, good to a factor of two.

A build into a file has one thing after the other in memory: a block of intensities, the waves that a diffuse
table is made of, which are most of it where crystals are thick, and all slopes.  A fit has less: it reads the
blocks of intensities that it needs, and the thicknesses of slopes and diffuse intensities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import RecipeError
from hybridfit.library.contents import SLOPES
from hybridfit.library.grid import beams_reach
from hybridfit.library.memory import free_memory, in_words
from hybridfit.library.recipe import Recipe
from hybridfit.library.settings import BUILD, BuildSettings

Array = NDArray[np.float64]
BYTES_PER_SLOPE = 12  # of a crystal while they are solved: two solves, and whole numbers of both slopes
# while a diffuse table is made by two threads: of an incident direction and a depth; to decide what is kept
BYTES_PER_WAVE, DECIDING = 2.5e5, 1.4e8
WEDGE = 1.6  # a lattice of incident directions is finer than asked for
BYTES_PER_COUPLING = 200  # of a pair of beams, while the matrix is made
BYTES_PER_GRID_POINT = 60  # of a direction before symmetry, while the wedge is made
BYTES_PER_LINE = 60  # of a structure factor that HOLZ lines need
SLOWER_WITH_LINES = 10.0
STRONG = 0.85  # of g_max: `physics.settings`, which loads slowly


@dataclass(frozen=True)
class Size:
    """What makes a library large.

    Attributes
    ----------
    cell : float
        Area of the cell of the plane of beams (Å⁻²).
    wavelength : float, Å
    operations : int
        Point operations of the projection.
    g_max, semi_angle, tilt, sampling : Å⁻¹, mrad, mrad, mrad
    thicknesses : int
    thickest : float, nm
    crystals : int
    tables : int
        Crystals that have a diffuse table of their own.
    holz : bool
    whole : bool
        Whether all of it is in memory, as of `Library.build`; or a file is written block by block.
    """

    cell: float
    wavelength: float
    operations: int
    g_max: float
    semi_angle: float
    tilt: float
    sampling: float
    thicknesses: int
    thickest: float
    crystals: int
    tables: int
    holz: bool
    whole: bool = False

    def __str__(self) -> str:
        """In words, as a table shows it."""
        return (
            f"{_count(self.stored_beams)} beams, {_count(self.directions)} directions, "
            f"{in_words(self.stored)}, {_duration(self.seconds)}, {in_words(self.memory)} of memory"
        )

    def beams(self, longest: float) -> float:
        """How many beams are no longer than that (Å⁻¹)."""
        return float(1 + np.pi * longest**2 / self.cell)

    @property
    def stored_beams(self) -> float:
        """Beams whose discs reach into the patterns."""
        reach = beams_reach(self.semi_angle, self.tilt) / (1e3 * self.wavelength)
        return self.beams(min(self.g_max, reach))

    @property
    def grid(self) -> float:
        """Directions, before symmetry."""
        return float(np.pi * (self.semi_angle + self.tilt + 4 * self.sampling) ** 2 / self.sampling**2)

    @property
    def directions(self) -> float:
        """Directions that are solved for each crystal."""
        return max(1.0, self.grid / self.operations)

    @property
    def _intensities(self) -> float:
        """Numbers of a crystal."""
        return self.thicknesses * self.stored_beams * self.directions

    @property
    def _waves(self) -> float:
        """Incident directions and depths of a diffuse table."""
        reach = (self.semi_angle + self.tilt + BUILD.diffuse_incident) / BUILD.diffuse_incident
        incident = WEDGE * (np.pi * reach**2 / self.operations + 2 * reach)  # two sides of the wedge
        return float(incident * self.thickest / BUILD.diffuse_step)

    @property
    def _diffuse(self) -> float:
        """Numbers of a diffuse table."""
        return (
            self._waves
            * np.pi
            * ((self.semi_angle + self.tilt + BUILD.beyond_disc) / BUILD.diffuse_exit) ** 2
        )

    @property
    def stored(self) -> float:
        """Bytes of the library, its slopes and its diffuse table included."""
        slopes = 2 * len(SLOPES) * self._intensities / BUILD.coarser**2
        return self.crystals * (4 * self._intensities + slopes) + 2 * self.tables * self._diffuse

    @property
    def memory(self) -> float:
        """Bytes while it is made, at most."""
        intensities = 4 * self._intensities
        block = 2 * min(BUILD.block, intensities)  # a solve, and what hands it out
        slope = self._intensities / BUILD.coarser**2
        earlier = 2 * len(SLOPES) * (self.crystals - 1) * slope
        # those of several crystals are put together at the end
        slopes = max(BYTES_PER_SLOPE * slope + earlier, 4 * len(SLOPES) * self.crystals * slope)
        diffuse = BYTES_PER_WAVE * self._waves + DECIDING
        tables = 2 * self.tables * self._diffuse
        coupled = BYTES_PER_COUPLING * self.beams(BUILD.folded * self.g_max) ** 2
        grid = (BYTES_PER_GRID_POINT + 8 * self.operations) * self.grid
        whole = intensities * self.crystals if self.whole else 0.0
        return whole + max(block, slopes, diffuse) + tables + coupled + grid

    @property
    def seconds(self) -> float:
        """Rough time on one core."""
        q = (self.semi_angle + self.tilt) / (1e3 * self.wavelength)
        radius = np.hypot(STRONG * self.g_max, q)
        strong = self.beams(radius)
        terms = 50 + 0.5 * radius**2 * np.pi * 10 * self.thickest * self.wavelength
        work = 8 * strong**2 * self.directions * terms * self.crystals
        folded = 30 * self.beams(BUILD.folded * self.g_max) ** 3 * self.crystals
        slopes = work * (1 + len(SLOPES)) / BUILD.coarser**2
        return float((work * (SLOWER_WITH_LINES if self.holz else 1) + slopes + folded) / BUILD.speed)


def size_of(
    recipe: Recipe,
    cell: float,
    operations: int,
    crystals: int,
    thicknesses: int,
    wavelength: float,
    *,
    tables: int = 1,
    whole: bool = False,
) -> Size:
    """The size of a recipe's library.

    Parameters
    ----------
    recipe : Recipe
    cell : float, Å⁻²
        Area of the cell of the plane of beams, the smallest of all crystals.
    operations, crystals, thicknesses : int
    wavelength : float, Å
    tables, whole : as of `Size`
    """
    return Size(
        cell=cell,
        wavelength=wavelength,
        operations=operations,
        g_max=recipe.g_max,
        semi_angle=recipe.semi_angle_max,
        tilt=recipe.tilt_max,
        sampling=recipe.sampling,
        thicknesses=thicknesses,
        thickest=recipe.thickness.stop,
        crystals=crystals,
        tables=tables,
        holz=recipe.holz,
        whole=whole,
    )


def check_size(size: Size, settings: BuildSettings = BUILD) -> None:
    """Raise a RecipeError for a library that does not fit into memory, takes days, or has too few beams.

    The error names the value that does most to it.
    """
    reach, longest = size.semi_angle + size.tilt, 1e3 * size.wavelength * size.g_max
    if reach > longest:
        raise RecipeError(
            f"semi_angle_max {size.semi_angle:g} mrad and tilt_max {size.tilt:g} mrad reach beyond the "
            f"longest beam (g_max {size.g_max:g} Å⁻¹ is {longest:.3g} mrad), where too few beams take part; "
            f"make them smaller, or g_max at least {np.ceil(reach / size.wavelength / 10) / 100:g}"
        )
    free = settings.memory_share * free_memory()
    seconds = 3600 * settings.longest
    if size.memory <= free and size.seconds <= seconds:
        return
    what = "memory" if size.memory > free else "seconds"
    usual = _at_usual_values(size, settings)
    name = min(usual, key=lambda each: float(getattr(usual[each], what)))
    values = {
        "g_max": f"g_max {size.g_max:g} Å⁻¹",
        "sampling": f"sampling {size.sampling:g} mrad",
        "semi_angle_max": f"semi_angle_max {size.semi_angle:g} mrad",
        "tilt_max": f"tilt_max {size.tilt:g} mrad",
        "thickness": f"[thickness] up to {size.thickest:g} nm in {size.thicknesses} steps",
        "parameters": f"[parameters] with {size.crystals} combinations of values",
    }
    larger = "larger" if name == "sampling" else "smaller" if name != "parameters" else "fewer"
    raise RecipeError(
        f"{values[name]} makes the library too large: {_count(size.beams(size.g_max))} beams and "
        f"{_count(size.directions)} directions take about {in_words(size.memory)} of memory "
        f"({in_words(free)} are free) and {_duration(size.seconds)}; make it {larger}"
    )


def _at_usual_values(size: Size, settings: BuildSettings) -> Mapping[str, Size]:
    """The size with one value at a time at what is usual, where that is less."""
    few = min(size.thicknesses, settings.usual_thicknesses)
    return {
        "g_max": replace(size, g_max=min(size.g_max, settings.usual_g_max)),
        "sampling": replace(size, sampling=max(size.sampling, settings.usual_sampling)),
        "semi_angle_max": replace(size, semi_angle=min(size.semi_angle, settings.usual_semi_angle)),
        "tilt_max": replace(size, tilt=min(size.tilt, settings.usual_tilt)),
        "thickness": replace(
            size, thicknesses=few, thickest=min(size.thickest, float(settings.usual_thicknesses))
        ),
        "parameters": replace(
            size,
            crystals=min(size.crystals, settings.usual_crystals),
            tables=min(size.tables, settings.usual_crystals),
        ),
    }


def _count(number: float) -> str:
    return f"{number:.0f}" if number < 1e6 else f"{number:.1e}"


def _duration(seconds: float) -> str:
    for unit, length in (("years", 3.15e7), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"
