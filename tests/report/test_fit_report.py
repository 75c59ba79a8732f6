"""The report of fits: what is in it, and that nothing from outside becomes markup."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hybridfit import FitSettings, Status
from hybridfit.errors import InputError
from hybridfit.plot.html import REMEDIES
from hybridfit.plot.style import STATUS_COLOURS
from hybridfit.report import FileFacts, Origin, fit_report, write_report
from hybridfit.report.citation import DOI, PAPER
from hybridfit.report.page import POLICY
from hybridfit.session import Kept, KeptAnswer, kept_of

MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Reader(HTMLParser):
    """Collects the elements and the words of a page; complains of what is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_everything_is_in_the_report(fitted, made_library):
    settings = FitSettings(12.0, method="lsf", fix={"blur": None}, bounds={"scale": (2.0, 3.0)})
    page = fit_report(fitted, Origin(settings, made_library, command="hybridfit fit x.tif", made=MADE))
    read = Reader(page)
    assert not read.open and read.tags.count("img") == 1 and read.tags.count("article") == 1
    thickness = fitted["thickness"]
    digest = hashlib.sha256(Path(fitted.source).read_bytes()).hexdigest()
    for words in (
        REMEDIES["converged"],
        fitted.message,
        f"{thickness.value:.2f}"[:4],
        "What the errors contain",
        "counting",
        "Candidates",
        "blur: at the search's value",
        "scale: 2 … 3",
        "hybridfit fit x.tif",
        digest,
        made_library.dataset.attrs["checksum"],
        "Abramov",  # where the CIF says that its structure is from
        "numpy",
        DOI,
        "2026-01-02 03:04:05 UTC",
    ):
        assert words in read.text, words
    # the remedy comes before the numbers
    assert (
        read.text.index(REMEDIES["converged"]) < read.text.index("95 %:") < read.text.index("standard error")
    )


def test_nothing_is_fetched_and_nothing_runs(fitted):
    page = fit_report(fitted, Origin(made=MADE))
    read = Reader(page)
    assert "script" not in read.tags and ("content", POLICY) in read.attributes
    sources = [value for name, value in read.attributes if name in ("src", "href")]
    assert sources and all(value.startswith("data:image/svg+xml;base64,") for value in sources)
    assert not re.search(r"url\(|@import|https?://", page)
    assert page == fit_report(fitted, Origin(made=MADE))  # the same again


def test_names_from_outside_stay_text(fitted):
    name = "a<script>alert(1)</script><img src=x onerror=alert(2)>\udcff\u202e.tif"
    answers = [
        replace(fitted, source=name),
        {"file": name, "status": "unusable", "message": f"{name} is zero"},
    ]
    page = fit_report(answers, Origin(command=f"hybridfit fit '{name}'", network=name, made=MADE))
    read = Reader(page)
    assert "script" not in read.tags and read.tags.count("img") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "<script>alert(1)" in read.text and REMEDIES["unusable"] in read.text
    page.encode("utf-8")


def test_several_patterns_have_an_overview_with_links(fitted):
    bound = replace(fitted, status=Status.at_bound, detail="scale")
    read = Reader(fit_report([fitted, bound], Origin(files=(), made=MADE)))
    links = [value for name, value in read.attributes if name == "href"]
    ids = [value for name, value in read.attributes if name == "id"]
    assert links == ["#pattern-1", "#pattern-2"] and ids == ["pattern-1", "pattern-2"]
    assert "2 patterns" in read.text and REMEDIES["at_bound"] in read.text and "SHA-256" not in read.text


def test_frames_of_a_stack_share_a_file(fitted):
    of_stack = [replace(fitted, source=f"{fitted.source}[{i}]") for i in range(2)]
    read = Reader(fit_report(of_stack, Origin(made=MADE)))
    assert read.text.count("SHA-256") == 1
    gone = Reader(fit_report(fitted, Origin(files=[FileFacts("gone.tif")], made=MADE)))
    assert "not there when this report was made" in gone.text


def test_every_status_has_a_remedy():
    assert set(REMEDIES) == set(STATUS_COLOURS)


def test_the_citation_is_that_of_the_repository():
    cff = Path(__file__).parents[2] / "CITATION.cff"
    paper = cff.read_text(encoding="utf-8").partition("references:")[2]
    found = dict(
        re.findall(r'^\s+(title|journal|volume|start|end|year|doi): "?([^"\n]+)', paper, re.MULTILINE)
    )
    assert len(found) == 7
    for words in (*found.values(), "Xu", "LeBeau"):
        assert words in f"{PAPER} {DOI}", words


def test_a_report_replaces_reports_alone(tmp_path):
    path = tmp_path / "out.html"
    write_report(path, "<!doctype html>\n<html></html>")
    write_report(path, "<!doctype html>\n<html>2</html>")
    assert "2" in path.read_text()
    path.write_text("notes")
    with pytest.raises(InputError, match="no HTML file"):
        write_report(path, "<html>")
    with pytest.raises(InputError, match=r"written as \.html"):
        write_report(tmp_path / "out.pdf", "<html>")
    assert path.read_text() == "notes"


def test_a_fit_of_the_session_has_the_same_report(fitted):
    """What `hybridfit serve` reports on is kept as JSON and images."""
    whole = fitted.to_json()
    kept = KeptAnswer(json.loads(json.dumps(whole)), Kept.unpacked(kept_of(fitted).packed()))
    ours, theirs = (Reader(fit_report(each, Origin(made=MADE))) for each in (fitted, kept))
    assert theirs.text == ours.text
