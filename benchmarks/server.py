"""`hybridfit serve` under load and under fire: nothing is lost, and nobody waits long.

    start       from the command to the page, and until the worker is warm
    warm        a frame of 512 × 512 px: from the upload to its row, and to the images that the page draws
    uploads     200 at the same time, good, bad and hostile ones mixed: every one is answered
    kills       workers are killed at random moments of fits and of a map: every job ends, no fit is lost

The server is a process of its own, as a user starts it, with a session of its own.

Run with: python -m benchmarks.server [--quick] [--uploads N] [--kills N]
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Study, new_parser, timed
from benchmarks.fuzz_readers import mutated
from benchmarks.scan_runs import NAME, SEMI_ANGLE, family, scan_file, words
from benchmarks.scan_runs import _memory as memory_gb
from hybridfit import Library, simulate_frame

ENDED = ("done", "failed", "stopped")
PATIENCE = 900.0  # s for all jobs of a part
MAP_SHAPE, MAP_SIDE = (12, 16), 64


@dataclass
class Server:
    """A server in a process of its own."""

    folder: Path
    scans: Path
    peak_gb: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Server:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "hybridfit", "serve", "--no-browser", "--port", "0"]
        command += ["--session", str(self.folder), "--folder", str(self.scans)]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+/", self.process.stdout.readline())
        assert found is not None
        self.address = found.group()
        self.get("")
        self.seconds["page"] = time.perf_counter() - begun
        while json.loads(self.get("api/about"))["engine"]["state"] != "ready":
            time.sleep(0.05)
        self.seconds["warm"] = time.perf_counter() - begun
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        begun = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.seconds["end"] = time.perf_counter() - begun
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.peak_gb = max(self.peak_gb, sum(map(memory_gb, self.family())))
            time.sleep(0.25)

    def family(self) -> list[int]:
        """The server and its descendants, also those that its threads have started."""
        with contextlib.suppress(OSError):
            threads = os.listdir(f"/proc/{self.process.pid}/task")
            texts = [Path(f"/proc/{self.process.pid}/task/{t}/children").read_text() for t in threads]
            return [self.process.pid, *(p for text in texts for c in text.split() for p in family(int(c)))]
        return []

    def worker(self, lane: str) -> int | None:
        """The process of a lane's worker."""
        for pid in self.family():
            if "hybridfit.serve.work" in (said := words(pid)) and f'"lane": "{lane}"' in said:
                return pid
        return None

    # ---------------------------------------------------------------- requests, with the standard library

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        """Status and body of an answer."""
        headers = {"X-Hybridfit": "1"} | ({"Content-Type": kind} if kind else {})
        request = urllib.request.Request(self.address + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> bytes:
        return self.ask("GET", path)[1]

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def fit(self, name: str, content: bytes, options: str, wait: float = 0.0) -> tuple[int, Any]:
        """Upload a frame; status and JSON of the answer."""
        quoted = name.replace('"', "")
        body = b""
        for part, value in (('"options"', options.encode()), (f'"file"; filename="{quoted}"', content)):
            body += (
                f"--frame\r\nContent-Disposition: form-data; name={part}\r\n\r\n".encode() + value + b"\r\n"
            )
        body += b"--frame--\r\n"
        kind = "multipart/form-data; boundary=frame"
        code, text = self.ask("POST", f"api/fit?wait={wait:g}", body, kind)
        return code, json.loads(text)

    def until_ended(self, jobs: Sequence[str]) -> dict[str, Any]:
        """All jobs, once each has ended, or patience has."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = {job["id"]: job for job in self.json("api/jobs")}
            open_ones = [key for key in jobs if key not in found or found[key]["state"] not in ENDED]
            if not open_ones or time.monotonic() > deadline:
                return found
            time.sleep(0.2)


def as_npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def frames(side: int, count: int) -> list[np.ndarray]:
    """Frames of the shipped crystal, of several thicknesses."""
    library = Library.open(NAME)
    out = []
    for i in range(count):
        options: dict[str, Any] = {"thickness": 20.0 + 6 * i, "tilt": (0.4, -0.2 * i), "rotation": 10.0 * i}
        image, _ = simulate_frame(library, semi_angle=SEMI_ANGLE, shape=(side, side), seed=i, **options)
        out.append(image.astype(np.uint16))
    return out


def header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """A .npy file that declares an array and holds next to nothing of it."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + bytes(100)


def uploads(count: int, rng: np.random.Generator) -> list[tuple[str, str, bytes, str]]:
    """(kind, name, content, options) of every upload, in random order."""
    good = [as_npy(frame) for frame in frames(128, 6)]
    asked = json.dumps({"semi_angle": SEMI_ANGLE})
    hostile = [
        ("bomb.npy", header((2**20, 2**20))),
        ("negative.npy", header((-1, 64))),
        ("objects.npy", header((4,), "|O")),
        ("pickle.npy", b"\x80\x04cos\nsystem\n(S'true'\ntR."),
        ("zero.tif", b""),
        ("random.h5", rng.bytes(100_000)),
        ("hdf.h5", b"\x89HDF\r\n\x1a\n" + rng.bytes(50_000)),
        ("script.png", b"<script>alert(1)</script>" * 100),
        ("../../../etc/passwd", rng.bytes(1000)),
        ("\u202ecod.tif", b"II*\0" + rng.bytes(2000)),
        ("big.bin", bytes(30_000_000)),
    ]
    strange = ['{"semi_angle": NaN}', '{"library": "../x"}', "[" * 5000, '{"fix": {"blurr": 1}}', "rubbish"]
    out = []
    for i in range(count):
        which = i % 5
        if which < 2:
            out.append(("good", f"frame {i}.npy", good[i % len(good)], asked))
        elif which == 2:
            out.append(("damaged", f"damaged {i}.npy", mutated(good[i % len(good)], rng), asked))
        elif which == 3:
            out.append(("hostile", *hostile[(i // 5) % len(hostile)], asked))
        elif (i // 5) % 2:
            out.append(("blank", f"blank {i}.npy", as_npy(np.zeros((128, 128))), asked))
        else:
            out.append(("options", f"frame {i}.npy", good[0], strange[(i // 10) % len(strange)]))
    return [out[i] for i in rng.permutation(len(out))]


def study_warm(server: Server, study: Study, repeat: int) -> None:
    """The way of a frame of 512 × 512 px."""
    content, asked = as_npy(frames(512, 1)[0]), json.dumps({"semi_angle": SEMI_ANGLE})

    def row() -> str:
        _, job = server.fit("warm.npy", content, asked, wait=60)
        assert job["state"] == "done", job
        return str(job["fits"][0])

    def images() -> None:
        found = server.json(f"api/fits/{row()}/images")
        assert np.prod(found["shape"]) > 1000

    def picture() -> None:
        code, png = server.ask("GET", f"api/fits/{row()}/picture.png")
        assert code == 200 and png.startswith(b"\x89PNG")

    study.add("warm frame of 512 × 512 px: from the upload to its row", timed(row, repeat), "s")
    study.add("warm frame: from the upload to the images of the page", timed(images, repeat), "s", at_most=1)
    study.add("warm frame: from the upload to the picture with its χ² curve", timed(picture, repeat), "s")


def study_uploads(server: Server, study: Study, count: int) -> dict[str, Any]:
    """So many uploads at the same time."""
    sent = uploads(count, np.random.default_rng(7))
    before = len(server.json("api/fits"))

    def one(each: tuple[str, str, bytes, str]) -> tuple[str, float, int, Any]:
        begun = time.perf_counter()
        code, answer = server.fit(each[1], each[2], each[3])
        return each[0], time.perf_counter() - begun, code, answer

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(one, sent))
    server_jobs = [answer["job"] for _, _, code, answer in answers if code == 202]
    found = server.until_ended(server_jobs)
    whole = time.perf_counter() - begun
    lost = [key for key in server_jobs if key not in found or found[key]["state"] not in ENDED]
    waits = sorted(seconds for _, seconds, _, _ in answers)
    silent = [a for _, _, code, a in answers if code != 202 and not isinstance(a.get("error"), str)]
    crashes = [job["error"] for job in found.values() if "hybridfit itself" in (job["error"] or "")]
    crashes += [str(a) for _, _, code, a in answers if code >= 500]
    wrong = [
        job for (kind, *_), (_, _, code, answer) in zip(sent, answers, strict=True)
        if kind == "good" and (code != 202 or (job := found[answer["job"]])["state"] != "done")
    ]  # fmt: skip
    ended = [found[key]["finished"] - found[key]["created"] for key in server_jobs if key not in lost]
    rows = len(server.json("api/fits")) - before
    fits = sum(len(found[key]["fits"]) for key in server_jobs if key in found)
    study.add(f"{count} uploads at the same time: answered", len(answers), "", at_least=count)
    study.add("uploads: jobs that were lost", len(lost), "", at_most=0)
    study.add("uploads: good frames without a fit", len(wrong), "", at_most=0)
    study.add("uploads: fits that are not in the session", abs(fits - rows), "", at_most=0)
    study.add("uploads: refusals without a reason", len(silent), "", at_most=0)
    study.add("uploads: errors of hybridfit itself", len(crashes), "", at_most=0)
    study.add("uploads: until one is accepted or refused, median", statistics.median(waits), "s")
    study.add("uploads: until one is accepted or refused, 95 %", float(np.percentile(waits, 95)), "s")
    study.add("uploads: until a job has ended, median", statistics.median(ended), "s")
    study.add("uploads: until a job has ended, 95 %", float(np.percentile(ended, 95)), "s")
    study.add("uploads: all of them", whole, "s")
    study.add("uploads: largest memory of server and workers", server.peak_gb, "GB", at_most=2)
    study.add(
        "uploads: server alive afterwards", float(server.ask("GET", "api/about")[0] == 200), "", at_least=1
    )
    for text in crashes[:5]:
        study.note(text)
    states = Counter((kind, found[a["job"]]["state"] if code == 202 else f"refused {code}")
                     for kind, _, code, a in answers)  # fmt: skip
    return {"waits": waits, "states": {" ".join(key): n for key, n in states.items()}}


def study_kills(server: Server, study: Study, scan: Path, kills: int) -> dict[str, int]:
    """Kill workers while stacks are fitted and a map is made."""
    rng = random.Random(3)
    stack = as_npy(np.stack(frames(128, 6)))
    asked = json.dumps({"semi_angle": SEMI_ANGLE})
    jobs = [server.fit(f"stack {i}.npy", stack, asked)[1]["job"] for i in range(max(2, kills // 2))]
    body = {"folder": server.scans.name, "path": scan.name, "semi_angle": SEMI_ANGLE}
    made = json.loads(server.ask("POST", "api/maps", json.dumps(body).encode(), "application/json")[1])
    done: Counter[str] = Counter()
    deadline = time.monotonic() + PATIENCE
    while sum(done.values()) < kills and time.monotonic() < deadline:
        states = {job["id"]: job["state"] for job in server.json("api/jobs")}
        fitting = any(states[key] == "running" for key in jobs)
        mapping = states[made["job"]] == "running"
        if not fitting and not mapping:
            if all(states[key] in ENDED for key in (*jobs, made["job"])):
                jobs.append(server.fit("another.npy", stack, asked)[1]["job"])
            time.sleep(0.1)
            continue
        lane = "long" if mapping and (not fitting or done["map"] < done["fits"]) else "fits"
        time.sleep(rng.uniform(0.5, 8.0))  # into the start of a worker, or the middle of its work
        if (pid := server.worker(lane)) is not None:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                done["map" if lane == "long" else "fits"] += 1
    found = server.until_ended([*jobs, made["job"]])
    rows = {row["id"] for row in server.json("api/fits")}
    lost = [key for key in (*jobs, made["job"]) if key not in found or found[key]["state"] not in ENDED]
    mute = [job for job in found.values() if job["state"] == "failed" and not job["error"]]
    gone = [key for key in jobs for fit in found[key]["fits"] if fit not in rows]
    twice = [key for key in jobs if len(set(found[key]["fits"])) != len(found[key]["fits"])]
    short = [key for key in jobs if found[key]["state"] == "done" and len(found[key]["fits"]) != 6]
    failed = [found[key]["error"] for key in (*jobs, made["job"]) if found[key]["state"] == "failed"]
    study.add("kills of workers", sum(done.values()), "", at_least=kills)
    study.add("kills: jobs that were lost", len(lost), "", at_most=0)
    study.add("kills: jobs that failed without a reason", len(mute), "", at_most=0)
    study.add("kills: jobs that were given up, with a reason", len(failed), "")
    study.add(
        "kills: fits that are gone, made twice or left out",
        len(gone) + len(twice) + len(short),
        "",
        at_most=0,
    )
    finished = server.json(f"api/maps/{made['map']}")
    complete = finished["state"] == "failed" or finished["done"] == finished["total"]
    study.add("kills: the map is whole, or says why it is not", float(complete), "", at_least=1)
    for text in failed[:3]:
        study.note(text)
    return dict(done)


@contextlib.contextmanager
def session() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hybridfit-server-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study."""
    parser = new_parser(__doc__)
    parser.add_argument("--uploads", type=int, default=0, help="at the same time; 200, or 40 if quick")
    parser.add_argument("--kills", type=int, default=0, help="of workers; 20, or 4 if quick")
    options = parser.parse_args(arguments)
    count = options.uploads or (40 if options.quick else 200)
    kills = options.kills or (4 if options.quick else 20)
    study = Study("server", quick=options.quick)
    Library.open(NAME)
    scan = scan_file(MAP_SHAPE, frame_shape=(MAP_SIDE, MAP_SIDE))
    with session() as folder:
        scans = folder / "scans"
        scans.mkdir()
        shutil.copy(scan, scans)
        with Server(folder / "session", scans) as server:
            study_warm(server, study, 3 if options.quick else 7)
            waits = study_uploads(server, study, count)
            done = study_kills(server, study, scans / scan.name, kills)
            pages = [server.seconds["page"]]
            rows = len(server.json("api/fits"))
        with Server(folder / "session", scans) as again:
            pages.append(again.seconds["page"])
            study.add("fits that a restart has lost", rows - len(again.json("api/fits")), "", at_most=0)
        study.add("start: from the command to the page, slowest of two", max(pages), "s", at_most=3)
        study.add("start: until the worker is warm", again.seconds["warm"], "s")
        study.add("end: from Ctrl-C until the command has ended", again.seconds["end"], "s", at_most=5)
    with study.figure() as (_, axes):
        axes[0].plot(waits["waits"], np.linspace(0, 1, len(waits["waits"])))
        axes[0].set(xlabel="s until an upload is accepted or refused", ylabel="share of uploads")
    return 0 if study.finish(**waits, kills=done) else 1


if __name__ == "__main__":
    sys.exit(main())
