"""`hybridfit demo`: simulate a frame, fit it, and compare with the truth."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from hybridfit.cli.console import Bars, new_table, print_table
from hybridfit.cli.files import check_outputs, open_library, pictures, write
from hybridfit.cli.options import DEFAULT_LIBRARY, LibraryName, Quiet
from hybridfit.cli.starting import quick_start

DEMO: dict[str, Any] = {
    "thickness": 42.3,
    "tilt": (1.3, -0.7),
    "semi_angle": 13.6,
    "rotation": 23.0,
    "scale": 5.4,
    "centre": (131.4, 121.8),
    "electrons": 1e7,
}


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The picture: .png, .pdf or .svg.")
    ] = Path("demo.png"),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the noise.")] = 0,
    library: LibraryName = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Simulate a camera frame of a tilted crystal, fit it, and compare with the truth."""
    plots = pictures(output, 1)
    frame_path = output.with_name(f"{output.stem}_frame.tif")
    check_outputs([*plots, frame_path], inputs=[library])

    with Bars(quiet) as bars:
        with quick_start():
            from hybridfit.fitting.fitter import Fitter
            from hybridfit.frame import make_frame
            from hybridfit.quantities import decimals, quantity
            from hybridfit.simulate.frame import simulate_frame

            opened = open_library(library, bars)
            image, truth = simulate_frame(opened, **DEMO, seed=seed)
            bars.start("")
            fitter = Fitter(opened, DEMO["semi_angle"], progress=bars.show, whole_curve=True)
        result = fitter.fit(make_frame(image, source=str(frame_path)))
    write([(output, result)], image=(frame_path, image))
    if quiet:
        return
    typer.echo(f"A simulated frame of {result.library}, {truth['electrons']:.3g} electrons. {result.message}")
    table = new_table("", "truth", "answer ± error", "", "(answer − truth)/error")
    for name, p in result.parameters.items():
        if p.stderr is not None:
            digits = decimals(p.stderr)
            answer = f"{p.value:.{digits}f} ± {p.stderr:.{digits}f}"
            pull = f"{(p.value - truth[name]) / p.stderr:+.1f}"
            table.add_row(name, f"{truth[name]:.4f}", answer, quantity(name).unit, pull)
    print_table(table)
    typer.echo(f"The picture is {output}, the frame {frame_path}.")
    words = ["hybridfit", "fit", str(frame_path), "--semi-angle", f"{DEMO['semi_angle']:g}"]
    words += ["--library", library] if library != DEFAULT_LIBRARY else []
    typer.echo(f"Next: {shlex.join([*words, '--plot', str(output.with_name('fit.png'))])}")
