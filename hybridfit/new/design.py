"""A recipe for any crystal, its numbers chosen by convergence."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.library.build import BEYOND_DISC
from hybridfit.library.grid import HALO, beams_reach, sampling_of, wedge
from hybridfit.new.convergence import (
    Convergence,
    Points,
    Trial,
    choose_beams,
    choose_sampling,
    choose_step,
    ladder_of,
)
from hybridfit.new.settings import DESIGN, DesignSettings

if TYPE_CHECKING:
    from hybridfit.physics.crystal import Crystal
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Structure:
    """A crystal file, and what a user adds to it.

    Attributes
    ----------
    cif : path
    block : str, optional
        Name of the data block, where several hold a structure.
    debye_waller : mapping of element to float
        B (Å²) in place of what the file has.
    """

    cif: Path
    block: str | None = None
    debye_waller: Mapping[str, float] = field(default_factory=dict)

    def crystal(self) -> Crystal:
        """The crystal; errors as for `Crystal.from_cif`."""
        from hybridfit.physics.crystal import Crystal

        return Crystal.from_cif(self.cif, block=self.block, debye_waller=self.debye_waller)


@dataclass(frozen=True)
class Design:
    """A recipe's numbers, and how they came about.

    Attributes
    ----------
    cif : path
    zone, in_plane : indices
    energy_kv, semi_angle, semi_angle_max, tilt_max : kV, mrad, mrad, mrad
    thickness : (start, stop, step), nm
    g_max, sampling : Å⁻¹, mrad
    rotation_order, mirrors : symmetry of the projection
    holz : bool, whether there are HOLZ lines
    apart : from the direct disc to the next ones, mrad
    beams, directions, gigabytes : what is stored
    converged : by name (g_max, sampling, step), the `Convergence` of each
    tolerance : largest change of a pattern that counts as none, relative to its maximum
    moved_thickness, moved_tilt : largest shifts by fewer beams that count as none, nm and mrad
    block, debye_waller : of the `Structure`
    """

    cif: Path
    zone: tuple[int, int, int]
    in_plane: tuple[int, int, int]
    energy_kv: float
    semi_angle: float
    semi_angle_max: float
    tilt_max: float
    thickness: tuple[float, float, float]
    g_max: float
    sampling: float
    rotation_order: int
    mirrors: bool
    beams: int
    directions: int
    gigabytes: float
    converged: dict[str, Convergence]
    holz: bool = False
    apart: float = 0.0
    tolerance: float = DESIGN.tolerance
    moved_thickness: float = DESIGN.moved_thickness
    moved_tilt: float = DESIGN.moved_tilt
    block: str | None = None
    debye_waller: Mapping[str, float] = field(default_factory=dict)

    def reasons(self) -> dict[str, str]:
        """What was decided and why, by the name of the recipe's value."""
        symmetry = f"{self.rotation_order}-fold" + (", with mirrors" if self.mirrors else "")
        out = {"in_plane": f"kx points along it; the projection is {symmetry}"}
        out["g_max"] = f"1/Å; {_why(self.converged['g_max'], self._harmless('g_max'))}"
        out["semi_angle_max"] = f"mrad; {self.semi_angle:g} and room"
        out["sampling"] = f"mrad; {_why(self.converged['sampling'])}"
        out["step"] = f"nm; {_why(self.converged['step'])}"
        out["size"] = f"{self.beams} beams, {self.directions} directions, {1e3 * self.gigabytes:.0f} MB"
        return out

    def warnings(self) -> list[str]:
        """A sentence for every number that has not converged, and one where a single disc is compared."""
        return [*self._unconverged(), *self._alone()]

    def _alone(self) -> list[str]:
        """What to say where all discs but the direct one lie beyond what is compared."""
        compared = self.semi_angle + BEYOND_DISC
        enough = math.ceil(5 * (self.apart - BEYOND_DISC)) / 10
        if self.apart - self.semi_angle < compared:
            return []
        return [
            f"ONE DISC ALONE: the discs beside the direct one are {self.apart:.3g} mrad away, and only "
            f"{compared:.3g} mrad about its centre are compared. Fits go by the direct disc alone, and may "
            "take another thickness and tilt for the true ones: compare several frames of one place. From a "
            f"semi-angle of {enough:g} mrad on the others count, too."
        ]

    def _unconverged(self) -> list[str]:
        """A sentence for every number that has not converged; none where all have."""
        remedies = {
            "g_max": "more beams than could be tried take part, as where atoms hardly vibrate; try a smaller "
            "--thickness or another zone axis, and compare with a recipe of a larger g_max",
            "sampling": "discs have finer detail than any sampling tried; give a smaller --thickness",
            "step": "patterns change faster than any step that was tried; give the recipe a smaller one",
        }
        return [
            f"NOT CONVERGED: {name} = {each.value:g} still changes patterns by {_share(each.reached)} of "
            f"their maximum ({self.tolerance:g} is asked for){self._moves(each)}: {remedies[name]}."
            if not self._harmless(name)
            else f"{name} = {each.value:g} still changes patterns by up to {_share(each.reached)} of their "
            f"maximum ({self.tolerance:g} is asked for), as where heavy atoms hardly vibrate, but moves no "
            f"thickness by more than {each.moved:.1g} nm and no tilt by more than {each.moved_tilt:.1g} "
            "mrad: answers are right, and fits leave a larger residual."
            for name, each in self.converged.items()
            if not each.converged
        ]

    def _harmless(self, name: str) -> bool:
        """Whether what has not converged moves neither thickness nor tilt."""
        each = self.converged[name]
        stay = each.moved <= self.moved_thickness and each.moved_tilt <= self.moved_tilt
        return name == "g_max" and stay and each.reached <= DESIGN.harmless

    def _moves(self, chosen: Convergence) -> str:
        """Of thickness and tilt, where too few beams move them too far."""
        shifts = (
            ("thickness", chosen.moved, self.moved_thickness, "nm"),
            ("tilt", chosen.moved_tilt, self.moved_tilt, "mrad"),
        )
        return "".join(
            f", and moves the {what} by {moved:.2g} {unit} ({most:g} is asked for)"
            for what, moved, most, unit in shifts
            if moved > most
        )

    def toml(self) -> str:
        """The recipe, with the reasons as comments; the CIF is looked for beside it."""
        why, (start, stop, step) = self.reasons(), self.thickness
        zone = " ".join(map(str, self.zone))
        values = [
            ("cif", f'"{self.cif.name}"', ""),
            *([] if self.block is None else [("block", json.dumps(self.block), "of the CIF")]),
            ("zone", str(list(self.zone)), ""),
            ("in_plane", str(list(self.in_plane)), why["in_plane"]),
            ("energy_kv", f"{self.energy_kv:g}", ""),
            ("g_max", f"{self.g_max:g}", why["g_max"]),
            ("semi_angle_max", f"{self.semi_angle_max:g}", why["semi_angle_max"]),
            ("tilt_max", f"{self.tilt_max:g}", "mrad"),
            ("sampling", f"{self.sampling:g}", why["sampling"]),
        ]
        if self.debye_waller:
            listed = ", ".join(f"{element} = {b:g}" for element, b in self.debye_waller.items())
            values.append(("debye_waller", f"{{ {listed} }}", "Å², in place of the CIF's"))
        if self.holz:
            values.append(("holz", "true", "beams of higher Laue zones near the Ewald sphere"))
        lines = [
            f"# {self.cif.stem} along [{zone}] at {self.energy_kv:g} kV, for semi-angles of about "
            f"{self.semi_angle:g} mrad: {why['size']}.",
            *self._verdict(),
            *(_line(name, value, comment) for name, value, comment in values),
            "",
            "[thickness]",
            _line("start", f"{start:g}", "nm"),
            _line("stop", f"{stop:g}", ""),
            _line("step", f"{step:g}", why["step"]),
        ]
        return "\n".join(lines) + "\n"

    def _verdict(self) -> list[str]:
        """What the recipe says of its convergence, as comments."""
        chosen = (
            f"Chosen so that each of g_max, sampling and step changes no pattern by {self.tolerance:g} of "
        )
        said = [*(self._unconverged() or [f"{chosen}its maximum."]), *self._alone()]
        return [f"# {line}" for words in said for line in textwrap.wrap(words, 100)]


