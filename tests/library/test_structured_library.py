"""Libraries with structural parameters: built on common ground, cut, blended, saved and opened."""

from __future__ import annotations

from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import LibraryError, RecipeError
from hybridfit.library.crystals import StructuralChange
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.model import PARAMETERS, ForwardModel
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.pool import Pool
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.distortions import displaced

VALUES = {
    "cif": shipped_folder() / "SrTiO3.cif",
    "zone": (1, 0, 0),
    "in_plane": (0, 0, 1),
    "energy_kv": 200,
    "g_max": 0.8,
    "semi_angle_max": 5,
    "tilt_max": 1,
    "sampling": 0.6,
    "thickness": {"start": 18, "stop": 22},
}
SHIFT = {"values": (-0.3, -0.1, 0.0, 0.1, 0.3), "unit": "Å", "displace": {"Ti1": (0, 0, 1)}}
WARMTH = {"values": (1.0, 1.5), "debye_waller": {"all": 1.0}}
K = np.linspace(-9, 9, 25)


def build(parameters=None, **changes) -> Library:
    return Library.build(Recipe(**VALUES, parameters=changes), parameters=parameters, diffuse=False)


@pytest.fixture(scope="module")
def library() -> Library:
    """Titanium along +x by −0.3 … 0.3 Å, continuous; all B once and one and a half times, discrete."""
    return build(shift=SHIFT, warmth=WARMTH)


def refused(kind, function, *args, **kwargs) -> str:
    with pytest.raises(kind) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- building


def test_structural_parameters_are_dimensions(library):
    intensity = library.dataset.intensity
    assert intensity.dims == ("shift", "warmth", "thickness", "beam", "direction")
    np.testing.assert_array_equal(intensity["shift"], SHIFT["values"])
    assert intensity["shift"].attrs["units"] == "Å" and intensity.dtype == np.float32
    shift, warmth = library.structure.values()
    assert (shift.kind, shift.unit, shift.reference) == ("continuous", "Å", 0.0)
    assert (warmth.kind, warmth.reference) == ("discrete", 1.0)
    assert "shift -0.3 … 0.3, warmth 1 … 1.5" in repr(library)


def test_every_value_is_what_a_library_of_that_crystal_is(library):
    """On common beams and directions, whatever the symmetry of each is."""
    alone = build()
    assert len(library.dataset.symmetry) < len(alone.dataset.symmetry)
    for tilt in ((0.0, 0.0), (0.7, -0.4)):
        at = {"thickness": 20.3, "tilt_x": tilt[0], "tilt_y": tilt[1], "semi_angle": 5, "k": K}
        found = library.patterns(shift=0, warmth=1, **at)
        np.testing.assert_allclose(found, alone.patterns(**at), atol=1e-3)


def test_a_displacement_breaks_the_symmetry_the_right_way(library):
    """Inverting the displacement inverts the pattern: P₋(k; τ) = P₊(−k; −τ)."""
    at = {"thickness": 20, "tilt_y": 0.3, "semi_angle": 5, "k": K, "warmth": 1}
    up = library.patterns(shift=0.3, tilt_x=0.5, **at).values[0, 0, 0]
    down = library.patterns(shift=-0.3, tilt_x=-0.5, **at | {"tilt_y": -0.3}).values[0, 0, 0]
    np.testing.assert_allclose(down, up[::-1, ::-1], atol=1e-3)
    straight = library.patterns(shift=0.3, **at | {"tilt_y": 0.0}).values[0, 0, 0]
    assert np.abs(straight - straight[:, ::-1]).max() > 0.02  # along x
    np.testing.assert_allclose(straight, straight[::-1], atol=1e-3)


def test_a_parameter_of_python_is_that_of_the_recipe():
    def warmer(crystal: Crystal, value: float) -> Crystal:
        return replace(crystal, debye_waller=value * crystal.debye_waller)

    python = build({"warmth": StructuralChange((1.0, 1.5), warmer)})
    recipe = build(warmth=WARMTH)
    xr.testing.assert_equal(python.dataset, recipe.dataset)
    assert python.structure["warmth"].kind == "discrete"
    checksums = {lib.dataset.attrs["checksum"] for lib in (python, recipe, build())}
    checksums.add(build({"warmth": StructuralChange((1.0, 1.6), warmer)}).dataset.attrs["checksum"])
    checksums.add(build({"warmth": StructuralChange((1.0, 1.5), lambda c, v: c)}).dataset.attrs["checksum"])
    assert len(checksums) == 5


