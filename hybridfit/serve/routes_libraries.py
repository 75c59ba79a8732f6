"""Libraries: which there are, building one, and making one from a CIF."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from hybridfit.errors import InputError
from hybridfit.serve.common import ERRORS, state_of
from hybridfit.serve.models import Accepted, LibraryIn, LibraryOut, NewIn, parsed
from hybridfit.serve.queue import LONG, Job, new_id
from hybridfit.serve.state import State
from hybridfit.serve.uploads import Upload, take

router = APIRouter(prefix="/api/libraries", tags=["libraries"], responses=ERRORS)
FIELDS = ("energy_kv", "semi_angle", "tilt")


@router.get("", response_model=list[LibraryOut])
async def libraries(request: Request) -> Any:
    """All libraries: shipped ones, and those that were made here."""
    state, out = state_of(request), []
    for name, known in (await state.known_libraries()).items():
        building = state.building(name)
        shown = {key: value for key, value in known.items() if key not in ("path", "file")}
        shown |= {"built": Path(known["file"]).is_file(), "job": building and building.id}
        out.append(shown)
    return JSONResponse(out)


def _new_form() -> dict[str, Any]:
    schema = NewIn.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary", "description": "The crystal structure."}
    properties: dict[str, Any] = {"cif": file}
    properties |= {name: {**about, "type": "string"} for name, about in schema.items()}
    needed = ["cif", "zone", "energy_kv", "semi_angle"]
    form = {"schema": {"type": "object", "required": needed, "properties": properties}}
    plain = {"schema": LibraryIn.model_json_schema()}
    content = {"application/json": plain, "multipart/form-data": form}
    return {"requestBody": {"required": True, "content": content}}


@router.post("", response_model=Accepted, status_code=202, openapi_extra=_new_form())
async def make(request: Request) -> Any:
    """Build a library by its name, or make a new one from a CIF, a zone axis and an energy."""
    state = state_of(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() == "multipart/form-data":
        return await _new(request, state)
    asked = parsed(LibraryIn, await request.body())
    known = await state.library(asked.name, built=False)
    if Path(known["file"]).is_file():
        raise InputError(f"the library {asked.name} is built already; fit with it")
    job = state.building(asked.name)
    if job is None:
        payload = {"name": asked.name, "path": known["path"]}
        job = state.queue.add(Job(new_id(), "library", asked.name, payload, LONG))
    return JSONResponse({"job": job.id, "frames": None, "map": None}, status_code=202)


async def _new(request: Request, state: State) -> JSONResponse:
    key = new_id()
    folder = state.settings.uploads / key
    upload = await take(request, folder, state.settings.limits, {"cif": True})
    try:
        cif, _ = upload.files["cif"]
        if cif.stat().st_size > state.settings.limits.cif_bytes:
            raise InputError(
                f"a CIF of {cif.stat().st_size / 1e6:.3g} MB is too large; give one of "
                f"{state.settings.limits.cif_bytes / 1e6:g} MB at most"
            )
        cif = cif.rename(cif.with_suffix(".cif"))
        asked = _asked(upload)
        zone = "".join(map(str, asked.zone))
        name = asked.name or f"{cif.stem[:40].lstrip('_-') or 'crystal'}_{zone}_{asked.energy_kv:g}kV"
        if name in await state.known_libraries() or state.building(name):
            raise InputError(f"there is a library {name} already; give another name")
        payload = {"name": name, "cif": str(cif), **asked.model_dump(exclude={"name"})}
        state.queue.add(Job(key, "library", name, payload, LONG))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return JSONResponse({"job": key, "frames": None, "map": None}, status_code=202)


def _asked(upload: Upload) -> NewIn:
    """The fields of the form."""
    import json

    given: dict[str, Any] = {}
    for name, text in upload.fields.items():
        if name == "zone":
            parts = re.findall(r"[^\s,\[\]()]+", text)
            given[name] = [int(part) if re.fullmatch(r"-?\d{1,3}", part) else part for part in parts]
        elif name == "thickness":
            given[name] = [_number(part) for part in text.split(",")]
        elif name in FIELDS:
            given[name] = _number(text)
        elif text:
            given[name] = text
    return parsed(NewIn, json.dumps(given))


def _number(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if abs(value) < 1e300 else text  # neither NaN nor infinite
