"""The effect of higher-order Laue zones (HOLZ) on patterns of the shipped recipes and on their fits.

A library solves the zero-order zone, unless its recipe says `holz = true`.  Here every direction is solved by
itself, by a complex eigenproblem, with and without the beams of other zones.  These are chosen as in
`hybridfit.physics.holz`: the beams nearest to the Ewald sphere are solved, those around them are folded in.
The intensities of the beams that a library stores are summed into patterns at random points.  Changes are
fractions of the largest of these points; as fractions of the pattern's maximum they are somewhat smaller.

Where lines change a pattern by more than the bar, libraries with and without them are built, smaller than the
shipped ones (kept in `benchmarks/data`).  Patterns from the library with lines are compared with the
eigenproblems.  Frames from it are fitted with both libraries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.exact import Sample
from benchmarks.structural_frames import DATA, frame_of, near
from hybridfit import Fitter, Library
from hybridfit.frame import make_frame
from hybridfit.library.build import FOLDED
from hybridfit.library.build import VERSION as library_version
from hybridfit.library.crystals import crystals_of
from hybridfit.library.recipe import Recipe, ThicknessRange, shipped_names
from hybridfit.physics import bloch, holz, scattering
from hybridfit.physics.projection import project

G_ZERO = 1.6  # Å⁻¹: of the zero-order beams in all solutions; `accuracy` has the effect of more
SEMI_ANGLE, TILT, TILTS = 10.0, 2.0, 1  # mrad, mrad, random tilts
THICKNESS = (10.0, 20.0, 40.0, 60.0)  # nm
BAR = 1e-3
BIAS = 0.05  # nm
LINES = ("SrTiO3_011_200kV", "SrTiO3_tilted_011_200kV", "TiO2_001_80kV")  # where they change more
SOLVED = ThicknessRange(start=5.0, stop=65.0)
FRAMES, ELECTRONS = 10, 1e9  # of each; so many electrons that noise hardly matters
QUICK_NAMES = ("SrTiO3_001_200kV",)
QUICK_LINES, QUICK_FRAMES = ("TiO2_001_80kV",), 2


class Solver:
    """Patterns of a crystal, with and without beams of other zones."""

    def __init__(self, recipe: Recipe) -> None:
        structure = crystals_of(recipe)[-1]
        projection = project(structure, recipe.zone, recipe.in_plane)
        self.to_mrad = 1e3 * scattering.wavelength(recipe.energy_kv)
        every, strong = projection.beams(FOLDED * G_ZERO), len(projection.beams(G_ZERO))
        reach = np.array([[SEMI_ANGLE + TILT, 0.0]]) / self.to_mrad
        self.lines = holz.HolzMatrix.of(projection, every, strong, recipe.energy_kv, reach)
        zero = bloch.DynamicalMatrix.of(projection, every, recipe.energy_kv, higher_zones=True)
        self.zero = zero.folded(strong)

    def intensities(self, q: np.ndarray, beam: np.ndarray, lines: bool) -> np.ndarray:
        """(thickness, v) of one zero-order beam for each direction q (v, 2) in Å⁻¹."""
        out = np.empty((len(THICKNESS), len(q)))
        for v, direction in enumerate(q):
            matrix = self.lines.near(direction[None]) if lines else self.zero
            levels, states = np.linalg.eig(
                matrix.potential + np.diag(matrix.excitation(direction[None])[:, 0])
            )
            start = np.linalg.solve(states, np.eye(len(levels))[:, 0])
            rate = 1j * np.pi / matrix.k_n * 10 * np.array(THICKNESS)
            out[:, v] = np.abs((states[beam[v]] * start * np.exp(np.outer(rate, levels))).sum(axis=1)) ** 2
        return out

    def sample(self) -> Sample:
        """Random points of patterns."""
        return Sample.random(SEMI_ANGLE, 0.1, self.zero.g * self.to_mrad, TILT, TILTS)

    def patterns(self, sample: Sample, lines: bool) -> np.ndarray:
        """(thickness, points)."""
        return sample.patterns(self.intensities(sample.q / self.to_mrad, sample.beam, lines))


def small_library(name: str, lines: bool) -> Library:
    """A smaller library of a shipped recipe, with the last value of its structural parameters."""
    recipe = Recipe.shipped(name)
    files = [file for parameter in recipe.parameters.values() for file in parameter.files]
    recipe = recipe.model_copy(
        update={
            "cif": files[-1] if files else recipe.cif,
            "parameters": {},
            "g_max": G_ZERO,
            "semi_angle_max": SEMI_ANGLE,
            "tilt_max": TILT + 1.0,
            "thickness": SOLVED,
            "holz": lines,
        }
    )
    path = DATA / f"holz-{name}-{recipe.checksum()[:12]}-v{library_version}.nc"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        Library.build(recipe).save(path)
    return Library(Library.open(path).dataset.load())


def composed_error(library: Library, sample: Sample, exact: np.ndarray) -> float:
    """Largest error of the composed pattern at the points of a sample, of the maximum of the pattern."""
    table = library.table()
    found = np.stack([sample.from_kernel(table, thickness).ravel() for thickness in THICKNESS])
    return float((np.abs(found - exact) / sample.maxima(table, np.array(THICKNESS))).max())


def fitted(made_with: Library, fitted_with: Library, count: int) -> np.ndarray:
    """(count, 4): error of the thickness (nm) and of the tilt's components (mrad), misfit."""
    fitter, rows = Fitter(fitted_with, SEMI_ANGLE, seeded=True), []
    for number in range(count):
        rng = np.random.default_rng([7, number])
        image, truth = frame_of(made_with, SEMI_ANGLE, ELECTRONS, rng)
        result = fitter.fit_near(make_frame(image), [near(truth, rng)])
        off = (
            result.thickness - truth["thickness"],
            *(np.array(result.tilt) - (truth["tilt_x"], truth["tilt_y"])),
        )
        rows.append([*off, result.misfit_fraction])
    return np.array(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    quick = options.quick
    study, curves, references = Study("holz", quick=quick), {}, {}
    for name in dict.fromkeys((*QUICK_NAMES, *QUICK_LINES) if quick else shipped_names()):
        solver = Solver(Recipe.shipped(name))
        sample = solver.sample()
        pair = [solver.patterns(sample, lines) for lines in (False, True)]
        references[name] = sample, pair[1]
        change = (pair[1] - pair[0]) / pair[0].max(axis=1, keepdims=True)
        curves[name] = np.abs(change).max(axis=1)
        study.add(f"{name}: largest change", np.abs(change).max(), "of max")
        study.add(f"{name}: rms change", np.sqrt((change**2).mean()), "of max")
        print(f"{name}: {len(solver.lines.g)} beams of other zones", flush=True)
    fits = {}
    for name in QUICK_LINES if quick else LINES:
        without, with_them = (small_library(name, lines) for lines in (False, True))
        off = composed_error(with_them, *references[name])
        study.add(f"{name}, library with lines: largest error", off, "of max", at_most=BAR)
        count = QUICK_FRAMES if quick else FRAMES
        fits[name] = off = fitted(with_them, without, count)
        words = f"{name}, frames with lines fitted without: thickness"
        study.add(f"{words}, mean error", abs(off[:, 0].mean()), "nm", at_most=BIAS)
        study.add(f"{words}, worst", np.abs(off[:, 0]).max(), "nm")
        study.add(
            f"{name}, frames with lines fitted without: tilt component, worst",
            np.abs(off[:, 1:3]).max(),
            "mrad",
        )
        study.add(
            f"{name}, frames with lines fitted without: misfit, median",
            100 * np.median(off[:, 3]),
            "% of variance",
        )
        same = fitted(with_them, with_them, count)
        study.add(
            f"{name}, frames with lines fitted with lines: thickness, mean error",
            abs(same[:, 0].mean()),
            "nm",
        )
        study.add(
            f"{name}, frames with lines fitted with lines: misfit, median",
            100 * np.median(same[:, 3]),
            "% of variance",
        )
        print(f"{name}: {count} frames fitted with and without lines", flush=True)
    study.note(
        f"zero-order beams to {G_ZERO} Å⁻¹, beams of other zones chosen as in hybridfit.physics.holz; "
        f"{SEMI_ANGLE:g} mrad, tilts to {TILT:g} mrad, {', '.join(map(str, THICKNESS))} nm, "
        f"{8 * TILTS} random points of each; structural parameters at their last value"
    )
    study.note(
        f"libraries of 5–65 nm, sampled as the shipped ones; frames of {ELECTRONS:.0e} electrons, 10–60 nm"
    )
    draw(study, curves, fits)
    passed = study.finish(
        thickness_nm=THICKNESS,
        **{name: curve.tolist() for name, curve in curves.items()},
        fits={name: off.tolist() for name, off in fits.items()},
    )
    return 0 if passed else 1


def draw(study: Study, curves: dict[str, np.ndarray], fits: dict[str, np.ndarray]) -> None:
    """Changes of patterns against thickness; errors of fits."""
    with study.figure(columns=2, size=(5.4, 3.6)) as (_, axes):
        for name, curve in curves.items():
            axes[0].semilogy(THICKNESS, curve, "o-", label=name)
        axes[0].axhline(BAR, color="0.5", linestyle=":", linewidth=1)
        axes[0].set(xlabel="thickness (nm)", ylabel="largest change (fraction of maximum)")
        axes[0].legend(fontsize=6, ncols=2)
        for name, off in fits.items():
            axes[1].plot(off[:, 0], np.abs(off[:, 1:3]).max(axis=1), "o", label=name)
        axes[1].set(xlabel="thickness error (nm)", ylabel="worse tilt component, error (mrad)")
        axes[1].set(title="frames with lines, fitted without", ylim=(0, None))
        axes[1].legend(fontsize=6)


if __name__ == "__main__":
    raise SystemExit(main())
