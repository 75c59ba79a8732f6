"""What the network says of the frames of a block: here, or on a worker that it was sent to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate, Seed
from hybridfit.frame import Frame
from hybridfit.scan.positions import NoFrame

if TYPE_CHECKING:
    from hybridfit.fitting.seed.network import Seeder


class Placed(NamedTuple):
    """A position whose direct disc is known to be here (px of the camera): the library is matched there."""

    centre_x: float
    centre_y: float


# of one position: what the network says, or candidates in pixels of the camera; an error where the
# network found nothing; None: the whole library is searched
Start = Seed | Placed | Sequence[Candidate] | InputError | None


def network_starts(seeder: Seeder, frames: Sequence[Frame | NoFrame]) -> list[Start]:
    """Seeds of the frames, in one batch; no start where there is no frame, or nothing in it."""
    usable = [(i, frame) for i, frame in enumerate(frames) if isinstance(frame, Frame)]
    starts: list[Start] = [None] * len(frames)
    seeds: list[Seed | InputError]
    try:
        seeds = [*seeder.seed_many([frame for _, frame in usable])]
    except InputError:  # one of them shows nothing: the others are seeded one by one
        seeds = []
        for _, frame in usable:
            try:
                seeds.append(seeder.seed(frame))
            except InputError as error:
                seeds.append(error)
    for (i, _), seed in zip(usable, seeds, strict=True):
        starts[i] = seed
    return starts
