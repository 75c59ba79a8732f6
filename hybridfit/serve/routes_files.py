"""Folders with scans, and what this server is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

import hybridfit
from hybridfit.errors import InputError
from hybridfit.quantities import quantity
from hybridfit.serve.common import ERRORS, state_of
from hybridfit.serve.models import BACKGROUNDS, METHODS, PARAMETERS, About, FilesOut
from hybridfit.serve.names import below
from hybridfit.serve.state import State
from hybridfit.session.words import plain_text

router = APIRouter(prefix="/api", tags=["about"], responses=ERRORS)
SCANS = tuple(
    ".nc .nc4 .h5 .hdf5 .hdf .nxs .hspy .emd .npy .tif .tiff .mrc .mrcs .raw .xml .mib .hdr .blo .dm4 .dm3 "
    ".tvips .zspy .bin .dat".split()
)


@router.get("/about", response_model=About)
def about(request: Request) -> Any:
    """Version, engine, and what may be asked."""
    state = state_of(request)
    limits = state.settings.limits
    parameters = [
        {"name": name, "label": quantity(name).label, "unit": quantity(name).unit, "held": held}
        for name, held in PARAMETERS.items()
    ]
    return JSONResponse({
        "version": hybridfit.__version__,
        "engine": state.engine,
        "default_library": state.settings.library,
        "methods": list(METHODS),
        "backgrounds": list(BACKGROUNDS),
        "parameters": parameters,
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "seconds": limits.fit_seconds,
            "pixels": limits.frame_pixels,
            "frames": limits.frames,
        },
        "folders": list(state.settings.folders),
    })  # fmt: skip


@router.get("/files", response_model=FilesOut)
def files(
    request: Request, folder: str = Query(..., max_length=200), path: str = Query("", max_length=4000)
) -> Any:
    """What is in a folder that the server was started with, or below it."""
    state = state_of(request)
    root, place = folder_of(state, folder), below(folder_of(state, folder), path)
    if not place.is_dir():
        raise InputError(f"{plain_text(path)[:120]!r} is a file; list the folder that it is in")
    folders, found = [], []
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name.lower())
    except OSError as error:
        raise InputError(f"{plain_text(path)[:120]!r} cannot be listed ({error.strerror})") from None
    for entry in entries[: state.settings.limits.listed]:
        if entry.name.startswith(".") or entry.name != plain_text(entry.name) or not _inside(entry, root):
            continue
        readable = entry.name.lower().endswith(SCANS)
        try:
            status = entry.stat()
            if entry.is_dir():
                folders.append(entry.name)
                if not entry.name.lower().endswith(".zspy"):
                    continue
            found.append(
                {
                    "name": entry.name,
                    "bytes": status.st_size,
                    "time": status.st_mtime,
                    "readable": readable,
                }
            )
        except OSError:  # gone since, or not ours to see
            continue
    return JSONResponse({"folders": folders, "files": found})


def folder_of(state: State, name: str) -> Path:
    """A folder that the server was started with."""
    folder = state.settings.folders.get(name)
    if folder is None:
        known = ", ".join(state.settings.folders) or "none: start the server with --folder DIR"
        raise InputError(f"unknown folder {plain_text(name)[:60]!r}; there are {known}")
    return folder


def _inside(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether an entry is below the folder, should it be a link."""
    if not entry.is_symlink():
        return True
    try:
        real, top = Path(entry.path).resolve(strict=True), root.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return top in real.parents
