"""`hybridfit new`: from a CIF to a recipe, a library, a network if asked for, and a test of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridfit.cli.console import Bars, new_table, print_table
from hybridfit.cli.files import check_outputs, megabytes, open_library
from hybridfit.cli.options import Quiet, finite, indices, pair, per_element
from hybridfit.cli.train import let_threads_wait, train_and_save
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.new.design import Design
    from hybridfit.new.tryout import Outcome
    from hybridfit.physics.crystal import Crystal


def new(
    cif: Annotated[Path, typer.Argument(metavar="CIF", help="The crystal structure.")],
    zone: Annotated[str, typer.Option(metavar="U,V,W", help="Zone axis, such as 1,1,0.")],
    energy: Annotated[float, typer.Option(parser=finite, metavar="KV", help="Accelerating voltage.")],
    semi_angle: Annotated[
        float, typer.Option(parser=finite, metavar="MRAD", help="Convergence semi-angle of the frames.")
    ],
    tilt: Annotated[
        float, typer.Option(parser=finite, metavar="MRAD", help="Largest tilt off the zone axis.")
    ] = 4.6,
    thickness: Annotated[
        str, typer.Option(metavar="LOW,HIGH", help="Thinnest and thickest specimen (nm).")
    ] = "1,100",
    in_plane: Annotated[
        str | None,
        typer.Option(metavar="H,K,L", help="Reciprocal vector along x; the shortest on a mirror by default."),
    ] = None,
    holz: Annotated[
        bool, typer.Option("--holz", help="With the lines of higher Laue zones: a library takes longer.")
    ] = False,
    debye_waller: Annotated[
        list[str] | None,
        typer.Option(metavar="EL=B", help="Debye–Waller factor B of an element (Å²), for that of the CIF."),
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data block of a CIF that holds several structures.")
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(parser=finite, metavar="M", help="Train a network of its own for so long; 0 for none."),
    ] = 0.0,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the files; by default crystal_zone_energy.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go; made if need be.")
    ] = Path("."),
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of that name.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a recipe and a library for a crystal, and test them.

    g_max, sampling and the thickness step are chosen by convergence; the recipe says why. Fits match the
    library with the frame. A network of its own, which --minutes trains, lies beside the recipe, where
    `hybridfit fit` and `hybridfit map` find it.
    """
    given = indices(zone, "zone", "U,V,W, such as 1,1,0, or U,V,T,W, such as 0,0,0,1")
    given_in_plane = None if in_plane is None else indices(in_plane, "in-plane", "H,K,L, such as 0,0,2")
    span = pair(thickness, "thickness", "LOW,HIGH in nm, such as 1,100") or (1.0, 100.0)
    if minutes < 0:
        raise InputError(f"--minutes {minutes:g} is no time; give 0 for no training, or more")
    factors = dict(per_element(text) for text in debye_waller or ())
    let_threads_wait()
    name = name or f"{cif.stem}_{''.join(map(str, given))}_{energy:g}kV"
    recipe, copy, weights = (output / file for file in (f"{name}.toml", cif.name, f"{name}.safetensors"))
    if Path(name).name != name or not Path(name).stem:
        raise InputError(f"--name {name!r} is no name for files; give one without slashes")

    from hybridfit.new import settings
    from hybridfit.new.design import Structure, check_values, design
    from hybridfit.physics.miller import is_hexagonal, weber
    from hybridfit.physics.projection import project

    check_values(energy, semi_angle, tilt, span)
    structure = Structure(cif, block, factors)
    crystal = structure.crystal()
    axis, reference = _three(crystal, given, given_in_plane)
    project(crystal, axis, reference)
    _check_folder(output, [recipe, weights] if minutes else [recipe], cif, copy, force)

    for note in crystal.notes:
        typer.echo(f"hybridfit: {cif.name}: {note}", err=True)
    if is_hexagonal(crystal.cell):
        three, four = (" ".join(map(str, each)) for each in (axis, weber(axis)))
        typer.echo(f"hybridfit: zone axis [{three}] in three indices, [{four}] in four", err=True)
    with Bars(quiet) as bars:
        bars.start("convergence")
        chosen = design(
            structure,
            axis,
            energy_kv=energy,
            semi_angle=semi_angle,
            tilt_max=tilt,
            thickness=span,
            in_plane=reference,
            holz=holz,
            settings=settings.DESIGN,
            progress=lambda fraction: bars.show("", fraction),
        )
        _write(chosen, cif, recipe, copy)
        if not quiet:
            bars.clear()
            _print_design(chosen, recipe)
        _warn(chosen)  # now, before the long part, and at the end, where it is read
        library = open_library(str(recipe), bars)
    if not quiet:
        typer.echo(
            f"{library!r} is in {library.cached_path(recipe)} ({megabytes(library.cached_path(recipe))})"
        )
    network = None
    if minutes:
        from hybridfit.network.state import Plan

        angles = (settings.TRYOUT.trained_from * semi_angle, library.semi_angle_max)
        plan = Plan(minutes=minutes, semi_angle=angles)
        network = train_and_save(library, plan, weights, device=device, quiet=quiet)

    from hybridfit.new.tryout import try_out

    with Bars(quiet) as bars:
        bars.start("simulated frames")
        count = settings.TRYOUT.frames if network is not None else settings.TRYOUT.frames_alone
        outcome = try_out(library, semi_angle, network=network, count=count, progress=bars.show)
    if not quiet:
        _print_outcome(outcome)
        words = ["hybridfit", "fit", "FRAME", "--semi-angle", f"{semi_angle:g}", "--library", str(recipe)]
        typer.echo(f"Next: {shlex.join(words)}")
    _warn(chosen)


