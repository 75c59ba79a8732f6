"""Damaged files of every format: what the readers make of thousands of them.

Small valid files, also of RosettaSciIO's formats, are damaged: bytes are changed, cut off or put in, and
numbers of the header are replaced by traps. A process of limited memory then reads each as frames and as a
scan. Only frames, or an error of one line, may come out.

Run with: python -m benchmarks.fuzz_readers [--quick] [--count N] [--seed N]
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser
from benchmarks.fuzz_files import BESIDE, SCAN_SHAPE, write_all
from hybridfit.errors import InputError

SLOW, LARGE = 10.0, 2.0  # s of processor time; GB
STUCK = 900.0  # s: a case that takes longer is given up, also where other work fills the machine
LIMIT = 6 * 2**30  # bytes of address space: more and the case fails, before it takes the machine with it
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
TEXTS = (b"-1", b"0", b"99999999999", b"nan", b"1e400", b"None", b"<", b"\xff\xfe")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to four changes, most of them near its beginning, where the header is."""
    for _ in range(rng.integers(1, 5)):
        at = int(rng.random() ** rng.choice([1, 3]) * len(content))
        kind = rng.integers(5)
        if kind == 0:
            content = content[: max(at, 1)]
        elif kind == 1:
            content = content[:at] + rng.bytes(int(rng.integers(1, 20))) + content[at:]
        elif kind == 2:
            content = content[:at] + rng.bytes(1) + content[at + 1 :]
        elif kind == 3:
            size, order = int(rng.choice([2, 4, 8])), ("little", "big")[rng.integers(2)]
            value = NUMBERS[rng.integers(len(NUMBERS))] % 2 ** (8 * size)
            at = at // 2 * 2
            content = content[:at] + value.to_bytes(size, order) + content[at + size :]
        else:
            text = [b"-1", b"0", b"99999999999", b"nan", b"1e400", b"None", b"<", b"\xff\xfe"][
                rng.integers(8)
            ]
            content = content[:at] + text + content[at + len(text) :]
    return content or b"\0"


def read(path: Path, options: dict[str, Any]) -> tuple[str, float]:
    """Read a file in every way, and what comes of it.

    Returns
    -------
    found : "read", "refused", or the error that should not have come out
    seconds : processor time of the longest of these ways
    """
    from hybridfit.io import BadFrame, open_frames, open_scan

    def frames() -> bool:
        found = list(islice(open_frames(path, **options), 100))
        return not all(isinstance(frame, BadFrame) for frame in found)

    def scan(**more: Any) -> bool:
        open_scan(path, **options, **more).read(slice(0, 1), slice(0, 2))
        return True

    found, longest = "refused", 0.0
    for way in (frames, scan, partial(scan, scan_shape=SCAN_SHAPE)):
        started = processor_time()
        try:
            found = "read" if way() else found
        except InputError as error:
            if "\n" in str(error):
                return f"several lines: {error!r}", longest
        except Exception as error:
            return f"{type(error).__name__}: {error}", longest
        longest = max(longest, processor_time() - started)
    return found, longest


def processor_time() -> float:
    """Processor time (s) of this process and of those that it started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def peak_gb(reset: bool = False) -> float:
    """Largest resident memory of this process since it was last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def work(folder: Path, seed: int, first: int, stop: int) -> None:
    """Work on the cases from first to stop, and print a line of JSON for each."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    files = json.loads((folder / "files.json").read_text())
    names = sorted(files)
    for name in names:  # imports are not part of a case
        read(folder / name, files[name])
    for i in range(first, stop):
        name = names[i % len(names)]
        path = folder / f"case-{first}" / name
        if not path.parent.exists():
            path.parent.mkdir()
            for beside in BESIDE:
                (path.parent / beside).write_bytes((folder / beside).read_bytes())
        path.unlink(missing_ok=True)  # a file that is still mapped must not change
        path.write_bytes(mutated((folder / name).read_bytes(), np.random.default_rng((seed, i))))
        print(json.dumps({"case": i, "name": name, "begun": True}), flush=True)
        peak_gb(reset=True)
        found, seconds = read(path, files[name])
        line = {"case": i, "name": name, "found": found, "seconds": seconds, "gb": peak_gb()}
        print(json.dumps(line), flush=True)


def run(folder: Path, seed: int, count: int) -> list[dict[str, Any]]:
    """All cases, in a process that is started anew after one that killed it or never ended."""
    results: list[dict[str, Any]] = []
    while len(results) < count:
        command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--work", str(folder)]
        command += ["--seed", str(seed), "--first", str(len(results)), "--count", str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        current: dict[str, Any] = {"case": len(results), "name": "none"}
        with process, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            left = b""
            while selector.select(STUCK) and (new := os.read(process.stdout.fileno(), 2**16)):
                *lines, left = (left + new).split(b"\n")
                for line in lines:
                    if line.startswith(b'{"case"'):  # not what a reader prints
                        current = json.loads(line)
                        results += [current] if "found" in current else []
            process.kill()
        if len(results) < count:
            if current["name"] == "none":
                raise RuntimeError(f"the worker does not start: {' '.join(command)}")
            results.append({**current, "found": f"died, code {process.returncode}", "seconds": 0, "gb": 0})
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--count", type=int, help="mutations in all; 2000, or 200 if quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="for the processes of the study itself")
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.work is not None:
        work(options.work, options.seed, options.first, options.count)
        return 0
    count = options.count or (200 if options.quick else 2000)
    study = Study("fuzz_readers", quick=options.quick)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, skipped = write_all(folder)
        (folder / "files.json").write_text(json.dumps(files))
        results = run(folder, options.seed, count)
    wrong = [
        r for r in results if r["found"] not in ("read", "refused") and not r["found"].startswith("died")
    ]
    died = [r for r in results if r["found"].startswith("died")]
    study.add("mutations", count, "")
    study.add("formats", len(files), "")
    study.add("read all the same", np.mean([r["found"] == "read" for r in results]) * 100, "%")
    study.add("errors that are no InputError of one line", len(wrong), "", at_most=0)
    study.add("killed or stuck", len(died), "", at_most=0)
    study.add(f"over {SLOW:g} s", sum(r["seconds"] > SLOW for r in results), "", at_most=0)
    study.add(f"over {LARGE:g} GB", sum(r["gb"] > LARGE for r in results), "", at_most=0)
    study.add("longest", max(r["seconds"] for r in results), "s", at_most=SLOW)
    study.add("largest", max(r["gb"] for r in results), "GB", at_most=LARGE)
    for row in (*wrong, *died):
        study.note(f"case {row['case']} of seed {options.seed}, {row['name']}: {row['found'][:200]}")
    for reason in skipped:
        study.note(f"skipped: {reason}")
    counts = {kind: Counter(r["name"] for r in results if r["found"] == kind) for kind in ("read", "refused")}
    slowest = sorted(results, key=lambda r: -r["seconds"])[:10]
    largest = sorted(results, key=lambda r: -r["gb"])[:10]
    passed = study.finish(counts=counts, slowest=slowest, largest=largest)
    with study.figure(size=(6.4, 4.8)) as (_, axes):
        names = sorted(files)
        read_ = np.array([counts["read"][name] for name in names])
        axes[0].barh(names, read_, label="read all the same")
        axes[0].barh(names, [counts["refused"][name] for name in names], left=read_, label="refused")
        axes[0].invert_yaxis()
        axes[0].set(xlabel="damaged files")
        axes[0].legend()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
