"""The progress bar: text in a terminal and in a file, HTML in a notebook, whatever calls it."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest

from hybridfit import ProgressBar
from hybridfit.scan.run import MapReport


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_of_a_file_are_few():
    stream = io.StringIO()
    bar = ProgressBar("library", stream)
    for i in range(101):
        bar(i / 100)
    assert stream.getvalue() == "library 0 %\nlibrary 100 %\n"


def test_a_terminal_is_written_over():
    stream = Terminal()
    bar = ProgressBar(stream=stream)
    bar("search", 0.0)
    bar("refine", 0.5)
    bar("refine", 1.0)
    assert stream.getvalue() == "\r\x1b[Ksearch 0 %\r\x1b[Krefine 50 %\r\x1b[Krefine 100 %\n"


def test_maps_say_how_many_and_how_long():
    stream = io.StringIO()
    ProgressBar(stream=stream)(MapReport("positions", 5, 20, 10.0, 0.25, 0.0))
    assert stream.getvalue() == "positions: 5 of 20, 1:00 left 25 %\n"


@pytest.fixture
def shown(monkeypatch):
    """What a stand-in for a notebook was given to show."""
    out = []
    handle = SimpleNamespace(update=lambda data, raw: out.append(("update", data)))

    def display(data, *, raw, display_id):
        out.append(("new", data))
        return handle

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=1)
    ipython.display, module.display = module, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return out


def test_a_notebook_gets_one_bar(shown):
    bar = ProgressBar("<b>")
    bar("seed", 0.0)
    bar("seed", 1.0)
    assert [what for what, _ in shown] == ["new", "update"]
    assert '<progress value="1.0000"' in shown[1][1]["text/html"] and "&lt;b&gt;" in shown[0][1]["text/html"]
    assert shown[1][1]["text/plain"] == "<b> seed 100 %"
