"""Settings of reports."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class ReportSettings:
    """What a report leaves out."""

    hashed_bytes: float = threshold(
        4e9,
        "bytes",
        "checksums of larger files take longer than some seconds; size and time stand instead",
        "design",
    )
    messages: int = threshold(
        12, "messages", "so many different messages of a map are listed: more would not be read", "design"
    )


REPORT = ReportSettings()