def test_atoms_that_are_added_come_where_the_others_are():
    """Whatever the order in the recipe: displaced lanthanum with the strontium that it replaces."""
    mixed = {"values": (0.0, 0.5), "occupancy": {"Sr1": {"La": 1.0, "Sr": -1.0}}}
    moved = {"values": (0.0, 0.2), "displace": {"Sr1": (0, 0, 1)}}
    one, other = build(mixed=mixed, moved=moved), build(moved=moved, mixed=mixed)
    turned = other.dataset.intensity.transpose(*one.dataset.intensity.dims)
    np.testing.assert_array_equal(one.dataset.intensity, turned)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"p": StructuralChange((0.0, 0.1), lambda c, v: v)}, ["parameter p", "at 0", "float", "Crystal"]),
        ({"p": StructuralChange((0.1, 0.0), lambda c, v: c)}, ["parameter p", "ascending"]),
        ({"p": StructuralChange((0.0, 0.1), lambda c, v: c, kind="odd")}, ["parameter p", "'odd'"]),
        ({"blur": StructuralChange((0.0, 0.1), lambda c, v: c)}, ["blur", "taken"]),
        ({"shift": StructuralChange((0.0, 0.1), lambda c, v: c)}, ["shift", "already"]),
    ],
)
def test_parameters_that_do_not_go_with_the_crystal_are_refused(parameters, words):
    message = refused(RecipeError, build, parameters, shift=SHIFT)
    assert all(word in message for word in words), message


def test_a_crystal_that_cannot_be_is_refused_with_the_name_of_the_parameter(crystals):
    full = {"values": (0.0, 2.0), "occupancy": {"Sr1": {"Sr": 1.0}}}
    assert "parameter full: value 2" in refused(RecipeError, build, full=full)
    lost = {"values": (0.0, 1.0), "displace": {"Sr9": (0, 0, 1)}}
    assert "parameter lost: there is no site 'Sr9'" in refused(RecipeError, build, lost=lost)
    path = {"values": (0.0, 1.0), "path": (crystals["GaAs"], crystals["Si"])}
    assert "GaAs.cif is another crystal" in refused(RecipeError, build, path=path)


def test_progress_runs_over_all_values():
    for slopes in (False, True):
        seen: list[float] = []
        recipe = Recipe(**VALUES, parameters={"warmth": WARMTH})
        Library.build(recipe, slopes=slopes, diffuse=slopes, progress=seen.append)
        assert seen == sorted(seen) and seen[-1] == pytest.approx(1)
        assert slopes or 0.5 in seen


# ---------------------------------------------------------------- values


def test_at_takes_what_was_solved(library):
    for i, value in enumerate(SHIFT["values"]):
        part = library.at(shift=value)
        assert part.dataset.intensity.dims == ("warmth", "thickness", "beam", "direction")
        np.testing.assert_array_equal(part.dataset.intensity, library.dataset.intensity[i])
    both = library.at(shift=0.1, warmth=1.5)
    assert both.structure == {} and both.table().intensity.ndim == 3
    assert library.at() is library


def test_between_values_it_is_what_would_have_been_solved(library):
    exact = build({"shift": StructuralChange((0.05, 0.15), library_change)})
    at = {"thickness": [18, 20.4, 22], "tilt_x": [0.0, 0.8], "semi_angle": 5, "k": K}
    for value, low, high, most in ((0.05, 0.0, 0.1, 0.005), (0.15, 0.1, 0.3, 0.02)):
        true = exact.patterns(shift=value, **at)
        away = float(np.abs(library.patterns(shift=value, warmth=1, **at) - true).max())
        below, above = (library.patterns(shift=v, warmth=1, **at) for v in (low, high))
        straight = below + (value - low) / (high - low) * (above - below)
        assert away < most * float(true.max())
        assert away < 0.7 * float(np.abs(straight - true).max())


def library_change(crystal: Crystal, value: float) -> Crystal:
    return displaced(crystal, {"Ti1": (0, 0, 1)})(crystal, value)


def test_a_part_has_the_symmetry_of_its_crystal(library):
    """Titanium in the middle makes a fourfold axis, off it none; between the two there is none."""
    assert library.rotation_order == 1
    orders = {value: library.at(shift=value, warmth=1).rotation_order for value in (0.0, 0.1, 0.05)}
    assert orders == {0.0: 4, 0.1: 1, 0.05: 1}
    assert library.at(warmth=1).rotation_order == 1 and library.at(shift=0).rotation_order == 4


