"""Libraries, recipes and CIFs that are damaged, foreign or absurd: one line, little time, little memory.

A small library is built.  Copies of its file are changed at random: bytes anywhere; attributes and variables
removed, of another type or absurd, with digests that fit.  Recipes and CIFs get other bytes, other numbers,
missing and repeated lines.  A process of limited memory opens, shows and composes from each library, reads
and estimates each recipe, and projects each crystal; what is estimated to be small is built.  Only an answer,
or an error of one line, may come out.  A library whose bytes changed must give the same numbers, or none.

Run with: python -m benchmarks.fuzz_library [--quick] [--count N] [--seed N]
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from benchmarks.common import Study, new_parser
from benchmarks.fuzz_readers import LARGE, LIMIT, SLOW, STUCK, mutated, peak_gb

KINDS = ("bytes", "attribute", "variable", "recipe", "cif")
RECIPE = """cif = "SrTiO3.cif"
zone = [0, 0, 1]
in_plane = [1, 0, 0]
energy_kv = 200.0
g_max = 0.8
semi_angle_max = 3.0
tilt_max = 0.5
sampling = 0.8
holz = false

[thickness]
start = 2.0
stop = 12.0
step = 1.0

[parameters.shift]
values = [0.0, 0.1, 0.2]
displace = { Ti1 = [0.0, 0.0, 1.0] }
"""
WORDS = (
    *(
        "0",
        "-1",
        "1",
        "3",
        "17",
        "0.5",
        "1e-300",
        "1e300",
        "nan",
        "inf",
        "-0.0",
        "1e9",
        "99999999999999999999",
    ),
    *('""', '"x"', '"/"', "true", "[]", "{}", "[[1]]", "[1, 2]", "{ a = 1 }", "[0, 0, 0]", "[30, 1, 1]", "'"),
    *("[1.0, nan]", "{ start = 0, stop = 1, step = 1e-9 }", "1979-05-27", '"\\u0000"', "9" * 400, "[" * 900),
)
TEXT_NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        ".",
        "?",
        "1e9",
        "-1e300",
        "1e-9",
        "nan",
        "inf",
        "0.5",
        "3.905(2)",
        "180",
        "120",
        "1000",
    ),
    *("X", "Xx", "''", "U", "9" * 400),
)
ABSURD: tuple[Any, ...] = (
    *(0, -1, 1, 7, 2**31 - 1, 0.5, 1e308, -1e-308, float("nan"), float("inf"), "", "x", "{}", "[]", "nan"),
    *([], [1, 2], [0.0, 0.0, 0.0], [2**40] * 3, "é" * 3000),
)
START = 900.0  # s: that a process may take until its first case
SMALL = 1.0  # s: recipes that are estimated to take less are built


class Files:
    """The undamaged files, in a folder."""

    def __init__(self, folder: Path) -> None:
        from hybridfit.library.recipe import shipped_folder

        self.folder, self.recipe, self.library = folder, folder / "small.toml", folder / "small.nc"
        self.plain = folder / "plain.nc"
        self.cif = folder / "SrTiO3.cif"
        if not self.cif.exists():
            shutil.copy(shipped_folder() / "SrTiO3.cif", folder)

    def build(self) -> None:
        """Build the libraries: with a structural parameter, and without."""
        from hybridfit import Library
        from hybridfit.library.recipe import Recipe

        for path, text in ((self.library, RECIPE), (self.plain, RECIPE[: RECIPE.index("[parameters")])):
            self.recipe.write_text(text)
            Library.build(Recipe.read(self.recipe), device="cpu").save(path)
        self.recipe.write_text(RECIPE)


# ---------------------------------------------------------------- mutations


def changed_attribute(path: Path, rng: np.random.Generator) -> None:
    """An attribute of the file, or of a variable, is removed or absurd; the digests fit."""
    with netCDF4.Dataset(path, "a") as file:
        owner = file if rng.random() < 0.8 else file[str(rng.choice(list(file.variables)))]
        names = [name for name in owner.ncattrs() if name not in ("contents", "storage")]
        if not names:
            return
        name = str(rng.choice(names))
        if rng.random() < 0.3:
            owner.delncattr(name)
        elif name == "recipe" and rng.random() < 0.7:
            values = json.loads(owner.getncattr(name))
            key = str(rng.choice(list(values)))
            values[key] = _pick(rng)
            owner.setncattr(name, json.dumps(values))
        else:
            _set(owner, name, _pick(rng))


def changed_variable(path: Path, rng: np.random.Generator) -> None:
    """A variable is missing, of another type or shape, or has other numbers; the digests fit."""
    with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as opened:
        data = opened.load()
    name = str(rng.choice(list(map(str, data.variables))))
    kind = rng.integers(6)
    variable = data.variables[name]
    values = variable.values
    if kind == 0:
        data = data.drop_vars(name)
    elif kind == 1:
        dtype = rng.choice(["f4", "f8", "i1", "u2", "i8", "S1"])
        with np.errstate(all="ignore"):
            data = data.assign({name: (variable.dims, values.astype(dtype), variable.attrs)})
    elif kind == 2 and values.ndim:
        dim = str(rng.choice(list(map(str, variable.dims))))
        data = data.isel({dim: slice(0, int(rng.integers(0, data.sizes[dim] + 1)))})
    elif kind == 3 and values.ndim > 1:
        data = data.assign({name: data[name].transpose(*reversed(variable.dims))})
    else:
        with np.errstate(all="ignore"):
            other = values.copy()
            at = rng.random(values.shape) < rng.choice([0.01, 0.5, 1.0])
            other[at] = np.array(rng.choice([0, 1, -1, 1e9, 2**31, 1e300, np.nan])).astype(values.dtype)
        data = data.assign({name: (variable.dims, other, variable.attrs)})
    path.unlink()
    data.drop_encoding().to_netcdf(path, engine="netcdf4")


def reseal(path: Path) -> None:
    """Give a file digests that fit, where it still has intensities."""
    from hybridfit.library.integrity import CONTENTS, DIGESTS, STORAGE, contents_digest, digests_of

    try:
        with xr.open_dataset(path, mask_and_scale=False, decode_times=False) as opened:
            data = opened.load()
    except (AttributeError, ValueError):  # of an absurd attribute: it stays as it is
        return
    if "intensity" in data and data.intensity.ndim > 2:
        digests = digests_of(data.intensity.values)
        data = data.drop_vars(DIGESTS, errors="ignore").assign({DIGESTS: (data.intensity.dims[:-2], digests)})
    data = data.assign_attrs(storage=STORAGE)
    data = data.assign_attrs({CONTENTS: contents_digest(data)})
    encoding = {name: {"_FillValue": None} for name in data.variables}
    path.unlink()
    data.drop_encoding().to_netcdf(path, engine="netcdf4", encoding=encoding)


def changed_text(text: str, words: Sequence[str], rng: np.random.Generator, mark: str) -> str:
    """Lines of a recipe or a CIF with other values; or missing, repeated, swapped; or with other bytes."""
    if rng.random() < 0.2:
        return mutated(text.encode(), rng).decode("latin-1")
    lines = text.splitlines()
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(lines)))
        kind = rng.integers(6)
        if kind == 0:
            del lines[at]
            lines = lines or [""]
        elif kind == 1:
            lines.insert(int(rng.integers(len(lines))), lines[at])
        elif mark in lines[at]:
            before = lines[at].split(mark)
            i = int(rng.integers(1, len(before)))
            before[i] = f" {words[rng.integers(len(words))]} "
            lines[at] = mark.join(before)
    return "\n".join(lines) + "\n"


def _pick(rng: np.random.Generator) -> Any:
    return ABSURD[int(rng.integers(len(ABSURD)))]


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(value, list) and not value:
        value = ""
    owner.delncattr(name)
    owner.setncattr(name, value)


# ---------------------------------------------------------------- cases


def make(files: Files, kind: str, rng: np.random.Generator, folder: Path) -> Path:
    """The damaged file of a case."""
    folder.mkdir()
    original = files.library if rng.random() < 0.5 else files.plain
    if kind in ("recipe", "cif"):
        recipe, cif = folder / "case.toml", folder / files.cif.name
        texts = {recipe: files.recipe.read_text(), cif: files.cif.read_text()}
        if kind == "recipe":
            texts[recipe] = changed_text(texts[recipe], WORDS, rng, "=")
        else:
            texts[cif] = changed_text(texts[cif], TEXT_NUMBERS, rng, " ")
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8", errors="replace")
        return recipe
    path = folder / "case.nc"
    shutil.copy(original, path)
    path.chmod(0o600)
    if kind == "bytes":
        path.write_bytes(mutated(path.read_bytes(), rng))
    elif kind == "attribute":
        changed_attribute(path, rng)
        reseal(path)
    else:
        changed_variable(path, rng)
        if rng.random() < 0.8:
            reseal(path)
    return path


def _composed(path: Path) -> Any:
    from hybridfit import Library

    library = Library.open(path)
    repr(library)
    json.loads(library.dataset.attrs["recipe"])
    values = {name: axis.reference for name, axis in library.structure.items()}
    low, high = library.thickness_range
    out = library.patterns(
        thickness=(low + high) / 2,
        semi_angle=min(2.5, library.semi_angle_max),
        k=np.linspace(-6, 6, 9),
        **values,
    )
    library.at(**values).table()
    library.close()
    return out.values


def use_recipe(path: Path) -> None:
    """Read, estimate, and build what is small."""
    from hybridfit import Library
    from hybridfit.library.plan import estimate
    from hybridfit.library.recipe import Recipe
    from hybridfit.library.sizes import check_size

    recipe = Recipe.read(path)
    recipe.checksum()
    size = estimate(recipe)
    str(size)
    check_size(size)
    if size.seconds < SMALL:
        Library.build(recipe, device="cpu")


def outcome(path: Path, known: dict[str, Any]) -> str:
    """What comes of a case: "used", "refused", or the error that should not have come out."""
    from hybridfit.errors import HybridfitError

    try:
        if path.suffix == ".toml":
            use_recipe(path)
        else:
            found = _composed(path)
            if known and not any(np.array_equal(found, each) for each in known.values()):
                return f"other numbers, unnoticed, off by {np.nanmax(np.abs(found)):.3g} at the most"
        return "used"
    except HybridfitError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error!r}"


def work(folder: Path, seed: int, first: int, stop: int) -> None:
    """Work on the cases from first to stop, and print a line of JSON for each."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    files = Files(folder)
    known = {path.name: _composed(path) for path in (files.library, files.plain)}
    use_recipe(files.recipe)  # imports are not part of a case
    for i in range(first, stop):
        rng, kind = np.random.default_rng((seed, i)), KINDS[i % len(KINDS)]
        place = folder / f"case-{i}"
        shutil.rmtree(place, ignore_errors=True)
        path = make(files, kind, rng, place)
        print(json.dumps({"case": i, "name": kind, "begun": True}), flush=True)
        peak_gb(reset=True)
        started = time.process_time()
        found = outcome(path, known if kind == "bytes" else {})
        seconds = time.process_time() - started
        print(
            json.dumps({"case": i, "name": kind, "found": found, "seconds": seconds, "gb": peak_gb()}),
            flush=True,
        )
        if found in ("used", "refused"):
            shutil.rmtree(place)


