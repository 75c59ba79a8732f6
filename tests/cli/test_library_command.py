"""`hybridfit library`: building, listing and describing libraries."""

from __future__ import annotations

import signal

import xarray as xr

from hybridfit.library.library import Library


def test_library_build_show_list(run, small_recipe, small_library, tmp_path):
    recipe, target = tmp_path / "tiny.toml", tmp_path / "tiny.nc"
    text = small_recipe.read_text().replace("semi_angle_max = 14.0", "semi_angle_max = 4.0")
    text = text.replace("stop = 60.0", "stop = 5.0").replace(
        '"SrTiO3.cif"', f'"{small_recipe.parent}/SrTiO3.cif"'
    )
    recipe.write_text(text)
    before = run("library", "show", recipe)
    assert before.code == 0 and "library build" in before.out
    ran = run("library", "build", recipe, "-o", target, "--device", "cpu")
    assert (ran.code, ran.err) == (0, "") and str(target) in ran.out
    assert Library.open(target).thickness_range == (1.0, 5.0)
    shown = run("library", "show", target)
    assert shown.code == 0 and "0 0 1" in shown.out and "1 … 5" in shown.out
    assert run("library", "build", recipe).code == 0  # into the cache
    cached = Library.cached_path(recipe)
    whole = cached.read_bytes()
    cached.write_bytes(whole[:5000])
    shown = run("library", "show", recipe)
    assert shown.code == 0 and "no longer usable" in shown.out and "1 … 5" in shown.out
    cached.write_bytes(whole)
    listed = run("library", "list").out
    assert "SrTiO3_001_200kV" in listed and "tiny" in listed and "small" in listed


def test_a_build_that_is_interrupted_leaves_nothing(run, small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(xr.Dataset, "to_netcdf", lambda *a, **k: signal.raise_signal(signal.SIGINT))
    target = tmp_path / "half.nc"
    ran = run("library", "build", small_recipe, "-o", target)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "hybridfit: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_unusable_recipes_and_devices(refused, small_recipe, tmp_path):
    (tmp_path / "bad.toml").write_text("zone = 3")
    refused("bad.toml", "library", "build", tmp_path / "bad.toml")
    refused("'GaN'", "library", "build", "GaN")
    refused("'quantum'", "library", "build", small_recipe, "--device", "quantum")
    refused("tiny.zarr", "library", "build", small_recipe, "-o", tmp_path / "tiny.zarr")
    refused("not a recipe", "library", "build", tmp_path / "tiny.nc")
