"""Training of the alignment network, and of any that learns from its samples (`Job`).

    coarse libraries (`coarse`) → samples (`samples`) → steps → validation → checkpoint → weights

It can be stopped and gone on with.

Validation uses crystals that the training does not see: every `HELD_BACK`th of the list.
"""

from __future__ import annotations

import hashlib
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from hybridfit.errors import InputError
from hybridfit.network.alignment.architecture import AlignmentNet, loss, read, represent
from hybridfit.network.alignment.coarse import Coarse, Material, kept
from hybridfit.network.alignment.network import AlignmentNetwork
from hybridfit.network.alignment.samples import POOL, Guide, Samples, Truth
from hybridfit.network.alignment.shape import AlignmentShape
from hybridfit.network.alignment.views import CUTS, Cuts
from hybridfit.network.architecture import Net, ShapedNet
from hybridfit.network.conversion import stored_tensors, torch_device
from hybridfit.network.crop import GRID, CropGrid
from hybridfit.network.files import Kind, TensorFile
from hybridfit.network.settings import TrainingSettings
from hybridfit.network.shape import NetShape
from hybridfit.network.state import Plan, State, begin, read_state, restore, write_state
from hybridfit.network.step import half_precision, step_by

HELD_BACK = 12  # every so-manieth crystal is kept for the validation
VALIDATION = 1024  # crops
CHECKPOINT_EVERY, CHECK_EVERY = 60.0, 120.0  # s
RIGHT = 0.02  # of the radius


class Report(NamedTuple):
    """How a training stands: fraction 0 … 1, seconds, crops seen, their speed, and the latest validation."""

    fraction: float
    seconds: float
    samples: int
    samples_per_second: float
    loss: float
    validation: dict[str, float]


@dataclass(frozen=True)
class Job(Generic[Net]):
    """What is trained.

    Attributes
    ----------
    checkpoint : Kind
        Of its checkpoint files.
    shape : NetShape
        Of its networks, where no other is asked for.
    make : callable(shape)
        Gives a network of a shape, with new weights.
    cuts : Cuts
        How crops are cut for it.
    cost : callable(module, crops, truth, generator)
        The loss of a batch.
    measured : callable(module, batches)
        How good it is on crops held back.
    said : callable(numbers)
        These numbers in words, in percent of the crops.
    save : callable(path, module, record)
        Writes its weights, and the record of how it was trained.
    grid : CropGrid
        The pixels of crops.
    guide : callable(), optional
        Gives what leads crops to discs, as of `Samples`.
    batch, learning_rate : as of `Plan`
    """

    checkpoint: Kind
    shape: NetShape
    make: Callable[[Any], Net]
    cuts: Cuts
    cost: Callable[[Net, Tensor, Truth, torch.Generator], Tensor]
    measured: Callable[[Net, list[tuple[Tensor, Truth]]], dict[str, float]]
    said: Callable[[dict[str, float]], str]
    save: Callable[[Path, Net, dict[str, Any]], None]
    grid: CropGrid = GRID
    guide: Callable[[], Guide] | None = None
    batch: int = 128
    learning_rate: float = 2e-3


