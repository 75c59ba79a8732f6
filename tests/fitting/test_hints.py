"""Hints: anything but the right number of finite numbers is refused at once."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.limits import check_fixed

NUMBERS = ("thickness", "scale", "rotation")
PAIRS = ("tilt", "centre")
NO_NUMBERS = ["a", "3", b"3", "", True, 1j, [3.0], (3.0,), {}, object(), 10**400, float("nan"), -np.inf]
NO_PAIRS = [3, (), (3,), (1, 2, 3), "12", {1, 2}, iter((1, 2)), ("a", 1), (1, None), (1, (2, 3)), (1, 2j)]
NOT_FINITE = [(np.nan, 1), [1, np.inf], np.array([1, -np.inf]), np.zeros((2, 2)), (1, 10**400)]


def message(name: str, value: object) -> str:
    """The message for a bad hint: one line that names it, what it should be, and the remedy."""
    with pytest.raises(InputError) as caught:
        Hints(**{name: value})
    text = str(caught.value)
    assert "\n" not in text and len(text) < 250
    assert text.startswith(f"{name} hint ") and "or no hint at all" in text
    return text


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_finite_number(name, value):
    assert " is not one finite number; give " in message(name, value)


@pytest.mark.parametrize("value", [*NO_PAIRS, *NOT_FINITE], ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", PAIRS)
def test_what_are_no_two_finite_numbers(name, value):
    assert " is not two finite numbers; give (" in message(name, value)


def test_the_value_and_the_unit_are_named():
    assert message("thickness", "x").startswith("thickness hint 'x' is")
    assert message("centre", (3,)).startswith("centre hint (3,) is")
    for name, unit in (("thickness", "nm"), ("tilt", "mrad"), ("centre", "px"), ("rotation", "degrees")):
        assert unit in message(name, np.nan)


def test_every_kind_of_number_is_a_number():
    hints = Hints(np.float32(30), [1, np.float64(-0.5)], np.array([49, 46]), np.array(2.5), 7)
    assert hints == Hints(30.0, (1.0, -0.5), (49.0, 46.0), 2.5, 7.0)
    assert all(
        type(value) is float for value in (hints.thickness, *hints.centre, hints.scale, hints.rotation)
    )
    assert hash(hints) == hash(Hints(30.0, (1.0, -0.5), (49.0, 46.0), 2.5, 7.0))


def test_nothing_is_known_by_default():
    assert Hints() == Hints(None, None, None, None, None)


def test_what_is_no_number_cannot_be_fixed(small_library):
    with pytest.raises(InputError, match="scale cannot be fixed at 'a': give a number"):
        check_fixed({"scale": "a"}, small_library, 9.0)
