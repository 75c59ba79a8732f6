"""Which parts of a pattern an answer depends on, by moving a mask (Xu & LeBeau 2018, Figures 5, 6).

An annulus, 2.2 mrad wide, is set to its mean; the semi-angle is 13.6 mrad, as in the paper, and the
alignment is that of the unmasked pattern.  The frames are simulated as in `benchmarks.frames`, with a dose
at which the paper's network is steady, in place of the paper's measured frames.  The answers are compared
with the truth, in place of the paper's least-squares fit.  The network and the least-squares fit both answer.

Run with: python -m benchmarks.masks [--quick] [--frames N] [--fits N] [--seed S]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import frames as drawn
from benchmarks.common import Study
from hybridfit import Fitter, Library, make_frame, simulate_frame
from hybridfit.explain import sweep_mask
from hybridfit.fitting.candidates import tilt_distance

SEMI_ANGLE, WIDTH = 13.6, 2.2  # mrad
RADII = np.arange(1.1, 21.0, 1.1)  # mrad
RANGES = ((3.0, 20.0), (20.0, 40.0), (40.0, 60.0), (60.0, 80.0), (80.0, 100.0), (100.0, 120.0))  # nm
ELECTRONS = (2.3e7, 1e9)
SIDE, SCALE, OFF_CENTRE = 128, (2.3, 2.7), 3.0  # px, px/mrad, px
FRAMES, FITS, SEED = 20, 6, 56  # of each range
# nm, mrad: limits of agreement; the paper's for its network, and narrower ones for fits
NETWORK, FIT = (2.0, 0.5), (0.5, 0.1)
INNER, OUTER = 6.0, 18.0  # mrad: the middle of the direct disc, and what is beyond the pattern's bright part


class Errors(NamedTuple):
    """Errors of one method: unmasked (frames,) and masked (frames, radii), nm and mrad."""

    thickness: np.ndarray
    tilt: np.ndarray
    masked_thickness: np.ndarray
    masked_tilt: np.ndarray

    def agreement(self, what: int, within: tuple[float, float], pick: Any = slice(None)) -> np.ndarray:
        """Share (%) of frames that agree in thickness (0) or tilt (1), at every radius."""
        masked = (self.masked_thickness, self.masked_tilt)[what]
        return 100 * (masked[pick] <= within[what]).mean(axis=0)

    def unmasked(self, what: int, within: tuple[float, float], pick: Any = slice(None)) -> float:
        """The same with nothing masked."""
        return float(100 * ((self.thickness, self.tilt)[what][pick] <= within[what]).mean())


def draw(each: int, seed: int) -> list[dict[str, Any]]:
    """Arguments of `simulate_frame` for so many frames of every range, each with the whole pattern."""
    rng, out = np.random.default_rng(seed), []
    low, high = np.log(drawn.ELECTRONS)
    for i, values in enumerate(drawn.draw(each * len(RANGES), seed)):
        share = (np.log(values["electrons"]) - low) / (high - low)
        middle = (SIDE - 1) / 2
        values |= {
            "thickness": float(rng.uniform(*RANGES[i // each])),
            "semi_angle": SEMI_ANGLE,
            "shape": (SIDE, SIDE),
            "scale": float(rng.uniform(*SCALE)),
            "centre": tuple(float(v) for v in middle + rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2)),
            "electrons": float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** share),
        }
        out.append(values)
    return out


def swept(
    fitter: Fitter, library: Library, wanted: Sequence[dict[str, Any]], by: str, **options: Any
) -> Errors:
    """The sweep of every frame, against the truth."""
    order, rows = library.rotation_order, []
    for values in wanted:
        frame = make_frame(simulate_frame(library, **values)[0])
        sweep = sweep_mask(frame, fitter, width=WIDTH, **options).sel(by=by)
        thickness = np.append(sweep.unmasked_thickness, sweep.thickness)
        tilts = np.stack(
            [np.append(sweep[f"unmasked_{name}"], sweep[name]) for name in ("tilt_x", "tilt_y")], 1
        )
        # a frame that could not be fitted counts as wrong
        off = np.nan_to_num(np.abs(thickness - values["thickness"]), nan=np.inf)
        tilt = [tilt_distance((x, y), values["tilt"], order) for x, y in tilts.tolist()]
        rows.append((off, np.nan_to_num(tilt, nan=np.inf)))
    off, tilt = (np.array(part) for part in zip(*rows, strict=True))
    return Errors(off[:, 0], tilt[:, 0], off[:, 1:], tilt[:, 1:])


def report(
    study: Study,
    name: str,
    errors: Errors,
    within: tuple[float, float],
    ranges: np.ndarray,
    radii: np.ndarray,
) -> None:
    """Radii at which masks do most harm, and agreement there and elsewhere."""
    for what, (word, unit) in enumerate((("thickness", "nm"), ("tilt", "mrad"))):
        curve, limit = errors.agreement(what, within), f"{within[what]:g} {unit}"
        worst = int(curve.argmin())
        head = f"{name}, {word}"
        study.add(f"{head} within {limit}, nothing masked", errors.unmasked(what, within), "%")
        study.add(f"{head}: masking hurts most at", radii[worst], "mrad")
        study.add(f"{head}: within {limit} there", curve[worst], "%")
        study.add(f"{head}: masked below {INNER:g} mrad", curve[radii < INNER].mean(), "%")
        study.add(f"{head}: masked beyond {OUTER:g} mrad", curve[radii > OUTER].mean(), "%")
        for i, (low, high) in enumerate(RANGES):
            own = errors.agreement(what, within, ranges == i)
            study.add(f"{head}, {low:g}–{high:g} nm: least, at any radius", own.min(), "%")


def plot(
    study: Study, found: dict[str, tuple[Errors, tuple[float, float], np.ndarray]], radii: np.ndarray
) -> None:
    """Agreement against the radius of the mask, by thickness range."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(RANGES)))
    with study.figure(columns=2, rows=2, size=(4.6, 3.1)) as (figure, axes):
        for column, (name, (errors, within, ranges)) in enumerate(found.items()):
            for what, (word, unit) in enumerate((("thickness", "nm"), ("tilt", "mrad"))):
                axis = axes[2 * what + column]
                for i, (low, high) in enumerate(RANGES):
                    label = f"{low:g}–{high:g} nm"
                    curve = errors.agreement(what, within, ranges == i)
                    axis.plot(radii, curve, "-", lw=1.1, color=colours[i], label=label)
                axis.plot(radii, errors.agreement(what, within), "k-", lw=2.4, label="all")
                axis.axvline(SEMI_ANGLE, color="0.4", ls="--", lw=1)
                axis.set_title(f"{name}: {word} within {within[what]:g} {unit}", loc="left")
                axis.set(ylim=(-3, 103), xlim=(0, radii[-1] + 0.5))
                if what:
                    axis.set_xlabel("middle of the masked annulus (mrad)")
                if not column:
                    axis.set_ylabel("agreement with the truth (%)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RANGES) + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few frames only")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each thickness range, for the network")
    parser.add_argument("--fits", type=int, default=FITS, help="of these, fitted")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    each, fits = (2, 1) if options.quick else (options.frames, options.fits)
    radii = RADII[::3] if options.quick else RADII
    library = Library.open(drawn.NAME)
    study = Study("masks")
    wanted = draw(each, options.seed)
    ranges = np.repeat(np.arange(len(RANGES)), each)
    fitted = np.concatenate([i * each + np.arange(min(fits, each)) for i in range(len(RANGES))])
    some = [wanted[i] for i in fitted]
    network = Fitter(library, SEMI_ANGLE, method="cnn", workers=1)
    fitter = Fitter(library, SEMI_ANGLE, workers=1)
    by_network = swept(network, library, wanted, "network", radii=radii)
    by_fit = swept(fitter, library, some, "fit", radii=radii)
    found = {"network": (by_network, NETWORK, ranges), "fit": (by_fit, FIT, ranges[fitted])}
    for name, (errors, within, which) in found.items():
        report(study, name, errors, within, which, radii)
    rough = [by_fit.agreement(what, NETWORK).min() for what in (0, 1)]
    study.add(f"fit, thickness within {NETWORK[0]:g} nm: least, at any radius", rough[0], "%")
    study.add(f"fit, tilt within {NETWORK[1]:g} mrad: least, at any radius", rough[1], "%")
    worst = radii[int(by_fit.agreement(0, FIT).argmin())]
    left_out = swept(fitter, library, some, "fit", radii=[worst], how="exclude")
    at = f"annulus at {worst:.1f} mrad"
    masked = by_fit.masked_thickness[:, radii == worst]
    for words, part in ((f"{at} set to its mean", masked), (f"{at} left out", left_out.masked_thickness)):
        study.add(f"fit, {words}: error of thickness, median", float(np.median(part)), "nm")
    study.note(
        f"{len(wanted)} simulated frames for the network, {len(some)} of them fitted; agreement is with the "
        f"truth, within {NETWORK[0]:g} nm and {NETWORK[1]:g} mrad for the network, as in the paper, within "
        f"{FIT[0]:g} nm and {FIT[1]:g} mrad for the fit, which starts from its unmasked answer"
    )
    study.note(
        "the paper's network is worst with masks at about the semi-angle, for thickness and for tilt, and "
        "unaffected by masks beyond some 18 mrad"
    )
    plot(study, found, radii)
    curves = {
        f"{name}_{word}": errors.agreement(what, within).tolist()
        for name, (errors, within, _) in found.items()
        for what, word in enumerate(("thickness", "tilt"))
    }
    return 0 if study.finish(radius_mrad=radii.tolist(), **curves) else 1


if __name__ == "__main__":
    sys.exit(main())
