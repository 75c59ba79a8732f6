"""Weights and checkpoints that are damaged, foreign or absurd: one line, little time, little memory.

A small network is trained for a few steps.  Copies of its weights and of its checkpoint are then changed at
random: bytes are overwritten, cut out and added, in the header most of all; fields of the metadata are
removed and given other types and absurd values, with a digest that fits; tensors get other shapes and types;
files of another kind take their places.  `hybridfit fit --weights` and `hybridfit train --resume` then read
each of them in a process of its own, with limits.  Times are those of the processor, so that a busy machine
does not count; a process that waits for ever is stopped after a minute.

Run with: python -m benchmarks.fuzz_network [--count N] [--quick]
"""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save

import hybridfit
from benchmarks.common import Study, new_parser
from benchmarks.fuzz_maps import MOST_GB, MOST_SECONDS, RECIPE, damaged, fault, limited
from hybridfit import cli
from hybridfit.library.recipe import shipped_folder
from hybridfit.network import training
from hybridfit.network.files import KEY, digest_of
from hybridfit.network.state import Plan

COUNT, QUICK = 600, 60
SEMI_ANGLE = 9.0
TRUTH: dict[str, Any] = {"thickness": 22.0, "tilt": (0.4, -0.3), "electrons": 1e6, "shape": (64, 64)}
ABSURD: tuple[Any, ...] = (
    *(None, True, False, "", "x", "nan", "\x00", "\ud800", "é" * 5000, [], [1], [[]], {}, {"a": 1}),
    *(0, -1, 1, 3, 10**9, 2**63, 10**40, 0.5, 1e308, 1e-308, float("nan"), float("inf"), -0.0),
    *([2048] * 4, [1] * 5, [0] * 4, [10**9] * 4, [1e308, 1e308], [3.0, 1.0], "0" * 64),
)


