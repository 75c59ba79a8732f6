"""An application and a client of it, for the tests of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient

from hybridfit.serve.app import make_app
from hybridfit.serve.settings import ServeSettings
from hybridfit.serve.state import State

HEADERS = {"X-Hybridfit": "1"}
SEMI_ANGLE = 9.0
TRUTH: dict[str, Any] = {"thickness": 30.0, "tilt": (0.5, -0.3), "centre": (47.5, 46.0), "scale": 3.2}
HINTS = {**TRUTH, "rotation": 14.0}


@dataclass
class Served:
    """A client of an application, and its inside."""

    client: TestClient
    state: State

    def fit(self, content: bytes, name: str = "frame.npy", wait: float = 60.0, **options: Any) -> Any:
        asked = {"library": "small", "semi_angle": SEMI_ANGLE, "hints": HINTS, "method": "lsf", **options}
        return self.client.post(
            "/api/fit",
            params={"wait": wait},
            files={"file": (name, content)},
            data={"options": json.dumps(asked)},
        )


def started(settings: ServeSettings) -> Served:
    app = make_app(settings)
    client = TestClient(app, base_url="http://localhost", headers=HEADERS, raise_server_exceptions=False)
    return Served(client, app.state.hybridfit)


def streamed(
    served: Served,
    method: str,
    path: str,
    headers: Mapping[str, str],
    pieces: Iterator[bytes],
    ends: bool = True,
) -> tuple[int, dict[str, Any], int]:
    """Send a body piece by piece, as `TestClient` does not; status, answer, and how many were taken."""
    taken, status, body = 0, 0, b""

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        piece = next(pieces, None)
        if piece is None and not ends:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: Any) -> None:
        nonlocal status, body
        status, body = message.get("status", status), body + message.get("body", b"")

    given = {"host": "localhost", **HEADERS, **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    plain, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": plain, "query_string": query.encode(), "headers": raw}
    scope |= {"raw_path": plain.encode(), "root_path": "", "scheme": "http", "http_version": "1.1"}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "app": served.client.app}
    asyncio.run(served.client.app(scope, receive, send))
    return status, json.loads(body), taken
