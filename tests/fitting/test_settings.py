"""What a user asks of a fit: checked when it is asked, in one line that says what to do."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest

from hybridfit import Fitter, Hints, fit
from hybridfit.errors import InputError
from hybridfit.fitting.settings import FitOptions, FitSettings

WRONG = [
    ({"semi_angle": "13.6"}, "semi_angle '13.6' is not a number; give it in mrad"),
    ({"semi_angle": None}, "semi_angle None is not a number"),
    ({"semi_angle": float("nan")}, "semi_angle nan is not a number"),
    ({"semi_angle": True}, "semi_angle True is not a number"),
    ({"semi_angle": 0.009}, r"0\.009 mrad cannot be right; give it in mrad, at least 0\.5 \(9 if"),
    ({"semi_angle": 1e-308}, "cannot be right; give it in mrad"),
    ({"semi_angle": -9.0}, "-9 mrad cannot be right"),
    ({"method": "lsq"}, "unknown method 'lsq'; the methods are hybrid, lsf, cnn"),
    ({"fix": ["scale"]}, r"fix is \['scale'\]; give a dict"),
    ({"fix": {"scale": "5"}}, "scale cannot be fixed at '5': give a number"),
    ({"fix": {"blur": True}}, "blur cannot be fixed at True: give a number"),
    ({"free": "semi_angle"}, r"free is 'semi_angle'; give a list of names"),
    ({"free": ["colour"]}, "unknown parameter 'colour'; the parameters are thickness"),
    ({"hints": {"thickness": 30}}, r"hints is \{'thickness': 30\}; give hybridfit.Hints"),
    ({"background": "blue"}, "blue"),
    ({"bounds": {"blur": 3}}, "bounds of blur are 3; give the lowest and the highest value"),
    ({"bounds": {"blur": (1.0, 0.5)}}, "give the lower one first, both finite"),
    ({"bounds": {"blur": (0.0, np.inf)}}, "both finite"),
    ({"bounds": {"blur": (0.0, 9.0)}}, "bounds 0, 9 of blur are not inside 0 … 6 mrad"),
    ({"bounds": {"thickness": (200.0, 300.0)}}, "of thickness are not inside"),
    ({"bounds": {"blur": (0.0, 1.0)}, "fix": {"blur": 0.2}}, "blur is both fixed and bounded"),
    ({"bounds": {"colour": (0, 1)}}, "unknown parameter 'colour'"),
    ({"sigma": 0.1}, r"sigma is 0\.1; give a dict"),
    ({"sigma": {"colour": 0.1}}, "unknown sigma 'colour'; there are debye_waller, energy, semi_angle"),
    ({"sigma": {"energy": "0.1"}}, "sigma of energy is '0.1', not a number; give it relative"),
    ({"sigma": {"energy": float("nan")}}, "sigma of energy is nan, not a number"),
    ({"sigma": {"energy": True}}, "sigma of energy is True, not a number"),
    (
        {"sigma": {"debye_waller": -0.1}},
        r"is -0\.1; give it relative, 0 \(exact\) … 0\.5",
    ),
    ({"sigma": {"debye_waller": 5}}, "sigma of debye_waller is 5; give it relative"),
    ({"expressions": {"blur": "blur + 1"}}, "must name other parameters"),
    ({"expressions": {"blur": "1 +"}}, "cannot be read; write it as in Python"),
    ({"expressions": {"blur": 3}}, "cannot be read; write it as in Python"),
    ({"expressions": {"blur": "0.1 * colour"}}, "must name other parameters"),
    ({"expressions": {"blur": "0.1 * scale"}, "fix": {"blur": 0.2}}, "cannot be fixed or bounded, too"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda v: str(v)[:40])
def test_what_cannot_be_right_is_said_in_one_line(small_library, options, message):
    with pytest.raises(InputError, match=message) as caught:
        Fitter(small_library, **{"semi_angle": 9.0, "method": "lsf", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", [False, 3, ["weights"]])
def test_a_network_is_a_path_or_a_network(small_library, network):
    with pytest.raises(InputError, match=r"network is .*; give the path of its weights"):
        Fitter(small_library, 9.0, network=network)


@pytest.mark.parametrize("library", [None, 3, {}])
def test_a_library_is_a_name_or_a_library(library):
    with pytest.raises(InputError, match=r"library is .*; give a Library, or the name"):
        fit(np.ones((64, 64)), library, semi_angle=9.0)


def test_an_option_that_does_not_exist_is_named(small_library):
    with pytest.raises(TypeError, match="no option 'fixed'; the options are"):
        Fitter(small_library, 9.0, fixed={})


def test_the_options_by_name_are_the_fields():
    assert set(get_type_hints(FitOptions)) == {f.name for f in fields(FitSettings)} - {"semi_angle"}


def test_nothing_given_is_the_same_as_the_default():
    nothing = {"fix": None, "bounds": None, "expressions": None, "hints": None, "free": ()}
    assert FitSettings(9.0, **nothing) == FitSettings(9.0)
    with pytest.raises(AttributeError):
        FitSettings(9.0).method = "lsf"


def test_the_mirror_is_its_own_inverse():
    settings = FitSettings(
        9.0,
        fix={"tilt_y": 0.4, "scale": 3.0},
        bounds={"blur": (0, 1)},
        hints=Hints(tilt=(0.3, 0.4)),
    )
    other = settings.mirrored()
    assert other.fix == {"tilt_y": -0.4, "scale": 3.0} and other.hints.tilt == (0.3, -0.4)
    assert other.mirrored() == settings
    assert FitSettings(9.0, bounds={"tilt_y": (-1, 2)}).mirrored().bounds == {"tilt_y": (-2, 1)}
    tied = FitSettings(9.0, expressions={"tilt_y": "2 * tilt_x", "blur": "abs(tilt_y)"}).mirrored()
    assert tied.expressions == {"tilt_y": "-(2 * tilt_x)", "blur": "abs(-tilt_y)"}


def test_what_is_fixed_is_known():
    hints = FitSettings(9.0, fix={"thickness": 30.0, "tilt_x": 1.0}, hints=Hints(scale=3.0)).held().hints
    assert hints == Hints(thickness=30.0, scale=3.0)
