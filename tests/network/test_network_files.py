"""Files of networks: what is refused, what is not written, and damage of every kind."""

from __future__ import annotations

import copy
import json
import struct
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridfit.errors import InputError, LibraryError
from hybridfit.library.build import VERSION
from hybridfit.library.library import Library
from hybridfit.network.architecture import PatternNet
from hybridfit.network.conversion import stored_tensors
from hybridfit.network.files import write_tensors
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.settings import OtherPhysics, Physics, WeightsSettings
from hybridfit.network.state import (
    CHECKPOINT,
    Plan,
    begin,
    read_checkpoint,
    restore,
    write_checkpoint,
)
from hybridfit.network.step import step
from hybridfit.network.weights import WEIGHTS, Network, weights_beside

CPU = torch.device("cpu")
quick = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
slower = settings(quick, max_examples=25)
ABSURD = (None, [], {}, "x", "", True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, [1] * 9, {"a": [[]]})


# ---------------------------------------------------------------- versions of the physics


def test_weights_name_the_version_of_the_physics(untrained, small_library, tmp_path):
    path = tmp_path / "net.safetensors"
    untrained.save(path)
    version = int(small_library.dataset.attrs["version"])
    assert Network.open(path).origin.library_version == version
    older = Network(untrained.module, replace(untrained.origin, library_version=version - 1), device="cpu")
    with pytest.raises(
        LibraryError, match=rf"version {version - 1} of .* has version {version}; train it anew"
    ):
        older.check(small_library)
    checksum = untrained.origin.checksum
    its = Physics(checksum, version)
    listed = WeightsSettings(other_physics=(OtherPhysics(Physics(checksum, version - 1), its),))
    older.check(small_library, settings=listed)
    for trained_on in (Physics("0" * 64, version - 1), Physics(checksum, version - 2)):
        with pytest.raises(LibraryError, match="train it anew"):
            older.check(
                small_library, settings=WeightsSettings(other_physics=(OtherPhysics(trained_on, its),))
            )


def test_weights_of_another_recipe_are_refused_unless_they_are_listed(untrained, small_library):
    attrs = small_library.dataset.attrs
    mine, its = Physics("0" * 64, int(attrs["version"])), Physics(attrs["checksum"], int(attrs["version"]))
    other = Network(untrained.module, replace(untrained.origin, checksum=mine.checksum), device="cpu")
    with pytest.raises(LibraryError, match="with checksum 000000000000"):
        other.check(small_library)
    other.check(small_library, settings=WeightsSettings(other_physics=(OtherPhysics(mine, its),)))


def test_weights_of_before_there_were_versions_are_refused(untrained, tmp_path):
    path = tmp_path / "old.safetensors"
    about = {"architecture": asdict(untrained.architecture), "origin": asdict(untrained.origin)}
    write_tensors(path, WEIGHTS._replace(version=1), about, stored_tensors(untrained.module))
    with pytest.raises(InputError, match=r"format 1, this hybridfit reads format 2; .*train anew"):
        Network.open(path)


