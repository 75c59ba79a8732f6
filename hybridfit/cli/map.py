"""`hybridfit map`: thickness and tilt at every position of a 4D-STEM scan."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridfit.cli.console import LiveLine, command_line, new_table, print_table, saying
from hybridfit.cli.files import check_outputs
from hybridfit.cli.options import (
    DEFAULT_LIBRARY,
    Background,
    Dataset,
    Dtype,
    Flip,
    HintRotation,
    LibraryName,
    Mask,
    Offset,
    Quiet,
    Report,
    SemiAngle,
    Sigma,
    assignment,
    finite,
    numbers,
    range_of,
    relative,
    semi_angle_of,
)
from hybridfit.cli.starting import quick_start
from hybridfit.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from hybridfit.scan.run import MapReport

ROI = re.compile(r"(\d+):(\d+),(\d+):(\d+)")


def map_command(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="A 4D-STEM scan.")],
    semi_angle: SemiAngle = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The map to write (.nc).")
    ] = Path("map.nc"),
    library: LibraryName = DEFAULT_LIBRARY,
    method: Annotated[
        str,
        typer.Option(metavar="NAME", help="hybrid: network, then least squares; lsf: full search; cnn."),
    ] = "hybrid",
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A network of your own (.safetensors).")
    ] = None,
    average: Annotated[
        int, typer.Option(metavar="N", min=1, help="Fit the mean of N × N positions: at least a unit cell.")
    ] = 1,
    roi: Annotated[
        str | None, typer.Option(metavar="Y0:Y1,X0:X1", help="These rows and columns of the scan only.")
    ] = None,
    bin: Annotated[int, typer.Option(metavar="N", min=1, help="Bin the frames first.")] = 1,
    mask: Mask = None,
    step: Annotated[
        float | None,
        typer.Option(parser=finite, metavar="NM", help="Between positions of the scan."),
    ] = None,
    field: Annotated[
        bool, typer.Option("--field", help="Add the electric field (V/nm) that deflects the beam.")
    ] = False,
    scan_rotation: Annotated[
        float | None,
        typer.Option(parser=finite, metavar="DEG", help="From the camera's columns to the scan's x."),
    ] = None,
    flip: Flip = False,
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Hold a parameter: scale=5.4 where that is known."),
    ] = None,
    bound: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LOW,HIGH", help="Other bounds of a parameter, such as blur=0,5."),
    ] = None,
    free: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Fit what is fixed by default: semi_angle.")
    ] = None,
    common: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Found once for all positions: names with commas between them, or none."
        ),
    ] = "scale,rotation,ellipticity_a,ellipticity_b",
    hint_rotation: HintRotation = None,
    sigma: Sigma = None,
    background: Background = "radial",
    dataset: Dataset = None,
    scan_shape: Annotated[
        str | None, typer.Option(metavar="ROWS,COLS", help="Positions, where the file is a plain stack.")
    ] = None,
    skip: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Frames before the first position; 0: only drop the last."),
    ] = None,
    flyback: Annotated[
        int, typer.Option(metavar="N", min=0, help="Frames after every row that are no positions.")
    ] = 0,
    shape: Annotated[
        str | None, typer.Option(metavar="[NY,NX,]ROWS,COLS", help="Raw files: shape of the array.")
    ] = None,
    dtype: Dtype = None,
    offset: Offset = 0,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes; all cores else.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A dask scheduler: tcp://HOST:8786.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of the work: auto, cpu or cuda.")] = "auto",
    plot_path: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the map: .png, .pdf or .svg.")
    ] = None,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table, one row a position.")
    ] = None,
    report_path: Report = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Only put together what is done so far.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Map thickness and tilt over a 4D-STEM scan.

    What is done is kept beside the map while the run lasts: stopped by whatever, the same command goes
    on where it was.
    """
    if output.suffix != ".nc":
        raise InputError(f"{output} cannot hold a map; give a name that ends in .nc")
    region = _region(roi)
    fixed = dict(assignment(text) for text in fix or ())
    bounds = dict(range_of(text) for text in bound or ())
    sigmas = dict(relative(text) for text in sigma or ())
    names = () if common.strip() == "none" else tuple(name.strip() for name in common.split(","))
    positions = None if scan_shape is None else _sizes(scan_shape, "scan-shape", (2,))
    whole = None if shape is None else _sizes(shape, "shape", (2, 3, 4))
    if plot_path is not None:
        from hybridfit.plot import check_suffix

        check_suffix(plot_path)
    if report_path is not None:
        from hybridfit.report.page import check_report_path

        check_report_path(report_path)
    outputs = [path for path in (report_path, plot_path, csv_path, output) if path is not None]
    check_outputs(outputs, inputs=[scan, mask, library, weights], csv=csv_path)

    with quick_start():
        from hybridfit.io import open_scan, read_mask
        from hybridfit.scan.maps import map_scan

    opening: dict[str, Any] = {
        "dataset": dataset,
        "scan_shape": positions,
        "shape": whole,
        "dtype": dtype,
        "offset": offset,
        "skip": skip,
        "flyback": flyback,
    }
    file = open_scan(scan, **opening)
    if semi_angle is None:
        semi_angle = semi_angle_of(scan, file.calibration)
    if file.note:
        typer.echo(f"hybridfit: {scan}: {file.note}", err=True)
    line = LiveLine(quiet, "reading")
    parts = Path(f"{output}.parts")

    def left() -> str:
        return f"what is done is kept in {parts}, and the same command goes on" if parts.exists() else ""

    with line, saying(left):
        found = map_scan(
            file,
            library,
            semi_angle=semi_angle,
            output=output,
            method=method,
            network=weights,
            background=background,
            fix=fixed,
            bounds=bounds,
            sigma=sigmas,
            free=free or (),
            common=names,
            hint_rotation=hint_rotation,
            average=average,
            roi=region,
            mask=None if mask is None else read_mask(mask),
            bin=bin,
            step_nm=step,
            field=field,
            scan_rotation=scan_rotation,
            flip=flip,
            **opening,
            workers=workers,
            scheduler=scheduler,
            device=device,
            partial=partial,
            progress=lambda report: line.show(report.done / report.total, words(report), report.seconds),
        )
    draw_and_write(found, plot_path, csv_path, report_path)
    if not quiet:
        print_summary(found)
        typer.echo(f"Written: {', '.join(str(path) for path in reversed(outputs))}")


