"""The sign of a polarity: how often it is right, and whether its odds hold.

Run with: python -m benchmarks.polarity [--frames N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.structural_frames import (
    MISALIGNED,
    TILT,
    TURN,
    Row,
    compared,
    frame_of,
    kept,
    words_of_libraries,
)
from hybridfit import Fitter, Hints

POLAR = ("PbTiO3_100_200kV", "GaAs_110_200kV")
SEMI_ANGLE = 13.6
SURE = 100.0  # odds that a wrong sign must never have
DOSES = (1e3, 1e6)  # electrons, log-uniform, where odds are between 0 and 1
BINS = 5
FRAMES, QUICK_FRAMES = 30, 2


def polarity(study: Study, frames: int, quick: bool) -> dict[str, list[Row]]:
    """The sign of a polarity, and whether its odds hold."""
    out: dict[str, list[Row]] = {}
    for name in POLAR[-1:] if quick else POLAR:
        library = kept(name, SEMI_ANGLE, quick=quick)
        fitter = Fitter(library, SEMI_ANGLE, hints=Hints(rotation=TURN))
        rng = np.random.default_rng(sum(name.encode()))
        rows = []
        for i in range(frames + frames // 2):
            bright = i % 3 < 2
            electrons = 1e6 if bright else float(np.exp(rng.uniform(*np.log(DOSES))))
            sign = float(rng.choice([-1, 1]))
            image, truth = frame_of(library.at(polarity=sign), SEMI_ANGLE, electrons, rng)
            result = fitter.fit(image)
            found = result.structure["polarity"]
            rows.append(
                compared(result, truth)
                | {
                    "bright": bright,
                    "sign": sign,
                    "right": found.value == sign,
                    "odds": found.odds[found.value] if found.odds else np.nan,
                }
            )
        out[name] = rows
        seen = [row for row in rows if row["bright"]]
        crystal = name.rsplit("_", 1)[0].replace("_", " [") + "]"
        right = np.array([row["right"] for row in seen])
        study.add(f"{crystal}: sign right, 1e6 electrons", 100 * right.mean(), "%", at_least=99)
        errors = np.abs([row["thickness_error"] for row in seen])
        study.add(f"{crystal}: thickness error, 95th percentile", np.percentile(errors, 95), "nm")
        study.add(
            f"{crystal}: tilt error, 95th percentile",
            np.percentile([row["tilt_error"] for row in seen], 95),
            "mrad",
        )
        sure = sum(not row["right"] and row["odds"] > SURE / (1 + SURE) for row in rows)
        study.add(f"{crystal}: wrong sign with odds over {SURE:g}:1", sure, "", at_most=0)
        error, worst = calibration(rows)
        study.add(f"{crystal}: expected calibration error of the odds", error, "", at_most=0.05)
        study.add(f"{crystal}: largest of confidence less share right, in a bin", worst, "")
    study.note(
        f"polarity: of each crystal {frames} frames at 1e6 electrons, {frames // 2} at 1e3–1e6; 13.6 mrad, "
        f"10–60 nm, tilt to {TILT:g} mrad unknown, rotation known within {MISALIGNED:g}°"
    )
    return out


def calibration(rows: list[Row]) -> tuple[float, float]:
    """Mean and largest |confidence − share of right answers| over bins of confidence."""
    odds = np.array([row["odds"] for row in rows])
    right = np.array([row["right"] for row in rows])
    parts = [part for part in np.array_split(np.argsort(odds), BINS) if len(part)]
    off = [odds[part].mean() - right[part].mean() for part in parts]
    error = sum(abs(each) * len(part) for each, part in zip(off, parts, strict=True)) / len(rows)
    return float(error), float(max(off, key=abs))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument(
        "--frames", type=int, help=f"of every crystal at 1e6 electrons; {FRAMES}, quick: {QUICK_FRAMES}"
    )
    options = parser.parse_args(arguments)
    study = Study("polarity", quick=options.quick)
    found = polarity(study, options.frames or (QUICK_FRAMES if options.quick else FRAMES), options.quick)
    study.note(words_of_libraries(SEMI_ANGLE, options.quick))
    draw(study, found)
    return 0 if study.finish(**found) else 1


def draw(study: Study, found: dict[str, list[Row]]) -> None:
    """Odds against dose."""
    with study.figure() as (_, axes):
        for colour, (name, rows) in zip(("C0", "C1"), found.items(), strict=False):
            for right, mark in ((True, "o"), (False, "x")):
                picked = [row for row in rows if row["right"] is right]
                axes[0].semilogx(
                    [row["electrons"] for row in picked],
                    [row["odds"] for row in picked],
                    mark,
                    color=colour,
                    alpha=0.6,
                    label=f"{name.split('_')[0]}, {'right' if right else 'wrong'}",
                )
        axes[0].set(xlabel="electrons", ylabel="odds of the sign that was found")
        axes[0].legend()


if __name__ == "__main__":
    sys.exit(main())
