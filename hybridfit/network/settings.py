"""Settings of networks: what decides whether weights may be used, and when a training gives up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hybridfit.thresholds import threshold


class Physics(NamedTuple):
    """What a library was solved as: the checksum of its recipe, and its version of the physics."""

    checksum: str
    version: int


class OtherPhysics(NamedTuple):
    """Weights that may be used on a library solved otherwise, because it was measured."""

    trained_on: Physics
    used_on: Physics


@dataclass(frozen=True)
class WeightsSettings:
    """What decides whether a network may be used on a library."""

    other_physics: tuple[OtherPhysics, ...] = threshold(
        (
            OtherPhysics(
                Physics("c1c6ca107d2f8305ec7e4184d052a40c0d7222733125cb4622f26a62e9f39497", 3),
                Physics("ed68d2708fa7e7ff84a292b8ec9c0aed5905dc0b57e82dfb3bd321fd66462c52", 6),
            ),
        ),
        "checksum and version",
        "the shipped SrTiO3 network was trained on g_max 2.3 Å⁻¹, without higher Laue zones and diffuse "
        "electrons; on 60 frames of g_max 2.6 Å⁻¹ size, centre and tilt (1 mrad) were right in 100 %, "
        "rotation (2°) and thickness (3 nm) in 98.3 %; of 80 frames of this library as many fits are "
        "right with it as by a library match (97.5 %), and none is wrong",
        "benchmarks.hybrid",
    )
    semi_angle_room: float = threshold(
        0.01,
        "relative",
        "a semi-angle is known to about 1 %, and a network has learnt no larger differences",
        "design",
    )


@dataclass(frozen=True)
class TrainingSettings:
    """How a training steps, and when it gives up."""

    warm_up: float = threshold(
        0.03,
        "of the budget",
        "the learning rate grows to its largest value in this share of the training",
        "design",
    )
    weight_decay: float = threshold(
        0.02, "1", "matrices shrink at this rate; biases and scales do not", "design"
    )
    clip: float = threshold(
        2.0,
        "1",
        "larger gradients are shortened to this norm, so that one odd batch does not undo many",
        "design",
    )
    average: float = threshold(
        0.9985,
        "of the weights",
        "the averaged weights keep so much at each step, so that about 700 steps count",
        "design",
    )
    skipped_in_a_row: int = threshold(
        20,
        "steps",
        "one batch with numbers that are not finite is chance; so many in a row mean that nothing is learnt",
        "design",
    )
    skipped_share: float = threshold(
        0.05,
        "of all steps",
        "more skipped steps are no chance, and what is left out biases what is learnt",
        "design",
    )
    share_after: int = threshold(
        200,
        "steps",
        "the share counts after so many steps: before, a few skipped ones are already 5 %",
        "design",
    )
