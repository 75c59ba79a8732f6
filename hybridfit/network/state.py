"""The plan of a training, and everything that it goes on from: in memory, and as a checkpoint file.

A checkpoint is a file of tensors (`files`): the network, the average of its weights, the moments of the
optimiser and the state of the random numbers.  The pool of composed patterns is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from hybridfit.errors import InputError
from hybridfit.library.library import Library
from hybridfit.network.architecture import Net, PatternNet, ShapedNet, channels_last
from hybridfit.network.conversion import fill, stored_tensors
from hybridfit.network.files import Kind, Shape, TensorFile, write_tensors
from hybridfit.network.samples import POOL, Samples
from hybridfit.network.settings import TrainingSettings
from hybridfit.network.shape import Architecture, Positive
from hybridfit.network.weights import ARCHITECTURE, shapes_of

CHECKPOINT = Kind("hybridfit training", 2, "a checkpoint", "start anew without --resume")
BIASES = "place"  # of a trunk, one for each position
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a parameter
MOST_BATCH, MOST_POOL, MOST_SEED = 1 << 14, 1 << 18, (1 << 63) - 1
Count = Annotated[int, Field(ge=0, le=MOST_SEED)]


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
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    seed: int = 0
    semi_angle: tuple[Positive, Positive] | None = None
    pool: int = POOL

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.samples is None):
            raise InputError("give either minutes or samples as the budget of the training")
        budget = self.minutes if self.minutes is not None else self.samples
        if budget is None or not (0 < budget < math.inf):
            raise InputError(f"a training of {budget:g} minutes or samples cannot be; give a positive number")
        for name, least, most in (("batch", 1, MOST_BATCH), ("pool", 1, MOST_POOL), ("seed", 0, MOST_SEED)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(f"{name} = {value} of a training cannot be; give {least} … {most}")

    def spent(self, seconds: float, samples: int) -> float:
        """The fraction of the budget that is used up, 0 … 1."""
        if self.minutes is not None:
            return min(1.0, seconds / (60 * self.minutes))
        return min(1.0, samples / (self.samples or 1))

    def rate(self, fraction: float, warm_up: float) -> float:
        """Learning rate after this fraction of the budget, of which the first part (warm_up) lets it grow."""
        if fraction < warm_up:
            return self.learning_rate * max(fraction / warm_up, 0.01)
        return self.learning_rate * (0.5 + 0.5 * math.cos(math.pi * (fraction - warm_up) / (1 - warm_up)))


class Restorable(Protocol):
    """Samples that go on from a state."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