def run(folder: Path, seed: int, count: int) -> list[dict[str, Any]]:
    """All cases, in a process that is started anew after one that killed it or never ended."""
    results: list[dict[str, Any]] = []
    while len(results) < count:
        command = [sys.executable, "-m", "benchmarks.fuzz_library", "--work", str(folder)]
        command += ["--seed", str(seed), "--first", str(len(results)), "--count", str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        started = False
        current: dict[str, Any] = {}
        with process, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            left = b""
            while selector.select(STUCK if started else START):
                if not (new := os.read(process.stdout.fileno(), 2**16)):
                    break
                *lines, left = (left + new).split(b"\n")
                for line in lines:
                    if line.startswith(b'{"case"'):
                        started, current = True, json.loads(line)
                        results += [current] if "found" in current else []
            process.kill()
        if len(results) < count:
            if not started:
                raise RuntimeError(f"the worker does not start: {' '.join(command)}")
            case, code = len(results), process.returncode
            while_making = " while the file was made" if "found" in current else ""
            found = f"died, code {code}{while_making}"
            about = {"case": case, "name": KINDS[case % len(KINDS)]}
            results.append({**about, "found": found, "seconds": 0, "gb": 0})
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=int, help="mutations in all; 1500, or 150 if quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files of cases that failed")
    parser.add_argument("--work", type=Path, help="for the processes of the study itself")
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.work is not None:
        work(options.work, options.seed, options.first, options.count)
        return 0
    count = options.count or (150 if options.quick else 1500)
    study = Study("fuzz_library", quick=options.quick)
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        Files(folder).build()
        results = run(folder, options.seed, count)
    good = ("used", "refused")
    wrong = [r for r in results if r["found"] not in good and not r["found"].startswith("died")]
    died = [r for r in results if r["found"].startswith("died")]
    study.add("mutations", count, "")
    study.add("used all the same", np.mean([r["found"] == "used" for r in results]) * 100, "%")
    study.add("other errors, or other numbers", len(wrong), "", at_most=0)
    study.add("killed or stuck", len(died), "", at_most=0)
    study.add(f"over {SLOW:g} s", sum(r["seconds"] > SLOW for r in results), "", at_most=0)
    study.add(f"over {LARGE:g} GB", sum(r["gb"] > LARGE for r in results), "", at_most=0)
    study.add("longest", max(r["seconds"] for r in results), "s", at_most=SLOW)
    study.add("largest", max(r["gb"] for r in results), "GB", at_most=LARGE)
    for row in (*wrong, *died):
        study.note(f"case {row['case']} of seed {options.seed}, {row['name']}: {row['found'][:200]}")
    counts = {kind: Counter(r["name"] for r in results if r["found"] == kind) for kind in good}
    slowest = sorted(results, key=lambda r: -r["seconds"])[:10]
    passed = study.finish(counts=counts, slowest=slowest)
    with study.figure() as (_, axes):
        used = np.array([counts["used"][kind] for kind in KINDS])
        axes[0].barh(KINDS, used, label="used all the same")
        axes[0].barh(KINDS, [counts["refused"][kind] for kind in KINDS], left=used, label="refused")
        axes[0].invert_yaxis()
        axes[0].set(xlabel="damaged files")
        axes[0].legend()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
