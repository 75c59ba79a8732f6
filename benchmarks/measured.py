"""Fits of measured patterns of SrTiO3 [001], 200 kV, 13.6 mrad; only the semi-angle is given.

File names end in the thickness range that their authors found by matching, as in
`01-on_zone_50-51nm.jpg`.  The patterns are not part of this repository; without them the study is skipped.

Run with: python -m benchmarks.measured [--data FOLDER] [--quick]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Study, new_parser, skipped
from hybridfit import Fitter, Library, read_frames
from hybridfit.frame import Frame

DATA = Path(__file__).parents[2] / "shared" / "data" / "experiment"
SEMI_ANGLE = 13.6


def labelled(folder: Path) -> Iterator[tuple[str, tuple[float, float], Frame]]:
    """Name, thickness range (nm) and frame of each measured pattern of a folder."""
    for file in sorted(folder.glob("*nm.jpg")):
        low, high = (float(v) for v in re.search(r"(\d+)-(\d+)nm", file.stem).groups())  # type: ignore[union-attr]
        yield file.stem, (low, high), read_frames(file)[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    patterns = list(labelled(options.data))
    if not patterns:
        return skipped("measured", f"no patterns in {options.data}; give their folder with --data")
    fitter = Fitter(Library.open("SrTiO3_001_200kV"), SEMI_ANGLE, method="lsf")
    study = Study("measured", quick=options.quick)
    results = []
    for name, (low, high), frame in patterns:
        result = fitter.fit(frame)
        results.append((name, result))
        outside = max(low - result.thickness, result.thickness - high, 0.0)
        study.add(f"{name}: thickness", result.thickness, "nm")
        study.add(
            f"{name}: half of the 95 % interval of thickness",
            1.96 * (result["thickness"].stderr or np.nan),
            "nm",
        )
        study.add(f"{name}: thickness outside the labelled range by", outside, "nm", at_most=1.0)
        study.add(f"{name}: tilt", float(np.hypot(*result.tilt)), "mrad", at_most=0.7)
        study.add(f"{name}: residual fraction", result.residual_fraction, "", at_most=0.016)
        study.add(f"{name}: time in all", result.seconds["total"], "s", at_most=60)
        study.note(f"{name}: {result.status.name}; {result.message}")
    passed = study.finish(fits=[result.to_json() | {"file": name} for name, result in results])
    with study.figure(columns=3, rows=len(results), size=(3.4, 3.0)) as (_, axes):
        for row, (name, result) in zip(axes.reshape(-1, 3), results, strict=True):
            thumbnail = result.thumbnail
            top = np.nanmax(thumbnail.experiment)
            for axis, image, title in zip(
                row,
                (thumbnail.experiment, thumbnail.fit, thumbnail.experiment - thumbnail.fit),
                (name, f"fit: {result.thickness:.1f} nm", "difference, ±15 %"),
                strict=True,
            ):
                limits = (-0.15 * top, 0.15 * top) if "difference" in title else (0, top)
                axis.imshow(image, vmin=limits[0], vmax=limits[1], cmap="RdBu_r" if limits[0] else "magma")
                axis.set_title(title, fontsize=8)
                axis.axis("off")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
