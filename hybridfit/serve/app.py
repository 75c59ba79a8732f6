"""The FastAPI application: routes, the page, and one line for every error."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

import hybridfit
from hybridfit.errors import InputError
from hybridfit.serve import (
    routes_files,
    routes_fits,
    routes_jobs,
    routes_libraries,
    routes_maps,
    routes_session,
)
from hybridfit.serve.common import code_of
from hybridfit.serve.models import words_of
from hybridfit.serve.names import below
from hybridfit.serve.security import Guard, error
from hybridfit.serve.settings import ServeSettings
from hybridfit.serve.state import State

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
log = logging.getLogger("hybridfit.serve")


def make_app(settings: ServeSettings) -> FastAPI:
    """The application of a server.

    The session is opened now, so that what is wrong with it is an error at once; workers are started when the
    application starts.

    Raises
    ------
    InputError
        The session cannot be used, or another server does so already.
    """
    state = State(settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        state.start()
        try:
            yield
        finally:
            state.close()

    app = FastAPI(
        title="hybridfit",
        version=hybridfit.__version__,
        description="Specimen thickness and tilt from PACBED patterns and 4D-STEM scans. Requests that "
        "change something need the header X-Hybridfit: 1.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # they load scripts from another host
        redoc_url=None,
        lifespan=life,
    )
    app.state.hybridfit = state
    for module in (
        routes_files,
        routes_fits,
        routes_jobs,
        routes_session,
        routes_libraries,
        routes_maps,
    ):
        app.include_router(module.router)
    _add_page(app)
    _add_errors(app)
    app.add_middleware(Guard, settings=settings)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _static("index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return _static("icon.svg") if (PAGE / "icon.svg").is_file() else Response(status_code=204)

    @app.get("/page/{name:path}", include_in_schema=False)
    def part(name: str) -> Response:
        return _static(name)


def _static(name: str) -> Response:
    try:
        path = below(PAGE, name)
    except InputError:
        return error(404, f"there is no {name[:80]!r} in the page")
    if not path.is_file() or path.suffix not in KINDS:
        return error(404, f"there is no {name[:80]!r} in the page")
    return FileResponse(path, media_type=KINDS[path.suffix], headers={"cache-control": "no-cache"})


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    async def told(_: Request, problem: InputError) -> JSONResponse:
        return error(code_of(problem), str(problem))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, problem: RequestValidationError) -> JSONResponse:
        first = problem.errors()[0]
        where = ".".join(str(part)[:40] for part in first["loc"][1:5]) or "the body"
        if first["type"] == "extra_forbidden":
            return error(400, f"unknown option {where!r}; see /api/openapi.json for the options")
        given = (
            ""
            if first["type"] in ("missing", "json_invalid")
            else f" (given {str(first.get('input'))[:60]!r})"
        )
        return error(400, f"{where}: {first['msg']}{given}")

    @app.exception_handler(ValidationError)
    async def unfit(_: Request, problem: ValidationError) -> JSONResponse:
        return error(400, words_of(problem))

    @app.exception_handler(HTTPException)
    async def missing(request: Request, problem: HTTPException) -> JSONResponse:
        words = {
            404: f"there is nothing at {request.url.path[:80]!r}; see /api/openapi.json",
            405: f"{request.method} is not for {request.url.path[:80]!r}; see /api/openapi.json",
        }
        return error(problem.status_code, words.get(problem.status_code, str(problem.detail)))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, problem: Exception) -> JSONResponse:
        log.error("%s %s", request.method, request.url.path, exc_info=problem)
        return error(500, f"an error of hybridfit itself ({type(problem).__name__}); its terminal has more")
