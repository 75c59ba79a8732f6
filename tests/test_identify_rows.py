"""Frames of the study of identification: numbered, identified without their crystal, judged anew."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

rows_module = pytest.importorskip("benchmarks.identify_rows")

Shown = rows_module.Shown


def row(left: float, **changes) -> dict:
    """A frame of Al whose best library, of Al, leaves so much of its structure; then Pt."""
    evidence = {
        "libraries": ["Al_001", "Pt_001"],
        "excess": [0.0, 0.5],
        "log_widths": [-9.0, -9.0],
        "off_angles": [0.3, 2.0],
        "n_effective": 300.0,
        "left": [1.0, left, 1e-4, 1.0, 0.01, left / 10, 1e-5, 1e6],
        "lacking": 0.0,
    }
    plain = {"shown": "Al_001", "kind": "library", "nearest": "Al_001", "answer": None, "right": None}
    return plain | {"evidence": evidence} | changes


def test_what_is_asked_is_a_word():
    for asked in (rows_module.Asked(True, False, 126, 55), rows_module.Asked(False, True, 6, 3)):
        assert rows_module.Asked.of(asked.word) == asked


def test_frames_are_found_by_number(monkeypatch):
    monkeypatch.setattr(rows_module, "frames", lambda *_: iter("abcde"))
    found = rows_module._Frames(rows_module.Asked(True, True, 3, 2), 1)
    assert [found.at(i) for i in (0, 1, 3, 2, 4)] == ["a", "b", "d", "c", "e"]


def test_rows_are_judged_by_the_present_odds():
    good, bad = (rows_module.answered(row(left)) for left in (0.001, 0.9))
    assert good["answer"] == "Al_001" and good["right"] and good["probability"] > 0.9
    assert bad["answer"] is None and not bad["right"] and bad["none"] == bad["probability"] > 0.9
    refused = {"shown": None, "refused": "nothing resembles it", "right": True}
    assert rows_module.answered(refused) is refused
    with pytest.raises(ValueError, match="now it is Al_001: run the study without --resume"):
        rows_module.answered(row(0.001, nearest="Pt_001"))


def test_rows_of_a_wrong_library_set_no_numbers():
    left_out = row(0.5, shown=None, kind="Al_001" + rows_module.LEFT_OUT)
    rows = [row(0.01), row(0.01, shown="Pt_001"), left_out, row(0.5, shown=None, kind="vacuum")]
    found = rows_module.judged(rows)
    assert [(each.crystal, each.kind) for each in found] == [
        ("Al", "right"),
        ("Al", "another crystal"),
        ("vacuum", "no crystal"),
    ]
    assert found[0].evidence.left.left == 0.01


class Fake:
    """Identifies a frame with the first library that it knows."""

    def __init__(self, *names: str) -> None:
        self.known = [SimpleNamespace(name=name, absorption=i) for i, name in enumerate(names)]


def test_a_frame_is_identified_without_its_crystal_and_among_heavy_ones(monkeypatch):
    names = {name: name for name in ("Al_001", "Al_011", "Si_001", "Cu_001", "W_001", "Pt_001")}
    monkeypatch.setattr(
        rows_module, "_row", lambda fake, shown, _: {"kind": shown.kind, "nearest": fake.known[0].name}
    )
    fake, image = Fake(*names), np.zeros((2, 2))
    rows = rows_module._without(fake, Shown(image, "Al_001", "library", {}), names, {"nearest": "Al_001"})
    assert [(each["kind"], each["nearest"]) for each in rows] == [
        ("Al_001, left out", "Si_001"),
        ("Al_001, among heavy ones", "W_001"),
    ]
    assert len(fake.known) == 6
    of_none = Shown(image, None, "Ti_001", {})
    assert [each["kind"] for each in rows_module._without(fake, of_none, names, {"nearest": "Cu_001"})] == [
        "Ti_001, among heavy ones"
    ]
    assert rows_module._without(fake, of_none, names, {"nearest": "Pt_001"}) == []
