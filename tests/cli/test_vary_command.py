"""`hybridfit fit --vary`, and --together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hybridfit import Library, simulate_frame
from hybridfit.library.recipe import shipped_folder

RECIPE = """
cif = "{cif}"
zone = [0, 0, 1]
in_plane = [1, 0, 0]
energy_kv = 200.0
g_max = 0.8
semi_angle_max = 6.5
tilt_max = 0.5
sampling = 0.8
thickness = {{ start = 8.0, stop = 14.0 }}
"""
KNOWN = (
    "--semi-angle 6 --method lsf --hint-scale 4 --hint-rotation 12 --hint-thickness 11 --hint-tilt 0.2,0.1"
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """SrTiO3; its library is built on first use."""
    path = tmp_path_factory.mktemp("recipe") / "titanate.toml"
    path.write_text(RECIPE.format(cif=shipped_folder() / "SrTiO3.cif"))
    return path


@pytest.fixture(scope="module")
def frames(recipe, tmp_path_factory):
    """Two frames of a titanate whose oxygen vibrates more."""
    folder = tmp_path_factory.mktemp("frames")
    cif = (shipped_folder() / "SrTiO3.cif").read_text().replace("Biso 0.73", "Biso 0.9")
    (folder / "warm.cif").write_text(cif)
    (folder / "warm.toml").write_text(RECIPE.format(cif="warm.cif"))
    library = Library.open(folder / "warm.toml")
    paths = []
    for i, thickness in enumerate((10.4, 11.8)):
        values = {"thickness": thickness, "tilt": (0.2, 0.1), "semi_angle": 6.0, "shape": (80, 80)}
        image, _ = simulate_frame(library, **values, scale=4.0, rotation=12.0, electrons=1e8, seed=i)
        paths.append(folder / f"frame{i}.npy")
        np.save(paths[-1], image.astype(np.uint32))
    return paths


def test_frames_together_tell_a_vibration(run, recipe, frames, tmp_path):
    out = tmp_path / "out.json"
    # a coarse library knows their slopes badly, and frames have the same few beams
    exact = ("--sigma", "energy=0", "--sigma", "semi_angle=0", "--sigma", "library=0")
    words = (*KNOWN.split(), *exact, "--vary", "B:O", "--together", "--json", out)
    ran = run("fit", *frames, "--library", recipe, *words)
    assert ran.code == 0, ran
    assert "Structure from 2 frames" in ran.out and "CIF: 0.73" in ran.out
    told = json.loads(out.read_text())
    assert [each["together"] for each in told] == [[str(frame) for frame in frames]] * 2
    for each, thickness in zip(told, (10.4, 11.8), strict=True):
        assert abs(each["thickness_nm"]["value"] - thickness) < 0.1
        b = each["structure"]["B:O"]
        assert abs(b["value"] - 0.9) < 0.03 and b["interval95"][0] < b["value"] < b["interval95"][1]
        assert each["status"] == "converged"
        assert "vibration" in each["budget"]["B:O"]  # of Sr and Ti


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vary", "B:Xe"], "no such site or element; sites are Sr1, Ti1, O1"),
        (["--vary", "Sr"], "'Sr' is nothing to vary"),
        (["--vary", "x:O1"], "is fixed by the symmetry of its site"),
        (["--together"], "--together goes with --vary"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_is_built(
    refused, recipe, frames, monkeypatch, outputs, words, said
):
    monkeypatch.setattr(Library, "open", lambda *a, **k: pytest.fail("opened"))
    refused(said, "fit", frames[0], "--library", recipe, "--semi-angle", "6", *words, *outputs)


def test_a_library_with_dimensions_is_refused(refused, frames, outputs):
    name = "LaSrMnO3_001_200kV"
    words = ("--library", name, "--semi-angle", "6", "--vary", "occ:La")
    refused("has structural parameters (sr)", "fit", frames[0], *words, *outputs)
