"""`hybridfit fit`: fit the frames in files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridfit.cli.console import Bars, command_line
from hybridfit.cli.files import check_outputs, open_all, open_library, pictures, usable, write
from hybridfit.cli.options import (
    AUTO,
    DEFAULT_LIBRARY,
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
    LibraryOrAuto,
    Mask,
    Offset,
    Posterior,
    Quiet,
    Report,
    SemiAngle,
    Shape,
    Sigma,
    assignment,
    pair,
    range_of,
    relative,
    semi_angle_of,
    sizes,
)
from hybridfit.cli.starting import quick_start
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.fitting.fitter import Fitter
    from hybridfit.fitting.result import FitResult
    from hybridfit.frame import Frame
    from hybridfit.io import BadFrame

WITHOUT = ("failed", "unusable", "unreadable")  # statuses without an answer


def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Frames, or stacks of frames.")],
    semi_angle: SemiAngle = None,
    library: LibraryOrAuto = DEFAULT_LIBRARY,
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
    bound: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LOW,HIGH", help="Other bounds of a parameter, such as blur=0,5."),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Fit what is held by default: semi_angle, vacuum, thickness_spread, tilt_spread.",
        ),
    ] = None,
    sigma: Sigma = None,
    vary: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Fit numbers of the crystal, too, by solving it again: B:Sr,B:O,z:O1,occ:La.",
        ),
    ] = None,
    together: Annotated[
        bool,
        typer.Option(
            "--together", help="With --vary: all patterns are of one crystal, and share its structure."
        ),
    ] = False,
    background: Background = "radial",
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
    report_path: Report = None,
    hint_thickness: HintThickness = None,
    hint_tilt: HintTilt = None,
    hint_centre: HintCentre = None,
    hint_scale: HintScale = None,
    hint_rotation: HintRotation = None,
    posterior: Posterior = None,
    gain: Gain = None,
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
    and the structural parameters of the library: see hybridfit library show. Held unless they are freed:
    semi_angle, vacuum, thickness_spread, tilt_spread.
    Of several patterns, one that cannot be fitted does not stop the others: its status is unusable, or
    unreadable.
    With --vary, B (Å²), coordinates (fractions of the cell) and occupancies of the CIF are fitted, too;
    patterns of different thickness and tilt, fitted --together, determine them best.
    The exit code is 0 when every pattern has an answer, whatever its status; 1 when one has none.
    """
    fixed = dict(assignment(text) for text in fix or ())
    bounds = dict(range_of(text) for text in bound or ())
    sigmas = dict(relative(text) for text in sigma or ())
    tilt = pair(hint_tilt, "hint-tilt", "X,Y in mrad, such as 1.3,-0.7")
    centre = pair(hint_centre, "hint-centre", "COL,ROW in px, such as 131.4,121.8")
    whole = sizes(shape)

    with quick_start():
        from hybridfit.fitting.assumptions import checked_sigma
        from hybridfit.fitting.hints import Hints
        from hybridfit.fitting.settings import check_gain, check_method, check_semi_angle
        from hybridfit.library.store import check_parameters
        from hybridfit.model import AVERAGING, PARAMETERS
        from hybridfit.pattern import background as backgrounds

        if vary is not None:
            from hybridfit.fitting.vary.names import parsed
            from hybridfit.fitting.vary.structure import check_vary

            check_vary(parsed(vary), library)
        elif together:
            raise InputError(
                "--together goes with --vary, such as --vary B:Sr,B:O: frames share nothing else"
            )
        check_method(method)
        if semi_angle is not None:
            check_semi_angle(semi_angle)
        check_gain(gain)
        if posterior is not None and json_path is None:
            raise InputError("--posterior writes into the file of --json; give one, such as --json out.json")
        checked_sigma(sigmas)
        backgrounds.check(background)
        asked = (*fixed, *bounds, *(free or ()))
        if library != AUTO:
            check_parameters(asked, (*PARAMETERS, *AVERAGING), library, fixed)
        hints = Hints(
            thickness=hint_thickness, tilt=tilt, centre=centre, scale=hint_scale, rotation=hint_rotation
        )
        opened = open_all(files, mask=mask, dataset=dataset, shape=whole, dtype=dtype, offset=offset)
        count = sum(len(file) for file in opened)
        frames: Iterator[Frame | BadFrame] = (item for file in opened for item in file)
        if count == 1:  # an error in it is found before a library is built
            frames = iter([usable(next(frames))])
        if semi_angle is None:
            first = next(frames)
            frames = chain([first], frames)
            semi_angle = semi_angle_of(first.source, getattr(first, "calibration", {}))
            check_semi_angle(semi_angle)
        plots = [] if plot_path is None else pictures(plot_path, count)
    if report_path is not None:
        from hybridfit.report.page import check_report_path

        check_report_path(report_path)
    outputs = [*plots, *(path for path in (json_path, report_path) if path is not None)]
    check_outputs(
        outputs,
        inputs=[*files, mask, library, weights],
        json=json_path,
    )
    if library == AUTO:
        first = usable(next(frames))
        frames = chain([first], frames)
        about = {"background": background, "hints": hints, "flip": flip}
        library = identified(first, semi_angle, quiet, **about)
        check_parameters(asked, (*PARAMETERS, *AVERAGING), library, fixed)
    answers, fitter = _fit_all(
        frames,
        count,
        library,
        quiet,
        semi_angle=semi_angle,
        hints=hints,
        flip=flip,
        method=method,
        network=weights,
        background=background,
        fix=fixed,
        free=free or (),
        bounds=bounds,
        gain=gain,
        sigma=sigmas,
        whole_curve=bool(plots) or report_path is not None,
        vary=vary,
        together=together,
    )
    found = [
        (path, answer) for path, answer in zip(plots, answers, strict=False) if not isinstance(answer, dict)
    ]
    objects = [answer if isinstance(answer, dict) else _object(answer, posterior) for answer in answers]
    if together:
        for each in objects:
            each["together"] = [other["file"] for other in objects]
    report = None if report_path is None else (report_path, _report(answers, fitter, weights))
    write(found, json=None if json_path is None else (json_path, objects), report=report)
    if not quiet and (found or json_path or report_path):
        written = [*(path for path, _ in found), *outputs[len(plots) :]]
        typer.echo(f"Written: {', '.join(str(path) for path in written)}")
    if any(answer["status"] in WITHOUT for answer in objects):
        raise typer.Exit(1)


