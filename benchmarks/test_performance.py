"""Performance of the kernels, compared with plain NumPy in the same run.

Every test first compares the answer with NumPy's.  Then it records how many times faster hybridfit is, in
processor time, as `ratio` in the benchmark's extra_info.  The ratio depends little on the machine and its
load.  A test fails if the ratio is a third of its original value or less.

Run with: pytest benchmarks/test_performance.py --benchmark-autosave
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import lmfit
import numpy as np
import pytest
import torch
from scipy import ndimage

pytest.importorskip("pytest_benchmark")

from benchmarks.exact import problem
from hybridfit import Library, Recipe
from hybridfit.fitting.refine.least_squares import refine
from hybridfit.fitting.search.rings import chi2_on_rings
from hybridfit.fitting.search.templates import ANGLES, HARMONICS, make_templates, ring_radii, tilt_grid
from hybridfit.library.recipe import ThicknessRange
from hybridfit.model import ForwardModel
from hybridfit.network.architecture import represent
from hybridfit.network.crop import CROP
from hybridfit.network.weights import Network
from hybridfit.pattern.background import basis
from hybridfit.pattern.camera import Camera
from hybridfit.pattern.compose import pattern_at, pattern_partials

NAME = "SrTiO3_001_200kV"
SMALL = {
    "g_max": 1.4,
    "semi_angle_max": 9.0,
    "tilt_max": 2.0,
    "sampling": 0.5,
    "thickness": ThicknessRange(start=20.0, stop=40.0),
}
ALPHA, THICKNESS, TILT = 9.0, 31.3, (0.9, -0.6)  # mrad, nm, mrad
PIXELS = 96
CAMERA = Camera(46.8, 47.9, 2.7, 12.0)
# NumPy's processor time over ours, one thread each, as measured when a test was written
RATIO = {"values": 15.0, "derivatives": 22.0, "build": 23.0, "network": 2.5, "search": 1.1, "refine": 5.2}
SLOWER = 3.0  # fails
Array = np.ndarray


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Run both on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.shipped(NAME).model_copy(update=SMALL)


@pytest.fixture(scope="module")
def library(recipe) -> Library:
    return Library.build(recipe, device="cpu")


@pytest.fixture
def compare(benchmark) -> Callable[..., None]:
    """Time ours with the benchmark, both for the ratio; record the ratio and compare it with its original."""

    def run(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], *, repeat: int = 3) -> None:
        benchmark(ours)
        if benchmark.stats is None:  # --benchmark-disable
            return
        times = {"hybridfit": cpu_seconds(ours, repeat + 2), "numpy": cpu_seconds(theirs, repeat)}
        ratio = times["numpy"] / times["hybridfit"]
        benchmark.extra_info |= {"cpu_seconds": times, "ratio": round(ratio, 2)}
        least = RATIO[name] / SLOWER
        assert ratio > least, f"{name}: {ratio:.1f} times as quick as NumPy; it was {RATIO[name]:g} times"

    return run


def cpu_seconds(function: Callable[[], Any], repeat: int) -> float:
    """Least processor time of a call, which depends little on the load of the machine."""
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


# ---------------------------------------------------------------- composition


def lagrange(x: Array) -> tuple[Array, Array]:
    """Weights of the nodes −1, 0, 1, 2 at x (n,), and their slopes: (4, n) each."""
    weights = np.stack([-x * (x - 1) * (x - 2) / 6, (x + 1) * (x - 1) * (x - 2) / 2])
    weights = np.concatenate([weights, [-(x + 1) * x * (x - 2) / 2, (x + 1) * x * (x - 1) / 6]])
    slopes = np.stack([-(3 * x**2 - 6 * x + 2) / 6, (3 * x**2 - 4 * x - 1) / 2])
    return weights, np.concatenate([slopes, [-(3 * x**2 - 2 * x - 2) / 2, (3 * x**2 - 1) / 6]])


def numpy_pattern(kx: Array, ky: Array, table: Any, half_edge: float, *, slopes: bool) -> Array:
    """P(k) = Σ_g A(|k − g|) I_g(k − g + τ; t), beam by beam; with slopes the rows of `Partials`."""
    position = (THICKNESS - table.thickness_first) / table.thickness_step
    node = int(position)
    in_t = [w[:, 0] for w in lagrange(np.array([position - node]))]
    in_t[1] /= table.thickness_step
    blend, along_t = (np.tensordot(w, table.intensity[node - 1 : node + 3], 1) for w in in_t)
    middle, out = np.array(table.direction_at.shape) // 2, np.zeros((7 if slopes else 1, kx.size))
    steps = np.arange(-1, 3)
    for beam, (gx, gy) in enumerate(table.beam_xy):
        r = np.hypot(kx - gx, ky - gy)
        near = np.flatnonzero(r < ALPHA + half_edge)
        x, y, r = kx[near] - gx, ky[near] - gy, r[near]
        edge = np.clip((ALPHA + half_edge - r) / (2 * half_edge), 0, 1)
        aperture = edge**3 * (10 - 15 * edge + 6 * edge**2)
        u, v = table.to_grid @ np.stack([x + TILT[0], y + TILT[1]])
        m1, m2 = np.floor(u).astype(int), np.floor(v).astype(int)
        at = (m1 + middle[0])[:, None, None] + steps[:, None], (m2 + middle[1])[:, None, None] + steps
        direction, operation = table.direction_at[at], table.operation_at[at]
        moved = table.permutation[operation, beam]
        stencil = np.where(direction >= 0, blend[moved, direction], 0)
        (wu, su), (wv, sv) = lagrange(u - m1), lagrange(v - m2)
        value = np.einsum("ip,pij,jp->p", wu, stencil, wv)
        out[0, near] += aperture * value
        if slopes:
            rim = 30 * edge**2 * (1 - edge) ** 2 / (2 * half_edge) * value
            by_u, by_v = (
                aperture * np.einsum("ip,pij,jp->p", a, stencil, b) for a, b in ((su, wv), (wu, sv))
            )
            by_t = np.einsum("ip,pij,jp->p", wu, np.where(direction >= 0, along_t[moved, direction], 0), wv)
            g, safe = table.to_grid, np.maximum(r, 1e-12)
            out[1:3, near] -= rim * np.stack([x, y]) / safe
            out[3:5, near] += np.stack([by_u * g[0, i] + by_v * g[1, i] for i in range(2)])
            out[5:, near] += np.stack([aperture * by_t, rim])
    return out


@pytest.mark.parametrize("what", ["values", "derivatives"])
def test_composition(library, compare, what):
    table, half_edge = library.table(), library.step / 2
    axis = np.linspace(-ALPHA - 7, ALPHA + 7, PIXELS)
    kx, ky = (v.ravel() for v in np.meshgrid(axis, axis))
    at = {"thickness": THICKNESS, "tilt": TILT, "semi_angle": ALPHA, "half_edge": half_edge}
    kernel = pattern_at if what == "values" else pattern_partials
    rows = np.atleast_2d(kernel(kx, ky, table, **at))
    expected = numpy_pattern(kx, ky, table, half_edge, slopes=what == "derivatives")
    for row, want in zip(rows, expected, strict=True):
        assert np.allclose(row, want, rtol=0, atol=1e-5 * np.abs(want).max())
    compare(
        what,
        lambda: kernel(kx, ky, table, **at),
        lambda: numpy_pattern(kx, ky, table, half_edge, slopes=what == "derivatives"),
    )


# ---------------------------------------------------------------- build


def numpy_library(recipe: Recipe, library: Library) -> Array:
    """|C exp(iπγt/K_n) C⁻¹ ψ₀|², (thickness, beam, direction): one eigenproblem a direction."""
    matrix, to_mrad = problem(recipe, recipe.g_max)
    data = library.dataset
    q, thickness = np.stack([data.qx, data.qy], 1) / to_mrad, data.thickness.values
    out = np.empty((len(thickness), len(matrix.g), len(q)))
    for i, diagonal in enumerate(matrix.excitation(q).T):
        levels, states = np.linalg.eig(matrix.potential + np.diag(diagonal))
        start = np.linalg.solve(states, np.eye(len(levels))[0])
        phases = np.exp(1j * np.pi / matrix.k_n * 10 * np.outer(thickness, levels))
        out[:, :, i] = np.abs((phases * start) @ states.T) ** 2
    return out[:, : data.sizes["beam"]]


def test_library_build(recipe, library, compare):
    assert np.allclose(library.dataset.intensity, numpy_library(recipe, library), rtol=0, atol=1e-4)
    compare(
        "build", lambda: Library.build(recipe, device="cpu"), lambda: numpy_library(recipe, library), repeat=1
    )


# ---------------------------------------------------------------- network


def numpy_convolution(x: Array, part: torch.nn.Sequential) -> Array:
    """Convolution and batch normalisation of (n, channels, rows, cols), by a product of matrices."""
    layer, norm = part[0], part[1]
    weight, size, stride = layer.weight.numpy(), layer.kernel_size[0], layer.stride[0]
    x = np.pad(x, ((0, 0), (0, 0), *[(layer.padding[0],) * 2] * 2))
    seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    out = np.tensordot(seen, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    scale = norm.weight.numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)
    shift = norm.bias.numpy() - scale * norm.running_mean.numpy()
    return scale[:, None, None] * out + shift[:, None, None]


def numpy_network(module: Any, channels: Array, alpha: Array) -> dict[str, Array]:
    """Trunk and heads, layer by layer."""

    def relu(x: Array) -> Array:
        return np.maximum(x, 0)

    def linear(x: Array, layer: torch.nn.Linear) -> Array:
        return x @ layer.weight.numpy().T + layer.bias.numpy()

    n, c, side, _ = channels.shape
    half = channels.reshape(n, c, side // 2, 2, side // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    x = numpy_convolution(half.reshape(n, 4 * c, side // 2, side // 2), module.stem[1])
    x = relu(x + module.place.numpy())
    for stage in module.stages:
        if isinstance(stage, torch.nn.Sequential):
            x = relu(numpy_convolution(x, stage))
        else:
            x = relu(x + numpy_convolution(relu(numpy_convolution(x, stage.first)), stage.second))
    x = relu(numpy_convolution(x, module.squeeze)).reshape(n, -1)
    angle = (alpha / module.architecture.semi_angle_max)[:, None]
    x = np.hstack([relu(linear(np.hstack([x, angle]), module.features[0])), angle])
    heads = {name: getattr(module, name) for name in ("centre", "rotation", "thickness", "tilt")}
    return {name: linear(relu(linear(x, head[0])), head[2]) for name, head in heads.items()}


def test_network_pass(compare):
    network = Network.shipped(NAME, device="cpu")
    crops = np.random.default_rng(0).random((8, 2, CROP, CROP), np.float32)
    alpha = np.full(len(crops), 16.0, np.float32)

    @torch.inference_mode()
    def ours() -> Any:
        return network.predict(crops, alpha)

    @torch.inference_mode()
    def theirs() -> dict[str, Array]:
        channels = represent(torch.from_numpy(crops), torch.from_numpy(alpha)).numpy()
        return numpy_network(network.module.eval(), channels, alpha)

    found, expected = ours(), theirs()
    odds = np.exp(expected["thickness"] / network.origin.thickness_temperature)
    assert np.allclose(found.centre_mrad, expected["centre"], atol=1e-3)
    assert np.allclose(found.thickness, odds / odds.sum(axis=1, keepdims=True), atol=1e-4)
    compare("network", ours, theirs)


# ---------------------------------------------------------------- search


def numpy_match(image: Array, templates: Any, cameras: Array) -> Array:
    """χ² (camera, template) at the best rotation: the correlation by an inverse Fourier transform."""
    radii, phi = ring_radii(ALPHA), 2 * np.pi * np.arange(ANGLES) / ANGLES
    weight = np.sqrt(radii / radii.sum())[:, None]
    columns, _, _ = basis("radial", np.stack([radii, 0 * radii]), ALPHA)
    series = templates.series[:, :, 0] + 1j * templates.series[:, :, 1]
    out = np.empty((len(cameras), len(series)))
    for i, (col, row, scale) in enumerate(cameras):
        at = [row + scale * np.outer(radii, np.sin(phi)), col + scale * np.outer(radii, np.cos(phi))]
        rings = np.fft.rfft(ndimage.map_coordinates(image, at, order=1, mode="nearest"), axis=1)
        rings = rings[:, :HARMONICS] / ANGLES * weight
        level = np.linalg.lstsq((columns * weight[:, 0]).T, rings[:, 0].real, rcond=None)[0]
        rings[:, 0] -= level @ (columns * weight[:, 0])
        power = 2 * (np.abs(rings) ** 2).sum() - (np.abs(rings[:, 0]) ** 2).sum()
        products = np.einsum("rh,thr->th", rings, series.conj())
        curve = ANGLES * np.fft.irfft(products, ANGLES, axis=1)
        best = curve.argmax(axis=1)
        left, middle, right = (curve[np.arange(len(best)), (best + step) % ANGLES] for step in (-1, 0, 1))
        bend = np.minimum(left - 2 * middle + right, -1e-30)
        peak = middle - (left - right) * np.clip((left - right) / (2 * bend), -0.5, 0.5) / 4
        out[i] = 1 - np.maximum(peak, 0) ** 2 / power
    return out


def frame(library: Library, thickness: float = THICKNESS) -> Array:
    """A frame of noise-free, unblurred intensities and a little noise."""
    row, col = np.indices((PIXELS, PIXELS)).astype(float)
    k = np.stack([col.ravel() - CAMERA.centre_x, row.ravel() - CAMERA.centre_y]) / CAMERA.scale
    angle = np.deg2rad(-CAMERA.rotation)
    kx, ky = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ k
    at = {"tilt": TILT, "semi_angle": ALPHA, "half_edge": library.step / 2}
    image = pattern_at(kx, ky, library.table(), thickness=thickness, **at).reshape(PIXELS, PIXELS)
    return ndimage.gaussian_filter(1e3 * image, 0.8) + np.random.default_rng(0).normal(0, 2, image.shape)


def test_search(library, compare):
    tilts = tilt_grid(2.0, library.rotation_order)
    templates = make_templates(library, ALPHA, np.arange(20.0, 41.0, 2.0), tilts)
    shifts = itertools.product((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0))
    cameras = np.array([(CAMERA.centre_x + x, CAMERA.centre_y + y, CAMERA.scale) for x, y in shifts])
    image = frame(library)
    found, *_ = chi2_on_rings(image, templates, cameras)
    assert np.allclose(found, numpy_match(image, templates, cameras), atol=1e-4)
    best = np.unravel_index(found.argmin(), found.shape)
    assert abs(templates.thickness[best[1]] - THICKNESS) <= 2
    compare(
        "search",
        lambda: chi2_on_rings(image, templates, cameras),
        lambda: numpy_match(image, templates, cameras),
    )


# ---------------------------------------------------------------- refinement

FREE = {
    "thickness": 1.2,
    "tilt_x": 0.2,
    "tilt_y": -0.2,
    "centre_x": 0.7,
    "centre_y": -0.5,
}  # off the truth by
FREE |= {"scale": 0.03, "rotation": 1.0, "blur": 0.1}


def numpy_refined(model: ForwardModel, data: Array, values: dict[str, float]) -> dict[str, float]:
    """Gauss–Newton with differences of the same model, factor and background profiled out, to the end."""

    def residual(at: dict[str, float]) -> Array:
        columns = model.evaluate(at).columns.T
        return data - columns @ np.linalg.lstsq(columns, data, rcond=None)[0]

    values = dict(values)
    for _ in range(20):
        here, step = residual(values), 1e-4
        slopes = [(residual({**values, name: values[name] + step}) - here) / step for name in FREE]
        change = np.linalg.lstsq(np.stack(slopes, axis=1), -here, rcond=None)[0]
        values |= {name: values[name] + d for name, d in zip(FREE, change, strict=True)}
        if np.abs(change).max() < 1e-4:
            break
    return values


def test_refinement(library, compare):
    image = frame(library)
    row, col = np.indices(image.shape)
    mask = np.hypot(row - CAMERA.centre_y, col - CAMERA.centre_x) <= (ALPHA + 7) * CAMERA.scale
    model = ForwardModel(library, mask, CAMERA, semi_angle=ALPHA)
    truth = {"thickness": THICKNESS, "tilt_x": TILT[0], "tilt_y": TILT[1], **CAMERA._asdict()}
    values = {**truth, "semi_angle": ALPHA, "blur": 0.3}
    values = {name: values[name] + FREE.get(name, 0.0) for name in model.parameters}
    params = lmfit.Parameters()
    for name, value in values.items():
        params.add(name, value, vary=name in FREE)

    def ours() -> dict[str, float]:
        return refine(model, image[mask], params, passes=1, errors=False).values

    found, expected = ours(), numpy_refined(model, image[mask], values)
    assert all(np.allclose(found[name], expected[name], atol=2e-3) for name in FREE)
    assert abs(found["thickness"] - THICKNESS) < 0.1
    compare("refine", ours, lambda: numpy_refined(model, image[mask], values), repeat=1)
