"""Error bars on frames as cameras record them: gain, point spread, read-out noise, steps, flat field.

Every frame is made by the library's own physics, so that only the noise is in question: the fit takes nothing
for granted (every `sigma` 0), and starts near the truth.  Kinds of cameras:

electrons   every electron counted once, in one pixel: what errors are compared with
CCD         a scintillator and a CCD (as an UltraScan): 5–40 counts an electron, whose light reaches
            neighbours (σ 0.6–1 px, and a tail), read-out noise, a flat field that is off by 1–2 %
Medipix     counting, at a low threshold: electrons at the edge of a pixel count in two or three; dead pixels
EMPAD       128 × 128 px; charges of electrons differ as those of Landau; read-out noise of 0.01 electrons
8 bits      a CCD's frame, saved as a picture of 255 steps

With --raw, frames are also fitted from nothing, by the whole route.  Frames that are done are kept in
`benchmarks/data`, so that the study can be run in parts.

Run with: python -m benchmarks.cameras [--part tuning] [--cameras NAME,…] [--frames N] [--minutes M] [--raw N]
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import fftconvolve

from benchmarks.budget import SEMI_ANGLE, SOLVED, TILT
from benchmarks.common import Study, new_parser
from benchmarks.errors import NAMES, Row, column, judged, rms
from hybridfit import Candidate, Fitter, Library
from hybridfit.fitting.result import FitResult
from hybridfit.frame import make_frame
from hybridfit.library.build import VERSION
from hybridfit.library.recipe import Recipe
from hybridfit.simulate.frame import simulate_frame

Array = NDArray[np.float64]
DATA = Path(__file__).parent / "data"
CRYSTALS = {
    "tuning": ("SrTiO3_001_200kV", "Si_110_200kV"),
    "reporting": ("SrTiO3_011_200kV", "GaAs_110_200kV", "TiO2_001_80kV", "SrTiO3_001_200kV"),
}
SEEDS = {"tuning": 1711, "reporting": 901711}
FRAMES = {"tuning": 40, "reporting": 75}  # of every camera
QUICK_FRAMES = 2
THICKNESS = (5.0, 60.0)  # nm
ELECTRONS = (1e5, 1e8)
EXACT = 1e14  # electrons: a frame without noise
EXACTLY = {"debye_waller": 0.0, "energy": 0.0, "semi_angle": 0.0, "library": 0.0}
BAR = 91.0, 98.0  # % of the intervals


# ---------------------------------------------------------------- cameras


def electrons(expected: Array, rng: np.random.Generator) -> Array:
    """Counted electrons; expected (rows, cols) of them in each pixel."""
    return rng.poisson(expected).astype(float)


def spread(image: Array, sigma: float, tail: float, reach: float) -> Array:
    """Light (rows, cols) of a scintillator: a Gaussian of σ (px), a share of it in a tail exp(−r/reach)."""
    r = np.hypot(*np.indices((61, 61)) - 30)
    wide = np.exp(-r / reach)
    narrow = ndimage.gaussian_filter(image, sigma, mode="constant")
    return (1 - tail) * narrow + tail * fftconvolve(narrow, wide / wide.sum(), mode="same")


def ccd(expected: Array, rng: np.random.Generator) -> Array:
    """Counts of a scintillator with a CCD, dark image subtracted."""
    gain, sigma = rng.uniform(5, 40), rng.uniform(0.6, 1.0)
    light = spread(electrons(expected, rng), sigma, rng.uniform(0.05, 0.15), rng.uniform(1.0, 3.0))
    light *= rng.normal(1, rng.uniform(0.01, 0.02), light.shape)  # what the flat field leaves
    read_out = rng.uniform(3, 12)  # counts
    return np.round(gain * light + rng.normal(0, read_out, light.shape))


def medipix(expected: Array, rng: np.random.Generator) -> Array:
    """Counts of a pixel detector at a low threshold: of an electron near an edge or a corner several."""
    side, corner = rng.uniform(0.2, 0.5), rng.uniform(0.0, 0.15)
    image = electrons((1 - side - corner) * expected, rng)
    for step, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        two = electrons(side / 4 * expected, rng)
        image += two + np.roll(two, step, axis)
    for dy, dx in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        three = electrons(corner / 4 * expected, rng)
        image += three + np.roll(three, dy, 0) + np.roll(three, dx, 1)
    image[rng.random(image.shape) < 5e-4] = 0
    return image


def empad(expected: Array, rng: np.random.Generator) -> Array:
    """Electrons of a detector that integrates charge, in units of the mean charge of one."""
    n = electrons(expected, rng)
    width = rng.uniform(0.15, 0.35)
    # a sum of n skewed charges: Gamma with mean n and variance n·width²
    charge = np.where(n > 0, rng.gamma(np.maximum(n, 1) / width**2, width**2), 0.0)
    charge *= rng.normal(1, 0.005, n.shape)
    return charge + rng.normal(0, 0.01, n.shape)


def eight_bits(expected: Array, rng: np.random.Generator) -> Array:
    """A CCD's frame as a picture of 255 steps, of the brightest pixels a few clipped."""
    image = ccd(expected, rng)
    return np.clip(np.round(255 * image / np.quantile(image, 0.9995)), 0, 255).astype(np.uint8)


