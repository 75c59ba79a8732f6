"""Random views for the training of the alignment network: how frames are cut, and how cameras record them.

Three kinds of crops, as alignment meets them:

    whole   the whole frame, in which the disc has any size and lies anywhere
    near    a guess up to 55 % off in size, and up to half a radius in position
    last    what the passes before have aligned

A fourth is cut where the alignment network itself leads, right or wrong (`seen_from`).

Angles are in units of `SHOWN`, one radius of the guess; see `hybridfit.network.views`, whose words are used.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybridfit.network.alignment.shape import HALF_WIDTH, SHOWN
from hybridfit.network.views import Draw, Patterns, Recording, View

SMALLEST, LARGEST = 1.15, 7.0  # radii of the disc in half a frame


class Cuts(NamedTuple):
    """How crops are cut.

    whole, near : shares of the kinds; the rest are `last`
    near_size, near_shift : how far log size and centre (radii) are off, uniform
    last_size, last_shift : standard deviation of log size, and how far the centre is off
    led : share of the crops that are cut where the alignment network leads
    led_largest, largest : radii of the disc in half a frame, at most; of those crops, and of others
    """

    whole: float = 0.35
    near: float = 0.3
    near_size: float = 0.45
    near_shift: float = 0.5
    last_size: float = 0.03
    last_shift: float = 0.08
    led: float = 0.0
    led_largest: float = 2.6
    largest: float = LARGEST

    @property
    def of_frames(self) -> Cuts:
        """How crops of whole frames are cut, from which the network leads elsewhere."""
        return self._replace(whole=1.0, near=0.0, led=0.0, largest=self.led_largest)


CUTS = Cuts()


class Bars(NamedTuple):
    """Gaps and stops that cross n crops, two each.

    angle (n, 2) · place (n, 2) of the line from the middle · width (n, 2), 0: none, in units of SHOWN ·
    starts (n, 2): a bar reaches from there on only · dark (n, 2): what it lets through, −1: it is masked
    """

    angle: Tensor
    place: Tensor
    width: Tensor
    starts: Tensor
    dark: Tensor


class Framing(NamedTuple):
    """Size, centre and edges of n frames, in radii of the disc, and how their crops are cut.

    size (n,) log(true radius/guess) · centre (n, 2) and edges (n, 4) in radii of the guess ·
    frame_pixel (n,) in radii of the guess
    """

    size: Tensor
    centre: Tensor
    edges: Tensor
    frame_pixel: Tensor


class Shown(NamedTuple):
    """All that is drawn of n frames and of how they are seen."""

    framing: Framing
    view: View
    recording: Recording
    bars: Bars


def draw_shown(framing: Framing, draw: Draw) -> Shown:
    """The rest of it."""
    return Shown(framing, draw_view(framing, draw), draw_recording(framing, draw), draw_bars(framing, draw))


def draw_framing(draw: Draw, cuts: Cuts = CUTS) -> Framing:
    """Frames, and how they are cut."""
    half = draw.log_uniform(SMALLEST, cuts.largest, 2)
    square = draw.happens(0.8)
    half[square, 1] = half[square, 0]
    room = (0.45 * half).minimum((half - 0.9).clamp_min(0))
    off = room * draw.uniform(-1, 1, 2)  # of the disc from the middle of the frame, in its radii
    kind = draw.uniform(0, 1)
    whole, near = kind < cuts.whole, kind < cuts.whole + cuts.near
    # whole: the longer side fills the crop
    filled = half.amax(dim=1) * draw.uniform(0.95, 1.1)
    size_whole = torch.log(HALF_WIDTH / filled)
    centre_whole = off * size_whole.exp()[:, None]
    size_near = cuts.near_size * draw.uniform(-1, 1)
    size_last = cuts.last_size * draw.normal()
    size = torch.where(whole, size_whole, torch.where(near, size_near, size_last))
    shift = draw.in_disc(torch.where(near, cuts.near_shift, cuts.last_shift))
    centre = torch.where(whole[:, None], centre_whole, shift)
    scale = size.exp()[:, None]
    edges = torch.stack(
        [
            centre[:, 0] - (off[:, 0] + half[:, 0]) * scale[:, 0],
            centre[:, 0] - (off[:, 0] - half[:, 0]) * scale[:, 0],
            centre[:, 1] - (off[:, 1] + half[:, 1]) * scale[:, 0],
            centre[:, 1] - (off[:, 1] - half[:, 1]) * scale[:, 0],
        ],
        dim=1,
    )
    pixels = draw.log_uniform(32, 640)  # along the longer side
    frame_pixel = 2 * half.amax(dim=1) / pixels.clamp_min(8) * size.exp()
    # a disc has at least three pixels in its radius
    return Framing(size, centre, edges, frame_pixel.minimum(size.exp() / 3))


def seen(framing: Framing) -> Tensor:
    """How far from the disc's centre (n,), in its radii, crops and frames both reach."""
    crop = (HALF_WIDTH + framing.centre.abs()).amax(dim=1)
    frame = (framing.edges - framing.centre.repeat_interleave(2, dim=1)).abs().amax(dim=1)
    return 1.2 * torch.minimum(crop, frame) * torch.exp(-framing.size)


