"""Maps of simulated 4D-STEM scans: errors, time, memory, runs that are distributed.

The scans are those of `benchmarks.scan_runs`; a quick run has the part figure9 alone.

Run with: python -m benchmarks.scan_maps [--parts NAMES] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import xarray as xr

from benchmarks.common import Study, cores, new_parser
from benchmarks.scan_runs import DATA, Run, errors, fresh, repeated, same, scan_file
from hybridfit.flags import map_status, names_of
from hybridfit.plot.maps import plot_paper_map
from hybridfit.scan.maps import read_map


def figure9(study: Study) -> None:
    """The paper's Figure 9, simulated: 10 × 10 positions."""
    scan = scan_file((10, 10))
    with fresh("figure9") as path:
        Run(scan, path).finish()
        found = read_map(path)
    thickness, tilt = errors(found, scan)
    study.add("10 × 10, bent wedge: thickness, largest error", thickness.max(), "nm", at_most=0.5)
    study.add("10 × 10, bent wedge: tilt, largest error", tilt.max(), "mrad", at_most=0.1)
    pulls = thickness / found["thickness_stderr"].values
    study.add("thickness errors over their standard errors, rms", np.sqrt((pulls**2).mean()), "")
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    plot_paper_map(found, truth, study.path(".png"))


def large(study: Study) -> None:
    """64 × 64 positions in all, and a part of 256 × 256."""
    scan = scan_file((64, 64))
    with fresh("large") as path:
        run = Run(scan, path, workers=cores())
        seconds = run.finish()
        found = read_map(path)
    study.add("64 × 64 positions of 128 × 128 px, in all", seconds / 60, "min", at_most=8)
    study.add("64 × 64 positions: memory of all processes", run.memory_gb, "GB", at_most=3)
    thickness, tilt = errors(found, scan)
    good = (thickness <= 0.5) & (tilt <= 0.1)
    study.add("64 × 64 positions: within 0.5 nm and 0.1 mrad", 100 * good.mean(), "%")
    study.add("64 × 64 positions: converged", 100 * map_status(found).get("converged", 0) / good.size, "%")
    big = repeated(scan, 256)
    with fresh("part") as path:
        run = Run(big, path, workers=cores(), roi=(100, 102, 0, 256))
        run.finish()
    gb = big.stat().st_size / 1e9
    study.add(f"two rows of 256 × 256 ({gb:.1f} GB on disk): memory", run.memory_gb, "GB", at_most=3)


def spread_out(study: Study) -> None:
    """dask: two worker processes on loopback against one."""
    from distributed import LocalCluster

    scan, seconds, maps = scan_file((64, 64)), [], []
    for count in (1, 2):
        with (
            LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
            ) as cluster,
            fresh("dask") as path,
        ):
            run = Run(scan, path, scheduler=cluster.scheduler_address, roi=(0, 12, 0, 32))
            run.finish()
            seconds.append(run.stage("positions"))
            maps.append(read_map(path))
    with fresh("joblib") as path:
        Run(scan, path, workers=cores(), roi=(0, 12, 0, 32)).finish()
        maps.append(read_map(path))
    study.add("dask, two workers against one: faster by", seconds[0] / seconds[1], "×", at_least=1.7)
    identical = same(maps[0], maps[1]) and same(maps[1], maps[2])
    study.add("one dask worker, two, and joblib: same map", identical, "", at_least=1)


def spoilt(study: Study) -> None:
    """A truncated scan with 5 % vacuum, blank and NaN frames and hot pixels."""
    scan = scan_file((16, 16), vacuum=0.05)
    clean = np.load(scan, mmap_mode="r").astype(np.float32)
    bad, rng = clean.copy(), np.random.default_rng(0)
    bad[3, 4], bad[5, 9] = 0, np.nan
    for y, x in ((7, 2), (9, 12)):
        bad[y, x, rng.integers(0, 128, 6), rng.integers(0, 128, 6)] = 1e6
    paths = [DATA / "spoilt_clean.npy", DATA / "spoilt.npy"]
    for path, array in zip(paths, (clean, bad), strict=True):
        np.save(path, array)
    with paths[1].open("rb+") as file:  # the last two and a half frames are gone
        file.truncate(paths[1].stat().st_size - int(2.5 * 128 * 128 * 4))
    maps = []
    for path in paths:
        with fresh("spoilt") as out:
            Run(path, out, workers=cores()).finish()
            maps.append(read_map(out))
    words = names_of(maps[1]["status"])
    truth = xr.load_dataset(scan.with_name(f"{scan.stem}.truth.nc"))
    hole = truth["vacuum"].values == 1
    lost = np.zeros(hole.shape, bool)
    lost[15, 13:] = True
    unusable = np.zeros(hole.shape, bool)
    unusable[3, 4] = unusable[5, 9] = True
    good = ~(hole | lost | unusable)
    right = (words[lost] == "unreadable").all() and (words[unusable] == "unusable").all()
    study.add("truncated, blank and NaN frames: right status", right, "", at_least=1)
    sure = np.isin(words[hole & ~lost & ~unusable], ["converged", "ambiguous"])
    study.add(f"vacuum ({hole.sum()} positions): taken for a crystal", sure.sum(), "", at_most=0)
    study.add("crystal: not converged", (words[good] != "converged").sum(), "", at_most=0)
    moved = np.abs(maps[1]["thickness"].values - maps[0]["thickness"].values)[good].max()
    study.add("crystal: thickness changed by what is wrong elsewhere", moved, "nm", at_most=0.02)


PARTS = {"figure9": figure9, "large": large, "dask": spread_out, "spoilt": spoilt}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, print the table, write the JSON and the figure."""
    parser = new_parser(__doc__)
    parser.add_argument("--parts", help=f"of {', '.join(PARTS)}; all, quick: figure9")
    options = parser.parse_args(arguments)
    usual = ["figure9"] if options.quick else list(PARTS)
    chosen = options.parts.split(",") if options.parts else usual
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    study = Study("scan_maps", quick=options.quick)
    for part in chosen:
        PARTS[part](study)
    return 0 if study.finish() else 1


if __name__ == "__main__":
    sys.exit(main())
