"""An answer as HTML: status and remedy, the main numbers, all numbers, what errors contain, other minima.

Reports and notebooks show it.  The words are those of the picture.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable

from matplotlib.figure import Figure

from hybridfit.markup import Html, element, table
from hybridfit.plot.answer import Answer, Value
from hybridfit.plot.figure import save_to
from hybridfit.plot.style import STATUS_COLOURS
from hybridfit.plot.words import MAIN, measured
from hybridfit.quantities import decimals, quantity

# what to do about an answer, by its status
REMEDIES = {
    "converged": "Look at the picture, then use the numbers.",
    "at_bound": "Move the bound, or use a library that reaches further.",
    "ambiguous": "Compare the candidates. Give a hint for thickness or tilt, or record more electrons.",
    "poor_match": "Check library, zone axis, semi-angle and picture before you use a number.",
    "failed": "Read the message. Give hints for centre, scale and thickness.",
    "unusable": "Record the frame again, or mask what is wrong with it.",
    "unreadable": "Copy the file again, or say what it holds (--dataset, --shape, --dtype).",
    "not_done": "Run the same command again: it goes on where it was.",
}
# colours of the parts of an error bar, told apart by every kind of colour vision
PART_COLOURS = {
    "counting": "#0072b2",
    "misfit": "#d55e00",
    "vibration": "#009e73",
    "energy": "#e69f00",
    "semi_angle": "#56b4e9",
    "point_spread": "#cc79a7",
    "library": "#8a8a8a",
}


def in_words(name: str) -> str:
    """The name of a status or of a part of an error bar, for people."""
    return name.replace("_", " ")


def banner(status: str, message: str) -> Html:
    """What to do, then the status and its message, in the colour of the status."""
    return element(
        "div",
        element("p", REMEDIES.get(status, ""), class_="remedy"),
        element("p", element("b", in_words(status)), ": ", message),
        class_="banner",
        style=f"border-left-color:{STATUS_COLOURS.get(status, '#6b6b6b')}",
    )


def interval(p: Value, digits: int | None = None) -> str:
    """The 95 % interval, with the decimals of the error."""
    if p.interval95 is None or p.stderr is None or not 0 < p.stderr < math.inf:
        return ""
    shown = decimals(p.stderr) if digits is None else digits
    low, high = (f"{v:.{shown}f}".replace("-", "−") for v in p.interval95)
    return f"{low} … {high}"


def cards(answer: Answer) -> Html:
    """Thickness, tilt and structural parameters, large."""
    shown = {name: answer.parameters[name] for name in MAIN if name in answer.parameters}
    out = []
    for name, p in {**shown, **answer.structure}.items():
        known = quantity(name, p.unit)
        value, _, error = measured(p).partition(" ± ")
        number = [element("b", value), element("span", f" ± {error}" if error else ""), f" {known.unit}"]
        below = f"95 %: {interval(p)}" if interval(p) else note(answer, name, p)
        out.append(
            element(
                "div",
                element("div", known.label, class_="label"),
                element("div", *number, class_="number"),
                element("div", below, class_="label"),
                class_="card",
            )
        )
    return element("div", *out, class_="cards")


def note(answer: Answer, name: str, p: Value) -> str:
    """Why a number has no error: it was fixed, it is on its bound, or it has odds."""
    if p.odds is not None:
        return ", ".join(f"odds of {value:g}: {100 * share:.1f} %" for value, share in p.odds.items())
    if p.stderr is not None:
        return ""
    return "on its bound" if name in answer.varied else "fixed"


def number_table(answer: Answer) -> Html:
    """Every parameter with its standard error, 95 % interval and unit."""
    rows = []
    for name, p in {**answer.parameters, **answer.structure}.items():
        if name.startswith("ellipticity") and p.stderr is None and p.value == 0:
            continue
        known = quantity(name, p.unit)
        value, _, error = measured(p).partition(" ± ")
        rows.append(
            (known.label, value, f"± {error}" if error else note(answer, name, p), known.unit, interval(p))
        )
    return table(("", "value", "standard error", "unit", "95 % interval"), rows, "numbers")


def budget_table(answer: Answer) -> Html:
    """What error bars contain: shares of the variance as bars, and the parts as numbers."""
    if not answer.budget:
        return Html("")
    names = [part for part in PART_COLOURS if any(each.get(part, 0.0) > 0 for each in answer.budget.values())]
    rows, bars = [], []
    for name, parts in answer.budget.items():
        total = math.hypot(*parts.values())
        if not 0 < total < math.inf:
            continue
        known, digits = quantity(name), decimals(total)
        numbers = [f"{parts.get(part, 0.0):.{digits}f}" for part in names]
        rows.append(
            (f"{known.label} ({known.unit})" if known.unit else known.label, *numbers, f"{total:.{digits}f}")
        )
        shares = [(part, 100 * parts.get(part, 0.0) ** 2 / total**2) for part in names]
        bars.append(
            element("div", element("span", known.label), share_bar(shares, PART_COLOURS), class_="barrow")
        )
    if not rows:
        return Html("")
    head = ("", *(swatch(PART_COLOURS[part], in_words(part)) for part in names), "total")
    return element("div", *bars, table(head, rows, "numbers"))


def share_bar(shares: Iterable[tuple[str, float]], colours: dict[str, str]) -> Html:
    """A bar of shares in per cent that add up to 100, each in its colour; shares below 0.1 % are left out."""
    parts = [
        element(
            "i",
            style=f"width:{share:.2f}%;background:{colours.get(name, '#6b6b6b')}",
            title=f"{in_words(name)} {share:.1f} %",
        )
        for name, share in shares
        if share >= 0.1
    ]
    return element("span", *parts, class_="bar")


def swatch(colour: str, words: str) -> Html:
    """Words with a patch of the colour that stands for them."""
    return element("span", element("i", class_="swatch", style=f"background:{colour}"), words)


def candidate_table(answer: Answer) -> Html:
    """The answer and the other minima that were refined, best first."""
    odds = any(getattr(c, "probability", None) is not None for c in answer.candidates)
    rows = []
    for i, c in enumerate(answer.candidates):
        cells = [f"{c.thickness:.2f}", f"{c.tilt_x:.2f}", f"{c.tilt_y:.2f}"]
        cells = [cell.replace("-", "−") for cell in cells]
        cells.append(f"{100 * c.chi2:.3g} %" if math.isfinite(c.chi2) else "")
        if odds:
            share = getattr(c, "probability", None)
            cells.append("" if share is None else f"{100 * share:.2g} %")
        rows.append(("answer" if i == 0 else str(i + 1), *cells))
    head = ["", "thickness (nm)", "tilt x (mrad)", "tilt y (mrad)", "residual / variance"]
    return table([*head, "probability"] if odds else head, rows, "numbers")


def data_url(figure: Figure, kind: str = "svg") -> str:
    """A figure as the address of a picture that holds it: "data:image/svg+xml;base64,…"."""
    buffer = io.BytesIO()
    save_to(figure, buffer, kind)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
