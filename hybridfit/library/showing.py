"""What terminals and notebooks show of a library."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridfit.markup import element, table


def library_line(library: Any) -> str:
    """A line: crystal, zone axis, energy, and how far it reaches."""
    (low, high), attrs = library.thickness_range, library.dataset.attrs
    structure = "".join(f", {name} {a.low:g} … {a.high:g}" for name, a in library.structure.items())
    return (
        f"<Library {attrs['crystal']} [{' '.join(map(str, attrs['zone']))}] {attrs['energy_kv']:g} kV, "
        f"{low:g}–{high:g} nm, semi-angle ≤ {library.semi_angle_max:g} mrad, "
        f"tilt ≤ {library.tilt_max:g} mrad{structure}>"
    )


def library_html(library: Any) -> str:
    """What a library is of, how far it reaches, its structural parameters and its file."""
    (low, high), attrs = library.thickness_range, library.dataset.attrs
    zone = " ".join(map(str, np.atleast_1d(attrs["zone"]).tolist()))
    rows: list[tuple[str, str]] = [
        ("energy", f"{float(attrs['energy_kv']):g} kV"),
        ("thickness", f"{low:g} … {high:g} nm"),
        ("semi-angle", f"at most {library.semi_angle_max:g} mrad"),
        ("tilt", f"at most {library.tilt_max:g} mrad"),
        ("rotation", f"the same after {360 / library.rotation_order:g}°"),
    ]
    for name, axis in library.structure.items():
        unit = "" if axis.unit in (None, "", "1") else f" {axis.unit}"
        rows.append((name.replace("_", " "), f"{axis.low:g} … {axis.high:g}{unit} ({axis.kind})"))
    file = str(library.dataset.encoding.get("source", ""))
    if file:
        rows.append(("file", file))
    title = element("p", element("b", f"{attrs['crystal']} [{zone}]"), " simulation library")
    return str(element("div", title, table((), rows), class_="hybridfit"))