def words(report: MapReport) -> str:
    """How a map stands, in a line."""
    left = report.seconds_left
    clock = "" if math.isnan(left) else f", {int(left) // 60}:{int(left) % 60:02d} left"
    return (
        f"{report.stage}: {report.done} of {report.total}, {report.per_second:.1f}/s{clock} · "
        f"{100 * report.poor:.0f} % poor"
    )


def draw_and_write(
    found: xr.Dataset, plot_path: Path | None, csv_path: Path | None, report_path: Path | None = None
) -> None:
    """The picture, the table and the report of a map, where they are wanted."""
    if csv_path is not None:
        from hybridfit.scan.export import write_csv

        write_csv(found, csv_path)
    if plot_path is not None:
        from hybridfit.plot.maps import plot_map

        plot_map(found, plot_path)
    if report_path is not None:
        from hybridfit.report import Origin, map_report, write_report

        write_report(report_path, map_report(found, Origin(command=command_line())))


def print_summary(found: xr.Dataset) -> None:
    """What a map says, in a few lines."""
    import numpy as np

    from hybridfit.flags import map_status, structural
    from hybridfit.quantities import quantity

    table = new_table("", "median", "5 … 95 %", "median error", "")
    errors = {name: f"{name}_stderr" for name in ("thickness", "tilt_x", "tilt_y", "tilt_magnitude")}
    shares = []
    for name, sure in (errors | structural(found)).items():
        values = found[name].values[np.isfinite(found[name].values)]
        error = found[sure].values
        if values.size and sure.endswith("_stderr"):
            form = f".{quantity(name).digits}f" if name in errors else ".3g"
            low, middle, high = (f"{v:{form}}" for v in np.percentile(values, [5, 50, 95]))
            known = f"{np.nanmedian(error):.2g}" if np.isfinite(error).any() else ""
            unit = quantity(name, found[name].attrs["units"]).unit
            table.add_row(name, middle, f"{low} … {high}", known, unit)
        elif values.size:
            found_at = [f"{(values == v).sum()} at {v:g}" for v in np.unique(values)]
            known = f", median odds {np.nanmedian(error):.1%}" if np.isfinite(error).any() else ""
            shares.append(f"{name}: {', '.join(found_at)}{known}")
    ny, nx = found["thickness"].shape
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in map_status(found).items())
    typer.echo(f"{found.attrs['library']}, {ny} × {nx} positions: {counts}")
    print_table(table)
    if "source_note" in found.attrs:
        typer.echo(found.attrs["source_note"])
    for line in shares:
        typer.echo(line)


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    found = ROI.fullmatch(text.replace(" ", ""))
    if found is None:
        raise InputError(f"--roi {text!r} is no region; give rows and columns, such as 0:64,10:74")
    top, bottom, left, right = (int(part) for part in found.groups())
    return top, bottom, left, right


def _sizes(text: str, option: str, counts: tuple[int, ...]) -> Any:
    wanted = "ROWS,COLS, such as 64,64" if counts == (2,) else "ROWS,COLS or NY,NX,ROWS,COLS"
    return tuple(int(size) for size in numbers(text, option, wanted, counts))
