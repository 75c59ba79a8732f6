"""Figure 4 of the paper: subtracted backgrounds of several strengths, and fitted background models.

The frames have a background that grows with thickness, as inelastic scattering does: a share of 0.4 % of
the electrons per nm.  The paper subtracts a uniform intensity per nm of thickness, of 255 at the frame's
maximum, before it asks its network.  Here ours is asked after subtracting several strengths.  The hybrid
fit has a background model instead, from none to radial.  Measured patterns, if present, are treated in the
same way.

Run with: python -m benchmarks.background [--frames N] [--data FOLDER] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.measured import DATA, labelled
from benchmarks.measured import SEMI_ANGLE as MEASURED_ANGLE
from benchmarks.papers import (
    BEST_STRENGTH,
    CITED,
    NAME,
    THICKNESS,
    WITHIN_NM,
    answer,
    apart,
    frames_at,
    share,
    truly,
)
from hybridfit import Fitter, Library
from hybridfit.fitting.seed.network import Seeder
from hybridfit.frame import Frame, make_frame
from hybridfit.network.weights import Network
from hybridfit.pattern.background import NAMES as MODELS

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2)  # per nm, of 255
SHARE_PER_NM = 0.004  # of the electrons: 40 % at 100 nm
FRAMES, QUICK_FRAMES, SEED = 40, 4, 4

Row = dict[str, Any]


def by_strength(seeder: Seeder, frames: list[Frame]) -> np.ndarray:
    """Thicknesses (nm) by the network, (strengths, frames)."""
    out = []
    for strength in STRENGTHS:
        seeder.per_nm = strength / 255
        out.append([seed.candidates[0].thickness for seed in seeder.seed_many(frames)])
    return np.array(out)


def by_model(library: Library, network: Network, semi_angle: float, frames: list[Frame]) -> dict[str, list]:
    """Hybrid fits of every frame with each background; the whole library is not searched."""
    found = {}
    for model in MODELS:
        fitter = Fitter(library, semi_angle, network=network, background=model, thorough=False)
        found[model] = [answer(fitter.fit(frame)) for frame in frames]
    return found


def simulated(study: Study, library: Library, network: Network, semi_angle: float, n: int) -> Row:
    """One semi-angle."""
    made = frames_at(library, semi_angle, n, SEED, background=lambda t: SHARE_PER_NM * t)
    frames, truths = [make_frame(image) for image, _ in made], [truly(truth) for _, truth in made]
    true = np.array([truth["thickness"] for truth in truths])
    off = np.abs(by_strength(Seeder(network, library, semi_angle), frames) - true)
    agreed = {f"{reach:g}": [share(each <= reach) for each in off] for reach in WITHIN_NM}
    for strength in (0.0, 0.4, BEST_STRENGTH[semi_angle]):
        hit = agreed["1"][STRENGTHS.index(strength)]
        study.add(f"{semi_angle} mrad: network, {strength:g}/nm subtracted, within 1 nm", hit, "%")
    models = by_model(library, network, semi_angle, frames)
    right = {}
    for model, answers in models.items():
        thickness, tilt = apart(list(zip(answers, truths, strict=True)), library.rotation_order)
        right[model] = share((thickness <= 0.5) & (tilt <= 0.1))
        sure = np.array([each["status"] == "converged" for each in answers])
        wrong = sure & ((thickness > 3) | (tilt > 1))
        study.add(f"{semi_angle} mrad: hybrid, {model}: within 1 nm", share(thickness <= 1), "%")
        study.add(
            f"{semi_angle} mrad: hybrid, {model}: converged, but off by > 3 nm or 1 mrad", share(wrong), "%"
        )
    best = max(hit for model, hit in right.items() if model != "radial")
    for model, hit in right.items():
        bar = {"at_least": best} if model == "radial" else {}
        study.add(f"{semi_angle} mrad: hybrid, {model}: within 0.5 nm and 0.1 mrad", hit, "%", **bar)
    return {"agreed": agreed, "right": right, "models": models, "truth": truths}


def measured(study: Study, library: Library, network: Network, folder: Path) -> list[Row]:
    """The measured patterns."""
    rows = []
    for name, (low, high), frame in labelled(folder):
        strength = by_strength(Seeder(network, library, MEASURED_ANGLE), [frame])[:, 0]
        models = {
            model: found[0] for model, found in by_model(library, network, MEASURED_ANGLE, [frame]).items()
        }
        for model, found in models.items():
            outside = max(low - found["thickness"], found["thickness"] - high, 0.0)
            study.add(f"{name}: hybrid, {model}: outside the labelled range by", outside, "nm")
            study.add(f"{name}: hybrid, {model}: residual fraction", found["residual"], "")
        rows.append({"name": name, "low": low, "high": high, "network": strength.tolist(), "models": models})
    if not rows:
        study.note(f"there are no measured patterns in {folder}; they were left out")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, help=f"at each semi-angle; {FRAMES}, quick: {QUICK_FRAMES}")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the measured patterns")
    options = parser.parse_args(arguments)
    n = options.frames or (QUICK_FRAMES if options.quick else FRAMES)
    study = Study("background", quick=options.quick)
    library, network = Library(Library.open(NAME).dataset.load()), Network.shipped(NAME)
    found = {angle: simulated(study, library, network, angle, n) for angle in THICKNESS}
    patterns = measured(study, library, network, options.data)
    study.note(
        f"{CITED}, Figure 4: most thicknesses agree with 0.7/nm subtracted at 13.6 mrad and 0.3/nm at 19.1, "
        "most of all above 70 nm; their least squares subtract 0.4/nm"
    )
    study.note(
        f"{n} frames at each semi-angle, compared with the truth; the network was trained with backgrounds, "
        "so none has to be subtracted"
    )
    draw(study, found, patterns)
    lists = {f"{angle} mrad": row for angle, row in found.items()}
    return 0 if study.finish(strengths=list(STRENGTHS), **lists, measured=patterns) else 1


def draw(study: Study, found: dict[float, Row], patterns: list[Row]) -> None:
    """Agreement against strength and by model; thickness of the measured patterns."""
    with study.figure(columns=2, rows=2, size=(4.4, 3.1)) as (_, axes):
        for axis, (angle, row) in zip(axes, found.items(), strict=False):
            for i, (reach, line) in enumerate(row["agreed"].items()):
                axis.plot(STRENGTHS, line, f"C{i}o-", label=f"±{reach} nm")
            axis.axvline(BEST_STRENGTH[angle], color="0.5", linestyle=":", label="the paper's best")
            axis.set(title=f"network, {angle} mrad", xlabel="subtracted per nm (of 255)", ylim=(0, 104))
            axis.set_ylabel("thickness right (%)")
            axis.legend(fontsize=7)
        for i, (angle, row) in enumerate(found.items()):
            place = np.arange(len(MODELS)) + 0.38 * i - 0.19
            axes[2].bar(place, [row["right"][model] for model in MODELS], 0.36, label=f"{angle} mrad")
        axes[2].set_xticks(range(len(MODELS)), [model.replace("-per", "\nper") for model in MODELS])
        axes[2].set(
            title="hybrid, by background fitted", ylabel="within 0.5 nm and 0.1 mrad (%)", ylim=(0, 125)
        )
        axes[2].legend(fontsize=7, ncols=2, loc="upper left")
        for i, row in enumerate(patterns):
            axes[3].axhspan(row["low"], row["high"], color=f"C{i}", alpha=0.2, lw=0)
            axes[3].plot(STRENGTHS, row["network"], f"C{i}o-")
            axes[3].plot(STRENGTHS[-1] + 0.12, row["models"]["radial"]["thickness"], f"C{i}*", markersize=9)
        axes[3].set(title="measured, 13.6 mrad", xlabel="subtracted per nm (of 255)", ylabel="thickness (nm)")
        if patterns:
            axes[3].plot([], [], "ko-", label="network")
            axes[3].plot([], [], "k*", label="hybrid, radial")
            axes[3].fill_between([], [], color="0.8", label="labelled")
            axes[3].legend(fontsize=7)


if __name__ == "__main__":
    sys.exit(main())