def test_a_part_has_a_checksum_of_its_own(library):
    parts = (library, library.at(shift=0), library.at(shift=0.1), library.at(shift=0, warmth=1))
    assert len({part.dataset.attrs["checksum"] for part in parts}) == 4
    one, other = library.at(shift=0).at(warmth=1), library.at(warmth=1, shift=0)
    assert one.dataset.attrs["checksum"] == other.dataset.attrs["checksum"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shift": 0.4}, ["shift = 0.4", "-0.3 … 0.3"]),
        ({"shift": np.nan}, ["shift = nan"]),
        ({"warmth": 1.2}, ["warmth = 1.2", "1, 1.5"]),
        ({"strain": 0}, ["'strain'", "shift, warmth"]),
    ],
)
def test_values_outside_are_refused(library, values, words):
    message = refused(LibraryError, library.at, **values)
    assert all(word in message for word in words), message


def test_what_needs_one_crystal_asks_for_it(library):
    assert "library.at(shift=0)" in refused(LibraryError, library.table)
    message = refused(LibraryError, library.patterns, thickness=20, semi_angle=5, shift=0)
    assert "varies warmth" in message and "library.at(warmth=1)" in message
    message = refused(LibraryError, library.patterns, thickness=20, semi_angle=5, shfit=0)
    assert "'shfit'" in message


def test_patterns_at_a_value_are_those_of_the_library_there(library):
    at = {"thickness": [19, 20.5], "tilt_x": 0.5, "semi_angle": 4.5, "k": K}
    for values in ({"shift": 0.17, "warmth": 1.5}, {"shift": -0.3, "warmth": 1}):
        one, other = library.patterns(**at, **values), library.at(**values).patterns(**at)
        np.testing.assert_allclose(one, other, atol=1e-6)


# ---------------------------------------------------------------- windows and files


def test_a_window_holds_what_the_blend_needs(library):
    window = library.window(20, shift=(0.12, 0.2), warmth=(1.5, 1.5))
    assert window.dataset["shift"].values.tolist() == [-0.1, 0.0, 0.1, 0.3]
    assert window.dataset.warmth.values.tolist() == [1.5]
    for value in (0.12, 0.2):
        a, b = (each.at(shift=value, warmth=1.5).window(20).dataset for each in (window, library))
        np.testing.assert_array_equal(a.intensity, b.intensity)
    whole = library.window(20, (0.5, 0.0), semi_angle=4).dataset
    assert whole.sizes["shift"] == 5 and whole.sizes["direction"] < library.dataset.sizes["direction"]


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({"shift": (0.2, 0.4)}, ["shift = 0.2 … 0.4", "-0.3 … 0.3"]),
        ({"shift": (0.2, 0.1)}, ["shift = 0.2 … 0.1"]),
        ({"warmth": (1.1, 1.4)}, ["no value in 1.1 … 1.4", "1, 1.5"]),
        ({"strain": (0, 1)}, ["'strain'"]),
    ],
)
def test_a_window_outside_is_refused(library, ranges, words):
    message = refused(LibraryError, library.window, 20, **ranges)
    assert all(word in message for word in words), message


def test_what_is_saved_is_what_is_opened(library, tmp_path):
    path = tmp_path / "library.nc"
    library.save(path)
    opened = Library.open(path)
    xr.testing.assert_equal(opened.dataset, library.dataset)
    assert repr(opened) == repr(library)
    with netCDF4.Dataset(path) as file:
        beams, directions = library.dataset.intensity.shape[-2:]
        assert file["intensity"].chunking() == [1, 1, 1, beams, directions]
    at = {"thickness": 20.3, "semi_angle": 5, "k": K, "shift": 0.05, "warmth": 1}
    xr.testing.assert_identical(opened.patterns(**at), library.patterns(**at))
    opened.window(20, shift=(0, 0)).at(warmth=1).save(tmp_path / "part.nc")
    part = Library.open(tmp_path / "part.nc")
    assert list(part.structure) == ["shift"]
    opened.close()


