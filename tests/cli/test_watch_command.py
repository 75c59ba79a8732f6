"""`hybridfit watch`, with real fits."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def place(tmp_path, frame):
    """A folder with a frame and a damaged file, and where the session is."""
    (tmp_path / "in").mkdir()
    shutil.copy(frame, tmp_path / "in" / "frame.tif")
    (tmp_path / "in" / "blank.npy").write_bytes(b"no array")
    return tmp_path


def test_frames_are_fitted_and_said(run, place, options, hints, monkeypatch):
    monkeypatch.setattr("hybridfit.watch.settings.WatchTimes.patience", 0.0)
    arguments = ["watch", place / "in", *options, *hints, "--once", "--session", place / "s"]
    ran = run(*arguments, "--csv", place / "t.csv", "--pattern", "*.tif")
    assert ran.code == 0, ran
    lines = ran.out.splitlines()
    assert lines[0].startswith("Watching ") and "  frame.tif: converged, 32." in lines[1]
    assert lines[-1].startswith("1 files fitted, 1 frames: 1 converged; tables: ")
    with (place / "t.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert abs(float(row["thickness_nm"]) - 32.6) < 0.3
    again = run(*arguments, "--csv", place / "t.csv", "--pattern", "*.tif")
    assert again.out.splitlines()[-1].startswith("No new frames; 1 files had been fitted before"), again


def test_refusals(run, place, options):
    ran = run("watch", place / "nosuch", *options)
    assert ran.code == 2 and "there is no folder" in ran.err
    ran = run("watch", place / "in", *options, "--session", place / "s", "--fix", "nosuch=1")
    assert ran.code == 2 and "unknown parameter" in ran.err and ran.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
def test_ctrl_c_ends_with_a_summary(place, options, cache):
    arguments = ["watch", str(place / "in"), *options, "--new-only", "--session", str(place / "s")]
    process = subprocess.Popen(
        [sys.executable, "-m", "hybridfit", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Watching ")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and out == "No new frames.\n" and err == ""
