"""How long `hybridfit new` takes from a CIF to a tested recipe.

Each crystal is a fresh process with an empty cache: convergence, the library, and the fits that test it.

Run with: python -m benchmarks.new_crystal [--quick]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Study, new_parser
from hybridfit.library.recipe import shipped_folder

# a metal of one atom, an oxide without a centre of symmetry, one of twelve atoms
CASES = {"Cu_fcc": (0, 0, 1), "ZnO": (1, 0, 0), "TiO2_anatase": (1, 0, 0)}
QUICK_CASES = ("Cu_fcc",)
ENERGY, SEMI_ANGLE = 200.0, 13.6  # kV, mrad
LONGEST = 180.0  # s


def new(name: str, folder: Path) -> tuple[float, bool]:
    """How long it takes (s), and whether the recipe was made and its test passed."""
    command = [sys.executable, "-m", "hybridfit", "new", str(shipped_folder() / "training" / f"{name}.cif")]
    command += ["--zone", ",".join(map(str, CASES[name])), "--energy", f"{ENERGY:g}"]
    command += ["--semi-angle", f"{SEMI_ANGLE:g}", "-o", str(folder / "made"), "-q"]
    start = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | {"HYBRIDFIT_CACHE": str(folder / "cache")}, capture_output=True, check=False
    )
    seconds = time.perf_counter() - start
    return seconds, done.returncode == 0 and len(list((folder / "made").glob("*.toml"))) == 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    options = new_parser(__doc__).parse_args(arguments)
    study, found = Study("new_crystal", quick=options.quick), []
    for name in QUICK_CASES if options.quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            seconds, made = new(name, Path(folder))
        zone = " ".join(map(str, CASES[name]))
        study.add(f"{name} [{zone}]: from the CIF to a tested recipe", seconds, "s", at_most=LONGEST)
        study.add(f"{name} [{zone}]: recipes made and tested", int(made), "", at_least=1)
        found.append({"crystal": name, "seconds": seconds, "made": made})
    return 0 if study.finish(crystals=found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
