"""The rows that `benchmarks.far_tilts` prints."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import Study
from benchmarks.far_physics import Difference
from benchmarks.truth_table import Columns, rms

ALL = "all"
RMS, TILT, HELD = 0.2, 0.1, 90.0  # nm, mrad, %
WITHIN = 0.5, 0.1  # nm and mrad: the basin of the right answer
WRONG = 0.5, 0.1, 3.0  # nm or mrad off, and by so many standard errors
# of what an approximation may change, a quarter or less of what is asked of fits
PATTERN, MOVED, TURNED = 5e-3, 0.05, 0.025  # of the maximum, nm, mrad
UNBARRED = ("left out", "lines")  # what a library does not do

Row = dict[str, Any]


def add_difference(study: Study, label: str, words: str, found: Difference) -> None:
    """Rows for what one solution makes of another: the worst of all thicknesses."""
    barred = not any(word in words for word in UNBARRED)
    of = (
        ("pattern", np.abs(found.pattern).max(), "of max", PATTERN),
        ("thickness moved by", np.abs(found.thickness).max(), "nm", MOVED),
        ("tilt moved by", found.tilt.max(), "mrad", TURNED),
    )
    for what, value, unit, bar in of:
        study.add(f"{label}: {what}", float(value), unit, **({"at_most": bar} if barred else {}))


def summarise(study: Study, name: str, rows: list[Row], *, pooled: bool) -> None:
    """Rows for the fits of a case or of all cases; `pooled` says that there are no others."""
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        errors(study, f"{name}, {way}", mine, pooled)
    near = [row for row in rows if "thickness_scatter" in row]
    if near:
        scatter(study, name, near)


def errors(study: Study, label: str, rows: list[Row], pooled: bool) -> None:
    """How far fits are off, whether intervals hold, and how fits end."""
    answered = [row for row in rows if "thickness" in row]
    study.add(f"{label}: frames that were answered of {len(rows)}", 100 * len(answered) / len(rows), "%")
    right = [row for row in answered if abs(row["thickness"]) <= WITHIN[0] and worse(row) <= WITHIN[1]]
    share = 100 * len(right) / len(rows)
    study.add(f"{label}: within {WITHIN[0]:g} nm and {WITHIN[1]:g} mrad", share, "%")
    converged = 100 * sum(row["status"] == "converged" for row in rows) / len(rows)
    study.add(f"{label}: status converged", converged, "%")
    study.add(f"{label}: converged and wrong", 100 * sum(map(misled, answered)) / len(rows), "%")
    if not answered:
        return
    fits = Columns(answered)
    t, tilt = fits["thickness"], fits.joined(["tilt_x", "tilt_y"])
    study.add(f"{label}: thickness error, rms of {len(t)}", rms(t), "nm", at_most=RMS)
    study.add(f"{label}: thickness error, mean", float(t.mean()), "nm")
    study.add(f"{label}: thickness error, worst", float(np.abs(t).max()), "nm")
    study.add(f"{label}: tilt component error, rms", rms(tilt), "mrad", at_most=TILT)
    study.add(f"{label}: tilt component error, worst", float(np.abs(tilt).max()), "mrad")
    for of, keys in (("thickness", ["thickness"]), ("tilt", ["tilt_x", "tilt_y"])):
        error = np.abs(fits.joined(keys))
        half = fits.joined([f"{key}_half95" for key in keys])
        held = 100 * float((error <= half).mean())
        limit: Row = {"at_least": HELD} if pooled else {}
        study.add(f"{label}: 95 % intervals of {of} that hold", held, "%", **limit)
        study.add(f"{label}: half-width of {of}'s 95 % interval, median", float(np.nanmedian(half)), unit(of))
    study.add(f"{label}: seconds of a fit, median", float(np.median(fits["seconds"])), "s")
    for kind, row in (("best", min(answered, key=off)), ("worst", max(answered, key=off))):
        study.note(
            f"{label}, {kind}: {row['case']} {row['true_thickness']:.1f} nm, tilt {row['tilt_size']:g} mrad: "
            f"{row['thickness']:+.3f} nm, {row['tilt_x']:+.3f} {row['tilt_y']:+.3f} mrad, {row['status']}"
        )


def scatter(study: Study, name: str, rows: list[Row]) -> None:
    """The scatter of references themselves, beside errors that are stated."""
    fits = Columns([row for row in rows if row["way"] == "from near" and "thickness" in row])
    for of, keys in (("thickness", ["thickness"]), ("tilt", ["tilt_x", "tilt_y"])):
        own, told = (fits.joined([f"{key}_{what}" for key in keys]) for what in ("scatter", "stderr"))
        study.add(f"{name}: the reference's own scatter of {of}, rms", rms(own), unit(of))
        share = float(np.nanmedian(own / told))
        study.add(f"{name}: that scatter of {of}, of the stated error, median", share, "", at_most=1 / 3)


def unit(of: str) -> str:
    """Of a thickness or a tilt."""
    return "nm" if of == "thickness" else "mrad"


def worse(row: Row) -> float:
    """Of the two components of the tilt, the error (mrad)."""
    return max(abs(row["tilt_x"]), abs(row["tilt_y"]))


def off(row: Row) -> float:
    """How far off a fit is, of what is asked of it."""
    return max(abs(row["thickness"]) / RMS, worse(row) / TILT)


def misled(row: Row) -> bool:
    """Whether a fit says that it converged, and is wrong."""
    if row["status"] != "converged":
        return False
    far = abs(row["thickness"]) > max(WRONG[0], WRONG[2] * row["thickness_stderr"])
    for key in ("tilt_x", "tilt_y"):
        far |= abs(row[key]) > max(WRONG[1], WRONG[2] * row[f"{key}_stderr"])
    return bool(far)
