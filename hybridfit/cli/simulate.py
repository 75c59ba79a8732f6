"""`hybridfit simulate`: frames and scans of a known specimen, to rehearse a measurement with."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from hybridfit.cli.console import Bars, new_table, print_table
from hybridfit.cli.files import check_outputs, megabytes, open_library
from hybridfit.cli.options import DEFAULT_LIBRARY, LibraryName, Quiet, finite, numbers, pair
from hybridfit.cli.starting import quick_start
from hybridfit.errors import InputError

app = typer.Typer(
    help="Simulate frames and scans of a known specimen.", rich_markup_mode=None, add_completion=False
)

SemiAngle = Annotated[float, typer.Option(parser=finite, metavar="MRAD", help="Convergence semi-angle.")]
Electrons = Annotated[float, typer.Option(parser=finite, metavar="N", help="In a frame.")]
Share = Annotated[
    float, typer.Option(parser=finite, metavar="SHARE", help="Of the electrons that are in the background.")
]
Blur = Annotated[float, typer.Option(parser=finite, metavar="MRAD", help="σ of the pattern's blur.")]
Scale = Annotated[
    float | None,
    typer.Option(parser=finite, metavar="PX", help="Per mrad; by default disc and 8 mrad about it just fit."),
]
Rotation = Annotated[float, typer.Option(parser=finite, metavar="DEGREES", help="Of the pattern.")]
Tilt = Annotated[str, typer.Option(metavar="X,Y", help="mrad; of a scan, in its middle.")]
FrameSize = Annotated[str, typer.Option(metavar="ROWS,COLS", help="Of a frame, px.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of the noise.")]


@app.callback(invoke_without_command=True)
def _simulations(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def scan(
    output: Annotated[Path, typer.Argument(metavar="OUT.nc|OUT.npy", help="The frames, and the truth.")],
    semi_angle: SemiAngle = 13.6,
    size: Annotated[str, typer.Option(metavar="ROWS,COLS", help="Positions of the scan.")] = "64,64",
    frame: FrameSize = "128,128",
    thickness: Annotated[
        str, typer.Option(metavar="FIRST,LAST", help="nm; of a wedge, or one number.")
    ] = "20.5,25.5",
    wedge_direction: Annotated[
        float, typer.Option(parser=finite, metavar="DEGREES", help="0: rises to the right; 90: downwards.")
    ] = 45.0,
    tilt: Tilt = "0,0",
    bend: Annotated[
        float, typer.Option(parser=finite, metavar="MRAD", help="Tilt at the edges less that in the middle.")
    ] = 4.0,
    electrons: Electrons = 1e6,
    background: Share = 0.1,
    blur: Blur = 0.25,
    scale: Scale = None,
    rotation: Rotation = 12.0,
    descan: Annotated[
        str, typer.Option(metavar="X,Y", help="px that the pattern moves across and down the scan.")
    ] = "1.5,-1",
    vacuum: Annotated[
        float, typer.Option(parser=finite, metavar="SHARE", help="Of the scan that is a round hole.")
    ] = 0.0,
    step: Annotated[
        float | None, typer.Option(parser=finite, metavar="NM", help="Between positions.")
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="TYPE", help="Of the frames: u2, u4, f4 …")] = "u2",
    seed: Seed = 0,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads; by default one for each core.")
    ] = None,
    library: LibraryName = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Simulate a 4D-STEM scan of a wedge that is bent to a bowl, and keep the truth beside the frames.

    The truth has a map's names: in the file itself (.nc), or in NAME.truth.nc (.npy).
    """
    if output.suffix not in (".nc", ".npy"):
        raise InputError(f"{output}: scans are written as .nc or .npy; name it so")
    truth = output if output.suffix == ".nc" else output.with_name(f"{output.stem}.truth.nc")
    check_outputs([output] if truth == output else [output, truth], inputs=[library])
    scan_shape, frame_shape = _size(size, "size"), _size(frame, "frame")
    wedge = numbers(thickness, "thickness", "FIRST,LAST in nm, such as 20.5,25.5", (1, 2))
    middle = pair(tilt, "tilt", "X,Y in mrad, such as 1,-0.5") or (0.0, 0.0)
    moves = pair(descan, "descan", "X,Y in px, such as 1.5,-1") or (0.0, 0.0)

    with Bars(quiet) as bars:
        with quick_start():
            from hybridfit.simulate.scan import simulate_scan

            opened = open_library(library, bars)
        bars.start(output.name)
        made = simulate_scan(
            output,
            opened,
            semi_angle,
            scan_shape=scan_shape,
            frame_shape=frame_shape,
            thickness=wedge,
            wedge_direction=wedge_direction,
            tilt=middle,
            bend=bend,
            electrons=electrons,
            background=background,
            blur=blur,
            scale=scale,
            rotation=rotation,
            descan=moves,
            vacuum=vacuum,
            step=step,
            seed=seed,
            dtype=dtype,
            workers=workers or _cores(),
            progress=lambda fraction: bars.show("simulate", fraction),
        )
    if quiet:
        return
    ny, nx = scan_shape
    about = f"{ny} × {nx} frames of {frame_shape[0]} × {frame_shape[1]} px, semi-angle {semi_angle:g} mrad"
    typer.echo(f"{output}: {about}, {made.attrs['library']} ({megabytes(output)}); the truth is in {truth}.")