def design(
    cif: str | Path | Structure,
    zone: tuple[int, int, int],
    *,
    energy_kv: float,
    semi_angle: float,
    tilt_max: float = 4.6,
    thickness: tuple[float, float] = (1.0, 100.0),
    in_plane: tuple[int, int, int] | None = None,
    holz: bool = False,
    settings: DesignSettings = DESIGN,
    progress: Progress | None = None,
) -> Design:
    """Choose the numbers of a recipe.

    Parameters
    ----------
    cif : path or Structure
    zone : (u, v, w)
    energy_kv : float, kV
    semi_angle, tilt_max : float, mrad
    thickness : (thinnest, thickest), nm
    in_plane : (h, k, l), optional
        The reciprocal vector along kx; by default the shortest on a mirror of the projection, or of all.
    holz : bool
        Whether the library is to have HOLZ lines; sampling is chosen so that it resolves them.
    settings : DesignSettings
        What is tried, and what counts as converged.
    progress : callable(fraction), optional

    Raises
    ------
    InputError
        A value that no microscope has, or a library that would be too large.
    RecipeError
        The CIF cannot be read, the zone is zero, or the reference does not lie in it.
    """
    from hybridfit.physics.projection import project_all

    check_values(energy_kv, semi_angle, tilt_max, thickness, settings)
    structure = cif if isinstance(cif, Structure) else Structure(Path(cif))
    crystal = structure.crystal()
    if in_plane is None:
        in_plane = _reference(project_all([crystal], zone, holz=holz)[0])
    projection = project_all([crystal], zone, in_plane, holz=holz)[0]
    report = progress or (lambda fraction: None)
    points = Points.drawn(projection, energy_kv, semi_angle, tilt_max, thickness, settings)
    reach = (_with_room(semi_angle, settings) + tilt_max) / points.to_mrad
    ladder = ladder_of(projection, reach, settings)
    # what is too large in any case is known at once
    _size(points, tilt_max, ladder[0][0], settings.samplings[0], (*thickness, settings.steps[0]), settings)
    beams = choose_beams(points, ladder, lambda f: report(0.6 * f), settings)
    fewer = points.first(settings.fewer_points)
    sampling = choose_sampling(
        fewer._replace(lines=holz), beams.value, lambda f: report(0.6 + 0.35 * f), settings
    )
    step = choose_step(fewer, beams.value, settings)
    report(1.0)
    start, stop = thickness
    stop = start + step.value * max(math.ceil((stop - start) / step.value - 1e-9), 3)
    span = (start, stop, step.value)
    beams_stored, directions, size = _size(points, tilt_max, beams.value, sampling.value, span, settings)
    return Design(
        cif=structure.cif,
        zone=zone,
        in_plane=in_plane,
        energy_kv=energy_kv,
        semi_angle=semi_angle,
        semi_angle_max=_with_room(semi_angle, settings),
        tilt_max=tilt_max,
        thickness=span,
        g_max=beams.value,
        sampling=sampling.value,
        rotation_order=projection.rotation_order,
        mirrors=len(projection.symmetry) > projection.rotation_order,
        beams=beams_stored,
        directions=directions,
        gigabytes=size,
        converged={"g_max": beams, "sampling": sampling, "step": step},
        holz=holz,
        apart=float(np.linalg.norm(projection.basis, axis=1).min()) * points.to_mrad,
        tolerance=settings.tolerance,
        moved_thickness=settings.moved_thickness,
        moved_tilt=settings.moved_tilt,
        block=structure.block,
        debye_waller=structure.debye_waller,
    )


