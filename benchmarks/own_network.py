"""The network of a crystal against the match of its library: the same frames fitted either way.

The frames are drawn as in `benchmarks.frames`, other ones than those, at one semi-angle.  The network of
SrTiO3 [001] is shipped.  That of Si [110] is trained here for 20 minutes on two cores, as `hybridfit new
--minutes 20` does, and kept in `benchmarks/data`.

Run with: python -m benchmarks.own_network [--frames N] [--minutes M] [--quick]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.frames import draw
from hybridfit import Fitter, Library, simulate_frame
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import tilt_distance
from hybridfit.frame import make_frame
from hybridfit.network.state import Plan
from hybridfit.network.training import train
from hybridfit.network.weights import Network

DATA = Path(__file__).parent / "data"
NAMES = ("SrTiO3_001_200kV", "Si_110_200kV")
SEMI_ANGLE = 13.6  # mrad
SEED = 4096
FRAMES, QUICK_FRAMES = 80, 3
MINUTES, QUICK_MINUTES = 20.0, 0.2
RIGHT = (0.5, 0.1)  # nm, mrad
NOT_THAT = (3.0, 1.0)  # nm, mrad
BRIGHT = 1e6  # electrons
ROUTES = ("its own network", "the match")


def network_of(name: str, library: Library, minutes: float) -> tuple[Network, str]:
    """The network of a library, shipped or trained, and a sentence about it."""
    try:
        return Network.shipped(name, device="cpu"), f"{name}: the shipped network"
    except InputError:
        path = DATA / f"own-{name}-{library.dataset.attrs['checksum'][:12]}-{minutes:g}min.safetensors"
    if not path.is_file():
        DATA.mkdir(exist_ok=True)
        train(library, Plan(minutes=minutes, seed=SEED)).save(path)
    return Network.open(path, device="cpu"), f"{name}: a network trained for {minutes:g} minutes"


def frames_of(library: Library, n: int) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """n frames (rows, cols) at one semi-angle, no thicker than the library."""
    out = []
    for values in draw(n, SEED):
        values["scale"] *= values["semi_angle"] / SEMI_ANGLE
        values["semi_angle"] = SEMI_ANGLE
        values["thickness"] = min(values["thickness"], library.thickness_range[1] - 2)
        out.append(simulate_frame(library, **values))
    return out


def row_of(
    fitters: dict[str, Fitter], image: np.ndarray, truth: dict[str, Any], order: int
) -> dict[str, Any]:
    """One frame, fitted by every route."""
    row: dict[str, Any] = {key: truth[key] for key in ("thickness", "electrons")}
    for route, fitter in fitters.items():
        try:
            result = fitter.fit(make_frame(image))
        except InputError as error:
            row[route] = {"right": False, "wrong": False, "status": "refused", "message": str(error)}
            continue
        off = result.thickness - truth["thickness"]
        tilt = tilt_distance(result.tilt, (truth["tilt_x"], truth["tilt_y"]), order)
        row[route] = {
            "thickness": float(off),
            "tilt": float(tilt),
            "right": bool(abs(off) <= RIGHT[0] and tilt <= RIGHT[1]),
            "wrong": bool(result.ok and (abs(off) > NOT_THAT[0] or tilt > NOT_THAT[1])),
            "status": result.status.name,
            "route": str(result.route),
            "seconds": float(result.seconds["total"]),
        }
    return row


def report(study: Study, name: str, rows: list[dict[str, Any]]) -> None:
    """The rows of one crystal."""
    bright = [row for row in rows if row["electrons"] >= BRIGHT]
    what = "within 0.5 nm and 0.1 mrad, ≥ 1e6 electrons"
    right = {route: 100 * float(np.mean([row[route]["right"] for row in bright])) for route in ROUTES}
    own, match = ROUTES
    study.add(f"{name}: {what}, by {own}", right[own], "%")
    study.add(f"{name}: {what}, by {match}", right[match], "%", at_least=right[own])
    for route in ROUTES:
        wrong = 100 * float(np.mean([row[route]["wrong"] for row in rows]))
        study.add(f"{name}: converged, but wrong, by {route}", wrong, "%")
        timed = [row[route]["seconds"] for row in rows if "seconds" in row[route]]
        study.add(f"{name}: one frame, median, by {route}", 1e3 * float(np.median(timed)), "ms")
    both = [row for row in bright if all(row[route]["right"] for route in ROUTES)]
    for quantity, unit in (("thickness", "nm"), ("tilt", "mrad")):
        for route in ROUTES:
            rms = float(np.sqrt(np.mean([row[route][quantity] ** 2 for row in both])))
            study.add(f"{name}: {quantity} error where both are right, rms, by {route}", rms, unit)
    for route, other in (ROUTES, ROUTES[::-1]):
        alone = sum(row[route]["right"] and not row[other]["right"] for row in bright)
        study.add(f"{name}: frames that are right only by {route}", alone, "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"of each crystal; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--minutes", type=float, help=f"of the training; {MINUTES:g}")
    options = parser.parse_args(arguments)
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    minutes = options.minutes or (QUICK_MINUTES if options.quick else MINUTES)
    study, found = Study("own_network", quick=options.quick), {}
    for name in NAMES[:1] if options.quick else NAMES:
        library = Library.open(name)
        network, words = network_of(name, library, minutes)
        study.note(words)
        fitters = {route: Fitter(library, SEMI_ANGLE, network=network) for route in ROUTES}
        fitters[ROUTES[1]].attempts.match_with_shipped_network()
        rows = [row_of(fitters, *shot, library.rotation_order) for shot in frames_of(library, frames)]
        report(study, name, rows)
        found[name] = rows
    study.note(f"{frames} frames of each crystal at {SEMI_ANGLE:g} mrad, which no training saw")
    draw_errors(study, found)
    return 0 if study.finish(frames=found) else 1


def draw_errors(study: Study, found: dict[str, list[dict[str, Any]]]) -> None:
    """Errors of the match against those of the network."""
    with study.figure(columns=2) as (_, axes):
        for axis, quantity, unit in zip(axes, ("thickness", "tilt"), ("nm", "mrad"), strict=True):
            for i, (name, rows) in enumerate(found.items()):
                x, y = (
                    [max(abs(row[route].get(quantity, np.nan)), 1e-4) for row in rows] for route in ROUTES
                )
                axis.loglog(x, y, ".", color=f"C{i}", label=name)
            axis.plot([1e-4, 100], [1e-4, 100], color="0.6", linewidth=1)
            axis.set(
                xlabel=f"{quantity} error by {ROUTES[0]} ({unit})",
                ylabel=f"{quantity} error by {ROUTES[1]} ({unit})",
            )
        axes[0].legend()


if __name__ == "__main__":
    raise SystemExit(main())
