"""Options by name become the fields of settings, and whatever is no field is named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hybridfit.errors import InputError
from hybridfit.options import settings_from


@dataclass(frozen=True)
class Some:
    size: int
    colour: str = "red"


def test_options_replace_defaults_and_settings():
    assert settings_from(Some, None, {"size": 3}, "draw") == Some(3, "red")
    assert settings_from(Some, Some(3, "blue"), {"size": 4}, "draw") == Some(4, "blue")


def test_what_is_unknown_missing_or_of_another_class_is_named():
    with pytest.raises(TypeError, match=r"draw\(\) has no option 'colr'; the options are size, colour"):
        settings_from(Some, None, {"size": 3, "colr": "red"}, "draw")
    with pytest.raises(TypeError, match=r"draw\(\) needs size; give each by its name"):
        settings_from(Some, None, {}, "draw")
    with pytest.raises(InputError, match="settings = dict are not for draw; give a Some"):
        settings_from(Some, {"size": 3}, {}, "draw")  # type: ignore[type-var]
