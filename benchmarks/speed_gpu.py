"""Fits of many positions at a time on a GPU: positions and fits a second, and the answers of one by one.

positions   matched with the whole library and fitted, frames on the device, node images made before
fits        from one seed each
answers     beside fits one by one on the CPU, from the same seeds; without a GPU torch calculates them on the
            CPU, and nothing is timed

Run with: python -m benchmarks.speed_gpu [--positions N] [--device NAME] [--quick]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from benchmarks.common import Study, new_parser
from benchmarks.errors import rms
from benchmarks.scan_runs import NAME, SEMI_ANGLE, scan_file
from hybridfit import Fitter, Library
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.least_squares import Refinement
from hybridfit.fitting.refine.refiner import Shared
from hybridfit.fitting.refine.settings import Effort
from hybridfit.frame import Frame
from hybridfit.io import open_scan
from hybridfit.scan.positions import Positions

if TYPE_CHECKING:
    from hybridfit.fitting.batch.engine import Answers, BatchFitter

POSITIONS, CHECKED, QUICK_CHECKED = 4096, 256, 16
ON_CPU = 16  # positions where there is no GPU: torch is slow then
HELD = ("scale", "rotation", "ellipticity_a", "ellipticity_b")
LEAST_POSITIONS, LEAST_FITS = 5e3, 2e4  # a second, on one GPU
SAME = 0.1  # of a stated error
REPEATS = 5


class Scan:
    """Frames of a scan whose camera is known, and where their discs are."""

    def __init__(self, count: int) -> None:
        path = scan_file((64, 64))
        truth = xr.load_dataset(path.with_name(f"{path.stem}.truth.nc"))
        every = [(y, x) for y in range(64) for x in range(64)]
        at = every[:: len(every) // count][:count]
        found = Positions(open_scan(path)).frames(at)
        self.frames = [frame for frame in found if isinstance(frame, Frame)]
        self.fix = {name: float(truth[name].mean()) for name in HELD}
        self.blur = float(truth["blur"].mean())
        self.centres = np.array([[float(truth[n].values[p]) for n in ("centre_x", "centre_y")] for p in at])

    def fitter(self) -> Fitter:
        """Of many frames of this camera."""
        library = Library(Library.open(NAME).dataset.load())
        return Fitter(library, SEMI_ANGLE, workers=1, seeded=True, fix=self.fix, shared=Shared(self.blur))


def gpu(study: Study, count: int, name: str = "auto") -> None:
    """Speed, where there is a GPU, and answers; count positions are compared with fits one by one."""
    import torch

    from hybridfit.fitting.batch.engine import BatchFitter
    from hybridfit.network.conversion import torch_device

    device = torch_device(name)
    timed = device.type == "cuda"
    count = count if timed else min(count, ON_CPU)
    scan = Scan(max(count, POSITIONS) if timed else count)
    batch = BatchFitter(scan.fitter(), device)
    images, valid = (np.stack([getattr(f, each) for f in scan.frames]) for each in ("image", "valid"))
    tensors = [torch.as_tensor(each, device=device) for each in (images.astype(np.float32), valid)]
    tensors.append(torch.as_tensor(scan.centres, device=device))
    _ = batch.matcher, batch.rounds
    start = time.perf_counter()
    answers = batch.answers(*tensors)
    first = time.perf_counter() - start
    camera = batch.rounds.camera
    study.note(
        f"GPU: {len(scan.frames)} positions, {len(answers.owner)} fits, {camera.n} pixels,"
        f" {camera.nodes.made} tiles of node images, {float(answers.fits.evaluations.double().mean()):.1f}"
        " evaluations a fit"
    )
    if timed:
        speed(study, batch, tensors, answers, torch.cuda.get_device_name(device))
        study.add("GPU: the first time, with node images that are made on the way", first, "s")
        used = torch.cuda.max_memory_allocated(device)
        study.add("GPU: memory of the device", used / 1e9, "GB")
    else:
        study.note("GPU: there is none, so its speed was not measured; torch calculated on the CPU")
        for what in ("positions a second, matched and fitted", "fits a second, from seeds"):
            study.add(f"GPU: {what} (not measured)", float("nan"), "1/s")
    compare(study, batch, scan, answers, count)


def speed(study: Study, batch: BatchFitter, tensors: list[Any], answers: Answers, name: str) -> None:
    """Positions and fits a second, with everything on the device."""
    import torch

    images, valid, centres = tensors
    best = (answers.owner.diff(prepend=answers.owner.new_full((1,), -1)) > 0).nonzero()[:, 0]
    seeds, owner = answers.seeds[best], answers.owner[best]

    def seconds(call: Callable[[], object]) -> float:
        out = []
        for _ in range(REPEATS):
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            out.append(time.perf_counter() - start)
        return min(out)

    whole = seconds(lambda: batch.answers(images, valid, centres))
    fits = seconds(lambda: batch.fits(images, valid, centres, owner, seeds))
    match = seconds(lambda: batch.matcher.match(images, valid, centres))
    study.note(f"GPU: {name}")
    study.add(
        "GPU: positions a second, matched and fitted", len(images) / whole, "1/s", at_least=LEAST_POSITIONS
    )
    study.add("GPU: fits a second, from seeds", len(owner) / fits, "1/s", at_least=LEAST_FITS)
    study.add("GPU: matches a second", len(images) / match, "1/s")


def compare(study: Study, batch: BatchFitter, scan: Scan, answers: Answers, count: int) -> None:
    """Fits of the first positions, and of some all over the scan, one by one from the same seeds."""
    from hybridfit.fitting.batch.camera import NAMES

    entries = np.unique(np.linspace(0, len(answers.owner) - 1, count).astype(int)).tolist()
    owner, seeds = answers.owner.tolist(), answers.seeds.tolist()
    values, found = answers.fits.values.cpu().numpy(), answers.usable.cpu().numpy()
    errors = answers.fits.covariance.diagonal(dim1=1, dim2=2).sqrt().cpu().numpy()
    away, seconds = [], 0.0
    for entry in entries:
        start = time.process_time()
        one = alone(batch.fitter, scan.frames[owner[entry]], seeds[entry], scan.centres[owner[entry]])
        seconds += time.process_time() - start
        if found[entry] and one.settled:
            expected = np.array([one.values[name] for name in NAMES])
            away.append((values[entry] - expected) / errors[entry])
    off = np.array(away)
    study.add(f"GPU: of {len(entries)} fits, not settled", len(entries) - len(off), "", at_most=0)
    for i, name in enumerate(NAMES):
        study.add(f"GPU: {name} beside fits one by one, over its error, rms", rms(off[:, i]), "")
        worst = float(np.abs(off[:, i]).max())
        study.add(f"GPU: {name} beside fits one by one, over its error, worst", worst, "", at_most=SAME)
    study.add("one fit on the CPU from such a seed", 1e3 * seconds / len(entries), "ms")


def alone(fitter: Fitter, frame: Frame, seed: Sequence[float], centre: np.ndarray) -> Refinement:
    """The fit of one frame from a seed (nm, mrad), by least squares on the CPU."""
    refiner, limits = fitter.finder.refiner, fitter.settings.refining
    camera = fitter.known.matcher.camera
    x, y = centre.tolist()
    start = Candidate(*seed, x, y, camera.scale, camera.rotation)
    region = refiner.region(frame, start, limits.fine_radius)
    effort = Effort(limits.passes, limits.tolerance, limits.coarse_pixel)
    return refiner.follow(frame, start, region, effort).fit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--positions", type=int, help=f"compared; {CHECKED}, quick: {QUICK_CHECKED}")
    parser.add_argument("--device", default="auto", help="of torch; auto: a GPU if there is one")
    options = parser.parse_args(arguments)
    study = Study("speed_gpu", quick=options.quick)
    gpu(study, options.positions or (QUICK_CHECKED if options.quick else CHECKED), options.device)
    draw(study)
    return 0 if study.finish() else 1


def draw(study: Study) -> None:
    """How far answers are from those of fits one by one."""
    shown = [row for row in study.rows if row.what.endswith("worst")]
    with study.figure(size=(5.2, 2.6)) as (_, axes):
        axes[0].barh([row.what.split()[1] for row in shown], [row.measured for row in shown])
        axes[0].axvline(SAME, color="k", lw=0.8)
        axes[0].set(xlabel="largest difference over the standard error")
        axes[0].invert_yaxis()


if __name__ == "__main__":
    sys.exit(main())
