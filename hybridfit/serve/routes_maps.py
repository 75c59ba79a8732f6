"""Maps: made of scans below the given folders, followed while they are made, and read."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from hybridfit.errors import InputError
from hybridfit.quantities import QUANTITIES, quantity
from hybridfit.serve.common import ERRORS, TYPES, described, download, state_of
from hybridfit.serve.models import Accepted, MapIn, MapOut, PositionIn, ValuesOut
from hybridfit.serve.names import below
from hybridfit.serve.queue import FITS, LONG, Job, new_id
from hybridfit.serve.routes_files import folder_of
from hybridfit.serve.routes_jobs import EVENTS, HEARTBEAT
from hybridfit.serve.routes_session import encoded
from hybridfit.serve.state import State

router = APIRouter(prefix="/api/maps", tags=["maps"], responses=ERRORS)
VALUES = "map.nc.values.npz"  # of `hybridfit.scan.live`


@router.post("", response_model=Accepted, status_code=202)
async def make(request: Request, body: MapIn) -> Any:
    """Make a map of a scan. It goes on where it was after a stop, a crash or a restart."""
    state, key = state_of(request), new_id()
    scan = await asyncio.to_thread(below, folder_of(state, body.folder), body.path)
    library = await state.library(body.library)
    options = body.model_dump(exclude={"folder", "path"})
    payload = {
        "scan": str(scan),
        "shown": scan.name,
        "map": str(state.settings.maps / key / "map.nc"),
        "library": library["path"],
        "options": options,
    }
    job = Job(new_id(), "map", scan.name, payload, LONG, map=key)
    content = {"name": scan.name, "library": body.library, "created": time.time(), "job": job.id, **payload}
    state.queue.put_map(key, content)
    state.queue.add(job)
    return JSONResponse({"job": job.id, "frames": None, "map": key}, status_code=202)


@router.get("", response_model=list[MapOut])
def maps(request: Request) -> Any:
    """All maps, newest first."""
    state = state_of(request)
    return JSONResponse([_public(state, key) for key in reversed(state.queue.maps)])


@router.get("/{key}", response_model=MapOut)
def one(request: Request, key: str) -> Any:
    """A map, and how far it is."""
    state = state_of(request)
    state.map(key)
    return JSONResponse(_public(state, key))


@router.get("/{key}/values", response_model=ValuesOut)
def values(request: Request, key: str, name: str = Query("thickness", max_length=80)) -> Any:
    """The values of a quantity, NaN where there is none yet; status is a number of status_meanings."""
    state = state_of(request)
    state.map(key)
    about, arrays = _values(state, key, name)
    if not about:
        raise InputError("this map has no values yet; its scan is being opened")
    if name not in arrays:
        raise InputError(f"this map has no {name[:40]!r}; it has {', '.join(about['names'])}")
    label, unit = _words(name, about)
    return JSONResponse(
        {"name": name, "label": label, "unit": unit, "shape": about["shape"], "values": encoded(arrays[name])}
    )


@router.get("/{key}/events", response_class=StreamingResponse, responses=EVENTS)
async def events(request: Request, key: str) -> StreamingResponse:
    """Server-sent events "rows" whenever blocks are finished, until the job has ended."""
    state = state_of(request)
    state.map(key)
    return StreamingResponse(_events(state, key), media_type="text/event-stream")


@router.post("/{key}/fit", response_model=Accepted, status_code=202)
async def fit(request: Request, key: str, body: PositionIn) -> Any:
    """Fit a position again, for its picture and numbers; the answer comes into the session."""
    state = state_of(request)
    found, job_id = state.map(key), new_id()
    library = await state.library(found["options"]["library"])
    payload = {
        "key": job_id,
        "map": found["map"],
        "map_id": key,
        "scan": found["scan"],
        "shown": found["name"],
        "library": library["path"],
        "options": found["options"],
        "origin": "map",
        **body.model_dump(),
    }
    name = f"{found['name']}, position {body.y}, {body.x}"
    state.queue.add(Job(job_id, "fit", name, payload, FITS), first=True)
    return JSONResponse({"job": job_id, "frames": 1, "map": None}, status_code=202)


@router.get("/{key}/map.nc", response_class=FileResponse, responses=described(TYPES[".nc"]))
def netcdf(request: Request, key: str) -> Response:
    """The finished map."""
    found = _finished(state_of(request), key)
    return FileResponse(found["map"], media_type=TYPES[".nc"], filename=f"{_stem(found)}-map.nc")


@router.get(
    "/{key}/map.{kind}",
    response_class=Response,
    responses=described(*(TYPES[kind] for kind in (".png", ".svg", ".pdf", ".csv"))),
)
async def drawn(request: Request, key: str, kind: str) -> Response:
    """The finished map as a picture (.png, .svg, .pdf) or a table (.csv)."""
    if kind not in ("png", "svg", "pdf", "csv"):
        raise InputError(f"maps are nc, png, svg, pdf or csv, not {kind[:20]!r}")
    return await _made(state_of(request), key, kind)


@router.get("/{key}/report.html", response_class=Response, responses=described(TYPES[".html"]))
async def report(request: Request, key: str) -> Response:
    """A report of the finished map in one file."""
    return await _made(state_of(request), key, "html")


async def _made(state: State, key: str, kind: str) -> Response:
    found = _finished(state, key)
    with tempfile.TemporaryDirectory(dir=state.settings.session) as folder:
        path = Path(folder) / f"map.{kind}"
        await state.ask("map picture", {"map": found["map"], "path": str(path)})
        content = await asyncio.to_thread(path.read_bytes)
    return download(content, f".{kind}", f"{_stem(found)}-map", shown=kind not in ("csv", "html"))


def _stem(found: dict[str, Any]) -> str:
    return Path(found["name"]).stem


def _finished(state: State, key: str) -> dict[str, Any]:
    found = state.map(key)
    if not Path(found["map"]).is_file():
        raise InputError("this map is not finished; wait for its job, or go on with it")
    return found


def _values(state: State, key: str, *names: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is known of the values of a map, and those that are asked for; nothing before there are any."""
    path = state.settings.maps / key / VALUES
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            about["names"] = [name for name in stored.files if name != "about"]
            return about, {name: stored[name] for name in names if name in stored.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}, {}


