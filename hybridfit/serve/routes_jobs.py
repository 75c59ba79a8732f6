"""Jobs: how they stand, as they change, and stopping them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from hybridfit.errors import InputError
from hybridfit.serve.common import ERRORS, state_of
from hybridfit.serve.models import JobOut
from hybridfit.serve.queue import Job
from hybridfit.serve.state import State

router = APIRouter(prefix="/api/jobs", tags=["jobs"], responses=ERRORS)
HEARTBEAT = 15.0  # s
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


@router.get("", response_model=list[JobOut])
def jobs(request: Request) -> list[dict[str, Any]]:
    """All jobs, newest first."""
    return [job.public() for job in state_of(request).queue.listed()]


@router.get("/{key}", response_model=JobOut)
def job(request: Request, key: str) -> dict[str, Any]:
    """One job."""
    return _kept(state_of(request), key).public()


@router.get("/{key}/events", response_class=StreamingResponse, responses=EVENTS)
async def job_events(request: Request, key: str) -> StreamingResponse:
    """Server-sent events "job" whenever the job changes, until it has ended."""
    state = state_of(request)
    return StreamingResponse(_events(state, _kept(state, key)), media_type="text/event-stream")


@router.post("/{key}/stop", response_model=JobOut)
def stop(request: Request, key: str) -> dict[str, Any]:
    """Stop a job; nothing happens to one that has ended."""
    state = state_of(request)
    _kept(state, key)
    return state.stop(key).public()


@router.post("/{key}/resume", response_model=JobOut)
def resume(request: Request, key: str) -> dict[str, Any]:
    """Go on with a map or library that was stopped or has failed; a map goes on where it was."""
    state = state_of(request)
    if _kept(state, key).payload.get("file"):
        raise InputError(f"job {key} is a fit whose upload is gone; send the frame again")
    return state.queue.resume(key).public()


def _kept(state: State, key: str) -> Job:
    return state.queue.job(key)


async def _events(state: State, job: Job) -> AsyncIterator[str]:
    seen, silent = -1, 0.0
    while True:
        if job.version != seen:
            seen, silent = job.version, 0.0
            yield f"event: job\ndata: {json.dumps(job.public())}\n\n"
            if job.ended:
                return
        if not await state.change(job.id, 1.0):
            silent += 1.0
            if silent >= HEARTBEAT:
                silent = 0.0
                yield ": still there\n\n"
