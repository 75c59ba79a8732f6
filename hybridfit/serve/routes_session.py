"""The session table: rows, notes, images and pictures of fits, and tables of them."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hybridfit.errors import InputError
from hybridfit.rings import ring_means
from hybridfit.serve.common import ERRORS, described, download, state_of
from hybridfit.serve.models import FitOut, FitRow, ImagesOut, NoteIn
from hybridfit.session import Kept, to_csv

router = APIRouter(prefix="/api", tags=["session"], responses=ERRORS)


@router.get("/fits", response_model=list[FitRow])
def fits(request: Request) -> Any:
    """The session table, newest first."""
    return JSONResponse(state_of(request).session.rows())


@router.get("/fits.csv", response_class=Response, responses=described("text/csv"))
def table(request: Request) -> Response:
    """The whole table, for a spreadsheet."""
    return download(to_csv(state_of(request).session.fits()), ".csv", "session")


@router.get("/fits/{key}", response_model=FitOut)
def fit(request: Request, key: str) -> Any:
    """A fit with all its numbers."""
    return JSONResponse(state_of(request).session.fit(key))


@router.patch("/fits/{key}", response_model=FitOut)
def note(request: Request, key: str, body: NoteIn) -> Any:
    """Write the note of a fit."""
    session = state_of(request).session
    session.set_note(key, body.note)
    return JSONResponse(session.fit(key))


@router.delete("/fits/{key}", status_code=204)
def remove(request: Request, key: str) -> Response:
    """Remove a fit from the session."""
    state_of(request).session.remove(key)
    return Response(status_code=204)


@router.get("/fits/{key}/result.json", response_class=Response, responses=described("application/json"))
def result(request: Request, key: str) -> Response:
    """The object of `hybridfit fit --json`."""
    found = state_of(request).session.fit(key)
    return download(json.dumps(found["result"], indent=2, ensure_ascii=False), ".json", found["file"])


@router.get("/fits/{key}/row.csv", response_class=Response, responses=described("text/csv"))
def row(request: Request, key: str) -> Response:
    """The fit as a table of one line."""
    found = state_of(request).session.fit(key)
    return download(to_csv([found]), ".csv", found["file"])


@router.get("/fits/{key}/images", response_model=ImagesOut)
def images(request: Request, key: str) -> Any:
    """Images, profiles and the χ² curve, as numbers.

    The curve is null for about a second after a fit, and where there is none.
    """
    session = state_of(request).session
    found, data = session.fit(key), session.images(key)
    if data is None:
        raise InputError("this fit has no images: its frame has no answer, or they were dropped")
    return JSONResponse(images_of(found["result"], Kept.unpacked(data)))


@router.get(
    "/fits/{key}/picture.{kind}",
    response_class=Response,
    responses=described("image/png", "image/svg+xml", "application/pdf"),
)
async def picture(request: Request, key: str, kind: str) -> Response:
    """The picture of the command line: .png, .svg or .pdf."""
    if kind not in ("png", "svg", "pdf"):
        raise InputError(f"pictures are png, svg or pdf, not {kind[:20]!r}")
    return await _drawn(request, key, f".{kind}")


@router.get("/fits/{key}/report.html", response_class=Response, responses=described("text/html"))
async def report(request: Request, key: str) -> Response:
    """A report of the fit in one file."""
    return await _drawn(request, key, ".html")


async def _drawn(request: Request, key: str, suffix: str) -> Response:
    state = state_of(request)
    found = await asyncio.to_thread(state.session.fit, key)
    with tempfile.TemporaryDirectory(dir=state.settings.session) as folder:
        path = Path(folder) / f"fit{suffix}"
        known = state.libraries.get(found["library"], {})
        await state.ask("picture", {"fit": key, "path": str(path), "library": known.get("path")})
        content = await asyncio.to_thread(path.read_bytes)
    return download(content, suffix, Path(found["file"]).stem, shown=suffix != ".html")


def images_of(answer: dict[str, Any], kept: Kept) -> dict[str, Any]:
    """What the page draws: base64 of little-endian numbers, profiles, curve and disc."""
    residual = kept.experiment - kept.fit
    none = ~np.isfinite(residual)
    in_order = (np.asarray(image, float) for image in (kept.radius_mrad, kept.experiment, kept.fit))
    radius, experiment, fit, _ = ring_means(next(in_order), next(in_order), next(in_order))
    curve = None
    if kept.curve is not None:
        finite = [[float(v) if np.isfinite(v) else None for v in row] for row in kept.curve]
        curve = {"thickness_nm": finite[0], "chi2": finite[1]}
    disc = None
    values = [v for name in DISC if isinstance(v := (answer.get(name) or {}).get("value"), int | float)]
    if len(values) == len(DISC):
        x, y, scale, semi_angle = values
        disc = {"centre": [x, y], "radius_px": scale * semi_angle}
    return {
        "shape": list(residual.shape),
        "extent": list(kept.extent),
        "mask": base64.b64encode(none.astype("u1").tobytes()).decode(),
        **{
            name: encoded(image)
            for name, image in (("experiment", kept.experiment), ("fit", kept.fit), ("residual", residual))
        },
        "profiles": {"angle_mrad": radius.tolist(), "experiment": experiment.tolist(), "fit": fit.tolist()},
        "chi2_curve": curve,
        "disc": disc,
    }


DISC = ("centre_x_px", "centre_y_px", "scale_px_per_mrad", "semi_angle_mrad")


def encoded(image: np.ndarray) -> str:
    """An image as base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(image, "<f4").tobytes()).decode()