def _size(
    points: Points,
    tilt_max: float,
    g_max: float,
    sampling: float,
    thickness: tuple[float, float, float],
    settings: DesignSettings,
) -> tuple[int, int, float]:
    """Beams and directions that a library stores, and its size (GB)."""
    projection, semi_angle_max = points.projection, _with_room(points.semi_angle, settings)
    basis = projection.basis * points.to_mrad
    steps = basis / sampling_of(basis, projection.symmetry, sampling)[:, None]
    reach = semi_angle_max + tilt_max + HALO * float(np.linalg.norm(steps, axis=1).max())
    directions = len(wedge(steps, projection.symmetry, reach))
    longest = beams_reach(semi_angle_max, tilt_max) / points.to_mrad
    longest = max(longest, float(np.linalg.norm(projection.basis, axis=1).min()) * (1 + 1e-9))
    beams = len(projection.beams(min(g_max, longest)))
    start, stop, step = thickness
    size = 4e-9 * beams * directions * ((stop - start) / step + 1)
    if size > settings.largest:
        raise InputError(
            f"the library would take {size:.0f} GB or more; give a smaller --semi-angle or --tilt, "
            "or a narrower --thickness"
        )
    return beams, directions, size


def _with_room(semi_angle: float, settings: DesignSettings) -> float:
    """The largest semi-angle of a library for a nominal one (mrad)."""
    return math.ceil(10 * settings.slack * semi_angle - 1e-9) / 10


