"""The diffuse table of a library: made, kept, read, shared by its parts, mirrored, done without."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.library.contents import DIFFUSE
from hybridfit.library.library import Library
from hybridfit.library.mirror import FLIP, mirrored

pytestmark = pytest.mark.usefixtures("shipped_diffuse")
AT = {"thickness": 22.3, "tilt_x": 0.6, "tilt_y": -0.4, "semi_angle": 6.0}


@pytest.fixture(scope="module")
def library(build_library):
    return build_library("GaAs", (1, 1, 0), in_plane=(0, 0, 1), diffuse=True)


@pytest.fixture(scope="module")
def without(library):
    names = [name for name in library.dataset.variables if "diffuse" in str(name)]
    return Library(library.dataset.drop_vars(names))


def test_diffuse_electrons_are_a_part_of_patterns(library, without):
    plain, whole = (each.patterns(**AT).values.squeeze() for each in (without, library))
    extra = whole - plain
    assert without.diffuse is None
    assert (extra > 0).all()
    assert 0.01 < extra.sum() / plain.sum() < 0.3


def test_electrons_that_vibrations_take_away_come_back_at_larger_angles(library, without):
    # absorption is what is scattered diffusely: the pattern has no more electrons than came in
    k = np.linspace(-13.5, 13.5, 55)
    incoming = np.pi * AT["semi_angle"] ** 2 / (k[1] - k[0]) ** 2
    plain, whole = (float(each.patterns(**AT, k=k).sum()) / incoming for each in (without, library))
    assert plain < whole < 1


def test_file_keeps_it(library, tmp_path):
    library.save(tmp_path / "library.nc")
    opened = Library.open(tmp_path / "library.nc")
    np.testing.assert_allclose(opened.patterns(**AT), library.patterns(**AT), rtol=1e-6)
    opened.close()


def test_damage_is_noticed(library, tmp_path):
    from hybridfit.errors import LibraryError

    path = tmp_path / "library.nc"
    library.save(path)
    chunk = library.dataset[DIFFUSE].values[3].tobytes()
    raw = bytearray(path.read_bytes())
    at = bytes(raw).find(chunk)
    assert at > 0
    raw[at + 11] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(LibraryError, match="damaged"):
        _ = Library.open(path).diffuse


def test_window_and_mirror_image_share_it(library):
    window = library.window(22.3, (0.6, -0.4), half_widths=(1.0, 0.5), semi_angle=6.0)
    assert window.diffuse is library.diffuse
    assert DIFFUSE not in window.dataset
    for image in (mirrored(window), mirrored(library)):
        whole = mirrored(library)
        k = np.array([[2.0, -5.0, 8.0], [1.0, 6.0, -3.0]])
        if whole is library:
            continue
        there = image.diffuse.at(FLIP @ k, 22.3, (0.6, 0.4), 6.0).value
        np.testing.assert_allclose(there, library.diffuse.at(k, 22.3, (0.6, -0.4), 6.0).value, rtol=1e-6)


def test_mirror_image_of_a_crystal_without_mirrors(build_library):
    library = build_library("fourfold", (0, 0, 1), in_plane=(1, 0, 0), diffuse=True)
    k, tilt = np.array([[2.0, -5.0, 8.0], [1.0, 6.0, -3.0]]), (0.6, -0.4)
    here = library.diffuse.at(k, 22.3, tilt, 6.0).value
    there = mirrored(library).diffuse.at(FLIP @ k, 22.3, (0.6, 0.4), 6.0).value
    np.testing.assert_allclose(there, here, rtol=1e-6)
    assert np.abs(library.diffuse.at(FLIP @ k, 22.3, (0.6, 0.4), 6.0).value / here - 1).max() > 1e-3


def test_symmetry_is_that_of_the_pattern(library):
    # GaAs [110] has a mirror: with kx along c it maps ky to −ky
    k = np.array([[2.0, -5.0, 8.0], [1.0, 6.0, -3.0]])
    here = library.diffuse.at(k, 22.3, (0.6, -0.4), 6.0).value
    np.testing.assert_allclose(library.diffuse.at(FLIP @ k, 22.3, (0.6, 0.4), 6.0).value, here, rtol=5e-3)


def test_discrete_parameters_have_a_table_each(crystals):
    from hybridfit.library.crystals import StructuralChange
    from hybridfit.library.recipe import Recipe
    from hybridfit.physics.distortions import inverted

    recipe = Recipe(
        cif=crystals["GaAs"], zone=(1, 1, 0), in_plane=(0, 0, 1), energy_kv=200.0, g_max=1.0,
        semi_angle_max=6.0, tilt_max=1.5, thickness={"start": 20, "stop": 23},
    )  # fmt: skip
    change = {"polarity": StructuralChange([-1.0, 1.0], lambda c, v: c if v > 0 else inverted(c, v))}
    both = Library.build(recipe, parameters=change, slopes=False)
    assert both.diffuse is None
    k = np.array([[2.0, -5.0, 8.0], [1.0, 6.0, -3.0]])
    # the inverted crystal at q is the crystal at −q
    one = both.at(polarity=1).diffuse.at(k, 22.3, (0.6, -0.4), 6.0).value
    other = both.at(polarity=-1).diffuse.at(-k, 22.3, (-0.6, 0.4), 6.0).value
    np.testing.assert_allclose(other, one, rtol=5e-3)
