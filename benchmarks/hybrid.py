"""The network, the hybrid fit and the full search, on the same frames in one run.

The frames are those of `benchmarks.frames`, none of which the network was trained on, and the
measured patterns if they are present.  Frames on which no fit should converge are those of
`benchmarks.edges`.

Run with: python -m benchmarks.hybrid [--frames N] [--full N] [--edges N] [--weights FILE] [--quick]
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser, timed
from benchmarks.edges import edges
from benchmarks.frames import NAME, SEED, simulated
from benchmarks.measured import DATA, SEMI_ANGLE, labelled
from hybridfit import Fitter, Library
from hybridfit.errors import HybridfitError
from hybridfit.fitting.candidates import tilt_distance
from hybridfit.fitting.result import FitResult, Status
from hybridfit.fitting.seed.network import Seeder
from hybridfit.frame import make_frame
from hybridfit.network.crop import CROP
from hybridfit.network.weights import Network

NETWORK_PX = 227  # side of the paper's frames; errors of the centre are given in their px
BINS = 10  # of the expected calibration error
FRAMES, FULL, EDGES = (200, 16), (10, 1), (6, 0)  # of a full run, of a quick one
NOT_THAT = (3.0, 1.0)  # nm, mrad: an answer farther from the truth is wrong


def tilt_error(found: tuple[float, float], truth: dict[str, Any], order: int) -> float:
    """Distance (mrad) of two tilts, up to a rotation by the n-fold axis."""
    return tilt_distance(found, (truth["tilt_x"], truth["tilt_y"]), order)


def full_tilt_error(result: FitResult, truth: dict[str, Any], order: int) -> float:
    """Largest error (mrad) of the two components, in the crystal frame that the rotation names."""
    turn = round((result["rotation"].value - truth["rotation"]) / (360 / order)) * 2 * np.pi / order
    # rotation + turn and tilt turned back are the same pattern
    x, y = result.tilt
    c, s = np.cos(turn), np.sin(turn)
    return float(max(abs(c * x - s * y - truth["tilt_x"]), abs(s * x + c * y - truth["tilt_y"])))


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: mean |confidence − share of right answers| over bins of confidence."""
    order = np.argsort(confidence)
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return float(sum(abs(confidence[p].mean() - right[p].mean()) * len(p) for p in parts) / len(order))


def network_alone(study: Study, network: Network, library: Library, frames: list) -> list[dict[str, Any]]:
    """The network's answer for each frame, compared with the truth."""
    order, rows = library.rotation_order, []
    for image, truth in frames:
        frame = make_frame(image)
        seed = Seeder(network, library, truth["semi_angle"]).seed(frame)
        best = seed.candidates[0]
        off = np.hypot(best.centre_x - truth["centre_x"], best.centre_y - truth["centre_y"])
        turn = (best.rotation - truth["rotation"] + 180 / order) % (360 / order) - 180 / order
        rows.append(
            {
                "size": abs(best.scale / truth["scale"] - 1),
                "centre": off * NETWORK_PX / truth["size"],
                "rotation": abs(turn),
                "thickness": abs(best.thickness - truth["thickness"]),
                "tilt": tilt_error(best.tilt, truth, order),
                "confidence": seed.confidence,
                "electrons": truth["electrons"],
                "passes": seed.passes,
                "reached": any(
                    abs(c.thickness - truth["thickness"]) <= 3 and tilt_error(c.tilt, truth, order) <= 1
                    for c in seed.candidates
                ),
            }
        )
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def share(what: str, hit: np.ndarray, bar: float | None) -> None:
        study.add(f"network: {what}", 100 * hit.mean(), "%", **({} if bar is None else {"at_least": bar}))

    share("size within 2 %", column["size"] <= 0.02, 99)
    share("centre within 2 px of 227", column["centre"] <= 2, 99)
    share("rotation within 2°", column["rotation"] <= 2, 99)
    share("thickness within 3 nm", column["thickness"] <= 3, 99)
    share("tilt within 1 mrad", column["tilt"] <= 1, 99)
    share("a candidate within both", column["reached"], None)
    bright = column["electrons"] >= 2.3e7
    share("thickness within 2 nm, ≥ 2.3e7 electrons", column["thickness"][bright] <= 2, 96)
    share("tilt within 0.5 mrad, ≥ 2.3e7 electrons", column["tilt"][bright] <= 0.5, 94)
    confidence = column["confidence"]
    for i, (what, reach) in enumerate((("thickness", 3), ("tilt", 1))):
        error = calibration_error(confidence[:, i], column[what] <= reach)
        study.add(f"network: expected calibration error, {what}", error, "", at_most=0.05)
    return rows


