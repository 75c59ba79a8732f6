"""The command line: the only module that prints.

Exit codes: 0, every answer was written, its status in the output; 1, a fit failed and has no answer;
2, bad input, said in one line on stderr, nothing written; 130, interrupted.

NumPy, torch and the rest are imported inside the commands, so that `hybridfit --help` is quick.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hybridfit.errors import HybridfitError, InputError, LibraryError

if TYPE_CHECKING:
    import numpy as np

    from hybridfit.fitting.result import FitResult
    from hybridfit.fitting.seeding import Hints
    from hybridfit.frame import Frame
    from hybridfit.library import Library
    from hybridfit.recipe import Recipe

DEFAULT_LIBRARY = "SrTiO3_001_200kV"
LATER_METHODS = ("cnn", "hybrid")
DEMO: dict[str, Any] = {
    "thickness": 42.3,
    "tilt": (1.3, -0.7),
    "semi_angle": 13.6,
    "rotation": 23.0,
    "scale": 5.4,
    "centre": (131.4, 121.8),
    "electrons": 1e7,
}
USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Specimen thickness and tilt, with error bars, from PACBED patterns.",
    epilog="Exit codes: 0 answers written, with their status; 1 a fit failed; 2 bad input; 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
libraries = typer.Typer(
    help="Build, show and list simulation libraries.", rich_markup_mode=None, add_completion=False
)
app.add_typer(libraries, name="library")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal without ± or χ still gets its answer
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    command = typer.main.get_command(app)
    given = None if arguments is None else list(arguments)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:  # what dependencies warn of is no news to a microscopist
                warnings.simplefilter("ignore")
            code = command.main(args=given, prog_name="hybridfit", standalone_mode=False)
    except HybridfitError as error:
        return _complain(str(error))
    except _ClickError as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hybridfit"
        return _complain(f"{error.format_message().rstrip('.')}; see {path} --help")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # … | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(str(error))
    except MemoryError as error:
        return _complain(f"out of memory ({error}); close other programs, or take a smaller library")
    if code == INTERRUPTED:
        print("hybridfit: interrupted; nothing was written", file=sys.stderr)
    return int(code or 0)


# typer carries click's exceptions, or a copy of them, under different names in different versions
_ClickError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _complain(message: str) -> int:
    print(f"hybridfit: {' '.join(message.split())}", file=sys.stderr)
    return USAGE


def _print_version(wanted: bool) -> None:
    if wanted:
        import hybridfit

        typer.echo(f"hybridfit {hybridfit.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@libraries.callback(invoke_without_command=True)
def _libraries(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# ---------------------------------------------------------------------------------------------- fit


def _finite(text: str) -> float:
    """Parse an option; the message names what was given, and NaN and infinities are refused."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise typer.BadParameter(f"{text!r} is not a number")


LIBRARY_HELP = "Name of a shipped library, a built library (.nc) or a recipe (.toml)."
QUIET_HELP = "Print nothing but errors."


