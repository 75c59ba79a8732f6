"""`--report` of fit and show."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.scan.made import TITLE


def test_a_report_of_two_frames(run, frame, options, hints, tmp_path):
    blank = tmp_path / "blank <b>.npy"
    np.save(blank, np.zeros((64, 64)))
    path = tmp_path / "out.html"
    ran = run("fit", frame, blank, *options, *hints, "--report", path)
    assert ran.code == 1 and f"Written: {path}" in ran.out, ran
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "frame.tif" in page and "blank &lt;b&gt;.npy" in page
    assert "hybridfit fit " in page and "--report" in page and "<b>.npy" not in page


def test_what_cannot_be_a_report_is_refused_before_the_fit(refused, frame, options, tmp_path):
    refused("written as .html", "fit", frame, *options, "--report", tmp_path / "out.pdf")
    (tmp_path / "notes.html").write_text("my notes")
    refused("no HTML file", "fit", frame, *options, "--report", tmp_path / "notes.html")


def test_a_report_of_a_map(run, make_map, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridfit.scan.made.NEEDED", ())
    found = make_map(step=0.5).assign_attrs(title=TITLE, settings="{}")
    found["tilt_magnitude_stderr"] = found["tilt_x_stderr"]
    found.to_netcdf(tmp_path / "map.nc")
    ran = run("show", tmp_path / "map.nc", "--report", tmp_path / "map.html")
    assert ran.code == 0 and f"Written: {tmp_path / 'map.html'}" in ran.out, ran
    assert "12 × 16 positions" in (tmp_path / "map.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["fit", "map", "show"])
def test_help_says_what_a_report_is(run, command):
    assert "--report" in run(command, "--help").out
