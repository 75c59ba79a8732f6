"""What a server is asked to do, and how much it lets anybody ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hybridfit.thresholds import threshold

LOCAL = ("127.0.0.1", "localhost", "::1")
DEFAULT_LIBRARY = "SrTiO3_001_200kV"


@dataclass(frozen=True)
class Limits:
    """Bounds of what a request may ask for."""

    upload_bytes: int = threshold(
        600_000_000, "bytes", "a stack of 1000 frames of 512 × 512 px of 16 bits has 524 MB", "design"
    )
    json_bytes: int = threshold(
        100_000, "bytes", "options of a fit have a thousandth of it, notes a tenth", "design"
    )
    cif_bytes: int = threshold(5_000_000, "bytes", "CIFs with reflections have less", "design")
    frame_pixels: int = threshold(
        17_000_000,
        "px",
        "a frame of 4096 × 4096 px; larger ones need more than 1 GB to fit",
        "benchmarks.server",
    )
    frames: int = threshold(2000, "frames", "a longer stack is a scan, and belongs into a map", "design")
    silence: float = threshold(
        30.0, "s", "an upload that sends nothing for so long has been given up", "design"
    )
    queued: int = threshold(2000, "jobs", "a longer queue takes more than a quarter of an hour", "design")
    free_bytes: int = threshold(
        200_000_000, "bytes", "uploads are refused while the disk has less left", "design"
    )
    fit_seconds: float = threshold(
        120.0, "s", "a fit of a frame, full search and all, takes 15 s on two busy cores", "benchmarks.server"
    )
    ask_seconds: float = threshold(60.0, "s", "a preview or a picture takes a second", "benchmarks.server")
    stall_seconds: float = threshold(
        1800.0, "s", "maps and builds finish a piece within seconds to minutes", "design"
    )
    start_seconds: float = threshold(
        300.0, "s", "a worker starts in 4 s, and in 60 where kernels are compiled first", "benchmarks.server"
    )
    tries: int = threshold(3, "deaths", "a job whose worker died so often kills the next one, too", "design")
    worker_bytes: int = threshold(
        1_400_000_000,
        "bytes",
        "a worker that has grown beyond is replaced once it is idle",
        "benchmarks.server",
    )
    idle_seconds: float = threshold(
        60.0, "s", "the worker of maps ends after so long without one, and gives its memory back", "design"
    )
    jobs_kept: int = threshold(
        1000, "jobs", "older jobs that have ended are forgotten; their fits stay", "design"
    )
    wait_seconds: float = threshold(300.0, "s", "a request with wait= is held open so long at most", "design")
    listed: int = threshold(5000, "names", "a folder with more is listed in part", "design")


LIMITS = Limits()


@dataclass(frozen=True)
class ServeSettings:
    """How to serve.

    Attributes
    ----------
    session : path of the folder of session, queue and uploads
    folders : mapping of name to path
        Folders with scans that maps may be made of.
    host, port : where to listen
    token : str, optional
        What every request has to show; needed unless host is this machine.
    library, semi_angle : what the worker warms up with: name; mrad
    warm : bool
        Whether the worker makes a fit before it is asked for one.
    workers : int, optional
        Processes of a map; all cores by default.
    """

    session: Path
    folders: Mapping[str, Path] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8420
    token: str | None = None
    library: str = DEFAULT_LIBRARY
    semi_angle: float = 13.6
    warm: bool = True
    workers: int | None = None
    limits: Limits = LIMITS

    @property
    def uploads(self) -> Path:
        """Files of jobs that have not ended; each job has a folder of its own."""
        return self.session / "uploads"

    @property
    def maps(self) -> Path:
        """Maps, each with a folder of its own."""
        return self.session / "maps"

    @property
    def libraries(self) -> Path:
        """Recipes and CIFs of libraries that were made here."""
        return self.session / "libraries"
