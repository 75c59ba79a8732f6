"""The report of a map: how its positions ended and what to do, what it shows, how it was made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.flags import map_status, names_of, structural
from hybridfit.markup import Html, element, table
from hybridfit.plot import plot_map
from hybridfit.plot.html import PART_COLOURS, REMEDIES, data_url, in_words, share_bar, swatch
from hybridfit.plot.style import STATUS_COLOURS
from hybridfit.quantities import decimals, quantity
from hybridfit.report.origin import UNKNOWN, FileFacts, Origin, file_facts
from hybridfit.report.page import origin_sections, page, section
from hybridfit.report.settings import REPORT
from hybridfit.scan.made import how_made

SHOWN = (
    "thickness", "tilt_x", "tilt_y", "tilt_magnitude", "scale", "rotation", "semi_angle", "blur",
    "deflection_x", "deflection_y", "field_x", "field_y",
)  # fmt: skip


def map_report(dataset: xr.Dataset, origin: Origin = UNKNOWN) -> str:
    """One HTML file that says everything of a map on (scan_y, scan_x).

    Parameters
    ----------
    dataset : xarray.Dataset
        From `map_scan` or `read_map`.
    origin : Origin
        What else is known of how it was made; settings and the scan's file are read from the map.

    Returns
    -------
    str
        HTML without scripts and without anything from elsewhere; pictures are inside.

    Raises
    ------
    InputError
        The dataset is no map.
    """
    picture = element(
        "img",
        src=data_url(plot_map(dataset)),
        alt="Maps of thickness, tilt, errors and status",
        class_="picture",
    )
    attrs = dataset.attrs
    ny, nx = dataset.sizes["scan_y"], dataset.sizes["scan_x"]
    title = str(attrs.get("source", "map"))
    angle = attrs.get("semi_angle_mrad")
    subtitle = " · ".join(
        [
            str(attrs.get("library", "")),
            *([] if angle is None else [f"semi-angle {float(angle):.4g} mrad"]),
            f"{ny} × {nx} positions",
            origin.time,
        ]
    )
    note = str(attrs.get("source_note", ""))
    asked, facts = _made(dataset)
    return page(
        title,
        subtitle,
        _statuses(dataset),
        element("p", note) if note else "",
        picture,
        section("Numbers", _numbers(dataset)),
        section("What the errors contain", _budget(dataset)),
        section("Messages", _messages(dataset)),
        origin_sections(origin, facts if origin.files is None else origin.files, asked),
    )


def _statuses(dataset: xr.Dataset) -> Html:
    """What to do, a bar of all statuses, and of each its share and remedy."""
    counts = map_status(dataset)
    total = sum(counts.values())
    worst = max(counts, key=lambda name: counts[name] if name != "converged" else -1)
    rest = {name: n for name, n in counts.items() if name != "converged"}
    remedy = REMEDIES["converged"]
    if sum(rest.values()) > total / 2:
        remedy = f"Most positions did not converge. {REMEDIES.get(worst, '')}"
    elif rest:
        remedy = "Use the positions that converged; the others are coloured in the panel of the status."
    shares = [(name, 100 * n / total) for name, n in counts.items()]
    rows = [
        (
            swatch(STATUS_COLOURS.get(name, "#6b6b6b"), in_words(name)),
            n,
            f"{100 * n / total:.1f} %",
            REMEDIES.get(name, ""),
        )
        for name, n in counts.items()
    ]
    colour = STATUS_COLOURS["converged" if 2 * sum(rest.values()) <= total else worst]
    return element(
        "div",
        element("p", remedy, class_="remedy"),
        share_bar(shares, STATUS_COLOURS),
        table(("status", "positions", "share", "what to do"), rows, "numbers statuses"),
        class_="banner",
        style=f"border-left-color:{colour}",
    )


def _numbers(dataset: xr.Dataset) -> Html:
    """Median, range and median error of what was found, over all positions that have a number."""
    rows = []
    known = structural(dataset)
    for name in (*SHOWN, *known):
        if name not in dataset or not np.isfinite(dataset[name].values.astype(float)).any():
            continue
        values = dataset[name].values.astype(float)
        there = values[np.isfinite(values)]
        about = quantity(name, dataset[name].attrs.get("units"))
        sure = known.get(name, f"{name}_stderr")
        errors = dataset[sure].values.astype(float) if sure in dataset else np.full(1, np.nan)
        error = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 0.0
        digits = decimals(error) if 0 < error < np.inf and sure.endswith("_stderr") else about.digits
        low, middle, high = (f"{v:.{digits}f}".replace("-", "−") for v in np.percentile(there, [5, 50, 95]))
        words = (
            "" if not error else f"± {error:.{digits}f}" if sure.endswith("_stderr") else f"odds {error:.1%}"
        )
        rows.append((about.label, middle, f"{low} … {high}", words, about.unit))
    return table(("", "median", "5 … 95 %", "median error", "unit"), rows, "numbers")


def _budget(dataset: xr.Dataset) -> Html:
    """Medians of the parts of error bars."""
    names = [name for name in ("thickness", "tilt_x", "tilt_y") if f"{name}_budget" in dataset]
    if not names or "part" not in dataset.coords:
        return Html("")
    parts = [str(part) for part in dataset["part"].values]
    medians = {}
    for name in names:
        values = dataset[f"{name}_budget"].transpose("part", ...).values.reshape(len(parts), -1)
        seen = np.isfinite(values).any(axis=1)
        medians[name] = [float(np.nanmedian(v)) if ok else 0.0 for v, ok in zip(values, seen, strict=True)]
    used = [i for i in range(len(parts)) if any(each[i] > 0 for each in medians.values())]
    rows, bars = [], []
    for name, each in medians.items():
        total = float(np.hypot.reduce(each))
        if total <= 0:
            continue
        known, digits = quantity(name), decimals(total)
        rows.append((f"{known.label} ({known.unit})", *(f"{each[i]:.{digits}f}" for i in used)))
        shares = [(parts[i], 100 * each[i] ** 2 / total**2) for i in used]
        bars.append(
            element("div", element("span", known.label), share_bar(shares, PART_COLOURS), class_="barrow")
        )
    head = ("median", *(swatch(PART_COLOURS.get(parts[i], "#6b6b6b"), in_words(parts[i])) for i in used))
    return element("div", *bars, table(head, rows, "numbers")) if rows else Html("")


def _messages(dataset: xr.Dataset) -> Html:
    """The commonest messages of positions that did not converge."""
    if "message" not in dataset:
        return Html("")
    words = dataset["message"].values.astype(str)[names_of(dataset["status"]) != "converged"]
    rows = [(n, message) for message, n in Counter(words.tolist()).most_common(REPORT.messages) if message]
    return table(("positions", "message"), rows, "messages") if rows else Html("")


def _made(dataset: xr.Dataset) -> tuple[list[tuple[str, str]], list[FileFacts]]:
    """The settings that a map keeps, and the file of its scan."""
    attrs = dataset.attrs
    rows = [("made by", f"hybridfit {attrs['hybridfit_version']}" if "hybridfit_version" in attrs else "")]
    facts: list[FileFacts] = []
    try:
        made = how_made(dataset)
    except InputError:
        made = None
    if made is not None:
        top, bottom, left, right = made.roi
        rows += [
            ("library", made.library_name),
            ("semi-angle", f"{made.semi_angle:g} mrad"),
            ("background", made.background),
            ("mean of", f"{made.average} × {made.average} positions" if made.average > 1 else ""),
            ("frames binned", f"{made.bin} × {made.bin}" if made.bin > 1 else ""),
            ("rows, columns of the scan", f"{top}:{bottom}, {left}:{right}"),
            ("found once for all positions", _values(made.common)),
            ("fixed", _values(made.fix)),
            ("freed", ", ".join(made.free)),
            ("bounds", "; ".join(f"{k}: {low:g} … {high:g}" for k, (low, high) in made.bounds.items())),
            ("tied", "; ".join(f"{k} = {v}" for k, v in made.expressions.items())),
            ("rotation, roughly", "" if made.hint_rotation is None else f"{made.hint_rotation:g}°"),
            ("mirrored camera", "yes" if made.flip else ""),
        ]
        facts = [file_facts(made.scan)]
    rows += [("run", str(attrs.get("run", ""))), ("step", _step(attrs))]
    if not facts and "source" in attrs:
        facts = [FileFacts(Path(str(attrs["source"])).name)]
    return [(name, value) for name, value in rows if value], facts


def _values(given: dict[str, Any]) -> str:
    return "; ".join(
        f"{k}: {'at the value of the search' if v is None else f'{v:.6g}'}" for k, v in given.items()
    )


def _step(attrs: dict[str, Any]) -> str:
    return f"{float(attrs['step_nm']):g} nm between positions of the file" if "step_nm" in attrs else ""
