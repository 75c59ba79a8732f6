"""Time per position of a map, for scans of several sizes.

The time per position leaves out what is done once (start, first pass); the total time includes it.

Run with: python -m benchmarks.scan_sizes [--sizes N,…] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.common import Study, cores, new_parser
from benchmarks.scan_runs import Run, fresh, repeated, scan_file
from hybridfit.scan.maps import read_map

SIZES, QUICK_SIZES = (16, 32, 48), (6, 9)  # positions along each side
SMALL, SOURCE, LARGEST = 10, 64, 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--sizes", help=f"of sides; {SIZES}, quick: {QUICK_SIZES}")
    options = parser.parse_args(arguments)
    sides = QUICK_SIZES if options.quick else SIZES
    if options.sizes:
        sides = tuple(int(side) for side in options.sizes.split(","))
    study = Study("scan_sizes", quick=options.quick)
    small = max(sides) <= SMALL
    scan = scan_file((SMALL, SMALL)) if small else repeated(scan_file((SOURCE, SOURCE)), LARGEST)
    each, total = [], []
    for side in sides:
        with fresh("size") as path:
            run = Run(scan, path, workers=cores(), roi=(0, side, 0, side))
            seconds = run.finish()
            found = read_map(path)
        assert found["thickness"].shape == (side, side) and np.isfinite(found["thickness"].values).all()
        each.append(1e3 * (run.stage("positions") + np.nan_to_num(run.stage("neighbours"))) / side**2)
        total.append(seconds)
        study.add(f"{side} × {side}: per position, without start and first pass", each[-1], "ms")
        study.add(f"{side} × {side}: in all", seconds, "s")
    spread = 100 * (max(each) / min(each) - 1)
    bar = {} if options.quick else {"at_most": 15}
    study.add(f"per position: spread from {min(sides)}² to {max(sides)}²", spread, "%", **bar)
    with study.figure() as (_, axes):
        positions = np.square(sides)
        axes[0].semilogx(positions, each, "o-", label="without start and first pass")
        axes[0].semilogx(positions, 1e3 * np.array(total) / positions, "s--", label="in all")
        axes[0].set(xlabel="positions", ylabel="time per position (ms)", ylim=(0, None))
        axes[0].set_xticks(positions, [f"{side}²" for side in sides])
        axes[0].minorticks_off()
        axes[0].legend()
    return 0 if study.finish(sides=list(sides), ms=each, seconds=total) else 1


if __name__ == "__main__":
    sys.exit(main())