def libraries(
    found: Sequence[Material],
    folder: Path,
    *,
    each: int = 1,
    invented: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[list[Coarse], list[Coarse]]:
    """Coarse libraries of materials, made or read from a folder: those to train on, and those held back.

    Parameters
    ----------
    found : sequence of Material
    folder : path
    each : int
        Libraries of each material, of other energies, semi-angles and thicknesses.
    invented : int
        Libraries of crystals that are invented from each material to train on (`alignment.invented`).
    progress : callable(fraction, name), optional

    Raises
    ------
    InputError
        Fewer than two crystals.
    """
    names = sorted({material.cif.stem for material in found})
    if len(names) < 2:
        raise InputError(
            f"{len(names)} crystal is too few for a training; give two or more, of which one is held back"
        )
    held = set(names[HELD_BACK // 2 :: HELD_BACK] or names[-1:])
    train: list[Coarse] = []
    other: list[Coarse] = []
    jobs = [(1000 * seed + i, material) for seed in range(each) for i, material in enumerate(found)]
    jobs += [
        (1000 * seed + i, material._replace(invented=True))
        for seed in range(invented)
        for i, material in enumerate(found)
        if material.cif.stem not in held
    ]
    for done, (seed, material) in enumerate(jobs):
        if progress is not None:
            progress(done / len(jobs), f"{material.cif.stem} {material.zone}")
        (other if material.cif.stem in held else train).append(kept(material, seed, folder))
    return train, other


def train(
    job: Job[Net],
    to_train: Sequence[Coarse],
    held_back: Sequence[Coarse],
    plan: Plan,
    *,
    shape: NetShape | None = None,
    device: str = "auto",
    checkpoint: Path | None = None,
    resume: Path | None = None,
    progress: Callable[[Report], None] | None = None,
) -> tuple[Net, dict[str, Any]]:
    """Train a network.

    Parameters
    ----------
    job : Job
    to_train, held_back : sequences of Coarse
    plan : Plan
    shape : NetShape, optional
    device : str
    checkpoint : path, optional
        Written every minute and at the end.
    resume : path, optional
        A checkpoint to go on from.
    progress : callable, optional

    Returns
    -------
    network, record
        The record says how it was trained.

    Raises
    ------
    InputError
        A checkpoint that cannot be used, or too many steps that gave numbers that are not finite.
    """
    shape = shape or job.shape
    place, make = torch_device(device), partial(job.make, shape)
    stored = None
    if resume is not None:
        if not resume.is_file():
            raise InputError(f"there is no checkpoint {resume}; leave --resume out to start anew")
        with TensorFile(resume, job.checkpoint) as file:
            if file.field("architecture", TypeAdapter(type(shape))) != shape:
                raise InputError(f"{resume} belongs to a network of another shape; start anew")
            stored = read_state(file, make)
        plan = replace(plan, seed=stored.plan.seed, batch=stored.plan.batch)
    torch.manual_seed(plan.seed)
    state = begin(make, plan, place)
    pool = min(plan.pool, POOL)
    samples = _samples(job, to_train, [plan.seed, 0], place, pool)
    if stored is not None:
        restore(state, samples, stored)
    validation = _batches(job, held_back, plan.seed, place)
    of = {"libraries": digest(to_train)}
    _run(job, state, samples, validation, plan, checkpoint, of, progress)
    record = {
        "plan": asdict(plan),
        "device": place.type,
        "samples": state.samples,
        "minutes": state.seconds / 60,
        "steps": state.steps,
        "held_back": job.measured(state.average, validation),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "history": state.history,
        **of,
    }
    return state.average, record


def weights_of(module: ShapedNet) -> dict[str, NDArray[np.float32]]:
    """The numbers of a network by the names of its `weight_shapes`."""
    arrays = {name: value.numpy(force=True) for name, value in stored_tensors(module).items()}
    return {name: arrays[name] for name in module.architecture.weight_shapes()}


def digest(found: Sequence[Coarse]) -> str:
    """What was trained on, as a checksum."""
    out = hashlib.sha256()
    for each in found:
        out.update(each.intensity[:, 0].tobytes())
    return out.hexdigest()


def _samples(job: Job[Net], of: Sequence[Coarse], seed: list[int], place: torch.device, pool: int) -> Samples:
    guide = job.guide() if job.guide is not None else None
    return Samples(of, seed=seed, device=place, pool=pool, cuts=job.cuts, grid=job.grid, guide=guide)


def _batches(
    job: Job[Net], held_back: Sequence[Coarse], seed: int, place: torch.device
) -> list[tuple[Tensor, Truth]]:
    made = _samples(job, held_back, [seed, 1], place, VALIDATION // 4)
    batch = min(VALIDATION, 128)
    return [made.batch(batch) for _ in range(VALIDATION // batch)]


def _run(
    job: Job[Net],
    state: State[Net],
    samples: Samples,
    validation: list[tuple[Tensor, Truth]],
    plan: Plan,
    checkpoint: Path | None,
    of: dict[str, str],
    progress: Callable[[Report], None] | None,
) -> None:
    """Take steps until the budget is used up."""
    before, started, samples_before = state.seconds, time.monotonic(), state.samples
    saved, checked = started, started
    running, settings = float("nan"), TrainingSettings()
    while (fraction := plan.spent(state.seconds, state.samples)) < 1:
        for group in state.optimiser.param_groups:
            group["lr"] = plan.rate(fraction, settings.warm_up)
        crops, truth = samples.batch(plan.batch)
        value = step_by(state, _cost_of(job, crops, truth, samples.generator), len(crops), settings)
        if not math.isnan(value):
            running = value if math.isnan(running) else running + 0.02 * (value - running)
        now = time.monotonic()
        state.seconds = before + now - started
        done = plan.spent(state.seconds, state.samples)
        if now - checked >= CHECK_EVERY or done >= 1:
            numbers = job.measured(state.average, validation)
            state.history.append(
                {"samples": state.samples, "seconds": state.seconds, "loss": running, **numbers}
            )
            checked = time.monotonic()
        if checkpoint is not None and state.steps and (now - saved >= CHECKPOINT_EVERY or done >= 1):
            write_state(checkpoint, job.checkpoint, of, state, samples.state(), plan)
            saved = time.monotonic()
        if progress is not None:
            speed = (state.samples - samples_before) / max(now - started, 1e-9)
            latest = state.history[-1] if state.history else {}
            progress(Report(done, state.seconds, state.samples, speed, running, latest))


def _cost_of(
    job: Job[Net], crops: Tensor, truth: Truth, generator: torch.Generator
) -> Callable[[Net], Tensor]:
    return lambda module: job.cost(module, crops, truth, generator)


def cost(module: AlignmentNet, crops: Tensor, truth: Truth, generator: torch.Generator) -> Tensor:
    """The loss of a batch; no random numbers are needed for it."""
    channels = represent(crops).contiguous(memory_format=torch.channels_last)
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=half_precision(crops.device)):
        said = module(channels)
    return loss(said, truth.centre, truth.size).mean()


@torch.inference_mode()
def measured(module: AlignmentNet, batches: list[tuple[Tensor, Truth]]) -> dict[str, float]:
    """How good a network is on crops held back: by all of them, and by those that are nearly aligned."""
    module.eval()
    centre, size, cost, last = [], [], [], []
    for crops, truth in batches:
        said = module(represent(crops).contiguous(memory_format=torch.channels_last))
        cost.append(loss(said, truth.centre, truth.size))
        odds, centres, sizes, _, _ = read(said)
        best = odds.argmax(dim=1)
        rows = torch.arange(len(best))
        scale = truth.size.exp()  # errors count in radii of the disc
        centre.append((centres[rows, best] - truth.centre).norm(dim=1) / scale)
        size.append((sizes[rows, best] - truth.size).abs())
        last.append((truth.size.abs() < 0.1) & (truth.centre.norm(dim=1) < 0.1))
    c, s, near = (torch.cat(each).cpu().numpy() for each in (centre, size, last))
    right = (c < RIGHT) & (s < RIGHT)
    return {
        "validation_loss": float(torch.cat(cost).mean()),
        "right": float(right.mean()),
        "right_last": float(right[near].mean()) if near.any() else float("nan"),
        "found": float(((c < 0.15) & (s < 0.15)).mean()),
        "centre_median": float(np.median(c)),
        "size_median": float(np.median(s)),
        "centre_median_last": float(np.median(c[near])) if near.any() else float("nan"),
        "size_median_last": float(np.median(s[near])) if near.any() else float("nan"),
    }


def said(numbers: dict[str, float]) -> str:
    """What `measured` found, in words."""
    found, right = 100 * numbers["found"], 100 * numbers["right_last"]
    return f"{found:.1f} % of the discs found within 15 % of the radius, {right:.1f} % of last crops in 2 %"


def save(path: Path, module: AlignmentNet, record: dict[str, Any]) -> None:
    """Write the weights."""
    AlignmentNetwork(module.architecture, weights_of(module), record).save(path)


DISCS: Job[AlignmentNet] = Job(
    checkpoint=Kind("hybridfit alignment training", 1, "a checkpoint", "start anew without --resume"),
    shape=AlignmentShape(),
    make=AlignmentNet,
    cuts=CUTS,
    cost=cost,
    measured=measured,
    said=said,
    save=save,
)