@app.command("frame")
def frame_(
    output: Annotated[Path, typer.Argument(metavar="OUT.tif", help="The frame.")],
    semi_angle: SemiAngle = 13.6,
    size: FrameSize = "256,256",
    thickness: Annotated[float, typer.Option(parser=finite, metavar="NM", help="Of the specimen.")] = 42.3,
    tilt: Tilt = "1.3,-0.7",
    electrons: Electrons = 1e7,
    background: Share = 0.1,
    blur: Blur = 0.25,
    centre: Annotated[
        str | None, typer.Option(metavar="COL,ROW", help="Of the direct disc; by default the middle.")
    ] = None,
    scale: Scale = None,
    rotation: Rotation = 23.0,
    seed: Seed = 0,
    library: LibraryName = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Simulate one frame, and print the truth about it."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"{output}: frames are written as .tif; name it so")
    check_outputs([output], inputs=[library])
    shape = _size(size, "size")
    tilted = pair(tilt, "tilt", "X,Y in mrad, such as 1.3,-0.7") or (0.0, 0.0)
    middle = pair(centre, "centre", "COL,ROW in px, such as 131,122")

    with Bars(quiet) as bars:
        with quick_start():
            from hybridfit.io import write_tiff_atomic
            from hybridfit.quantities import quantity
            from hybridfit.simulate.frame import simulate_frame

            opened = open_library(library, bars)
        image, truth = simulate_frame(
            opened,
            thickness=thickness,
            tilt=tilted,
            semi_angle=semi_angle,
            shape=shape,
            centre=middle,
            scale=scale,
            rotation=rotation,
            blur=blur,
            electrons=electrons,
            background=background,
            seed=seed,
        )
    write_tiff_atomic(output, image)
    if quiet:
        return
    table = new_table(str(output), "truth", "")
    for name, value in truth.items():
        table.add_row(name, f"{value:g}", quantity(name).unit)
    print_table(table)
    words = ["hybridfit", "fit", str(output), "--semi-angle", f"{semi_angle:g}"]
    words += ["--library", library] if library != DEFAULT_LIBRARY else []
    typer.echo(f"Next: {shlex.join(words)}")


def _size(text: str, option: str) -> tuple[int, int]:
    wanted = "ROWS,COLS, such as 128,128"
    values = numbers(text, option, wanted, (2,))
    if any(value != int(value) or value < 1 for value in values):
        raise InputError(f"--{option} {text!r} is no size; give {wanted}")
    return int(values[0]), int(values[1])


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
