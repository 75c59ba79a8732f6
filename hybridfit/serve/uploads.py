"""Uploads: a form with files, or a bare array, onto the disk and nowhere else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from hybridfit.errors import InputError
from hybridfit.serve.names import file_name, shown_name
from hybridfit.serve.settings import Limits

MOST_FIELDS = 20
FREE = "the disk of the session has less than {:.0f} MB left; make room there"


class NoRoom(InputError):
    """The disk is full."""


@dataclass
class Upload:
    """What came: files by the name of their field, and the other fields.

    files : mapping of field to (path, name as it is shown)
    """

    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)


async def take(request: Request, folder: Path, limits: Limits, wanted: Mapping[str, bool]) -> Upload:
    """Write the files of a request into a folder of its own.

    Parameters
    ----------
    request : Request
        A form, or application/octet-stream with the name of the file as `name=` of the query.
    folder : where the files go; made, and removed where the request is refused
    limits : Limits
    wanted : mapping of field to whether there must be such a file

    Raises
    ------
    InputError
        It is no such form, or a file is missing.
    """
    if shutil.disk_usage(folder.parent).free < limits.free_bytes:
        raise NoRoom(FREE.format(limits.free_bytes / 1e6))
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    folder.mkdir()
    try:
        if kind == "application/octet-stream":
            return await _bare(request, folder)
        if kind == "multipart/form-data":
            return await _form(request, folder, limits, wanted)
        raise InputError(
            f"content-type {kind[:60]!r} is not taken; send multipart/form-data or application/octet-stream"
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NoRoom(f"the upload cannot be written ({error.strerror}); make room on the disk") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _bare(request: Request, folder: Path) -> Upload:
    """The body is the file."""
    given = request.query_params.get("name") or "frame.raw"
    path, size = folder / file_name(given), 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            await asyncio.to_thread(file.write, piece) if len(piece) > 1 << 16 else file.write(piece)
    if not size:
        raise InputError("the body is empty; send the bytes of the array")
    return Upload({"file": (path, shown_name(given))}, {"options": request.query_params.get("options", "")})


async def _form(request: Request, folder: Path, limits: Limits, wanted: Mapping[str, bool]) -> Upload:
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=len(wanted),
        max_fields=MOST_FIELDS,
        max_part_size=limits.json_bytes,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InputError(f"the form cannot be read ({error.message}); send multipart/form-data") from None
    except (KeyError, UnicodeDecodeError, AssertionError) as error:
        raise InputError(
            f"the form cannot be read ({type(error).__name__}); send multipart/form-data"
        ) from None
    upload = Upload()
    try:
        for number, (name, value) in enumerate(form.multi_items()):
            if not isinstance(value, UploadFile):
                upload.fields[name] = value
            elif name not in wanted:
                raise InputError(f"there is no file field {name[:40]!r}; the fields are {', '.join(wanted)}")
            elif name not in upload.files:
                place = folder if name == "file" or len(wanted) == 1 else folder / f"{number}"
                place.mkdir(exist_ok=True)
                path = place / file_name(value.filename)
                await asyncio.to_thread(_written, value, path)
                upload.files[name] = path, shown_name(value.filename)
    finally:
        await form.close()
    missing = [name for name, needed in wanted.items() if needed and name not in upload.files]
    if missing:
        raise InputError(f"the form has no file {missing[0]!r}; add it, with its name")
    return upload


def _written(value: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(value.file, file, 1 << 20)


def raw_options(query: Mapping[str, str], options: dict[str, Any]) -> dict[str, Any]:
    """Options of a bare array: shape, dtype and offset of the query, beside those in JSON."""
    out = dict(options)
    try:
        if query.get("shape"):
            out["shape"] = [int(size) for size in query["shape"].replace("x", ",").split(",")]
        if query.get("offset"):
            out["offset"] = int(query["offset"])
    except ValueError:
        raise InputError(
            f"shape {query.get('shape', '')[:40]!r}, offset {query.get('offset', '')[:20]!r}: give whole "
            "numbers, such as shape=256,256"
        ) from None
    if query.get("dtype"):
        out["dtype"] = query["dtype"]
    return out