class Kind(NamedTuple):
    """A camera: how it records, and of what size its frames are (px)."""

    record: Callable[[Array, np.random.Generator], Array]
    sizes: tuple[int, ...]


CAMERAS = {
    "electrons": Kind(electrons, (128, 192, 256)),
    "CCD": Kind(ccd, (128, 192, 256)),
    "Medipix": Kind(medipix, (192, 256)),
    "EMPAD": Kind(empad, (128,)),
    "8 bits": Kind(eight_bits, (128, 192, 256)),
}


# ---------------------------------------------------------------- frames and fits


@cache
def library_of(name: str) -> Library:
    """The library of a crystal, few beams, in memory."""
    recipe = Recipe.shipped(name).model_copy(update=SOLVED)
    path = DATA / f"cameras-{name}-{recipe.checksum()[:12]}-v{VERSION}.nc"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        Library.build(recipe, slopes=False, diffuse=False).save(path)
    return Library(Library.open(path).dataset.load())


def frame_of(part: str, camera: str, i: int) -> tuple[Array, dict[str, Any], Library]:
    """A frame, its truth and the library of its crystal."""
    rng = np.random.default_rng([SEEDS[part], list(CAMERAS).index(camera), i])
    names = CRYSTALS[part]
    library = library_of(names[i % len(names)])
    tilt, azimuth = TILT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    kind = CAMERAS[camera]
    size = int(rng.choice(kind.sizes))
    thickness = float(rng.uniform(*THICKNESS))
    x, y = (size - 1) / 2 + rng.uniform(-3, 3, 2)
    image, truth = simulate_frame(
        library,
        thickness=thickness,
        tilt=(float(tilt * np.cos(azimuth)), float(tilt * np.sin(azimuth))),
        semi_angle=SEMI_ANGLE,
        shape=(size, size),
        centre=(float(x), float(y)),
        scale=float(size / (2 * SEMI_ANGLE + 16) * rng.uniform(0.8, 1.0)),
        rotation=float(rng.uniform(-5, 5)),
        blur=float(rng.uniform(0.1, 0.4)),
        electrons=EXACT,
    )
    dose = float(ELECTRONS[0] * (ELECTRONS[1] / ELECTRONS[0]) ** rng.random())
    truth |= {"electrons": dose, "size": size, "crystal": names[i % len(names)]}
    expected: Array = image.astype(float) * (dose / EXACT)
    return kind.record(expected, rng), truth, library


def fitted(part: str, camera: str, i: int, raw: bool = False) -> Row:
    """A frame fitted from near the truth, or from nothing."""
    image, truth, library = frame_of(part, camera, i)
    found: list[FitResult] = []

    def attempt() -> FitResult:
        fitter = Fitter(library, SEMI_ANGLE, sigma=EXACTLY, workers=1, seeded=not raw)
        if raw:
            found.append(fitter.fit(make_frame(image)))
            return found[0]
        camera_at = [truth[name] for name in ("centre_x", "centre_y", "scale", "rotation")]
        at = truth["thickness"] + 0.3, truth["tilt_x"] - 0.1, truth["tilt_y"] + 0.1
        found.append(fitter.refine(make_frame(image), Candidate(*at, *camera_at)))
        return found[0]

    row = judged(attempt, truth, library.rotation_order)
    row |= {key: truth[key] for key in ("electrons", "size", "crystal", "scale")} | {"camera": camera}
    if found:
        row["n_effective"] = found[0].n_effective
        row["budget"] = {key: dict(parts) for key, parts in found[0].budget.items()}
        row["noise"] = found[0].noise.to_json() if found[0].noise else {}
    return row