@dataclass
class State(Generic[Net]):
    """Everything a training goes on from.

    samples counts crops, steps those that changed the weights, skipped those that would have spoilt them;
    in_a_row is how many were skipped since the last step.
    """

    module: Net
    average: Net
    optimiser: torch.optim.AdamW
    seconds: float = 0.0
    samples: int = 0
    steps: int = 0
    skipped: int = 0
    in_a_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def moments(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Every parameter by its name, in the order in which the optimiser has them."""
        names = {id(p): name for name, p in self.module.named_parameters()}
        for group in self.optimiser.param_groups:
            for parameter in group["params"]:
                yield names[id(parameter)], parameter


@dataclass(frozen=True)
class Progress:
    """How far a training was when its checkpoint was written."""

    seconds: Annotated[float, Field(ge=0, le=1e9)]
    samples: Count
    steps: Annotated[int, Field(ge=1, le=MOST_SEED)]
    skipped: Count


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read: the plan and progress, and the tensors by the names in the file."""

    path: Path
    plan: Plan
    progress: Progress
    history: list[dict[str, float]]
    numpy_generator: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names begin with this and a dot, without that."""
        return {key[len(name) + 1 :]: v for key, v in self.tensors.items() if key.startswith(f"{name}.")}


PLAN, PROGRESS = TypeAdapter(Plan), TypeAdapter(Progress)
HISTORY, VALUES, WORDS, NUMBER = (
    TypeAdapter[Any](kind) for kind in (list[dict[str, float]], dict[str, Any], str, int)
)


def begin(
    make: Callable[[], Net],
    plan: Plan,
    device: torch.device,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008  (it is frozen)
) -> State[Net]:
    """New weights, their average, and an optimiser; biases and scales do not decay.

    make gives a network with new weights.
    """
    module = channels_last(make(), device)
    average = channels_last(make(), device)
    average.load_state_dict(module.state_dict())
    average.eval().requires_grad_(False)
    named = list(module.named_parameters())
    matrices = [p for name, p in named if p.ndim > 1 and name != BIASES]
    others = [p for name, p in named if p.ndim <= 1 or name == BIASES]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return State(
        module, average, torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)
    )


def write_checkpoint(
    path: Path, state: State[PatternNet], samples: Samples, plan: Plan, library: Library
) -> None:
    """Write everything that the training goes on from, but the pool of patterns.

    Raises
    ------
    InputError
        A number is not finite; what was at the path before stays there.
    """
    about = {
        "library_version": int(library.dataset.attrs["version"]),
        "checksum": str(library.dataset.attrs["checksum"]),
    }
    write_state(path, CHECKPOINT, about, state, samples.state(), plan)


def write_state(
    path: Path,
    kind: Kind,
    of: Mapping[str, Any],
    state: State[Net],
    random: Mapping[str, Any],
    plan: Plan,
) -> None:
    """Write a checkpoint of any network; `of` says what it is trained on, `random` is a state of samples.

    Raises
    ------
    InputError
        A number is not finite; what was at the path before stays there.
    """
    about = {
        **of,
        "architecture": asdict(state.module.architecture),
        "plan": asdict(plan),
        "progress": asdict(Progress(state.seconds, state.samples, state.steps, state.skipped)),
        "history": state.history,
        "numpy_generator": random["numpy"],
    }
    kept = state.optimiser.state
    tensors = {
        **{f"module.{n}": v for n, v in stored_tensors(state.module).items()},
        **{f"average.{n}": v for n, v in stored_tensors(state.average).items()},
        **{f"{m}.{n}": kept[p][m] for n, p in state.moments() for m in MOMENTS},
        "generator": random["torch"],
    }
    write_tensors(path, kind, about, tensors)


def read_checkpoint(path: Path, library: Library, shape: Architecture) -> Checkpoint:
    """Read a checkpoint of this library.

    Raises
    ------
    InputError
        It is missing, damaged, or of another library or architecture.
    """
    path = Path(path)
    check_checkpoint(path)
    attrs = library.dataset.attrs
    with TensorFile(path, CHECKPOINT) as file:
        checksum, version = file.field("checksum", WORDS), file.field("library_version", NUMBER)
        if checksum != attrs["checksum"]:
            raise InputError(f"{path} belongs to a training on another library; start anew")
        if version != attrs["version"]:
            raise InputError(
                f"{path} belongs to a training on version {version} of the library's physics, this one has "
                f"version {attrs['version']}; start anew"
            )
        if file.field("architecture", ARCHITECTURE) != shape:
            raise InputError(f"{path} belongs to a network of another shape; start anew")
        return read_state(file, partial(PatternNet, shape))


def read_state(file: TensorFile, make: Callable[[], ShapedNet]) -> Checkpoint:
    """What `write_state` has written; make gives a network of the shape of what is in the file."""
    return Checkpoint(
        file.path,
        file.field("plan", PLAN),
        file.field("progress", PROGRESS),
        file.field("history", HISTORY),
        file.field("numpy_generator", VALUES),
        {name: torch.from_numpy(value) for name, value in file.tensors(_shapes(make)).items()},
    )


def check_checkpoint(path: Path) -> None:
    """Raise an InputError for what is no checkpoint, before a library is opened or built for it."""
    if not Path(path).is_file():
        raise InputError(f"there is no checkpoint {path}; leave --resume out to start anew")
    with TensorFile(path, CHECKPOINT) as file:
        for name, kind in (("checksum", WORDS), ("architecture", ARCHITECTURE), ("plan", PLAN)):
            file.field(name, kind)


def _shapes(make: Callable[[], ShapedNet]) -> dict[str, Shape]:
    """What the tensors of a checkpoint have to be."""
    with torch.device("meta"):
        empty = make()
    shapes = shapes_of(empty.architecture)
    out = {f"{part}.{n}": shape for part in ("module", "average") for n, shape in shapes.items()}
    for name, parameter in empty.named_parameters():
        for moment in MOMENTS:
            out[f"{moment}.{name}"] = Shape(() if moment == "step" else tuple(parameter.shape))
    return out | {"generator": Shape((-1,), "U8")}


def restore(state: State[Net], samples: Restorable, stored: Checkpoint) -> None:
    """Put a checkpoint's values in place.

    Raises
    ------
    InputError
        The random numbers are of another kind of device, or those of no generator.
    """
    fill(state.module, stored.part("module"))
    fill(state.average, stored.part("average"))
    for name, parameter in state.moments():
        moments = {m: stored.tensors[f"{m}.{name}"] for m in MOMENTS}
        # fused steps go through a parameter and its moments in the order of their memory
        state.optimiser.state[parameter] = {
            m: (v.to(parameter.device) if m == "step" else torch.empty_like(parameter).copy_(v).detach())
            for m, v in moments.items()
        }
    try:
        samples.restore({"numpy": stored.numpy_generator, "torch": stored.tensors["generator"]})
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(
            f"{stored.path} cannot be gone on from here: its random numbers are those of another kind of "
            f"device ({reason}); start anew, or use the device that it was begun on"
        ) from None
    progress = stored.progress
    state.seconds, state.samples = progress.seconds, progress.samples
    state.steps, state.skipped = progress.steps, progress.skipped
    state.history = list(stored.history)
