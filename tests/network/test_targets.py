"""Classes, their labels, and what is read from them."""

from __future__ import annotations

import pytest
import torch

from hybridfit.network.architecture import Architecture, Heads, PatternNet, represent
from hybridfit.network.crop import CROP
from hybridfit.network.targets import (
    Truth,
    between,
    loss,
    measures,
    thickness_loss,
    thickness_value,
    tilt_loss,
    tilt_value,
    turned,
)

SHAPE = Architecture(
    rotation_order=4,
    thickness_first=1.0,
    thickness_step=1.0,
    thickness_classes=60,
    tilt_classes=13,
    semi_angle_max=14.0,
)


def labels(cost, classes):
    """The label that a cross-entropy holds: its slope is softmax − label."""
    logits = torch.zeros(1, classes, requires_grad=True)
    cost(logits).sum().backward()
    return 1 / classes - logits.grad[0]


def test_labels_are_distributions_whose_mean_is_the_value():
    p = labels(lambda x: thickness_loss(x, torch.tensor([17.3]), SHAPE), 60)
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert (p * (1 + torch.arange(60))).sum().item() == pytest.approx(17.3, abs=1e-3)
    assert (p > 1e-5).sum() == 2
    p = labels(lambda x: tilt_loss(x, torch.tensor([[1.3, -0.6]]), SHAPE), 169).reshape(13, 13)
    place = SHAPE.tilt_first + 0.5 * torch.arange(13)
    assert (p.sum(dim=0) * place).sum().item() == pytest.approx(1.3, abs=1e-3)  # columns are x
    assert (p.sum(dim=1) * place).sum().item() == pytest.approx(-0.6, abs=1e-3)
    assert (p > 1e-5).sum() == 4


def test_values_come_back_from_certain_answers():
    thickness, tilt = torch.tensor([1.0, 17.3, 60.0]), torch.tensor([[1.3, -0.6], [-3.0, 3.0], [0.0, 0.0]])
    i, f = between(thickness, 1.0, 1.0, 60)
    logits = torch.full((3, 60), -1e3)
    logits[range(3), i], logits[range(3), i + 1] = torch.log(1 - f), torch.log(f + 1e-30)
    assert thickness_value(logits, SHAPE) == pytest.approx(thickness, abs=1e-4)
    logits = torch.full((3, 13, 13), -1e3)
    for n, (x, y) in enumerate(tilt):
        ix, fx = between(x, SHAPE.tilt_first, 0.5, 13)
        iy, fy = between(y, SHAPE.tilt_first, 0.5, 13)
        for dx, px in ((0, 1 - fx), (1, fx)):
            for dy, py in ((0, 1 - fy), (1, fy)):
                logits[n, iy + dy, ix + dx] = torch.log(px * py + 1e-30)
    assert tilt_value(logits.flatten(1), SHAPE).numpy() == pytest.approx(tilt.numpy(), abs=1e-4)


def test_a_turn_by_the_symmetry_is_no_error():
    truth = Truth(
        size=torch.tensor([0.01]),
        centre=torch.tensor([[0.3, 0.4]]),
        rotation=torch.tensor([100.0]),
        thickness=torch.tensor([30.0]),
        tilt=torch.tensor([[1.0, 0.0]]),
        semi_angle=torch.tensor([12.0]),
    )
    tilt = torch.zeros(1, 169)
    tilt[0, 6 * 13 + 8] = 50
    heads = Heads(
        size=torch.zeros(1),
        centre=torch.zeros(1, 2),
        rotation=0.7 * turned(torch.tensor([11.0]), 4),
        thickness=50 * torch.nn.functional.one_hot(torch.tensor([31]), 60).float(),
        tilt=tilt,
    )
    found = measures(heads, truth, SHAPE)
    assert found["rotation_rms"] == pytest.approx(1, abs=1e-3)
    assert found["centre_rms"] == pytest.approx(0.5)
    assert found["size_rms"] == pytest.approx(0.01)
    assert found["thickness_3nm"] == found["thickness_2nm"] == found["tilt_half_mrad"] == 1
    assert loss(heads, truth, SHAPE) > 0


def test_channels_ignore_intensity_and_hot_pixels():
    crops = torch.rand(2, 2, CROP, CROP, generator=torch.Generator().manual_seed(1)) + 0.5
    crops[:, 1] = 1
    alpha = torch.tensor([12.0, 9.0])
    plain = represent(crops, alpha)
    assert plain.shape == (2, 3, CROP, CROP)
    bright = crops.clone()
    bright[:, 0] *= 1e5
    assert torch.allclose(represent(bright, alpha), plain, atol=1e-4)
    hot = crops.clone()
    hot[:, 0, 40, 45] = 1e5
    rest = torch.ones(CROP, CROP, dtype=bool)
    rest[40, 45] = False
    assert (represent(hot, alpha) - plain)[:, :, rest].abs().max() < 0.02
    assert torch.isfinite(represent(torch.zeros(1, 2, CROP, CROP), alpha[:1])).all()
    # the aperture channel has the aperture's area
    area = plain[:, 1].sum(dim=(1, 2)) * 0.65**2
    assert area.numpy() == pytest.approx((torch.pi * alpha**2).numpy(), rel=0.01)


def test_network_has_its_size_and_knows_the_semi_angle():
    torch.manual_seed(0)
    net = PatternNet(SHAPE).eval()
    count = sum(p.numel() for p in net.parameters())
    assert 1.5e6 < count < 3.2e6
    channels = torch.rand(2, 3, CROP, CROP)
    with torch.inference_mode():
        a, b = net(channels, torch.tensor([10.0, 10.0])), net(channels, torch.tensor([10.0, 14.0]))
    assert a.thickness.shape == (2, 60) and a.tilt.shape == (2, 169) and a.size.shape == (2,)
    assert torch.allclose(a.tilt[0], b.tilt[0], atol=1e-5) and not torch.equal(a.tilt[1], b.tilt[1])