def _three(
    crystal: Crystal, zone: tuple[int, ...], in_plane: tuple[int, ...] | None
) -> tuple[tuple[int, int, int], tuple[int, int, int] | None]:
    """Zone axis and in-plane vector in three indices; four are for hexagonal axes."""
    from hybridfit.physics.miller import direction_of, is_hexagonal, plane_of

    if 4 in (len(zone), len(in_plane or ())) and not is_hexagonal(crystal.cell):
        raise InputError("four indices are for hexagonal axes, and this crystal has others; give three")
    try:
        axis = direction_of(zone) if len(zone) == 4 else (zone[0], zone[1], zone[2])
        if in_plane is None:
            return axis, None
        return axis, plane_of(in_plane) if len(in_plane) == 4 else (in_plane[0], in_plane[1], in_plane[2])
    except ValueError as error:
        raise InputError(f"{error}; give [U V T W] with T = −(U + V), or three indices") from None


def _check_folder(folder: Path, targets: list[Path], cif: Path, copy: Path, force: bool) -> None:
    """Raise an InputError now for files that could not be written, or would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror}); choose another") from None
    for target in targets:
        if target.exists() and not force:
            raise InputError(f"{target} exists; give another --name or -o, or --force to overwrite it")
    elsewhere = not (copy.exists() and copy.samefile(cif))
    if elsewhere and copy.exists() and copy.read_bytes() != cif.read_bytes() and not force:
        raise InputError(f"{copy} exists and is another CIF; give another -o, or --force to overwrite it")
    check_outputs([*targets, copy] if elsewhere else targets, inputs=[cif])


def _write(chosen: Design, cif: Path, recipe: Path, copy: Path) -> None:
    """The recipe, and the CIF beside it."""
    from hybridfit.io import atomic_path

    content = cif.read_bytes()
    if not (copy.exists() and copy.samefile(cif)):
        with atomic_path(copy) as temporary:
            temporary.write_bytes(content)
    with atomic_path(recipe) as temporary:
        temporary.write_text(chosen.toml(), encoding="utf-8")


def _print_design(chosen: Design, recipe: Path) -> None:
    """What was decided and why."""
    why = chosen.reasons()
    table = new_table(str(recipe), "", "why")
    table.add_row("in_plane", " ".join(map(str, chosen.in_plane)), why["in_plane"])
    values = {"g_max": chosen.g_max, "sampling": chosen.sampling, "step": chosen.thickness[2]}
    for what, value in values.items():
        table.add_row(what, f"{value:g}", why[what])
    table.add_row("in all", "", why["size"])
    print_table(table)


def _warn(chosen: Design) -> None:
    """Say on stderr, also where the rest is quiet, what has not converged."""
    for sentence in chosen.warnings():
        typer.echo(f"hybridfit: {sentence}", err=True)


def _print_outcome(outcome: Outcome) -> None:
    """How the test went."""
    table = new_table(f"{outcome.count} simulated frames", "right")
    asked = {
        "size": "network: size within 2 %",
        "centre": "network: centre within 2 % of the radius",
        "thickness": "network: thickness within 3 nm",
        "tilt": "network: tilt within 1 mrad",
    }
    for what, number in outcome.network.items():
        table.add_row(asked[what], str(number))
    table.add_row("fit: within 0.5 nm and 0.1 mrad", str(outcome.fits))
    table.add_row("fit: how", ", ".join(f"{number} {route}" for route, number in outcome.routes.items()))
    table.add_row("fit: median time (s)", f"{outcome.seconds:.2f}")
    print_table(table)
