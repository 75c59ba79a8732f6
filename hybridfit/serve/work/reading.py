"""Uploads become frames: what jobs that read them share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.frame import Frame
from hybridfit.io import BadFrame, open_frames, read_mask
from hybridfit.io.elsewhere import check_alone


@contextmanager
def opened(payload: dict[str, Any]) -> Iterator[tuple[int, Iterable[Frame | BadFrame]]]:
    """The number of frames of an upload, and its frames under the name that the user gave.

    Errors within name no place where the server keeps an upload.
    """
    options, file, shown = payload["options"], Path(payload["file"]), payload["shown"]
    try:
        check_alone(file)
        mask = None
        if payload.get("mask") is not None:
            check_alone(Path(payload["mask"]))
            mask = read_mask(payload["mask"])
        frames = open_frames(
            file, mask=mask, **{name: options.get(name) for name in ("dataset", "shape", "dtype")},
            offset=options.get("offset") or 0,
        )  # fmt: skip
        count = len(frames)
        names = [shown] if count == 1 else (f"{shown}[{i}]" for i in range(count))
        yield count, (replace(frame, source=name) for frame, name in zip(frames, names, strict=False))
    except InputError as error:
        raise InputError(hidden(str(error), payload)) from error


def usable(frame: Frame | BadFrame, most_pixels: int) -> Frame:
    """A frame that can be worked on.

    Raises
    ------
    InputError
        It cannot be read, or has too many pixels.
    """
    if isinstance(frame, BadFrame):
        raise frame.error
    if frame.image.size > most_pixels:
        raise InputError(
            f"{frame.source} has {frame.image.shape[0]} × {frame.image.shape[1]} px; this server "
            f"takes {most_pixels / 1e6:.3g} million at most: bin the frame first"
        )
    return frame


def semi_angle_of(options: dict[str, Any], frame: Frame) -> float:
    """The semi-angle (mrad) that is asked for, or that the frame states; an InputError where none is."""
    told = options.get("semi_angle") or frame.calibration.get("semi_angle_mrad")
    if told is None:
        raise InputError(f"{frame.source} does not say its semi-angle; give semi_angle in mrad, such as 13.6")
    return float(told)


def hints_of(options: dict[str, Any]) -> Hints:
    """The hints that are asked for."""
    given: dict[str, Any] = options.get("hints") or {}
    hints: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    return Hints(**hints)


def hidden(message: str, payload: dict[str, Any]) -> str:
    """A message without the place where the server keeps an upload."""
    for kind in ("file", "mask"):
        if payload.get(kind):
            message = message.replace(str(payload[kind]), payload["shown"] if kind == "file" else "mask")
            message = message.replace(str(Path(payload[kind]).parent) + os.sep, "")
    return message
