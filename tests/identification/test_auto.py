"""Frames of several crystals, fitted with the library that each shows."""

from __future__ import annotations

import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.status import Status
from hybridfit.frame import make_frame
from hybridfit.identification.auto import AutoFitter
from hybridfit.identification.identifier import Identifier
from hybridfit.library.library import Library

SEMI_ANGLE = 8.0


@pytest.fixture(scope="module")
def identifier(libraries) -> Identifier:
    return Identifier(SEMI_ANGLE, [libraries["SrTiO3"], libraries["rutile"]], workers=1, mirror=False)


@pytest.fixture
def fitter(identifier):
    """An `AutoFitter`, and the names of libraries that took over."""
    took: list[str] = []

    def fits(name: str):
        return Fitter(Library.open(name), SEMI_ANGLE, workers=1, method="lsf").fit

    return AutoFitter(identifier, fits, lambda found: took.append(found.answer)), took


def test_a_library_stays_until_a_poor_match_shows_another_one(fitter, identifier, libraries, shown):
    auto, took = fitter
    titanate, rutile = (make_frame(shown(name)[0]) for name in ("SrTiO3", "rutile"))
    asked: list = []
    identify = identifier.identify
    identifier.identify = lambda frame: asked.append(frame) or identify(frame)
    try:
        results = [auto.fit(frame) for frame in (titanate, titanate, rutile, rutile)]
    finally:
        del identifier.identify
    assert [r.status for r in results] == [Status.converged] * 4
    assert [abs(r.thickness - 26.4) < 0.3 for r in results] == [True] * 4
    assert took == [str(libraries["SrTiO3"]), str(libraries["rutile"])] and auto.library == took[-1]
    assert [frame is titanate for frame in asked] == [True, False]  # of four, two are identified


def test_what_shows_no_library_is_refused_before_one_fits_and_a_poor_match_after(fitter, shown, vacuum):
    auto, took = fitter
    with pytest.raises(InputError, match=r"none of the 2 libraries|does not show"):
        auto.fit(make_frame(vacuum))
    assert auto.library is None and not took
    auto.fit(make_frame(shown("rutile")[0]))
    other = auto.fit(make_frame(shown("fourfold")[0]))
    assert other.status is Status.poor_match and len(took) == 1


def test_an_option_that_cannot_be_is_said_at_once(cache):
    with pytest.raises(InputError, match="gain"):
        AutoFitter.of_built(SEMI_ANGLE, gain=-1.0)
