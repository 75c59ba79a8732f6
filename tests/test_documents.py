"""Pages of the site say what is true: numbers, messages, commands and links; and versions agree."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import hybridfit

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(path: Path) -> str:
    """What pytest calls a page."""
    return path.name


def extension(name: str) -> ModuleType:
    """A module of docs/_ext."""
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def source() -> str:
    """All of the package's code, with strings of several lines as one, and every value as …."""
    text = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "hybridfit").rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


# measured numbers


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_measured_numbers_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    marks = re.findall(r"\[\[([a-z_0-9]+): (.+?)\]\](?!\])", text)
    results = ROOT / "benchmarks" / "RESULTS.md"
    if not marks or not results.exists():
        return
    rows = results.read_text(encoding="utf-8")
    for study, what in marks:
        section = rows.split(f"\n## {study}\n", 1)[1].split("\n## ", 1)[0]
        assert f"\n| {what} | " in section, f"{page.name}: {study} has no row {what!r}"


def test_a_mark_becomes_what_was_measured():
    measured = extension("measured")
    if not measured.RESULTS.exists():
        pytest.skip("no results in an installed copy")
    (study, what), value = next(iter(measured.measured().items()))
    assert measured.filled(f"a [[{study}: {what}]] b") == f"a {measured.short(value)} b"
    assert measured.short("-0.335 nm") == "−0.335\N{NO-BREAK SPACE}nm"
    assert measured.short("1.7e+03 s") == "1700\N{NO-BREAK SPACE}s"
    with pytest.raises(KeyError):
        measured.filled("[[truth: no such row]]")


# messages


def messages() -> list[str]:
    """The messages that docs/messages.md explains."""
    return re.findall(r"^`(.+)`$", (DOCS / "messages.md").read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("message", messages())
def test_messages_are_those_of_the_code(message):
    code = source()
    for part in message.split("…"):
        words = part.strip(" ,;:()'")
        assert len(words) < 4 or words in code, f"no message of the code has {words!r}"


# links


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_to_files_lead_somewhere(page):
    made = ("gallery/",) if (ROOT / "benchmarks").exists() else ("gallery/", "../benchmarks/", "benchmarks/")
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target) and not target.startswith(made):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


# commands


def options() -> set[str]:
    """Every option of every command."""
    commands = extension("commands")
    return set(re.findall(r"--[a-z][a-z-]+", commands.reference()))


def test_pages_name_only_options_that_exist():
    known = options() | {"--help", "--version"}
    for page in [*PAGES, ROOT / "README.md"]:
        if "<!-- taken" in (text := page.read_text(encoding="utf-8")):
            continue
        for block in re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S):
            for line in block.splitlines():
                part = re.search(r"(?<![/\w])hybridfit [a-z].*", line)
                if part:
                    unknown = set(re.findall(r"--[a-z][a-z-]+", part[0])) - known
                    assert not unknown, f"{page.name}: {unknown}"


def test_the_reference_has_every_command():
    text = extension("commands").reference()
    for name in (
        "fit",
        "map",
        "show",
        "demo",
        "new",
        "train",
        "serve",
        "watch",
        "export",
        "library build",
        "simulate scan",
    ):
        assert re.search(rf"^##+ `hybridfit {name}`$", text, re.M)


def test_the_reference_of_python_has_every_public_name():
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", text, re.M))
    assert set(hybridfit.__all__) - {"errors", "explain"} <= listed
    assert set(hybridfit.explain.__all__) <= listed


# examples


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_examples_begin_with_a_title_and_draw(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(r'"""\n(.+)\n=+\n\n', text), "a title, underlined"
    compile(text, path.name, "exec")
    assert "plt.show()" in text or ".plot()" in text


def test_images_of_pages_are_drawn_by_examples():
    drawn = {path.stem for path in EXAMPLES}
    for page in PAGES:
        for name in re.findall(r"gallery/images/sphx_glr_(\w+)_\d{3}\.png", page.read_text(encoding="utf-8")):
            assert name in drawn, f"{page.name} shows {name}"


# versions


def test_versions_agree():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.findall(r"^## (?:\[)?([\d.]+)", changes, re.M)[0]
    assert PROJECT["version"] == newest
    assert re.search(rf"^version: {re.escape(newest)}$", citation, re.M)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_package_is_typed():
    assert (Path(hybridfit.__file__).parent / "py.typed").is_file()


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    recipe = (ROOT / ".conda" / "meta.yaml").read_text(encoding="utf-8")
    assert f'version = "{PROJECT["version"]}"' in recipe
    run = recipe.split("  run:\n", 1)[1].split("\n\n", 1)[0]
    named = {"torch": "pytorch", "netcdf4": "netcdf4", "matplotlib": "matplotlib-base"}
    pip = {re.sub(r"^[\w-]+", lambda m: named.get(m[0].lower(), m[0]), d) for d in PROJECT["dependencies"]}
    conda = {line.strip(" -").replace(" ", "") for line in run.splitlines()}
    assert conda - {f"python{PROJECT['requires-python']}"} == pip
