"""Independent PACBED patterns of other crystals than SrTiO3, by frozen-phonon multislice with abTEM.

    PbTiO3 [100], 200 kV       x along c; polarity +1: oxygen is moved towards +c, −1: towards −c
    Si [110], 200 kV           x along c
    TiO2 (rutile) [001], 80 kV x along a, 45° from the [110] of the library

Every (crystal, tilt) is one netCDF file, e.g. ``crystal_Si_110_200kV_tilt_+1.00_-0.60.nc``;
`benchmarks.frozen_phonons` says what is in it.  A file takes about six minutes of one core and 1 GB;
those that exist are skipped.

Run with: python -m benchmarks.abtem_crystals [--only NAME]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from ase import Atoms

from benchmarks.frozen_phonons import Specimen, keep, one_thread, seed_of, simulate

THICKNESS_NM = (15.0, 22.5, 30.0, 37.5, 45.0, 52.5, 60.0)


class Case(NamedTuple):
    """A library's name, the specimen, the polarity of it, semi-angle and tilt (mrad)."""

    library: str
    specimen: Specimen
    polarity: int
    semi_angle: float
    tilt: tuple[float, float]

    @property
    def file(self) -> str:
        """Name of the file."""
        sign = {1: "_plus", -1: "_minus", 0: ""}[self.polarity]
        return f"crystal_{self.library}{sign}_tilt_{self.tilt[0]:+.2f}_{self.tilt[1]:+.2f}.nc"


def lead_titanate(polarity: int) -> Specimen:
    """P4mm; x: c, y: b, z: a.  Raised by a/4, so that each plane lies in the middle of a slice."""
    sites = [
        ("Pb", 0.0, 0.0, 0.0),
        ("Ti", 0.5, 0.5, 0.538),
        ("O", 0.5, 0.5, 0.112),
        ("O", 0.5, 0.0, 0.617),
        ("O", 0.0, 0.5, 0.617),
    ]
    r = [(polarity * z % 1, y, (x + 0.25) % 1) for _, x, y, z in sites]
    atoms = Atoms([s[0] for s in sites], scaled_positions=r, cell=(4.156, 3.902, 3.902), pbc=True)
    b = {"Pb": 0.9, "Ti": 0.4, "O": 0.7}
    return Specimen("PbTiO3 [100]", atoms, b, 200.0, (15, 16), (800, 800), THICKNESS_NM)


def silicon() -> Specimen:
    """Along [110]; x: [001], y: [1-10]/2, z: [110]/2."""
    a, d = 5.431, 5.431 / 2**0.5
    r = [(0, 0, 0.25), (0.5, 0.5, 0.75), (0.25, 0, 0.75), (0.75, 0.5, 0.25)]
    atoms = Atoms("Si4", scaled_positions=r, cell=(a, d, d), pbc=True)
    return Specimen("Si [110]", atoms, {"Si": 0.46}, 200.0, (12, 16), (800, 800), THICKNESS_NM)


def rutile() -> Specimen:
    """Along [001]."""
    u = 0.305
    ti, o = [(0, 0, 0.25), (0.5, 0.5, 0.75)], [(u, u, 0.25), (1 - u, 1 - u, 0.25)]
    o += [(0.5 + u, 0.5 - u, 0.75), (0.5 - u, 0.5 + u, 0.75)]
    atoms = Atoms("Ti2O4", scaled_positions=ti + o, cell=(4.594, 4.594, 2.959), pbc=True)
    return Specimen("TiO2 [001]", atoms, {"Ti": 0.45, "O": 0.55}, 80.0, (16, 16), (900, 900), THICKNESS_NM)


def cases() -> list[Case]:
    """All of them."""
    plus, minus, si, tio2 = lead_titanate(1), lead_titanate(-1), silicon(), rutile()
    return [
        Case("Si_110_200kV", si, 0, 13.6, (1.0, -0.6)),
        Case("TiO2_001_80kV", tio2, 0, 18.0, (1.3, 0.7)),
        Case("PbTiO3_100_200kV", plus, 1, 13.6, (0.9, 0.6)),
        Case("PbTiO3_100_200kV", minus, -1, 13.6, (-1.2, 0.8)),
        Case("Si_110_200kV", si, 0, 13.6, (-0.4, 1.8)),
        Case("TiO2_001_80kV", tio2, 0, 18.0, (-0.5, 2.0)),
        Case("PbTiO3_100_200kV", plus, 1, 13.6, (-1.6, -0.5)),
    ]


def main() -> None:
    """Make the patterns that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--only", help="libraries whose name begins with this")
    parser.add_argument("--configs", type=int, default=2, help="frozen-phonon configurations")
    args = parser.parse_args()
    one_thread()
    for case in cases():
        if args.only and not case.library.startswith(args.only):
            continue

        def make(case: Case = case):
            seed = seed_of(*case.file.encode())
            data = simulate(case.specimen, case.semi_angle, case.tilt, args.configs, seed)
            return data.assign_attrs(library=case.library, polarity=case.polarity)

        keep(args.output / case.file, case.file, make)


if __name__ == "__main__":
    main()
