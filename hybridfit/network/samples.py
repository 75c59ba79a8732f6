"""Training samples: patterns at continuous parameters, each rendered several times.

A pool of composed patterns is kept.  Every batch is drawn from it and augmented, and for each batch
new patterns replace a few of the oldest, so that a pattern is used `REUSE` times on average.
On a CPU, composing and augmenting take turns on all cores instead of competing for them.  The samples
depend on the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridfit.errors import InputError
from hybridfit.library.library import BEYOND_DISC, Library
from hybridfit.library.mirror import mirror_of
from hybridfit.network.augment import augment
from hybridfit.network.compose import Composer, Parameters
from hybridfit.network.targets import Truth
from hybridfit.network.views import ROUGH, Patterns

REUSE = 8
POOL = 4096  # patterns
SPACING = 0.5  # mrad between the points of a pattern, at most
REACH = 1.3  # how much farther a crop sees than a well aligned one
SHIFT = 4.5  # mrad, true scale, that a crop is off by
LARGEST_POOL = 4e9  # bytes


@dataclass(frozen=True)
class Ranges:
    """What patterns are drawn from: uniform in thickness (nm), semi-angle (mrad) and over the tilt disc."""

    thickness: tuple[float, float]
    semi_angle: tuple[float, float]
    tilt_max: float

    @classmethod
    def of(cls, library: Library, semi_angle: tuple[float, float] | None = None) -> Ranges:
        """The ranges of a library; semi-angles from 60 % of its largest unless given.

        Raises
        ------
        InputError
            No range of semi-angles, or one outside the library.
        """
        largest = library.semi_angle_max
        low, high = semi_angle or (0.6 * largest, largest)
        if not 0.1 * largest <= low <= high <= largest + 1e-9:
            raise InputError(
                f"semi-angles {low:g} … {high:g} mrad cannot be trained on this library; give a range "
                f"within {0.1 * largest:g} … {largest:g} mrad"
            )
        return cls(library.thickness_range, (low, high), library.tilt_max)

    def draw(self, n: int, rng: np.random.Generator) -> Parameters:
        """Parameters of n patterns."""
        radius, angle = self.tilt_max * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
        return Parameters(
            thickness=rng.uniform(*self.thickness, n),
            tilt=np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1),
            semi_angle=rng.uniform(*self.semi_angle, n),
        )


class Samples:
    """A pool of patterns and the crops made of them.

    Parameters
    ----------
    library : Library
    ranges : Ranges
    device : torch.device
    seed : int, or a sequence of them
    pool : int
        Patterns kept.

    Raises
    ------
    InputError
        The pool would take more than 4 GB.
    """

    def __init__(
        self,
        library: Library,
        ranges: Ranges,
        *,
        device: torch.device,
        seed: int | list[int],
        pool: int = POOL,
    ) -> None:
        self.ranges, self.device, self.size = ranges, device, pool
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(device).manual_seed(int(self._rng.integers(1 << 62)))
        table = library.table()
        stride = max(1, int(SPACING / library.step))
        self.composer = Composer(
            table,
            stride=stride,
            reach=float(self._reach(ranges.semi_angle[1])),
            semi_angle_max=ranges.semi_angle[1],
            device=device,
        )
        self._side = 2 * self.composer.half + 1
        each = 2 * self._side**2  # bytes: half precision
        if pool * each > LARGEST_POOL:
            raise InputError(
                f"a pool of {pool} patterns would take {pool * each / 1e9:.1f} GB; give one of "
                f"{int(LARGEST_POOL / each)} at most"
            )
        self._to_image = torch.as_tensor(table.to_grid / stride, dtype=torch.float32, device=device)
        mirror = mirror_of(library)
        self.mirror = None if mirror is None else torch.as_tensor(mirror, dtype=torch.float32, device=device)
        self._images = torch.zeros(pool, self._side, self._side, dtype=torch.float16, device=device)
        self._shift = torch.zeros(pool, 2, device=device)
        self._thickness = torch.zeros(pool, device=device)
        self._tilt = torch.zeros(pool, 2, device=device)
        self._semi_angle = torch.zeros(pool, device=device)
        self._oldest = 0
        self.filled = 0

    @staticmethod
    def _reach(semi_angle: float | NDArray[Any]) -> float | NDArray[Any]:
        """How far out (mrad) a pattern is composed: as far as the most misplaced crop sees of it."""
        return REACH * (semi_angle + BEYOND_DISC) + SHIFT

    def compose(self, n: int) -> None:
        """Replace the oldest n patterns of the pool by new ones."""
        p = self.ranges.draw(n, self._rng)
        where = (torch.arange(n, device=self.device) + self._oldest) % self.size
        images, shift = self.composer.patterns(p, np.asarray(self._reach(p.semi_angle)))
        self._images[where] = images.half()
        self._shift[where] = shift
        self._thickness[where] = torch.as_tensor(p.thickness, dtype=torch.float32, device=self.device)
        self._tilt[where] = torch.as_tensor(p.tilt, dtype=torch.float32, device=self.device)
        self._semi_angle[where] = torch.as_tensor(p.semi_angle, dtype=torch.float32, device=self.device)
        self._oldest = (self._oldest + n) % self.size
        self.filled = min(self.filled + n, self.size)

    def patterns(self, index: Tensor) -> Patterns:
        """Patterns of the pool, (n,) places in it."""
        return Patterns(
            image=self._images[index],
            to_image=self._to_image,
            shift=self._shift[index],
            half_edge=self.composer.half_edge,
            thickness=self._thickness[index],
            tilt=self._tilt[index],
            semi_angle=self._semi_angle[index],
        )

    def batch(self, n: int) -> tuple[Tensor, Truth]:
        """Compose n/REUSE new patterns; crops (n, 2, CROP, CROP) of n picked at random, and the truth."""
        new = max(1, n // REUSE)
        # the pool grows from one batch to its full size, at first by twice as many a batch
        self.compose(n if self.filled == 0 else new if self.filled == self.size else 2 * new)
        index = torch.randint(self.filled, (n,), generator=self._generator, device=self.device)
        return self.crops(index)

    def crops(self, index: Tensor, rough: float = ROUGH) -> tuple[Tensor, Truth]:
        """Crops (n, 2, CROP, CROP) of chosen patterns of the pool, and the truth."""
        return augment(self.patterns(index), self.mirror, self._generator, rough)

    def state(self) -> dict[str, object]:
        """What the next numbers depend on; the patterns themselves are left out."""
        return {"numpy": self._rng.bit_generator.state, "torch": self._generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with an empty pool."""
        self._rng.bit_generator.state = state["numpy"]
        self._generator.set_state(state["torch"].cpu())
        self._oldest = self.filled = 0
