"""Fits of uploaded frames and of positions of maps, with fitters that stay warm."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridfit.errors import InputError
from hybridfit.fitting.fitter import Fitter
from hybridfit.frame import Frame, make_frame
from hybridfit.io import BadFrame
from hybridfit.library.library import Library
from hybridfit.serve.work.reading import hidden, hints_of, opened, semi_angle_of, usable
from hybridfit.serve.work.telling import Asked, Say, Throttle
from hybridfit.session import Session, kept_of, with_curve

if TYPE_CHECKING:
    from hybridfit.fitting.result import FitResult

WARM = 3  # fitters that are kept: 0.1 GB each
LATER = 8  # answers whose χ² curve is still to be computed
FIT = ("method", "background", "fix", "free", "bounds", "sigma", "flip", "gain")


class Fits:
    """Fits frames; fitters and libraries are kept."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._libraries: OrderedDict[str, Library] = OrderedDict()
        self._fitters: OrderedDict[str, Fitter] = OrderedDict()
        self._session = Session(asked.session)
        self._later: OrderedDict[str, FitResult] = OrderedDict()
        self._unsettled = False

    def engine(self) -> dict[str, Any]:
        """What it computes with."""
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return {"torch": torch.__version__, "device": device, "cores": os.cpu_count() or 1}

    def warm_up(self) -> None:
        """Fit a simulated frame, unless the library would have to be built for that."""
        from hybridfit.simulate.frame import simulate_frame

        if not Library.cached_path(self._asked.library).exists():
            return
        options = {"library": self._asked.library, "semi_angle": self._asked.semi_angle}
        library = self._library(self._asked.library)
        for size in (256, 512):
            image, _ = simulate_frame(
                library, thickness=30.0, semi_angle=self._asked.semi_angle, shape=(size, size)
            )
            frame = make_frame(image, source="warm-up")
            result = self._fitter(options, frame, lambda *_: None).fit(frame)
            kept_of(result, curve=False)

    # ---------------------------------------------------------------- jobs

    def fit(self, payload: dict[str, Any], say: Say) -> dict[str, Any]:
        """Fit every frame of an uploaded file, after those that were fitted before the last worker died."""
        progress = Throttle(say)
        progress(0.0, "reading")
        with opened(payload) as (count, frames):
            if count > self._asked.frames:
                raise InputError(
                    f"{payload['shown']} has {count} frames, more than {self._asked.frames}; it is a scan: "
                    "map it"
                )
            for i, frame in enumerate(frames):
                if i < payload["done"]:
                    continue
                key = payload["key"] if count == 1 else f"{payload['key']}-{i + 1}"
                self._one(frame, key, payload, say, progress, (i, count))
        return {"frames": count}

    def position(self, payload: dict[str, Any], say: Say) -> dict[str, Any]:
        """Fit a position of a map again, with its picture."""
        y, x = payload["y"], payload["x"]
        finished = Path(payload["map"])
        if finished.exists():
            from hybridfit.scan.maps import fit_at, read_map

            found = read_map(finished)
            result = fit_at(found, y, x, self._library(payload["library"]))
        else:
            from hybridfit.serve.work.maps import frame_at, settings_of

            settings = settings_of(payload["options"])
            frame = frame_at(payload["scan"], payload["options"], y, x)
            result = Fitter(self._library(payload["library"]), settings=settings.fit).fit(frame)
        result = replace(result, source=f"{payload['shown']}, position {y}, {x}")
        self._keep(result, payload["key"], payload, say)
        return {"frames": 1}

    def picture(self, payload: dict[str, Any], say: Say) -> str:
        """Draw a fit of the session into a file."""
        key, path = payload["fit"], Path(payload["path"])
        if key in self._later:
            self._add_curve(key)
        from hybridfit.serve.work.pictures import fit_picture

        source = payload.get("library")
        library = self._library(source) if source and Library.cached_path(source).exists() else None
        fit_picture(self._session, key, path, library)
        return str(path)

    def idle(self) -> None:
        """Compute a χ² curve that was put off; then write the session through to the disk."""
        if self._later:
            self._add_curve(next(iter(self._later)))
        elif self._unsettled:
            self._unsettled = False
            self._session.settle()

    # ---------------------------------------------------------------- inside

    def _one(
        self,
        frame: Frame | BadFrame,
        key: str,
        payload: dict[str, Any],
        say: Say,
        progress: Throttle,
        at: tuple[int, int],
    ) -> None:
        """Fit one frame, and keep the answer."""
        options, (i, count) = payload["options"], at
        words = f"frame {i + 1} of {count}" if count > 1 else "fit"

        def show(stage: str, fraction: float) -> None:
            progress((i + min(max(fraction, 0.0), 1.0)) / count, f"{words}: {stage}" if count > 1 else stage)

        try:
            whole = usable(frame, self._asked.pixels)
            fitter = self._fitter(options, whole, show)
            result = fitter.fit(whole)
        except InputError as error:
            status = frame.status if isinstance(frame, BadFrame) else "unusable"
            message = hidden(str(error), payload)
            if count == 1:
                raise InputError(message) from None
            answer = {
                "file": frame.source,
                "method": options.get("method", "hybrid"),
                "status": status,
                "message": message,
            }
            self._put(answer, None, key, payload, say)
            return
        self._keep(result, key, payload, say)

    def _keep(self, result: FitResult, key: str, payload: dict[str, Any], say: Say) -> None:
        images = kept_of(result, curve=False).packed()
        self._put(result.to_json(), images, key, payload, say, result.parameters["semi_angle"].value)
        if payload["options"].get("session", True):
            self._later[key] = result
            while len(self._later) > LATER:
                self._later.popitem(last=False)

    def _put(
        self,
        answer: dict[str, Any],
        images: bytes | None,
        key: str,
        payload: dict[str, Any],
        say: Say,
        semi_angle: float | None = None,
    ) -> None:
        """Write an answer into the session, or hand it back alone."""
        if not payload["options"].get("session", True):
            say(result=answer)
            return
        self._session.add(
            answer,
            origin=payload["origin"],
            library=payload["options"]["library"],
            semi_angle=payload["options"].get("semi_angle") or semi_angle,
            images=images,
            place=(payload["map_id"], payload["y"], payload["x"]) if "map_id" in payload else None,
            key=key,
        )
        self._unsettled = True
        say(fit=key)

    def _add_curve(self, key: str) -> None:
        result = self._later.pop(key)
        self._session.put_images(key, with_curve(kept_of(result, curve=False), result).packed())

    def _library(self, path: str) -> Library:
        """An opened library; it must have been built."""
        if path not in self._libraries:
            if not Library.cached_path(path).exists():
                raise InputError(f"the library {Path(path).stem} is not built yet; build it first")
            self._libraries[path] = Library.open(path)
            while len(self._libraries) > WARM:
                self._libraries.popitem(last=False)
        self._libraries.move_to_end(path)
        return self._libraries[path]

    def _fitter(self, options: dict[str, Any], frame: Frame, show: Any) -> Fitter:
        """The fitter of what is asked; a warm one, where it was asked before."""
        asked = {name: options[name] for name in FIT if options.get(name) is not None}
        if options.get("hints"):
            asked["hints"] = hints_of(options)
        semi_angle = semi_angle_of(options, frame)
        path = options.get("path") or options["library"]
        key = json.dumps([path, semi_angle, {**asked, "hints": options.get("hints")}], sort_keys=True)
        fitter = self._fitters.get(key)
        if fitter is None:
            fitter = Fitter(self._library(path), semi_angle, whole_curve=True, **asked)
            self._fitters[key] = fitter
            while len(self._fitters) > WARM:
                self._fitters.popitem(last=False)
        self._fitters.move_to_end(key)
        fitter.progress = show
        return fitter
