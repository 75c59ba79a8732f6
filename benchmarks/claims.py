"""The tables of docs/measured.md and README.md: what was measured on which frames, best, worst, missed bars.

Everything between two marks of these files is written from RESULTS.md: all claims and missed bars in
docs/measured.md, a few of the claims in README.md.  A claim names its quantity, the frames and their dose,
and all rows of RESULTS.md that measure it; the best and the worst of these rows are shown.
"""

from __future__ import annotations

from benchmarks.rows import LEAST, MOST, SMALLEST, TIME, Claim, Row, missed, rows_of, tidy
from benchmarks.unseen_claims import AWAITED, OWN
from benchmarks.untuned_claims import UNTUNED

BEGIN, END = "<!-- measured: written by benchmarks.results -->", "<!-- end of measured -->"
SHORT_BEGIN, SHORT_END = "<!-- measured, in short: written by benchmarks.results -->", "<!-- end of short -->"
# crystal, thickness and tilt of the frames that several claims share
SIMULATED = "3–120 nm, tilt to 4.2 mrad"
NUISANCES = "12–78 nm, tilt to 2 mrad, 10 frames a case"
OTHERS = "Si and GaAs [110], SrTiO3 [011], rutile [001], simulated"
MULTISLICE = "abTEM multislice, frozen phonons"
MISLED_FAR = "converged, but off by more than 3 nm or 1 mrad"
MISLED = "converged, but off by more than 1 nm or 0.3 mrad and by more than 3 standard errors"
NM_MRAD = r"within 0\.5 nm and 0\.1 mrad"

