"""A small server with the interface of `hybridfit serve` and recorded answers, to test the page alone.

Answers of real fits are in recorded/: `good` (SrTiO3, converged), `other` (Si fitted with SrTiO3: a poor
match) and `few` (2500 electrons).  The name of a dropped file chooses one.
`python -m tests.serve.page.fake_server PORT SECONDS` starts it by hand.
"""

from __future__ import annotations

import base64
import email.message
import email.parser
import email.policy
import io
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

PAGE = Path(__file__).parents[3] / "hybridfit" / "serve" / "page"
RECORDED = Path(__file__).parent / "recorded"
CSP = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
LIBRARIES: list[dict[str, Any]] = [
    {"name": "SrTiO3_001_200kV", "title": "SrTiO3 [001] 200 kV", "built": True, "has_network": True},
    {"name": "Si_110_200kV", "title": "Si [110] 200 kV", "built": True, "has_network": False},
    {"name": "GaAs_110_200kV", "title": "GaAs [110] 200 kV", "built": False, "has_network": False},
]
NUMBERS = ("tilt_x_mrad", "tilt_y_mrad", "rotation_deg", "scale_px_per_mrad", "residual_fraction")
MEANINGS = "converged at_bound ambiguous poor_match failed unusable unreadable not_done".split()
NAMES = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation", "semi_angle", "blur")
UNITS = ("nm", "mrad", "mrad", "px", "px", "px/mrad", "°", "mrad", "mrad")
VARIABLES = [("thickness", "nm"), ("tilt_x", "mrad"), ("tilt_magnitude", "mrad"), ("tilt_azimuth", "°")]


class Refusal(Exception):
    """An answer that is an error: status and words."""


def b64(values: Any, kind: str = "<f4") -> str:
    """Numbers as the interface sends them."""
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


