"""What is deprecated warns, is on the page of the policy, and goes when it was said to go."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

import hybridfit
from hybridfit.deprecation import warn_deprecated

ROOT = Path(__file__).parents[1]
PACKAGE = Path(hybridfit.__file__).parent
PAGE = (ROOT / "docs" / "deprecations.md").read_text(encoding="utf-8")


def version(text: str) -> tuple[int, ...]:
    """0.4 and 0.4.0 as numbers."""
    return tuple(int(part) for part in text.split(".")[:2])


@cache
def calls() -> list[tuple[str, str, str]]:
    """(old, new, goes_in) of every warning in the package."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if "warn_deprecated(" not in (text := path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "warn_deprecated":
                old, new = (ast.literal_eval(each) for each in node.args)
                (goes_in,) = (ast.literal_eval(k.value) for k in node.keywords if k.arg == "goes_in")
                found.append((old, new, goes_in))
    return found


def test_a_warning_points_at_the_caller_and_names_the_remedy():
    def old() -> None:
        warn_deprecated("old()", "new()", goes_in="0.9")

    with pytest.warns(
        DeprecationWarning, match=r"old\(\) is deprecated and goes in hybridfit 0\.9; use new\(\)"
    ) as w:
        old()
    assert Path(w[0].filename) == Path(__file__)


def test_what_is_deprecated_is_on_the_page():
    assert calls()
    for old, new, goes_in in calls():
        assert f"| `{old}` | `{new}` | {goes_in} |" in PAGE
    rows = re.findall(r"^\| `.+` \| `.+` \| [\d.]+ \|$", PAGE, re.M)
    assert len(rows) == len(set(calls())), "the page lists what is deprecated no more"


def test_nothing_outlives_its_version():
    now = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for old, _, goes_in in calls():
        assert version(now) < version(goes_in), f"{old} goes in {goes_in}: remove it"