CLAIMS = (
    *UNTUNED,
    *AWAITED,
    *OWN,
    # how far answers are from the truth
    Claim(
        "fits within 0.5 nm and 0.1 mrad of the truth",
        SIMULATED,
        "10⁶–10⁹",
        {
            "hybrid": rf"hybrid: {NM_MRAD}, (?P<where>≥ 1e6 electrons)",
            "dose": rf"(?P<where>(1e\+06|4\.5e\+06|2\.3e\+07|9\.3e\+08) electrons): hybrid, {NM_MRAD}",
            "table2": rf"(?P<where>.+ mrad): hybrid {NM_MRAD} of the truth",
        },
        MOST,
    ),
    Claim(
        "the same, with frames of 10⁵ electrons",
        SIMULATED,
        "10⁵–10⁹",
        {
            "hybrid": rf"hybrid: {NM_MRAD}, (?P<where>all frames)",
            "dose": rf"(?P<where>1e\+05 electrons): hybrid, {NM_MRAD}",
        },
        MOST,
    ),
    Claim(
        "fits within 1 nm and 0.25 mrad of the truth",
        "10–100 nm, tilt to 3 mrad, 100 frames",
        "10⁴",
        {"dose": r"1e\+04 electrons: hybrid, within 1 nm and 0\.25 mrad"},
        MOST,
    ),
    Claim(
        "the same, if fits scattered as little as the Cramér–Rao bound allows",
        "the same frames",
        "10⁴",
        {"dose": r"1e\+04 electrons: Cramér–Rao bound, within 1 nm and 0\.25 mrad"},
        MOST,
    ),
    Claim(
        "fits within 0.5 nm and 0.1 mrad of the truth",
        "six of the same crystals",
        "10³",
        {"dose": rf"1e\+03 electrons: hybrid, {NM_MRAD}"},
        MOST,
    ),
    Claim(
        "fits within 0.5 nm and 0.1 mrad of the truth, with each background model",
        f"{SIMULATED}, background of 0.4 % of the electrons per nm",
        "4.5·10⁶–9.3·10⁸",
        {"background": rf"(?P<where>.+ mrad: hybrid, [a-z-]+): {NM_MRAD}"},
        MOST,
    ),
    Claim(
        "variance of thickness and tilt over the Cramér–Rao bound",
        "three crystals, 80 frames of each at each dose",
        "10⁴–10⁸",
        {"cramer_rao": r"(?P<where>.+ electrons: variance of \w+) over the bound"},
        1.0,
    ),
    Claim(
        "thickness error, rms",
        f"{MULTISLICE}, 10–80 nm",
        "10⁶–10⁸",
        {
            "multislice": r"thickness error, rms",
            "multislice_crystals": r"(?P<where>.+): thickness error, rms",
        },
        LEAST,
    ),
    Claim(
        "thickness error, worst pattern",
        "the same patterns",
        "10⁶–10⁸",
        {
            "multislice": r"thickness error, worst of .+",
            "multislice_crystals": r"(?P<where>.+): thickness error, worst of .+",
        },
        LEAST,
    ),
    Claim(
        "error of a tilt component, worst pattern",
        "the same patterns",
        "10⁶–10⁸",
        {
            "multislice": r"tilt component error(?: (?P<where>above 15 nm))?, worst",
            "multislice_crystals": r"(?P<where>.+): tilt component error, worst",
        },
        LEAST,
    ),
    Claim(
        "measured patterns: thickness outside the range that their authors state",
        "three, of 50–51, 61–63 and 94–95 nm",
        "not stated",
        {
            "hybrid": r"(?P<where>.+): thickness outside the labelled range by",
            "measured": r"(?P<where>.+): thickness outside the labelled range by",
        },
        LEAST,
    ),
    Claim(
        "fits within 0.5 nm and 0.1 mrad, libraries without a network",
        f"{OTHERS}, 5–78 nm",
        "10⁵–10⁹",
        {"alignment": r"(?P<where>.+): fit right, 5 nm or more"},
        MOST,
    ),
    # how often a status misleads
    Claim(
        MISLED_FAR,
        SIMULATED,
        "10³–10⁹",
        {
            "hybrid": r"hybrid: converged, but wrong",
            "dose": r"(?P<where>.+): hybrid, converged, but off by > 3 nm or 1 mrad",
        },
        LEAST,
    ),
    Claim(
        f"{MISLED_FAR}; each background model",
        f"{SIMULATED}, background of 0.4 % of the electrons per nm",
        "4.5·10⁶–9.3·10⁸",
        {"background": r"(?P<where>.+): converged, but off by > 3 nm or 1 mrad"},
        LEAST,
    ),
    Claim(
        f"{MISLED_FAR}; libraries without a network",
        f"{OTHERS}, 3–78 nm",
        "10⁵–10⁹",
        {"alignment": r"(?P<where>.+): fit converged, but wrong"},
        LEAST,
    ),
    Claim(
        MISLED,
        f"{SIMULATED}; {MULTISLICE}",
        "10⁴–10⁸",
        {"calibration": r"(?P<where>.+): confident and wrong"},
        LEAST,
    ),
    Claim(
        f"{MISLED}; something is wrong that the user does not know",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>.+): confident and wrong"},
        LEAST,
    ),
    Claim(
        f"{MISLED_FAR}, or converged where there is no such crystal",
        "60 frames: vacuum, amorphous, disc cut, another crystal, semi-angle wrong by 8–12 %",
        "10⁵–10⁹",
        {"hybrid": r"confident wrong answers, .+"},
        LEAST,
    ),
    # whether error bars hold
    Claim(
        "95 % intervals that hold the truth, fits that converged; by dose, thickness, tilt, parameter",
        SIMULATED,
        "10⁴–10⁸",
        {
            "calibration": r"Poisson noise: 95 % intervals,? (?P<where>.+?)( hold the truth(, at most)?)?",
            "cramer_rao": r"(?P<where>.+ electrons): 95 % intervals that hold the truth",
        },
        95.0,
    ),
    Claim(
        "95 % intervals that hold the truth, fits that converged; by crystal",
        f"{MULTISLICE}, 10–80 nm",
        "10⁴–10⁸",
        {
            "calibration": r"(?P<where>abTEM patterns): 95 % intervals that hold the truth(, at most)?",
            "multislice": r"stated 95 % intervals that hold the truth(?:, (?P<where>of \w+))?",
            "multislice_crystals": r"(?P<where>.+): 95 % intervals that hold the truth",
        },
        95.0,
    ),
    Claim(
        "the same, SrTiO3 [001]; by dose, thickness, tilt, parameter",
        f"{MULTISLICE}, 10–80 nm",
        "10⁴–10⁸",
        {"calibration": r"abTEM patterns: 95 % intervals,? (?P<where>(?!that).+?)( that hold the truth)?"},
        95.0,
    ),
    Claim(
        "sign of a polarity right",
        "PbTiO3 [100], GaAs [110], multislice of PbTiO3; rotation known within 3°",
        "10⁶–10⁸",
        {
            "polarity": r"(?P<where>.+): sign right, 1e6 electrons",
            "multislice_crystals": r"(?P<where>.+): polarity right",
        },
        MOST,
    ),
    # bias if something is wrong that the user does not know
    Claim(
        "bias of thickness: Debye–Waller factors 30 % wrong",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>Debye–Waller factors × [\d.]+): bias of thickness"},
        SMALLEST,
    ),
    Claim(
        "bias of thickness: semi-angle 1 % wrong",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>semi-angle said .1 %): bias of thickness"},
        SMALLEST,
    ),
    Claim(
        "bias of thickness: semi-angle 3 % wrong (status poor match)",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>semi-angle said .3 %): bias of thickness"},
        SMALLEST,
    ),
    Claim(
        "bias of thickness: energy 1 % wrong",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>energy 2?\d+ kV for 200): bias of thickness"},
        SMALLEST,
    ),
    Claim(
        "bias of thickness: distortion, blur or background, fitted as by default",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>.+), (fitted, as by default|radial, the default): bias of thickness"},
        SMALLEST,
    ),
    Claim(
        "bias of thickness: the same, held at 0 or with another background model",
        NUISANCES,
        "10⁶–10⁷",
        {
            "robustness": r"(?P<where>(elliptical|source|amorphous|background).*, "
            r"(distortion held at 0|blur held at 0|none|uniform|uniform-per-nm)): bias of thickness"
        },
        SMALLEST,
    ),
    Claim(
        "bias of thickness: detector (8 bits, saturation, γ of 0.8 and 1.2)",
        NUISANCES,
        "10⁶–10⁷",
        {"robustness": r"(?P<where>detector .+): bias of thickness"},
        SMALLEST,
    ),
    # time
    Claim(
        "one frame, from the network to the error bars, median",
        "64–1024 px",
        TIME,
        {
            "hybrid": r"hybrid: one frame, median",
            "table2": r"(?P<where>.+ mrad): hybrid, one frame, median",
        },
        LEAST,
    ),
    Claim(
        "one frame, libraries without a network, median",
        OTHERS,
        TIME,
        {"alignment": r"(?P<where>.+): fit, median"},
        LEAST,
    ),
    Claim(
        "`hybridfit fit` of one file, from start to end",
        "256 × 256 px",
        TIME,
        {"startup": r"hybridfit fit, fresh process, to the answer of one frame(, (?P<where>and .+))?"},
        LEAST,
    ),
    Claim(
        "map of 64 × 64 positions",
        "128 × 128 px",
        TIME,
        {"speed": r"64 × 64 positions, from the command to the maps"},
        LEAST,
    ),
    Claim(
        "building the library, once",
        "to 125 nm, semi-angle 20 mrad",
        TIME,
        {"library_build": r"build SrTiO3_001_200kV, .+"},
        LEAST,
    ),
)