class Fake:
    """The state of the server; `pace` is the time (s) that a fit takes, and a row of a map."""

    def __init__(self, pace: float = 0.2, rows: int = 0) -> None:
        self.pace = pace
        self.lock = threading.RLock()
        self.recorded = {p.stem: json.loads(p.read_text()) for p in sorted(RECORDED.glob("*.json"))}
        self.fits: dict[str, dict[str, Any]] = {}
        self.deleted: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.maps: dict[str, dict[str, Any]] = {}
        self.received: list[dict[str, Any]] = []
        self.libraries = [
            {**one, "semi_angles": [1, 20], "thickness_nm": [1, 125], "structure": [], "job": None}
            for one in LIBRARIES
        ]
        self.server: ThreadingHTTPServer | None = None
        self.port = 0
        random = np.random.default_rng(1)
        for i in range(rows):
            kind = random.choice(["good", "good", "good", "other", "few"])
            fit = self.new_fit(f"2026-11-30/frame_{i:03d}.tif", str(kind), time.time() - 90 * (rows - i))
            drift = 0.8 * np.sin(i / 5) + 0.1 * random.standard_normal()
            for key, slope in (("thickness_nm", 1.0), ("tilt_x_mrad", 0.4), ("tilt_y_mrad", -0.3)):
                fit["result"][key]["value"] += slope * drift

    # -- running
    def start(self, port: int = 0) -> str:
        fake = self

        class Handler(_Handler):
            state = fake

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                """A browser that went away is no error."""

        self.server = Server(("127.0.0.1", port or self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            server.shutdown()
            server.server_close()

    # -- fits
    def new_fit(self, file: str, kind: str, when: float | None = None, **more: Any) -> dict[str, Any]:
        with self.lock:
            number = f"f{len(self.fits) + len(self.deleted) + 1}"
            result = json.loads(json.dumps(self.recorded[kind]["result"]))
            result["file"] = file
            self.fits[number] = {
                "id": number, "time": when or time.time(), "kind": kind, "note": "", "origin": "page",
                "result": result, **more,
            }  # fmt: skip
            return self.fits[number]

    def row(self, fit: dict[str, Any]) -> dict[str, Any]:
        result = fit["result"]
        out = {k: fit.get(k) for k in ("id", "time", "note", "origin", "map", "y", "x")}
        out |= {k: result[k] for k in ("file", "library", "status", "message", "residual_fraction")}
        out |= {key: result[key]["value"] for key in ("thickness_nm", "tilt_x_mrad", "tilt_y_mrad")}
        out |= {f"{key}_stderr": result[f"{key}_{unit}"]["stderr"]
                for key, unit in (("thickness", "nm"), ("tilt_x", "mrad"), ("tilt_y", "mrad"))}  # fmt: skip
        return {**out, "semi_angle": result["semi_angle_mrad"]["value"]}

    def images(self, fit: dict[str, Any]) -> dict[str, Any]:
        known = self.recorded[fit["kind"]]
        with np.load(RECORDED / f"{fit['kind']}.npz") as arrays:
            experiment, model = arrays["experiment"], arrays["fit"]
        value = {k: known["result"][k]["value"] for k in ("centre_x_px", "centre_y_px", "scale_px_per_mrad")}
        return {
            "shape": experiment.shape, "extent": known["extent"], "mask": None, "experiment": b64(experiment),
            "fit": b64(model), "residual": b64(experiment - model), "profiles": known["profiles"],
            "chi2_curve": known["chi2_curve"],
            "disc": {"centre": [value["centre_x_px"], value["centre_y_px"]],
                     "radius_px": 13.6 * value["scale_px_per_mrad"]},
        }  # fmt: skip

    # -- jobs
    def new_job(self, kind: str, name: str, **more: Any) -> dict[str, Any]:
        with self.lock:
            number = f"j{len(self.jobs) + 1}"
            now = time.time()
            self.jobs[number] = {
                "id": number, "kind": kind, "name": name, "state": "running", "fits": [], "map": None,
                "progress": {"fraction": 0.0, "words": "reading"}, "error": None, "created": now,
                "started": now, "finished": None, **more,
            }  # fmt: skip
            return self.jobs[number]

    def run_fit(self, job: dict[str, Any], file: str, **more: Any) -> None:
        words = ["finding the disc", "searching the library", "refining the best matches"]
        for i, each in enumerate(words):
            job["progress"] = {"fraction": (i + 0.5) / 3, "words": each}
            time.sleep(self.pace / 3)
            if job["state"] == "stopped":
                return
        kind = next((k for k in ("other", "few") if k in Path(file).name), "good")
        job["fits"] = [self.new_fit(file, kind, **more)["id"]]
        job |= {"state": "done", "finished": time.time(), "progress": {"fraction": 1.0, "words": ""}}

    def run_identify(self, job: dict[str, Any], file: str) -> None:
        for i, each in enumerate(("templates", "match", "refine")):
            job["progress"] = {"fraction": (i + 0.5) / 3, "words": each}
            time.sleep(self.pace / 3)
            if job["state"] == "stopped":
                return
        none = 0.97 if "other" in Path(file).name else 0.004
        shares = [(1 - none) * share for share in (0.9, 0.1)]
        found = [
            {"library": one["name"], "title": one["title"], "probability": share, "thickness_nm": 42.3,
             **dict.fromkeys(NUMBERS, 0.1), "structure_left": 0.02, "mirrored": mirrored, "structure": {}}
            for one, share, mirrored in zip(LIBRARIES[1::-1], shares, (0.93, None), strict=True)
        ]  # fmt: skip
        first = found[0]["title"]
        said = (
            f"The frame shows {first} (89.6 %). The camera mirrors its frames (93 %): fit them with --flip."
        )
        words = (
            said
            if none < 0.5
            else "The frame shows none of the 2 libraries that it was compared with (97 %)."
        )
        job["results"] = [{
            "file": file, "semi_angle_mrad": 13.6, "answer": found[0]["library"] if none < 0.5 else None,
            "probability": max(none, shares[0]), "message": words, "none": none, "matches": found,
            "not_compared": [{"library": "GaAs_110_200kV", "why": "it reaches 10 mrad"}], "seconds": {},
        }]  # fmt: skip
        job |= {"state": "done", "finished": time.time(), "progress": {"fraction": 1.0, "words": ""}}

    def new_map(self, body: dict[str, Any], shape: tuple[int, int] = (24, 32)) -> dict[str, Any]:
        number = f"m{len(self.maps) + 1}"
        job = self.new_job("map", body["path"], map=number)
        y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        random = np.random.default_rng(0)
        tilt = 4 * x, 4 * y
        hole, few = np.hypot(x - 0.5, y + 0.4) < 0.25, random.choice([0] * 30 + [2, 3], shape)
        self.maps[number] = {
            "id": number, "name": Path(body["path"]).name, "shape": shape, "done": 0,
            "total": shape[0] * shape[1], "job": job["id"], "library": "SrTiO3 [0 0 1] 200 kV",
            "semi_angle": body["semi_angle"], "created": time.time(), "status_meanings": MEANINGS,
            "values": {
                "thickness": 23 + 1.3 * (x + y) + 0.03 * random.standard_normal(shape),
                "tilt_x": tilt[0], "tilt_magnitude": np.hypot(*tilt),
                "tilt_azimuth": np.rad2deg(np.arctan2(tilt[1], tilt[0])),
                "status": np.where(hole, 5, few),
            },
        }  # fmt: skip
        threading.Thread(target=self.run_map, args=(self.maps[number], job), daemon=True).start()
        return self.maps[number]

    def run_map(self, found: dict[str, Any], job: dict[str, Any]) -> None:
        job["state"] = "running"
        while found["done"] < found["total"] and job["state"] == "running":
            time.sleep(self.pace / 2)
            found["done"] = min(found["total"], found["done"] + found["shape"][1])
            share = found["done"] / found["total"]
            job["progress"] = {"fraction": share, "words": f"{found['done']} of {found['total']} positions"}
        if found["done"] == found["total"]:
            job |= {"state": "done", "finished": time.time()}

    def map_values(self, found: dict[str, Any], name: str) -> dict[str, Any]:
        values = found["values"][name].astype(float)
        if name != "status":
            values = np.where(found["values"]["status"] == 5, np.nan, values)
        values.ravel()[found["done"] :] = np.nan
        unit = dict(VARIABLES).get(name, "")
        return {"name": name, "shape": found["shape"], "values": b64(values), "unit": unit,
                "label": name.replace("_", " ")}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Fake

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _answer(self, content: Any, status: int = 200, kind: str = "application/json") -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", CSP)
        self.end_headers()
        self.wfile.write(data)

    def _any(self) -> None:
        try:
            if self.state.server is None:
                self.close_connection = True
                return
            if self.command != "GET" and self.headers.get("X-Hybridfit") != "1":
                raise Refusal(403, "the header X-Hybridfit is missing")
            self._route()
        except Refusal as refusal:
            self._answer({"error": refusal.args[1]}, refusal.args[0])
        except KeyError as error:
            self._answer({"error": f"there is no {error}"}, 404)

    do_GET = do_POST = do_PATCH = do_DELETE = _any

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _form(self) -> dict[str, email.message.EmailMessage]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parser = email.parser.BytesParser(policy=email.policy.default)
        message = parser.parsebytes(head + self._body())
        return {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}

    def _file(self, form: dict[str, Any]) -> tuple[str, np.ndarray]:
        name = form["file"].get_filename()
        content = form["file"].get_payload(decode=True)
        if name.endswith(".npy"):
            try:
                return name, np.load(io.BytesIO(content))
            except ValueError:
                raise Refusal(400, f"{name}: no NPY file; save it again with numpy.save") from None
        return name, np.fromfile(RECORDED / "good.npz", "u1", 128 * 128).reshape(128, 128)

    def _events(self, path: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        before = None
        _, _, kind, number, _ = path.split("/")
        while self.state.server is not None:
            if kind == "jobs":
                job = self.state.jobs[number]
                now = json.dumps(job)
                over = job["state"] in ("done", "failed", "stopped")
                name = "job"
            else:
                now, over, name = json.dumps({"done": self.state.maps[number]["done"]}), False, "rows"
            if now != before:
                self.wfile.write(f"event: {name}\ndata: {now}\n\n".encode())
                self.wfile.flush()
                before = now
            if over:
                return
            time.sleep(0.05)

    def _route(self) -> None:
        state = self.state
        address = urlsplit(self.path)
        path = unquote(address.path)
        query = {k: v[0] for k, v in parse_qs(address.query).items()}
        parts = path.strip("/").split("/")
        if path == "/" or parts[0] == "page":
            file = PAGE / ("index.html" if path == "/" else parts[1])
            if not file.is_file():
                raise Refusal(404, "no such file")
            return self._answer(file.read_bytes(), kind=TYPES[file.suffix])
        if parts[-1] == "events":
            return self._events(path)
        match (self.command, *parts[1:]):
            case "GET", "about":
                self._answer({
                    "version": "0.1.0", "engine": {"numba": True}, "default_library": "SrTiO3_001_200kV",
                    "methods": ["cnn", "lsf", "hybrid"],
                    "backgrounds": ["none", "uniform", "uniform-per-nm", "radial"],
                    "parameters": [{"name": n, "label": n.replace("_", " "), "unit": u, "held": n == NAMES[7]}
                                   for n, u in zip(NAMES, UNITS, strict=True)],
                    "limits": {}, "folders": ["scans"],
                })  # fmt: skip
            case "GET", "libraries":
                self._answer(state.libraries)
            case "POST", "libraries":
                self._body()
                self._answer({"job": self._build()["id"]}, 202)
            case "POST", "preview":
                self._preview()
            case "POST", "fit" | "identify" as what:
                form = self._form()
                name, _ = self._file(form)
                options = json.loads(form["options"].get_content())
                mask = form["mask"].get_payload(decode=True) if "mask" in form else None
                state.received.append({"name": name, "options": options, "mask": mask})
                job = state.new_job(what, name)
                run = state.run_fit if what == "fit" else state.run_identify
                threading.Thread(target=run, args=(job, name), daemon=True).start()
                self._answer({"job": job["id"], "frames": None}, 202)
            case "GET", "jobs", number:
                self._answer(state.jobs[number])
            case "POST", "jobs", number, what:
                job = state.jobs[number]
                if what == "stop":
                    job["state"] = "stopped"
                elif job["map"]:
                    found = state.maps[job["map"]]
                    job["state"] = "running"
                    threading.Thread(target=state.run_map, args=(found, job), daemon=True).start()
                self._answer({"job": number})
            case "GET", "fits":
                rows = [state.row(fit) for fit in list(state.fits.values())]
                self._answer(sorted(rows, key=lambda row: -row["time"]))
            case "GET", "fits", number:
                self._answer(state.fits[number])
            case "GET", "fits", number, "images":
                self._answer(state.images(state.fits[number]))
            case "PATCH", "fits", number:
                state.fits[number]["note"] = json.loads(self._body())["note"]
                self._answer({"id": number})
            case "DELETE", "fits", number:
                state.deleted[number] = state.fits.pop(number)
                self._answer({"id": number})
            case "POST", "fits", number, "restore":
                state.fits[number] = state.deleted.pop(number)
                self._answer({"id": number})
            case "GET", "files":
                top = not query.get("path")
                scans = [
                    {"name": f"scan_{i}.nc", "bytes": 3 * 10**i, "time": 0, "readable": i < 10}
                    for i in (8, 9, 10)
                ]
                self._answer({"folders": ["monday"] if top else [], "files": scans})
            case "GET", "maps":
                self._answer([self._map(found) for found in state.maps.values()][::-1])
            case "POST", "maps":
                found = state.new_map(json.loads(self._body()))
                self._answer({"job": found["job"], "map": found["id"]}, 202)
            case "GET", "maps", number:
                self._answer(self._map(state.maps[number]))
            case "GET", "maps", number, "values":
                self._answer(state.map_values(state.maps[number], query["name"]))
            case "POST", "maps", number, "fit":
                at = json.loads(self._body())
                job = state.new_job("fit", state.maps[number]["name"])
                more = {"origin": "map", "map": number, **at}
                threading.Thread(
                    target=state.run_fit, args=(job, state.maps[number]["name"]), kwargs=more, daemon=True
                ).start()
                self._answer({"job": job["id"]}, 202)
            case _:
                raise Refusal(404, f"there is no {path}")

    def _map(self, found: dict[str, Any]) -> dict[str, Any]:
        variables = [{"name": n, "label": n.replace("_", " "), "unit": u} for n, u in VARIABLES]
        out = {k: v for k, v in found.items() if k != "values"}
        return {**out, "variables": variables, "state": self.state.jobs[found["job"]]["state"]}

    def _preview(self) -> None:
        import matplotlib.image

        _, image = self._file(self._form())
        picture = io.BytesIO()
        matplotlib.image.imsave(picture, image, cmap="magma", format="png")
        url = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
        self._answer({"shape": image.shape, "frames": 1, "calibration": {}, "png": url, "note": ""})

    def _build(self) -> dict[str, Any]:
        job = self.state.new_job("library", "GaAs_110_200kV")
        one = self.state.libraries[2]
        one["job"] = job["id"]

        def build() -> None:
            for i in range(10):
                job["progress"] = {"fraction": i / 10, "words": f"Bloch waves, {10 * i} %"}
                time.sleep(self.state.pace)
            one.update(built=True, job=None)
            job["state"] = "done"

        threading.Thread(target=build, daemon=True).start()
        return job


if __name__ == "__main__":
    fake = Fake(pace=float(sys.argv[2]) if len(sys.argv) > 2 else 1.5, rows=40)
    address = fake.start(int(sys.argv[1]) if len(sys.argv) > 1 else 8421)
    print(address)
    threading.Event().wait()
