"""Libraries whose values have cells of their own: one grid of directions, as many lattices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from hybridfit.errors import RecipeError
from hybridfit.library.axes import moving_of
from hybridfit.library.crystals import StructuralChange
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirrored
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.model import PARAMETERS, ForwardModel
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.pool import Pool
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.distortions import displaced, strained

ZONE, IN_PLANE = (1, 0, 0), (0, 0, 1)
VALUES = {
    "cif": shipped_folder() / "SrTiO3.cif",
    "zone": ZONE,
    "in_plane": IN_PLANE,
    "energy_kv": 200,
    "g_max": 0.62,  # between two shells of beams, as 1.6 times as much is, whatever the strain
    "semi_angle_max": 4,
    "tilt_max": 0.5,
    "sampling": 0.75,
    "thickness": {"start": 18, "stop": 21},
}
NODES = (-0.02, -0.01, 0.0, 0.01, 0.02)
XX = {"values": NODES, "strain": {"xx": 1.0}}
XY = {"values": NODES, "strain": {"xy": 1.0}}
AT = {"thickness": [19.4], "tilt_x": [0.0, 0.4], "tilt_y": [-0.3], "semi_angle": 4.0}  # all there is
K = np.linspace(-8, 8, 23)


def build(parameters=None, **changes) -> Library:
    return Library.build(Recipe(**VALUES, parameters=changes), parameters=parameters, diffuse=False)


@pytest.fixture(scope="module")
def library() -> Library:
    """Stretched along x."""
    return build(strain=XX)


@pytest.fixture(scope="module")
def sheared() -> Library:
    return build(strain=XY)


@pytest.fixture
def alone(monkeypatch):
    """alone(change, value) → the library of the changed crystal and of nothing else."""
    read = Crystal.from_cif

    def make(change, value, values=VALUES) -> Library:
        crystal = change(read(values["cif"]), value)
        with monkeypatch.context() as patch:
            patch.setattr(Crystal, "from_cif", classmethod(lambda cls, path, **given: crystal))
            return Library.build(Recipe(**values), diffuse=False)

    return make


def refused(function, *args, **kwargs) -> str:
    with pytest.raises(RecipeError) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what is solved


def test_every_value_has_a_basis_of_its_own(library):
    data = library.dataset
    assert data.basis.dims == ("strain", "vector", "axis") and moving_of(data) == ("strain",)
    plain = build().dataset
    for i, value in enumerate(NODES):
        stretched = plain.basis.values / [1 + value, 1]
        np.testing.assert_allclose(np.sort(data.basis.values[i], 0), np.sort(stretched, 0), atol=1e-9)
    assert plain.basis.dims == ("vector", "axis") and plain.qx.dims == ("direction",)
    q = data.direction_n.values @ (data.basis.values[4] / data.sampling.values[:, None])
    np.testing.assert_allclose(np.stack([data.qx[4], data.qy[4]], 1), q)


@pytest.mark.parametrize("component", ["xx", "xy"])
@pytest.mark.parametrize("value", [-0.02, 0.01])
def test_a_strained_value_is_the_library_of_that_crystal(request, alone, component, value):
    library = request.getfixturevalue({"xx": "library", "xy": "sheared"}[component])
    exact = alone(strained(ZONE, IN_PLANE, **{component: 1.0}), value)
    np.testing.assert_array_equal(library.dataset.sampling, exact.dataset.sampling)
    found = library.patterns(strain=value, k=K, **AT)
    np.testing.assert_allclose(found, exact.patterns(k=K, **AT), atol=2e-6)
    unlike = np.abs(found - library.patterns(strain=0.0, k=K, **AT)).max()
    assert unlike > 0.01


@pytest.mark.parametrize("component", ["xx", "xy"])
def test_a_sixfold_lattice_may_be_strained(alone, component):
    """A twofold axis is left, and basis vectors that are neither equally long nor perpendicular."""
    values = VALUES | {"zone": (1, 1, 1), "in_plane": (1, -1, 0), "g_max": 0.851}
    values |= {"semi_angle_max": 3.5, "sampling": 0.72}
    recipe = Recipe(**values, parameters={"strain": {"values": NODES, "strain": {component: 1.0}}})
    library = Library.build(recipe, diffuse=False)
    assert library.at(strain=0.0).rotation_order == 6 and library.rotation_order == 2
    exact = alone(strained((1, 1, 1), (1, -1, 0), **{component: 1.0}), 0.014, values)
    at = AT | {"semi_angle": 3.5}
    found = library.patterns(strain=0.014, k=K, **at)  # where the shortest vectors make the same grid
    np.testing.assert_allclose(found, exact.patterns(k=K, **at), atol=1e-5)
    assert np.abs(found - library.patterns(strain=0.0, k=K, **at)).max() > 0.01


def test_between_values_the_error_of_the_blend_is_small(library, alone):
    for value in (0.005, -0.014):
        exact = alone(strained(ZONE, IN_PLANE, xx=1.0), value).patterns(k=K, **AT)
        away = np.abs(library.patterns(strain=value, k=K, **AT) - exact).max()
        nearest = np.abs(library.patterns(strain=round(value, 2), k=K, **AT) - exact).max()
        assert away < 1e-5 * float(exact.max()) and away < 1e-3 * float(nearest)


def test_a_shear_leaves_kx_along_its_vector(sheared):
    """In every cell; what is perpendicular to it no longer is a lattice vector."""
    for value in (-0.02, 0.013):
        data = sheared.at(strain=value).dataset
        along = data.beam_n.values[(data.h == 0) & (data.k == 0) & (data.l == 1)] @ data.basis.values
        other = data.beam_n.values[(data.h == 0) & (data.k == 1) & (data.l == 0)] @ data.basis.values
        assert along[0, 0] > 0 and abs(along[0, 1]) < 1e-9
        angle = np.arctan2(*np.abs(other[0]))
        assert angle == pytest.approx(2 * abs(value), rel=1e-3)


def test_a_strain_lowers_the_symmetry(library, sheared):
    assert len(build().dataset.symmetry) == 8
    assert len(library.dataset.symmetry) == len(sheared.dataset.symmetry) == 4
    both = build(xx=XX | {"values": (0.0, 0.01)}, xy=XY | {"values": (0.0, 0.01)})
    assert len(both.dataset.symmetry) == 2
    assert library.at(strain=0.0).rotation_order == 4
    assert library.at(strain=0.01).rotation_order == library.rotation_order == 2


def test_a_strain_along_the_zone_thins_the_potential(alone):
    """No beam moves; a crystal longer by v scatters as one of 1/(1 + v) of the potential."""
    library = build(strain={"values": (0.0, 0.02), "strain": {"zz": 1.0}})
    assert moving_of(library.dataset) == () and library.dataset.basis.dims == ("vector", "axis")
    base, long = (library.patterns(strain=v, k=K, **AT) for v in (0.0, 0.02))
    assert 1e-3 < np.abs(base - long).max() < 0.1
    exact = alone(strained(ZONE, IN_PLANE, zz=1.0), 0.02)
    np.testing.assert_allclose(long, exact.patterns(k=K, **AT), atol=2e-6)


def test_a_function_in_python_may_change_the_cell(library):
    def stretched(crystal: Crystal, value: float) -> Crystal:
        a, b, c, *angles = crystal.cell
        return replace(crystal, cell=(a, b, c * (1 + value), *angles))

    python = build({"strain": StructuralChange(NODES, stretched)})
    xr.testing.assert_allclose(python.dataset, library.dataset, atol=1e-6)


def test_strains_go_together_and_with_others():
    moved = StructuralChange((0.0, 0.1), displaced(Crystal.from_cif(VALUES["cif"]), {"Ti1": (0, 0, 1)}))
    library = build(
        {"shift": moved}, xx={"values": (0.0, 0.02), **_of("xx")}, yy={"values": (0.0, 0.01), **_of("yy")}
    )
    assert moving_of(library.dataset) == ("xx", "yy") and library.dataset.intensity.ndim == 6
    part = library.at(shift=0.1, xx=0.02)
    assert part.dataset.basis.dims == ("yy", "vector", "axis")
    lengths = np.linalg.norm(part.at(yy=0.01).dataset.basis, axis=1)
    plain = np.linalg.norm(library.at(shift=0.0, xx=0.0, yy=0.0).dataset.basis, axis=1)
    np.testing.assert_allclose(np.sort(plain / lengths), (1.01, 1.02), rtol=1e-9)


def _of(component: str) -> dict:
    return {"strain": {component: 1.0}}


# ---------------------------------------------------------------- refusals


def wrong(cell) -> StructuralChange:
    return StructuralChange((0.0, 0.1), lambda crystal, value: replace(crystal, cell=cell))


@pytest.mark.parametrize(
    ("parameters", "changes", "words"),
    [
        ({"p": wrong((3.9, 3.9, 7.8, 90, 90, 90))}, {}, ["cell 3.9 3.9 7.8", "100%", "a library of each"]),
        ({"p": wrong((3.9, 3.9, 3.9, 90, 90, 200))}, {}, ["200 is none"]),
        ({"p": wrong((3.9, 3.9, np.nan, 90, 90, 90))}, {}, ["nan", "is none"]),
        ({"p": wrong((3.9, 3.9, 3.9))}, {}, ["three lengths"]),
        ({}, {"p": {"values": (0.0, 2.0), "strain": {"xx": 1.0}}}, ["parameter p: value 2", "xx = 0.01"]),
    ],
)
def test_cells_that_are_no_strain_of_the_crystal_are_refused(parameters, changes, words):
    message = refused(build, parameters, **changes)
    assert all(word in message for word in words), message


def test_a_reference_outside_the_zone_is_refused_with_a_strain_as_without():
    recipe = Recipe(**VALUES | {"in_plane": (1, 0, 1)}, parameters={"strain": XX})
    assert "not perpendicular to zone" in refused(Library.build, recipe)
    recipe = recipe.model_copy(update={"in_plane": None})
    assert "parameter strain: it is a strain along kx" in refused(Library.build, recipe)


# ---------------------------------------------------------------- parts and files


def test_between_values_the_lattice_is_that_of_the_strain(library):
    for value in (0.0137, -0.0061):
        basis = library.at(strain=value).dataset.basis.values
        plain = library.at(strain=0.0).dataset.basis.values
        np.testing.assert_allclose(basis, plain / [1 + value, 1], rtol=1e-7, atol=1e-9)
    assert library.at(strain=0.0137).dataset.qx.dims == ("direction",)


def test_directions_and_beams_suffice_for_every_value(library, sheared):
    """Composed at the largest tilt and semi-angle, nothing is missing at the rim."""
    for each in (library, sheared):
        for value in NODES:
            part = each.at(strain=value)
            whole = part.patterns(thickness=20, tilt_x=0.5, semi_angle=4, k=K)
            cut = part.window(20, (0.5, 0.0), half_widths=(1, 0)).patterns(
                thickness=20, tilt_x=0.5, semi_angle=4, k=K
            )
            np.testing.assert_allclose(cut, whole, atol=1e-6)
            for k_max in (2.5, 4.0, 7.0):
                table = part.table(k_max=k_max, semi_angle=3.0)
                near = np.linalg.norm(part.dataset.beam_n.values @ part.dataset.basis.values, axis=1)
                assert len(table.beam_n) >= (near <= k_max + 3.0).sum()


def test_a_window_is_that_of_its_values(library):
    window = library.window(20, (0.2, 0.1), half_widths=(1, 0.1), semi_angle=3, strain=(0.004, 0.006))
    assert window.dataset["strain"].values.tolist() == [-0.01, 0.0, 0.01, 0.02]
    assert window.dataset.sizes["direction"] < library.dataset.sizes["direction"]
    at = {"thickness": 19.6, "tilt_x": 0.25, "tilt_y": 0.1, "semi_angle": 3, "k": K, "strain": 0.0055}
    np.testing.assert_allclose(window.patterns(**at), library.patterns(**at), atol=1e-6)


def test_what_is_saved_is_what_is_opened(library, tmp_path):
    library.save(tmp_path / "strained.nc")
    opened = Library.open(tmp_path / "strained.nc")
    xr.testing.assert_equal(opened.dataset, library.dataset)
    xr.testing.assert_identical(
        opened.patterns(strain=0.007, k=K, **AT), library.patterns(strain=0.007, k=K, **AT)
    )
    opened.close()


def test_the_mirror_image_of_a_shear_is_the_opposite_shear(library, sheared):
    assert mirrored(library) is library
    other = mirrored(sheared)
    at = {"thickness": 19.4, "tilt_x": 0.3, "semi_angle": 3.5, "k": K}
    found = other.patterns(strain=0.017, tilt_y=0.2, **at).values[0, 0, 0]
    plain = sheared.patterns(strain=0.017, tilt_y=-0.2, **at).values[0, 0, 0]
    np.testing.assert_allclose(found, plain[::-1], atol=1e-5)
    back = sheared.patterns(strain=-0.017, tilt_y=0.2, **at).values[0, 0, 0]
    np.testing.assert_allclose(found, back, atol=1e-4)


# ---------------------------------------------------------------- the model

SHAPE, CAMERA = (44, 48), Camera(23.6, 21.2, 2.1, 12.0)
MODEL = {
    "thickness": 19.3,
    "tilt_x": 0.2,
    "tilt_y": -0.1,
    **CAMERA._asdict(),
    "semi_angle": 3.4,
    "blur": 0.4,
}


@pytest.fixture(scope="module")
def mask():
    row, col = np.indices(SHAPE)
    return np.hypot(col - CAMERA.centre_x, row - CAMERA.centre_y) <= 9.5 * CAMERA.scale


def test_the_model_is_that_of_the_library_at_the_value(library, mask):
    model = ForwardModel(library, mask, CAMERA, semi_angle=3.4)
    assert model.parameters == (*PARAMETERS, "strain")
    for value in (-0.02, 0.0043):
        there = ForwardModel(library.at(strain=value), mask, CAMERA, semi_angle=3.4)
        there.half_edge = model.half_edge  # as soft as the coarsest grid
        found = model.evaluate(MODEL | {"strain": value}).columns
        np.testing.assert_allclose(found, there.evaluate(MODEL).columns, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("name", "value"), [("library", 0.0043), ("library", -0.0199), ("sheared", 0.013)])
def test_every_derivative_equals_finite_differences(request, mask, name, value, workers):
    strained = request.getfixturevalue(name)
    model = ForwardModel(strained, mask, CAMERA, semi_angle=3.4, pool=Pool(workers))
    values = MODEL | {"strain": value}
    names = ("scale", "strain", "thickness", "tilt_y", "rotation")
    out = model.evaluate(values, names)
    for i, parameter in enumerate(names):
        h = 5e-5 if parameter == "strain" else 1e-2 if parameter == "thickness" else 1e-3
        up, down = (model.evaluate(values | {parameter: values[parameter] + s}).columns for s in (h, -h))
        numerical = (up[0] - down[0]) / (2 * h)
        scale = np.abs(numerical).max()
        np.testing.assert_allclose(out.slopes[i, 0], numerical, atol=4e-3 * scale, err_msg=parameter)


def test_what_moves_no_beam_has_its_derivative_on_the_strained_lattice(mask):
    read = Crystal.from_cif(VALUES["cif"])
    shift = StructuralChange((0.0, 0.1, 0.2), displaced(read, {"Ti1": (0, 0, 1)}))
    library = build({"shift": shift}, strain=XX | {"values": (0.0, 0.01, 0.02)})
    model = ForwardModel(library, mask, CAMERA, semi_angle=3.4)
    values = MODEL | {"strain": 0.013, "shift": 0.07}
    slopes = model.evaluate(values, ["shift", "strain"]).slopes[:, 0]
    for slope, name, h in zip(slopes, ("shift", "strain"), (1e-3, 5e-5), strict=True):
        up, down = (model.evaluate(values | {name: values[name] + s}).columns[0] for s in (h, -h))
        numerical = (up - down) / (2 * h)
        np.testing.assert_allclose(slope, numerical, atol=4e-3 * np.abs(numerical).max(), err_msg=name)


def test_moving_beams_are_part_of_the_derivative(library, mask):
    """The pattern less what changes at fixed grid coordinates: the lattice alone has a slope, too."""
    model = ForwardModel(library, mask, CAMERA, semi_angle=3.4)
    values = MODEL | {"strain": 0.004}
    slope = model.evaluate(values, ["strain"]).slopes[0, 0]
    still = model._stack._replace(moving=(), basis=None)
    model._stack = still
    alone = model.evaluate(values, ["strain"]).slopes[0, 0]
    assert np.abs(slope - alone).max() > 0.3 * np.abs(slope).max()
