"""Rows of the table of `benchmarks.truth`: errors, intervals, pulls and the references' own scatter."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import Study
from benchmarks.reference_cases import CASES

FROM, TO, THIN = 8.0, 60.0, 8.0  # nm: what the bars are for; thinner ones are looked at apart
TILTS_FROM = 12.0  # nm
CELL = 0.3905  # nm, of SrTiO3 along the beam
RMS, WORST, MEAN, TILT = 0.06, 0.3, 0.03, 0.03  # nm, nm, nm, mrad
HEAVY, TITANATE = {"Au": 0.15}, ("SrTiO3", "SrTiO3_thick")
TITANATE_WORST = 0.2  # nm
WIDE = 2.5  # × 1.96 rms errors
REPORTING, WRONG_B, ALL = "reporting", "wrong B", "all"

Row = dict[str, Any]


class Columns:
    """The values of some fits by name."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array([row.get(name, np.nan) for row in self.rows])

    def joined(self, names: list[str]) -> np.ndarray:
        """Several values of every fit, in one array."""
        return np.concatenate([self[name] for name in names])

    def where(self, kept: np.ndarray) -> Columns:
        """Some of the fits."""
        return Columns([row for row, there in zip(self.rows, kept, strict=True) if there])


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.nanmean(values**2)))


def summarise(study: Study, part: str, name: str, rows: list[Row]) -> None:
    """Rows for the fits of a case, or of all cases of a part."""
    label, fits = f"{part}, {name}", Columns(rows)
    barred = part == REPORTING and name != ALL
    errors(study, label, fits, barred, name)
    for of, keys in (("thickness", ["thickness"]), ("tilt", ["tilt_x", "tilt_y"])):
        intervals(study, label, fits, of, keys, part, name)
    if part == WRONG_B and name != ALL:
        vibration(study, label, fits, CASES[name].b_scale)
    thin = fits.where(fits["true_thickness"] < THIN)
    if len(thin.rows):
        share = 100 * float((thin["status"] == "poor_match").mean())
        right: Row = {} if part == WRONG_B else {"at_most": 0.0}
        study.add(f"{label}: poor match of {len(thin.rows)} thinner than 8 nm", share, "%", **right)
    study.add(f"{label}: status converged", 100 * float((fits["status"] == "converged").mean()), "%")


def errors(study: Study, label: str, fits: Columns, barred: bool, name: str) -> None:
    """How far thickness and tilt are off."""
    thick = fits["true_thickness"]
    t = fits.where((thick >= FROM) & (thick <= TO))["thickness"]
    limit: Row = {"at_most": HEAVY.get(name, RMS)} if barred else {}
    study.add(f"{label}: thickness error, rms of {len(t)}, 8–60 nm", rms(t), "nm", **limit)
    study.add(f"{label}: thickness error, mean", t.mean(), "nm")
    if barred and name in TITANATE:
        study.add(f"{label}: size of that mean", abs(t.mean()), "nm", at_most=MEAN)
    limit = {"at_most": TITANATE_WORST if name in TITANATE else WORST} if barred else {}
    study.add(f"{label}: thickness error, worst", np.abs(t).max(), "nm", **limit)
    tilt = fits.where(thick > TILTS_FROM).joined(["tilt_x", "tilt_y"])
    limit = {"at_most": TILT} if barred and name in TITANATE else {}
    study.add(f"{label}: tilt component error above 12 nm, rms", rms(tilt), "mrad", **limit)
    study.add(f"{label}: tilt component error above 12 nm, worst", np.abs(tilt).max(), "mrad")
    if name in TITANATE:
        right = 100 * float((np.abs(t) < CELL / 2).mean())
        limit = {"at_least": 98.0} if barred else {}
        study.add(f"{label}: rounded to unit cells, right", right, "%", **limit)


def intervals(
    study: Study, label: str, fits: Columns, of: str, keys: list[str], part: str, name: str
) -> None:
    """Whether stated intervals hold, how wide they are, pulls, and the scatter of the reference."""
    error, stderr, half = (fits.joined([f"{key}{s}" for key in keys]) for s in ("", "_stderr", "_half95"))
    held = 100 * float((np.abs(error) <= half).mean()), 100 * float((np.abs(error) <= stderr).mean())
    pooled = part == REPORTING and name == ALL
    least: Row = {"at_least": 90.0} if part == WRONG_B else {"at_least": 92.0} if pooled else {}
    study.add(f"{label}: 95 % intervals of {of} that hold", held[0], "%", **least)
    study.add(
        f"{label}: 68 % intervals of {of} that hold", held[1], "%", **({"at_least": 62.0} if pooled else {})
    )
    pull = error / stderr
    study.add(f"{label}: pull of {of}, mean", float(np.nanmean(pull)), "")
    study.add(f"{label}: pull of {of}, width", float(np.nanstd(pull)), "")
    wide = float(np.nanmean(half)) / (1.96 * rms(error))
    limit = {"at_most": WIDE} if pooled else {}
    study.add(f"{label}: mean half-width of {of}'s 95 % interval", wide, "× 1.96 rms error", **limit)
    if f"{keys[0]}_scatter" in fits.rows[0]:
        own = fits.joined([f"{key}_scatter" for key in keys])
        unit = "nm" if of == "thickness" else "mrad"
        study.add(f"{label}: the reference's own scatter of {of}, rms", rms(own), unit)
        share = float(np.nanmedian(own / stderr))
        study.add(f"{label}: that scatter of {of}, of the stated error, median", share, "", at_most=1 / 3)


def vibration(study: Study, label: str, fits: Columns, truth: float) -> None:
    """What fits find of Debye–Waller factors that are `truth` times the recipe's, and by how much off."""
    inside = (fits["true_thickness"] >= FROM) & (fits["true_thickness"] <= TO)
    b, told = fits["b_offset"][inside], fits["b_stderr"][inside]
    found = 1 + float(np.nanmean(b))
    mean = abs(float(fits["thickness"][inside].mean()))
    study.add(f"{label}: size of the mean thickness error", mean, "nm", at_most=0.05)
    study.add(f"{label}: B that fits find, over the recipe's, mean", found, "")
    study.add(f"{label}: B off by", 100 * abs(found / truth - 1), "%", at_most=8.0)
    study.add(f"{label}: its stated error, median", float(np.nanmedian(told)), "")


def summarise_silent(study: Study, label: str, rows: list[Row], *, barred: bool) -> None:
    """Rows for fits without noise; bars are for libraries that are shipped."""
    inside = [row for row in rows if FROM <= row["true_thickness"] <= TO]
    t = np.array([row["thickness"] for row in inside])
    tilt = np.array([[row["tilt_x"], row["tilt_y"]] for row in inside])
    nm, mrad = ({"at_most": 0.02}, {"at_most": 0.01}) if barred else ({}, {})
    study.add(f"{label}: thickness error, worst of {len(t)}, 8–60 nm", np.abs(t).max(), "nm", **nm)
    study.add(f"{label}: thickness error, mean", t.mean(), "nm")
    study.add(f"{label}: thickness error, rms of {len(t)}, 8–60 nm", rms(t), "nm")
    study.add(f"{label}: tilt component error, worst", np.abs(tilt).max(), "mrad", **mrad)
