"""`hybridfit show`: what a map says, and the fit of any of its positions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridfit.cli.console import command_line
from hybridfit.cli.files import check_outputs, pictures, write
from hybridfit.cli.map import draw_and_write, print_summary
from hybridfit.cli.options import Report, numbers
from hybridfit.errors import InputError


def show(
    path: Annotated[Path, typer.Argument(metavar="MAP", help="A map (.nc), from hybridfit map.")],
    at: Annotated[
        str | None, typer.Option(metavar="Y,X", help="Fit this position again, and draw that.")
    ] = None,
    plot_path: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the map, or the fit: .png, .pdf or .svg."),
    ] = None,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table, one row a position.")
    ] = None,
    report_path: Report = None,
) -> None:
    """Say what is in a map; draw it, or the fit of one position."""
    if at is not None and csv_path is not None:
        raise InputError("--csv is a table of the whole map; leave out --at")
    if report_path is not None:
        from hybridfit.report.page import check_report_path

        check_report_path(report_path)
    plots = [] if plot_path is None else pictures(plot_path, 1)
    outputs = [*plots, *(path for path in (csv_path, report_path) if path is not None)]
    check_outputs(outputs, inputs=[path], csv=csv_path)

    from hybridfit.scan.maps import fit_at, read_map

    found = read_map(path)
    if at is None:
        print_summary(found)
        draw_and_write(found, plot_path, csv_path, report_path)
    else:
        y, x = numbers(at, "at", "Y,X, such as 12,40: a row and a column of the map", (2,))
        if y % 1 or x % 1:
            raise InputError(f"--at {at} is no position; give a row and a column, such as 12,40")
        result = fit_at(found, int(y), int(x))
        typer.echo(result.report())
        report = None
        if report_path is not None:
            from hybridfit.report import Origin, fit_report

            report = (report_path, fit_report(result, Origin(command=command_line())))
        write([(plot, result) for plot in plots], report=report)
    if outputs:
        typer.echo(f"Written: {', '.join(str(path) for path in outputs)}")
