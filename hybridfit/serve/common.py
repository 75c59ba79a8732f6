"""What the routes share: the state of the server, answers, and errors as status codes."""

from __future__ import annotations

import re
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from hybridfit.errors import InputError
from hybridfit.serve.models import Problem
from hybridfit.serve.queue import Full, NotThere
from hybridfit.serve.security import SEALED
from hybridfit.serve.state import State
from hybridfit.serve.uploads import NoRoom

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Something cannot be used as given."},
    404: {"model": Problem, "description": "There is nothing of that id."},
}
TYPES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".nc": "application/x-netcdf",
}


def state_of(request: Request) -> State:
    """The state of the server that a request came to."""
    return cast(State, request.app.state.hybridfit)


def code_of(error: InputError) -> int:
    """The status code of an error."""
    words = str(error)
    if isinstance(error, NotThere) or words.startswith("there is no fit"):
        return 404
    if isinstance(error, Full):
        return 429
    if isinstance(error, NoRoom):
        return 507
    return 409 if "is not built yet" in words else 400


def download(content: bytes | str, suffix: str, name: str | None = None, *, shown: bool = False) -> Response:
    """Content as a file; where it is shown in the browser, nothing in it runs.

    Parameters
    ----------
    content : bytes or str
    suffix : one of TYPES
    name : under which a browser saves it, without its suffix
    shown : bool
        Whether a browser shows it by itself.
    """
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", name or "hybridfit").strip("._")[:80] or "hybridfit"
    where = "inline" if shown else "attachment"
    headers = {
        "content-disposition": f'{where}; filename="{stem}{suffix}"',
        "content-security-policy": SEALED,
    }
    return Response(content, media_type=TYPES[suffix], headers=headers)


def described(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of an answer that is a file of one of these types."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": "The file.", "content": {kind: {"schema": schema} for kind in kinds}}}
