"""The report of fits: of each what to do, its numbers and why to believe them; then how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hybridfit.fitting.assumptions import Assumed
from hybridfit.fitting.budget_words import WORDS, in_per_cent
from hybridfit.fitting.camera_noise import CameraNoise
from hybridfit.markup import Html, element, file_name, table
from hybridfit.plot import plot_fit
from hybridfit.plot.answer import Answer
from hybridfit.plot.html import (
    banner,
    budget_table,
    candidate_table,
    cards,
    data_url,
    in_words,
    number_table,
    swatch,
)
from hybridfit.plot.style import STATUS_COLOURS
from hybridfit.plot.words import measured
from hybridfit.report.origin import UNKNOWN, Origin, files_of, settings_rows
from hybridfit.report.page import origin_sections, page, section


class Reported(Answer, Protocol):
    """What can be reported on: a FitResult, or a `hybridfit.session.KeptAnswer`."""

    def to_json(self) -> dict[str, Any]: ...


# an answer, or the JSON that says why there is none: "file", "status", "message"
Answered = Reported | Mapping[str, Any]


def fit_report(answers: Reported | Sequence[Answered], origin: Origin = UNKNOWN) -> str:
    """One HTML file that says everything of one fit, or of several.

    Parameters
    ----------
    answers : FitResult or KeptAnswer, or a sequence of them and of mappings for frames without an answer
        Those have "file", "status" and "message", as in the JSON of the command line.
    origin : Origin
        How the answers were made.

    Returns
    -------
    str
        HTML without scripts and without anything from elsewhere; pictures are inside.
    """
    every: list[Answered] = list(answers) if isinstance(answers, Sequence) else [answers]
    sources = [_source(each) for each in every]
    facts = files_of(sources) if origin.files is None else origin.files
    several = len(every) > 1
    title = f"{len(every)} patterns" if several else Path(sources[0]).name if every else "no patterns"
    found = [each for each in every if not isinstance(each, Mapping)]
    libraries = dict.fromkeys(each.library for each in found)
    angles = dict.fromkeys(f"semi-angle {each.parameters['semi_angle'].value:.4g} mrad" for each in found)
    subtitle = " · ".join([*libraries, *angles, origin.time])
    sections: list[object] = [section("Overview", _overview(every))] if several else []
    sections += [_article(each, i if several else None) for i, each in enumerate(every)]
    asked = [] if origin.settings is None else settings_rows(origin.settings)
    return page(title, subtitle, *sections, origin_sections(origin, facts, asked))


def _source(each: Answered) -> str:
    return str(each.get("file", "")) if isinstance(each, Mapping) else each.source


def _overview(every: Sequence[Answered]) -> Html:
    rows: list[tuple[object, ...]] = []
    for i, each in enumerate(every):
        status = str(each.get("status", "")) if isinstance(each, Mapping) else each.status.name
        numbers = ["", "", ""]
        if not isinstance(each, Mapping):
            numbers = [measured(each.parameters[name]) for name in ("thickness", "tilt_x", "tilt_y")]
        link = element("a", file_name(Path(_source(each)).name), href=f"#pattern-{i + 1}")
        rows.append((link, *numbers, swatch(STATUS_COLOURS.get(status, "#6b6b6b"), in_words(status))))
    return table(("pattern", "thickness (nm)", "tilt x (mrad)", "tilt y (mrad)", "status"), rows, "numbers")


def _article(each: Answered, number: int | None) -> Html:
    """All of one pattern; with a heading where there are several."""
    head = [] if number is None else [element("h2", file_name(Path(_source(each)).name), class_="pattern")]
    if isinstance(each, Mapping):
        content: list[object] = [banner(str(each.get("status", "")), str(each.get("message", "")))]
    else:
        content = _parts(each, each.to_json())
    return element("article", *head, *content, id=None if number is None else f"pattern-{number + 1}")


def _parts(result: Reported, facts: Mapping[str, Any]) -> list[object]:
    picture = element(
        "img",
        src=data_url(plot_fit(result)),
        alt="Experiment, fit and residual; radial profiles; sum of squares against thickness",
        class_="picture",
    )
    assumed = {name: Assumed(**each) for name, each in (facts.get("assumed") or {}).items()}
    said = [
        f"{WORDS.get(name, name)}: {in_per_cent(a).replace('-', '−')} (taken: ± {100 * a.sigma:.2g} %)."
        for name, a in assumed.items()
        if a.told
    ]
    if facts.get("budget_lacks"):
        lacking = " and ".join(map(in_words, facts["budget_lacks"]))
        said.append(f"Not in the errors: {lacking}; the library does not know how patterns depend on it.")
    budget = budget_table(result)
    return [
        banner(result.status.name, result.message),
        cards(result),
        picture,
        section("Numbers", number_table(result)),
        section(
            "What the errors contain",
            budget,
            element("p", "The bars show shares of the variance.", class_="label") if budget else "",
            *(element("p", words) for words in said),
        ),
        section("Candidates", candidate_table(result)),
        section("Quality", table((), _quality(result, facts), "facts")),
    ]


def _quality(result: Reported, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds = (facts.get("seconds") or {}).get("total")
    rows = [
        ("residual", f"{result.residual_fraction:.2%} of the pattern's variance"),
        ("misfit", f"{result.misfit_fraction:.2%}: the residual less what noise explains"),
        ("thicknesses within 10 % of the least χ²", _range10(facts)),
        ("reduced χ²", f"{result.reduced_chi2:.3g}"),
        ("noise", _noise(facts.get("noise"))),
        ("route", str(facts.get("route", ""))),
        ("method", str(facts.get("method", ""))),
        ("time", "" if seconds is None else f"{seconds:.2f} s"),
    ]
    return [row for row in rows if row[1]]


def _range10(facts: Mapping[str, Any]) -> str:
    found = (facts.get("thickness_nm") or {}).get("range10percent")
    return "" if not found else f"{found[0]:.2f} … {found[1]:.2f} nm"


def _noise(found: Mapping[str, Any] | None) -> str:
    """The words of a `CameraNoise`, from its JSON."""
    if not found:
        return ""
    tail = found.get("tail")
    known = {**found, "correlation": tuple(found["correlation"]), "tail": tail and Assumed(**tail)}
    return CameraNoise(**known).words.strip().removeprefix("noise: ")
