"""Which of the libraries that are built an uploaded frame shows."""

from __future__ import annotations

import json
from typing import Any

from hybridfit.errors import InputError
from hybridfit.identification.identifier import Identifier
from hybridfit.io import BadFrame
from hybridfit.serve.work.reading import hidden, hints_of, opened, semi_angle_of, usable
from hybridfit.serve.work.telling import Asked, Say, Throttle

ASKED = ("background", "flip", "mirror")


class Identifying:
    """Identifies frames; the identifier of the last question is kept."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._kept: tuple[str, Identifier] | None = None

    def identify(self, payload: dict[str, Any], say: Say) -> dict[str, Any]:
        """Say of every frame of an upload, or of the first, which library it shows.

        payload["among"] has the libraries: what opens each, and the name by which the server knows it.
        """
        options = payload["options"]
        progress = Throttle(say)
        progress(0.0, "reading")
        with opened(payload) as (count, frames):
            if count > self._asked.frames:
                raise InputError(
                    f"{payload['shown']} has {count} frames, more than {self._asked.frames}; give one of them"
                )
            count = 1 if options["first"] else count
            for i, frame in enumerate(frames):
                if i >= count:
                    break
                if i < payload["done"]:
                    continue

                def show(stage: str, fraction: float, i: int = i) -> None:
                    words = f"frame {i + 1} of {count}: {stage}" if count > 1 else stage
                    progress((i + min(max(fraction, 0.0), 1.0)) / count, words)

                try:
                    whole = usable(frame, self._asked.pixels)
                    identifier = self._identifier(semi_angle_of(options, whole), options, payload["among"])
                    identifier.progress = show
                    answer = _named(identifier.identify(whole).to_json(), payload["among"])
                except InputError as error:
                    if count == 1:
                        raise
                    status = frame.status if isinstance(frame, BadFrame) else "unusable"
                    message = hidden(str(error), payload)
                    answer = {"file": frame.source, "status": status, "message": message}
                say(result=answer)
        return {"frames": count}

    def _identifier(self, semi_angle: float, options: dict[str, Any], among: dict[str, str]) -> Identifier:
        """The identifier of what is asked; the one that is kept, where it was asked before."""
        asked = {name: options[name] for name in ASKED}
        key = json.dumps([semi_angle, asked, options.get("hints"), sorted(among)], sort_keys=True)
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # its memory goes first
            self._kept = key, Identifier(semi_angle, list(among), hints=hints_of(options), **asked)
        return self._kept[1]


def _named(answer: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The answer with the names by which the server knows its libraries."""
    for each in (*answer["matches"], *answer["not_compared"]):
        each["library"] = names.get(each["library"], each["library"])
    return answer | {"answer": names.get(answer["answer"], answer["answer"])}