def _words(name: str, about: dict[str, Any]) -> tuple[str, str]:
    """Label and unit of a quantity, or of its standard error."""
    plain = name.removesuffix("_stderr")
    known = quantity(plain, about["units"].get(plain)) if plain not in QUANTITIES else quantity(plain)
    label = known.label if plain == name else f"{known.label}, standard error"
    return label, known.unit


def _public(state: State, key: str) -> dict[str, Any]:
    found = state.map(key)
    job = state.queue.jobs.get(found["job"])
    about, _ = _values(state, key)
    shape = about.get("shape")
    variables = []
    for name in about.get("names", ()):
        label, unit = _words(name, about)
        variables.append({"name": name, "label": label, "unit": unit})
    return {
        "id": key,
        **{name: found[name] for name in ("name", "library", "created", "job")},
        "semi_angle": found["options"]["semi_angle"],
        "state": "done" if job is None else job.state,
        "error": None if job is None else job.error,
        "shape": shape,
        "done": about.get("done", 0),
        "total": None if shape is None else shape[0] * shape[1],
        "variables": variables,
        "status_meanings": about.get("statuses", []),
    }


async def _events(state: State, key: str) -> AsyncIterator[str]:
    silent, last = 0.0, ""
    job = state.queue.jobs.get(state.map(key)["job"])
    while True:
        public = await asyncio.to_thread(_public, state, key)
        data = json.dumps({name: public[name] for name in ("id", "done", "total", "shape", "state")})
        if data != last:
            last, silent = data, 0.0
            yield f"event: rows\ndata: {data}\n\n"
        if job is None or job.ended:
            return
        if not await state.change(key, 1.0):
            silent += 1.0
            if silent >= HEARTBEAT:
                silent = 0.0
                yield ": still there\n\n"
