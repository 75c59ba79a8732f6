"""The studies by name, in the order in which they are run and reported."""

from __future__ import annotations

import ast
from pathlib import Path

from benchmarks.common import out_folder

HERE = Path(__file__).parent
ORDER = (
    "table2",
    "measured",
    "multislice",
    "multislice_crystals",
    "slab_shift",
    "truth",
    "far_tilts",
    "cramer_rao",
    "dose",
    "few_electrons",
    "averaging",
    "background",
    "masks",
    "explain",
    "calibration",
    "robustness",
    "budget",
    "cameras",
    "thresholds",
    "hybrid",
    "rivals",
    "alignment",
    "any_crystal",
    "own_network",
    "polarity",
    "identify",
    "disc_doubts",
    "match_odds",
    "structure",
    "structure_cost",
    "vary",
    "speed",
    "scan_maps",
    "scan_sizes",
    "scan_formats",
    "defects",
    "random_inputs",
    "fuzz_readers",
    "kills",
    "server",
    "fuzz_library",
    "fuzz_network",
    "fuzz_maps",
    "library_build",
    "new_crystal",
    "accuracy",
    "holz",
    "startup",
)


def names() -> list[str]:
    """Names of the studies in this folder."""
    return [name for name in ORDER if (HERE / f"{name}.py").exists()]


def about(name: str) -> str:
    """What a study shows: the first line of its module, which is read without importing it."""
    text = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0]


def failure(name: str) -> Path:
    """The file that says why a study crashed; a run that succeeds removes it."""
    return out_folder() / f"{name}.failed"
