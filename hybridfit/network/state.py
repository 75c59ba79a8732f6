"""The plan of a training, and everything that it goes on from: in memory, and as a checkpoint file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from hybridfit.errors import InputError
from hybridfit.io import atomic_path
from hybridfit.library.library import Library
from hybridfit.network.architecture import Architecture, PatternNet, channels_last
from hybridfit.network.samples import POOL, Samples

CHECKPOINT = "hybridfit training"
CHECKPOINT_VERSION = 1
WARM_UP = 0.03  # of the budget
DECAY = 0.02


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes
    ----------
    minutes : float or None
    samples : int or None
        The budget: one of the two.
    batch : int
    learning_rate : float, at its largest
    seed : int
    semi_angle : (float, float) or None, mrad
    pool : int
        Composed patterns kept.
    """

    minutes: float | None = None
    samples: int | None = None
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    semi_angle: tuple[float, float] | None = None
    pool: int = POOL

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.samples is None):
            raise InputError("give either minutes or samples as the budget of the training")
        budget = self.minutes if self.minutes is not None else self.samples
        if budget is None or not (0 < budget < math.inf):
            raise InputError(f"a training of {budget:g} minutes or samples cannot be; give a positive number")

    def spent(self, seconds: float, samples: int) -> float:
        """The fraction of the budget that is used up, 0 … 1."""
        if self.minutes is not None:
            return min(1.0, seconds / (60 * self.minutes))
        return min(1.0, samples / (self.samples or 1))

    def rate(self, fraction: float) -> float:
        """Learning rate after this fraction of the budget."""
        if fraction < WARM_UP:
            return self.learning_rate * max(fraction / WARM_UP, 0.01)
        return self.learning_rate * (0.5 + 0.5 * math.cos(math.pi * (fraction - WARM_UP) / (1 - WARM_UP)))


@dataclass
class State:
    """Everything a training goes on from."""

    module: PatternNet
    average: PatternNet
    optimiser: torch.optim.AdamW
    seconds: float = 0.0
    samples: int = 0
    steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def begin(shape: Architecture, plan: Plan, device: torch.device) -> State:
    """New weights, their average, and an optimiser; biases and scales do not decay."""
    module = channels_last(PatternNet(shape), device)
    average = channels_last(PatternNet(shape), device)
    average.load_state_dict(module.state_dict())
    average.eval().requires_grad_(False)
    matrices = [p for p in module.parameters() if p.ndim > 1 and p is not module.place]
    others = [p for p in module.parameters() if p.ndim <= 1 or p is module.place]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return State(
        module, average, torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)
    )


def write_checkpoint(path: Path, state: State, samples: Samples, plan: Plan, library: Library) -> None:
    """Everything that the training goes on from, but the pool of patterns."""
    values = {
        "format": CHECKPOINT,
        "version": CHECKPOINT_VERSION,
        "checksum": str(library.dataset.attrs["checksum"]),
        "architecture": asdict(state.module.architecture),
        "plan": asdict(plan),
        "module": state.module.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "samples_state": samples.state(),
        "seconds": state.seconds,
        "samples": state.samples,
        "steps": state.steps,
        "history": state.history,
    }
    with atomic_path(path) as temporary:
        torch.save(values, temporary)


def read_checkpoint(path: Path, library: Library, shape: Architecture) -> dict[str, Any]:
    """Read a checkpoint of this library.

    Raises
    ------
    InputError
        It is missing, damaged, or of another library or architecture.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no checkpoint {path}; leave --resume out to start anew")
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)  # never unpickles code
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"{path} cannot be read as a checkpoint ({reason}); start anew") from None
    if not isinstance(values, dict) or values.get("format") != CHECKPOINT:
        raise InputError(f"{path} is no checkpoint of a training; those end in .checkpoint")
    if values.get("version") != CHECKPOINT_VERSION:
        raise InputError(f"{path} has checkpoint format {values.get('version')}; start anew")
    if values["checksum"] != library.dataset.attrs["checksum"]:
        raise InputError(f"{path} belongs to a training on another library; start anew")
    if values["architecture"] != asdict(shape):
        raise InputError(f"{path} belongs to a network of another shape; start anew")
    return values


def restore(state: State, samples: Samples, stored: dict[str, Any]) -> None:
    """Put a checkpoint's values in place."""
    state.module.load_state_dict(stored["module"])
    state.average.load_state_dict(stored["average"])
    state.optimiser.load_state_dict(stored["optimiser"])
    samples.restore(stored["samples_state"])
    state.seconds, state.samples, state.steps = stored["seconds"], stored["samples"], stored["steps"]
    state.history = list(stored["history"])
