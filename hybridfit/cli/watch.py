"""`hybridfit watch`: fit every new frame of a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridfit.cli.console import Bars
from hybridfit.cli.files import open_library
from hybridfit.cli.options import (
    AUTO,
    DEFAULT_LIBRARY,
    LIBRARY_HELP,
    Background,
    Dataset,
    Dtype,
    Flip,
    Gain,
    HintCentre,
    HintRotation,
    HintScale,
    HintThickness,
    HintTilt,
    Mask,
    Offset,
    Quiet,
    SemiAngle,
    Shape,
    Sigma,
    assignment,
    pair,
    range_of,
    relative,
    sizes,
)
from hybridfit.cli.starting import quick_start
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.fitting.result import FitResult
    from hybridfit.frame import Frame
    from hybridfit.identification.answer import Identification
    from hybridfit.library.library import Library
    from hybridfit.watch import Summary, Told


def watch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where frames come.")],
    semi_angle: SemiAngle = None,
    library: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE|auto",
            help=f"{LIBRARY_HELP[:-1]}; auto: the built library that the first frame shows, and another one "
            "where a poor match shows that.",
        ),
    ] = DEFAULT_LIBRARY,
    recursive: Annotated[bool, typer.Option("--recursive", help="Folders in the folder, too.")] = False,
    pattern: Annotated[
        str, typer.Option(metavar="NAMES", help='Files to take, such as "*.dm4"; all formats else.')
    ] = "",
    new_only: Annotated[bool, typer.Option("--new-only", help="Leave what is there already.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when all that is there is fitted.")] = False,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Append a row for every frame.")
    ] = None,
    jsonl_path: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="Append a line of JSON for every frame."),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The session of hybridfit serve; the user's data folder else."),
    ] = None,
    no_session: Annotated[
        bool, typer.Option("--no-session", help="Do not show fits on the page; remember only what is done.")
    ] = False,
    method: Annotated[
        str,
        typer.Option(metavar="NAME", help="hybrid: network, then least squares; lsf: full search; cnn."),
    ] = "hybrid",
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A network of your own (.safetensors).")
    ] = None,
    fix: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Hold a parameter, as of fit.")
    ] = None,
    bound: Annotated[
        list[str] | None, typer.Option(metavar="NAME=LOW,HIGH", help="Other bounds of a parameter.")
    ] = None,
    free: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Fit what is held by default, as of fit.")
    ] = None,
    sigma: Sigma = None,
    background: Background = "radial",
    hint_thickness: HintThickness = None,
    hint_tilt: HintTilt = None,
    hint_centre: HintCentre = None,
    hint_scale: HintScale = None,
    hint_rotation: HintRotation = None,
    gain: Gain = None,
    flip: Flip = False,
    mask: Mask = None,
    dataset: Dataset = None,
    shape: Shape = None,
    dtype: Dtype = None,
    offset: Offset = 0,
    quiet: Quiet = False,
) -> None:
    """Fit every new frame of a folder when its file is complete; Ctrl-C ends it.

    Each frame is a line on the terminal, a row of --csv and --jsonl, and a fit on the page of hybridfit
    serve.
    What was fitted is not fitted again after a restart, unless the file or the options have changed.
    """
    tilt = pair(hint_tilt, "hint-tilt", "X,Y in mrad, such as 1.3,-0.7")
    centre = pair(hint_centre, "hint-centre", "COL,ROW in px, such as 131.4,121.8")
    asked: dict[str, Any] = {
        "method": method,
        "background": background,
        "fix": dict(assignment(text) for text in fix or ()),
        "free": list(free or ()),
        "bounds": dict(range_of(text) for text in bound or ()),
        "sigma": dict(relative(text) for text in sigma or ()),
        "gain": gain,
        "flip": flip,
    }
    hinted: dict[str, Any] = {
        "thickness": hint_thickness,
        "tilt": tilt,
        "centre": centre,
        "scale": hint_scale,
        "rotation": hint_rotation,
    }
    reading: dict[str, Any] = {"dataset": dataset, "shape": sizes(shape), "dtype": dtype, "offset": offset}
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; create it first, or give another")

    with quick_start():
        from hybridfit.fitting.hints import Hints
        from hybridfit.io import read_mask
        from hybridfit.session import Session, default_folder
        from hybridfit.watch import CsvTable, JsonLines, Ledger, Watch, WatchSettings
        from hybridfit.watch.ledger import NAME

    with contextlib.ExitStack() as stack:
        place = session or default_folder()
        table = None if no_session else stack.enter_context(Session(place))
        known = {**asked, "hints": hinted, "library": library, "semi_angle": semi_angle, "reading": reading}
        known |= {"weights": str(weights or ""), "mask": str(mask or "")}
        ledger = Ledger(place / NAME, known)
        stack.callback(ledger.close)
        tables: list[CsvTable | JsonLines] = []
        if csv_path is not None:
            tables.append(CsvTable(csv_path))
        if jsonl_path is not None:
            tables.append(JsonLines(jsonl_path))
        for each in tables:
            stack.callback(each.close)
        options = {**asked, "network": weights, "hints": Hints(**hinted)}
        fitters: _Fitters
        if library == AUTO:
            fitters, said = _Auto(semi_angle, options, quiet), "the libraries that are built"
        else:
            with Bars(quiet) as bars:
                opened = open_library(library, bars)
            fitters = _Fitters(opened, library, semi_angle, options)
            said = f"{opened.dataset.attrs['crystal']} ({library})"
        if semi_angle is not None:
            fitters.of(semi_angle)  # an option that cannot be is said now
        reading["mask"] = None if mask is None else read_mask(mask)
        settings = WatchSettings(folder, recursive, pattern, new_only, once, reading)
        watching = Watch(
            settings,
            fitters.fit,
            ledger,
            tables=tables,
            session=table,
            library=lambda: fitters.name,
            tell=lambda told: None if quiet else typer.echo(line_of(told, folder)),
            say=lambda words: typer.echo(f"hybridfit: {words}", err=True),
        )
        if not quiet:
            end = "" if once else "; Ctrl-C ends it"
            typer.echo(f"Watching {folder} with {said}{end}.")
        with contextlib.suppress(KeyboardInterrupt):
            watching.run()
        if not quiet:
            typer.echo(summary_of(watching.summary, [path for path in (csv_path, jsonl_path) if path]))


class _Fitters:
    """A fitter for every semi-angle that is given, or that files state."""

    def __init__(
        self, library: Library | None, name: str, semi_angle: float | None, options: dict[str, Any]
    ) -> None:
        self.name = name
        self._library, self._semi_angle, self._options = library, semi_angle, options
        self._made: dict[float, Callable[[Frame], FitResult]] = {}

    def of(self, semi_angle: float) -> Callable[[Frame], FitResult]:
        """What fits frames of a semi-angle (mrad)."""
        if semi_angle not in self._made:
            self._made[semi_angle] = self._make(semi_angle)
        return self._made[semi_angle]

    def fit(self, frame: Frame) -> FitResult:
        """Fit a frame with the semi-angle that was given, or that it states."""
        told = self._semi_angle or frame.calibration.get("semi_angle_mrad")
        if told is None:
            raise InputError(
                f"{frame.source} does not say its semi-angle; give --semi-angle MRAD, such as 13.6"
            )
        return self.of(told)(frame)

    def _make(self, semi_angle: float) -> Callable[[Frame], FitResult]:
        from hybridfit.fitting.fitter import Fitter

        assert self._library is not None
        return Fitter(self._library, semi_angle, whole_curve=True, **self._options).fit


class _Auto(_Fitters):
    """Fits with the library that frames show; says when another one takes over."""

    def __init__(self, semi_angle: float | None, options: dict[str, Any], quiet: bool) -> None:
        super().__init__(None, AUTO, semi_angle, options)
        self._quiet = quiet

    def _make(self, semi_angle: float) -> Callable[[Frame], FitResult]:
        from hybridfit.identification.auto import AutoFitter

        fitter = AutoFitter.of_built(semi_angle, self._said, whole_curve=True, **self._options)

        def fit(frame: Frame) -> FitResult:
            try:
                return fitter.fit(frame)
            finally:
                self.name = fitter.library or AUTO

        return fit

    def _said(self, found: Identification) -> None:
        if not self._quiet:
            typer.echo(f"hybridfit: {found.source}: library {found.answer}. {found.message}", err=True)


def line_of(told: Told, folder: Path) -> str:
    """A frame in a line: time, name, status, thickness and tilt."""
    from hybridfit.plot.words import measured

    answer, result = told.answer, told.result
    source = str(answer["file"])
    with contextlib.suppress(ValueError):
        source = str(Path(source).relative_to(folder))
    status = str(answer["status"]).replace("_", " ")
    head = f"{strftime('%H:%M:%S')}  {source}: {status}"
    if result is None:
        return f"{head}, {answer['message']}"
    thickness, x, y = (measured(result[name]) for name in ("thickness", "tilt_x", "tilt_y"))
    words = f"{head}, {thickness} nm, tilt {x}, {y} mrad"
    return words if result.ok else f"{words}; {result.message}"


def summary_of(summary: Summary, tables: list[Path]) -> str:
    """What a watch has done, in a sentence."""
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in summary.statuses.most_common())
    frames = sum(summary.statuses.values())
    words = [f"{summary.files} files fitted, {frames} frames: {counts}" if frames else "No new frames"]
    if summary.known:
        words.append(f"{summary.known} files had been fitted before")
    if summary.waiting:
        words.append(f"{summary.waiting} files were not complete, or wait for the next start")
    if tables:
        words.append(f"tables: {', '.join(map(str, tables))}")
    return "; ".join(words) + "."