@app.command()
def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Frames, or stacks of frames.")],
    semi_angle: Annotated[
        float, typer.Option(parser=_finite, metavar="MRAD", help="Convergence semi-angle.")
    ],
    library: Annotated[str, typer.Option(metavar="NAME|FILE", help=LIBRARY_HELP)] = DEFAULT_LIBRARY,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="lsf: full search by least squares, then refinement.")
    ] = "lsf",
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VALUE]", help="Hold a parameter, at a value or where the search has it."),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Fit a parameter that is fixed by default: semi_angle, ellipticity_a, _b."
        ),
    ] = None,
    background: Annotated[
        str, typer.Option(metavar="NAME", help="radial, uniform, uniform-per-nm or none.")
    ] = "radial",
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write a list, one object per pattern.")
    ] = None,
    plot_path: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help=".png, .pdf or .svg; with several patterns each gets a number."
        ),
    ] = None,
    hint_thickness: Annotated[
        float | None, typer.Option(parser=_finite, metavar="NM", help="Known within 3 nm.")
    ] = None,
    hint_tilt: Annotated[str | None, typer.Option(metavar="X,Y", help="Known within 1 mrad (mrad).")] = None,
    hint_centre: Annotated[
        str | None, typer.Option(metavar="COL,ROW", help="Centre of the direct disc (px).")
    ] = None,
    hint_scale: Annotated[
        float | None, typer.Option(parser=_finite, metavar="PX", help="Camera calibration (px/mrad).")
    ] = None,
    hint_rotation: Annotated[
        float | None, typer.Option(parser=_finite, metavar="DEG", help="From the crystal's x to columns (°).")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Image or array; pixels that are not 0 are left out.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which dataset of a netCDF or HDF5 file.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="[N,]ROWS,COLS", help="Raw files: shape of the array.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="TYPE", help='Raw files: number type, such as "<u2".')
    ] = None,
    offset: Annotated[int, typer.Option(metavar="BYTES", help="Raw files: where the numbers begin.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET_HELP)] = False,
) -> None:
    """Fit thickness, tilt and camera geometry of PACBED patterns.

    Every answer is printed with its status: read that before the numbers. Parameters are thickness,
    tilt_x, tilt_y, centre_x, centre_y, scale, rotation, ellipticity_a, ellipticity_b, semi_angle, blur.
    The exit code is 0 when every pattern has an answer, whatever its status; 1 when a fit failed.
    """
    fixed = dict(_assignment(text) for text in fix or ())
    tilt = _numbers(hint_tilt, "hint-tilt", "X,Y in mrad, such as 1.3,-0.7", (2,))
    centre = _numbers(hint_centre, "hint-centre", "COL,ROW in px, such as 131.4,121.8", (2,))
    sizes = _numbers(shape, "shape", "ROWS,COLS, such as 256,256", (2, 3))

    from hybridfit.fitting.engine import METHODS
    from hybridfit.fitting.seeding import Hints
    from hybridfit.io import read_frames, read_mask
    from hybridfit.model import PARAMETERS
    from hybridfit.pattern import background as backgrounds

    if method not in METHODS:
        later = "is not in this version, which" if method in LATER_METHODS else "is unknown; this version"
        raise InputError(f"method {method!r} {later} has {', '.join(METHODS)} only; leave --method out")
    if semi_angle <= 0:
        raise InputError(f"semi-angle {semi_angle:g} mrad cannot be right; give it in mrad, above 0")
    backgrounds.check(background)
    for name in (*fixed, *(free or ())):
        if name not in PARAMETERS:
            raise InputError(f"unknown parameter {name!r}; the parameters are {', '.join(PARAMETERS)}")
    hints = Hints(
        thickness=hint_thickness,
        tilt=None if tilt is None else (tilt[0], tilt[1]),
        centre=None if centre is None else (centre[0], centre[1]),
        scale=hint_scale,
        rotation=hint_rotation,
    )
    whole = None if sizes is None else tuple(int(size) for size in sizes)
    left_out = None if mask is None else read_mask(mask)
    frames = [
        frame
        for path in files
        for frame in read_frames(
            path, dataset=dataset, shape=whole, dtype=dtype, offset=offset, mask=left_out
        )
    ]
    plots = [] if plot_path is None else _pictures(plot_path, len(frames))
    _check_outputs(plots if json_path is None else [*plots, json_path], inputs=[*files, mask, library])
    results = _fit_all(
        frames, library, semi_angle, hints, quiet, background=background, fix=fixed, free=free or ()
    )
    objects = [result.to_json() for result in results]
    _write(list(zip(plots, results, strict=False)), json=None if json_path is None else (json_path, objects))
    if not quiet and (plots or json_path):
        typer.echo(f"Written: {', '.join(str(path) for path in [*plots, json_path] if path is not None)}")
    if any(result.status.name == "failed" for result in results):
        raise typer.Exit(1)


def _fit_all(
    frames: list[Frame], library: str, semi_angle: float, hints: Hints, quiet: bool, **options: Any
) -> list[FitResult]:
    """Fit every frame, printing each report as it comes."""
    from hybridfit.fitting.engine import Fitter

    for frame in frames:  # whatever can be found wrong is found before the first long search
        hints.check_frame(frame.image.shape, semi_angle)
    results = []
    with _Bars(quiet) as bars:
        fitter = Fitter(_open(library, bars), semi_angle, hints=hints, progress=bars.show, **options)
        for i, frame in enumerate(frames):
            bars.start(f"[{i + 1}/{len(frames)}] {Path(frame.source).name}" if len(frames) > 1 else "")
            result = fitter.fit(frame)
            results.append(result)
            if not quiet:
                bars.clear()
                typer.echo(result.report())
    return results


def _open(library: str, bars: _Bars) -> Library:
    from hybridfit.library import Library

    bars.start(f"library {Path(library).name}")
    return Library.open(library, progress=lambda fraction: bars.show("build", fraction))


def _assignment(text: str) -> tuple[str, float | None]:
    """NAME or NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        return name.strip(), None
    return name.strip(), _number(value, f"--fix {text}", "NAME=VALUE, such as blur=0.3")


def _number(text: str, option: str, wanted: str) -> float:
    try:
        return _finite(text)
    except typer.BadParameter as error:
        raise InputError(f"{option}: {error}; give {wanted}") from None


def _numbers(text: str | None, option: str, wanted: str, counts: tuple[int, ...]) -> list[float] | None:
    if text is None:
        return None
    parts = text.replace("×", ",").split(",")
    if len(parts) not in counts:
        raise InputError(f"--{option} {text!r} has {len(parts)} parts; give {wanted}")
    return [_number(part, f"--{option} {text}", wanted) for part in parts]


# --------------------------------------------------------------------------------------------- demo


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The picture: .png, .pdf or .svg.")
    ] = Path("demo.png"),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the noise.")] = 0,
    library: Annotated[str, typer.Option(metavar="NAME|FILE", help=LIBRARY_HELP)] = DEFAULT_LIBRARY,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET_HELP)] = False,
) -> None:
    """Simulate a camera frame of a tilted crystal, fit it, and compare with the truth."""
    frame_path = output.with_name(f"{output.stem}_frame.tif")
    _check_outputs([*_pictures(output, 1), frame_path], inputs=[library])

    from hybridfit.fitting.engine import Fitter
    from hybridfit.frame import make_frame
    from hybridfit.simulate import simulate_frame

    with _Bars(quiet) as bars:
        opened = _open(library, bars)
        image, truth = simulate_frame(opened, **DEMO, seed=seed)
        bars.start("")
        fitter = Fitter(opened, DEMO["semi_angle"], progress=bars.show)
        result = fitter.fit(make_frame(image, source=str(frame_path)))
    _write([(output, result)], image=(frame_path, image))
    if quiet:
        return
    typer.echo(f"A frame of {result.library} with {truth['electrons']:.3g} electrons. {result.message}")
    table = _table("", "truth", "answer ± error", "", "(answer − truth)/error")
    for name, p in result.parameters.items():
        if p.stderr is not None:
            digits = max(0, 1 - math.floor(math.log10(p.stderr)))
            answer = f"{p.value:.{digits}f} ± {p.stderr:.{digits}f}"
            pull = f"{(p.value - truth[name]) / p.stderr:+.1f}"
            table.add_row(name, f"{truth[name]:.4f}", answer, _unit(name), pull)
    _show(table)
    typer.echo(f"The picture is {output}, the frame {frame_path}.")
    words = ["hybridfit", "fit", str(frame_path), "--semi-angle", f"{DEMO['semi_angle']:g}"]
    words += ["--library", library] if library != DEFAULT_LIBRARY else []
    typer.echo(f"Next: {shlex.join([*words, '--plot', str(output.with_name('fit.png'))])}")


def _unit(name: str) -> str:
    from hybridfit.fitting.result import UNITS

    return UNITS.get(name, "").replace("_per_", "/").replace("deg", "°")


# ------------------------------------------------------------------------------------------ library


@libraries.command()
def build(
    recipe: Annotated[str, typer.Argument(metavar="NAME|RECIPE.toml", help="What to simulate.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.nc", help="By default the user cache.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps …")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET_HELP)] = False,
) -> None:
    """Solve a recipe and keep the library."""
    if output is not None:
        if output.suffix != ".nc":
            raise InputError(f"{output}: libraries are written as .nc, and opened by that suffix; name it so")
        _check_outputs([output], inputs=[recipe])
    _check_device(device)

    from hybridfit.library import Library

    known = _recipe(recipe)
    target = output or _cached(known, recipe)
    with _Bars(quiet) as bars:
        bars.start(f"library {Path(recipe).stem}")
        library = Library.build(known, device=device, progress=lambda fraction: bars.show("build", fraction))
    try:
        library.save(target)
    except RuntimeError as error:  # netCDF's word for a full disk
        raise LibraryError(f"{target} cannot be written ({error}); make room or choose another") from None
    if not quiet:
        typer.echo(f"{library!r} is in {target} ({_megabytes(target)})")


@libraries.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE", help=LIBRARY_HELP)]) -> None:
    """Print what a library, or a recipe, covers."""
    import json

    from hybridfit.library import Library

    path, recipe = Path(name), None
    if path.suffix != ".nc":
        recipe = _recipe(name)
        path = _cached(recipe, name)
    table = _table("", name)
    if recipe is not None and not path.exists():
        values = recipe.model_dump(mode="json")
        table.add_row("built", "no: on first use, or by `hybridfit library build`")
    else:
        library = Library.open(path)
        data = library.dataset
        values = json.loads(data.attrs["recipe"])
        table.add_row("built", f"{path} ({_megabytes(path)})")
        table.add_row("crystal", f"{data.attrs['crystal']}, unit cell {data.attrs['formula']}")
        table.add_row("beams, directions", f"{data.sizes['beam']}, {data.sizes['direction']}")
        table.add_row("rotation symmetry", f"{library.rotation_order}-fold")
        table.add_row("checksum", data.attrs["checksum"])
        library.close()
    thickness = values["thickness"]
    _rows(table, {
        "cif": values.get("cif"),
        "zone axis": " ".join(map(str, values["zone"])),
        "x along": values["in_plane"] and " ".join(map(str, values["in_plane"])),
        "energy (kV)": values["energy_kv"],
        "thickness (nm)": f"{thickness['start']:g} … {thickness['stop']:g} in steps of {thickness['step']:g}",
        "semi-angle, at most (mrad)": values["semi_angle_max"],
        "tilt, at most (mrad)": values["tilt_max"],
        "longest beam (1/Å)": values["g_max"],
        "sampling (mrad)": values["sampling"],
    })  # fmt: skip
    _show(table)


@libraries.command("list")
def list_() -> None:
    """List shipped recipes and the libraries in the cache."""
    from hybridfit.library import cache_folder
    from hybridfit.recipe import Recipe, shipped_names

    table = _table("library", "state", "size", "file")
    listed = set()
    for name in shipped_names():
        path = _cached(Recipe.shipped(name), name)
        listed.add(path)
        if path.exists():
            table.add_row(name, "shipped, built", _megabytes(path), str(path))
        else:
            table.add_row(name, "shipped, built on first use", "", "")
    for path in sorted(cache_folder().glob("*.nc")):
        if path not in listed and not path.name.startswith("."):
            table.add_row(path.name.rsplit("-", 2)[0], "cached", _megabytes(path), str(path))
    _show(table)


def _recipe(name: str) -> Recipe:
    from hybridfit.recipe import Recipe

    if Path(name).suffix == ".nc":
        raise LibraryError(f"{name} is a library, not a recipe; name a shipped recipe or a .toml file")
    return Recipe.read(name) if Path(name).suffix == ".toml" else Recipe.shipped(name)


def _cached(recipe: Recipe, name: str) -> Path:
    """Where `Library.open` looks for this recipe."""
    from hybridfit.library import VERSION, cache_folder

    label = Path(name).stem if Path(name).suffix == ".toml" else name
    return cache_folder() / f"{label}-{recipe.checksum()[:12]}-v{VERSION}.nc"


def _check_device(device: str) -> None:
    if device in ("auto", "cpu"):
        return
    import torch

    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it computes nothing")
        torch.zeros(1, device=device)
    except Exception as error:  # whatever a backend throws that is not there
        reason = (str(error).splitlines() or [""])[0][:120].rstrip(".")
        raise InputError(
            f"device {device!r} cannot be used ({reason}); give auto, cpu, or cuda where there is a GPU"
        ) from None


# ------------------------------------------------------------------------- writing, tables, progress


def _check_outputs(paths: Sequence[Path], inputs: Sequence[Path | str | None] = ()) -> None:
    """Raise an InputError now for what could not be written at the end, or would overwrite an input."""
    from hybridfit.io import atomic_path

    taken = {os.path.realpath(path): path for path in inputs if path is not None}
    for path in paths:
        with contextlib.suppress(_Enough), atomic_path(path):
            raise _Enough
        real = os.path.realpath(path)
        if real in taken:
            raise InputError(f"{path} would overwrite {taken[real]}; choose another name to write to")
        taken[real] = path


class _Enough(Exception):
    """Leaves `atomic_path` after its checks, before anything is written."""


def _write(
    plots: Sequence[tuple[Path, FitResult]],
    json: tuple[Path, Any] | None = None,
    image: tuple[Path, np.ndarray] | None = None,
) -> None:
    """Write everything, then put all of it in place: a failure leaves every old file as it was."""
    from hybridfit.io import atomic_path, write_json_atomic, write_tiff_atomic

    with contextlib.ExitStack() as stack:
        for path, result in plots:
            result.plot(stack.enter_context(atomic_path(path)))
        if json is not None:
            write_json_atomic(stack.enter_context(atomic_path(json[0])), json[1])
        if image is not None:
            write_tiff_atomic(stack.enter_context(atomic_path(image[0])), image[1])


def _pictures(path: Path, count: int) -> list[Path]:
    """fit.png, or fit-1.png, fit-2.png, … where there are several."""
    from hybridfit.plot import check_suffix

    check_suffix(path)
    if count == 1:
        return [path]
    width = len(str(count))
    return [path.with_name(f"{path.stem}-{i + 1:0{width}d}{path.suffix}") for i in range(count)]


def _table(*headings: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _rows(table: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            table.add_row(name, f"{value:g}" if isinstance(value, float) else str(value))


def _show(table: Any) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


class _Bars:
    """Progress bars on stderr, one for every stage; none where stderr is no terminal.

    On an interrupt the threads that report to `show` are stopped there too, instead of being
    waited for.
    """

    def __init__(self, quiet: bool) -> None:
        self._wanted = not quiet and sys.stderr.isatty()
        self._interrupted = False
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}
        self._label = ""
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> _Bars:
        self._stack.enter_context(self._listening())
        self._stack.callback(self.clear)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, label: str) -> None:
        """Begin something new, named by the label."""
        self.clear()
        self._label = label

    def clear(self) -> None:
        """Take the bars off the terminal, so that something can be printed."""
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._tasks = None, {}

    def show(self, stage: str, fraction: float) -> None:
        """Move the bar of a stage; may be called from any thread."""
        if self._interrupted:
            raise KeyboardInterrupt
        if not self._wanted:
            return
        with self._lock:
            if self._progress is None:
                self._progress = self._new_progress()
            if stage not in self._tasks:
                self._tasks[stage] = self._progress.add_task(f"{self._label} {stage}".strip(), total=1.0)
            self._progress.update(self._tasks[stage], completed=fraction)

    @staticmethod
    def _new_progress() -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # answers go where the user sends them, not to the bars' stderr
            redirect_stderr=False,
        )
        progress.start()
        return progress

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        def stop(*_: object) -> NoReturn:
            self._interrupted = True
            raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
