"""Frozen-phonon multislice with abTEM: an independent simulation to compare hybridfit with.

Nothing here uses hybridfit.  A pattern is the mean, over a regular 6 x 6 grid of probe positions in
the unit cell, of the diffracted intensity; the regular grid cancels the interference of overlapping
discs.  Each position is placed in another, randomly chosen cell of a large supercell, where it sees
other displacements of the atoms, so that one frozen-phonon configuration already averages over 36 of
them.

A dataset has

``intensity`` (thickness_nm, ky_mrad, kx_mrad), float32
    Fraction of the incident electrons in each sample. The whole pattern sums to 1 in vacuum; it is
    cropped here to |kx|, |ky| <= 45 mrad, and what scatters further is missing from the sum.
``kx_mrad``, ``ky_mrad``
    Scattering angle from the centre of the direct disc; x and y along those of the cell.

Sense of the tilt: ``tilt_x_mrad``, ``tilt_y_mrad`` are those of ``abtem.Probe(tilt=...)``. abTEM
leaves the direct disc at k = 0 and multiplies its propagator by exp(-2 pi i k.tan(tilt) dz), which
moves the wave by +tilt dz in each slice dz. Up to a constant phase the propagator is then
exp(-i pi lambda dz (k + tilt/lambda)^2), k in 1/Angstrom, so in the crystal's frame the mean
incident direction is +tilt: with I_g(q; t) the intensity of beam g for the incident direction q,

    P(k) = sum_g A(k - g) I_g(k - g + tilt; t).

The zone axis, centre of the Laue circle through the direct beam and of the symmetry of the direct
disc where no other overlaps it, therefore lies at k = -tilt: a +x tilt moves it towards -kx.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import abtem
import dask
import numpy as np
import xarray as xr
from abtem.parametrizations import LobatoParametrization
from ase import Atoms

POSITIONS_PER_SIDE = 6
MAX_ANGLE_MRAD = 45.0


@dataclass(frozen=True)
class Specimen:
    """An orthogonal cell, the beam along z, and the supercell that it is repeated in.

    name : what it is, and seen along which zone axis
    atoms : its planes lie in the middle of two equal slices of the cell
    debye_waller : element to B (Angstrom^2)
    cells : cells along x and y
    gpts : points along x and y of the supercell
    thickness_nm : thicknesses wanted; recorded at whole cells
    """

    name: str
    atoms: Atoms
    debye_waller: Mapping[str, float]
    energy_kv: float
    cells: tuple[int, int]
    gpts: tuple[int, int]
    thickness_nm: tuple[float, ...]


def probe_positions(specimen: Specimen, rng: np.random.Generator) -> np.ndarray:
    """Return a regular grid over the cell, (36, 2) in Angstrom, each point in another cell."""
    n = POSITIONS_PER_SIDE
    within = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2) / n
    chosen = rng.choice(int(np.prod(specimen.cells)), size=n * n, replace=False)
    return (within + np.stack(np.divmod(chosen, specimen.cells[1]), -1)) * specimen.atoms.cell.lengths()[:2]


def simulate(
    specimen: Specimen, semi_angle_mrad: float, tilt_mrad: tuple[float, float], configs: int, seed: int
) -> xr.Dataset:
    """Simulate one pattern for each thickness.

    Parameters
    ----------
    specimen : Specimen
    semi_angle_mrad : float, mrad
    tilt_mrad : (float, float), mrad
        As ``abtem.Probe`` takes it; see the module's docstring for its sense.
    configs : int
        Frozen-phonon configurations averaged, each with its own displacements and cells.  0: the atoms
        are at rest, their potential smeared by the Debye-Waller factor; only elastic scattering is left.

    Returns
    -------
    xarray.Dataset, as described in the module's docstring.
    """
    height = float(specimen.atoms.cell.lengths()[2])
    exits = np.rint(np.array(specimen.thickness_nm) * 10 / height).astype(int)
    atoms = specimen.atoms * (*specimen.cells, int(exits[-1]))
    # abTEM's sigmas are standard deviations along each Cartesian axis, B = 8 pi^2 <u_x^2>.
    sigmas = {symbol: np.sqrt(b / (8 * np.pi**2)) for symbol, b in specimen.debye_waller.items()}
    rng = np.random.default_rng(seed)
    energy = 1e3 * specimen.energy_kv  # eV
    total = 0.0
    for _ in range(max(configs, 1)):
        at_rest = LobatoParametrization(sigmas=sigmas)
        phonons = abtem.FrozenPhonons(atoms, 1, sigmas=sigmas, seed=int(rng.integers(2**31)))
        potential = abtem.Potential(
            phonons if configs else atoms,
            parametrization="lobato" if configs else at_rest,
            gpts=specimen.gpts,
            slice_thickness=(height / 2,) * int(2 * exits[-1]),
            exit_planes=tuple(int(2 * n - 1) for n in exits),
        )
        probe = abtem.Probe(semiangle_cutoff=semi_angle_mrad, energy=energy, tilt=tilt_mrad)
        probe.grid.match(potential)
        # All positions go in one batch, so that each slice is made once, used, and forgotten.
        patterns = probe.multislice(
            potential,
            scan=abtem.CustomScan(probe_positions(specimen, rng)),
            detectors=abtem.PixelatedDetector(max_angle=MAX_ANGLE_MRAD),
            lazy=False,
        )
        total = total + patterns.array.mean(axis=1, dtype=np.float64)

    kx_mrad, ky_mrad = patterns.angular_coordinates
    intensity = xr.DataArray(
        (total / max(configs, 1)).astype(np.float32),
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
        crystal=specimen.name,
        semi_angle_mrad=semi_angle_mrad,
        tilt_x_mrad=tilt_mrad[0],
        tilt_y_mrad=tilt_mrad[1],
        energy_kV=specimen.energy_kv,
        abtem_version=abtem.__version__,
        seed=seed,
        probe_positions=POSITIONS_PER_SIDE**2,
        frozen_phonon_configurations=configs,
    )


def keep(path: Path, label: str, make: Callable[[], xr.Dataset]) -> None:
    """Write the dataset that `make` returns, unless the file exists; an interrupted write leaves no file."""
    if path.exists():
        print(f"{label}: exists, skipped", flush=True)
        return
    print(f"{label}: started at {time.strftime('%H:%M:%S')}", flush=True)
    start = time.perf_counter()
    dataset = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".nc.tmp")
    dataset.to_netcdf(partial, engine="netcdf4", encoding={"intensity": {"zlib": True}})
    os.replace(partial, path)
    sums = dataset.intensity.values.sum(axis=(1, 2))
    took = time.perf_counter() - start
    print(f"{label}: {took:.0f} s, total {sums[0]:.3f} to {sums[-1]:.3f}", flush=True)


def seed_of(*numbers: float) -> int:
    """A seed from the parameters of a run, so that a subset of the runs makes the same files."""
    key = [round(1000 * value) % 2**32 for value in numbers]
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def one_thread() -> None:
    """Keep abTEM quiet, and to one core."""
    dask.config.set(scheduler="synchronous")
    abtem.config.set({"diagnostics.progress_bar": False, "fftw.threads": 1})


def parse_tilts(text: str) -> list[tuple[float, float]]:
    """Read ``"1.2,-0.7;0,0"`` as a list of (x, y) tilts in mrad."""
    try:
        return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split(";"))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write x,y pairs in mrad, as '1.2,-0.7;0,0'") from None
