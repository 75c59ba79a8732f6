"""Independent PACBED patterns of SrTiO3 [001] at 200 kV, by frozen-phonon multislice with abTEM.

Nothing here uses hybridfit: the patterns are the outside opinion its simulations are held against.

A pattern is the mean, over a regular 6 x 6 grid of probe positions in the unit cell, of the
diffracted intensity; the regular grid cancels the interference of overlapping discs. Each position
is placed in another, randomly chosen cell of a large supercell, where it sees other displacements
of the atoms, so that one frozen-phonon configuration already averages over 36 of them.

Every (semi-angle, tilt) is one netCDF file, e.g. ``abtem_13.6mrad_tilt_+1.20_-0.70.nc``:

``intensity`` (thickness_nm, ky_mrad, kx_mrad), float32
    Fraction of the incident electrons in each sample. The whole pattern sums to 1 in vacuum; it is
    cropped here to |kx|, |ky| <= 45 mrad, and what scatters further is missing from the sum.
``kx_mrad``, ``ky_mrad``
    Scattering angle from the centre of the direct disc; x along a, y along b.

Sense of the tilt: ``tilt_x_mrad``, ``tilt_y_mrad`` are those of ``abtem.Probe(tilt=...)``. abTEM
leaves the direct disc at k = 0 and multiplies its propagator by exp(-2 pi i k.tan(tilt) dz), which
moves the wave by +tilt dz in each slice dz. Up to a constant phase the propagator is then
exp(-i pi lambda dz (k + tilt/lambda)^2), k in 1/Angstrom, so in the crystal's frame the mean
incident direction is +tilt: with I_g(q; t) the intensity of beam g for the incident direction q,

    P(k) = sum_g A(k - g) I_g(k - g + tilt; t).

The zone axis, centre of the Laue circle through the direct beam and of the symmetry of the direct
disc where no other overlaps it, therefore lies at k = -tilt: a +x tilt moves it towards -kx.

Set OMP_NUM_THREADS and NUMBA_NUM_THREADS to bound the cores used. A file takes about three minutes
of one core and 1 GB; those that exist are skipped, so an interrupted run is simply started again.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import abtem
import dask
import numpy as np
import xarray as xr
from ase import Atoms

ENERGY_KV = 200.0
LATTICE_A = 3.905  # Angstrom
DEBYE_WALLER_B = {"Sr": 0.62, "Ti": 0.44, "O": 0.73}  # Angstrom^2, room temperature
POSITIONS_PER_SIDE = 6
MAX_ANGLE_MRAD = 45.0
SEMI_ANGLES_MRAD = (13.6, 19.1)
TILTS_MRAD = ((1.2, -0.7), (0.0, 0.0), (-2.1, 1.6), (3.2, 1.1), (0.5, -3.4))


@dataclass(frozen=True)
class Size:
    """Cells along a side of the supercell, points along a side of a cell, thickness."""

    cells: int
    gpts_per_cell: int
    thickness_max_nm: float


FULL = Size(cells=20, gpts_per_cell=36, thickness_max_nm=80.0)  # 0.32 mrad a sample
QUICK = Size(cells=12, gpts_per_cell=36, thickness_max_nm=30.0)  # 0.54 mrad a sample


def strontium_titanate() -> Atoms:
    """Return the cubic cell, raised by a/4: each atomic plane lies in the middle of a slice."""
    r = [(0, 0, 0.25), (0.5, 0.5, 0.75), (0.5, 0.5, 0.25), (0.5, 0, 0.75), (0, 0.5, 0.75)]
    return Atoms("SrTiO3", scaled_positions=r, cell=[LATTICE_A] * 3, pbc=True)


def exit_cells(thickness_max_nm: float) -> np.ndarray:
    """Return the thicknesses recorded, in whole cells: about every 5 nm from 10 nm on."""
    return np.rint(np.arange(10.0, thickness_max_nm + 0.1, 5.0) * 10 / LATTICE_A).astype(int)


def probe_positions(cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return a regular grid over the cell, (36, 2) in Angstrom, each point in another cell."""
    n = POSITIONS_PER_SIDE
    within = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2) / n
    chosen = rng.choice(cells**2, size=n * n, replace=False)
    return (within + np.stack(np.divmod(chosen, cells), -1)) * LATTICE_A