def draw_view(framing: Framing, draw: Draw) -> View:
    """The rest of the views."""
    return View(
        size=framing.size,
        centre=SHOWN * framing.centre,
        rotation=draw.uniform(-180, 180),
        ellipticity=draw.in_disc(0.02 * draw.uniform(0, 1)),
        mirrored=draw.happens(0.5),
        frame_pixel=SHOWN * framing.frame_pixel,
        phase=draw.uniform(-0.5, 0.5, 2),
        blur=0.1 * SHOWN * draw.uniform(0, 1) ** 1.5,
        background=torch.where(draw.happens(0.1), 0.0, 0.7 * draw.uniform(0, 1) ** 1.3),
        heights=torch.stack([draw.uniform(0, 0.5), draw.uniform(0, 1), draw.uniform(0, 1)], dim=1),
        widths=torch.tensor([0.75, 1.5], device=draw.device) * draw.log_uniform(0.6, 1.6, 2),
    )


def draw_recording(framing: Framing, draw: Draw) -> Recording:
    """What the camera does."""
    zero = torch.zeros(draw.n, device=draw.device)

    def sometimes(share: float, values: Tensor) -> Tensor:
        return torch.where(draw.happens(share), values, zero)

    blocked = sometimes(0.06, draw.uniform(0.05, 0.4))  # of the radius
    place = draw.in_disc(1.5 * framing.size.exp())
    return Recording(
        electrons=draw.log_uniform(10**4.7, 1e8) / _electrons_from(framing.size),
        readout=sometimes(0.3, draw.uniform(0, 0.02)),
        offset=sometimes(0.3, draw.uniform(-0.03, 0.15)),
        hot=sometimes(0.2, draw.log_uniform(1e-4, 2e-3)),
        dead=sometimes(0.2, draw.log_uniform(1e-4, 2e-3)),
        hot_height=draw.log_uniform(1, 30),
        gamma=torch.where(draw.happens(0.2), draw.uniform(0.8, 1.2), 1.0),
        levels=sometimes(0.15, zero + 255),
        edges=SHOWN * framing.edges,
        blocked=SHOWN * torch.cat([framing.centre + place, blocked[:, None]], dim=1),
    )


def _electrons_from(size: Tensor) -> Tensor:
    """By what electrons in the crop's field are fewer: where the frame is seen from near."""
    return torch.exp(2 * size).clamp(0.3, 2.0)


