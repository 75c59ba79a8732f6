"""The examples of docs/extending.md work as they are written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hybridfit.library.recipe import Recipe, shipped_folder

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
LONGEST = 30  # lines that a user has to write


def blocks() -> list[tuple[str, str]]:
    """(language, code) of every example, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> list[dict]:
    """Variables of each example in Python; recipes are files with the names in their first lines."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(shipped_folder() / "SrTiO3.cif", folder)
    left = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, code in blocks():
            if language == "toml":
                Path(code.split("\n", 1)[0].removeprefix("# ")).write_text(code, encoding="utf-8")
            elif language == "python":
                space: dict = {}
                exec(compile(code, PAGE.name, "exec"), space)
                left.append(space)
    return left


def test_the_examples_are_short():
    assert len(blocks()) >= 3
    for _, code in blocks():
        assert len([line for line in code.splitlines() if line.strip()]) < LONGEST


def test_the_displacement_of_the_recipe_is_found(ran):
    space = ran[0]
    shift = space["result"].structure["ti_shift"]
    assert space["result"].ok and shift.unit == "Å" and shift.stderr < 0.01
    assert abs(shift.value - 0.12) < 4 * shift.stderr
    assert space["patterns"].sizes["thickness"] == 2


def test_the_polarity_of_the_function_is_found(ran):
    polarity = ran[1]["result"].structure["polarity"]
    assert polarity.value == 1 and polarity.odds[1] > 0.99


def test_every_change_is_in_the_table():
    from hybridfit.library.structural import CHANGES

    text = PAGE.read_text(encoding="utf-8")
    for change in " and ".join(CHANGES).split(" and "):
        assert f"`{change} = " in text


def test_every_recipe_can_be_read(tmp_path):
    shutil.copy(shipped_folder() / "SrTiO3.cif", tmp_path)
    for i, code in enumerate(code for language, code in blocks() if language == "toml"):
        (tmp_path / f"{i}.toml").write_text(code, encoding="utf-8")
        assert Recipe.read(tmp_path / f"{i}.toml").parameters
