"""Results to be drawn, a true one and made-up ones, and how their pictures are taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.result import FitResult, Thumbnail
from hybridfit.fitting.status import Status
from hybridfit.library.library import Library
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.simulate.frame import simulate_frame


@dataclass(frozen=True)
class Drawable:
    """Plain values with all that a picture asks for: no fit is needed to draw one."""

    source: str
    library: str
    status: Status
    message: str
    parameters: Mapping[str, Parameter]
    structure: Mapping[str, Parameter]
    varied: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    whole_curve: NDArray[np.float64] | None
    curve_searched: bool
    flipped: bool
    thumbnail: Thumbnail
    residual_fraction: float
    misfit_fraction: float
    reduced_chi2: float
    budget: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def with_(self, **values: Any) -> Drawable:
        """A copy with other parameters: value, or (value, standard error)."""
        new = {name: measured(*np.atleast_1d(v).tolist()) for name, v in values.items()}
        return replace(self, parameters={**self.parameters, **new})


def measured(value: float, stderr: float | None = None) -> Parameter:
    """A parameter whose interval is two standard errors wide on either side."""
    interval = None if stderr is None else (value - 2 * stderr, value + 2 * stderr)
    return Parameter(value, stderr, interval)


@pytest.fixture(scope="session")
def fitted(small_library: Library) -> FitResult:
    """A fit of a simulated frame."""
    image, truth = simulate_frame(
        small_library, thickness=32.6, tilt=(0.9, -0.4), semi_angle=12.0, shape=(80, 96), rotation=17.0
    )
    camera = Hints(centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"], rotation=17.0)
    fitter = Fitter(small_library, 12.0, hints=camera)
    seed = Candidate(33.0, 1.0, -0.5, truth["centre_x"], truth["centre_y"], truth["scale"], 17.0)
    return fitter.refine(image, seed)


@pytest.fixture(scope="session")
def result() -> Drawable:
    """A made-up answer of 32.6 nm, with a searched curve of the right form."""
    camera = Camera(46.3, 40.1, 1.9, 17.0)
    col, row = np.meshgrid(np.arange(96.0), np.arange(80.0))
    radius = np.hypot(*to_angles(col.ravel(), row.ravel(), camera)).reshape(col.shape)
    fit = 400 / (1 + np.exp((radius - 12) / 0.5)) + 40 * np.exp(-((radius / 18) ** 2))
    fit[radius > 19.5] = np.nan
    experiment = fit + 5 * np.random.default_rng(0).standard_normal(fit.shape)
    values = {
        "thickness": (32.6, 0.031),
        "tilt_x": (0.9, 0.012),
        "tilt_y": (-0.4, 0.011),
        "centre_x": (46.3, 0.02),
        "centre_y": (40.1, 0.02),
        "scale": (1.9, 0.0021),
        "rotation": (17.0, 0.031),
        "ellipticity_a": (0.0003, 0.0002),
        "ellipticity_b": (-0.0001, 0.0002),
        "semi_angle": (12.0,),
        "blur": (0.26, 0.01),
    }
    t = np.arange(1.0, 61.0, 2.0)
    chi2 = 0.6 - 0.55 * np.exp(-(((t - 33) / 4) ** 2)) - 0.3 * np.exp(-(((t - 11) / 2.5) ** 2))
    best = Candidate(32.6, 0.9, -0.4, 46.3, 40.1, 1.9, 17.0, chi2=0.02)
    return Drawable(
        source="frame.tif",
        library="SrTiO3 [0 0 1] 200 kV",
        status=Status.converged,
        message="The fit converged.",
        parameters={name: measured(*each) for name, each in values.items()},
        structure={},
        varied=tuple(name for name, each in values.items() if len(each) == 2),
        candidates=(best,),
        whole_curve=np.stack([t, chi2]),
        curve_searched=True,
        flipped=False,
        thumbnail=Thumbnail(experiment, fit, radius, (-0.5, 95.5, 79.5, -0.5)),
        residual_fraction=0.0123,
        misfit_fraction=0.0,
        reduced_chi2=1.02,
    )


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
def written():
    """written(figure) → all words that are drawn, ticks and legends included, with their boxes in px."""

    def find(figure: Figure) -> list[tuple[str, Bbox]]:
        if figure.stale:
            figure.canvas.draw()
        every = [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]
        texts = list(figure.texts)
        for axes in every:
            legend = axes.get_legend()
            texts += [*axes.texts, axes.title, axes._left_title, axes._right_title]
            texts += [] if legend is None else legend.get_texts()
            for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
                low, high = sorted(axis.get_view_interval())
                shown = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                texts += [axis.label, *(label for tick in shown for label in (tick.label1, tick.label2))]
        shown = [text for text in texts if text.get_visible() and text.get_text().strip()]
        return [(text.get_text(), text.get_window_extent()) for text in shown]

    return find


@pytest.fixture(scope="session")
def words():
    """words(figure) → everything that is written outside ticks and labels."""

    def read(figure: Figure) -> str:
        texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
        return "\n".join(text.get_text() for text in texts)

    return read
