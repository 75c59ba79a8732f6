"""The worker of the lane of maps and libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hybridfit.serve.work.telling import Asked, Say, Work


def make(asked: Asked, say: Say) -> tuple[dict[str, Work], Callable[[], None]]:
    """What it can do by name, and what it does when there is nothing to do."""
    from hybridfit.serve.work.libraries import build, new
    from hybridfit.serve.work.maps import run_map

    def library(payload: dict[str, Any], say: Say) -> object:
        return (new if "cif" in payload else build)(payload, say, asked)

    return {"map": partial(run_map, workers=asked.workers), "library": library}, lambda: None
