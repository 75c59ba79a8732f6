"""How much doubt in a direct disc is too much: discs of training crystals, right or wrong, by their doubt.

The frames set `AlignmentSettings`; they report nothing.  They are of crystals of `library/training`: six
simple ones, which trainings hold back, and seven that networks learn from, whose discs are crowded, most of
them of heavy atoms.  Semi-angles and energies are their own.  There are two kinds of frames:

as drawn   as in `benchmarks.unseen_frames`, other frames than any that report
leaning    tilted by 5 to 15 mrad, the bright part about in the middle of the frame, as an operator has it

A disc is right when its centre and its radius are within 5 % of the radius.

Run with: python -m benchmarks.disc_doubts [--frames N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.unseen import Case, library_of
from benchmarks.unseen_frames import draw, frame_of
from hybridfit import simulate_frame
from hybridfit.fitting.seed.alignment import Aligner, Alignment
from hybridfit.fitting.seed.settings import SEED
from hybridfit.frame import Frame, make_frame
from hybridfit.library.recipe import shipped_folder
from hybridfit.pattern.camera import Camera, to_pixels

FRAMES, QUICK_FRAMES = 50, 4  # of each kind and crystal
FIRST = 20  # number of the first frame
LEANING_SEED = 77
TILTS, BEYOND, LEAN = (5.0, 15.0), (4.0, 12.0), (0.3, 0.55)  # mrad; mrad shown beyond the disc; × tilt
SIZES = (96, 128, 192, 256)  # px
RIGHT, WELL = 0.05, 0.02  # of the radius
ALONE = replace(SEED, alignment=replace(SEED.alignment, doubtful=np.inf))  # no other start
DOUBTS = (0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03)

Row = dict[str, Any]


class Training(Case):
    """A crystal that networks are trained on."""

    @property
    def cif(self) -> Path:
        """The file of the crystal."""
        return shipped_folder() / "training" / f"{self.name}.cif"


CASES = (
    Training("LaB6", (0, 0, 1), 120.0, (12.0, 25.0)),
    Training("Mg_hcp", (0, 0, 1), 300.0, (6.0, 14.0)),
    Training("NiAs", (1, 0, 0), 80.0, (7.0, 15.0)),
    Training("BaZrO3", (0, 0, 1), 200.0, (10.0, 22.0)),
    Training("CdTe", (0, 1, 1), 200.0, (9.0, 20.0)),
    Training("Sr2RuO4", (1, 0, 0), 300.0, (8.0, 18.0)),
    Training("YBa2Cu3O7", (1, 1, 0), 300.0, (8.0, 19.0)),
    Training("WO3", (1, 0, 0), 120.0, (11.0, 24.0)),
    Training("CaWO4", (1, 0, 0), 200.0, (10.0, 21.0)),
    Training("LaFeO3", (0, 1, 0), 80.0, (12.0, 22.0)),
    Training("BaFe2As2", (1, 0, 0), 200.0, (12.0, 20.0)),
    Training("U_alpha", (1, 0, 0), 100.0, (11.0, 22.0)),
    Training("CoSb3", (1, 1, 1), 80.0, (12.0, 25.0)),
)
SIMPLE = 6  # the first of them


def shown(case: Case, count: int) -> Iterator[tuple[str, Frame, Row]]:
    """Frames of a crystal: their kind, and what they were drawn with."""
    library = library_of("drawn", case)
    for i in range(FIRST, FIRST + count):
        drawn = frame_of(library, case, "alignment", i)
        mask = {} if drawn.mask is None else {"mask": drawn.mask}
        yield "as drawn", make_frame(drawn.image.astype(float), **mask), drawn.truth
    for i in range(FIRST, FIRST + count):
        values = leaning(case, i)
        counts, truth = simulate_frame(library, **values)
        yield "leaning", make_frame(counts.astype(float)), truth


def leaning(case: Case, i: int) -> Row:
    """What `simulate_frame` needs for a frame with the bright part of a tilted pattern in its middle."""
    rng = np.random.default_rng([LEANING_SEED, *case.name.encode(), i])
    values = draw(case, "alignment", i)
    size, tilt, azimuth = int(rng.choice(SIZES)), rng.uniform(*TILTS), rng.uniform(0, 2 * np.pi)
    tilted = float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))
    half = values["semi_angle"] + rng.uniform(*BEYOND) + tilt / 2
    scale, lean = (size - 1) / 2 / half * rng.uniform(0.93, 1.0), rng.uniform(*LEAN)
    middle = (size - 1) / 2 + rng.uniform(-0.04, 0.04, 2) * size
    away = Camera(0.0, 0.0, float(scale), values["rotation"])
    col, row = to_pixels(np.array(-lean * tilted[0]), np.array(-lean * tilted[1]), away)
    return values | {
        "tilt": tilted,
        "shape": (size, size),
        "scale": float(scale),
        "centre": (float(middle[0] - col), float(middle[1] - row)),
        "electrons": float(10 ** rng.uniform(6, 8)),
    }


def off(found: Alignment, truth: Row) -> float:
    """The error of centre or size, whichever is larger, of the radius."""
    radius = truth["scale"] * truth["semi_angle"]
    away = np.hypot(found.centre_x - truth["centre_x"], found.centre_y - truth["centre_y"]) / radius
    return float(max(away, abs(found.scale / truth["scale"] - 1)))


def row_of(case: Case, kind: str, frame: Frame, truth: Row) -> Row:
    """Errors and doubt of the first disc of a frame, and of those that are told beside it."""
    aligner, plain = (Aligner.shipped(truth["semi_angle"], settings=each) for each in (SEED, ALONE))
    if aligner is None or plain is None:
        raise RuntimeError("the weights of the aligner are missing")
    discs = aligner.discs(frame)
    more = [] if discs[0].sure else aligner.further(frame, [each.camera for each in discs])
    best = [min((off(each, truth) for each in some), default=np.inf) for some in (discs, more)]
    row = {
        "crystal": case.name,
        "kind": kind,
        "alone": off(plain.align(frame), truth),
        "off": off(discs[0], truth),
        "doubt": discs[0].doubt,
    }
    return row | {"sure": discs[0].sure, "told": best[0], "further": best[1], "discs": len(discs) + len(more)}


def report(study: Study, rows: list[Row]) -> None:
    """Shares of right discs, of all and below some doubts."""
    wrong, doubt = (np.array([row[name] for row in rows]) for name in ("off", "doubt"))
    alone = np.array([row["alone"] for row in rows])
    for name, some in (("simple", CASES[:SIMPLE]), ("crowded", CASES[SIMPLE:])):
        own = [row["off"] for row in rows if row["crystal"] in {case.name for case in some}]
        if own:
            study.add(
                f"first disc within 2 %, {name} crystals", 100 * float((np.array(own) < WELL).mean()), "%"
            )
    study.add("disc of the whole frame alone within 2 %", 100 * float((alone < WELL).mean()), "%")
    study.add("disc of the whole frame alone within 5 %", 100 * float((alone < RIGHT).mean()), "%")
    study.add("first disc within 2 %", 100 * float((wrong < WELL).mean()), "%")
    study.add("first disc within 5 %", 100 * float((wrong < RIGHT).mean()), "%")
    told = np.array([row["told"] for row in rows])
    either = np.minimum(told, [row["further"] for row in rows])
    study.add("any disc that is told within 5 %", 100 * float((told < RIGHT).mean()), "%")
    study.add("with those of crops all over the frame", 100 * float((either < RIGHT).mean()), "%")
    for most in sorted({*DOUBTS, SEED.alignment.doubtful}):
        below = doubt <= most
        study.add(f"doubt up to {most:g}: frames", 100 * float(below.mean()), "%")
        study.add(f"doubt up to {most:g}: off by more than 5 %", int((wrong[below] > RIGHT).sum()), "frames")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of each kind and crystal ({FRAMES})")
    options = parser.parse_args(arguments)
    study = Study("disc_doubts", quick=options.quick)
    count = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    rows = []
    for case in CASES[:1] if options.quick else CASES:
        own = [row_of(case, *each) for each in shown(case, count)]
        rows += own
        print(f"{case}: {sum(row['off'] < RIGHT for row in own)} of {len(own)} discs are right", flush=True)
    report(study, rows)
    passed = study.finish(discs=rows)
    with study.figure(columns=1, size=(5.6, 4.2)) as (_, axes):
        for kind in ("as drawn", "leaning"):
            some = [row for row in rows if row["kind"] == kind]
            axes[0].loglog([r["doubt"] for r in some], [r["off"] for r in some], ".", label=kind)
        axes[0].axvline(SEED.alignment.doubtful, color="k", lw=0.8)
        axes[0].axhline(RIGHT, color="k", lw=0.8)
        axes[0].set(xlabel="doubt in the disc, of its radius", ylabel="error of the disc, of its radius")
        ticks = (0.002, 0.005, 0.01, 0.02, 0.04)
        axes[0].set_xticks(ticks, [f"{each:g}" for each in ticks])
        axes[0].minorticks_off()
        axes[0].legend(loc="lower right")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
