"""Maps, parts and manifests that are damaged, foreign or absurd: one line, little time, little memory.

A small map is made and a run of it is stopped half-way.  Copies of both are then changed at random: bytes
are overwritten, cut out and added; attributes and variables are removed, renamed, and given other types,
shapes and absurd values; parts change places or come from another run.  `hybridfit show` and `hybridfit
map --partial` then read each of them in a process of its own, with limits.  A part that is believed although
it is not the one that was written counts as a failure, too.

Run with: python -m benchmarks.fuzz_maps [--count N] [--quick]
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

import hybridfit
from benchmarks.common import Study, new_parser
from hybridfit import cli
from hybridfit.library.recipe import shipped_folder
from hybridfit.scan.maps import map_scan, read_map
from hybridfit.scan.settings import FirstPassSettings

COUNT, QUICK = 600, 60
SHAPE = (6, 16)  # positions: six blocks, of which four are done
MOST_SECONDS, MOST_GB, ROOM = 10.0, 2.0, 12 << 30  # bytes of addresses: far more than memory that is used
RECIPE = """
cif = "SrTiO3.cif"
zone = [0, 0, 1]
in_plane = [1, 0, 0]
energy_kv = 200.0
g_max = 1.0
semi_angle_max = 10.0
tilt_max = 2.0
sampling = 0.5
thickness = { start = 10.0, stop = 40.0 }
"""
ABSURD: tuple[Any, ...] = (
    *("", "x", "null", "[]", "{}", "nan", "\x00", "é" * 300, "[" * 5000, "9" * 400, "/dev/null", "../.."),
    *(0, -1, 1, 2**31 - 1, -(2**63), 10**12, 1e308, -1e-300, float("nan"), float("inf")),
    *(np.zeros(3), np.arange(200), np.array(["a", "b"], dtype=object), np.int8(7)),
)
PLAIN: tuple[Any, ...] = (
    *(None, True, "", "x", "nan", 0, -1, 3, 1e308, 10**30, [], [1], [[]], {}, {"a": 1}, {"scale": "x"}),
    *("/dev/zero", "\x00", "é" * 1000, [0, 10**9, 0, 10**9], [1, 1, 0, 0], {"scale": -5.0}, {"dtype": "O"}),
)


class Bench:
    """A map and a stopped run to damage, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        recipe, self.scan = folder / "small.toml", folder / "scan.npy"
        shutil.copy(shipped_folder() / "SrTiO3.cif", folder)
        recipe.write_text(RECIPE)
        self.library = recipe
        library = hybridfit.Library.open(recipe)
        hybridfit.simulate_scan(
            self.scan, library, 9.0, scan_shape=SHAPE, frame_shape=(48, 48), bend=0.5, electrons=1e5
        )
        options: dict[str, Any] = {
            "semi_angle": 9.0,
            "method": "lsf",
            "workers": 1,
            "fix": {"rotation": 0.0},
            "common": ("scale",),
        }
        self.map = folder / "map.nc"
        few = FirstPassSettings(sampled=4)
        map_scan(self.scan, recipe, output=self.map, roi=(0, 3, 0, 4), first_pass=few, **options)
        for name, changed in (("run.nc", {}), ("other.nc", {"background": "uniform"})):
            with contextlib.suppress(KeyboardInterrupt):
                map_scan(
                    self.scan,
                    recipe,
                    output=folder / name,
                    progress=_stop_at(4 * SHAPE[1]),
                    **{**options, **changed},
                )
        self.parts = folder / "run.nc.parts"
        self.foreign = folder / "other.nc.parts"
        self.command: list[object] = ["map", self.scan, "--library", recipe]
        self.command += ["--semi-angle", "9", "--method", "lsf"]
        self.command += ["--fix", "rotation=0", "--common", "scale", "--workers", "1", "--partial"]
        self.whole = self.partial(self.parts, folder / "check.nc")

    def partial(self, parts: Path, output: Path) -> xr.Dataset:
        """The map of the parts of a run, by the command line in this process."""
        shutil.copytree(parts, f"{output}.parts")
        assert cli.main([str(word) for word in (*self.command, "-o", output, "--quiet")]) == 0
        return read_map(output)


