"""`hybridfit identify`, `--library auto`, and what a poor match says of other libraries."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from hybridfit import Library
from hybridfit.session import Session


@pytest.fixture(scope="module")
def other(build_library, tmp_path_factory):
    """A library of another crystal that reaches as far as the frame's."""
    path = tmp_path_factory.mktemp("other") / "rutile.nc"
    build_library(
        "rutile", (0, 0, 1), semi_angle_max=12.5, tilt_max=1.5, sampling=0.8,
        thickness={"start": 20, "stop": 44, "step": 3},
    ).save(path)  # fmt: skip
    return path


@pytest.fixture
def alone(cache, small_recipe, small_library, tmp_path, monkeypatch):
    """A cache with the library of the frame and nothing else; what is kept in it stays in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    path = Library.cached_path(small_recipe)
    os.link(path, folder / path.name)
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(folder))
    return folder / path.name


def test_it_prints_a_table_and_the_answer_and_writes_both_files(run, frame, small_recipe, other, tmp_path):
    out, picture = tmp_path / "out.json", tmp_path / "found.png"
    names = ["--among", small_recipe, "--among", other]
    ran = run("identify", frame, "--semi-angle", 12, *names, "--json", out, "--plot", picture)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split()[:3] == ["library", "odds", "nm"]
    assert lines[2].split()[0] == str(small_recipe) and "none of these" in ran.out
    assert f"{frame}: The frame shows SrTiO3 [0 0 1] 200 kV" in ran.out.replace("probably ", "")
    assert lines[-1] == f"Written: {picture}, {out}"
    assert picture.read_bytes().startswith(b"\x89PNG")
    (answer,) = json.loads(out.read_text())
    assert answer["answer"] == str(small_recipe) and answer["probability"] > 0.9
    assert answer["matches"][0]["thickness_nm"] == pytest.approx(32.6, abs=0.3)
    assert sum(m["probability"] for m in answer["matches"]) + answer["none"] == pytest.approx(1)


def test_a_library_that_does_not_reach_the_semi_angle_is_named(
    run, frame, small_recipe, build_library, tmp_path
):
    short = tmp_path / "short.nc"
    build_library("SrTiO3", (0, 0, 1)).save(short)
    ran = run("identify", frame, "--semi-angle", 12, "--among", small_recipe, "--among", short)
    assert f"Not compared: {short}: it reaches 6 mrad, and the semi-angle is 12." in ran.out


@pytest.mark.parametrize(
    "words, options",
    [
        ("--among and --all exclude each other", ["--among", "x.nc", "--all"]),
        ("there is no library file", ["--among", "x.nc"]),
        ("unknown library 'x'", ["--among", "x"]),
        ("cannot be right; give it in mrad", ["--semi-angle", "0.01"]),
        ("pictures are written as", ["--plot", "found.gif"]),
    ],
)
def test_what_is_refused(run, frame, words, options):
    ran = run("identify", frame, *(options if "--semi-angle" in options else ["--semi-angle", 12, *options]))
    assert ran.code == 2 and words in ran.err and ran.err.count("\n") == 1


def test_of_several_frames_a_bad_one_does_not_stop_the_others(run, frame, small_recipe, tmp_path):
    np.save(tmp_path / "empty.npy", np.zeros((96, 96)))
    out = tmp_path / "out.json"
    words = ["--semi-angle", 12, "--among", small_recipe, "--json", out, "-q"]
    ran = run("identify", tmp_path / "empty.npy", frame, *words)
    assert ran.code == 1 and ran.out == ""
    bad, good = json.loads(out.read_text())
    assert bad["status"] == "unusable" and good["answer"] == str(small_recipe)


def test_library_auto_takes_the_library_that_the_frame_shows(run, frame, alone):
    ran = run("fit", frame, "--semi-angle", 12, "--library", "auto")
    assert ran.code == 0
    assert f"hybridfit: library {alone}. The frame shows SrTiO3 [0 0 1] 200 kV" in ran.err.replace(
        "probably ", ""
    )
    assert "The fit converged." in ran.out


def test_a_watch_takes_the_library_that_its_frames_show(run, frame, alone, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(frame, tmp_path / "in" / "frame.tif")
    words = ["--semi-angle", 12, "--library", "auto", "--once", "--session", tmp_path / "s"]
    ran = run("watch", tmp_path / "in", *words)
    assert ran.code == 0, ran
    assert ran.out.splitlines()[0] == f"Watching {tmp_path / 'in'} with the libraries that are built."
    assert "  frame.tif: converged, 32." in ran.out
    assert f"frame.tif: library {alone}. The frame shows SrTiO3 [0 0 1] 200 kV" in ran.err.replace(
        "probably ", ""
    )
    with Session(tmp_path / "s") as session:
        assert [row["library"] for row in session.rows()] == [str(alone)]


def test_library_auto_where_the_frame_shows_none(run, alone, tmp_path):
    row, col = np.indices((96, 96))
    disc = np.clip(27 - np.hypot(row - 47, col - 48), 0, 1)
    np.save(tmp_path / "vacuum.npy", np.random.default_rng(0).poisson(300 * disc + 1))
    ran = run("fit", tmp_path / "vacuum.npy", "--semi-angle", 12, "--library", "auto")
    assert ran.code == 2 and "Name a library (--library), or build one" in ran.err


def test_a_poor_match_names_the_library_that_fits(run, frame, other, alone, capsys):
    said = {}
    for turn in ("untried", "tried"):
        ran = run("fit", frame, "--semi-angle", 12, "--library", other)
        assert ran.code == 0 and "The best match is poor" in ran.out
        said[turn] = ran.out
        assert run("identify", frame, "--semi-angle", 12, "-q").code == 0  # which keeps templates
    assert "`hybridfit identify` says whether another library" in said["untried"]
    assert f"One other built library was tried: {alone} fits it (" in said["tried"]