def network_times(study: Study, network: Network, library: Library) -> None:
    """Times of four passes of one frame, and of a batch."""
    one, many = (np.ones((n, 2, CROP, CROP), np.float32) for n in (1, 256))
    four = timed(lambda: [network.predict(one, 16.0) for _ in range(4)], 20)
    study.add("network: four passes of one crop", 1e3 * four, "ms", at_most=25)
    study.add(
        "network: frames per second, batch of 256, one pass",
        256 / timed(lambda: network.predict(many, 16.0), 3),
        "1/s",
    )


def compare(
    study: Study, network: Network, library: Library, frames: list, full: int
) -> list[dict[str, Any]]:
    """The hybrid fit of every frame, its second run timed, and the full search of the first `full`."""
    order, rows = library.rotation_order, []
    for i, (image, truth) in enumerate(frames):
        fitter = Fitter(library, truth["semi_angle"], method="hybrid", network=network)
        result = fitter.fit(image)
        row = _row(result, truth, order)
        row["seconds"] = dict(fitter.fit(image).seconds)  # warm
        if i < full:
            searcher = Fitter(library, truth["semi_angle"], method="lsf")
            searcher.templates()
            other = searcher.fit(image)
            row["full"] = _row(other, truth, order)
            row["left"], row["full"]["left"] = left_by(library, truth["semi_angle"], image, (result, other))
        rows.append(row)
    bright = [row for row in rows if row["electrons"] >= 1e6]
    good = np.array([row["thickness"] <= 0.5 and row["tilt"] <= 0.1 for row in bright])
    study.add("hybrid: within 0.5 nm and 0.1 mrad, ≥ 1e6 electrons", 100 * good.mean(), "%", at_least=99)
    everywhere = np.array([row["thickness"] <= 0.5 and row["tilt"] <= 0.1 for row in rows])
    study.add("hybrid: within 0.5 nm and 0.1 mrad, all frames", 100 * everywhere.mean(), "%")
    wrong = np.array([_wrong(row) and row["status"] == "converged" for row in rows])
    study.add("hybrid: converged, but wrong", 100 * wrong.mean(), "%", at_most=1)
    study.add(
        "hybrid: by way of the full search", 100 * np.mean([r["route"] == "full search" for r in rows]), "%"
    )
    seconds = np.array([row["seconds"]["total"] for row in rows])
    study.add("hybrid: one frame, median", 1e3 * np.median(seconds), "ms", at_most=120)
    for stage in ("seed", "search", "refine"):
        part = np.median([row["seconds"][stage] for row in rows])
        study.add(f"hybrid: one frame, {stage}, median", 1e3 * part, "ms")
    both = [row for row in rows if "full" in row]
    if both:
        ratio = np.array([row["left"] / row["full"]["left"] for row in both])
        study.add(
            "hybrid against full search: χ² higher by more than 1 %",
            100 * np.mean(ratio > 1.01),
            "%",
            at_most=0,
        )
        right = [[not _wrong(row), not _wrong(row["full"])] for row in both]
        study.add("frames where only the hybrid is right", sum(a and not b for a, b in right), "")
        study.add("frames where only the full search is right", sum(b and not a for a, b in right), "")
        faster = np.median([row["full"]["seconds"]["total"] / row["seconds"]["total"] for row in both])
        study.add(
            f"hybrid against our full search ({len(both)} frames): faster by", faster, "×", at_least=200
        )
    return rows


def left_by(
    library: Library, semi_angle: float, image: np.ndarray, results: tuple[FitResult, FitResult]
) -> list[float]:
    """Residual fractions of two answers for one frame, on the same pixels."""
    around, left = results[0].candidates[0], []
    for result in results:
        held = {name: p.value for name, p in result.parameters.items()}
        fitter = Fitter(library, semi_angle, fix=held, seeded=True)
        left.append(fitter.refine(image, around).residual_fraction)
    return left


def _row(result: FitResult, truth: dict[str, Any], order: int) -> dict[str, Any]:
    return {
        "thickness": abs(result.thickness - truth["thickness"]),
        "tilt": full_tilt_error(result, truth, order),
        "status": result.status.name,
        "route": result.route,
        "seconds": dict(result.seconds),
        "sum_of_squares": result.residual_fraction,
        "electrons": truth["electrons"],
        "stderr": result["thickness"].stderr,
    }