def identified(frame: Frame, semi_angle: float, quiet: bool, **options: Any) -> str:
    """The library that a frame shows, of those that are built; it is said on stderr.

    Raises
    ------
    InputError
        The frame shows none of them, or no library is built.
    """
    with Bars(quiet) as bars:
        bars.start("identify")
        from hybridfit.identification.identifier import Identifier
        from hybridfit.identification.suggest import of_any_crystal

        about = of_any_crystal(options)
        found = Identifier(semi_angle, progress=bars.show, mirror=False, **about).identify(frame)
    if found.answer is None:
        raise InputError(f"{found.source}: {found.message} Name a library (--library), or build one")
    if not quiet:
        typer.echo(f"hybridfit: library {found.answer}. {found.message}", err=True)
    return found.answer


def _report(answers: list[FitResult | dict[str, Any]], fitter: Fitter, weights: Path | None) -> str:
    """The report of all answers."""
    from hybridfit.report import Origin, fit_report

    network = "" if weights is None else str(weights)
    about = Origin(fitter.settings, fitter.library, network=network, command=command_line())
    return fit_report(answers, about)


def _object(answer: FitResult, posterior: int | None) -> dict[str, Any]:
    """The JSON of an answer, with so many samples of its posterior where it has error bars."""
    from hybridfit.fitting.modes import samples_json

    out = answer.to_json()
    if posterior is not None:
        out["posterior"] = samples_json(answer.posterior(posterior)) if answer.modes else None
    return out


def _fit_all(
    frames: Iterator[Frame | BadFrame],
    count: int,
    library: str,
    quiet: bool,
    *,
    vary: str | None = None,
    together: bool = False,
    **options: Any,
) -> tuple[list[FitResult | dict[str, Any]], Fitter]:
    """Fit every frame, and print each report at once; without an answer, the JSON that says why."""
    answers: list[FitResult | dict[str, Any]] = []
    with Bars(quiet) as bars:
        with quick_start():
            from hybridfit.fitting.fitter import Fitter
            from hybridfit.fitting.result import FitResult
            from hybridfit.identification.suggest import DOUBTFUL, Others, of_any_crystal, with_suggestion
            from hybridfit.io import BadFrame

            opened = open_library(library, bars)
            if vary is not None:
                from hybridfit.cli.structure import fit_structure

                return fit_structure(frames, count, opened, vary, together, bars, quiet, **options)
            fitter = Fitter(opened, progress=bars.show, **options)
        said = False  # of the first poor match alone: other libraries take seconds
        for i, frame in enumerate(frames):
            bars.start(f"[{i + 1}/{count}] {Path(frame.source).name}" if count > 1 else "")
            try:
                if isinstance(frame, BadFrame):
                    raise frame.error
                answer: FitResult | dict[str, Any] = fitter.fit(frame)
            except InputError as error:
                if count == 1:
                    raise
                status = frame.status if isinstance(frame, BadFrame) else "unusable"
                answer = {
                    "file": frame.source,
                    "method": fitter.method,
                    "status": status,
                    "message": str(error),
                }
            if not said and isinstance(answer, FitResult) and answer.status in DOUBTFUL:
                assert not isinstance(frame, BadFrame)
                said = True
                others = Others(opened, fitter.semi_angle, progress=bars.show, **of_any_crystal(options))
                answer = with_suggestion(answer, others.sentence(frame))
            answers.append(answer)
            bars.clear()
            if isinstance(answer, dict):
                typer.echo(f"{answer['status']}: {answer['message']}", err=True)
            elif not quiet:
                typer.echo(answer.report())
    return answers, fitter
