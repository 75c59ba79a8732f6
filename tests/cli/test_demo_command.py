"""`hybridfit demo`: the answer compared with the truth."""

from __future__ import annotations

import shlex
from pathlib import Path


def test_demo_ends_with_a_line_that_can_be_typed(run, small_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run("demo", "--library", small_recipe, "--seed", 3)
    assert (ran.code, ran.err) == (0, "")
    assert Path("demo.png").read_bytes().startswith(b"\x89PNG")
    assert "truth" in ran.out and "42.3000" in ran.out
    pulls = [float(line.split()[-1]) for line in ran.out.splitlines() if line.startswith(("thick", "tilt"))]
    assert len(pulls) == 3 and max(map(abs, pulls)) < 5
    last = ran.out.splitlines()[-1]
    assert last.startswith("Next: hybridfit fit demo_frame.tif --semi-angle 13.6 ")
    ran = run(*shlex.split(last)[2:], "--hint-thickness", "42", "--hint-tilt", "1.3,-0.7")  # is quicker
    assert (ran.code, ran.err) == (0, "")
    assert Path("fit.png").exists()


def test_unusable_arguments(refused, tmp_path):
    refused("demo.bmp", "demo", "--output", tmp_path / "demo.bmp")
    refused("without a suffix", "demo", "--output", ".")
    refused("nosuch", "demo", "--output", tmp_path / "nosuch" / "demo.png")
    refused("seed", "demo", "--seed", "-1", "--output", tmp_path / "fit.png")
