"""A recipe for any crystal, its numbers chosen by convergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.library.build import BEYOND_DISC, HALO
from hybridfit.library.grid import sampling_of, wedge
from hybridfit.new import convergence
from hybridfit.new.convergence import (
    FEWER_POINTS,
    TOLERANCE,
    Points,
    Trial,
    choose_beams,
    choose_sampling,
    choose_step,
    ladder_of,
)

if TYPE_CHECKING:
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]
Progress = Callable[[float], None]

BEAMS = (20, 30, 45, 65, 95, 140, 200, 290)  # numbers of beams that are tried, about
SLACK = 1.1  # of the semi-angle: how far the library reaches, for a semi-angle that is not quite known
LARGEST_GB = 8.0
SEMI_ANGLES = (1.0, 60.0)  # mrad


@dataclass(frozen=True)
class Design:
    """A recipe's numbers, and how they came about.

    Attributes
    ----------
    cif : path
    zone, in_plane : indices
    energy_kv, semi_angle, tilt_max : kV, mrad, mrad
    thickness : (start, stop, step), nm
    g_max, sampling : Å⁻¹, mrad
    rotation_order, mirrors : symmetry of the projection
    holz : bool, whether there are HOLZ lines
    beams, directions, gigabytes : what is stored
    trials : by name, the values that were tried
    """

    cif: Path
    zone: tuple[int, int, int]
    in_plane: tuple[int, int, int]
    energy_kv: float
    semi_angle: float
    tilt_max: float
    thickness: tuple[float, float, float]
    g_max: float
    sampling: float
    rotation_order: int
    mirrors: bool
    beams: int
    directions: int
    gigabytes: float
    trials: dict[str, tuple[Trial, ...]]
    holz: bool = False

    @property
    def semi_angle_max(self) -> float:
        """Largest semi-angle of the library (mrad)."""
        return _with_room(self.semi_angle)

    def reasons(self) -> dict[str, str]:
        """What was decided and why, by the name of the recipe's value."""
        symmetry = f"{self.rotation_order}-fold" + (", with mirrors" if self.mirrors else "")
        out = {"in_plane": f"kx points along it; the projection is {symmetry}"}
        out["g_max"] = f"1/Å; {_why(self.trials['g_max'], self.g_max)}"
        out["semi_angle_max"] = f"mrad; {self.semi_angle:g} and room"
        out["sampling"] = f"mrad; {_why(self.trials['sampling'], self.sampling)}"
        out["step"] = f"nm; {_why(self.trials['step'], self.thickness[2])}"
        out["size"] = f"{self.beams} beams, {self.directions} directions, {1e3 * self.gigabytes:.0f} MB"
        return out

    def toml(self) -> str:
        """The recipe, with the reasons as comments; the CIF is looked for beside it."""
        why, (start, stop, step) = self.reasons(), self.thickness
        zone = " ".join(map(str, self.zone))
        values = [
            ("cif", f'"{self.cif.name}"', ""),
            ("zone", str(list(self.zone)), ""),
            ("in_plane", str(list(self.in_plane)), why["in_plane"]),
            ("energy_kv", f"{self.energy_kv:g}", ""),
            ("g_max", f"{self.g_max:g}", why["g_max"]),
            ("semi_angle_max", f"{self.semi_angle_max:g}", why["semi_angle_max"]),
            ("tilt_max", f"{self.tilt_max:g}", "mrad"),
            ("sampling", f"{self.sampling:g}", why["sampling"]),
        ]
        if self.holz:
            values.append(("holz", "true", "beams of higher Laue zones near the Ewald sphere"))
        lines = [
            f"# {self.cif.stem} along [{zone}] at {self.energy_kv:g} kV, for semi-angles of about "
            f"{self.semi_angle:g} mrad: {why['size']}.",
            f"# Chosen so that each of g_max, sampling and step changes no pattern by {TOLERANCE:g} of its "
            "maximum.",
            *(_line(name, value, comment) for name, value, comment in values),
            "",
            "[thickness]",
            _line("start", f"{start:g}", "nm"),
            _line("stop", f"{stop:g}", ""),
            _line("step", f"{step:g}", why["step"]),
        ]
        return "\n".join(lines) + "\n"


