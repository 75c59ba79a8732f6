"""What averaging brings in: vacuum, two crystals, spreads; converged but wrong, and what is recovered.

Simulated frames with any thickness, tilt and camera, 1e5–1e7 electrons, of an area that is not one flat
crystal: a part of it empty; twins, turned by 90° (a crystal with a two-fold axis) or by 45° (with a four-fold
one); two tilts; two thicknesses; no crystal at all (discs and blobs of 2e4–1e7 electrons).  Beside them
correct frames, which must converge, and frames with a spread of thickness or of tilt, fitted with the spread
freed.  The simulation composes on finer points than the model that is fitted, with a sharper edge and another
background.

An answer is wrong if it is off by more than 3 stated errors and more than 1 nm or 0.3 mrad: of one crystal
from its truth, of two from both of them.  Thresholds may be set on frames of TUNING_SEED only; the study
reports on those of SEED.

Run with: python -m benchmarks.averaging [--frames N] [--seed S] [--kinds …] [--resume] [--quick]

Every row is kept as soon as it is there; with --resume a run that was stopped goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.errors import NAMES, Row, column, judged, rms, share, statuses
from benchmarks.few_electrons import smooth
from benchmarks.kept import add_options, kept_fits
from hybridfit import Fitter, Library, make_frame
from hybridfit.errors import HybridfitError
from hybridfit.pattern.averaging import bare_disc
from hybridfit.simulate.frame import FineGrid, diffuse_part, fine_half_edge, fine_pattern, glow_at, recorded
from hybridfit.simulate.settings import FrameSettings

NAME, OTHER = "SrTiO3_001_200kV", "Si_110_200kV"  # a four-fold axis, a two-fold one
SEMI_ANGLES = {NAME: 13.6, OTHER: 13.0}  # mrad
FRAMES, QUICK_FRAMES, CORRECT = 30, 1, 60
TUNING_SEED, SEED = 17, 20_261
ELECTRONS = (1e5, 1e7)
SIDES = (96, 128, 160, 192)  # px
VACUUM = (0.1, 0.5)
SPREADS = {"thickness_spread": (0.8, 5.0), "tilt_spread": (0.2, 1.0)}  # nm, mrad
APART = (0.8, 2.5)  # mrad, between two tilts
NODES = 15  # of a spread, along either axis
KINDS = {
    "correct": "correct frames",
    "other": f"correct frames of {OTHER}",
    "vacuum": "10–50 % vacuum",
    "twins90": f"twins at 90°, {OTHER}",
    "twins45": "twins at 45°",
    "tilts": "two tilts",
    "thicknesses": "20 + 40 nm",
    "disc": "discs without structure",
    "blob": "blobs",
    "thickness_spread": "a spread of thickness, freed",
    "tilt_spread": "a spread of tilt, freed",
}
SMOOTH, SMOOTH_LEAST = ("disc", "blob"), 2e4  # electrons
BAD = ("vacuum", "twins90", "twins45", "tilts", "thicknesses")


@cache
def _library(crystal: str) -> Library:
    return Library(Library.open(crystal).dataset.load())


@cache
def _fitter(crystal: str, free: tuple[str, ...] = ()) -> Fitter:
    return Fitter(_library(crystal), SEMI_ANGLES[crystal], workers=1, free=free)


def drawn(rng: np.random.Generator, crystal: str) -> FrameSettings:
    """One flat crystal, and a camera."""
    library, angle = _library(crystal), SEMI_ANGLES[crystal]
    low, high = library.thickness_range
    side = int(rng.choice(SIDES))
    x, y = _tilt(rng, library.tilt_max)
    return FrameSettings(
        thickness=float(rng.uniform(low + 5, min(high, 85.0))),
        tilt=(x, y),
        semi_angle=angle,
        shape=(side, side),
        centre=tuple((np.full(2, (side - 1) / 2) + 0.06 * side * rng.uniform(-1, 1, 2)).tolist()),
        scale=float(rng.uniform(0.32, 0.48) * side / 2 / angle),
        rotation=float(rng.uniform(-180, 180)),
        blur=float(rng.uniform(0.15, 0.5)),
        electrons=float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** rng.random()),
        background=float(rng.uniform(0, 0.3)),
        seed=int(rng.integers(2**31)),
    )


def _tilt(rng: np.random.Generator, most: float) -> tuple[float, float]:
    size, azimuth = 0.75 * most * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    return float(size * np.cos(azimuth)), float(size * np.sin(azimuth))


def _turned(frame: FrameSettings, degrees: float) -> FrameSettings:
    """The crystal turned about the beam; the tilt stays where it is in the camera."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    x, y = frame.tilt
    return replace(frame, rotation=frame.rotation + degrees, tilt=(c * x + s * y, c * y - s * x))