def kept(part: str, camera: str, frames: int, until: float, label: str, raw: bool = False) -> list[Row]:
    """Fits of the first frames of a camera: those of earlier runs, and new ones while there is time."""
    facts = [SEEDS[part], camera, list(CRYSTALS[part]), VERSION, label, raw, EXACTLY]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    DATA.mkdir(parents=True, exist_ok=True)
    path = DATA / f"cameras-{camera.replace(' ', '-')}-{key}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    with path.open("a") as file:
        for i in range(len(rows), frames):
            if time.monotonic() > until:
                break
            rows.append(fitted(part, camera, i, raw))
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
    return rows[:frames]


def tabulate(study: Study, what: str, rows: Sequence[Row], barred: bool) -> None:
    """Coverage, error and error bar."""
    good = [row for row in rows if row["status"] == "converged"]
    study.add(f"{what}: frames", len(rows), "")
    study.add(f"{what}: converged", 100 * len(good) / max(len(rows), 1), "%")
    for label, names in (("thickness", NAMES[:1]), ("tilt", NAMES[1:])):
        for share in (95, 68):
            inside = np.concatenate([column(good, f"{name}_in{share}") for name in names])
            held = 100 * float(inside.mean()) if len(inside) else float("nan")
            bar = {"at_least": BAR[0]} if barred and share == 95 else {}
            study.add(f"{what}: {share} % intervals of {label} that hold the truth", held, "%", **bar)
        pulls = np.concatenate([column(good, f"{name}_pull") for name in names])
        study.add(f"{what}: pull of {label}, mean", float(np.mean(pulls)) if len(pulls) else np.nan, "")
        study.add(f"{what}: pull of {label}, width", float(np.std(pulls)) if len(pulls) else np.nan, "")
        errors = np.concatenate([column(good, name) for name in names])
        study.add(f"{what}: error of {label}, rms", rms(errors), "nm" if label == "thickness" else "mrad")
    study.add(f"{what}: time of a fit, median", 1e3 * float(np.median(column(rows, "seconds"))), "ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--part", choices=[*SEEDS], default="reporting", help="whose frames")
    parser.add_argument("--cameras", default=",".join(CAMERAS))
    parser.add_argument("--frames", type=int, help=f"of every camera; {FRAMES['reporting']}")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after so long; go on next time")
    parser.add_argument("--raw", type=int, default=0, help="so many frames of each also by the whole route")
    parser.add_argument("--label", default="", help="keep fits apart from those of other labels")
    options = parser.parse_args(arguments)
    names = options.cameras.split(",")
    if unknown := [name for name in names if name not in CAMERAS]:
        parser.error(f"no camera {unknown[0]!r}; they are {', '.join(CAMERAS)}")
    frames = options.frames or (QUICK_FRAMES if options.quick else FRAMES[options.part])
    until = time.monotonic() + 60 * options.minutes
    study = Study("cameras", quick=options.quick)
    take = partial(kept, options.part, until=until, label=options.label)
    found = {name: take(name, frames) for name in names}
    for name, rows in found.items():
        tabulate(study, name, rows, barred=False)
    cameras = [row for name, rows in found.items() if name != "electrons" for row in rows]
    if cameras:
        tabulate(study, "all cameras", cameras, barred=options.part == "reporting")
    if options.raw:
        raw = [row for name in names for row in take(name, options.raw, raw=True)]
        tabulate(study, "all, from the raw frame", raw, barred=False)
    draw(study, found)
    return 0 if study.finish(frames=found) else 1


def draw(study: Study, found: dict[str, list[Row]]) -> None:
    """Distributions of errors over stated errors."""
    with study.figure(columns=3) as (_, axes):
        bins = np.linspace(-5, 5, 31)
        normal = np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi)
        for axis, name in zip(axes, NAMES, strict=True):
            for camera, rows in found.items():
                good = [row for row in rows if row["status"] == "converged"]
                pulls = np.clip(column(good, f"{name}_pull"), -5, 5)
                axis.hist(pulls, bins, density=True, histtype="step", label=camera)
            axis.plot(bins, normal, "k:", label="normal")
            axis.set(xlabel=f"error of {name} / stated error", ylabel="density")
        axes[0].legend(fontsize=7)


if __name__ == "__main__":
    sys.exit(main())
