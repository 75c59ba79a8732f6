"""The command `train-alignment`, for either of the two networks that find a disc."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.network.alignment import training
from hybridfit.network.alignment.coarse import HALF, Coarse
from hybridfit.network.alignment.network import AlignmentNetwork
from hybridfit.network.rim.network import RimNetwork

SIDE = 2 * HALF + 1


@pytest.fixture
def vacuum(monkeypatch) -> None:
    """Libraries of nothing but the direct beam, and little validation."""
    intensity = np.full((1, 1, SIDE, SIDE), 65535, np.uint16)
    made = [Coarse(intensity, np.zeros((1, 2)), 1.5, (10.0, 15.0), np.array([1.0]))]
    monkeypatch.setattr(training, "libraries", lambda *_, **__: (made, made))
    monkeypatch.setattr(training, "VALIDATION", 32)
    monkeypatch.setattr(training, "POOL", 16)


@pytest.mark.parametrize("options, network", [([], AlignmentNetwork), (["--rim"], RimNetwork)])
def test_weights_are_written_and_the_checkpoint_beside_them(options, network, vacuum, run, tmp_path):
    path = tmp_path / "net.safetensors"
    told = run("train-alignment", "-o", path, "--samples", 1, "--device", "cpu", *options)
    assert told.code == 0, told.err
    assert "of crystals held back" in told.out and "within" in told.out
    made = network.open(path)
    assert (
        made.record["samples"] == made.record["plan"]["batch"] and path.with_suffix(".checkpoint").is_file()
    )


def test_a_budget_is_given_once(run, tmp_path):
    told = run("train-alignment", "-o", tmp_path / "a.safetensors", "--samples", 1, "--minutes", 1)
    assert told.code == 2 and "give one of them" in told.err
    told = run("train-alignment", "-o", tmp_path / "a.pt")
    assert told.code == 2 and "ends in .safetensors" in told.err