def made(kind: str, i: int, seed: int) -> tuple[np.ndarray, list[dict[str, Any]], str]:
    """Frame i of a kind: counts, what is in it (one truth for every crystal), and the name of the crystal."""
    rng = np.random.default_rng([seed, i, [*KINDS].index(kind)])
    crystal = OTHER if kind in ("other", "twins90") else NAME
    library = _library(crystal)
    frame = drawn(rng, crystal)
    parts: list[tuple[float, FrameSettings]] = [(1.0, frame)]
    extra: dict[str, float] = {}
    share = float(rng.uniform(0.35, 0.65))
    if kind == "vacuum":
        extra["vacuum"] = float(rng.uniform(*VACUUM))
    elif kind in ("twins90", "twins45"):
        parts = [(share, frame), (1 - share, _turned(frame, 90.0 if kind == "twins90" else 45.0))]
    elif kind == "tilts":
        away, azimuth = rng.uniform(*APART), rng.uniform(0, 2 * np.pi)
        other = np.add(frame.tilt, (away * np.cos(azimuth), away * np.sin(azimuth)))
        limit = 0.95 * library.tilt_max
        other *= min(1.0, limit / float(np.hypot(*other)))
        parts = [(share, frame), (1 - share, replace(frame, tilt=(float(other[0]), float(other[1]))))]
    elif kind == "thicknesses":
        parts = [(share, replace(frame, thickness=20.0)), (1 - share, replace(frame, thickness=40.0))]
    elif kind in SPREADS:
        extra[kind] = float(rng.uniform(*SPREADS[kind]))
        parts = _spread(frame, kind, extra[kind], library)
    pattern = composed(library, parts, extra.get("vacuum", 0.0))
    glow, dim = glow_at(frame.semi_angle, frame.shape, frame.camera), frame.background
    expected = frame.electrons * ((1 - dim) * pattern / pattern.sum() + dim * glow / glow.sum())
    truths = [frame] if kind in SPREADS else [each for _, each in parts]
    return np.random.default_rng(frame.seed).poisson(expected), [_truth(t) | extra for t in truths], crystal


def composed(library: Library, parts: Sequence[tuple[float, FrameSettings]], vacuum: float) -> np.ndarray:
    """What pixels record of several crystals with their weights, and of an empty area."""
    first = parts[0][1]
    grid = FineGrid.of(first.shape, first.camera, first.blur)
    fine = np.zeros(grid.shape)
    for weight, frame in parts:
        own = FineGrid.of(frame.shape, frame.camera, frame.blur)
        fine += (1 - vacuum) * weight * fine_pattern(library, frame, frame.camera, own)
    if vacuum:
        edge = fine_half_edge(library, first.camera.scale)
        fine += vacuum * bare_disc(grid.k, first.semi_angle, edge, 1)[0].reshape(grid.shape)
    diffuse = [weight * diffuse_part(library, frame) for weight, frame in parts]
    return recorded(grid, fine, first.blur * first.camera.scale) + (1 - vacuum) * sum(diffuse)


def _truth(frame: FrameSettings) -> dict[str, Any]:
    return {
        "thickness": frame.thickness,
        "tilt_x": frame.tilt[0],
        "tilt_y": frame.tilt[1],
        **frame.camera._asdict(),
        "electrons": frame.electrons,
    }


def _spread(
    frame: FrameSettings, kind: str, spread: float, library: Library
) -> list[tuple[float, FrameSettings]]:
    """Crystals of a Gaussian spread, with their weights."""
    x = np.linspace(-3, 3, NODES)
    w = np.exp(-(x**2) / 2)
    w, x = w / w.sum(), x / np.sqrt((w @ x**2) / w.sum())
    low, high = library.thickness_range
    if kind == "thickness_spread":
        mean = float(np.clip(frame.thickness, low + 3 * spread, high - 3 * spread))
        object.__setattr__(frame, "thickness", mean)
        return [(wi, replace(frame, thickness=mean + spread * xi)) for xi, wi in zip(x, w, strict=True)]
    x, w = x[::2] * 1.0, w[::2] / w[::2].sum()  # steps of 0.86 spreads
    x = x / np.sqrt(w @ x**2)
    return [
        (wi * wj, replace(frame, tilt=(frame.tilt[0] + spread * xi, frame.tilt[1] + spread * xj)))
        for xi, wi in zip(x, w, strict=True)
        for xj, wj in zip(x, w, strict=True)
        if wi * wj > 1e-4
    ]


def _smooth(kind: str, i: int, seed: int) -> tuple[np.ndarray, float]:
    """A disc or a blob without structure that does not have few electrons."""
    for turn in range(100):
        image, electrons = smooth(kind, i + 1000 * turn, seed)
        if electrons >= SMOOTH_LEAST:
            break
    return image, electrons


