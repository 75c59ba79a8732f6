"""The report of a map."""

from __future__ import annotations

from test_fit_report import MADE, Reader

from hybridfit.flags import map_status
from hybridfit.plot.html import REMEDIES
from hybridfit.report import Origin, map_report


def test_statuses_come_first_with_what_to_do(make_map):
    scan = make_map(step=0.5)
    read = Reader(map_report(scan, Origin(made=MADE)))
    assert not read.open and "script" not in read.tags and read.tags.count("img") == 1
    for name, count in map_status(scan).items():
        assert f"{name.replace('_', ' ')} {count} " in read.text and REMEDIES[name] in read.text
    assert read.text.index("Use the positions that converged") < read.text.index("median error")
    assert "0.5 nm between positions" in read.text and "there is no disc, in this frame" in read.text


def test_a_map_that_mostly_failed_says_so_first(make_map):
    read = Reader(map_report(make_map(hole=0.7), Origin(made=MADE)))
    assert "Most positions did not converge." in read.text


def test_attributes_from_outside_stay_text(make_map):
    scan = make_map()
    scan.attrs |= {"source": "<script>x</script>.nc", "source_note": "<b>note</b>"}
    scan["message"][:] = "<img onerror=alert(1)>"
    read = Reader(map_report(scan, Origin(made=MADE)))
    assert "script" not in read.tags and read.tags.count("img") == 1 and "<b>note</b>" in read.text