def draw_bars(framing: Framing, draw: Draw) -> Bars:
    """Gaps between chips, which are masked, and beam stops, which are masked or dark."""
    n, scale = draw.n, framing.size.exp()[:, None]
    gap, stop = draw.happens(0.1), draw.happens(0.06)
    both = draw.happens(0.6)
    angle = torch.zeros(n, 2, device=draw.device)
    angle[:, 1] = torch.pi / 2
    place = scale * draw.uniform(-1.2, 1.2, 2)
    width = scale * draw.log_uniform(0.02, 0.15)[:, None].expand(n, 2)
    width = torch.where(gap[:, None], width, 0.0)
    width[:, 1] = torch.where(both, width[:, 1], 0.0)
    starts = torch.full((n, 2), -1e6, device=draw.device)
    dark = torch.full((n, 2), -1.0, device=draw.device)
    # a stop comes from one side and ends near the disc's middle
    angle[stop, 0] = draw.uniform(0, 2 * torch.pi)[stop]
    place[stop, 0] = (scale[:, 0] * draw.uniform(-0.3, 0.3))[stop]
    width[stop, 0] = (scale[:, 0] * draw.log_uniform(0.1, 0.5))[stop]
    width[stop, 1] = 0.0
    starts[stop, 0] = (scale[:, 0] * draw.uniform(-0.4, 0.8))[stop]
    dark[stop, 0] = torch.where(draw.happens(0.5), 0.05 * draw.uniform(0, 1), -1.0)[stop]
    return Bars(angle, SHOWN * place, SHOWN * width, SHOWN * starts, dark)


def seen_from(whole: Shown, centre: Tensor, size: Tensor) -> Shown:
    """The same frames, cut at other discs: centre (n, 2) and log size (n,) in the units of `whole`."""
    framing, view, recording, bars = whole
    scale = torch.exp(-size)[:, None]
    places = framing.edges - centre.repeat_interleave(2, dim=1)
    now = Framing(
        framing.size - size,
        (framing.centre - centre) * scale,
        places * scale,
        framing.frame_pixel * scale[:, 0],
    )
    blocked = torch.cat([recording.blocked[:, :2] - SHOWN * centre, recording.blocked[:, 2:]], dim=1)
    return Shown(
        now,
        view._replace(size=now.size, centre=SHOWN * now.centre, frame_pixel=SHOWN * now.frame_pixel),
        recording._replace(
            electrons=recording.electrons * _electrons_from(framing.size) / _electrons_from(now.size),
            edges=SHOWN * now.edges,
            blocked=blocked * scale,
        ),
        bars._replace(place=bars.place * scale, width=bars.width * scale, starts=bars.starts * scale),
    )


def covered(bars: Bars, u: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What bars do at positions u (n, side) along rows and columns: which crops have any, and in those

    what is let through, and what is valid: two tensors (m, side, side).
    """
    some = torch.nonzero((bars.width > 0).any(dim=1))[:, 0]
    bars, u, centre = Bars(*(each[some] for each in bars)), u[some], centre[some]
    x = u[:, None, :] - centre[:, 0, None, None]
    y = u[:, :, None] - centre[:, 1, None, None]
    through, valid = torch.ones_like(x + y), torch.ones_like(x + y)
    for i in range(2):
        c, s = torch.cos(bars.angle[:, i, None, None]), torch.sin(bars.angle[:, i, None, None])
        across, along = -s * x + c * y - bars.place[:, i, None, None], c * x + s * y
        inside = (across.abs() < bars.width[:, i, None, None] / 2) & (along > bars.starts[:, i, None, None])
        dark = bars.dark[:, i, None, None]
        through = torch.where(inside & (dark >= 0), dark, through)
        valid = torch.where(inside & (dark < 0), 0.0, valid)
    return some, through, valid


def patterns_in_radii(
    image: Tensor, reach: Tensor, half_edge: float, thickness: Tensor, tilt: Tensor
) -> Patterns:
    """Patterns (n, side, side) that reach so many radii to every side, with SHOWN for their radius."""
    n, half = len(image), (image.shape[1] - 1) / 2
    to_image = torch.zeros(n, 2, 2, device=image.device)
    to_image[:, 0, 1] = to_image[:, 1, 0] = half / (reach * SHOWN)
    return Patterns(
        image=image,
        to_image=to_image,
        shift=torch.zeros(n, 2, device=image.device),
        half_edge=half_edge * reach * SHOWN / half,
        thickness=thickness,
        tilt=tilt,
        semi_angle=torch.full((n,), SHOWN, device=image.device),
    )