def fitted(kind: str, i: int, seed: int) -> Row:
    """The fit of one frame, compared with what is in it."""
    if kind in SMOOTH:
        image, electrons = _smooth(kind, i, seed)
        row: Row = {"kind": kind, "electrons": electrons}
        try:
            result = _fitter(NAME).fit(make_frame(image))
            return row | {"status": result.status.name, "message": result.message}
        except HybridfitError as error:
            return row | {"status": "refused", "message": str(error)}
    image, truths, crystal = made(kind, i, seed)
    fitter = _fitter(crystal, (kind,) if kind in SPREADS else ())
    found: list[Any] = []

    def attempt() -> Any:
        if not found:
            found.append(fitter.fit(make_frame(image)))
        return found[0]

    rows = [judged(attempt, truth, fitter.library.rotation_order) for truth in truths]
    row = rows[0] | {"kind": kind, "i": i, "electrons": truths[0]["electrons"]}
    row["misled"] = all(each["misled"] for each in rows)
    if found:
        result = found[0]
        row |= {"reduced_chi2": result.reduced_chi2, "n_effective": result.n_effective}
        for name in (*SPREADS, "vacuum"):
            if name in result.parameters:
                p = result[name]
                row |= {f"{name}_found": p.value, f"{name}_error": p.stderr}
            if name in truths[0]:
                row[f"{name}_true"] = truths[0][name]
    return row


# ---------------------------------------------------------------- table


def report(study: Study, kind: str, rows: list[Row]) -> None:
    """The rows of one kind of frames."""
    words = KINDS[kind]
    sure = [row for row in rows if row["status"] == "converged"]
    study.note(f"{words}, {len(rows)} frames: " + ", ".join(f"{n} {s}" for s, n in statuses(rows).items()))
    if kind in SMOOTH:
        study.add(f"{words}: converged", len(sure), "frames", at_most=0)
        return
    wrong = sum(row["misled"] for row in sure)
    study.add(f"{words}: converged and wrong", share(wrong, len(rows)), "%", at_most=1)
    least = 98.0 if kind in ("correct", "other") else None
    study.add(f"{words}: converged", share(len(sure), len(rows)), "%", at_least=least)
    if kind in ("twins90", "twins45", "tilts", "thicknesses") or not sure:
        return
    for name in NAMES:
        pulls = column(sure, f"{name}_pull")
        study.add(f"{words}: error of {name}, rms", rms(column(sure, name)), _unit(name))
        study.add(f"{words}: error of {name} over the stated one, rms", rms(pulls), "")
    if kind in ("vacuum", *SPREADS):
        own = [row for row in sure if row.get(f"{kind}_error")]
        away = column(own, f"{kind}_found") - column(own, f"{kind}_true")
        study.add(f"{words}: error of {kind}, rms", rms(away), _unit(kind))
        study.add(
            f"{words}: error of {kind} over the stated one, rms", rms(away / column(own, f"{kind}_error")), ""
        )
    study.add(f"{words}: one frame, median", float(np.median(column(rows, "seconds"))), "s")


def _unit(name: str) -> str:
    return "" if name == "vacuum" else "nm" if name.startswith("thickness") else "mrad"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of each kind; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--correct", type=int, help=f"correct frames; {CORRECT}, quick: {QUICK_FRAMES}")
    parser.add_argument("--seed", type=int, default=SEED, help=f"{SEED}; for tuning: {TUNING_SEED}")
    parser.add_argument("--kinds", nargs="*", default=[*KINDS], choices=[*KINDS], help="which frames")
    add_options(parser)
    options = parser.parse_args(arguments)
    study = Study("averaging", quick=options.quick)
    n = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    correct = options.correct or (QUICK_FRAMES if options.quick else CORRECT)
    counts = {kind: correct if kind in ("correct", "other") else n for kind in options.kinds}
    wanted = [(kind, i, options.seed) for kind in options.kinds for i in range(counts[kind])]
    from benchmarks import averaging as own  # by its name: workers cannot find what __main__ keeps

    rows = kept_fits(study, own.fitted, wanted, options.workers, options.resume)
    for kind in options.kinds:
        report(study, kind, [row for row in rows if row["kind"] == kind])
    bad = [row for row in rows if row["kind"] in BAD]
    if bad:
        wrong = sum(row["misled"] for row in bad)
        study.add(
            "vacuum, twins, two tilts or thicknesses: converged and wrong",
            share(wrong, len(bad)),
            "%",
            at_most=1,
        )
    study.note(f"seed {options.seed}; frames of seed {TUNING_SEED} are for tuning")
    draw(study, rows)
    return 0 if study.finish(frames=rows) else 1


def draw(study: Study, rows: list[Row]) -> None:
    """What was found against what was there."""
    with study.figure(columns=3, size=(3.6, 3.2)) as (_, axes):
        for axis, name in zip(axes, ("vacuum", *SPREADS), strict=True):
            own = [row for row in rows if row["kind"] == name and row.get(f"{name}_error")]
            truth, found = column(own, f"{name}_true"), column(own, f"{name}_found")
            axis.errorbar(truth, found - truth, yerr=1.96 * column(own, f"{name}_error"), fmt="o", lw=0.8)
            axis.axhline(0, color="k", lw=0.8)
            label = f"{name} ({_unit(name)})" if _unit(name) else name
            axis.set(xlabel=f"true {label}", ylabel="error, 95 %")


if __name__ == "__main__":
    sys.exit(main())