def _wrong(row: dict[str, Any]) -> bool:
    return row["thickness"] > NOT_THAT[0] or row["tilt"] > NOT_THAT[1]


def measured(study: Study, network: Network, library: Library) -> None:
    """Hybrid fits of the measured patterns."""
    patterns = list(labelled(DATA))
    if not patterns:
        study.note("the measured patterns are not there; they were skipped")
        return
    fitter = Fitter(library, SEMI_ANGLE, method="hybrid", network=network)
    for name, (low, high), frame in patterns:
        result = fitter.fit(frame)
        study.add(f"{name}: thickness", result.thickness, "nm")
        study.add(
            f"{name}: thickness outside the labelled range by",
            max(low - result.thickness, result.thickness - high, 0.0),
            "nm",
            at_most=1,
        )
        study.add(f"{name}: tilt", float(np.hypot(*result.tilt)), "mrad", at_most=0.7)
        study.add(f"{name}: residual fraction", result.residual_fraction, "", at_most=0.016)
        study.add(f"{name}: time", 1e3 * result.seconds["total"], "ms")
        study.note(f"{name}: {result.status.name}, {result.route}; {result.message}")


def at_the_edges(study: Study, network: Network, library: Library, each: int) -> list[dict[str, Any]]:
    """Frames on which no fit should converge."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for edge in edges(each, SEED + 1, Path(folder)):
            row: dict[str, Any] = {"kind": edge.kind}
            try:
                result = Fitter(library, edge.semi_angle, method="hybrid", network=network).fit(edge.image)
            except HybridfitError as error:
                row |= {"status": "refused", "message": str(error), "wrong": False}
            else:
                right = edge.truth is not None and not _wrong(
                    _row(result, edge.truth, library.rotation_order)
                )
                sure = result.status is Status.converged
                row |= {"status": result.status.name, "message": result.message, "wrong": sure and not right}
            rows.append(row)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        counts = {
            s: sum(r["status"] == s for r in of_kind) for s in dict.fromkeys(r["status"] for r in of_kind)
        }
        study.note(f"{kind}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))
    wrong = 100 * np.mean([row["wrong"] for row in rows])
    study.add(f"confident wrong answers, {len(rows)} frames at the edges", wrong, "%", at_most=1)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help="{} frames; quick: {}".format(*FRAMES))
    parser.add_argument(
        "--full", type=int, help="of these, searched in full, too; {}, quick: {}".format(*FULL)
    )
    parser.add_argument(
        "--edges",
        type=int,
        help="frames of every kind on which no fit should converge; {}, quick: {}".format(*EDGES),
    )
    parser.add_argument("--weights", type=Path, help="other weights than the shipped ones")
    options = parser.parse_args(arguments)
    count, full, each = (
        sizes[options.quick] if given is None else given
        for given, sizes in ((options.frames, FRAMES), (options.full, FULL), (options.edges, EDGES))
    )
    library = Library(Library.open(NAME).dataset.load())
    network = Network.open(options.weights) if options.weights else Network.shipped(NAME)
    study = Study("hybrid", quick=options.quick)
    frames = simulated(count)
    seeds = network_alone(study, network, library, frames)
    network_times(study, network, library)
    fits = compare(study, network, library, frames, min(full, len(frames)))
    measured(study, network, library)
    strange = at_the_edges(study, network, library, each) if each else []
    draw(study, seeds, fits)
    return 0 if study.finish(seeds=seeds, fits=fits, edges=strange) else 1


def draw(study: Study, seeds: list[dict[str, Any]], fits: list[dict[str, Any]]) -> None:
    """Errors of network and hybrid against dose."""
    electrons = np.array([row["electrons"] for row in fits])
    with study.figure(columns=2) as (_, axes):
        for axis, what, unit, reach in ((axes[0], "thickness", "nm", 0.5), (axes[1], "tilt", "mrad", 0.1)):
            for rows, name, colour in ((seeds, "network", "C1"), (fits, "hybrid", "C0")):
                error = np.array([row[what] for row in rows])
                axis.loglog(electrons, np.maximum(error, 1e-4), ".", color=colour, markersize=3, label=name)
            axis.axhline(reach, color="0.5", linestyle=":", linewidth=1)
            axis.set(xlabel="electrons in the frame", ylabel=f"error of {what} ({unit})")
            axis.legend()


if __name__ == "__main__":
    raise SystemExit(main())
