"""Crystals without a network of their own: alignment, and the fits that follow.

The frames are drawn as in `benchmarks.frames`, of four crystals at semi-angles from 13 to 25 mrad.  The
direct disc is found by the alignment network, by the sharpest rim in the frame, and by both.  A library
match starts from each.

Run with: python -m benchmarks.alignment [--frames N] [--full N] [--quick]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import frames as drawn
from benchmarks.common import Study, new_parser
from hybridfit import Fitter, Library, Recipe, simulate_frame
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate, tilt_distance
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.seed.alignment import Aligner
from hybridfit.fitting.seed.disc import rough_discs
from hybridfit.frame import Frame, make_frame
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.library import cache_folder

# space group, cell edges (Å), atoms (element, x, y, z, B in Å²); rounded room-temperature values
CRYSTALS: dict[str, tuple[str, tuple[float, float, float], list[tuple[str, float, float, float, float]]]] = {
    "SrTiO3": (
        "P m -3 m",
        (3.905, 3.905, 3.905),
        [("Sr", 0, 0, 0, 0.62), ("Ti", 0.5, 0.5, 0.5, 0.44), ("O", 0, 0.5, 0.5, 0.73)],
    ),
    "Si": ("F d -3 m:2", (5.431, 5.431, 5.431), [("Si", 0.125, 0.125, 0.125, 0.46)]),
    "GaAs": ("F -4 3 m", (5.653, 5.653, 5.653), [("Ga", 0, 0, 0, 0.66), ("As", 0.25, 0.25, 0.25, 0.57)]),
    "rutile": ("P 42/m n m", (4.594, 4.594, 2.959), [("Ti", 0, 0, 0, 0.50), ("O", 0.305, 0.305, 0, 0.60)]),
}
CASES: dict[str, tuple[str, tuple[int, int, int], float]] = {
    "Si [110] 200 kV": ("Si", (1, 1, 0), 200.0),
    "GaAs [110] 200 kV": ("GaAs", (1, 1, 0), 200.0),
    "SrTiO3 [011] 200 kV": ("SrTiO3", (0, 1, 1), 200.0),
    "rutile [001] 80 kV": ("rutile", (0, 0, 1), 80.0),
}
SEMI_ANGLES = (13.0, 16.0, 19.0, 22.0, 25.0)  # mrad: only a few, because each needs templates
THICKNESS = (3.0, 78.0)  # nm
FRAMES, FULL, SEED = 15, 1, 7
QUICK_CASES = ("Si [110] 200 kV",)
NEAR = (0.02, 0.05)  # of the radius
RIGHT = (0.5, 0.1)  # nm, mrad
REACH = (3.0, 1.0)  # nm, mrad
THIN = 5.0  # nm: thinner crystals hardly show their tilt


def library_of(case: str) -> Library:
    """The library of a case, from the cache where it is."""
    crystal, zone, energy = CASES[case]
    group, (a, b, c), atoms = CRYSTALS[crystal]
    lines = [f"data_{crystal}", f"_symmetry_space_group_name_H-M '{group}'"]
    lines += [f"_cell_length_{name} {value}" for name, value in zip("abc", (a, b, c), strict=True)]
    lines += [f"_cell_angle_{name} 90" for name in ("alpha", "beta", "gamma")]
    names = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "B_iso_or_equiv")
    lines += ["loop_", *(f"_atom_site_{name}" for name in names)]
    lines += [" ".join(map(str, (f"{atom[0]}{i}", *atom))) for i, atom in enumerate(atoms)]
    with tempfile.TemporaryDirectory() as folder:
        cif = Path(folder) / f"{crystal}.cif"
        cif.write_text("\n".join(lines) + "\n")
        recipe = Recipe(
            cif=cif,
            zone=zone,
            energy_kv=energy,
            g_max=2.0,
            semi_angle_max=max(SEMI_ANGLES),
            sampling=0.4,
            thickness={"start": 2.0, "stop": 80.0, "step": 2.0},
        )
        path = cache_folder() / f"alignment-{recipe.checksum()[:12]}-v{library_version}.nc"
        if not path.exists():
            Library.build(recipe).save(path)
    return Library(Library.open(path).dataset.load())


def frames_of(library: Library, n: int) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """n frames and the truth of each."""
    out = []
    for i, values in enumerate(drawn.draw(n, SEED)):
        semi_angle = SEMI_ANGLES[i % len(SEMI_ANGLES)]
        share = (values["thickness"] - drawn.THICKNESS[0]) / (drawn.THICKNESS[1] - drawn.THICKNESS[0])
        values["thickness"] = THICKNESS[0] + share * (THICKNESS[1] - THICKNESS[0])
        values["scale"] *= values["semi_angle"] / semi_angle
        values["semi_angle"] = semi_angle
        out.append(simulate_frame(library, **values))
    return out


def disc_error(disc: tuple[float, float, float], truth: dict[str, Any]) -> float:
    """Centre and scale against the truth: the larger of the two errors, of the radius."""
    radius = truth["scale"] * truth["semi_angle"]
    off = np.hypot(disc[0] - truth["centre_x"], disc[1] - truth["centre_y"]) / radius
    return float(max(off, abs(disc[2] / truth["scale"] - 1)))


def aligned(frame: Frame, truth: dict[str, Any]) -> dict[str, Any]:
    """The disc from the networks and from rims."""
    semi_angle = truth["semi_angle"]
    aligner = Aligner.shipped(semi_angle)
    if aligner is None:
        raise RuntimeError("the weights of the aligner are missing")
    start = time.perf_counter()
    alignment = aligner.align(frame)
    row: dict[str, Any] = {"network_seconds": time.perf_counter() - start, "doubt": alignment.doubt}
    row["network"] = disc_error(alignment.camera, truth)
    start = time.perf_counter()
    try:
        rims = [
            (d.centre_x, d.centre_y, d.radius / semi_angle) for d in rough_discs(frame.image, frame.valid)
        ]
    except InputError:
        rims = []
    row["rim_seconds"] = time.perf_counter() - start
    row["rim"] = disc_error(rims[0], truth) if rims else 1.0
    row["any rim"] = min((disc_error(rim, truth) for rim in rims), default=1.0)
    row["starts"] = {"network": [alignment.camera], "rim": rims[:1], "both": [alignment.camera, *rims[:1]]}
    return row


def reaches(found: list[Candidate], truth: dict[str, Any], order: int) -> int | None:
    """Index of the first candidate near the truth."""
    tilt = truth["tilt_x"], truth["tilt_y"]
    for i, c in enumerate(found):
        if (
            abs(c.thickness - truth["thickness"]) <= REACH[0]
            and tilt_distance(c.tilt, tilt, order) <= REACH[1]
        ):
            return i
    return None


def answer(result: FitResult, truth: dict[str, Any], order: int) -> dict[str, Any]:
    """A fit against the truth."""
    off = abs(result.thickness - truth["thickness"])
    tilt = tilt_distance(result.tilt, (truth["tilt_x"], truth["tilt_y"]), order)
    return {
        "thickness": off,
        "tilt": tilt,
        "right": bool(off <= RIGHT[0] and tilt <= RIGHT[1]),
        "wrong": bool((off > REACH[0] or tilt > REACH[1]) and result.ok),
        "status": result.status.name,
        "route": result.route,
        "seconds": dict(result.seconds),
    }


def one_case(case: str, n: int, full: int) -> list[dict[str, Any]]:
    """Every frame of one crystal, in every way."""
    library, rows = library_of(case), []
    order = library.rotation_order
    for i, (image, truth) in enumerate(frames_of(library, n)):
        frame = make_frame(image)
        row = {"case": case} | {k: truth[k] for k in ("semi_angle", "thickness", "electrons")}
        row |= aligned(frame, truth)
        fitter = Fitter(library, truth["semi_angle"])
        fitter.templates()
        row["match"] = {}
        for name, starts in row.pop("starts").items():
            start = time.perf_counter()
            found = Matcher(fitter.attempts.searcher.searchers[0]).match(frame, starts)[0] if starts else []
            place = reaches(found, truth, order)
            row["match"][name] = {"place": place, "seconds": time.perf_counter() - start}
            row["match"][name]["chi2"] = [c.chi2 for c in found]
        for name, method, wanted in (("fit", "hybrid", True), ("full", "lsf", i < full)):
            if wanted:
                try:
                    row[name] = answer(
                        Fitter(library, truth["semi_angle"], method=method).fit(frame), truth, order
                    )
                except InputError as error:
                    row[name] = {"right": False, "wrong": False, "status": "refused", "route": str(error)}
        rows.append(row)
    return rows


def report(study: Study, case: str, rows: list[dict[str, Any]]) -> None:
    """The rows of one crystal, or of all."""

    def share(what: str, hits: list[bool], **bar: float) -> None:
        study.add(f"{case}: {what}", 100 * float(np.mean(hits)), "%", **bar)

    for near in NEAR:
        for name in ("network", "rim", "any rim"):
            share(f"disc within {near:.0%} of the radius, {name}", [row[name] <= near for row in rows])
    thick = [row for row in rows if row["thickness"] >= THIN]
    for name in ("network", "rim", "both"):
        hits = [row["match"][name]["place"] is not None for row in thick]
        share(f"match reaches the truth, {THIN:g} nm or more, from {name}", hits)
    bar = {"at_least": 97.0} if case == "all" else {}
    share(f"fit right, {THIN:g} nm or more", [row["fit"]["right"] for row in thick], **bar)
    share("fit converged, but wrong", [row["fit"]["wrong"] for row in rows])
    share("by way of the full search", [row["fit"]["route"] == "full search" for row in rows])
    timed = [row["fit"]["seconds"]["total"] for row in rows if "seconds" in row["fit"]]
    study.add(f"{case}: fit, median", float(np.median(timed)), "s")
    both = [row for row in rows if "seconds" in row["fit"] and "seconds" in row.get("full", {})]
    if both:
        ratio = [row["full"]["seconds"]["total"] / row["fit"]["seconds"]["total"] for row in both]
        study.add(f"{case}: faster than the full search by, median", float(np.median(ratio)), "×")


def draw(study: Study, rows: list[dict[str, Any]]) -> None:
    """Errors of the disc by either method, and of the fits."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    with study.figure(columns=2) as (_, axes):
        for i, case in enumerate(cases):
            of_case = [row for row in rows if row["case"] == case]
            for axis, x, y in (
                (axes[0], [r["rim"] for r in of_case], [r["network"] for r in of_case]),
                (
                    axes[1],
                    [r["fit"].get("thickness", np.nan) for r in of_case],
                    [r["fit"].get("tilt", np.nan) for r in of_case],
                ),
            ):
                axis.loglog(np.maximum(x, 1e-3), np.maximum(y, 1e-3), ".", color=f"C{i}", label=case)
        axes[0].plot([1e-3, 1], [1e-3, 1], color="0.6", linewidth=1)
        axes[0].set(
            xlabel="error of the sharpest rim (of the radius)", ylabel="error of the network (of the radius)"
        )
        axes[1].axvline(RIGHT[0], color="0.6", linestyle=":", linewidth=1)
        axes[1].axhline(RIGHT[1], color="0.6", linestyle=":", linewidth=1)
        axes[1].set(xlabel="fit: error of thickness (nm)", ylabel="fit: error of tilt (mrad)")
        axes[0].legend()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of each crystal; {FRAMES}, quick: 3 of silicon")
    parser.add_argument("--full", type=int, help=f"of these, searched in full, too; {FULL}, quick: none")
    options = parser.parse_args(arguments)
    cases, frames, full = (QUICK_CASES, 3, 0) if options.quick else (tuple(CASES), FRAMES, FULL)
    frames = options.frames or frames
    full = full if options.full is None else options.full
    study = Study("alignment", quick=options.quick)
    rows = []
    for case in cases:
        of_case = one_case(case, frames, full)
        report(study, case, of_case)
        rows += of_case
    report(study, "all", rows)
    draw(study, rows)
    return 0 if study.finish(frames=rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
