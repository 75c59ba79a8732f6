"""Fits of references that are better than the fits: errors, intervals and the references' own scatter.

The references are those of `benchmarks.references` (run it first; minutes a crystal).  Each is put on a
camera with its own shift, rotation, scale and dose, with Poisson noise, and fitted with the shipped recipe of
its crystal, cut to the thicknesses, tilts and semi-angle of the case; a crystal that is not shipped has a
recipe with the g_max of OWN_G_MAX.  A fit starts near the truth, as after a network.

Kinds of rows:

mean wave   no noise and no diffuse intensity on either side: the elastic part, by multislice in three
            dimensions, against the library's Bloch waves
tuning      vibrating crystals and tilts that error model and thresholds may be set on
reporting   crystals and tilts that nothing is set on
wrong B     crystals that vibrate more or less than the recipe says, with the usual priors

The priors of the others are 0: the recipe is exact.  What the library approximates counts.

The scatter of a reference is that of fits, without noise, of every pair of phonon configurations by itself,
over the root of their number.

Run with: python -m benchmarks.truth [CASE…] [--silent] [--every N] [--g-max G]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser, skipped
from benchmarks.multislice import errors
from benchmarks.reference_cases import CASES, DATA, OWN, SHIPPED, Case
from benchmarks.reference_patterns import Reference
from benchmarks.references import reference
from benchmarks.truth_table import ALL, summarise, summarise_silent
from hybridfit import Candidate, Fitter, Library
from hybridfit.fitting.assumptions import LIBRARY, PARTS
from hybridfit.fitting.result import FitResult
from hybridfit.frame import Frame, make_frame
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.diffuse import without_diffuse
from hybridfit.library.recipe import Recipe, ThicknessRange
from hybridfit.pattern.camera import Camera

TUNING = ("SrTiO3", "GaAs", "rutile")
REPORTING = (
    "SrTiO3",
    "SrTiO3_thick",
    "Si",
    "PbTiO3",
    "MgO",
    "GaN",
    "Au",
)  # of SrTiO3 other tilts than in TUNING
WRONG_B = ("SrTiO3_soft", "SrTiO3_stiff")  # fitted with the recipe's B
TUNING_TILTS = ((0.0, 0.0), (0.5, 0.14), (1.3, -1.1), (2.4, 1.9), (-4.5, 1.2), (-3.1, -5.6))  # mrad
REPORTING_TILTS = (
    (0.15, -0.1), (-0.35, 0.2), (0.9, 0.45), (-1.6, 1.2), (2.9, -0.8), (3.6, 0.9), (-2.2, -4.4), (7.6, 2.0),
)  # fmt: skip
SILENT_TILTS = ((0.0, 0.0), (1.2, -0.7), (2.0, 1.6))
SEMI_ANGLES = {"SrTiO3": (13.6, 19.1)}  # mrad; of others the largest
ELECTRONS = (1e6, 1e8)
SEEDS = {"tuning": 41, "reporting": 2041, "wrong B": 4041, "mean wave": 6041}
SILENT = ("mean wave",)  # parts without noise
OWN_G_MAX = {"MgO": 3.2, "GaN": 3.1, "Au": 3.3}  # Å⁻¹, as `hybridfit new` chooses
OWN_SAMPLING = 0.25
BEYOND = 0.6  # mrad of tilt that a library has beyond the case

Row = dict[str, Any]


def recipe_of(case: Case, g_max: float | None = None) -> Recipe:
    """The recipe that a case is fitted with: one crystal, cut to what is needed."""
    thickness = ThicknessRange(start=1.0, stop=float(np.ceil(case.thickest)) + 5)
    limits: Row = {
        "semi_angle_max": case.semi_angle_max,
        "tilt_max": case.tilt_max + BEYOND,
        "thickness": thickness,
        "parameters": {},
    }
    if g_max is not None:
        limits["g_max"] = g_max
    if case.library:
        recipe = Recipe.shipped(case.library)
        return recipe.model_copy(update=limits | {"cif": SHIPPED / case.cif})
    limits = {"g_max": OWN_G_MAX[case.name], "sampling": OWN_SAMPLING} | limits
    axes: Row = {"zone": case.zone, "in_plane": case.in_plane, "energy_kv": case.energy_kv}
    return Recipe(cif=OWN / case.cif, **axes, **limits)


def library_of(case: Case, g_max: float | None = None) -> Library:
    """The shipped library where it is that of one crystal and reaches far enough; else a built one.

    Built ones are kept in `benchmarks/data`.
    """
    recipe = recipe_of(case, g_max)
    if case.library and g_max is None:
        shipped = Recipe.shipped(case.library)
        near = shipped.tilt_max >= case.tilt_max and shipped.semi_angle_max >= case.semi_angle_max
        if near and shipped.thickness.stop > case.thickest and not shipped.parameters:
            return Library(Library.open(case.library).dataset)
    path = DATA / f"truth-{recipe.cif.stem}-{recipe.checksum()[:12]}-v{library_version}.nc"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        Library.build(recipe).save(path)
    return Library(Library.open(path).dataset.load())


@dataclass(frozen=True)
class Shot:
    """One pattern of a reference on one camera."""

    case: Case
    t: int
    tilt: tuple[float, float]
    semi_angle: float
    camera: Camera
    shape: tuple[int, int]
    electrons: float
    seed: list[int]

    def truth(self, reference: Reference) -> dict[str, float]:
        """What a fit is to find."""
        return {
            "thickness": float(reference.thickness_nm[self.t]),
            "tilt_x": self.tilt[0],
            "tilt_y": self.tilt[1],
            "rotation": self.camera.rotation,
        }

    def expected(self, reference: Reference, pairs: list[int] | None = None) -> np.ndarray:
        """The frame without noise, in electrons."""
        frame = reference.frame(self.t, self.camera, self.shape, self.tilt, self.semi_angle, pairs)
        return self.electrons * frame / frame.sum()

    def frame(self, reference: Reference, *, noise: bool = True) -> Frame:
        """What the camera records."""
        image = self.expected(reference)
        if noise:
            image = np.random.default_rng([*self.seed, 2]).poisson(image).astype(float)
        return make_frame(image)

    def near(self, reference: Reference) -> Candidate:
        """A start that is off by up to 1 nm, 0.3 mrad, 0.5 px, 1 % and 1°."""
        rng = np.random.default_rng([*self.seed, 1])
        truth, off = self.truth(reference), rng.uniform(-1, 1, 7)
        c = self.camera
        return Candidate(
            max(1.5, truth["thickness"] + off[0]),
            self.tilt[0] + 0.3 * off[1],
            self.tilt[1] + 0.3 * off[2],
            c.centre_x + 0.5 * off[3],
            c.centre_y + 0.5 * off[4],
            c.scale * (1 + 0.01 * off[5]),
            c.rotation + off[6],
        )


def shots(case: Case, part: str, reference: Reference, every: int) -> Iterator[Shot]:
    """The patterns of a part: every n-th thickness, beginning anywhere, at each tilt and semi-angle."""
    all_tilts = SILENT_TILTS if part in SILENT else TUNING_TILTS if part == "tuning" else REPORTING_TILTS
    tilts = [tilt for tilt in all_tilts if np.hypot(*tilt) <= case.tilt_max]
    angles = SEMI_ANGLES.get(case.name, (case.semi_angle_max,))
    number = list(CASES).index(case.name)
    for i, (angle, tilt) in enumerate((a, b) for a in angles if a <= case.semi_angle_max for b in tilts):
        for t in range(i % every, len(reference.thickness_nm), every):
            seed = [SEEDS[part], number, i, t]
            rng = np.random.default_rng(seed)
            size = int(rng.choice([128, 192]))
            scale = size / (2 * angle + 18) * rng.uniform(0.9, 1.05)
            centre = (size - 1) / 2 + rng.uniform(-0.02, 0.02, 2) * size
            camera = Camera(float(centre[0]), float(centre[1]), float(scale), float(rng.uniform(7, 40)))
            electrons = float(10 ** rng.uniform(*np.log10(ELECTRONS)))
            yield Shot(case, t, tilt, angle, camera, (size, size), electrons, seed)


def fitted(shot: Shot, reference: Reference, fitter: Fitter, *, noise: bool, scatter: bool) -> Row:
    """One pattern, fitted; with scatter, every pair of phonon configurations by itself, too."""
    order = fitter.library.rotation_order
    result = fitter.fit_near(shot.frame(reference, noise=noise), [shot.near(reference)])
    row = told(shot, reference, result, order)
    pairs = 0 if reference.diffuse is None else len(reference.diffuse.intensity)
    if scatter and pairs > 1:
        own = [alone(shot, reference, fitter, result, pair, order) for pair in range(pairs)]
        for name in ("thickness", "tilt_x", "tilt_y"):
            row[f"{name}_scatter"] = float(np.std([e[name] for e in own], ddof=1) / np.sqrt(pairs))
    return row


def told(shot: Shot, reference: Reference, result: FitResult, order: int) -> Row:
    """What a fit of a pattern says, against the truth."""
    truth = shot.truth(reference)
    row: Row = {"case": shot.case.name, "semi_angle": shot.semi_angle, "electrons": shot.electrons}
    row |= {f"true_{name}": value for name, value in truth.items()}
    row |= errors(result, truth, order)
    for name in ("thickness", "tilt_x", "tilt_y"):
        interval = result[name].interval95
        row[f"{name}_stderr"] = result[name].stderr or np.nan
        row[f"{name}_half95"] = np.nan if interval is None else (interval[1] - interval[0]) / 2
    if "debye_waller" in result.assumed:
        b = result.assumed["debye_waller"]
        row |= {"b_offset": b.offset, "b_stderr": b.stderr}
    return row | {
        "misfit": result.misfit_fraction,
        "status": result.status.name,
        "seconds": result.seconds["total"],
    }


def alone(
    shot: Shot, reference: Reference, fitter: Fitter, found: FitResult, pair: int, order: int
) -> dict[str, float]:
    """Errors of a fit of one pair of configurations, without noise."""
    frame = make_frame(shot.expected(reference, [pair]))
    start = Candidate(
        found.thickness, *found.tilt, *(found[n].value for n in ("centre_x", "centre_y", "scale", "rotation"))
    )
    return errors(fitter.refine(frame, start), shot.truth(reference), order)


def run(case: Case, part: str, every: int, *, g_max: float | None = None, scatter: bool = True) -> list[Row]:
    """All fits of a case in a part."""
    silent = part in SILENT
    source = reference(case, diffuse=not silent)
    library = library_of(case, g_max)
    if silent:  # the reference has no diffuse electrons either
        library = Library(without_diffuse(library.dataset))
    exact = [name for name in PARTS if silent or name != LIBRARY]
    sigma = {} if part == "wrong B" else dict.fromkeys(exact, 0.0)
    fitters: dict[float, Fitter] = {}
    rows = []
    for shot in shots(case, part, source, every):
        if shot.semi_angle not in fitters:
            fitters[shot.semi_angle] = Fitter(library, shot.semi_angle, seeded=True, sigma=sigma)
        fitter = fitters[shot.semi_angle]
        row = fitted(shot, source, fitter, noise=not silent, scatter=scatter)
        rows.append(row | {"part": part})
        print(
            f"{part} {case.name} {shot.semi_angle:g} mrad {row['true_thickness']:6.2f} nm "
            f"({shot.tilt[0]:+.2f}, {shot.tilt[1]:+.2f}) mrad: thickness {row['thickness']:+.3f} ± "
            f"{row['thickness_stderr']:.3f} (own {row.get('thickness_scatter', np.nan):.3f})  tilt "
            f"{row['tilt_x']:+.3f} {row['tilt_y']:+.3f} ± {row['tilt_x_stderr']:.3f}  "
            f"misfit {row['misfit']:.2%}  "
            f"{row['status']}",
            flush=True,
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    parser.add_argument("--silent", action="store_true", help="only what has no noise")
    parser.add_argument("--every", type=int, help="every n-th thickness at each tilt; 3, quick: 12")
    parser.add_argument("--g-max", type=float, help="of the libraries, in place of the recipes'")
    parser.add_argument("--no-scatter", action="store_true", help="without fits of every pair")
    options = parser.parse_args(arguments)
    every = options.every or (12 if options.quick else 3)
    study = Study("truth", quick=options.quick)
    wanted = [name for name in CASES if name in (options.cases or CASES)]
    there = [name for name in wanted if CASES[name].path("elastic").exists()]
    parts = [("mean wave", name) for name in there if name not in WRONG_B]
    if not options.silent:
        for part, names in (("tuning", TUNING), ("reporting", REPORTING), ("wrong B", WRONG_B)):
            parts += [(part, name) for name in names if name in there and CASES[name].pairs()]
    if not parts:
        return skipped("truth", f"no references in {DATA}; make them with python -m benchmarks.references")
    rows: list[Row] = []
    pooled: dict[str, list[Row]] = {}
    for part, name in parts[:3] if options.quick else parts:
        own = run(CASES[name], part, every, g_max=options.g_max, scatter=not options.no_scatter)
        rows += own
        if part in SILENT:
            summarise_silent(study, f"{part}, {name}", own, barred=bool(CASES[name].library))
        else:
            summarise(study, part, name, own)
            pooled.setdefault(part, []).extend(own)
    for part, own in pooled.items():
        summarise(study, part, ALL, own)
    study.note(f"tuning: {', '.join(TUNING)}; reporting: {', '.join(REPORTING)}, of SrTiO3 other tilts")
    study.note(
        "a reference's own scatter: fits of each pair of configurations, over the root of their number"
    )
    passed = study.finish(fits=rows)
    draw(study, rows)
    return 0 if passed else 1


def draw(study: Study, rows: list[Row]) -> None:
    """Errors against thickness, and pulls."""
    with study.figure(columns=3) as (_, axes):
        for part, name in dict.fromkeys((row["part"], row["case"]) for row in rows):
            mine = [row for row in rows if (row["part"], row["case"]) == (part, name)]
            t = [row["true_thickness"] for row in mine]
            marker = {"mean wave": "+", "tuning": "s"}.get(part, "o")
            axes[0].plot(t, [r["thickness"] for r in mine], marker, alpha=0.6, label=f"{name}, {part}")
            worse = [max(abs(r["tilt_x"]), abs(r["tilt_y"])) for r in mine]
            axes[1].plot(t, worse, marker, alpha=0.6)
        axes[0].axhline(0, color="k", lw=0.8)
        axes[0].set(xlabel="true thickness (nm)", ylabel="error of the thickness (nm)")
        axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=6, ncol=2)
        axes[1].set(xlabel="true thickness (nm)", ylabel="worse tilt component, error (mrad)")
        bins = np.linspace(-5, 5, 41)
        for part, color in (("tuning", "C0"), ("reporting", "C1")):
            pulls = [row["thickness_pull"] for row in rows if row["part"] == part]
            if pulls:
                clipped = np.clip(pulls, -5, 5)
                axes[2].hist(clipped, bins, density=True, alpha=0.5, color=color, label=part)
        axes[2].plot(bins, np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi), "k")
        axes[2].set(xlabel="pull of the thickness", ylabel="density")
        axes[2].legend()


if __name__ == "__main__":
    sys.exit(main())
