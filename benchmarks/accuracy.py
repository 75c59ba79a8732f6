"""Errors of composed patterns, and of other grids and interpolations.

The patterns of `benchmarks.exact`, which need no interpolation, are compared with

* the shipped library at the same points;
* other interpolations: in thickness (of the exact patterns on a 1 nm grid) and in direction (of
  libraries of several samplings, in NumPy);
* the same points with all beams up to √2 g_max, which are twice as many; fits show how much this changes
  an answer.

Every error is a fraction of the maximum of its pattern.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import spline_filter1d

from benchmarks.common import Study, new_parser
from benchmarks.exact import TILTS, Sample, exact_intensities, problem
from hybridfit import Candidate, Fitter, make_frame, simulate_frame
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, ThicknessRange
from hybridfit.pattern.expand import Table
from hybridfit.physics import bloch

NAME = "SrTiO3_001_200kV"
SEMI_ANGLES = (13.6, 19.1)  # mrad
STEP_NM, FIRST_NM, LAST_NM = 0.5, 5.0, 125.0
SAMPLINGS = (1.0, 0.75, 0.5)  # of the shipped one
SAMPLED_NM = np.arange(25.0, 126.0, 12.5)
SAMPLED_ANGLE, SAMPLED_TILT = 13.6, 1.0  # mrad: a small library is quick to build
DOUBLED_TILTS = 3
DOUBLED_NM = np.array([10.0, 20.0, 35.0, 50.0, 75.0, 100.0])
ANSWERED, ANSWERED_NM = (13.6, 2.0), ThicknessRange(start=5.0, stop=62.0)  # mrad: semi-angle, largest tilt
ANSWERED_AT = (
    (15.0, (1.2, -0.7)),
    (25.0, (0.0, 0.0)),
    (25.0, (1.2, -0.7)),
    (40.0, (1.2, -0.7)),
    (50.0, (0.36, 0.0)),
    (58.0, (0.5, 1.2)),
)  # nm, mrad
KINDS = ("linear", "Catmull–Rom", "Lagrange 4", "Lagrange 6", "cubic B-spline")
SHIPPED = "Lagrange 4"
BAR = 1e-3  # of the maximum of the pattern


def nodes_weights(kind: str, x: np.ndarray) -> tuple[range, np.ndarray]:
    """Interpolation at 0 ≤ x < 1: the nodes used, and the (v, nodes) weights."""
    if kind == "Catmull–Rom":
        w = [-x + 2 * x**2 - x**3, 2 - 5 * x**2 + 3 * x**3, x + 4 * x**2 - 3 * x**3, x**3 - x**2]
        return range(-1, 3), np.stack(w, axis=1) / 2
    if kind == "cubic B-spline":  # acts on the coefficients of `prefiltered`
        w = [(1 - x) ** 3, 4 - 6 * x**2 + 3 * x**3, 1 + 3 * x + 3 * x**2 - 3 * x**3, x**3]
        return range(-1, 3), np.stack(w, axis=1) / 6
    order = {"linear": 2, "Lagrange 4": 4, "Lagrange 6": 6}[kind]
    nodes = range(1 - order // 2, 1 + order // 2)
    return nodes, np.stack([np.prod([(x - j) / (i - j) for j in nodes if j != i], 0) for i in nodes], 1)


def prefiltered(kind: str, values: np.ndarray, axis: int) -> np.ndarray:
    """Values, or for a B-spline its coefficients."""
    return spline_filter1d(values, axis=axis) if kind == "cubic B-spline" else values


def from_table(sample: Sample, table: Table, kind: str) -> np.ndarray:
    """(thickness, n) patterns at the stored thicknesses, interpolated in direction with NumPy."""
    position = sample.q @ table.to_grid.T
    cell = np.floor(position).astype(int)
    nodes, wu = nodes_weights(kind, (position - cell)[:, 0])
    _, wv = nodes_weights(kind, (position - cell)[:, 1])
    cell += np.array(table.direction_at.shape) // 2
    total = np.zeros((len(table.intensity), len(cell)))
    for beam in np.unique(sample.beam):
        v = np.flatnonzero(sample.beam == beam)
        source = table.permutation[table.operation_at, beam]
        grid = np.where(table.direction_at >= 0, table.intensity[:, source, table.direction_at], 0)
        grid = prefiltered(kind, prefiltered(kind, grid.astype(float), 1), 2)
        for i, n1 in enumerate(nodes):
            for j, n2 in enumerate(nodes):
                total[:, v] += wu[v, i] * wv[v, j] * grid[:, cell[v, 0] + n1, cell[v, 1] + n2]
    return sample.patterns(total)


def largest(error: np.ndarray) -> np.ndarray:
    """Largest |error| over the points: (m, n) → (m,)."""
    return np.abs(error).max(axis=1)


def against_expm(study: Study, library: Library, recipe: Recipe, tilts: int) -> dict[str, dict]:
    """Errors of the library, and of interpolations in thickness between exact patterns."""
    matrix, to_mrad = problem(recipe, recipe.g_max)
    table = library.table()
    t = np.arange(FIRST_NM, LAST_NM + 1e-9, 2.5)  # whole and half steps of the library in turn
    middle_nm = np.arange(10.5, LAST_NM - 4)  # half-way between the library's thicknesses
    curves: dict[str, dict] = {"thickness_nm": t, "middle_nm": middle_nm}
    between = dict.fromkeys(KINDS, np.zeros(len(middle_nm)))
    for alpha in SEMI_ANGLES:
        sample = Sample.random(alpha, library.step / 2, matrix.g * to_mrad, recipe.tilt_max, tilts)
        steps = round(LAST_NM / STEP_NM)
        intensity = exact_intensities(matrix, sample.q / to_mrad, STEP_NM, steps, sample.beam)
        exact = sample.patterns(intensity)
        maxima = sample.maxima(table, t)
        composed = np.stack([sample.from_kernel(table, thickness).ravel() for thickness in t])
        error = (composed - exact[np.round(t / STEP_NM).astype(int) - 1]) / maxima
        for upto in (50.0, 75.0, 100.0, LAST_NM):
            what = f"library against expm, {alpha} mrad, {FIRST_NM:g}–{upto:g} nm"
            bar = {"at_most": BAR} if upto == LAST_NM else {}
            study.add(f"{what}: largest", largest(error[t <= upto]).max(), "of max", **bar)
        study.add(f"{what}: rms", np.sqrt((error**2).mean()), "of max")
        curves[f"library {alpha} mrad"] = largest(error)
        beyond = t[largest(error) > BAR]
        if len(beyond):
            study.note(
                f"at {alpha} mrad the library is wrong by more than {BAR:g} of the maximum from "
                f"{beyond[0]:g} nm on"
            )
        top = np.stack([np.interp(middle_nm, t, column) for column in maxima.T], axis=1)
        for kind in KINDS:
            whole = prefiltered(kind, exact[1::2], 0)  # 1, 2, … nm
            nodes, (weights,) = nodes_weights(kind, np.array([0.5]))
            at = np.floor(middle_nm).astype(int) - 1
            guess = sum(w * whole[at + n] for n, w in zip(nodes, weights, strict=True))
            e = largest((guess - exact[2 * at + 2]) / top)
            between[kind] = np.maximum(between[kind], e)
    for kind in KINDS:
        name = f"half-way between 1 nm steps, thickness by {kind}: largest"
        study.add(name, between[kind].max(), "of max")
        curves[f"thickness {kind}"] = between[kind]
    return curves


def by_sampling(
    study: Study, recipe: Recipe, half_edge: float, samplings: Sequence[float]
) -> dict[str, dict[str, np.ndarray]]:
    """Interpolations in direction: largest error for each sampling, at stored thicknesses."""
    matrix, to_mrad = problem(recipe, recipe.g_max)
    span = ThicknessRange(start=SAMPLED_NM[0], stop=SAMPLED_NM[-1], step=SAMPLED_NM[1] - SAMPLED_NM[0])
    alike = {"semi_angle_max": SAMPLED_ANGLE, "tilt_max": SAMPLED_TILT, "thickness": span}
    sample = Sample.random(SAMPLED_ANGLE, half_edge, matrix.g * to_mrad, SAMPLED_TILT)
    # no expm: `against_expm` shows that this solution agrees with it where nothing is interpolated
    exact = sample.solved(bloch.beam_intensities(matrix, sample.q / to_mrad, SAMPLED_NM))
    errors: dict[str, dict] = {kind: {} for kind in KINDS}
    maxima = None
    for sampling in samplings:
        library = Library.build(recipe.model_copy(update={"sampling": sampling * recipe.sampling, **alike}))
        table, step = library.table(), library.step
        if maxima is None:
            maxima = sample.maxima(table, SAMPLED_NM)
            kernel = np.stack([sample.from_kernel(table, t).ravel() for t in SAMPLED_NM])
            same = largest((kernel - from_table(sample, table, SHIPPED)) / maxima).max()
            study.add("kernel against its interpolation written in NumPy", same, "of max", at_most=1e-5)
        for kind in KINDS:
            error = largest((from_table(sample, table, kind) - exact) / maxima)
            errors[kind][f"{step:.3f} mrad"] = error
            what = f"directions {step:.3f} mrad apart, {kind}, {SAMPLED_NM[0]:g}–{LAST_NM:g} nm: largest"
            study.add(what, error.max(), "of max")
    return errors


def doubled_beams(study: Study, library: Library, recipe: Recipe, tilts: int) -> dict[str, np.ndarray]:
    """Change of the exact patterns when g_max grows by √2."""
    few, to_mrad = problem(recipe, recipe.g_max)
    many, _ = problem(recipe, recipe.g_max * np.sqrt(2))
    curves = {}
    for alpha in SEMI_ANGLES:
        sample = Sample.random(alpha, library.step / 2, few.g * to_mrad, recipe.tilt_max, tilts)
        more = Sample.of(sample.k, sample.tilt, many.g * to_mrad, alpha, sample.half_edge)
        before = sample.solved(bloch.beam_intensities(few, sample.q / to_mrad, DOUBLED_NM))
        after = more.solved(bloch.beam_intensities(many, more.q / to_mrad, DOUBLED_NM))
        change = (after - before) / sample.maxima(library.table(), DOUBLED_NM)
        curves[f"{alpha} mrad"] = largest(change)
        for t in (20.0, 50.0, 100.0):
            row = change[DOUBLED_NM == t]
            what = f"{len(few.g)} → {len(many.g)} beams, {alpha} mrad, {t:g} nm"
            study.add(f"{what}: largest", np.abs(row).max(), "of max")
            study.add(f"{what}: rms", np.sqrt((row**2).mean()), "of max")
    return curves


def answers(study: Study, library: Library, recipe: Recipe) -> None:
    """Change of answers with twice the beams: their patterns, fitted with the shipped library."""
    alpha, alike = (
        ANSWERED[0],
        {"semi_angle_max": ANSWERED[0], "tilt_max": ANSWERED[1], "thickness": ANSWERED_NM},
    )
    more = Library.build(recipe.model_copy(update={"g_max": recipe.g_max * np.sqrt(2), **alike}))
    fitter = Fitter(library, alpha, seeded=True)
    off = []
    for thickness, tilt in ANSWERED_AT:
        image, truth = simulate_frame(
            more, thickness=thickness, tilt=tilt, semi_angle=alpha, shape=(128, 128), electrons=1e9
        )
        camera = [truth[name] for name in ("centre_x", "centre_y", "scale", "rotation")]
        result = fitter.refine(make_frame(image), Candidate(thickness, *tilt, *camera))
        moved = np.subtract(result.tilt, tilt)
        off.append([abs(result.thickness - thickness), np.abs(moved).max(), 100 * result.misfit_fraction])
    worst = np.max(off, axis=0)
    study.add(
        f"patterns of twice the beams, {alpha} mrad, fitted: thickness moves by, largest", worst[0], "nm"
    )
    study.add(
        f"patterns of twice the beams, {alpha} mrad, fitted: tilt component moves by, largest",
        worst[1],
        "mrad",
    )
    study.add(
        f"patterns of twice the beams, {alpha} mrad, fitted: misfit, largest", worst[2], "% of variance"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    study, recipe, library = Study("accuracy", quick=options.quick), Recipe.shipped(NAME), Library.open(NAME)
    tilts, doubled_tilts, samplings = (
        (1, 1, SAMPLINGS[:2]) if options.quick else (TILTS, DOUBLED_TILTS, SAMPLINGS)
    )
    curves = against_expm(study, library, recipe, tilts)
    sampled = by_sampling(study, recipe, library.step / 2, samplings)
    doubled = doubled_beams(study, library, recipe, doubled_tilts)
    if not options.quick:
        answers(study, library, recipe)
    with study.figure(columns=4, size=(4.0, 3.6)) as (_, axes):
        for alpha in SEMI_ANGLES:
            axes[0].semilogy(curves["thickness_nm"], curves[f"library {alpha} mrad"], label=f"{alpha} mrad")
            axes[3].semilogy(DOUBLED_NM, doubled[f"{alpha} mrad"], "o-", label=f"{alpha} mrad")
        for i, kind in enumerate(KINDS):
            axes[1].semilogy(curves["middle_nm"], curves[f"thickness {kind}"], f"C{i}", label=kind)
            coarse, *_, fine = sampled[kind].items()
            axes[2].semilogy(SAMPLED_NM, coarse[1], f"C{i}", label=f"{kind}, {coarse[0]}")
            axes[2].semilogy(SAMPLED_NM, fine[1], f"C{i}:")
        whole = f"at whole steps (dotted: {fine[0]})"
        titles = ("library against expm", "half-way between 1 nm steps", whole, "beams doubled")
        for axis, title in zip(axes, titles, strict=True):
            axis.set(title=title, xlabel="thickness (nm)")
            axis.axhline(BAR, color="0.5", linestyle=":", linewidth=1)
            axis.legend(fontsize=6)
        axes[0].set_ylabel("largest error (fraction of pattern maximum)")
    lists = {kind: {step: e.tolist() for step, e in each.items()} for kind, each in sampled.items()}
    passed = study.finish(
        against_expm={name: curve.tolist() for name, curve in curves.items()},
        by_sampling={"thickness_nm": SAMPLED_NM.tolist(), **lists},
        doubled_beams={"thickness_nm": DOUBLED_NM.tolist(), **{k: v.tolist() for k, v in doubled.items()}},
    )
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
