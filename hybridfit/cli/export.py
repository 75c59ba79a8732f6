"""`hybridfit export`: a map for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridfit.cli.files import check_outputs
from hybridfit.cli.options import Quiet, finite
from hybridfit.errors import InputError


def export(
    path: Annotated[Path, typer.Argument(metavar="MAP", help="A map (.nc), from hybridfit map.")],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="hyperspy, py4dstem, ptyrad, csv or tiff.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="What to write; for tiff a stack (.tif), or a folder."
        ),
    ],
    slice_nm: Annotated[
        float | None,
        typer.Option("--slice", parser=finite, metavar="NM", help="ptyrad: thickness of a slice; 1 nm else."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a map for another program.

    hyperspy: signals in one .hspy file. py4dstem: arrays of an EMD file (.h5). ptyrad: slices, tilts and
    calibration as starting values of a reconstruction (.yaml, and tilts beside it). tiff: 32-bit floats with
    the size of a pixel, for ImageJ and others. csv: a row for every position.
    """
    from hybridfit.scan.export import checked_path, export_map
    from hybridfit.scan.maps import read_map

    if slice_nm is not None and to != "ptyrad":
        raise InputError("--slice is of --to ptyrad; leave it out")
    output = checked_path(to, output)
    if output.suffix:
        check_outputs([output], inputs=[path], csv=output if to == "csv" else None)
    options = {} if slice_nm is None else {"slice_nm": slice_nm}
    written = export_map(read_map(path), to, output, **options)
    if not quiet:
        some = written if len(written) < 4 else [*written[:2], Path(f"… ({len(written)} files)")]
        typer.echo(f"Written: {', '.join(str(file) for file in some)}")
