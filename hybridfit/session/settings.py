"""How large a session may become."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class SessionSettings:
    """Bounds of the session table."""

    note_at_most: int = threshold(
        10_000, "characters", "a longer note is a text, which belongs in a file of its own", "design"
    )
    images_at_most: int = threshold(
        4_000_000_000,
        "bytes",
        "images of the oldest fits are dropped beyond; those of a fit take 0.1 MB, its numbers stay",
        "design",
    )
    patience: float = threshold(
        20.0, "s", "a process waits so long for another one that writes; a write takes 10 ms", "design"
    )


SESSION = SessionSettings()
