"""One step of a training: forward, backward, AdamW, and the average of the weights.

A batch whose loss or gradient is not finite changes nothing: one NaN would stay in the weights, in the
moments of the optimiser and in the means of the batch normalisation for ever.  Such steps are counted,
and where there are many the training is stopped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hybridfit.errors import InputError
from hybridfit.network.architecture import Net, PatternNet, represent
from hybridfit.network.settings import TrainingSettings
from hybridfit.network.state import State
from hybridfit.network.targets import Truth, loss


def step(
    state: State[PatternNet],
    crops: Tensor,
    truth: Truth,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008  (it is frozen)
) -> float:
    """One step of the network of a library on crops (n, 2, CROP, CROP); see `step_by`."""

    def cost(module: PatternNet) -> Tensor:
        channels = represent(crops, truth.semi_angle).contiguous(memory_format=torch.channels_last)
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=half_precision(crops.device)):
            heads = module(channels, truth.semi_angle)
        return loss(heads, truth, module.architecture)

    return step_by(state, cost, len(crops), settings)


def step_by(
    state: State[Net],
    cost: Callable[[Net], Tensor],
    count: int,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008  (it is frozen)
) -> float:
    """One step on one batch.

    Parameters
    ----------
    state : State
        Changed in place.
    cost : callable
        The loss of the batch by the network that it is given.
    count : int
        Crops in the batch.
    settings : TrainingSettings

    Returns
    -------
    float
        The loss of the batch; NaN where the step was skipped.

    Raises
    ------
    InputError
        Too many steps were skipped.
    """
    module = state.module.train()
    statistics = [b for b in module.buffers() if b.is_floating_point()]
    before = torch._foreach_mul(statistics, 1.0)
    value = cost(module)
    state.optimiser.zero_grad(set_to_none=True)
    value.backward()
    norm = nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
    state.samples += count
    if not bool(torch.isfinite(value.detach()) & torch.isfinite(norm)):
        torch._foreach_copy_(statistics, before)
        _skip(state, settings)
        return float("nan")
    state.optimiser.step()
    state.steps += 1
    state.in_a_row = 0
    keep = min(settings.average, (1 + state.steps) / (10 + state.steps))
    pairs = zip(state.average.state_dict().values(), module.state_dict().values(), strict=True)
    means, news = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    with torch.no_grad():
        torch._foreach_lerp_(means, news, 1 - keep)
    return float(value.detach())


def _skip(state: State[Net], settings: TrainingSettings) -> None:
    """Count a step that was skipped; an InputError where there are too many."""
    state.skipped += 1
    state.in_a_row += 1
    tried = state.steps + state.skipped
    many = tried > settings.share_after and state.skipped > settings.skipped_share * tried
    if state.in_a_row >= settings.skipped_in_a_row or many:
        raise InputError(
            f"the training was stopped: {state.skipped} of {tried} steps gave numbers that are not finite, "
            f"the last {state.in_a_row} of them in a row; check the library (`hybridfit library show`), or "
            "train anew with another --seed"
        )


def half_precision(device: torch.device) -> bool:
    """Whether bfloat16 is the faster: on GPUs, and on CPUs that have instructions for it."""
    if device.type != "cpu":
        return device.type == "cuda"
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
