"""The command `train-alignment`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridfit.cli.console import LiveLine, saying
from hybridfit.cli.train import check_folder, how_to_go_on, let_threads_wait
from hybridfit.errors import InputError

if TYPE_CHECKING:
    from hybridfit.network.alignment.training import Job, Report

DEFAULT_MINUTES = 480.0


def train_alignment(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Weights to write (.safetensors).")
    ],
    crystals: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="CIFs and their zones.toml; by default those that are shipped."),
    ] = None,
    rim: Annotated[
        bool, typer.Option("--rim", help="Train the network that measures the rim of a disc, instead.")
    ] = False,
    each: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Coarse libraries of each crystal and zone axis.")
    ] = 1,
    invented: Annotated[
        int,
        typer.Option(min=0, max=100, metavar="N", help="The same, of crystals invented from it."),
    ] = 3,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help=f"How long; {DEFAULT_MINUTES:g} by default.")
    ] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="How much, instead of how long.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Go on from a checkpoint, FILE.checkpoint.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train the network that finds the direct disc of any crystal, or the one that measures its rim.

    Coarse libraries are made first, seconds each, and kept in the cache. A checkpoint is kept beside the
    weights while the training runs. The shipped weights took three hours of one core each.
    """
    if output.suffix != ".safetensors":
        raise InputError(f"{output} cannot hold weights; give a name that ends in .safetensors")
    if minutes is not None and samples is not None:
        raise InputError("--minutes and --samples are both a budget; give one of them")
    if minutes is None and samples is None:
        minutes = DEFAULT_MINUTES
    check_folder(output)
    let_threads_wait()

    from hybridfit.library.library import cache_folder
    from hybridfit.library.recipe import shipped_folder
    from hybridfit.network.alignment.coarse import materials
    from hybridfit.network.alignment.training import DISCS, libraries, train
    from hybridfit.network.rim.training import RIM
    from hybridfit.network.state import Plan

    job: Job[Any] = RIM if rim else DISCS
    found = materials(crystals or shipped_folder() / "training")
    checkpoint = output.with_suffix(".checkpoint")
    started = time.monotonic()
    line = LiveLine(quiet, "coarse libraries")
    with line, saying(lambda: "the coarse libraries made so far are kept in the cache"):
        to_train, held_back = libraries(
            found,
            cache_folder() / "alignment",
            each=each,
            invented=invented,
            progress=lambda share, name: line.show(share, f"library of {name}", time.monotonic() - started),
        )
    line = LiveLine(quiet, "composing the first patterns")
    with line, saying(how_to_go_on(checkpoint)):
        module, record = train(
            job,
            to_train,
            held_back,
            Plan(minutes, samples, job.batch, job.learning_rate, seed),
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            progress=lambda report: line.show(report.fraction, _line(job, report), report.seconds),
        )
        job.save(output, module, record)
    if not quiet:
        typer.echo(
            f"{output}: {record['samples']} samples in {record['minutes']:.1f} minutes; of crystals held "
            f"back, {job.said(record['held_back'])}"
        )


def _line(job: Job[Any], report: Report) -> str:
    parts = [f"{report.samples} samples, {report.samples_per_second:.0f}/s", f"loss {report.loss:.2f}"]
    if report.validation:
        parts.append(f"held back: {job.said(report.validation)}")
    return " · ".join(parts)