def design(
    cif: str | Path,
    zone: tuple[int, int, int],
    *,
    energy_kv: float,
    semi_angle: float,
    tilt_max: float = 4.6,
    thickness: tuple[float, float] = (1.0, 100.0),
    in_plane: tuple[int, int, int] | None = None,
    holz: bool = False,
    beams: Sequence[int] = BEAMS,
    progress: Progress | None = None,
) -> Design:
    """Choose the numbers of a recipe.

    Parameters
    ----------
    cif : path
    zone : (u, v, w)
    energy_kv : float, kV
    semi_angle, tilt_max : float, mrad
    thickness : (thinnest, thickest), nm
    in_plane : (h, k, l), optional
        The reciprocal vector along kx; by default the shortest on a mirror of the projection, or of all.
    holz : bool
        Whether the library is to have HOLZ lines; sampling is chosen so that it resolves them.
    beams : sequence of int, ascending
        About how many are tried; the last are what the others are compared with.
    progress : callable(fraction), optional

    Raises
    ------
    InputError
        A value that no microscope has, or a library that would be too large.
    RecipeError
        The CIF cannot be read, the zone is zero, or the reference does not lie in it.
    """
    from hybridfit.physics.crystal import Crystal
    from hybridfit.physics.projection import project_all

    check_values(energy_kv, semi_angle, tilt_max, thickness)
    crystal = Crystal.from_cif(cif)
    if in_plane is None:
        in_plane = _reference(project_all([crystal], zone, holz=holz)[0])
    projection = project_all([crystal], zone, in_plane, holz=holz)[0]
    report = progress or (lambda fraction: None)
    points = Points.drawn(projection, energy_kv, semi_angle, tilt_max, thickness)
    ladder = ladder_of(projection, beams)
    _size(
        points, tilt_max, ladder[0], convergence.SAMPLINGS[0], (*thickness, convergence.STEPS[0])
    )  # too large is known at once
    g_max, by_beams = choose_beams(points, ladder, lambda f: report(0.6 * f))
    fewer = points.first(FEWER_POINTS)
    sampling, by_sampling = choose_sampling(
        fewer._replace(lines=holz), g_max, lambda f: report(0.6 + 0.35 * f)
    )
    step, by_step = choose_step(fewer, g_max)
    report(1.0)
    start, stop = thickness
    stop = start + step * max(math.ceil((stop - start) / step - 1e-9), 3)
    beams_stored, directions, size = _size(points, tilt_max, g_max, sampling, (start, stop, step))
    return Design(
        cif=Path(cif),
        zone=zone,
        in_plane=in_plane,
        energy_kv=energy_kv,
        semi_angle=semi_angle,
        tilt_max=tilt_max,
        thickness=(start, stop, step),
        g_max=g_max,
        sampling=sampling,
        rotation_order=projection.rotation_order,
        mirrors=len(projection.symmetry) > projection.rotation_order,
        beams=beams_stored,
        directions=directions,
        gigabytes=size,
        trials={"g_max": by_beams, "sampling": by_sampling, "step": by_step},
        holz=holz,
    )


def _size(
    points: Points, tilt_max: float, g_max: float, sampling: float, thickness: tuple[float, float, float]
) -> tuple[int, int, float]:
    """Beams and directions that a library stores, and its size (GB)."""
    projection, semi_angle_max = points.projection, _with_room(points.semi_angle)
    basis = projection.basis * points.to_mrad
    steps = basis / sampling_of(basis, projection.symmetry, sampling)[:, None]
    reach = semi_angle_max + tilt_max + HALO * float(np.linalg.norm(steps, axis=1).max())
    directions = len(wedge(steps, projection.symmetry, reach))
    longest = (2 * semi_angle_max + BEYOND_DISC) / points.to_mrad
    beams = len(projection.beams(min(g_max, longest)))
    start, stop, step = thickness
    size = 4e-9 * beams * directions * ((stop - start) / step + 1)
    if size > LARGEST_GB:
        raise InputError(
            f"the library would take {size:.0f} GB or more; give a smaller --semi-angle or --tilt, "
            "or a narrower --thickness"
        )
    return beams, directions, size


def _with_room(semi_angle: float) -> float:
    """The largest semi-angle of a library for a nominal one (mrad)."""
    return math.ceil(10 * SLACK * semi_angle - 1e-9) / 10


def check_values(
    energy_kv: float, semi_angle: float, tilt_max: float, thickness: tuple[float, float]
) -> None:
    """Raise an InputError for what no recipe can have."""
    if not SEMI_ANGLES[0] <= semi_angle <= SEMI_ANGLES[1]:
        raise InputError(
            f"semi-angle {semi_angle:g} mrad is out of range; "
            f"give {SEMI_ANGLES[0]:g} … {SEMI_ANGLES[1]:g} mrad"
        )
    if not 20 <= energy_kv <= 3000:
        raise InputError(f"energy {energy_kv:g} kV is out of range; give 20 … 3000 kV")
    if not 0 <= tilt_max <= 50:
        raise InputError(f"tilt {tilt_max:g} mrad is out of range; give 0 … 50 mrad")
    if not 0 < thickness[0] < thickness[1] <= 1000:
        raise InputError(
            f"thickness {thickness[0]:g} … {thickness[1]:g} nm is no range; give LOW,HIGH within 0 … 1000 nm"
        )


def _reference(projection: Projection) -> tuple[int, int, int]:
    """The shortest reflection that a mirror of the projection leaves where it is; without one, of all."""
    mirrors = [r for r in projection.symmetry if np.linalg.det(r) < 0]
    longest = 3 * float(np.linalg.norm(projection.basis, axis=1).max())
    beams = projection.beams(longest)[1:]
    kept = [n for n in beams if any((r @ n == n).all() for r in mirrors)] or [*beams]
    lengths = np.linalg.norm(np.array(kept) @ projection.basis, axis=1)
    shortest = [n for n, length in zip(kept, lengths, strict=True) if length < lengths[0] * (1 + 1e-6)]
    h, k, l = max(tuple(int(i) for i in n @ projection.basis_hkl) for n in shortest)
    return h, k, l


def _why(trials: Sequence[Trial], chosen: float) -> str:
    """Error of the chosen value and of the cheaper one before it."""
    i = next(i for i, trial in enumerate(trials) if trial.value == chosen)
    best = trials[i]
    cost = f"{best.cost}, " if best.cost else ""
    words = f"{cost}off by {best.error:.1g}" if best.error else f"{cost}the most that was tried"
    if i:
        words += f"; {trials[i - 1].value:g} by {trials[i - 1].error:.1g}"
    return words


def _line(name: str, value: str, comment: str) -> str:
    text = f"{name} = {value}"
    return f"{text:26s} # {comment}" if comment else text
