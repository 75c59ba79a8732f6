"""A result to be drawn, and how its picture is taken apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.result import FitResult
from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame


@pytest.fixture(scope="session")
def result(small_library: Library) -> FitResult:
    """A fit of a simulated frame, with a searched curve of the right form."""
    image, truth = simulate_frame(
        small_library, thickness=32.6, tilt=(0.9, -0.4), semi_angle=12.0, shape=(80, 96), rotation=17.0
    )
    camera = Hints(centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"], rotation=17.0)
    fitter = Fitter(small_library, 12.0, hints=camera)
    seed = Candidate(33.0, 1.0, -0.5, truth["centre_x"], truth["centre_y"], truth["scale"], 17.0)
    t = np.arange(1.0, 61.0, 2.0)
    curve = 0.6 - 0.55 * np.exp(-(((t - 33) / 4) ** 2)) - 0.3 * np.exp(-(((t - 11) / 2.5) ** 2))
    return replace(fitter.refine(image, seed), source="frame.tif", curve=np.stack([t, curve]))


@pytest.fixture(scope="session")
def axes_titled():
    """axes_titled(figure, title) → the panel of that title."""

    def find(figure: Figure, title: str):
        (found,) = [axes for axes in figure.axes if axes.get_title(loc="left") == title]
        return found

    return find


@pytest.fixture(scope="session")
def image_of(axes_titled):
    """image_of(figure, title) → the image in the panel of that title."""

    def find(figure: Figure, title: str) -> AxesImage:
        (image,) = axes_titled(figure, title).get_images()
        return image

    return find


@pytest.fixture(scope="session")
def words():
    """words(figure) → everything that is written outside ticks and labels."""

    def read(figure: Figure) -> str:
        texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
        return "\n".join(text.get_text() for text in texts)

    return read
