"""`hybridfit identify`: which crystal, zone axis and polarity a frame shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridfit.cli.console import Bars, new_table, print_table
from hybridfit.cli.files import check_outputs, open_all, pictures, usable, write_identified
from hybridfit.cli.options import (
    Background,
    Dataset,
    Dtype,
    HintCentre,
    HintRotation,
    HintScale,
    Mask,
    Offset,
    Quiet,
    SemiAngle,
    Shape,
    pair,
    semi_angle_of,
    sizes,
)
from hybridfit.cli.starting import quick_start
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.frame import Frame
    from hybridfit.identification.answer import Identification, Match
    from hybridfit.io import BadFrame

SHOWN = 6  # rows of the table


def identify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Frames, or stacks of frames.")],
    semi_angle: SemiAngle = None,
    among: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Compare with this library, built if need be; may be given several times. By default all "
            "that are built.",
        ),
    ] = None,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Compare with all shipped libraries; missing ones are built: minutes."),
    ] = False,
    no_mirror: Annotated[
        bool, typer.Option("--no-mirror", help="The camera is known not to mirror its frames.")
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
            "--plot",
            metavar="FILE",
            help="Draw the frame and the likeliest three fits: .png, .pdf or .svg; several are numbered.",
        ),
    ] = None,
    hint_centre: HintCentre = None,
    hint_scale: HintScale = None,
    hint_rotation: HintRotation = None,
    mask: Mask = None,
    dataset: Dataset = None,
    shape: Shape = None,
    dtype: Dtype = None,
    offset: Offset = 0,
    quiet: Quiet = False,
) -> None:
    """Say which library patterns show, or that they show none of them.

    Libraries are ranked by odds: crystal, zone axis, polarity, and whether the camera mirrors its frames.
    A library whose semi-angle or energy cannot be that of the frame is named, and left out.
    The first frame of a semi-angle takes seconds a library more, for templates that are kept.
    The exit code is 0 when every pattern has an answer, "none of these" included; 1 when one has none.
    """
    if among and all_:
        raise InputError("--among and --all exclude each other; give one of them")
    centre = pair(hint_centre, "hint-centre", "COL,ROW in px, such as 131.4,121.8")
    whole = sizes(shape)
    with quick_start():
        from hybridfit.fitting.hints import Hints
        from hybridfit.fitting.settings import check_semi_angle
        from hybridfit.pattern import background as backgrounds

        if semi_angle is not None:
            check_semi_angle(semi_angle)
        backgrounds.check(background)
        hints = Hints(centre=centre, scale=hint_scale, rotation=hint_rotation)
        opened = open_all(files, mask=mask, dataset=dataset, shape=whole, dtype=dtype, offset=offset)
        count = sum(len(file) for file in opened)
        frames: Iterator[Frame | BadFrame] = (item for file in opened for item in file)
        if count == 1:  # an error in it is found before a library is built
            frames = iter([usable(next(frames))])
        plots = [] if plot_path is None else pictures(plot_path, count)
    outputs = [*plots, *([json_path] if json_path is not None else [])]
    check_outputs(outputs, inputs=[*files, mask, *(among or ())], json=json_path)
    names = _names(among, all_)
    answers = _identify_all(
        frames, count, names, semi_angle, quiet, mirror=not no_mirror, background=background, hints=hints
    )
    found = [(p, a) for p, a in zip(plots, answers, strict=False) if not isinstance(a, dict)]
    objects = [answer if isinstance(answer, dict) else answer.to_json() for answer in answers]
    write_identified(found, json=None if json_path is None else (json_path, objects))
    if not quiet and (found or json_path):
        typer.echo(f"Written: {', '.join(str(p) for p in [*(p for p, _ in found), *outputs[len(plots) :]])}")
    if any(isinstance(answer, dict) for answer in answers):
        raise typer.Exit(1)


def _names(among: list[str] | None, all_: bool) -> list[str] | None:
    """The libraries that are asked for; None for all that are built."""
    if not all_:
        return among or None
    from hybridfit.identification.known import built_names
    from hybridfit.library.recipe import shipped_names

    return list(dict.fromkeys([*shipped_names(), *built_names()]))


def _identify_all(
    frames: Iterator[Frame | BadFrame],
    count: int,
    among: list[str] | None,
    semi_angle: float | None,
    quiet: bool,
    **options: Any,
) -> list[Identification | dict[str, Any]]:
    """Identify every frame, and print each answer at once; without one, the JSON that says why."""
    answers: list[Identification | dict[str, Any]] = []
    with Bars(quiet) as bars:
        with quick_start():
            from hybridfit.identification.identifier import Identifier
            from hybridfit.io import BadFrame

        made: dict[float, Identifier] = {}
        for i, frame in enumerate(frames):
            bars.start(f"[{i + 1}/{count}] {Path(frame.source).name}" if count > 1 else "")
            try:
                if isinstance(frame, BadFrame):
                    raise frame.error
                angle = semi_angle or semi_angle_of(frame.source, frame.calibration)
                if angle not in made:
                    made[angle] = Identifier(angle, among, progress=bars.show, **options)
                answer: Identification | dict[str, Any] = made[angle].identify(frame)
            except InputError as error:
                if count == 1:
                    raise
                status = frame.status if isinstance(frame, BadFrame) else "unusable"
                answer = {"file": frame.source, "status": status, "message": str(error)}
            answers.append(answer)
            bars.clear()
            if isinstance(answer, dict):
                typer.echo(f"{answer['status']}: {answer['message']}", err=True)
            elif not quiet:
                _print(answer)
    return answers


def _print(answer: Identification) -> None:
    """The table of the likeliest libraries, and the answer."""
    table = new_table("library", "odds", "nm", "tilt (mrad)", "residual", "left", "")
    shown = [match for match in answer.matches if match.refined][:SHOWN]
    for match in shown:
        table.add_row(match.name, percent(match.probability), *_numbers(match), match.also)
    table.add_row("none of these", percent(answer.none), "", "", "", "", "")
    print_table(table)
    others = len(answer.matches) - len(shown)
    if others:
        typer.echo(f"{others} more {'libraries fit' if others > 1 else 'library fits'} worse.")
    reasons: dict[str, list[str]] = {}
    for left in answer.left:
        reasons.setdefault(left.why, []).append(left.name)
    for why, names in reasons.items():
        typer.echo(f"Not compared: {', '.join(names)}: {why}.")
    typer.echo(f"{answer.source}: {answer.message}")


def _numbers(match: Match) -> tuple[str, ...]:
    tilt = f"{match.tilt_x:.2f}, {match.tilt_y:.2f}"
    known = match.structure_left == match.structure_left
    left = f"{max(match.structure_left, 0):.0%}" if known else "–"
    return f"{match.thickness:.1f}", tilt, f"{match.residual_fraction:.2%}", left


def percent(share: float) -> str:
    """A probability for a table."""
    if share > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
