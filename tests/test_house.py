"""The rules of the house that a linter does not know: short argument lists, modules that can be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hybridfit

PACKAGE = Path(hybridfit.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_ARGUMENTS, MOST_LINES = 10, 400


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of arguments, self left out, of every function in a module."""
    tree = ast.parse(path.read_text())
    methods = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.FunctionDef)
        and not any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in each.decorator_list)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            yield node.name, len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs) - (id(node) in methods)


def test_there_is_a_house():
    assert len(MODULES) > 100
    found = dict(functions(PACKAGE / "fitting" / "fitter.py"))
    assert found["_make_seeder"] == 2 and found["fit"] == 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_outside_cli_takes_many_arguments(path):
    if (PACKAGE / "cli") in path.parents:
        return
    many = {name: count for name, count in functions(path) if count > MOST_ARGUMENTS}
    assert not many, "settings objects travel in place of keyword lists"


def test_no_module_is_too_long():
    long = {
        str(p.relative_to(PACKAGE)): n for p in MODULES if (n := len(p.read_text().splitlines())) > MOST_LINES
    }
    assert not long, "talk about the design"
