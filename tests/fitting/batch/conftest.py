"""Frames of one known camera, and both ways to fit them: one by one, and together in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batch_frames import BLUR, CAMERA, CPU, FIX, SEMI_ANGLE, truth_at

from hybridfit import Fitter, simulate_frame
from hybridfit.fitting.batch.engine import BatchFitter
from hybridfit.fitting.refine.refiner import Shared
from hybridfit.frame import make_frame


@pytest.fixture(scope="session")
def small_library(finer_library):
    """Both ways end at one place to a hundredth of an error: rough diffuse tables are too rough for that."""
    return finer_library


@pytest.fixture(scope="session")
def frames(small_library):
    """Three frames; one has dead pixels, and one its disc near an edge."""
    out = []
    for i in range(3):
        image = simulate_frame(
            small_library,
            semi_angle=SEMI_ANGLE,
            shape=(96, 96),
            electrons=2e6,
            seed=i,
            **truth_at(i),
            **CAMERA,
        )[0]
        mask = np.zeros(image.shape, bool)
        if i == 1:
            mask[40:44, 30:33] = True
        if i == 2:
            mask[:10] = True
        out.append(make_frame(image, mask=mask))
    return out


@pytest.fixture(scope="session")
def centres():
    return [truth_at(i)["centre"] for i in range(3)]


@pytest.fixture(scope="session")
def fitter(small_library):
    return Fitter(small_library, SEMI_ANGLE, workers=1, seeded=True, fix=FIX, shared=Shared(BLUR))


@pytest.fixture(scope="session")
def batch(fitter):
    return BatchFitter(fitter, CPU)


@pytest.fixture(scope="session")
def tensors(frames, centres):
    """Images, valid pixels and centres on the device."""
    images, valid = (np.stack([getattr(frame, name) for frame in frames]) for name in ("image", "valid"))
    return tuple(torch.as_tensor(each) for each in (images, valid, np.array(centres)))


@pytest.fixture(scope="session")
def matched(fitter, frames, centres):
    """What a match of one frame after the other finds."""
    return fitter.known.match(frames, centres)


@pytest.fixture(scope="session")
def answers(batch, tensors):
    return batch.answers(*tensors)
