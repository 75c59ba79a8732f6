"""The forward pass without torch against that of torch: layers, networks of any shape, all kinds of crops."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridfit.network import architecture, forward
from hybridfit.network.architecture import PatternNet, convolution
from hybridfit.network.conversion import TorchForward, folded, module_of, stored_tensors, weights_of
from hybridfit.network.convolve import convolve, panels_of
from hybridfit.network.crop import CROP
from hybridfit.network.forward import GROUP, Forward, applied, ready, represent, weighed
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.shape import Weights, weight_shapes
from hybridfit.network.weights import Network
from hybridfit.pattern.pool import Pool

SHAPES = [
    {},
    {"widths": (8,), "blocks": (2,), "squeezed": 3, "features": 20, "hidden": 7},
    {"widths": (8, 12), "blocks": (1, 0), "squeezed": 5, "features": 16, "hidden": 9},
    {"widths": (6, 10, 14), "blocks": (0, 2, 3), "squeezed": 4, "features": 33, "hidden": 8},
    {"widths": (16, 8, 24, 12), "blocks": (1, 1, 0, 2), "squeezed": 16, "features": 24, "hidden": 5},
]


def made(shape: architecture.Architecture, seed: int = 3) -> PatternNet:
    """A network whose normalisations are not those of a new one."""
    torch.manual_seed(seed)
    net = PatternNet(shape)
    with torch.no_grad():
        torch.nn.init.normal_(net.place, std=0.3)
        for name, value in net.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(std=0.3)
            elif name.endswith("running_var"):
                value.uniform_(0.3, 3)
        for name, value in net.named_parameters():
            if ".1.weight" in name:
                value.uniform_(0.5, 1.5)
    return net.eval()


def simulated(library, n: int, seed: int = 0) -> np.ndarray:
    """Crops of patterns as a camera records them, with all that training draws."""
    samples = Samples(library, Ranges.of(library), device=torch.device("cpu"), seed=seed, pool=n)
    samples.compose(n)
    crops, _ = samples.crops(torch.arange(n) % samples.size)
    return crops.numpy()


def alike(found, expected):
    """Equal to 1e-5, of the largest where numbers are larger than 1."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, float(np.abs(theirs).max()))


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("side", [5, 10, 13, 40])
@pytest.mark.parametrize("adds", [False, True])
def test_a_convolution_with_its_normalisation(size, stride, side, adds):
    torch.manual_seed(side)
    layer = convolution(16, 9, stride=stride, size=size, bent=False).eval()
    layer[1].running_mean.normal_()
    layer[1].running_var.uniform_(0.2, 2)
    with torch.no_grad():
        layer[1].weight.uniform_(-1, 2)
        layer[1].bias.normal_()
    x = torch.randn(3, 16, side, side)
    with torch.inference_mode():
        expected = layer(x)
        more = torch.randn_like(expected) if adds else torch.zeros_like(expected)
        expected = torch.relu(expected + more)
    arrays = {f"c.{name}": value.numpy() for name, value in stored_tensors(layer).items()}
    added = with_margin(more, 16) if adds else None
    found = applied(with_margin(x, 16), forward.folded(arrays, "c", stride=stride), added)
    alike([found], [with_margin(expected, 16)])  # margins and channels beyond the ninth hold zeros


def with_margin(maps: torch.Tensor, channels: int) -> np.ndarray:
    """Maps (n, c, rows, cols) with their channels side by side, zeros around them and after the last."""
    n, c, rows, cols = maps.shape
    out = np.zeros((n, rows + 2, cols + 2, channels), np.float32)
    out[:, 1:-1, 1:-1, :c] = maps.permute(0, 2, 3, 1).numpy()
    return out


@pytest.mark.parametrize("bends", [False, True])
@pytest.mark.parametrize("n", [1, 5, 8])
def test_a_dense_layer(n, bends):
    torch.manual_seed(n)
    layer, x = torch.nn.Linear(37, 21), torch.randn(n, 37)
    found = weighed(x.numpy(), ready(layer.weight.detach().numpy(), layer.bias.detach().numpy()), bends=bends)
    with torch.inference_mode():
        expected = layer(x)
        alike([found], [(torch.relu(expected) if bends else expected).numpy()])


