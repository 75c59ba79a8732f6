"""Training samples of the alignment network: patterns of coarse libraries, each rendered several times.

Patterns are kept in pools by how far they reach.  For each batch views are drawn first; each takes a pattern
that reaches as far as the view sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridfit.network.alignment.coarse import TILT_MAX, Coarse
from hybridfit.network.alignment.compose import add_discs
from hybridfit.network.alignment.network import Discs
from hybridfit.network.alignment.shape import SHOWN
from hybridfit.network.alignment.views import (
    CUTS,
    Cuts,
    Framing,
    Shown,
    covered,
    draw_framing,
    draw_shown,
    patterns_in_radii,
    seen,
    seen_from,
)
from hybridfit.network.augment import record, render, to_crops
from hybridfit.network.crop import GRID, PIXEL, CropGrid, axis
from hybridfit.network.views import Draw, Patterns

HALF_SIDE = 64  # points of a pattern from its middle to either side, for crops of the usual pixels
REACHES = 2.7, 4.5, 9.0  # radii of the disc
POOL = 1536  # patterns of each reach
REUSE = 8
VACUUM = 0.03  # of the patterns: nothing but the direct disc
EDGE = 0.5  # steps: half-width of the aperture's soft edge
THICKER = 0.6  # a thickness t is taken in proportion to this power of it: thick crystals are harder
TILTED = 0.5  # of the patterns: tilts uniform over the disc of all tilts; others nearer to the axis
LED_BY = 2  # passes of the guide
EVENLY = 0.3  # a disc that the guide names is taken in proportion to this power of its odds

Guide = Callable[[NDArray[np.float32]], Discs]


class Truth(NamedTuple):
    """The truth about n crops: centre (n, 2) and size (n,), see `shape`."""

    centre: Tensor
    size: Tensor


class Samples:
    """Pools of patterns and the crops made of them.

    Parameters
    ----------
    libraries : sequence of Coarse
    seed : int, or a sequence of them
    device : torch.device
    pool : int
        Patterns kept of each reach.
    cuts : Cuts
        How crops are cut.
    grid : CropGrid
        Their pixels.
    guide : callable(crops), optional
        The discs that the alignment network names in crops (n, 2, CROP, CROP).
    """

    def __init__(
        self,
        libraries: Sequence[Coarse],
        *,
        seed: int | list[int],
        device: torch.device,
        pool: int = POOL,
        cuts: Cuts = CUTS,
        grid: CropGrid = GRID,
        guide: Guide | None = None,
    ) -> None:
        self.libraries, self.device, self.size = libraries, device, pool
        self.cuts, self.grid, self.guide = cuts, grid, guide
        self._rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(int(self._rng.integers(1 << 62)))
        self._half = round(HALF_SIDE * PIXEL / grid.pixel)
        side = 2 * self._half + 1
        self._images = torch.zeros(len(REACHES), pool, side, side, dtype=torch.float16, device=device)
        self._oldest, self.filled = [0] * len(REACHES), [0] * len(REACHES)
        self._mirror = torch.diag(torch.tensor([1.0, -1.0], device=device))

    def compose(self, kind: int, count: int) -> None:
        """Replace the oldest patterns of a pool by new ones."""
        reach = REACHES[kind]
        images = np.stack([self._pattern(reach) for _ in range(count)])
        where = (torch.arange(count, device=self.device) + self._oldest[kind]) % self.size
        self._images[kind, where] = torch.from_numpy(images).to(self.device).half()
        self._oldest[kind] = (self._oldest[kind] + count) % self.size
        self.filled[kind] = min(self.filled[kind] + count, self.size)

    def _pattern(self, reach: float) -> np.ndarray[Any, Any]:
        """One pattern (side, side) of any library, at any of its thicknesses."""
        rng = self._rng
        out = np.zeros(self._images.shape[2:], np.float32)
        library = self.libraries[int(rng.integers(len(self.libraries)))]
        alpha = float(rng.uniform(*library.semi_angles))
        tilt = TILT_MAX * (np.sqrt(rng.random()) if rng.random() < TILTED else rng.random() ** 2)
        angle = rng.uniform(0, 2 * np.pi)
        spacing = reach * alpha / self._half
        odds = library.thickness**THICKER
        at = int(rng.choice(len(odds), p=odds / odds.sum()))
        intensity, beams = library.intensity[at], library.beams
        if rng.random() < VACUUM:
            intensity, beams = np.full((1, *intensity.shape[1:]), 65535, np.uint16), np.zeros((1, 2))
        add_discs(
            intensity,
            beams,
            library.step,
            np.array([tilt * np.cos(angle), tilt * np.sin(angle)]),
            alpha,
            EDGE * spacing,
            spacing,
            out,
        )
        return out / max(float(out.max()), 1e-6)

    def batch(self, n: int) -> tuple[Tensor, Truth]:
        """Crops (n, 2, side, side), and the truth about them; a few patterns are composed for it."""
        led = round(n * self.cuts.led) if self.guide else 0
        parts = [self._drawn(n - led)] if led < n else []
        if led and self.guide:
            parts.append(self._led(led, self.guide))
        crops, truths = zip(*parts, strict=True)
        return torch.cat(crops), Truth(*(torch.cat(each) for each in zip(*truths, strict=True)))

    def _drawn(self, n: int) -> tuple[Tensor, Truth]:
        """Crops that are cut anywhere."""
        draw = Draw(n, self.generator)
        framing = draw_framing(draw, self.cuts)
        return self._crops(self._patterns(framing), draw_shown(framing, draw), draw, self.grid)

    def _led(self, n: int, guide: Guide) -> tuple[Tensor, Truth]:
        """Crops that are cut where the guide leads from the whole frame, and nearly there."""
        draw = Draw(n, self.generator)
        framing = draw_framing(draw, self.cuts.of_frames)
        patterns, shown = self._patterns(framing), draw_shown(framing, draw)
        for step in range(LED_BY):
            crops, _ = self._crops(patterns, shown, draw, GRID)
            said = guide(crops.numpy(force=True))
            odds, centre, size = (
                torch.from_numpy(each).to(self.device).float() for each in (said.odds, said.centre, said.size)
            )
            # any of the discs that it names, also unlikely ones; then the first
            taken = torch.zeros(n, 1, dtype=torch.long, device=self.device)
            if not step:
                taken = torch.multinomial(odds**EVENLY, 1, generator=self.generator)
            rows = torch.arange(n, device=self.device)[:, None], taken
            shown = seen_from(shown, centre[rows][:, 0], size[rows][:, 0])
        shown = seen_from(
            shown,
            draw.in_disc(torch.full_like(framing.size, self.cuts.last_shift)),
            self.cuts.last_size * draw.normal(),
        )
        return self._crops(patterns, shown, draw, self.grid)

    def _patterns(self, framing: Framing) -> Patterns:
        """A pattern for each of n views, that reaches as far as it sees; some are composed for it."""
        n, asked = len(framing.size), seen(framing)
        kind = torch.stack([asked > reach for reach in REACHES[:-1]]).sum(dim=0)
        index = torch.empty(n, dtype=torch.long, device=self.device)
        for i in range(len(REACHES)):
            mine = torch.nonzero(kind == i)[:, 0]
            if not len(mine):
                continue
            full = self.filled[i] == self.size
            self.compose(i, max(1, len(mine) // REUSE) if full else max(1, len(mine) // 2))
            index[mine] = torch.randint(
                self.filled[i], (len(mine),), generator=self.generator, device=self.device
            )
        reach = torch.tensor(REACHES, device=self.device)[kind]
        nothing = torch.zeros(n, device=self.device)
        return patterns_in_radii(
            self._images[kind, index], reach, EDGE, nothing, torch.zeros(n, 2, device=self.device)
        )

    def _crops(self, patterns: Patterns, shown: Shown, draw: Draw, grid: CropGrid) -> tuple[Tensor, Truth]:
        """What the camera makes of patterns, cut out, and the truth about it."""
        _, view, recording, bars = shown
        image = render(patterns, view, self._mirror, grid)
        pixel = view.frame_pixel.clamp_min(grid.pixel)
        side = image.shape[1]
        place = torch.arange(side, device=self.device) - (side - 1) / 2
        some, through, _ = covered(bars, pixel[:, None] * place, view.centre)
        image[some] *= through
        crops = to_crops(record(image, recording, draw), view, recording.edges, recording.blocked, grid)
        u = torch.from_numpy(axis(grid)).to(self.device, torch.float32).expand(len(crops), -1)
        some, _, valid = covered(bars, u, view.centre)
        crops[some] *= valid[:, None]
        return crops, Truth(view.centre / SHOWN, view.size)

    def state(self) -> dict[str, object]:
        """What the next numbers depend on; the patterns themselves are left out."""
        return {"numpy": self._rng.bit_generator.state, "torch": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with empty pools."""
        self._rng.bit_generator.state = state["numpy"]
        self.generator.set_state(state["torch"].cpu())
        self._oldest, self.filled = [0] * len(REACHES), [0] * len(REACHES)