def check_values(
    energy_kv: float,
    semi_angle: float,
    tilt_max: float,
    thickness: tuple[float, float],
    settings: DesignSettings = DESIGN,
) -> None:
    """Raise an InputError for what no recipe can have."""
    for what, value, (low, high), unit in (
        ("semi-angle", semi_angle, settings.semi_angles, "mrad"),
        ("energy", energy_kv, settings.energies, "kV"),
        ("tilt", tilt_max, (0.0, settings.largest_tilt), "mrad"),
    ):
        if not low <= value <= high:
            raise InputError(f"{what} {value:g} {unit} is out of range; give {low:g} … {high:g} {unit}")
    if not 0 < thickness[0] < thickness[1] <= settings.thickest:
        raise InputError(
            f"thickness {thickness[0]:g} … {thickness[1]:g} nm is no range; give LOW,HIGH within "
            f"0 … {settings.thickest:g} nm"
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


def _why(chosen: Convergence, harmless: bool = False) -> str:
    """Error of the chosen value and of the cheaper one before it; harmless where it moves no answer."""
    trials = chosen.trials
    i = next(i for i, trial in enumerate(trials) if trial.value == chosen.value)
    best = trials[i]
    cost = f"{best.cost}, " if best.cost else ""
    words = f"{cost}off by {_share(chosen.reached)}{_moves(best)}"
    if not chosen.converged:
        verdict = "moves no answer" if harmless else "NOT CONVERGED"
        words = f"{cost}{verdict}, the last that was tried: still off by {_share(chosen.reached)}"
    if i:
        words += f"; {trials[i - 1].value:g} by {trials[i - 1].error:.1g}{_moves(trials[i - 1])}"
    return words


def _moves(trial: Trial) -> str:
    """Of thickness, where it was looked at."""
    return f" and {trial.thickness:.1g} nm" if trial.thickness else ""


def _share(error: float) -> str:
    return f"{error:.1g}" if math.isfinite(error) else "an unknown share"


def _line(name: str, value: str, comment: str) -> str:
    text = f"{name} = {value}"
    return f"{text:26s} # {comment}" if comment else text
