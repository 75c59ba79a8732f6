"""The picture of a fit: what it shows is what the result says, and saving it harms nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from hybridfit import plot
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.engine import Fitter
from hybridfit.fitting.result import FitResult, Parameter, Status
from hybridfit.fitting.seeding import Hints
from hybridfit.library import Library
from hybridfit.pattern.camera import Camera, to_pixels
from hybridfit.plot import other_minima, plot_fit
from hybridfit.simulate import simulate_frame


@pytest.fixture(scope="module")
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


def axes_titled(figure: Figure, title: str):
    (found,) = [axes for axes in figure.axes if axes.get_title(loc="left") == title]
    return found


def image_of(figure: Figure, title: str) -> AxesImage:
    (image,) = axes_titled(figure, title).get_images()
    return image


def words(figure: Figure) -> str:
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return "\n".join(text.get_text() for text in texts)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_saved_in_every_format(result, tmp_path, suffix, magic):
    path = tmp_path / f"fit{suffix}"
    assert isinstance(plot_fit(result, path), Figure)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]
    first = path.read_bytes()
    plot_fit(result, path)
    assert path.read_bytes() == first  # the same picture is the same file
    if suffix == ".png":
        with Image.open(path) as image:
            assert image.size == (1600, 1000)


@pytest.mark.parametrize("name", ["fit.bmp", "fit", "fit.png.txt"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(result, tmp_path, name):
    with pytest.raises(InputError, match=r"\.png, \.pdf, \.svg"):
        plot_fit(result, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_old_picture_survives_a_failure(result, tmp_path, monkeypatch):
    path = tmp_path / "fit.png"
    path.write_bytes(b"old")

    def half(figure, target, **_):
        Path(target).write_bytes(b"half a picture")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="space"):
        plot_fit(result, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_experiment_and_fit_share_a_scale_and_the_residual_is_their_difference(result):
    figure = plot_fit(result)
    experiment, fit, residual = (image_of(figure, title) for title in ("experiment", "fit", "residual"))
    assert experiment.get_clim() == fit.get_clim()
    low, high = residual.get_clim()
    assert low == -high
    share = high / (fit.get_clim()[1] - fit.get_clim()[0])
    assert f"±{share:.0%}" in axes_titled(figure, "residual").get_title(loc="right")
    np.testing.assert_allclose(experiment.get_array() - fit.get_array(), residual.get_array())
    np.testing.assert_array_equal(experiment.get_array().filled(np.nan), result.thumbnail.experiment)
    labels = [a.get_ylabel() for axes in figure.axes for a in (axes, *axes.child_axes)]
    assert sum("(frame units)" in label for label in labels) == 3  # both bars and the profile


def test_large_numbers_are_shown_as_powers_of_ten(result):
    shown = result.thumbnail
    large = replace(shown, experiment=shown.experiment * 1e5, fit=shown.fit * 1e5)
    figure = plot_fit(replace(result, thumbnail=large))
    power = int(np.floor(np.log10(np.nanmax(large.experiment))))
    assert any(f"$10^{{{power}}}$ frame units" in axes.get_ylabel() for axes in figure.axes)
    assert 1 <= np.nanmax(image_of(figure, "experiment").get_array()) < 10


def test_zone_axis_axes_disc_and_scale_bar_are_where_the_fit_has_them(result):
    camera = Camera(*(result[name].value for name in Camera._fields))
    figure = plot_fit(result)
    fit, experiment = axes_titled(figure, "fit"), axes_titled(figure, "experiment")

    crosses = [line for line in fit.lines if line.get_marker() == "+"]
    tilt = np.array(result.tilt)
    expected = to_pixels(-tilt[:1], -tilt[1:], camera)
    for cross in crosses:
        np.testing.assert_allclose([*cross.get_xdata(), *cross.get_ydata()], np.ravel(expected))
    assert f"{np.hypot(*tilt):.2f} mrad" in fit.get_title(loc="right")

    letters = {text.get_text(): np.array(text.get_position()) for text in fit.texts if text.get_text()}
    arrows = [text for text in fit.texts if getattr(text, "arrow_patch", None) is not None]
    start = np.array(arrows[0].xyann)
    phi = np.deg2rad(camera.rotation)
    for name, along in (("x", (np.cos(phi), np.sin(phi))), ("y", (-np.sin(phi), np.cos(phi)))):
        direction = letters[name] - start  # px: columns to the right, rows downwards
        np.testing.assert_allclose(direction / np.linalg.norm(direction), along, atol=1e-6)

    (disc,) = experiment.patches
    assert disc.center == (camera.centre_x, camera.centre_y)
    assert disc.radius == pytest.approx(12.0 * camera.scale)
    (bar,) = experiment.lines
    (label,) = [text.get_text() for text in experiment.texts]
    assert np.ptp(bar.get_xdata()) == pytest.approx(float(label.split()[0]) * camera.scale)
    assert experiment.get_xlim() == result.thumbnail.extent[:2]
    assert experiment.get_ylim() == result.thumbnail.extent[2:]


def test_radial_profiles_are_ring_means():
    radius = np.hypot(*np.mgrid[-20:21, -20:21]) * 0.5
    fit = 100.0 - 3.0 * radius
    experiment = np.where(radius < 8, fit + 2.0, np.nan)
    r, mean, model, spread = plot._ring_means(radius, experiment, fit)
    np.testing.assert_allclose(mean - model, 2.0)
    np.testing.assert_allclose(model, 100.0 - 3.0 * r)
    np.testing.assert_allclose(spread, 0.0, atol=1e-6)
    assert r.max() < 8
    counts = np.histogram(radius[radius < 8], [0, r[0] + r[1]])[0]
    assert counts[0] >= plot.PROFILE_PIXELS


def test_other_minima_are_marked_and_ripples_are_not(result):
    t = np.arange(1.0, 126.0, 2.0)
    curve = 0.6 + 0.002 * np.cos(np.pi * t)
    for depth, at, width in ((0.5, 33, 4), (0.3, 71, 4), (0.2, 101, 4), (0.1, 11, 4)):
        curve -= depth * np.exp(-(((t - at) / width) ** 2))
    curve[40] *= 0.99
    marked = other_minima(replace(result, curve=np.stack([t, curve])))
    assert [m.thickness for m in marked] == [71.0, 101.0, 11.0]
    figure = plot_fit(replace(result, curve=np.stack([t, curve])))
    shown = "\n".join(text.get_text() for text in axes_titled(figure, "χ² against thickness").texts)
    assert all(f"{thickness} nm" in shown for thickness in (71, 101, 11))
    assert other_minima(replace(result, curve=None)) == []


def test_the_answer_its_interval_and_the_runners_up(result):
    best = result.candidates[0]
    rival = replace(best, thickness=17.4, chi2=1.031 * best.chi2)
    axes = axes_titled(plot_fit(replace(result, candidates=(best, rival))), "χ² against thickness")
    t = result["thickness"]
    assert any(list(line.get_xdata()) == [t.value, t.value] for line in axes.lines)
    span = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (span.x0, span.x1) == pytest.approx(t.interval95)
    shown = [text.get_text() for text in axes.texts]
    assert "17.4 nm (× 1.03)" in shown
    assert f"{plot._measured(t)} nm" in shown
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_said_in_words_and_colour(result, status):
    message = status.value.format(detail="tilt_x, tilt_y at 4.6 mrad")
    parameters = result.parameters | {"tilt_x": Parameter(4.6, None, None)}
    figure = plot_fit(replace(result, status=status, message=message, parameters=parameters))
    assert message in words(figure).replace("\n", " ")
    boxes = [text.get_bbox_patch() for axes in figure.axes for text in axes.texts if text.get_bbox_patch()]
    assert [to_hex(box.get_facecolor()) for box in boxes] == [plot.STATUS_COLOURS[status]]
    assert ("on its bound" in words(figure)) == (status is Status.at_bound)


def test_odd_results_are_drawn(result):
    parameters = {name: Parameter(np.nan, None, None) for name in result.parameters}
    parameters["semi_angle"] = Parameter(12.0, None, None)
    shown = result.thumbnail
    failed = replace(result, parameters=parameters, status=Status.failed, message="…", candidates=())
    structure = {"oxygen_shift": Parameter(0.0213, 0.0031, None)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_fit(replace(result, curve=None)).canvas.draw()
        plot_fit(replace(result, curve=None, candidates=())).canvas.draw()
        plot_fit(replace(failed, thumbnail=replace(shown, fit=shown.fit * np.nan))).canvas.draw()
        plot_fit(replace(result, thumbnail=replace(shown, experiment=shown.fit * 0))).canvas.draw()
        figure = plot_fit(replace(result, structure=structure))
    assert "oxygen_shift" in words(figure) and "± 0.0031" in words(figure)


def test_any_file_name_is_a_title(result, tmp_path):
    for name in ("/data/$x_1^2$ \\frac.tif", "рамка 图像.dm4", "long " * 40 + ".tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = plot_fit(replace(result, source=name), tmp_path / "fit.png")
        assert Path(name).name[-20:] in figure.texts[0].get_text()
        right = figure.texts[0].get_window_extent().x1
        assert right <= 1600


def test_values_and_errors_are_written_to_the_digits_that_matter():
    assert plot._measured(Parameter(42.29152, 0.01234, None)) == "42.292 ± 0.012"
    assert plot._measured(Parameter(-0.7031, 0.0028, None)) == "−0.7031 ± 0.0028"
    assert plot._measured(Parameter(131.4, 12.0, None)) == "131 ± 12"
    assert plot._measured(Parameter(13.6, None, None)) == "13.6"
    assert plot._measured(Parameter(13.6, np.nan, None)) == "13.6"


def test_no_global_state_of_matplotlib_is_touched(result):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        figure = plot_fit(result)
    assert to_hex(figure.axes[0].get_facecolor()) == "#ffffff"
    assert dict(matplotlib.rcParams) == before
    code = "import sys, hybridfit.plot; print('matplotlib.pyplot' in sys.modules)"
    root = Path(plot.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert ran.stdout == "False\n", ran