@pytest.mark.parametrize(("stride", "size"), [(1, 3), (2, 3), (1, 1)])
def test_the_kernels_do_as_their_words_say(stride, size):
    """Where sums are whole numbers, nothing is rounded."""
    rng = np.random.default_rng(0)
    maps = np.zeros((2, 9, 8, 16), np.float32)
    maps[:, 1:-1, 1:-1] = rng.integers(-3, 4, (2, 7, 6, 16))
    matrix = rng.integers(-3, 4, (size * size * 16, 32)).astype(np.float32)
    bias = rng.integers(-9, 9, 32).astype(np.float32)
    rows, cols = -(-7 // stride), -(-6 // stride)
    found = np.zeros((2, rows + 2, cols + 2, 32), np.float32)
    convolve(maps, stride, panels_of(matrix), bias, np.empty((0, *found.shape[1:]), np.float32), found)
    expected = np.zeros_like(found)
    for i in range(rows):
        for j in range(cols):
            at = [stride * i, stride * j] if size == 3 else [stride * i + 1, stride * j + 1]
            seen = maps[:, at[0] : at[0] + size, at[1] : at[1] + size].reshape(2, -1)
            expected[:, i + 1, j + 1] = np.maximum(seen @ matrix + bias, 0)
    np.testing.assert_array_equal(found, expected)


def test_the_channels_that_are_read():
    rng = np.random.default_rng(1)
    crops = rng.normal(1, 1, (5, 2, CROP, CROP)).astype(np.float32)
    crops[:, 1] = (rng.random((5, CROP, CROP)) > 0.2) * rng.random((5, CROP, CROP))
    crops[1, 0, 40, 40], crops[2, 0], crops[3, 1] = 1e6, -1e-3, 0.0  # a hot pixel, nothing positive, no valid
    crops[4] = 0
    alpha = np.array([10.0, 13.6, 20.0, 17.0, 13.6], np.float32)
    expected = architecture.represent(torch.from_numpy(crops), torch.from_numpy(alpha)).numpy()
    alike([represent(crops, alpha)], [expected])


# ---------------------------------------------------------------- whole networks


@pytest.mark.parametrize("shape", SHAPES)
def test_names_and_shapes_of_weights_are_those_of_torch(little, shape):
    shape = replace(little, **shape)
    expected = {name: tuple(value.shape) for name, value in stored_tensors(PatternNet(shape)).items()}
    assert weight_shapes(shape) == expected and list(weight_shapes(shape)) == list(expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_networks_of_any_shape(little, shape):
    weights = weights_of(made(replace(little, **shape)))
    rng = np.random.default_rng(2)
    crops = rng.random((GROUP + 3, 2, CROP, CROP), np.float32)
    alpha = rng.uniform(8, 14, len(crops)).astype(np.float32)
    alike(Forward(weights)(crops, alpha), TorchForward(weights, "cpu")(crops, alpha))


def test_simulated_crops(small_library, little):
    weights, crops = weights_of(made(little)), simulated(small_library, 40)
    alpha = np.linspace(8.4, 14, len(crops)).astype(np.float32)
    alike(Forward(weights)(crops, alpha), TorchForward(weights, "cpu")(crops, alpha))


def test_the_shipped_network(small_library):
    network = Network.shipped("SrTiO3_001_200kV", device="cpu")
    assert isinstance(network._forward, Forward)
    crops = simulated(small_library, 32, seed=4)
    here = network.predict(crops, 13.6)
    logits = TorchForward(network.weights, "cpu")(crops, np.full(len(crops), 13.6, np.float32))
    origin, (n, *square) = network.origin, here.tilt.shape
    thickness = torch.softmax(torch.from_numpy(logits.thickness) / origin.thickness_temperature, dim=1)
    tilt = torch.softmax(torch.from_numpy(logits.tilt) / origin.tilt_temperature, dim=1).reshape(n, *square)
    alike(here[4:], [thickness.numpy(), tilt.numpy()])
    alike([here.log_size, here.centre_mrad], [logits.size.astype(float), logits.centre.astype(float)])
    phase = here.rotation_certainty * np.exp(
        1j * np.deg2rad(network.architecture.rotation_order * here.rotation_deg)
    )
    alike([np.stack([phase.real, phase.imag], axis=1)], [logits.rotation.astype(phase.real.dtype)])


def test_no_crops_no_answers(untrained):
    said = untrained.predict(np.empty((0, 2, CROP, CROP)), 12.0)
    assert [len(values) for values in said] == [0] * 6


def test_there_and_back(little):
    net = made(little)
    with torch.inference_mode():
        back = folded(module_of(weights_of(net)))
        channels, alpha = torch.rand(2, 3, CROP, CROP), torch.tensor([9.0, 13.0])
        assert all(
            torch.equal(a, b)
            for a, b in zip(folded(net)(channels, alpha), back(channels, alpha), strict=True)
        )


def test_a_module_shares_no_memory_with_the_weights(little):
    weights = weights_of(made(little))
    before = {name: value.copy() for name, value in weights.arrays.items()}
    with torch.no_grad():
        for parameter in module_of(weights).parameters():
            parameter.add_(1)
    assert all(np.array_equal(weights.arrays[name], value) for name, value in before.items())


# ---------------------------------------------------------------- threads and batches


def test_threads_change_nothing(little):
    weights, rng = weights_of(made(little)), np.random.default_rng(5)
    crops, alpha = (
        rng.random((5 * GROUP + 1, 2, CROP, CROP), np.float32),
        np.full(5 * GROUP + 1, 12.0, np.float32),
    )
    one, three = (Forward(weights)(crops, alpha, pool) for pool in (None, Pool(3)))
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_change_nothing(little):
    forward_, rng = Forward(weights_of(made(little))), np.random.default_rng(7)
    crops, alpha = rng.random((2 * GROUP, 2, CROP, CROP), np.float32), np.full(2 * GROUP, 12.0, np.float32)
    whole = forward_(crops, alpha)
    for count in range(1, GROUP + 1):
        for a, b in zip(forward_(crops[3 : 3 + count], alpha[:count]), whole, strict=True):
            np.testing.assert_array_equal(a, b[3 : 3 + count])


# ---------------------------------------------------------------- without torch


def test_a_network_is_read_and_applied_without_torch(untrained, tmp_path):
    untrained.save(tmp_path / "net.safetensors")
    code = (
        "import sys, numpy as np; from hybridfit.network.weights import Network; "
        f"net = Network.open({str(tmp_path / 'net.safetensors')!r}, device='cpu'); "
        "net.predict(np.ones((1, 2, 80, 80)), 12.0); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_weights_of_a_network_can_be_sent(untrained):
    import pickle

    crops = np.random.default_rng(6).random((2, 2, CROP, CROP))
    expected = untrained.predict(crops, 12.0)
    for a, b in zip(pickle.loads(pickle.dumps(untrained)).predict(crops, 12.0), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert isinstance(untrained.weights, Weights)
