"""Structural parameters as users type them: held with --fix, listed, and reported with the fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hybridfit import Library, simulate_frame
from hybridfit.library.recipe import shipped_folder
from hybridfit.scan.maps import read_map

RECIPE = f"""
cif = "{shipped_folder() / "SrTiO3.cif"}"
zone = [1, 0, 0]
in_plane = [0, 0, 1]
energy_kv = 200.0
g_max = 0.8
semi_angle_max = 6.0
tilt_max = 1.5
sampling = 0.5
thickness = {{ start = 18.0, stop = 26.0 }}

[parameters.ti_shift]
values = [0.0, 0.1, 0.2]
unit = "Å"
displace = {{ Ti1 = [0.0, 0.0, 1.0] }}

[parameters.warmth]
values = [1.0, 2.0]
debye_waller = {{ all = 1.0 }}
"""
KNOWN = (
    "--semi-angle 6 --method lsf --hint-scale 4 --hint-rotation 12 --hint-thickness 22 --hint-tilt 0.5,0.2"
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe with two structural parameters; its library is built on first use."""
    path = tmp_path_factory.mktemp("recipe") / "titanium.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def frame(recipe, tmp_path_factory):
    """Titanium moved by 0.1 Å, everything twice as warm."""
    library = Library.open(recipe).at(ti_shift=0.1, warmth=2.0)
    image, _ = simulate_frame(
        library, thickness=22.0, tilt=(0.5, 0.2), semi_angle=6.0, shape=(80, 80), scale=4.0, rotation=12.0
    )
    path = tmp_path_factory.mktemp("frame") / "frame.npy"
    np.save(path, image.astype(np.uint32))
    return path


def test_library_show_lists_the_parameters(run, recipe, frame, tmp_path):
    copy = tmp_path / "unbuilt.toml"
    copy.write_text(RECIPE.replace("26.0", "27.0"))
    for name in (recipe, copy):
        shown = run("library", "show", name)
        assert shown.code == 0, shown
        lines = [" ".join(line.split()) for line in shown.out.splitlines()]
        assert any("ti_shift (Å) 0, 0.1, 0.2; continuous" in line for line in lines), shown.out
        assert any("warmth 1, 2; discrete" in line for line in lines), shown.out


def test_a_fit_finds_or_holds_them(run, recipe, frame, tmp_path):
    out, plot = tmp_path / "out.json", tmp_path / "fit.png"
    ran = run("fit", frame, "--library", recipe, *KNOWN.split(), "--json", out, "--plot", plot)
    assert ran.code == 0 and "ti_shift" in ran.out and "odds 1:" in ran.out and plot.exists()
    found = json.loads(out.read_text())[0]["structure"]
    assert set(found["ti_shift"]) == {"value", "stderr", "interval95", "unit"}
    assert abs(found["ti_shift"]["value"] - 0.1) < 0.01 and found["ti_shift"]["unit"] == "Å"
    assert found["warmth"]["value"] == 2 and found["warmth"]["odds"]["2"] > 0.9
    words = ("--fix", "ti_shift=0.2", "--fix", "warmth=1")
    ran = run("fit", frame, "--library", recipe, *KNOWN.split(), "--json", out, *words)
    assert ran.code == 0, ran
    found = json.loads(out.read_text())[0]["structure"]
    assert found["ti_shift"]["value"] == 0.2 and found["ti_shift"]["stderr"] is None
    assert found["warmth"]["value"] == 1 and "odds" not in found["warmth"]


def test_a_map_has_them(run, recipe, frame, tmp_path):
    np.save(tmp_path / "scan.npy", np.load(frame)[None, None])
    out = tmp_path / "map.nc"
    words = "--semi-angle 6 --method lsf --workers 1 --fix scale=4 --hint-rotation 14 --common none"
    ran = run("map", tmp_path / "scan.npy", "--library", recipe, *words.split(), "-o", out)
    assert ran.code == 0 and "ti_shift" in ran.out and "warmth: 1 at 2, median odds" in ran.out, ran
    assert abs(read_map(out)["ti_shift"].item() - 0.1) < 0.01
    ran = run("show", out, "--at", "0,0")
    assert ran.code == 0 and "ti_shift" in ran.out and "warmth" in ran.out


@pytest.mark.parametrize(
    ("fix", "words"),
    [
        ("ti_shfit=0.1", "unknown parameter 'ti_shfit'; the parameters are thickness"),
        ("ti_shift=0.3", "ti_shift = 0.3 is outside this library (0 … 0.2); build one with other values"),
        ("warmth=1.5", "warmth = 1.5 is outside this library (1, 2)"),
    ],
)
def test_what_cannot_be_fixed_is_refused_before_anything_is_built(
    refused, recipe, frame, tmp_path, outputs, monkeypatch, fix, words
):
    monkeypatch.setattr(Library, "open", lambda *a, **k: pytest.fail("opened"))
    refused(words, "fit", frame, "--library", recipe, "--semi-angle", "6", "--fix", fix, *outputs)
    np.save(tmp_path / "scan.npy", np.load(frame)[None, None])
    given = ("--library", recipe, "--semi-angle", "6", "--fix", fix, "-o", tmp_path / "map.nc")
    refused(words, "map", tmp_path / "scan.npy", *given)


def test_an_unknown_library_is_said_to_be_unknown(refused, frame, outputs):
    refused("'GaN'", "fit", frame, "--library", "GaN", "--semi-angle", "6", "--fix", "polarity=1", *outputs)
