"""Training: samples composed on the fly, until the time or the number of samples is used up.

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
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hybridfit.library.library import Library
from hybridfit.network.architecture import Architecture, Heads, PatternNet, represent
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.state import Plan, State, begin, read_checkpoint, restore, write_checkpoint
from hybridfit.network.targets import Truth, loss, measures, thickness_loss, tilt_loss
from hybridfit.network.weights import Network, Origin, torch_device

CHECKPOINT_EVERY = 60.0  # s
CHECKS = 40  # validations over the whole training, and at least MIN_BETWEEN seconds between two
MIN_BETWEEN = 20.0
HELD_BACK, CALIBRATION = 512, 2048  # crops
VIEWS = 4  # of each pattern that is held back
CLIP = 2.0  # of the gradient's norm
AVERAGE = 0.9985  # of the weights, a step


class Report(NamedTuple):
    """How the training stands: fraction 0 … 1, seconds, and `targets.measures` of the latest validation."""

    fraction: float
    seconds: float
    seconds_left: float
    samples: int
    samples_per_second: float
    loss: float
    validation: dict[str, float]


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
        A budget, device, semi-angle or checkpoint that cannot be used.
    """
    place = torch_device(device)
    shape = architecture or Architecture.of(library)
    stored = None if resume is None else read_checkpoint(resume, library, shape)
    if stored is not None:
        plan = replace(plan, **{k: stored["plan"][k] for k in ("seed", "batch", "semi_angle", "pool")})
    ranges = Ranges.of(library, plan.semi_angle)
    torch.manual_seed(plan.seed)
    state = begin(shape, plan, place)
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
    attrs = library.dataset.attrs
    origin = Origin(
        crystal=str(attrs["crystal"]),
        formula=str(attrs["formula"]),
        zone=tuple(int(v) for v in np.atleast_1d(attrs["zone"])),
        energy_kv=float(attrs["energy_kv"]),
        semi_angle=ranges.semi_angle,
        thickness=ranges.thickness,
        tilt_max=ranges.tilt_max,
        checksum=str(attrs["checksum"]),
        thickness_temperature=temperatures[0],
        tilt_temperature=temperatures[1],
        record={
            "plan": asdict(plan),
            "device": place.type,
            "samples": state.samples,
            "minutes": state.seconds / 60,
            "steps": state.steps,
            "held_back": measures(heads, truth, shape),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "history": state.history,
        },
    )
    return Network(state.average, origin, device=device)


def _run(
    state: State,
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
    shape = state.module.architecture
    while (fraction := plan.spent(state.seconds, state.samples)) < 1:
        for group in state.optimiser.param_groups:
            group["lr"] = plan.rate(fraction)
        value = step(state, *samples.batch(plan.batch))
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
        if checkpoint is not None and (now - saved >= CHECKPOINT_EVERY or done >= 1):
            write_checkpoint(checkpoint, state, samples, plan, library)
            saved = time.monotonic()
        if progress is not None:
            speed = (state.samples - samples_before) / max(now - started, 1e-9)
            left = (now - started) * (1 - done) / max(done - plan.spent(before, samples_before), 1e-9)
            latest = state.history[-1] if state.history else {}
            progress(Report(done, state.seconds, left, state.samples, speed, running, latest))


def _checks(fraction: float) -> int:
    return int(fraction * CHECKS)


def step(state: State, crops: Tensor, truth: Truth) -> float:
    """One step on one batch; returns its loss."""
    module = state.module.train()
    channels = represent(crops, truth.semi_angle).contiguous(memory_format=torch.channels_last)
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=half_precision(crops.device)):
        heads = module(channels, truth.semi_angle)
    value = loss(heads, truth, module.architecture)
    state.optimiser.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    state.optimiser.step()
    state.steps += 1
    state.samples += len(crops)
    keep = min(AVERAGE, (1 + state.steps) / (10 + state.steps))
    pairs = zip(state.average.state_dict().values(), module.state_dict().values(), strict=True)
    means, news = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    with torch.no_grad():
        torch._foreach_lerp_(means, news, 1 - keep)
    return float(value.detach())


def half_precision(device: torch.device) -> bool:
    """Whether bfloat16 is the faster: on GPUs, and on CPUs that have instructions for it."""
    if device.type != "cpu":
        return device.type == "cuda"
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


@torch.inference_mode()
def evaluate(module: PatternNet, crops: Tensor, truth: Truth) -> Heads:
    """Apply a network to crops (n, 2, CROP, CROP), in full precision and in batches."""
    module.eval()
    parts = []
    for part, alpha in zip(crops.split(128), truth.semi_angle.split(128), strict=True):
        channels = represent(part, alpha).contiguous(memory_format=torch.channels_last)
        parts.append(module(channels, alpha))
    return Heads(*(torch.cat(p) for p in zip(*parts, strict=True)))


def temperature(logits: Tensor, cross_entropy: Callable[[Tensor], Tensor]) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy."""
    trials = torch.exp(torch.linspace(math.log(0.3), math.log(3.0), 81))
    costs = [float(cross_entropy(logits / float(t)).mean()) for t in trials]
    return float(trials[int(np.argmin(costs))])
