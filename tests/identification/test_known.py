"""Which libraries are compared, and what is said of the others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from hybridfit import Library
from hybridfit.errors import InputError, LibraryError
from hybridfit.identification import known as known_module
from hybridfit.identification.known import Known, built_names, comparable, open_known


def test_a_library_is_compared_once(libraries):
    one = libraries["rutile"]
    known, left = open_known([one, one, Library.open(one)])
    assert [each.name for each in known] == [str(one)] and not left
    assert known[0].title == "rutile [0 0 1] 200 kV"


def test_a_library_that_is_named_must_be_usable(tmp_path):
    with pytest.raises(LibraryError, match="there is no library file"):
        open_known([tmp_path / "none.nc"])


def test_built_libraries_are_those_of_the_cache(cache, small_recipe, small_library):
    path = Library.cached_path(small_recipe)
    assert str(path) in built_names()
    known, _ = open_known(None)
    assert str(path) in [each.name for each in known]


def test_damaged_files_of_the_cache_are_named_and_left_out(cache, libraries, small_library):
    (cache / "broken-0123-v5.4.nc").write_bytes(b"nothing")
    try:
        known, left = open_known(None)
    finally:
        (cache / "broken-0123-v5.4.nc").unlink()
    assert known and [each.name for each in left] == ["broken-0123-v5.4.nc"]
    assert left[0].why.startswith("it cannot be used")


def test_no_library_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="no library is built yet; build some"):
        open_known(None)


def test_semi_angle_and_energy_leave_libraries_out(libraries, small_library):
    known, _ = open_known([*libraries.values(), small_library])
    kept, left = comparable(known, 12.0, {})
    assert [each.library for each in kept] == [small_library] and len(left) == 3
    assert left[0].why == "it reaches 8.5 mrad, and the semi-angle is 12"
    assert len(comparable(known, 8.0, {"energy_kv": 200.4})[0]) == 4
    with pytest.raises(InputError, match=r"no library can be compared .*of 200 kV, and the file says 300 kV"):
        comparable(known, 8.0, {"energy_kv": 300.0})


def test_what_another_version_has_built_is_said_once_in_short(small_library, monkeypatch):
    """Not at all where the library is there as well."""

    def opened(name, progress=None):
        if "v5" in str(name):
            raise LibraryError(f"{name} has library format 5, this hybridfit reads format 6; build it again")
        return small_library

    names = ["Si-aa-v5.1.nc", "Si-aa-v5.2.nc", "mine-bb-v5.1.nc", "mine-bb-v6.1.nc"]
    monkeypatch.setattr(known_module, "built_names", lambda: names)
    monkeypatch.setattr(known_module.Library, "open", opened)
    _, left = open_known(None)
    assert [each.name for each in left] == ["Si"] and "another version has built it" in left[0].why


def test_absorption_is_of_the_beams_of_the_library(libraries):
    known, _ = open_known([libraries["SrTiO3"]])
    data = known[0].library.dataset
    at = int(np.abs(data.thickness.values - 25).argmin())
    kept = [float(data.intensity[at, :, i].sum()) for i in range(data.sizes["direction"])]
    inside = np.hypot(data.qx, data.qy).values <= known[0].library.semi_angle_max
    expected = -np.log(np.mean(np.array(kept)[inside])) / float(data.thickness[at])
    assert known[0].absorption == pytest.approx(expected, rel=1e-5)
    assert 0.005 < known[0].absorption < 0.02


def test_absorption_of_a_library_with_a_structural_parameter():
    kept = np.array([0.9, 0.8])  # at 20 and 30 nm; of the other polarity all is lost
    beams = np.stack([np.outer(kept, [0.7, 0.3])[..., None] * np.ones(3), np.zeros((2, 2, 3))])
    data = xr.Dataset(
        {"intensity": (("polarity", "thickness", "beam", "direction"), beams)},
        {
            "thickness": [20.0, 35.0],
            "qx": ("direction", [0.0, 3.0, 30.0]),
            "qy": ("direction", [0.0, 3.0, 30.0]),
        },
    )
    library = SimpleNamespace(dataset=data, semi_angle_max=10.0)
    assert Known("polar", library).absorption == pytest.approx(-np.log(0.9) / 20)
