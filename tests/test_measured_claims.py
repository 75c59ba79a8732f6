"""What docs/measured.md and README.md claim is what RESULTS.md says: doses, worst rows, missed bars."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

claims = pytest.importorskip("benchmarks.claims")
rows_module = pytest.importorskip("benchmarks.rows")
ROOT = Path(__file__).parents[1]
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
MEASURED = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = rows_module.rows_of(RESULTS)
# claims of a study that takes hours count as soon as it has a row of any of them
AWAITED = claims.AWAITED if not any(c.matches(row) for c in claims.AWAITED for row in ROWS) else ()
CLAIMS = [claim for claim in claims.CLAIMS if claim not in AWAITED]
TIMES = ("ms", "s", "min")
# rows of these kinds may not be left out of docs/measured.md because they look bad
KINDS = (
    "confident and wrong",
    "confident wrong",
    "converged, but",
    "95 % intervals",
    "over the bound",
    "fit right",
    "bias of thickness",
    "hybrid, within",
    "hybrid: within",
    "thickness error, ",
    "tilt component error",
    "converged and wrong",
)
# but those of frames that thresholds are set on, of a remedy that is tried, of frames with nothing wrong, and
# of studies of structural parameters
BESIDE = re.compile(
    r"tuning, .*|.*tilt component error above 12 nm, rms"
    r"|.*(B|semi-angle) fitted: bias of thickness|nothing wrong: bias of thickness|.* error, (rms|median)"
    r"|.*95th percentile|(octahedral|La/Sr).*|network.*|.*full search.*"
)
# where the electrons of a study's frames are written: a module and a constant of it
DOSES = {
    "hybrid": ("frames", "ELECTRONS"),
    "alignment": ("frames", "ELECTRONS"),
    "calibration": ("calibration_frames", "ELECTRONS"),
    "robustness": ("nuisances", "ELECTRONS"),
    "multislice_crystals": ("multislice_crystals", "ELECTRONS"),
    "background": ("papers", "DOSES"),
    "table2": ("papers", "DOSES"),
    "cramer_rao": ("cramer_rao", "DOSES"),
    "truth": ("truth", "ELECTRONS"),
    "far_tilts": ("far_frames", "ELECTRONS"),
    "budget": ("budget", "ELECTRONS"),
    "few_electrons": ("few_electrons", "ELECTRONS"),
    "averaging": ("averaging", "ELECTRONS"),
    "cameras": ("cameras", "ELECTRONS"),
    "any_crystal": ("unseen_frames", "ELECTRONS"),
}


def constant(module: str, name: str) -> tuple[float, ...]:
    """A constant of a study, which is not imported."""
    tree = ast.parse((ROOT / "benchmarks" / f"{module}.py").read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    values = [node.value for node in assigned if ast.unparse(node.targets[0]) == name]
    return tuple(ast.literal_eval(values[0]))


def dose_range(dose: str) -> tuple[float, float]:
    """The least and the most electrons of a dose such as 4.5·10⁶–9.3·10⁸."""
    plain = dose.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    found = [float(a or 1) * 10.0 ** int(b) for a, b in re.findall(r"(?:([\d.]+)·)?10(\d+)", plain)]
    return found[0], found[-1]


def name_of(claim) -> str:
    """What pytest calls a claim."""
    return f"{claim.what}, {claim.dose}"[:60]


def test_the_table_of_measured_values_is_the_one_of_the_results():
    assert claims.block(RESULTS) in MEASURED


def test_the_short_table_of_the_readme_is_a_part_of_the_long_one():
    block = claims.short_block(RESULTS)
    assert block in README and "docs/measured.md" in README
    lines = [text for text in block.splitlines() if text.startswith("| ")][1:]
    assert len(lines) == len(claims.SHORT) and set(lines) <= set(MEASURED.splitlines())
    late = len(rows_module.missed(ROWS))
    assert f"{late} of {sum(bool(row.bar) for row in ROWS)} bars are missed" in README


def test_the_short_table_hides_no_failure():
    """Errors, intervals that do not hold and answers that mislead are in it, not only what is good."""
    what = [claim.what for claim in claims.short_claims()]
    for kind in ("thickness error", "95 % intervals", "converged, but off", "measured patterns", "tilt"):
        assert any(kind in each for each in what)


def test_rows_of_a_study_have_names_of_their_own():
    counts = Counter((row.study, row.what) for row in ROWS)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("claim", CLAIMS, ids=name_of)
def test_every_claim_has_rows_a_definition_and_a_dose(claim):
    rows = [row for row in ROWS if claim.matches(row)]
    assert {row.study for row in rows} == set(claim.rows), "a study of the claim has no such row"
    units = {row.measured.split()[-1] for row in rows if " " in row.measured}
    assert len(units) <= 1
    assert re.search(r"nm|px|°|the same|semi-angle|crystals|\]", claim.frames)
    if units & set(TIMES):
        assert claim.dose == rows_module.TIME
    else:
        assert re.search(r"10[⁰¹²³⁴⁵⁶⁷⁸⁹]|not stated|no noise", claim.dose)


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if "10" in claim.dose], ids=name_of)
def test_doses_are_those_of_the_frames(claim):
    low, high = dose_range(claim.dose)
    for row in ROWS:
        if not claim.matches(row) or row.study not in DOSES:
            continue
        own = constant(*DOSES[row.study])
        above = re.search(r"≥ ([\d.e+]+) electrons", row.what)
        least = float(above[1]) if above else min(own)
        assert low <= least * 1.001 and max(own) <= high * 1.001


@pytest.mark.parametrize("claim", CLAIMS, ids=name_of)
def test_the_worst_row_stands_beside_the_best(claim):
    rows = [row for row in ROWS if claim.matches(row)]
    target = {rows_module.MOST: float("inf"), rows_module.LEAST: float("-inf"), rows_module.SMALLEST: 0.0}
    best = target.get(claim.best, claim.best)
    if best == float("inf"):
        worst = min(rows, key=lambda row: row.value)
    elif best == float("-inf"):
        worst = max(rows, key=lambda row: row.value)
    else:
        worst = max(rows, key=lambda row: abs(row.value - best))
    start = f"| {claim.what} | {claim.frames} | {claim.dose} |"
    line = next(text for text in MEASURED.splitlines() if text.startswith(start))
    assert worst.measured in line
    if len({row.measured for row in rows}) > 1:
        assert any(f"`{row.study}`" in line for row in rows if row.measured == worst.measured)


def test_no_row_of_a_kind_that_is_claimed_is_left_out():
    left_out = [
        f"{row.study}: {row.what}"
        for row in ROWS
        if any(kind in row.what for kind in KINDS)
        and not BESIDE.fullmatch(row.what)
        and not any(claim.matches(row) for claim in claims.CLAIMS)
    ]
    assert left_out == []


def test_every_missed_bar_is_listed():
    late = [line for line in RESULTS.splitlines() if line.endswith("| **missed** |")]
    assert len(late) == len(rows_module.missed(ROWS)) > 0
    for row in rows_module.missed(ROWS):
        assert f"| `{row.study}` | {rows_module.tidy(row.what)} | {row.measured} | {row.bar} |" in MEASURED


def test_only_what_is_between_the_marks_is_written():
    results = "## hybrid\n\n| what | measured | bar | |\n|---|---:|---:|---|\n"
    results += "| hybrid: one frame, median | 123 ms | 120 ms | **missed** |\n"
    readme = f"before\n{claims.BEGIN}\nold\n{claims.END}\nafter\n"
    written = claims.written_into(readme, results)
    assert written.startswith("before\n") and written.endswith("after\n")
    assert "old" not in written and "| 123 ms | (one row) |" in written and "| 123 ms | 120 ms |" in written
    assert claims.written_into(written, results) == written
    assert claims.written_into("without marks", results) == "without marks"
    short = claims.written_into(f"a\n{claims.SHORT_BEGIN}\nold\n{claims.SHORT_END}\nb\n", results)
    assert short.startswith("a\n") and short.endswith("b\n") and "old" not in short
    assert "| 123 ms | (one row) |" in short and "1 of 1 bars are missed" in short
