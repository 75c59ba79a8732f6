"""Independent PACBED patterns of SrTiO3 [001] at 200 kV, by frozen-phonon multislice with abTEM.

Every (semi-angle, tilt) is one netCDF file, e.g. ``abtem_13.6mrad_tilt_+1.20_-0.70.nc``;
`benchmarks.frozen_phonons` says what is in it.

Set OMP_NUM_THREADS and NUMBA_NUM_THREADS to bound the cores used. A file takes about five minutes
of one core and 1 GB; those that exist are skipped, so an interrupted run is simply started again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms

from benchmarks.frozen_phonons import Specimen, keep, one_thread, parse_tilts, simulate

LATTICE_A = 3.905  # Angstrom
DEBYE_WALLER_B = {"Sr": 0.62, "Ti": 0.44, "O": 0.73}  # Angstrom^2, room temperature
GPTS_PER_CELL = 48  # with 36, which cuts the potential off at 3 per Å, crystals come out 1 % thinner
SEMI_ANGLES_MRAD = (13.6, 19.1)
TILTS_MRAD = ((1.2, -0.7), (0.0, 0.0), (-2.1, 1.6), (3.2, 1.1), (0.5, -3.4))


def strontium_titanate(cells: int, thickness_max_nm: float) -> Specimen:
    """The cubic cell, raised by a/4: each atomic plane lies in the middle of a slice."""
    r = [(0, 0, 0.25), (0.5, 0.5, 0.75), (0.5, 0.5, 0.25), (0.5, 0, 0.75), (0, 0.5, 0.75)]
    return Specimen(
        "SrTiO3 [001]",
        Atoms("SrTiO3", scaled_positions=r, cell=[LATTICE_A] * 3, pbc=True),
        DEBYE_WALLER_B,
        200.0,
        (cells, cells),
        (cells * GPTS_PER_CELL,) * 2,
        tuple(np.arange(10.0, thickness_max_nm + 0.1, 5.0).tolist()),
    )


FULL = strontium_titanate(cells=20, thickness_max_nm=80.0)  # 0.32 mrad a sample
QUICK = strontium_titanate(cells=12, thickness_max_nm=30.0)  # 0.54 mrad a sample


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

    one_thread()
    runs = [(alpha, tilt) for tilt in args.tilts for alpha in args.semi_angles]
    for number, (alpha, (x, y)) in enumerate(runs, start=1):
        prefix = "abtem_quick" if args.quick else "abtem"
        path = args.output / f"{prefix}_{alpha:.1f}mrad_tilt_{x:+.2f}_{y:+.2f}.nc"
        key = [args.seed, *(round(1000 * value) % 2**32 for value in (alpha, x, y))]
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])

        def make(alpha: float = alpha, x: float = x, y: float = y, seed: int = seed):
            return simulate(QUICK if args.quick else FULL, alpha, (x, y), args.configs, seed)

        keep(path, f"[{number}/{len(runs)}] {path.name}", make)


if __name__ == "__main__":
    main()
