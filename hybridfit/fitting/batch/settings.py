"""Thresholds of batches: memory of a device."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class BatchSettings:
    """How much of a device a batch takes, and how many frames are one."""

    node_bytes: float = threshold(
        4e9,
        "bytes",
        "node images on a GPU take no more, nor a quarter of its memory: of a scan that wanders further they"
        " are made again",
        "design",
    )
    workspace: float = threshold(
        8e9, "bytes", "what is calculated at a time takes no more, nor an eighth of a GPU's memory", "design"
    )
    cpu_share: float = threshold(
        0.05, "of these bytes", "so much is taken where torch calculates on the CPU", "design"
    )
    frames: int = threshold(
        2048, "positions", "so many positions of a map are matched and refined at a time", "design"
    )
    nearly_settled: float = threshold(
        0.5,
        "standard errors",
        "a first round may end where its next step would be so much shorter: its weights are a guess",
        "design",
    )


BATCH = BatchSettings()