def simulate(
    semi_angle_mrad: float, tilt_mrad: tuple[float, float], size: Size, configs: int, seed: int
) -> xr.Dataset:
    """Simulate one pattern for each thickness.

    Parameters
    ----------
    semi_angle_mrad : float, mrad
    tilt_mrad : (float, float), mrad
        As ``abtem.Probe`` takes it; see the module's docstring for its sense.
    configs : int
        Frozen-phonon configurations averaged, each with its own displacements and cells.

    Returns
    -------
    xarray.Dataset, as described in the module's docstring.
    """
    thickness_cells = exit_cells(size.thickness_max_nm)
    atoms = strontium_titanate() * (size.cells, size.cells, int(thickness_cells[-1]))
    # abTEM's sigmas are standard deviations along each Cartesian axis, B = 8 pi^2 <u_x^2>.
    sigmas = {symbol: np.sqrt(b / (8 * np.pi**2)) for symbol, b in DEBYE_WALLER_B.items()}
    rng = np.random.default_rng(seed)
    energy = 1e3 * ENERGY_KV  # eV
    total = 0.0
    for _ in range(configs):
        phonons = abtem.FrozenPhonons(atoms, 1, sigmas=sigmas, seed=int(rng.integers(2**31)))
        potential = abtem.Potential(
            phonons,
            gpts=size.cells * size.gpts_per_cell,
            slice_thickness=(LATTICE_A / 2,) * int(2 * thickness_cells[-1]),
            exit_planes=tuple(int(2 * n - 1) for n in thickness_cells),
        )
        probe = abtem.Probe(semiangle_cutoff=semi_angle_mrad, energy=energy, tilt=tilt_mrad)
        probe.grid.match(potential)
        # All positions go in one batch, so that each slice is made once, used, and forgotten.
        patterns = probe.multislice(
            potential,
            scan=abtem.CustomScan(probe_positions(size.cells, rng)),
            detectors=abtem.PixelatedDetector(max_angle=MAX_ANGLE_MRAD),
            lazy=False,
        )
        total = total + patterns.array.mean(axis=1, dtype=np.float64)

    kx_mrad, ky_mrad = patterns.angular_coordinates
    intensity = xr.DataArray(
        (total / configs).astype(np.float32),
        dims=("thickness_nm", "kx_mrad", "ky_mrad"),  # abTEM's arrays are ordered (x, y)
        coords={
            "thickness_nm": np.array(patterns.axes_metadata[0].values) / 10,
            "kx_mrad": kx_mrad.astype(float),
            "ky_mrad": ky_mrad.astype(float),
        },
    ).transpose("thickness_nm", "ky_mrad", "kx_mrad")
    crop = slice(-MAX_ANGLE_MRAD, MAX_ANGLE_MRAD)
    dataset = intensity.sel(kx_mrad=crop, ky_mrad=crop).to_dataset(name="intensity")
    return dataset.assign_attrs(
        crystal="SrTiO3 [001]",
        semi_angle_mrad=semi_angle_mrad,
        tilt_x_mrad=tilt_mrad[0],
        tilt_y_mrad=tilt_mrad[1],
        energy_kV=ENERGY_KV,
        abtem_version=abtem.__version__,
        seed=seed,
        probe_positions=POSITIONS_PER_SIDE**2,
        frozen_phonon_configurations=configs,
    )


def parse_tilts(text: str) -> list[tuple[float, float]]:
    """Read ``"1.2,-0.7;0,0"`` as a list of (x, y) tilts in mrad."""
    try:
        return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split(";"))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write x,y pairs in mrad, as '1.2,-0.7;0,0'") from None


def main() -> None:
    """Make the patterns that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--tilts", type=parse_tilts, default=TILTS_MRAD, help="'1.2,-0.7;0,0'")
    parser.add_argument("--semi-angles", type=float, nargs="+", default=SEMI_ANGLES_MRAD)
    parser.add_argument("--quick", action="store_true", help="smaller supercell, to 30 nm")
    parser.add_argument("--configs", type=int, default=1, help="frozen-phonon configurations")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    dask.config.set(scheduler="synchronous")
    abtem.config.set({"diagnostics.progress_bar": False, "fftw.threads": 1})
    args.output.mkdir(parents=True, exist_ok=True)
    runs = [(alpha, tilt) for tilt in args.tilts for alpha in args.semi_angles]
    for number, (alpha, (x, y)) in enumerate(runs, start=1):
        prefix = "abtem_quick" if args.quick else "abtem"
        path = args.output / f"{prefix}_{alpha:.1f}mrad_tilt_{x:+.2f}_{y:+.2f}.nc"
        label = f"[{number}/{len(runs)}] {path.name}"
        if path.exists():
            print(f"{label}: exists, skipped", flush=True)
            continue
        print(f"{label}: started at {time.strftime('%H:%M:%S')}", flush=True)
        start = time.perf_counter()
        # The seed depends on the run's parameters alone, so a subset gives the same files.
        key = [args.seed, *(round(1000 * value) % 2**32 for value in (alpha, x, y))]
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        dataset = simulate(alpha, (x, y), QUICK if args.quick else FULL, args.configs, seed)
        partial = path.with_suffix(".nc.tmp")
        dataset.to_netcdf(partial, engine="netcdf4", encoding={"intensity": {"zlib": True}})
        os.replace(partial, path)
        sums = dataset.intensity.values.sum(axis=(1, 2))
        took = time.perf_counter() - start
        print(f"{label}: {took:.0f} s, total {sums[0]:.3f} to {sums[-1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
