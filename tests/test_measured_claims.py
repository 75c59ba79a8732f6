"""What README.md claims to be measured is in RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

claims = pytest.importorskip("benchmarks.claims")
ROOT = Path(__file__).parents[1]


def test_the_claims_of_the_readme_are_rows_of_the_results():
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = claims.rows_of(results)
    for claim in claims.CLAIMS:
        found = [what for what, _ in rows[claim.study] if claims.is_row(claim, what)]
        assert len(found) == 1, f"{claim.row!r} is {len(found)} rows of {claim.study}"
    assert claims.block(results) in readme


def test_only_what_is_between_the_marks_is_written():
    results = "## hybrid\n\n| what | measured | bar | |\n|---|---:|---:|---|\n"
    results += "| hybrid: one frame, median | 12 ms | 120 ms | met |\n"
    readme = f"before\n{claims.BEGIN}\nold\n{claims.END}\nafter\n"
    written = claims.written_into(readme, results)
    assert written.startswith("before\n") and written.endswith("after\n")
    assert "old" not in written and "| 12 ms |" in written
    assert claims.written_into(written, results) == written
    assert claims.written_into("without marks", results) == "without marks"
