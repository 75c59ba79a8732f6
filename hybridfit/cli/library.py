"""`hybridfit library`: build, show and list what frames are fitted with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridfit.cli.console import Bars, add_rows, new_table, print_table
from hybridfit.cli.files import check_outputs, megabytes
from hybridfit.cli.options import LIBRARY_HELP, Quiet
from hybridfit.errors import InputError, LibraryError

if TYPE_CHECKING:
    from hybridfit.library.recipe import Recipe

app = typer.Typer(
    help="Build, show and list simulation libraries.", rich_markup_mode=None, add_completion=False
)


@app.callback(invoke_without_command=True)
def _libraries(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(metavar="NAME|RECIPE.toml", help="What to simulate.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.nc", help="By default the user cache.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps …")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Solve a recipe and keep the library."""
    if output is not None:
        if output.suffix != ".nc":
            raise InputError(f"{output}: libraries are written as .nc, and opened by that suffix; name it so")
        check_outputs([output], inputs=[recipe])
    _check_device(device)

    from hybridfit.library.build import solve_into
    from hybridfit.library.library import Library

    known = _recipe(recipe)
    target = output or Library.cached_path(recipe, known)
    with Bars(quiet) as bars:
        bars.start(f"library {Path(recipe).stem}")
        solve_into(target, known, device=device, progress=lambda fraction: bars.show("build", fraction))
    if not quiet:
        library = Library.open(target)
        typer.echo(f"{library!r} is in {target} ({megabytes(target)})")
        library.close()


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE", help=LIBRARY_HELP)]) -> None:
    """Print what a library, or a recipe, covers."""
    import json

    from hybridfit.library.library import Library
    from hybridfit.library.plan import estimate
    from hybridfit.library.store import recipe_axes

    path, recipe = Path(name), None
    if path.suffix != ".nc":
        recipe = _recipe(name)
        path = Library.cached_path(name, recipe)
    table = new_table("", name)
    library, why = None, "no"
    if recipe is None or path.exists():
        try:
            library = Library.open(path)
        except LibraryError:
            if recipe is None:
                raise
            why = "no longer usable (damaged, or of an older hybridfit)"
    if library is None:
        assert recipe is not None
        values, axes = recipe.model_dump(mode="json"), recipe_axes(recipe)
        table.add_row("built", f"{why}: on first use, or by `hybridfit library build`")
        table.add_row("to build it, about", str(estimate(recipe)))
    else:
        data = library.dataset
        values, axes = json.loads(data.attrs["recipe"]), library.structure
        table.add_row("built", f"{path} ({megabytes(path)})")
        table.add_row("crystal", f"{data.attrs['crystal']}, unit cell {data.attrs['formula']}")
        if "assumed" in data.attrs:
            table.add_row("assumed", str(data.attrs["assumed"]))
        table.add_row("beams, directions", f"{data.sizes['beam']}, {data.sizes['direction']}")
        table.add_row("rotation symmetry", f"{library.rotation_order}-fold")
        if library.approximation is not None:
            table.add_row("thickness known to (nm)", f"{library.approximation:.2g}, by what it approximates")
        table.add_row("checksum", data.attrs["checksum"])
        library.close()
    thickness = values["thickness"]
    add_rows(table, {
        "cif": values.get("cif"),
        "zone axis": " ".join(map(str, values["zone"])),
        "x along": values["in_plane"] and " ".join(map(str, values["in_plane"])),
        "energy (kV)": values["energy_kv"],
        "thickness (nm)": f"{thickness['start']:g} … {thickness['stop']:g} in steps of {thickness['step']:g}",
        "semi-angle, at most (mrad)": values["semi_angle_max"],
        "tilt, at most (mrad)": values["tilt_max"],
        "longest beam (1/Å)": values["g_max"],
        "sampling (mrad)": values["sampling"],
        "HOLZ lines": "yes" if values.get("holz") else None,
    })  # fmt: skip
    for parameter, axis in axes.items():
        unit = "" if axis.unit == "1" else f" ({axis.unit})"
        table.add_row(f"{parameter}{unit}", f"{axis.listed}; {axis.kind}")
    print_table(table)


@app.command("list")
def list_() -> None:
    """List shipped recipes and the libraries in the cache."""
    from hybridfit.library.library import Library, cache_folder
    from hybridfit.library.recipe import description, shipped_names

    table = new_table("library", "what", "state", "file in the cache")
    listed = set()
    for name in shipped_names():
        path = Library.cached_path(name)
        listed.add(path)
        if path.exists():
            table.add_row(name, description(name), f"built, {megabytes(path)}", path.name)
        else:
            table.add_row(name, description(name), "built on first use", "")
    for path in sorted(cache_folder().glob("*.nc")):
        if path not in listed and not path.name.startswith("."):
            table.add_row(path.name.rsplit("-", 2)[0], "", f"built, {megabytes(path)}", path.name)
    print_table(table)
    typer.echo(f"The cache is {cache_folder()}")


def _recipe(name: str) -> Recipe:
    from hybridfit.library.recipe import Recipe

    if Path(name).suffix == ".nc":
        raise LibraryError(f"{name} is a library, not a recipe; name a shipped recipe or a .toml file")
    return Recipe.read(name) if Path(name).suffix == ".toml" else Recipe.shipped(name)


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
