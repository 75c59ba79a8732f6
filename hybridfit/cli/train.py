"""The command `train`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridfit.cli.console import LiveLine, saying
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.library.library import Library
    from hybridfit.network.state import Plan
    from hybridfit.network.training import Report
    from hybridfit.network.weights import Network

DEFAULT_MINUTES = 60.0


def train(
    library: Annotated[str, typer.Argument(metavar="LIBRARY", help="A shipped library, a .nc or a .toml.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Weights to write (.safetensors).")
    ],
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help=f"How long; {DEFAULT_MINUTES:g} by default.")
    ] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="How much, instead of how long.")] = None,
    semi_angles: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="mrad; 60 to 100 % of the library's largest by default."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Go on from a checkpoint, FILE.checkpoint.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train the network of a library.

    A checkpoint is kept beside the weights while the training runs, and a figure of its course (.png)
    is drawn at the end. An hour on a CPU gives a useful network.
    """
    if output.suffix != ".safetensors":
        raise InputError(f"{output} cannot hold weights; give a name that ends in .safetensors")
    if minutes is not None and samples is not None:
        raise InputError("--minutes and --samples are both a budget; give one of them")
    if minutes is None and samples is None:
        minutes = DEFAULT_MINUTES
    angles = _pair(semi_angles)
    check_folder(output)
    let_threads_wait()

    from hybridfit.library.library import Library
    from hybridfit.network.state import Plan, check_checkpoint

    if resume is not None:
        check_checkpoint(resume)
    plan = Plan(minutes=minutes, samples=samples, seed=seed, semi_angle=angles)
    train_and_save(Library.open(library), plan, output, device=device, resume=resume, quiet=quiet)


def let_threads_wait() -> None:
    """Waiting threads that spin would take the cores from those that work; read when torch starts."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def train_and_save(
    library: Library,
    plan: Plan,
    output: Path,
    *,
    device: str = "auto",
    resume: Path | None = None,
    quiet: bool = False,
) -> Network:
    """Train with a live line, and write weights, checkpoint and figure."""
    from hybridfit.network.curve import save_curve
    from hybridfit.network.training import train

    checkpoint = output.with_suffix(".checkpoint")
    line = LiveLine(quiet, "composing the first patterns")
    with line, saying(how_to_go_on(checkpoint)):
        network = train(
            library,
            plan,
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            progress=lambda report: line.show(report.fraction, _line(report), report.seconds),
        )
        network.save(output)
        save_curve(network.origin.record, output.with_suffix(".png"))
    if not quiet:
        record = network.origin.record
        numbers = record["held_back"]
        typer.echo(
            f"{output}: {record['samples']} samples in {record['minutes']:.1f} minutes; of those held back "
            f"{100 * numbers['thickness_3nm']:.1f} % within 3 nm, {100 * numbers['tilt_1mrad']:.1f} % within "
            f"1 mrad; rms centre {numbers['centre_rms']:.2f} mrad, size {100 * numbers['size_rms']:.1f} %, "
            f"rotation {numbers['rotation_rms']:.1f}°"
        )
    return network


def _pair(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--semi-angles {text!r} is no range; give LOW,HIGH in mrad, such as 12,20"
        ) from None
    return low, high


def check_folder(output: Path) -> None:
    """Raise an InputError now for a file that could not be written at the end."""
    from hybridfit.io import atomic_path

    class Enough(Exception):
        """Leaves before anything is written."""

    try:
        with atomic_path(output):
            raise Enough
    except Enough:
        return


def how_to_go_on(checkpoint: Path) -> Callable[[], str]:
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None

    def words() -> str:
        if not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            return "nothing was written"
        return f"the checkpoint is kept; --resume {checkpoint} goes on from it"

    return words


def _line(report: Report) -> str:
    left = int(report.seconds_left)
    parts = [
        f"{report.samples} samples, {report.samples_per_second:.0f}/s, {left // 60}:{left % 60:02d} left",
        f"loss {report.loss:.2f}",
    ]
    if report.skipped:
        parts.append(f"{report.skipped} steps skipped, not finite")
    v = report.validation
    if v:
        parts.append(
            f"{100 * v['thickness_3nm']:.0f} % in 3 nm, {100 * v['tilt_1mrad']:.0f} % in 1 mrad, "
            f"centre {v['centre_rms']:.2f} mrad, size {100 * v['size_rms']:.1f} %, "
            f"rotation {v['rotation_rms']:.1f}°"
        )
    return " · ".join(parts)
