"""What README.md says was measured: rows of RESULTS.md, copied between two marks."""

from __future__ import annotations

import re
from typing import NamedTuple

BEGIN, END = "<!-- measured: written by benchmarks.results -->", "<!-- end of measured -->"


class Claim(NamedTuple):
    """Words for README.md, and the row of RESULTS.md: its study, and what it says, or begins with (…)."""

    words: str
    study: str
    row: str


CLAIMS = (
    Claim("one frame, network to error bars, median", "hybrid", "hybrid: one frame, median"),
    Claim(
        "`hybridfit fit … --plot`, from the start of its process to its end",
        "startup",
        "hybridfit fit, fresh process, to the answer of one frame, and its picture",
    ),
    Claim(
        "simulated frames of 10⁶ electrons and more: within 0.5 nm and 0.1 mrad of the truth",
        "hybrid",
        "hybrid: within 0.5 nm and 0.1 mrad, ≥ 1e6 electrons",
    ),
    Claim(
        "10⁴ electrons: within 1 nm and 0.25 mrad",
        "dose",
        "1e+04 electrons: hybrid, within 1 nm and 0.25 mrad",
    ),
    Claim(
        "the same, were fits to scatter as little as the Cramér–Rao bound allows",
        "dose",
        "1e+04 electrons: Cramér–Rao bound, within 1 nm and 0.25 mrad",
    ),
    Claim("of all frames: converged, but wrong", "hybrid", "hybrid: converged, but wrong"),
    Claim(
        "frames that no fit should be sure of (vacuum, cut, another crystal): confident and wrong",
        "hybrid",
        "confident wrong answers…",
    ),
    Claim(
        "variance of thickness over the Cramér–Rao bound, 10⁴ electrons",
        "cramer_rao",
        "1e+04 electrons: variance of thickness over the bound",
    ),
    Claim("the same, 10⁸ electrons", "cramer_rao", "1e+08 electrons: variance of thickness over the bound"),
    Claim(
        "95 % intervals that hold the truth, simulated frames of 10⁴–10⁸ electrons",
        "calibration",
        "Poisson noise: 95 % intervals that hold the truth",
    ),
    Claim(
        "the same, patterns from abTEM's multislice",
        "calibration",
        "abTEM patterns: 95 % intervals that hold the truth",
    ),
    Claim(
        "patterns from abTEM's multislice, 10⁶–10⁸ electrons: thickness error, rms",
        "multislice",
        "thickness error, rms",
    ),
    Claim("the worst of them", "multislice", "thickness error, worst…"),
    Claim("measured pattern of 50–51 nm: thickness found", "measured", "01-on_zone_50-51nm: thickness"),
    Claim("61–63 nm", "measured", "05-on_zone_61-63nm: thickness"),
    Claim("94–95 nm", "measured", "09-on_zone_94-95nm: thickness"),
    Claim(
        "atoms that vibrate 30 % less (B) than the library's: bias of thickness",
        "robustness",
        "Debye–Waller factors × 0.7: bias of thickness",
    ),
    Claim(
        "a semi-angle that is 1 % smaller than was said",
        "robustness",
        "semi-angle said +1 %: bias of thickness",
    ),
    Claim(
        "an energy that is 1 % lower than the library's",
        "robustness",
        "energy 198 kV for 200: bias of thickness",
    ),
    Claim(
        "map of 64 × 64 positions, 128 × 128 px, two cores",
        "scan_maps",
        "64 × 64 positions of 128 × 128 px, in all",
    ),
    Claim("library of SrTiO3 [001], built in", "library_build", "build SrTiO3_001_200kV…"),
)


def is_row(claim: Claim, what: str) -> bool:
    """Whether a row of RESULTS.md is the one that is claimed; … stands for numbers that may change."""
    row = claim.row.removesuffix("…")
    return what.startswith(row) if row != claim.row else what == row


def rows_of(results: str) -> dict[str, list[tuple[str, str]]]:
    """What and measured of every row, by study, from the text of a RESULTS.md."""
    out: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^## ", results, flags=re.MULTILINE)[1:]:
        cells = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", part, flags=re.MULTILINE)
        out[part.split()[0]] = [(what, measured.strip()) for what, measured in cells if what != "what"]
    return out


def block(results: str) -> str:
    """The lines between the marks; a claim of which there is no row is left out."""
    rows = rows_of(results)
    lines = [BEGIN, "", "| what | measured |", "|---|---:|"]
    for claim in CLAIMS:
        found = [measured for what, measured in rows.get(claim.study, []) if is_row(claim, what)]
        if found:
            lines.append(f"| {claim.words} | {found[0]} |")
    return "\n".join([*lines, "", END])


def written_into(readme: str, results: str) -> str:
    """A README.md with the block of a RESULTS.md in the place of the one that it has."""
    begin, end = readme.find(BEGIN), readme.find(END)
    if begin < 0 or end < 0:
        return readme
    return readme[:begin] + block(results) + readme[end + len(END) :]
