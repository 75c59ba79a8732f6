"""Answers, maps and pictures as notebooks show them: HTML that goes with light and dark themes."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from hybridfit.flags import map_status
from hybridfit.markup import Html, element, file_name
from hybridfit.plot.answer import Answer
from hybridfit.plot.figure import plot_fit
from hybridfit.plot.html import (
    REMEDIES,
    banner,
    budget_table,
    candidate_table,
    cards,
    data_url,
    in_words,
    number_table,
    share_bar,
    swatch,
)
from hybridfit.plot.maps import plot_map
from hybridfit.plot.style import STATUS_COLOURS

WIDTH = 960  # px of a picture at most
STYLE = """
.hybridfit{max-width:960px;font-size:14px;line-height:1.45}
.hybridfit p{margin:.2em 0}
.hybridfit .banner{border-left:5px solid;padding:.4em .8em;margin:.4em 0;background:rgba(128,128,128,.1)}
.hybridfit .remedy{font-weight:600}
.hybridfit .cards{display:flex;flex-wrap:wrap;gap:.6em;margin:.5em 0}
.hybridfit .card{border:1px solid rgba(128,128,128,.4);border-radius:5px;padding:.3em .8em;flex:1 1 13em}
.hybridfit .number b{font-size:1.35em}
.hybridfit .label,.hybridfit .sub{opacity:.7;font-size:.9em}
.hybridfit table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.hybridfit th,.hybridfit td{text-align:left!important;padding:.15em .9em .15em 0}
.hybridfit .bar{display:flex;height:.8em;border-radius:3px;overflow:hidden;background:rgba(128,128,128,.25)}
.hybridfit .bar i{display:block}
.hybridfit .barrow{display:grid;grid-template-columns:7em 1fr;align-items:center;margin:.2em 0}
.hybridfit .swatch{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em}
.hybridfit .wide{overflow-x:auto}
.hybridfit img{max-width:100%;background:#fff;border-radius:5px}
.hybridfit summary{cursor:pointer;margin-top:.4em}
"""


def answer_html(answer: Answer) -> str:
    """What a notebook shows of a fit: status, main numbers and picture; the other numbers fold out."""
    return _framed(
        element("p", file_name(answer.source), f" · {answer.library}", class_="sub"),
        banner(answer.status.name, answer.message),
        cards(answer),
        _picture(plot_fit(answer), "experiment, fit and residual"),
        _folded("all numbers", number_table(answer)),
        _folded("what the errors contain", budget_table(answer)) if answer.budget else "",
        _folded("candidates", candidate_table(answer)),
    )


def map_html(dataset: xr.Dataset) -> str:
    """What a notebook shows of a map: how its positions ended, and the picture."""
    counts = map_status(dataset) if "status" in dataset else {}
    total = sum(counts.values()) or 1
    attrs, shape = dataset.attrs, f"{dataset.sizes['scan_y']} × {dataset.sizes['scan_x']} positions"
    worst = next((name for name in REMEDIES if counts.get(name, 0) > total / 2), "")
    words = [
        element("span", swatch(STATUS_COLOURS[name], f"{in_words(name)} {100 * n / total:.1f} %"), "   ")
        for name, n in counts.items()
    ]
    return _framed(
        element(
            "p",
            file_name(attrs.get("source", "map")),
            f" · {attrs.get('library', '')} · {shape}",
            class_="sub",
        ),
        element("p", REMEDIES.get(worst, "Use the positions that converged."), class_="remedy"),
        share_bar([(name, 100 * n / total) for name, n in counts.items()], STATUS_COLOURS),
        element("p", *words),
        _picture(plot_map(dataset), "maps of thickness, tilt, errors and status"),
    )


def _framed(*parts: object) -> str:
    return str(element("div", element("style", Html(STYLE)), *parts, class_="hybridfit"))


def _picture(figure: Figure, words: str) -> Html:
    return element("img", src=data_url(figure, "png"), alt=words, width=WIDTH)


def _folded(title: str, content: Html) -> Html:
    return element("details", element("summary", title), content)