def test_a_recipe_is_built_once_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path / "cache"))
    text = (shipped_folder() / "SrTiO3.cif").read_text()
    (tmp_path / "cubic.cif").write_text(text)
    (tmp_path / "polar.cif").write_text(
        text.replace("'P m -3 m'", "'P 1'").replace("number             221", "number             1")
        .replace("Ti1 Ti b 1 0.5 0.5 0.5", "Ti1 Ti b 1 0.5 0.5 0.54")
        .replace("O1  O  c 3 0   0.5 0.5 1 Biso 0.73", "\n".join(
            f"O{i + 1} O c 1 {r} 1 Biso 0.73" for i, r in enumerate(("0 .5 .48", ".5 0 .48", ".5 .5 -.02"))
        ))
    )  # fmt: skip
    recipe = tmp_path / "polar.toml"
    recipe.write_text(
        'cif = "cubic.cif"\nzone = [1, 0, 0]\nin_plane = [0, 0, 1]\nenergy_kv = 200\ng_max = 0.6\n'
        "semi_angle_max = 3\ntilt_max = 0.5\nsampling = 0.8\nthickness = { start = 5, stop = 8 }\n"
        "[parameters.polarity]\nvalues = { start = -1, stop = 1, step = 1 }\n"
        'parent = "cubic.cif"\nchild = "polar.cif"\n'
    )
    library = Library.open(recipe)
    assert library.structure["polarity"].kind == "continuous"
    up, none, down = (library.at(polarity=v).dataset.intensity for v in (1, 0, -1))
    assert np.abs(up - none).max() > 0.01 and np.abs(up - down).max() > 0.01
    monkeypatch.setattr(Library, "build", None)
    xr.testing.assert_equal(Library.open(recipe).dataset, library.dataset)


# ---------------------------------------------------------------- the model

SHAPE, CAMERA = (48, 52), Camera(26.3, 22.8, 1.9, 12.0)
MODEL = {
    "thickness": 20.3,
    "tilt_x": 0.4,
    "tilt_y": -0.3,
    **CAMERA._asdict(),
    "semi_angle": 4.5,
    "blur": 0.5,
}


@pytest.fixture(scope="module")
def mask():
    row, col = np.indices(SHAPE)
    return np.hypot(col - CAMERA.centre_x, row - CAMERA.centre_y) <= 10 * CAMERA.scale


@pytest.fixture(scope="module")
def twofold() -> Library:
    """Two continuous parameters, of five and of two values."""
    return build(shift=SHIFT, warmth=WARMTH | {"kind": "continuous"})


def test_structural_parameters_are_parameters_of_the_model(twofold, mask):
    model = ForwardModel(twofold, mask, CAMERA, semi_angle=4.5)
    assert model.parameters == (*PARAMETERS, "shift", "warmth")
    for shift, warmth in ((0.1, 1.5), (0.07, 1.2), (-0.25, 1.0)):
        there = ForwardModel(twofold.at(shift=shift, warmth=warmth), mask, CAMERA, semi_angle=4.5)
        assert there.parameters == PARAMETERS
        found = model.evaluate(MODEL | {"shift": shift, "warmth": warmth}).columns
        np.testing.assert_allclose(found, there.evaluate(MODEL).columns, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("shift", "warmth"), [(0.06, 1.2), (-0.17, 1.4), (0.22, 1.03)])
def test_every_derivative_equals_finite_differences(twofold, mask, shift, warmth, workers):
    model = ForwardModel(twofold, mask, CAMERA, semi_angle=4.5, pool=Pool(workers))
    values = MODEL | {"shift": shift, "warmth": warmth}
    names = ("warmth", "thickness", "tilt_y", "shift", "semi_angle")
    out = model.evaluate(values, names)
    for i, name in enumerate(names):
        h = 1e-2 if name in ("thickness", "warmth") else 1e-3
        up, down = (model.evaluate(values | {name: values[name] + step}).columns for step in (h, -h))
        numerical = (up - down) / (2 * h)
        scale = np.abs(numerical[0]).max()
        np.testing.assert_allclose(out.slopes[i, 0], numerical[0], atol=4e-3 * scale, err_msg=name)
    assert out.per_nm == 0


def test_the_model_of_a_discrete_parameter_is_asked_at_a_value(library, mask):
    message = refused(LibraryError, ForwardModel, library, mask, CAMERA, semi_angle=4.5)
    assert "library.at(warmth=1)" in message
    assert ForwardModel(library.at(warmth=1), mask, CAMERA, semi_angle=4.5).parameters[-1] == "shift"
