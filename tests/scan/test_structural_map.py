"""Maps of structural parameters: each a variable with its error or odds, wherever a map goes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from hybridfit import map_scan, simulate_frame
from hybridfit.errors import InputError, LibraryError
from hybridfit.flags import structural
from hybridfit.library.crystals import StructuralChange
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.physics.distortions import displaced
from hybridfit.plot.maps import plot_map
from hybridfit.scan.export import write_csv
from hybridfit.scan.maps import fit_at, read_map
from hybridfit.scan.settings import FirstPassSettings, WorkSettings

SEMI_ANGLE, TURN, SCALE = 7.5, 21.0, 3.0
SHIFT = np.array([[0.03, 0.08, 0.13], [0.05, 0.11, 0.17]])
WARM = np.array([[1, 2, 1], [2, 2, 1]])
FIX = {"scale": SCALE, "rotation": TURN}
# a first pass of four positions, blocks of one row
FEW = {"first_pass": FirstPassSettings(sampled=4), "work": WorkSettings(block=5)}


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Library:
    """SrTiO3 [100]; titanium moves along +c (Å, continuous), atoms vibrate once or twice as much."""
    recipe = Recipe(
        cif=shipped_folder() / "SrTiO3.cif",
        zone=(1, 0, 0),
        in_plane=(0, 0, 1),
        energy_kv=200,
        g_max=1.0,
        semi_angle_max=8,
        tilt_max=2.0,
        sampling=0.5,
        thickness={"start": 15, "stop": 26},
    )

    def shifted(crystal, value):
        return displaced(crystal, {"Ti1": (0, 0, 1)})(crystal, value)

    def warmer(crystal, value):
        return replace(crystal, debye_waller=value * crystal.debye_waller)

    parameters = {
        "shift": StructuralChange([0.0, 0.05, 0.1, 0.15, 0.2], shifted, "Å"),
        "warmth": StructuralChange((1.0, 2.0), warmer),
    }
    path = tmp_path_factory.mktemp("library") / "structured.nc"
    Library.build(recipe, parameters=parameters).save(path)
    return Library.open(path)


@pytest.fixture(scope="module")
def scan(library, tmp_path_factory):
    """Two rows of three positions; the last frame is blank."""
    frames = np.zeros((2, 3, 80, 80), np.uint16)
    for y, x in np.ndindex(2, 3):
        frames[y, x] = simulate_frame(
            library.at(shift=SHIFT[y, x], warmth=WARM[y, x]),
            thickness=20.0 + y,
            tilt=(0.4, -0.3 * x),
            semi_angle=SEMI_ANGLE,
            shape=(80, 80),
            scale=SCALE,
            rotation=TURN,
            electrons=2e6,
            seed=10 * y + x,
        )[0]
    frames[1, 2] = 0
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, frames)
    return path


def mapped(scan, library, **options):
    return map_scan(scan, library, semi_angle=SEMI_ANGLE, workers=1, **{"fix": FIX, **FEW, **options})


@pytest.fixture(scope="module")
def whole(scan, library, tmp_path_factory):
    """The map, and its path."""
    path = tmp_path_factory.mktemp("map") / "map.nc"
    return mapped(scan, library, output=path), path


def test_every_structural_parameter_is_a_variable(whole):
    found, path = whole
    assert structural(found) == {"shift": "shift_stderr", "warmth": "warmth_odds"}
    done = np.ones((2, 3), bool)
    done[1, 2] = False
    off = (found["shift"].values - SHIFT)[done]
    assert np.abs(off).max() < 0.01 and np.abs(off / found["shift_stderr"].values[done]).max() < 5
    assert (found["warmth"].values == WARM)[done].all() and (found["warmth_odds"].values[done] > 0.9).all()
    for name in ("shift", "shift_stderr", "warmth", "warmth_odds"):
        assert np.isnan(found[name].values[1, 2]) and found[name].dims == ("scan_y", "scan_x")
    about = found["shift"].attrs
    assert (about["units"], about["long_name"], about["kind"]) == ("Å", "shift", "continuous")
    assert found["warmth_odds"].attrs["units"] == "1" and "odds" in found["warmth_odds"].attrs["long_name"]
    assert list(read_map(path)["warmth"].attrs["values"]) == [1.0, 2.0]
    assert read_map(path).identical(found)


def test_a_position_is_fitted_again(whole):
    result = fit_at(whole[0], 0, 1)
    assert result.structure["shift"].value == pytest.approx(float(whole[0]["shift"][0, 1]), abs=2e-3)
    assert result.structure["warmth"].value == 2 and result.structure["warmth"].odds[2.0] > 0.9


def test_what_is_fixed_has_no_error(scan, library):
    found = mapped(scan, library, fix=FIX | {"shift": 0.1, "warmth": 2}, roi=(0, 1, 1, 2))
    assert found["shift"].item() == 0.1 and found["warmth"].item() == 2
    assert np.isnan(found["shift_stderr"].values).all() and np.isnan(found["warmth_odds"].values).all()


@pytest.mark.parametrize(
    ("fix", "error", "words"),
    [
        ({"shift": 0.4}, LibraryError, "shift = 0.4 is outside this library"),
        ({"warmth": 1.5}, LibraryError, "warmth = 1.5 is outside this library (1, 2)"),
        ({"warmht": 1.0}, InputError, "unknown parameter 'warmht'"),
    ],
)
def test_what_cannot_be_fixed_is_refused(scan, library, fix, error, words):
    for given in (library, library.dataset.encoding["source"]):
        with pytest.raises(error) as caught:
            mapped(scan, given, fix=fix)
        assert words in str(caught.value)


def test_a_run_with_another_value_is_another_run(scan, library, tmp_path):
    path = tmp_path / "map.nc"

    def stop(report):
        raise KeyboardInterrupt

    fix = FIX | {"shift": 0.1, "warmth": 2.0}
    with pytest.raises(KeyboardInterrupt):
        mapped(scan, library, fix=fix, output=path, progress=stop)
    with pytest.raises(InputError, match=r'"warmth": 2\.0'):
        mapped(scan, library, fix=fix | {"warmth": 1.0}, output=path)
    partial = mapped(scan, library, fix=fix, output=path, partial=True)
    assert partial["shift"].shape == (2, 3) and np.isnan(partial["shift"].values[1]).all()


def test_a_rotation_may_be_roughly_known(scan, library):
    found = mapped(
        scan,
        library,
        fix={"scale": SCALE, "warmth": 1.0},
        hint_rotation=TURN + 3,
        roi=(0, 1, 0, 3),
        common=(),
    )
    assert found["rotation"].values == pytest.approx(np.full((1, 3), TURN), abs=0.5)
    assert json.loads(found.attrs["settings"])["hint_rotation"] == TURN + 3


def test_tables_and_pictures_have_them(whole, tmp_path):
    found = whole[0]
    write_csv(found, tmp_path / "map.csv")
    with (tmp_path / "map.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["shift"]) == pytest.approx(float(found["shift"][0, 1]))
    assert rows[1]["warmth"] == "2" and rows[5]["warmth"] == rows[5]["warmth_odds"] == ""
    figure = plot_map(found, tmp_path / "map.png")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert {"shift", "standard error, shift", "warmth", "odds, warmth"} <= set(titles)
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert {"1: 40.0 %", "2: 60.0 %"} <= set(words)
