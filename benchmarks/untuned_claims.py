"""Claims of docs/measured.md on data that nothing was tuned to: answers and error bars."""

from __future__ import annotations

from benchmarks.rows import LEAST, SMALLEST, Claim

EXACT = "multislice with exact potentials"
PHONONS = f"{EXACT} and phonons, 3–60 nm, other crystals and tilts than thresholds are set on"
OTHER_B = f"{EXACT} and phonons, 3–60 nm, SrTiO3 that vibrates 30 % more or 25 % less than the recipe says"
SILENT = f"{EXACT}, mean wave, 8–60 nm"


def _truth(part: str, frames: str, dose: str) -> tuple[Claim, ...]:
    """Errors of thickness and tilt in a part of `truth`."""
    of = rf"{part}, (?P<where>.+)"
    return (
        Claim("thickness error, rms", frames, dose, {"truth": rf"{of}: thickness error, rms of .+"}, LEAST),
        Claim("thickness error, mean", frames, dose, {"truth": rf"{of}: thickness error, mean"}, SMALLEST),
        Claim("thickness error, worst", frames, dose, {"truth": rf"{of}: thickness error, worst.*"}, LEAST),
        Claim(
            "error of a tilt component, worst",
            frames,
            dose,
            {"truth": rf"{of}: tilt component error(?: above 12 nm)?, worst"},
            LEAST,
        ),
    )


def _held(part: str, frames: str) -> tuple[Claim, ...]:
    """Intervals in a part of `truth`, all fits counted."""
    return tuple(
        Claim(
            f"{share} % intervals of thickness or tilt that hold",
            frames,
            "10⁶–10⁸",
            {"truth": rf"{part}, (?P<where>.+: {share} % intervals of (thickness|tilt)) that hold"},
            float(share),
        )
        for share in (95, 68)
    )


FAR = f"{EXACT} and phonons, 8–60 nm, tilts of 5–15 mrad, SrTiO3, MgO and GaN"
_FAR_ROW = r"(?P<where>.+, from (the frame|near))"
FAR_TILTS = (
    Claim(
        "thickness error, rms", FAR, "10⁷", {"far_tilts": rf"{_FAR_ROW}: thickness error, rms of .+"}, LEAST
    ),
    Claim(
        "thickness error, mean", FAR, "10⁷", {"far_tilts": rf"{_FAR_ROW}: thickness error, mean"}, SMALLEST
    ),
    Claim("thickness error, worst", FAR, "10⁷", {"far_tilts": rf"{_FAR_ROW}: thickness error, worst"}, LEAST),
    Claim(
        "error of a tilt component, rms",
        FAR,
        "10⁷",
        {"far_tilts": rf"{_FAR_ROW}: tilt component error, rms"},
        LEAST,
    ),
    Claim(
        "error of a tilt component, worst",
        FAR,
        "10⁷",
        {"far_tilts": rf"{_FAR_ROW}: tilt component error, worst"},
        LEAST,
    ),
    Claim(
        "95 % intervals of thickness or tilt that hold",
        FAR,
        "10⁷",
        {"far_tilts": r"(?P<where>.+: 95 % intervals of (thickness|tilt)) that hold"},
        95.0,
    ),
    Claim(
        "converged, but off by more than 0.5 nm or 0.1 mrad and by more than 3 standard errors",
        FAR,
        "10⁷",
        {"far_tilts": rf"{_FAR_ROW}: converged and wrong"},
        LEAST,
    ),
)


UNTUNED = (
    *_truth("reporting", PHONONS, "10⁶–10⁸"),
    *_held("reporting", PHONONS),
    *_truth("wrong B", OTHER_B, "10⁶–10⁸"),
    *_held("wrong B", OTHER_B),
    *_truth("mean wave", SILENT, "no noise"),
    Claim(
        "95 % intervals of thickness or tilt that hold, fits that converged",
        "six crystals, vibration, energy and semi-angle drawn from the priors, 8–55 nm, tilt to 2 mrad",
        "10⁶–10⁸",
        {"budget": r"(?P<where>.+, with the priors: 95 % intervals of (thickness|tilt)) that hold the truth"},
        95.0,
    ),
    Claim(
        "the same, if all are taken for exact",
        "the same frames, 8–55 nm",
        "10⁶–10⁸",
        {"budget": r"(?P<where>.+, all sigma 0: 95 % intervals of (thickness|tilt)) that hold the truth"},
        95.0,
    ),
    Claim(
        "converged, but off by more than 1 nm or 0.3 mrad and by more than 3 standard errors",
        "SrTiO3 [001] and Si [110], 3–123 nm",
        "10³–5·10³",
        {"few_electrons": r"(?P<where>.+): converged and wrong, of the converged"},
        LEAST,
    ),
    Claim(
        "95 % intervals of thickness or tilt that hold, fits that converged",
        "SrTiO3 [001] and Si [110], 3–123 nm",
        "10³–5·10³",
        {"few_electrons": r"(?P<where>.+: 95 % intervals of \w+) that hold the truth"},
        95.0,
    ),
    Claim(
        "converged, but off by more than 1 nm or 0.3 mrad and by more than 3 standard errors",
        "SrTiO3 [001] and Si [110]: a hole, twins, two tilts or thicknesses, a wedge or a bend in the area",
        "10⁵–10⁷",
        {"averaging": r"(?P<where>.+): converged and wrong"},
        LEAST,
    ),
    Claim(
        "95 % intervals of thickness or tilt that hold, fits that converged",
        "four crystals as a CCD, a Medipix, an EMPAD and 8-bit pictures record them, 5–60 nm",
        "10⁵–10⁸",
        {"cameras": r"(?P<where>.+: 95 % intervals of (thickness|tilt)) that hold the truth"},
        95.0,
    ),
    *FAR_TILTS,
)
