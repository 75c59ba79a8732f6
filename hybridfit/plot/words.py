"""The status in words, the numbers and their errors."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from hybridfit.plot.answer import Answer, Value
from hybridfit.plot.style import BLACK, GREY, SIZE_INCHES, STATUS_COLOURS
from hybridfit.quantities import decimals, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_numbers(axis: Axes, result: Answer) -> None:
    """The status in words, then values ± standard errors."""
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    height = axis.get_position().height * SIZE_INCHES[1]  # inches
    colour = STATUS_COLOURS[result.status.name]
    lines = textwrap.wrap(result.message, 64)[:5]
    axis.text(
        0.025, 0.985, "\n".join(lines), va="top", fontsize=10.5, linespacing=1.35, parse_math=False,
        bbox={"boxstyle": "round,pad=0.55", "facecolor": colour, "alpha": 0.16, "edgecolor": "none"},
    )  # fmt: skip
    used = 0.20 * len(lines) / height
    axis.plot([0, 0], [0.985 - used, 1.0], color=colour, lw=5, solid_capstyle="butt", clip_on=False)
    shown = [
        (name, p)
        for name, p in {**result.parameters, **result.structure}.items()
        if not (name.startswith("ellipticity") and p.stderr is None and p.value == 0)
    ]
    y = 0.93 - used
    step = min(0.30 / height, (y - 0.09) / len(shown))
    size = 11.5 if step * height > 0.2 else 9.5
    for name, p in shown:
        weight = "bold" if name in ("thickness", "tilt_x", "tilt_y") else "normal"
        value, _, error = measured(p).partition(" ± ")
        note = f"± {error}" if error else ("on its bound" if _varied(result, name) else "fixed")
        if p.odds is not None:
            note = f"odds {max(p.odds.values()):.1%}"
        axis.text(0.0, y, quantity(name, p.unit).label, va="top", size=size, weight=weight, parse_math=False)
        axis.text(0.56, y, value, va="top", ha="right", size=size, weight=weight)
        axis.text(
            0.58,
            y,
            note,
            va="top",
            size=size,
            color=BLACK if error else GREY,
            weight=weight if error else "normal",
        )
        axis.text(0.82, y, quantity(name, p.unit).unit, va="top", size=size, color=GREY)
        y -= step
    quality = (
        f"residual {result.residual_fraction:.2%} of the variance (misfit {result.misfit_fraction:.2%}), "
        f"reduced χ² {result.reduced_chi2:.3g}"
    )
    axis.text(0.0, y - 0.02, quality, va="top", fontsize=10, color=GREY)


def _varied(result: Answer, name: str) -> bool:
    """Whether a parameter without an error was fitted all the same, and ended on a bound."""
    params = getattr(getattr(result, "minimizer", None), "params", {})
    return result.status.name == "at_bound" and name in params and bool(params[name].vary)


def measured(p: Value) -> str:
    """value ± error, both to the second digit of the error."""
    if p.stderr is None or not 0 < p.stderr < math.inf or not math.isfinite(p.value):
        text = f"{p.value:.5g}"
    else:
        digits = decimals(p.stderr)
        text = f"{p.value:.{digits}f} ± {p.stderr:.{digits}f}"
    return text.replace("-", "−")


def short(source: str, most: int = 48) -> str:
    """The name of a file without its folders, or the end of that."""
    name = Path(source).name or source
    return name if len(name) <= most else "…" + name[-most + 1 :]
