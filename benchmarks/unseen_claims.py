"""Claims on crystals that nothing was trained or set on: the rows of the fits of `benchmarks.any_crystal`.

The study takes hours, most of them for the libraries of its 40 crystals.
"""

from __future__ import annotations

from benchmarks.rows import LEAST, MOST, TIME, Claim

CRYSTALS = "40 crystals without a network, that nothing was trained or set on, 60–300 kV, 3–100 nm"
FRAMES = f"{CRYSTALS}, tilt to 5 mrad"
DOSE = "10⁵–10⁸"

AWAITED = (
    Claim(
        "fits within 0.5 nm and 0.1 mrad of the truth, or within four Cramér–Rao bounds",
        FRAMES,
        DOSE,
        {"any_crystal": r"fit within 0\.5 nm and 0\.1 mrad, or four bounds, (?P<where>.+)"},
        MOST,
    ),
    Claim(
        "fits within 0.5 nm and 0.1 mrad of the truth",
        FRAMES,
        "10⁶–10⁸",
        {"any_crystal": r"fit within 0\.5 nm and 0\.1 mrad, (?P<where>≥ 1e6 electrons)"},
        MOST,
    ),
    Claim(
        "disc of the fit within 2 % of its radius in size and centre",
        FRAMES,
        DOSE,
        {"any_crystal": r"disc of the fit within 2 % in size and centre, (?P<where>.+)"},
        MOST,
    ),
    Claim(
        "converged, but off by more than 3 nm or 1 mrad",
        FRAMES,
        DOSE,
        {"any_crystal": r"fit converged, but off by more than 3 nm or 1 mrad"},
        LEAST,
    ),
    Claim(
        "converged, but off by more than 3 nm or 1 mrad, and the message does not say so",
        FRAMES,
        DOSE,
        {"any_crystal": r"fit converged, but off by more than 3 nm or 1 mrad, and its message .+"},
        LEAST,
    ),
    Claim(
        "converged, but off by more than 1 nm or 0.3 mrad and by more than 3 standard errors",
        FRAMES,
        DOSE,
        {"any_crystal": r"fit converged, but off by more than 1 nm or 0\.3 mrad and 3 standard errors"},
        LEAST,
    ),
    Claim(
        "95 % intervals of thickness or tilt that hold the truth, all fits",
        FRAMES,
        DOSE,
        {"any_crystal": r"fit: 95 % intervals that hold the truth"},
        95.0,
    ),
    Claim(
        "one frame, from the disc to the error bars, without a network of the crystal, median",
        FRAMES,
        TIME,
        {"any_crystal": r"fit of one frame, median"},
        LEAST,
    ),
)

EITHER = "SrTiO3 [001] and Si [110], 80 frames each, by its own network and by the match of its library"
OWN = (
    Claim(
        "fits within 0.5 nm and 0.1 mrad of the truth",
        EITHER,
        "10⁶–10⁹",
        {"own_network": r"(?P<where>.+): within 0\.5 nm and 0\.1 mrad, ≥ 1e6 electrons, by (its|the) .+"},
        MOST,
    ),
    Claim(
        "converged, but off by more than 3 nm or 1 mrad",
        EITHER,
        "10⁵–10⁹",
        {"own_network": r"(?P<where>.+): converged, but wrong, by (its|the) .+"},
        LEAST,
    ),
    Claim(
        "one frame, to the error bars, median",
        EITHER,
        TIME,
        {"own_network": r"(?P<where>.+): one frame, median, by (its own network|the match)"},
        LEAST,
    ),
    Claim(
        "`hybridfit new`, from a CIF to a tested recipe",
        "Cu [001], ZnO [100] and anatase [100] at 200 kV and 13.6 mrad",
        TIME,
        {"new_crystal": r"(?P<where>.+): from the CIF to a tested recipe"},
        LEAST,
    ),
)
