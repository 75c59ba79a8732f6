"""What error bars contain, in words for people and as variables of a dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hybridfit.fitting.assumptions import BUDGET_PARTS, Assumed
from hybridfit.quantities import quantity

MARKED = 0.3  # of a correlation
Budget = Mapping[str, Mapping[str, float]]
WORDS = {
    "debye_waller": "Debye–Waller factors",
    "energy": "energy",
    "semi_angle": "semi-angle",
}


def budget_lines(budget: Budget, assumed: Mapping[str, Assumed], lacking: tuple[str, ...]) -> list[str]:
    """A table of the parts of error bars, one row a parameter; then what the pattern tells of assumptions."""
    if not budget:
        return []
    parts = [part for part in BUDGET_PARTS if any(part in each for each in budget.values())]
    head = "".join(f"{part.replace('_', '-'):>11s}" for part in (*parts, "total"))
    lines = [f"  {'error bar':14s}{head}"]
    for name, each in budget.items():
        numbers = [each.get(part, 0.0) for part in parts]
        numbers.append(math.hypot(*numbers))
        lines.append(f"  {name:14s}" + "".join(f"{number:11.2g}" for number in numbers))
    for name, a in assumed.items():
        if a.told:
            lines.append(f"  {WORDS[name]}: {in_per_cent(a)} (taken: ± {100 * a.sigma:.2g} %)")
    if lacking:
        words = " and ".join(lacking)
        lines.append(f"  not in the errors: {words}; the library does not know how patterns depend on it")
    return lines


def correlation_words(correlations: Mapping[str, Mapping[str, float]]) -> str:
    """Each pair once: "B:Sr–B:O −0.41, B:Sr–thickness +0.30"; others where they are marked."""
    seen: set[frozenset[str]] = set()
    out = []
    for one, others in correlations.items():
        for other, value in others.items():
            if frozenset((one, other)) not in seen and (other in correlations or abs(value) >= MARKED):
                seen.add(frozenset((one, other)))
                out.append(f"{one}–{other} {value:+.2f}".replace("-", "−"))
    return ", ".join(out)


def in_per_cent(a: Assumed) -> str:
    """What a pattern says of something that was taken for granted: "+12.3 ± 1.2 % of the library's"."""
    digits = max(0, 1 - math.floor(math.log10(100 * a.stderr))) if a.stderr > 0 else 1
    return f"{100 * a.offset:+.{digits}f} ± {100 * a.stderr:.{digits}f} % from what was taken"


def budget_variables(budget: Budget) -> dict[str, Any]:
    """The parts of each error bar as a variable on the dimension "part", in the order of `BUDGET_PARTS`."""
    out = {}
    for name, each in budget.items():
        known = quantity(name)
        about = {
            "units": known.attrs["units"],
            "long_name": f"parts of the {known.stderr_attrs['long_name']}",
        }
        out[f"{name}_budget"] = ("part", [each.get(part, 0.0) for part in BUDGET_PARTS], about)
    return out
