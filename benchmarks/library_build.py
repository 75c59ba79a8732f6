"""Time and memory to build and open a library and to compose patterns; abTEM for comparison.

Each measurement runs in a fresh process (`benchmarks.library_jobs`), so that times include all that a user
waits for, and memory is that of the measurement.  The rival is abTEM's Bloch-wave solver [1].  It gets the
same structure factors, beams and thicknesses, and every advantage: its structure factors are built
beforehand, and the faster of threads and of perfectly parallel processes counts.

.. [1] `abtem.bloch.BlochWaves`; install it with `pip install -c constraints.txt ".[bench]"`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, cores, new_parser
from benchmarks.library_jobs import FAR, NAME, PIXELS, SEMI_ANGLES, in_fresh_process


def build_rows(study: Study, path: Path) -> dict[str, Any]:
    """Build the library, whole and (not in a quick run) limited; returns measurements of the whole one."""
    whole = in_fresh_process("build", path)
    study.add(f"build {NAME}, {whole['directions']} directions", whole["build"], "s", at_most=45)
    study.add("build: peak memory of the process", whole["peak"], "GB", at_most=2)
    study.add("build: peak memory over what is expected", whole["peak"] / whole["expected"], "", at_most=1.3)
    if not study.quick:
        small = in_fresh_process("build", path.with_name("small.nc"), NAME, SEMI_ANGLES[0])
        what = f"build limited to {SEMI_ANGLES[0]} mrad, {small['directions']} directions"
        study.add(what, small["build"], "s", at_most=15)
    study.add("size of the file", path.stat().st_size / 1e9, "GB")
    study.add("built intensities against expm, largest", whole["error"], "of incident", at_most=1e-3)
    return whole


def far_rows(study: Study, folder: Path) -> None:
    """The library of far tilts: built, and a frame fitted with it, the first time and again."""
    path = folder / f"{FAR}.nc"
    built = in_fresh_process("build", path, FAR)
    study.add(f"build {FAR}, {built['directions']} directions", built["build"], "s", at_most=90)
    study.add("tilts to 15 mrad, build: peak memory of the process", built["peak"], "GB", at_most=2)
    study.add(
        "tilts to 15 mrad, intensities against expm, largest", built["error"], "of incident", at_most=1e-3
    )
    for time in ("first", "second"):
        found = in_fresh_process("fit_far", path)
        what = f"12 mrad tilt, the {time} fit"
        study.add(f"{what}: peak memory of the process", found["peak"], "GB", at_most=1.5)
        study.add(f"{what}, library opened", found["seconds"], "s")
        study.add(f"{what}: error of thickness", found["off"][0], "nm", at_most=0.2)
        study.add(f"{what}: error of tilt", found["off"][1], "mrad", at_most=0.1)


def rival_rows(study: Study, ours: dict[str, Any]) -> float | None:
    """The ratio to abTEM; returns its extrapolated seconds, or None where it was left out."""
    if study.quick:
        return None
    if find_spec("abtem") is None:
        study.note("abTEM is not installed, the rival was skipped: pip install -c constraints.txt '.[bench]'")
        return None
    threaded, single = in_fresh_process("rival"), in_fresh_process("rival", threads=1)
    each = min(threaded["seconds"], single["seconds"] / cores())
    seconds, directions = ours["build"], ours["directions"]
    study.add("solve one direction, all beams and thicknesses: hybridfit", 1e3 * seconds / directions, "ms")
    study.add(f"the same: abTEM {threaded['version']}, BLAS on all cores", 1e3 * threaded["seconds"], "ms")
    study.add(
        "the same: abTEM, one core a direction, perfect scaling", 1e3 * single["seconds"] / cores(), "ms"
    )
    study.add("ratio, abTEM over hybridfit: per direction", each * directions / seconds, "×")
    study.add("ratio, abTEM over hybridfit: same library", each * ours["unfolded"] / seconds, "×")
    for name, difference in threaded["difference"].items():
        study.add(f"intensities of the strongest beams, abTEM with {name}", difference, "of incident")
    study.note(
        f"abTEM's time is measured on {threaded['directions']} random directions and scaled. abTEM has no "
        "absorption, so its matrix is Hermitian and faster to solve; hybridfit's time includes absorption. "
        f"abTEM uses no symmetry: the same library takes {ours['unfolded']} directions, "
        f"{each * ours['unfolded']:.0f} s."
    )
    study.note(
        "differences from abTEM: without absorption in both codes, up to 125 nm and 24 mrad off the axis. "
        "With the same structure factors they come from abTEM's float32 eigenproblem (5e-4) and its factor 1 "
        "+ g_z/K (2e-3 at 24 mrad); the others come from its own scattering factors."
    )
    return each * ours["unfolded"]


def compose_rows(study: Study, path: Path) -> dict[str, dict[str, float]]:
    """One pattern, one core."""
    results = {}
    for alpha in SEMI_ANGLES:
        results[f"{alpha} mrad"] = result = in_fresh_process("compose", alpha, path, threads=1)
        for what in ("kernel", "model", "kernel, derivatives", "model, derivatives"):
            bar = 12 if "derivatives" in what else 4
            study.add(f"one pattern, {PIXELS}², {alpha} mrad: {what}", 1e3 * result[what], "ms", at_most=bar)
        study.add(f"its values against a direct solve, {alpha} mrad", result["value"], "of max", at_most=1e-3)
        study.add(f"its slopes against differences, {alpha} mrad", result["slopes"], "rms", at_most=1e-3)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    study = Study("library_build", quick=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{NAME}.nc"
        built = build_rows(study, path)
        if not study.quick:
            far_rows(study, Path(folder))
        opened = in_fresh_process("open", path)
        study.add("import hybridfit.library.library in a fresh process", opened["import"], "s")
        study.add("open a built library, import included", opened["import"] + opened["open"], "s", at_most=1)
        study.add("resident memory after opening", opened["resident"], "GB", at_most=1)
        study.add("resident memory with every thickness read", opened["resident, all in memory"], "GB")
        study.add("window ±3 nm, ±1 mrad and its table, first time", 1e3 * opened["window, first"], "ms")
        study.add("window ±3 nm, ±1 mrad and its table, again", 1e3 * opened["window, again"], "ms")
        composed = compose_rows(study, path)
    theirs = rival_rows(study, built)
    with study.figure(columns=2) as (_, axes):
        bars = {"hybridfit": built["build"], **({} if theirs is None else {"abTEM\n(scaled)": theirs})}
        axes[0].bar(list(bars), list(bars.values()), color=["C0", "C1"][: len(bars)])
        axes[0].axhline(45, color="0.4", linestyle=":")
        axes[0].set(yscale="log", ylim=(1, 2e3), ylabel="s", title=f"build {NAME}")
        kinds = ("kernel", "model", "kernel, derivatives", "model, derivatives")
        for i, (alpha, result) in enumerate(composed.items()):
            place = np.arange(len(kinds)) + 0.35 * i - 0.175
            axes[1].bar(place, [1e3 * result[kind] for kind in kinds], 0.35, label=alpha)
        axes[1].hlines([4, 12], [-0.5, 1.5], [1.5, 3.5], color="0.4", linestyle=":", label="bar")
        axes[1].set_xticks(range(len(kinds)), [kind.replace(", ", "\n") for kind in kinds], fontsize=7)
        axes[1].set(ylabel="ms", title=f"compose one pattern, {PIXELS} × {PIXELS}, one core")
        axes[1].legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, -0.3))
    passed = study.finish()
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
