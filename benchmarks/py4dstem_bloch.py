"""py4DSTEM's Bloch waves, for comparison in `benchmarks.rivals`.

py4DSTEM gets hybridfit's structure factors, with absorption, so that both compute the same intensities.  A
second run uses its own (Weickenmeier & Kohl, thermal diffuse absorption).

py4DSTEM needs an older NumPy than hybridfit's dependencies.  It has its own environment in
`benchmarks/data`, made once, and `py4dstem_script.py` runs it there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from benchmarks.bloch_problem import BlochProblem
from hybridfit.physics.structure_factors import structure_factors

ENVIRONMENT = Path(__file__).parent / "data" / "env-py4dstem"
PACKAGES = ("py4DSTEM>=0.14,<0.15", "numpy<2")
SCRIPT = Path(__file__).with_name("py4dstem_script.py")
MAKING, RUNNING = 600, 300  # s, at most


class Unavailable(Exception):
    """py4DSTEM cannot be installed or does not run; the message says why."""


def interpreter() -> Path:
    """The Python that has py4DSTEM; its environment is made if there is none."""
    python = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"
    whole = ENVIRONMENT / "whole"  # written last
    if not whole.exists():
        ENVIRONMENT.parent.mkdir(exist_ok=True)
        _run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], MAKING)
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], MAKING)
        whole.touch()
    return python


def bloch_waves(name: str, directions: int) -> dict[str, Any]:
    """Seconds per direction on one core, and the largest differences of the strongest beams.

    Raises
    ------
    Unavailable
        There is no py4DSTEM.
    """
    python, given = interpreter(), BlochProblem.of(name, directions)
    structure, recipe = given.structure, given.recipe
    u_hkl = np.unique((given.hkl[:, None] - given.hkl[None, :]).reshape(-1, 3), axis=0)
    elastic, absorptive = structure_factors(structure, -u_hkl, recipe.energy_kv)
    numbers = np.array([gemmi.Element(element).atomic_number for element in structure.elements])
    sigma_z, first = np.unique(numbers, return_index=True)
    asked = {
        "positions": structure.positions,
        "numbers": numbers,
        "cell": structure.direct_basis,
        "energy_ev": given.energy,
        "sigma_z": sigma_z,
        "sigma": np.sqrt(np.asarray(structure.debye_waller)[first] / (8 * np.pi**2)),
        "reach": 2 * recipe.g_max + 0.1,
        "zone": np.array(recipe.zone),
        "hkl": given.hkl,
        "thickness_a": 10 * given.thickness,
        "beam_directions": given.beam_directions,
        "u_hkl": u_hkl,
        "u": elastic + 1j * absorptive,
    }
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "asked.npz", Path(folder) / "answer.npz"
        np.savez(question, **asked)
        _run([python, "-I", SCRIPT, question, answer], RUNNING)
        with np.load(answer) as stored:
            theirs = dict(stored)
    ours = given.solved(double=True)
    return {
        "seconds": float(theirs["seconds"]),
        "difference": {
            "hybridfit's structure factors": given.difference(theirs["given"], ours),
            "its own, Weickenmeier and Kohl": given.difference(theirs["own"], ours),
        },
        "directions": directions,
        "version": str(theirs["version"]),
    }


def _run(command: list[str | Path], seconds: float) -> None:
    """Run a command on one core; an error becomes one line."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        subprocess.run(
            [str(part) for part in command],
            env=os.environ | limits,
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} took more than {seconds:.0f} s") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(last[:200]) from None
    except OSError as error:
        raise Unavailable(str(error)) from None
