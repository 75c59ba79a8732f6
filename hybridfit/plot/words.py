"""The title of a page, the status in words, and the numbers with their errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from hybridfit.plot.answer import Answer, Value
from hybridfit.plot.labels import fewer, shrink, size_px, widest_px, wrap
from hybridfit.plot.style import BLACK, DPI, GREY, STATUS_COLOURS
from hybridfit.quantities import decimals, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MESSAGE_PT = (10.5, 9.0, 8.0, 7.0)  # sizes of the message: the first that leaves room for the numbers
MESSAGE_SHARE = 0.42  # of the panel's height that the message may take
ROW_PT = 11.5  # size of the numbers, where there is room
ROW_IN, LEAST_ROW_IN = 0.28, 0.10  # inches from one row of numbers to the next
BUDGET_ROWS = 0.85  # heights of a row of numbers that a line of what an error bar contains takes
SMALLEST_PART = 0.1  # of the error bar: smaller parts are not named
MAIN = ("thickness", "tilt_x", "tilt_y")  # in bold
LABEL, VALUE, ERROR, UNIT = 0.0, 0.55, 0.57, 0.83  # where the columns are, in widths of the panel


def draw_title(figure: Figure, left: float, top: float, words: str) -> None:
    """The title of a page, in bold, as small as it must be to fit: inches from its upper left corner."""
    width, height = figure.get_size_inches()
    text = figure.text(
        left / width, 1 - top / height, words, fontsize=16, fontweight="bold", color=BLACK, parse_math=False,
        va="baseline",
    )  # fmt: skip
    shrink(text, (width - 2 * left) * DPI)


def draw_numbers(axis: Axes, result: Answer) -> None:
    """The status in words, then every parameter with its standard error, then how good the fit is."""
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    box = axis.get_window_extent()
    y = 1 - _draw_message(axis, result) / box.height
    shown = [
        (name, p)
        for name, p in {**result.parameters, **result.structure}.items()
        if not (name.startswith("ellipticity") and p.stderr is None and p.value == 0)
    ]
    inches = y * box.height / DPI
    contents = budget_words(result)
    step = min(ROW_IN, max(inches / (len(shown) + 1.2 + BUDGET_ROWS * len(contents)), LEAST_ROW_IN))
    size = min(ROW_PT, 72 * step * 0.72)
    for name, p in shown:
        _draw_row(axis, y, size, name, p, on_bound=result.status.name == "at_bound" and name in result.varied)
        y -= step * DPI / box.height
    quality = (
        f"residual {_per_cent(result.residual_fraction)} of the variance "
        f"(misfit {_per_cent(result.misfit_fraction)}), reduced χ² {_two_decimals(result.reduced_chi2)}"
    )
    for words in (quality, *contents):
        text = axis.text(0.0, y - 0.01, words, va="top", fontsize=min(10, size), color=GREY)
        (shrink if words is quality else fewer)(text, box.width)
        y -= BUDGET_ROWS * step * DPI / box.height


def budget_words(result: Answer) -> list[str]:
    """What the error bars of thickness and of the less certain tilt component contain, largest first."""
    budget = result.budget
    tilts = [name for name in ("tilt_x", "tilt_y") if name in budget]
    named = ["thickness"] if "thickness" in budget else []
    if tilts:
        named.append(max(tilts, key=lambda name: math.hypot(*budget[name].values())))
    out = []
    for name in named:
        parts = sorted(budget[name].items(), key=lambda part: -part[1])
        total = math.hypot(*budget[name].values())
        seen = [(part, number) for part, number in parts if number > SMALLEST_PART * total]
        known, digits = quantity(name), decimals(total) if total > 0 else 2
        words = ", ".join(f"{part.replace('_', '-')} {number:.{digits}f}" for part, number in seen)
        out.append(f"± of {known.label} ({known.unit}): {words}")
    return out


def _draw_message(axis: Axes, result: Answer) -> float:
    """The status in words, on its colour; the height that it takes, in px with the gap below."""
    box = axis.get_window_extent()
    colour = STATUS_COLOURS[result.status.name]
    pad = 6.0  # pt
    for size in MESSAGE_PT:
        text = axis.text(
            0, 0, result.message, va="top", fontsize=size, linespacing=1.3, parse_math=False, color=BLACK
        )
        wrap(text, box.width - 3 * pad * DPI / 72)
        height = size_px(text)[1] + 2 * pad * DPI / 72
        if height <= MESSAGE_SHARE * box.height or size == MESSAGE_PT[-1]:
            break
        text.remove()
    inset = pad * DPI / 72
    text.set_position((1.4 * inset / box.width, 1 - inset / box.height))
    text.set_bbox(
        {"boxstyle": f"square,pad={pad / size}", "facecolor": colour, "alpha": 0.16, "edgecolor": "none"}
    )
    axis.plot([0, 0], [1 - height / box.height, 1], color=colour, lw=5, solid_capstyle="butt", clip_on=False)
    return height + 0.14 * DPI


def _draw_row(axis: Axes, y: float, size: float, name: str, p: Value, *, on_bound: bool) -> None:
    """Label, value, error and unit of one parameter."""
    known = quantity(name, p.unit)
    weight = "bold" if name in MAIN else "normal"
    value, _, error = measured(p).partition(" ± ")
    note = f"± {error}" if error else ("on its bound" if on_bound else "fixed")
    if p.odds is not None:
        note = f"odds {100 * max(p.odds.values()):.1f} %"
    width = axis.get_window_extent().width

    def write(x: float, words: str, room: float, **style: Any) -> Text:
        style = {"weight": weight, "color": BLACK} | style
        text = axis.text(x, y, words, va="top", fontsize=size, parse_math=False, **style)
        return shrink(text, room * width)

    plain = {"weight": "normal", "color": GREY}
    number = write(VALUE, value, 0.5 * VALUE, ha="right")
    taken = min(widest_px(number), VALUE * width / 2)
    write(LABEL, known.label, VALUE - LABEL - taken / width - 0.02)
    write(ERROR, note, UNIT - ERROR - 0.02, **({} if error else plain))
    write(UNIT, known.unit, 1 - UNIT, **plain)


def _two_decimals(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.3g}"


def _per_cent(share: float) -> str:
    """Per cent with two decimals, or with two digits where that would be 0."""
    return f"{100 * share:.2f} %" if not 0 < share < 1e-3 else f"{100 * share:.2g} %"


def measured(p: Value) -> str:
    """Value ± standard error, both to the second digit of the error; the value alone where there is none."""
    if p.stderr is None or not 0 < p.stderr < math.inf or not math.isfinite(p.value):
        text = f"{p.value:.5g}"
    else:
        digits = decimals(p.stderr)
        error = f"{p.stderr:.{digits}f}"
        text = f"{p.value:.{digits}f} ± {error if float(error) else f'{p.stderr:.0e}'}"
    return text.replace("-", "−")


def short(source: str, most: int = 48) -> str:
    """The name of a file without its folders, or the end of that."""
    name = (Path(source).name or source).encode("utf-8", "backslashreplace").decode("utf-8")
    return name if len(name) <= most else "…" + name[-most + 1 :]
