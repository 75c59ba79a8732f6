"""`hybridfit fit`: fit the frames in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridfit.cli.console import Bars
from hybridfit.cli.files import check_outputs, open_library, pictures, read_all, write
from hybridfit.cli.options import (
    DEFAULT_LIBRARY,
    Dataset,
    Dtype,
    Flip,
    LibraryName,
    Mask,
    Offset,
    Quiet,
    SemiAngle,
    Shape,
    assignment,
    finite,
    pair,
    sizes,
)
from hybridfit.cli.starting import quick_start

if TYPE_CHECKING:
    from hybridfit.fitting.hints import Hints
    from hybridfit.fitting.result import FitResult
    from hybridfit.frame import Frame


def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Frames, or stacks of frames.")],
    semi_angle: SemiAngle,
    library: LibraryName = DEFAULT_LIBRARY,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="hybrid: network, then least squares near it; lsf: full search; cnn: network only.",
        ),
    ] = "hybrid",
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own network (.safetensors, from hybridfit train)."),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="Hold a parameter at VALUE, or at the value of the search."
        ),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Fit a parameter that is held by default: semi_angle."),
    ] = None,
    background: Annotated[
        str, typer.Option(metavar="NAME", help="radial, uniform, uniform-per-nm or none.")
    ] = "radial",
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write the answers as a list with one object per pattern."
        ),
    ] = None,
    plot_path: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the fit: .png, .pdf or .svg; several pictures are numbered."
        ),
    ] = None,
    hint_thickness: Annotated[
        float | None, typer.Option(parser=finite, metavar="NM", help="Thickness, known within 3 nm.")
    ] = None,
    hint_tilt: Annotated[str | None, typer.Option(metavar="X,Y", help="Tilt, known within 1 mrad.")] = None,
    hint_centre: Annotated[
        str | None, typer.Option(metavar="COL,ROW", help="Centre of the direct disc.")
    ] = None,
    hint_scale: Annotated[
        float | None, typer.Option(parser=finite, metavar="PX", help="Scale of the camera (px/mrad).")
    ] = None,
    hint_rotation: Annotated[
        float | None,
        typer.Option(
            parser=finite, metavar="DEG", help="Angle from the camera's columns to the crystal's x."
        ),
    ] = None,
    flip: Flip = False,
    mask: Mask = None,
    dataset: Dataset = None,
    shape: Shape = None,
    dtype: Dtype = None,
    offset: Offset = 0,
    quiet: Quiet = False,
) -> None:
    """Fit thickness, tilt and camera geometry of PACBED patterns.

    Read the status of an answer before its numbers. The parameters are thickness,
    tilt_x, tilt_y, centre_x, centre_y, scale, rotation, ellipticity_a, ellipticity_b, semi_angle, blur,
    and the structural parameters of the library: see hybridfit library show.
    The exit code is 0 when every pattern has an answer, whatever its status; 1 when a fit failed.
    """
    fixed = dict(assignment(text) for text in fix or ())
    tilt = pair(hint_tilt, "hint-tilt", "X,Y in mrad, such as 1.3,-0.7")
    centre = pair(hint_centre, "hint-centre", "COL,ROW in px, such as 131.4,121.8")
    whole = sizes(shape)

    with quick_start():
        from hybridfit.fitting.hints import Hints
        from hybridfit.fitting.settings import check_method, check_semi_angle
        from hybridfit.library.store import check_parameters
        from hybridfit.model import PARAMETERS
        from hybridfit.pattern import background as backgrounds

        check_method(method)
        check_semi_angle(semi_angle)
        backgrounds.check(background)
        check_parameters((*fixed, *(free or ())), PARAMETERS, library, fixed)
        hints = Hints(
            thickness=hint_thickness, tilt=tilt, centre=centre, scale=hint_scale, rotation=hint_rotation
        )
        frames = read_all(files, mask=mask, dataset=dataset, shape=whole, dtype=dtype, offset=offset)
        plots = [] if plot_path is None else pictures(plot_path, len(frames))
    check_outputs(
        plots if json_path is None else [*plots, json_path], inputs=[*files, mask, library, weights]
    )
    results = _fit_all(
        frames,
        library,
        semi_angle,
        hints,
        quiet,
        flip,
        method=method,
        network=weights,
        background=background,
        fix=fixed,
        free=free or (),
        whole_curve=bool(plots),
    )
    objects = [result.to_json() for result in results]
    write(list(zip(plots, results, strict=False)), json=None if json_path is None else (json_path, objects))
    if not quiet and (plots or json_path):
        typer.echo(f"Written: {', '.join(str(path) for path in [*plots, json_path] if path is not None)}")
    if any(result.status.name == "failed" for result in results):
        raise typer.Exit(1)


def _fit_all(
    frames: list[Frame],
    library: str,
    semi_angle: float,
    hints: Hints,
    quiet: bool,
    flip: bool,
    **options: Any,
) -> list[FitResult]:
    """Fit every frame, and print each report at once."""
    for frame in frames:  # errors are found before the first long search
        hints.check_frame(frame.image.shape, semi_angle)
    results = []
    with Bars(quiet) as bars:
        with quick_start():
            from hybridfit.fitting.fitter import Fitter

            opened = open_library(library, bars)
            fitter = Fitter(opened, semi_angle, hints=hints, flip=flip, progress=bars.show, **options)
        for i, frame in enumerate(frames):
            bars.start(f"[{i + 1}/{len(frames)}] {Path(frame.source).name}" if len(frames) > 1 else "")
            result = fitter.fit(frame)
            results.append(result)
            if not quiet:
                bars.clear()
                typer.echo(result.report())
    return results
