"""Training: samples composed on the fly, until the time or the number of samples is used up.

    samples (`samples`) → steps (`step`) → validation (`evaluation`) → checkpoint (`state`) → weights

AdamW, a warm-up and a cosine over the fraction of the budget that is spent; the weights that are
kept are the exponential average of those of the steps.  The temperatures that make the class
probabilities honest are fitted in the end, on samples held back.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hybridfit.library.library import Library
from hybridfit.network.architecture import PatternNet
from hybridfit.network.conversion import torch_device
from hybridfit.network.evaluation import evaluate, temperature
from hybridfit.network.origin import Origin
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.settings import TrainingSettings
from hybridfit.network.shape import Architecture
from hybridfit.network.state import Plan, State, begin, read_checkpoint, restore, write_checkpoint
from hybridfit.network.step import step
from hybridfit.network.targets import Truth, measures, thickness_loss, tilt_loss
from hybridfit.network.weights import Network

CHECKPOINT_EVERY = 60.0  # s
CHECKS = 40  # validations over the whole training, and at least MIN_BETWEEN seconds between two
MIN_BETWEEN = 20.0
HELD_BACK, CALIBRATION = 512, 2048  # crops
VIEWS = 4  # of each pattern that is held back


class Report(NamedTuple):
    """How the training stands: fraction 0 … 1, seconds, `targets.measures` of the latest validation, and how
    many steps were skipped because their numbers were not finite.
    """

    fraction: float
    seconds: float
    seconds_left: float
    samples: int
    samples_per_second: float
    loss: float
    validation: dict[str, float]
    skipped: int


def train(
    library: Library,
    plan: Plan,
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
    resume: Path | None = None,
    progress: Callable[[Report], None] | None = None,
    architecture: Architecture | None = None,
) -> Network:
    """Train a network on a library.

    Parameters
    ----------
    library : Library
    plan : Plan
    device : str
        A torch device, or "auto": a GPU if there is one.
    checkpoint : path, optional
        Written every minute and at the end.
    resume : path, optional
        A checkpoint to go on from; its seed and batch replace those of the plan.
    progress : callable, optional
        Called with a `Report` after every few steps.
    architecture : Architecture, optional
        By default the one whose classes cover the library.

    Returns
    -------
    Network
        Its origin's record holds the plan, the history and the last validation.

    Raises
    ------
    InputError
        A budget, device, semi-angle or checkpoint that cannot be used; or too many steps gave numbers
        that are not finite.
    """
    place = torch_device(device)
    shape = architecture or Architecture.of(library)
    stored = None if resume is None else read_checkpoint(resume, library, shape)
    if stored is not None:
        went = stored.plan
        plan = replace(plan, seed=went.seed, batch=went.batch, semi_angle=went.semi_angle, pool=went.pool)
    ranges = Ranges.of(library, plan.semi_angle)
    torch.manual_seed(plan.seed)
    state = begin(partial(PatternNet, shape), plan, place)
    samples = Samples(library, ranges, device=place, seed=[plan.seed, 0], pool=plan.pool)
    held = Samples(library, ranges, device=place, seed=[plan.seed, 1], pool=HELD_BACK // VIEWS)
    held.compose(HELD_BACK // VIEWS)
    validation = held.crops(torch.arange(HELD_BACK, device=place) % held.size)
    if stored is not None:
        restore(state, samples, stored)
    _run(state, samples, validation, plan, library, checkpoint, progress)
    test = Samples(library, ranges, device=place, seed=[plan.seed, 2], pool=CALIBRATION // VIEWS)
    test.compose(CALIBRATION // VIEWS)
    # probabilities count after the last pass: on crops that are aligned
    crops, truth = test.crops(torch.arange(CALIBRATION, device=place) % test.size, rough=0.0)
    heads = evaluate(state.average, crops, truth)
    temperatures = (
        temperature(heads.thickness, lambda logits: thickness_loss(logits, truth.thickness, shape)),
        temperature(heads.tilt, lambda logits: tilt_loss(logits, truth.tilt, shape)),
    )
    origin = Origin.of(
        library,
        semi_angle=ranges.semi_angle,
        thickness=ranges.thickness,
        tilt_max=ranges.tilt_max,
        thickness_temperature=temperatures[0],
        tilt_temperature=temperatures[1],
        record={
            "plan": asdict(plan),
            "device": place.type,
            "samples": state.samples,
            "minutes": state.seconds / 60,
            "steps": state.steps,
            "skipped": state.skipped,
            "held_back": measures(heads, truth, shape),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "history": state.history,
        },
    )
    return Network(state.average, origin, device=device)


def _run(
    state: State[PatternNet],
    samples: Samples,
    validation: tuple[Tensor, Truth],
    plan: Plan,
    library: Library,
    checkpoint: Path | None,
    progress: Callable[[Report], None] | None,
) -> None:
    """Take steps until the budget is used up."""
    before, started, samples_before = state.seconds, time.monotonic(), state.samples
    saved, checked = started, started
    running = float("nan")
    shape, settings = state.module.architecture, TrainingSettings()
    while (fraction := plan.spent(state.seconds, state.samples)) < 1:
        for group in state.optimiser.param_groups:
            group["lr"] = plan.rate(fraction, settings.warm_up)
        value = step(state, *samples.batch(plan.batch), settings)
        if not math.isnan(value):
            running = value if math.isnan(running) else running + 0.02 * (value - running)
        now = time.monotonic()
        state.seconds = before + now - started
        done = plan.spent(state.seconds, state.samples)
        due = now - checked >= MIN_BETWEEN and _checks(done) > _checks(fraction)
        if due or done >= 1:
            heads = evaluate(state.average, *validation)
            numbers = measures(heads, validation[1], shape)
            state.history.append(
                {"samples": state.samples, "seconds": state.seconds, "training_loss": running, **numbers}
            )
            checked = time.monotonic()
        late = now - saved >= CHECKPOINT_EVERY or done >= 1
        if checkpoint is not None and late and state.steps:
            write_checkpoint(checkpoint, state, samples, plan, library)
            saved = time.monotonic()
        if progress is not None:
            speed = (state.samples - samples_before) / max(now - started, 1e-9)
            left = (now - started) * (1 - done) / max(done - plan.spent(before, samples_before), 1e-9)
            latest = state.history[-1] if state.history else {}
            progress(Report(done, state.seconds, left, state.samples, speed, running, latest, state.skipped))


def _checks(fraction: float) -> int:
    return int(fraction * CHECKS)
