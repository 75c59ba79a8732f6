"""Composition on the grid, by numba and by torch, against the kernel that composes anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.network.compose import Composer, Parameters, TorchTable, lagrange_weights
from hybridfit.pattern.compose import pattern_at

CPU = torch.device("cpu")


def parameters(library, seed=0, n=4):
    rng = np.random.default_rng(seed)
    low, high = library.thickness_range
    largest = library.tilt_max / np.sqrt(2)
    return Parameters(
        thickness=np.array([low, high, *rng.uniform(low, high, n - 2)]),
        tilt=rng.uniform(-largest, largest, (n, 2)),
        semi_angle=rng.uniform(0.6, 1.0, n) * library.semi_angle_max,
    )


@pytest.fixture(scope="module", params=["square", "oblique"])
def library(request, small_library, build_library):
    return small_library if request.param == "square" else build_library("triclinic", (0, 0, 1))


@pytest.mark.parametrize("stride", [1, 2])
def test_both_kernels_against_the_general_one(library, stride):
    p, table = parameters(library), library.table()
    reach = np.array([1.0, 1.3, 1.6, 1.9]) * library.semi_angle_max
    composer = Composer(
        table, stride=stride, reach=reach.max(), semi_angle_max=library.semi_angle_max, device=CPU
    )
    images, shift = composer.patterns(p, reach)
    outer = library.semi_angle_max + composer.half_edge
    tensors = TorchTable(table, stride, composer.half, float(reach.max()), outer, CPU)
    middle = np.rint(p.tilt @ table.to_grid.T).astype(int)
    single = [torch.as_tensor(v, dtype=torch.float32) for v in (*p, reach)]
    by_torch = tensors.compose(*single, torch.as_tensor(middle), half_edge=composer.half_edge)
    half = composer.half
    for i in range(4):
        place = np.stack(np.indices(images[i].shape), axis=-1) - half - shift[i].numpy().astype(float)
        k = stride * place @ np.linalg.inv(table.to_grid).T
        # the float32 of the shift moves points next to the limit across it
        radius = np.linalg.norm(k, axis=-1)
        sure = np.abs(radius - reach[i]) > 1e-4
        expected = pattern_at(
            k[..., 0],
            k[..., 1],
            table,
            thickness=p.thickness[i],
            tilt=tuple(p.tilt[i]),
            semi_angle=p.semi_angle[i],
            half_edge=composer.half_edge,
        )
        expected = np.where(radius <= reach[i], expected, 0)
        top = expected.max()
        assert np.abs(images[i].numpy() - expected)[sure].max() < 1e-4 * top
        assert np.abs(by_torch[i].numpy() - expected)[sure].max() < 1e-4 * top


def test_chunks_do_not_matter(small_library, monkeypatch):
    p, table = parameters(small_library), small_library.table()
    tensors = TorchTable(table, 2, 40, 20.0, 14.5, CPU)
    middle = torch.as_tensor(np.rint(p.tilt @ table.to_grid.T).astype(int))
    arguments = [torch.as_tensor(v, dtype=torch.float32) for v in (*p, np.full(4, 20.0))]
    whole = tensors.compose(*arguments, middle, half_edge=0.5)
    monkeypatch.setattr("hybridfit.network.compose.CHUNK", 1)
    assert torch.equal(whole, tensors.compose(*arguments, middle, half_edge=0.5))


def test_weights_reproduce_cubics():
    x = torch.linspace(0, 1, 7, dtype=torch.float64)
    nodes = torch.arange(-1.0, 3.0, dtype=torch.float64)
    assert torch.allclose((lagrange_weights(x).T * nodes**3).sum(dim=1), x**3, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_draws_the_same_patterns(small_library):
    from hybridfit.network.samples import Ranges, Samples

    ranges = Ranges.of(small_library)
    here, there = (
        Samples(small_library, ranges, device=torch.device(name), seed=1, pool=8) for name in ("cpu", "cuda")
    )
    for samples in (here, there):
        samples.compose(8)
    a, b = here.patterns(torch.arange(8)), there.patterns(torch.arange(8, device="cuda"))
    # half precision, and float32 angles at the rims of the discs
    assert (a.image.float() - b.image.float().cpu()).abs().max() < 3e-3
    assert torch.equal(a.thickness, b.thickness.cpu())
    crops, truth = there.batch(4)
    assert crops.device.type == "cuda" and torch.isfinite(crops).all() and truth.tilt.shape == (4, 2)