def _stop_at(done: int) -> Callable[[Any], None]:
    def stop(report: Any) -> None:
        if report.stage == "positions" and report.done >= done:
            raise KeyboardInterrupt

    return stop


# ---------------------------------------------------------------- mutations


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes overwritten, cut, repeated or added."""
    out = bytearray(data)
    how = rng.randrange(6)
    at = rng.randrange(max(1, len(out)))
    if how == 0:
        return bytes(out[:at])
    if how == 1:
        return bytes(out[at:])
    if how == 2:
        out[at : at + rng.choice((1, 16, 4096))] = b""
    elif how == 3:
        out[at:at] = rng.randbytes(rng.choice((1, 16, 4096)))
    else:
        for _ in range(rng.choice((1, 4, 64))):
            place, length = rng.randrange(len(out)), rng.choice((1, 1, 4, 16))
            out[place : place + length] = rng.randbytes(length) if how == 4 else bytes(length)
    return bytes(out)


def change_map(path: Path, rng: random.Random) -> str:
    """Change one thing in a map; what was changed, in words."""
    how = rng.randrange(8)
    if how == 0:
        path.write_bytes(damaged(path.read_bytes(), rng))
        return "bytes"
    if how in (1, 2):
        return _change_settings(path, rng)
    with netCDF4.Dataset(path, "a") as file:
        variable = file[rng.choice(list(file.variables))]
        holder = file if how in (3, 4) else variable
        names = holder.ncattrs() or ["units"]
        name = rng.choice(names)
        if how == 3 or (how == 5 and name in holder.ncattrs()):
            holder.delncattr(name) if name in holder.ncattrs() else None
            return f"no attribute {name}"
        if how in (4, 6):
            value = rng.choice(ABSURD)
            with contextlib.suppress(TypeError, ValueError, RuntimeError, AttributeError):
                holder.setncattr(name, value)
            return f"attribute {name} {str(value)[:20]!r}"
        file.renameVariable(variable.name, "renamed")
        return "a variable of another name"


def _change_settings(path: Path, rng: random.Random) -> str:
    """Change one entry of the settings that a map keeps as JSON."""
    with netCDF4.Dataset(path, "a") as file:
        about = json.loads(file.getncattr("settings"))
        name = rng.choice(list(about))
        if rng.random() < 0.3:
            del about[name]
        else:
            about[name] = rng.choice(PLAIN)
        file.setncattr("settings", json.dumps(about))
        return f"setting {name} {str(about.get(name, 'missing'))[:20]!r}"


def change_parts(folder: Path, foreign: Path, rng: random.Random) -> str:
    """Change one part or the manifest of a run; what was changed, in words."""
    part = rng.choice(sorted(folder.glob("*.npz")))
    how = rng.randrange(8)
    if how == 0:
        other = rng.choice([p for p in sorted(folder.glob("*.npz")) if p != part])
        part.write_bytes(other.read_bytes())
        return "another part of the run"
    if how == 1:
        part.write_bytes(rng.choice(sorted(foreign.glob("*.npz"))).read_bytes())
        return "a part of another run"
    if how == 2:
        with np.load(part) as stored:
            arrays = {name: stored[name] for name in stored.files}
        name = rng.choice(list(arrays))
        old = arrays[name]
        values = [np.zeros(3), np.zeros((10**5, 30)), np.array("x"), np.repeat(old, 2), old.astype("U9")]
        values += [old + 1] if old.dtype.kind in "if" else [np.char.add(old, "x")]
        arrays[name] = rng.choice(values)
        np.savez(part, **arrays)
        return f"array {name}"
    if how == 3:
        path = folder / "manifest.json"
        about = json.loads(path.read_text())
        name = rng.choice(list(about))
        about[name] = rng.choice(PLAIN)
        path.write_text(json.dumps(about))
        return f"manifest {name}"
    if how == 4:
        path = folder / "manifest.json"
        path.write_bytes(damaged(path.read_bytes(), rng))
        return "manifest, bytes"
    part.write_bytes(damaged(part.read_bytes(), rng))
    return "part, bytes"


# ---------------------------------------------------------------- runs


def limited(command: Sequence[object], errors: Path) -> tuple[int, float, float]:
    """A command in a copy of this process: its exit code, seconds and GB; what it says goes to a file."""
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
            signal.alarm(int(6 * MOST_SECONDS))
            handle = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = cli.main([str(word) for word in command])
            sys.stderr.flush()
        except BaseException as error:
            os.write(2, f"Traceback {type(error).__name__}: {error}".encode(errors="replace"))
        finally:
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - start, used.ru_maxrss * 1024 / 1e9


def fault(code: int, seconds: float, gb: float, said: str) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    if code not in (0, 1, 2) or "Traceback" in said:
        return "traceback"
    if code == 2 and said.count("\n") != 1:
        return "more than one line"
    if seconds > MOST_SECONDS:
        return "slow"
    return "memory" if gb > MOST_GB else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=int, help=f"of mutations; {COUNT}, quick: {QUICK}")
    options = parser.parse_args(arguments)
    count = options.count or (QUICK if options.quick else COUNT)
    study, faults = Study("fuzz_maps", quick=options.quick), Counter[str]()
    ends: Counter[int] = Counter()
    seconds, memory, believed = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder)
        for seed in range(count):
            rng = random.Random(seed)
            target = folder / f"case{seed}.nc"
            if seed % 2:
                shutil.copytree(bench.parts, f"{target}.parts")
                what = change_parts(Path(f"{target}.parts"), bench.foreign, rng)
                command = [*bench.command, "-o", target]
            else:
                shutil.copy(bench.map, target)
                what = change_map(target, rng)
                command = ["show", target, *(["--at", "1,2"] if rng.random() < 0.5 else [])]
            errors = folder / "errors"
            code, took, gb = limited(command, errors)
            said = errors.read_text(errors="replace")
            seconds.append(took)
            memory.append(gb)
            ends[code] += 1
            if wrong := fault(code, took, gb, said):
                faults[wrong] += 1
                study.note(f"{wrong}, seed {seed} ({what}), code {code}: {said.strip()[-200:]}")
            if seed % 2 and code == 0 and not _right(read_map(target), bench.whole):
                believed += 1
                study.note(f"believed, seed {seed}: {what}")
            target.unlink(missing_ok=True)
            shutil.rmtree(f"{target}.parts", ignore_errors=True)
    study.add(f"{count} mutations: tracebacks", faults["traceback"], "", at_most=0)
    study.add("refusals of more than one line", faults["more than one line"], "", at_most=0)
    study.add(f"longer than {MOST_SECONDS:g} s", faults["slow"], "", at_most=0)
    study.add(f"more than {MOST_GB:g} GB", faults["memory"], "", at_most=0)
    study.add("changed parts that were believed", believed, "", at_most=0)
    study.add("refused with one line", ends[2], "")
    study.add("read", ends[0] + ends[1], "")
    study.add("longest", max(seconds), "s")
    study.add("most memory", max(memory), "GB")
    with study.figure(2) as (_, axes):
        for axis, values, label in ((axes[0], seconds, "time (s)"), (axes[1], memory, "memory (GB)")):
            axis.hist(values, 30)
            axis.set(xlabel=label, ylabel="mutations", yscale="log")
    return 0 if study.finish(codes={str(code): n for code, n in ends.items()}) else 1


def _right(found: xr.Dataset, whole: xr.Dataset) -> bool:
    """Whether a map has the numbers of the undamaged parts, or says that they are not done."""
    words = found["status"].attrs["flag_meanings"].split()
    done = found["status"].values != words.index("not_done")
    for name, variable in whole.data_vars.items():
        if variable.dtype.kind == "f" and variable.dims == ("scan_y", "scan_x"):
            if name.startswith(("deflection", "field")):  # of all positions together
                continue
            if not np.array_equal(found[name].values[done], variable.values[done], equal_nan=True):
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