def line(claim: Claim, rows: list[Row]) -> str:
    """A claim in the table; its rows are sorted, the best first."""
    best, worst = rows[0], rows[-1]
    if len(rows) == 1:
        last = "(one row)"
    elif best.measured == worst.measured:
        last = f"the same in all {len(rows)} rows"
    else:
        last = f"{worst.measured}: {claim.where(worst)}"
    return f"| {claim.what} | {claim.frames} | {claim.dose} | {best.measured} | {last} |"


TABLE = ("| what is measured | frames | electrons | best | worst |", "|---|---|---|---:|---|")


def block(results: str) -> str:
    """The lines between the marks of docs/measured.md; a claim of which there is no row is left out."""
    rows = rows_of(results)
    lines = [BEGIN, "", *TABLE]
    for claim in CLAIMS:
        if mine := claim.sorted(rows):
            lines.append(line(claim, mine))
    if late := missed(rows):
        lines += [
            "",
            "These bars are missed:",
            "",
            "| study | what is measured | measured | bar |",
            "|---|---|---:|---:|",
        ]
        lines += [f"| `{row.study}` | {tidy(row.what)} | {row.measured} | {row.bar} |" for row in late]
    return "\n".join([*lines, "", END])


# the claims of README.md, each by a study that it has rows of, and its quantity
SHORT = (
    ("truth", "thickness error, rms"),
    ("truth", "error of a tilt component, worst"),
    ("truth", "95 % intervals of thickness or tilt that hold"),
    ("hybrid", "measured patterns: thickness outside the range that their authors state"),
    ("dose", "fits within 0.5 nm and 0.1 mrad of the truth"),
    ("dose", "fits within 1 nm and 0.25 mrad of the truth"),
    ("dose", MISLED_FAR),
    ("hybrid", "one frame, from the network to the error bars, median"),
    ("startup", "`hybridfit fit` of one file, from start to end"),
    ("speed", "map of 64 × 64 positions"),
)


def short_claims() -> list[Claim]:
    """The claims of README.md: of each quantity and study the first in the long table."""
    return [next(c for c in CLAIMS if c.what == what and study in c.rows) for study, what in SHORT]


def short_block(results: str) -> str:
    """The lines between the marks of README.md."""
    rows = rows_of(results)
    lines = [SHORT_BEGIN, "", *TABLE]
    lines += [line(claim, mine) for claim in short_claims() if (mine := claim.sorted(rows))]
    bars, late = sum(bool(row.bar) for row in rows), len(missed(rows))
    return "\n".join([*lines, "", f"{late} of {bars} bars are missed; the page lists them.", "", SHORT_END])


def written_into(text: str, results: str) -> str:
    """A file with the blocks of a RESULTS.md in the places of those that it has."""
    for begins, ends, made in ((BEGIN, END, block), (SHORT_BEGIN, SHORT_END, short_block)):
        begin, end = text.find(begins), text.find(ends)
        if begin >= 0 and end >= 0:
            text = text[:begin] + made(results) + text[end + len(ends) :]
    return text
