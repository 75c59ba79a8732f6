"""Fits, and which library a frame shows: a frame is uploaded, queued, and answered."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from hybridfit.errors import InputError
from hybridfit.serve.common import ERRORS, state_of
from hybridfit.serve.models import Accepted, FitIn, IdentifyIn, JobOut, PreviewOut, Reading, parsed
from hybridfit.serve.queue import FITS, Job, new_id
from hybridfit.serve.state import State, is_built
from hybridfit.serve.uploads import raw_options, take

router = APIRouter(prefix="/api", tags=["fits"], responses=ERRORS)


def _body(model: type[Any], files: dict[str, str]) -> dict[str, Any]:
    """The OpenAPI description of a form with files and options, or a bare array."""
    properties: dict[str, Any] = {
        name: {"type": "string", "format": "binary", "description": words} for name, words in files.items()
    }
    options = model.model_json_schema(ref_template="#/components/schemas/{model}")
    options.pop("$defs", None)
    properties["options"] = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": options,
        "description": "JSON of the options",
    }
    form = {"schema": {"type": "object", "required": ["file"], "properties": properties}}
    bare = {"schema": {"type": "string", "format": "binary"}}
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": form, "application/octet-stream": bare},
        }
    }


def bare_array(
    name: str = Query("", max_length=500, description="Bare arrays: name of the file."),
    options: str = Query("", max_length=50_000, description="Bare arrays: JSON of the options."),
    shape: str = Query("", max_length=60, description="Bare arrays: ROWS,COLS or N,ROWS,COLS."),
    dtype: str = Query("", max_length=16, description="Bare arrays: number type, such as float32 or <u2."),
    offset: str = Query("", max_length=20, description="Bare arrays: bytes before the data."),
) -> None:
    """What the query says of a bare array: checked and described here, read from the request (MARKS)."""


MARKS = tuple(inspect.signature(bare_array).parameters)
BARE = [Depends(bare_array)]
Wait = Annotated[float, Query(ge=0, description="Answer when the job has ended, or after so many seconds.")]


@router.post(
    "/fit",
    dependencies=BARE,
    response_model=Accepted,
    status_code=202,
    responses={200: {"model": JobOut, "description": "The job has ended (wait)."}},
    openapi_extra=_body(
        FitIn, {"file": "A frame, or a stack of frames.", "mask": "White: left out of the fit."}
    ),
)
async def fit(request: Request, wait: Wait = 0.0) -> Any:
    """Fit the frames of a file. Their answers come into the session, and the job has their ids."""

    async def payload(asked: FitIn, state: State) -> dict[str, Any]:
        library = await state.library(asked.library)
        options = {**asked.model_dump(exclude={"origin"}), "path": library["path"]}
        return {"options": options, "origin": asked.origin}

    return await _queued(request, "fit", FitIn, payload, wait)


@router.post(
    "/identify",
    dependencies=BARE,
    response_model=Accepted,
    status_code=202,
    responses={200: {"model": JobOut, "description": "The job has ended (wait)."}},
    openapi_extra=_body(
        IdentifyIn, {"file": "A frame, or a stack of frames.", "mask": "White: left out of the comparison."}
    ),
)
async def identify(request: Request, wait: Wait = 0.0) -> Any:
    """Say which library the frames of a file show.

    `results` of the job are the objects of `hybridfit identify --json`. Nothing is kept in the session.
    """

    async def payload(asked: IdentifyIn, state: State) -> dict[str, Any]:
        if asked.among is not None:
            known = [await state.library(each) for each in asked.among]
        else:
            known = [each for each in (await state.known_libraries()).values() if is_built(each)]
            if not known:
                raise InputError("no library is built yet; build those that come into question first")
        return {"options": asked.model_dump(), "among": {each["path"]: each["name"] for each in known}}

    return await _queued(request, "identify", IdentifyIn, payload, wait)


async def _queued(
    request: Request,
    kind: str,
    model: type[Any],
    payload: Callable[[Any, State], Awaitable[dict[str, Any]]],
    wait: float,
) -> JSONResponse:
    """Queue what is to be done with an upload; its job once that has ended within `wait` seconds."""
    state, key = state_of(request), new_id()
    folder = state.settings.uploads / key
    upload = await take(request, folder, state.settings.limits, {"file": True, "mask": False})
    try:
        asked = _asked(model, upload.fields.get("options", ""), request)
        file, shown = upload.files["file"]
        about = {
            "key": key,
            "file": str(file),
            "shown": shown,
            "mask": str(upload.files["mask"][0]) if "mask" in upload.files else None,
        }
        job = Job(key, kind, shown, {**about, **await payload(asked, state)}, FITS)
        state.queue.add(job)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if wait > 0:
        await state.ended(job, min(wait, state.settings.limits.wait_seconds))
        if job.ended:
            return JSONResponse(job.public())
    return JSONResponse({"job": key, "frames": None, "map": None}, status_code=202)


@router.post(
    "/preview",
    dependencies=BARE,
    response_model=PreviewOut,
    openapi_extra=_body(Reading, {"file": "A frame, or a stack of frames."}),
)
async def preview(request: Request) -> Any:
    """The first frame of a file as a picture, and what the file says of itself. Nothing is kept."""
    state, key = state_of(request), new_id()
    folder = state.settings.uploads / key
    upload = await take(request, folder, state.settings.limits, {"file": True})
    try:
        asked = _asked(Reading, upload.fields.get("options", ""), request)
        file, shown = upload.files["file"]
        payload = {"file": str(file), "shown": shown, "options": asked.model_dump()}
        return JSONResponse(await state.ask("preview", payload))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _asked(model: type[Any], text: str, request: Request) -> Any:
    """The options of a request; those of a bare array may be in the query."""
    asked = parsed(model, text)
    query = {name: request.query_params[name] for name in MARKS if request.query_params.get(name)}
    if not set(query) & {"shape", "dtype", "offset"}:
        return asked
    try:
        return parsed(model, json.dumps(raw_options(query, asked.model_dump(mode="json"))))
    except RecursionError:
        raise InputError("the options are nested too deeply") from None