def test_weights_beside_a_library(untrained, small_library, tmp_path):
    path = tmp_path / "small.nc"
    small_library.save(path)
    library = Library.open(path)
    beside = weights_beside(path)
    assert Network.for_library(library, 12.0) is None
    untrained.save(beside)
    assert Network.for_library(library, 12.0) is not None
    assert Network.for_library(library, 5.0) is None  # it was not trained for this semi-angle
    Network(untrained.module, replace(untrained.origin, library_version=1), device="cpu").save(beside)
    with pytest.raises(LibraryError, match=r"small.safetensors lies beside .* version 1 .*, or remove it"):
        Network.for_library(library, 12.0)
    # other values of the structural parameters of one library: that network is another one's
    part = Library(library.dataset.assign_attrs(checksum="1" * 64, whole_checksum="2" * 64), path=path)
    origin = replace(untrained.origin, checksum="3" * 64, whole_checksum="2" * 64)
    Network(untrained.module, origin, device="cpu").save(beside)
    assert Network.for_library(part, 12.0) is None
    beside.write_bytes(beside.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cannot be read as weights .*, or remove it: it lies beside"):
        Network.for_library(library, 12.0)


# ---------------------------------------------------------------- what is not written


def test_what_is_not_finite_is_not_written(untrained, small_library, little, tmp_path):
    path = tmp_path / "net.safetensors"
    untrained.save(path)
    before = path.read_bytes()
    spoilt = copy.deepcopy(untrained.module)
    with torch.no_grad():
        spoilt.place[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="is not written: place holds numbers that are not finite"):
        Network(spoilt, untrained.origin, device="cpu").save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def weights(untrained, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    untrained.save(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(small_library, little, tmp_path_factory) -> Path:
    plan = Plan(samples=100, batch=4, pool=8, seed=4)
    samples = Samples(small_library, Ranges.of(small_library), device=CPU, seed=3, pool=8)
    state = begin(partial(PatternNet, little), plan, CPU)
    step(state, *samples.batch(4))
    path = tmp_path_factory.mktemp("checkpoint") / "net.checkpoint"
    write_checkpoint(path, state, samples, plan, small_library)
    return path


def damaged(good: bytes, data: st.DataObject) -> bytes:
    """The bytes of a file, cut, or with some of them changed, most of these in the header."""
    if data.draw(st.booleans()):
        return good[: data.draw(st.integers(0, len(good) - 1))]
    header = 8 + struct.unpack("<Q", good[:8])[0]
    out = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        end = data.draw(st.sampled_from([8, header, len(good)]))
        out[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    return bytes(out)


def described(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Metadata and tensors of a file."""
    import safetensors

    with safetensors.safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["hybridfit"])["about"], {n: file.get_tensor(n) for n in file.keys()}


def places(value, at=()):
    """Every place in nested dictionaries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key)
            yield from places(inner, (*at, key))


def with_absurd_field(about: dict, data: st.DataObject) -> dict:
    """Metadata of which a field is missing, or holds what it should not."""
    about = json.loads(json.dumps(about))
    *path, last = data.draw(st.sampled_from(sorted(places(about))))
    inner = about
    for key in path:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = data.draw(st.sampled_from(ABSURD))
    return about


@quick
@given(data=st.data())
def test_damaged_weights_are_refused_or_are_what_they_were(data, weights, untrained, tmp_path):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damaged(weights.read_bytes(), data))
    try:
        network = Network.open(path, device="cpu")
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return
    assert network.origin == untrained.origin
    for a, b in zip(network.module.parameters(), untrained.module.parameters(), strict=True):
        assert torch.equal(a, b)


@quick
@given(data=st.data())
def test_absurd_fields_of_weights_are_refused_or_harmless(data, weights, small_library, tmp_path):
    about, tensors = described(weights)
    path = tmp_path / "absurd.safetensors"
    write_tensors(path, WEIGHTS, with_absurd_field(about, data), tensors)
    try:
        network = Network.open(path, device="cpu")
        network.check(small_library, 12.0)
    except (InputError, LibraryError) as error:
        assert "\n" not in str(error)
        return
    said = network.predict(np.zeros((1, 2, 80, 80), np.float32), 12.0)
    assert all(np.isfinite(values).all() for values in said)


@slower
@given(data=st.data())
def test_damaged_checkpoints_are_refused_or_are_what_they_were(
    data, checkpoint, small_library, little, tmp_path
):
    path = tmp_path / "damaged.checkpoint"
    path.write_bytes(damaged(checkpoint.read_bytes(), data))
    good = read_checkpoint(checkpoint, small_library, little)
    try:
        stored = read_checkpoint(path, small_library, little)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return
    assert (stored.plan, stored.progress) == (good.plan, good.progress)
    assert all(torch.equal(value, good.tensors[name]) for name, value in stored.tensors.items())


@slower
@given(data=st.data())
def test_absurd_fields_of_checkpoints_are_refused_or_harmless(
    data, checkpoint, small_library, little, tmp_path
):
    about, tensors = described(checkpoint)
    path = tmp_path / "absurd.checkpoint"
    write_tensors(path, CHECKPOINT, with_absurd_field(about, data), tensors)
    try:
        stored = read_checkpoint(path, small_library, little)
        samples = Samples(small_library, Ranges.of(small_library), device=CPU, seed=3, pool=8)
        restore(begin(partial(PatternNet, little), stored.plan, CPU), samples, stored)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": [2048] * 4, "blocks": [32] * 4}, "million weights, at most 50"),
        ({"widths": [32, 64]}, "widths and architecture.blocks are not of one length"),
        ({"features": 10**9}, r"architecture.features = 1000000000: .* less than or equal to 8192"),
        ({"thickness_classes": 10**7}, "architecture.thickness_classes = 10000000"),
        ({"thickness_first": 40.0}, "classes of 40–99 nm, and was trained on 1–60 nm"),
        ({"semi_angle_max": 3.0}, "semi-angles to 3 mrad, and was trained on 8.4–14 mrad"),
    ],
)
def test_sizes_that_cannot_be_are_named_before_memory_is_taken(values, message, weights, tmp_path):
    about, tensors = described(weights)
    path = tmp_path / "large.safetensors"
    about["architecture"] |= values
    write_tensors(path, WEIGHTS, about, tensors)
    with pytest.raises(InputError, match=message):
        Network.open(path)


def test_random_numbers_of_another_device_are_named(checkpoint, small_library, little, tmp_path):
    about, tensors = described(checkpoint)
    path = tmp_path / "gpu.checkpoint"
    write_tensors(path, CHECKPOINT, about, tensors | {"generator": torch.zeros(16, dtype=torch.uint8)})
    stored = read_checkpoint(path, small_library, little)
    samples = Samples(small_library, Ranges.of(small_library), device=CPU, seed=3, pool=8)
    with pytest.raises(InputError, match="random numbers are those of another kind of device"):
        restore(begin(partial(PatternNet, little), stored.plan, CPU), samples, stored)


def test_checkpoints_of_another_physics_are_refused(checkpoint, small_library, little):
    newer = Library(small_library.dataset.assign_attrs(version=99))
    with pytest.raises(InputError, match=f"on version {VERSION} of the library's physics, this one"):
        read_checkpoint(checkpoint, newer, little)


@pytest.mark.parametrize(
    "values", [{"batch": 0}, {"batch": 10**9}, {"pool": 0}, {"seed": -1}, {"seed": 2**70}]
)
def test_plans_of_absurd_size_are_refused(values):
    with pytest.raises(InputError, match="of a training cannot be; give"):
        Plan(samples=5, **values)


def test_a_pool_too_large_for_memory_is_refused(small_library):
    with pytest.raises(
        InputError, match=r"a pool of 262144 patterns would take .* GB; give one of \d+ at most"
    ):
        Samples(small_library, Ranges.of(small_library), device=CPU, seed=3, pool=262144)