class Bench:
    """Weights, a checkpoint and a frame, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.recipe, self.frame = folder / "small.toml", folder / "frame.npy"
        self.weights, self.checkpoint = folder / "net.safetensors", folder / "net.checkpoint"
        shutil.copy(shipped_folder() / "SrTiO3.cif", folder)
        self.recipe.write_text(RECIPE)
        library = hybridfit.Library.open(self.recipe)
        np.save(self.frame, hybridfit.simulate_frame(library, semi_angle=SEMI_ANGLE, **TRUTH)[0])
        plan = Plan(samples=8, batch=4, pool=8, seed=1)
        training.train(library, plan, device="cpu", checkpoint=self.checkpoint).save(self.weights)
        for command in (self.fit(self.weights), self.resume(self.checkpoint, folder / "out.safetensors")):
            assert cli.main([str(word) for word in command]) in (0, 1), "the undamaged files are read"

    def fit(self, weights: Path) -> list[object]:
        """The command that reads weights."""
        what = ["fit", self.frame, "--library", self.recipe, "--semi-angle", SEMI_ANGLE, "--quiet"]
        return [*what, "--method", "cnn", "--weights", weights]

    def resume(self, checkpoint: Path, output: Path) -> list[object]:
        """The command that reads a checkpoint."""
        return ["train", self.recipe, "--samples", 12, "-o", output, "--resume", checkpoint, "-q"]


# ---------------------------------------------------------------- mutations


def change(good: Path, other: Path, path: Path, rng: random.Random) -> str:
    """Write a changed copy of a file; what was changed, in words."""
    data, how = good.read_bytes(), rng.randrange(10)
    header = 8 + struct.unpack("<Q", data[:8])[0]
    if how < 2:
        path.write_bytes(damaged(data, rng))
        return "bytes"
    if how < 4:
        path.write_bytes(damaged(data[:header], rng) + data[header:])
        return "bytes of the header"
    if how == 4:
        path.write_bytes(_foreign(other, rng))
        return "a file of another kind"
    with safetensors.safe_open(str(good), framework="pt") as file:
        whole = json.loads(file.metadata()[KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    what = _change_field(whole, rng) if how < 8 else _change_tensor(tensors, rng)
    if isinstance(whole["about"], dict) and rng.random() < 0.9:
        whole["digest"] = digest_of(whole["about"], {name: value.numpy() for name, value in tensors.items()})
    path.write_bytes(save(tensors, metadata={KEY: json.dumps(whole)}))
    return what


def _foreign(other: Path, rng: random.Random) -> bytes:
    """Bytes of a file of another kind."""
    zipped = io.BytesIO()
    torch.save({"format": "hybridfit training", "version": 1}, zipped)
    tensors = {"a": torch.zeros(1)}
    deep = "[" * 100_000
    return rng.choice(
        [
            other.read_bytes(),
            zipped.getvalue(),
            b"",
            b"\x00" * 100,
            struct.pack("<Q", 2**62) + b"{}",
            struct.pack("<Q", 2) + b"{}",
            save(tensors),
            save(tensors, metadata={KEY: rng.choice(["", "[1]", deep, "9" * 5000, "{}", "null"])}),
        ]
    )


def _places(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every place in nested dictionaries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key)
            yield from _places(inner, (*at, key))


def _change_field(whole: dict[str, Any], rng: random.Random) -> str:
    """Remove a field of the metadata, or give it an absurd value."""
    *path, last = rng.choice(list(_places(whole)))
    inner = whole
    for key in path:
        inner = inner[key]
    if rng.random() < 0.3:
        del inner[last]
        whole.setdefault("about", None)
        return f"no field {'.'.join([*path, last])}"
    inner[last] = rng.choice(ABSURD)
    return f"field {'.'.join([*path, last])} = {str(inner[last])[:30]!r}"


def _change_tensor(tensors: dict[str, torch.Tensor], rng: random.Random) -> str:
    """Give a tensor another shape, type or name, or a number that is not finite; or leave it out."""
    name = rng.choice(sorted(tensors))
    old = tensors.pop(name)
    how = rng.choice(["none", "name", "shape", "type", "nan", "empty", "large"])
    if how == "name":
        tensors[name[::-1] or "x"] = old
    elif how == "shape":
        tensors[name] = old.reshape(-1, 1)
    elif how == "type":
        tensors[name] = old.to(rng.choice([torch.float64, torch.float16, torch.int64, torch.bool]))
    elif how == "nan":
        tensors[name] = torch.full_like(old, float("nan")) if old.is_floating_point() else old[:1]
    elif how == "empty":
        tensors[name] = torch.zeros((0, *old.shape))
    elif how == "large":
        tensors[name] = torch.zeros(3_000_000)
    return f"tensor {name}: {how}"


# ---------------------------------------------------------------- the study


def _processor_s() -> float:
    """Processor time (s) of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=int, help=f"of mutations; {COUNT}, quick: {QUICK}")
    options = parser.parse_args(arguments)
    count = options.count or (QUICK if options.quick else COUNT)
    torch.set_num_threads(1)  # threads of a library do not live on in copies of a process
    training.HELD_BACK = training.CALIBRATION = 16
    study, faults = Study("fuzz_network", quick=options.quick), Counter[str]()
    ends: Counter[int] = Counter()
    seconds, memory = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder)
        for seed in range(count):
            rng = random.Random(seed)
            errors, path = folder / "errors", folder / f"case{seed}"
            if seed % 2:
                what = change(bench.checkpoint, bench.weights, path, rng)
                command = bench.resume(path, folder / "out.safetensors")
            else:
                what = change(bench.weights, bench.checkpoint, path, rng)
                command = bench.fit(path)
            before = _processor_s()
            code, _, gb = limited(command, errors)
            took = _processor_s() - before
            said = errors.read_text(errors="replace")
            seconds.append(took)
            memory.append(gb)
            ends[code] += 1
            if wrong := fault(code, took, gb, said):
                faults[wrong] += 1
                study.note(f"{wrong}, seed {seed} ({what}), code {code}: {said.strip()[-300:]}")
            path.unlink(missing_ok=True)
    study.add(f"{count} mutations: tracebacks", faults["traceback"], "", at_most=0)
    study.add("refusals of more than one line", faults["more than one line"], "", at_most=0)
    study.add(f"longer than {MOST_SECONDS:g} s of processor time", faults["slow"], "", at_most=0)
    study.add(f"more than {MOST_GB:g} GB", faults["memory"], "", at_most=0)
    study.add("refused with one line", ends[2], "")
    study.add("read", ends[0] + ends[1], "")
    study.add("longest, processor time", max(seconds), "s")
    study.add("most memory", max(memory), "GB")
    with study.figure(2) as (_, axes):
        for axis, values, label in (
            (axes[0], seconds, "processor time (s)"),
            (axes[1], memory, "memory (GB)"),
        ):
            axis.hist(values, 30)
            axis.set(xlabel=label, ylabel="mutations", yscale="log")
    return 0 if study.finish(codes={str(code): n for code, n in ends.items()}) else 1


if __name__ == "__main__":
    sys.exit(main())
