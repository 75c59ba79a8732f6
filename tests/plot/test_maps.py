"""Pictures of maps: what is shown where, in which colours, and at any size."""

from __future__ import annotations

import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.quiver import Quiver
from PIL import Image
from skimage.color import rgb2lab

from hybridfit.errors import InputError
from hybridfit.plot.maps import PANELS, plot_map, plot_panel, plot_paper_map
from hybridfit.plot.panels import MASKED, robust_limits, round_length, share, two_digits
from hybridfit.plot.wheel import tilt_colours

SHAPES = [(1, 1), (10, 10), (3, 200), (200, 3), (40, 90), (256, 256)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_drawn_inside_the_page(make_map, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (plot_map(make_map(*shape, step=0.5)), plot_panel(make_map(*shape), "status")):
            figure.canvas.draw()
            width, height = figure.canvas.get_width_height()
            for axis in figure.axes:
                box = axis.get_tightbbox()
                assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, axis
    titles = {axis.get_title(loc="left") for axis in plot_map(make_map(*shape)).axes}
    assert {"thickness", "tilt", "status", "standard error, tilt"} <= titles


def test_values_are_shown_as_they_are_and_holes_are_grey(make_map, image_of):
    scan = make_map()
    image = image_of(plot_map(scan), "thickness")
    np.testing.assert_array_equal(image.get_array().filled(np.nan), scan["thickness"])
    assert image.get_cmap().get_bad()[:3] == pytest.approx(to_rgb(MASKED))
    hole = scan["status"].values == 5
    colours = image_of(plot_panel(scan, "tilt"), "tilt").get_array()
    np.testing.assert_allclose(colours[hole], np.broadcast_to(to_rgb(MASKED), (10, 3)))


def test_one_wild_value_does_not_take_all_the_colours(make_map, image_of):
    scan = make_map(40, 40)
    scan["thickness"][3, 4] = 120.0
    low, high = image_of(plot_panel(scan, "thickness"), "thickness").get_clim()
    assert 18 < low < 22 and 24 < high < 27
    assert robust_limits(np.array([np.nan])) == (0.0, 1.0)
    assert (
        robust_limits(np.array([-1.0, 0.5]), signed=True)[0]
        == -robust_limits(np.array([-1.0, 0.5]), signed=True)[1]
    )


def test_colours_cover_what_converged_and_the_bar_shows_that_more_lies_beyond(make_map, image_of):
    scan = make_map(20, 20, hole=0.0)
    scan["status"][:], scan["thickness"][:4, :4] = 0, 1.0  # a hole that was fitted as 1 nm
    scan["thickness_stderr"][:4, :4] = 30.0
    whole = image_of(plot_panel(scan, "thickness"), "thickness").get_clim()
    scan["status"][:4, :4] = 3  # poor match
    sure = image_of(plot_panel(scan, "thickness"), "thickness").get_clim()
    assert whole[0] < 2 and sure[0] > 15
    figure = plot_panel(scan, "thickness_stderr")
    assert image_of(figure, "standard error, thickness").get_clim()[1] < 5
    scan["status"][:] = 3
    assert image_of(plot_panel(scan, "thickness"), "thickness").get_clim() == whole


def test_tilt_colours_are_fair_to_every_direction():
    phi = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    for m in (0.3, 0.7, 1.0):
        lab = rgb2lab(tilt_colours(m * np.cos(phi), m * np.sin(phi), 1.0)[None])[0]
        assert np.ptp(lab[:, 0]) < 2
        assert np.ptp(np.hypot(lab[:, 1], lab[:, 2])) < 4
        hue = np.unwrap(np.arctan2(lab[:, 2], lab[:, 1]))
        assert (np.diff(hue) > 0).all()
    white = tilt_colours(np.zeros(1), np.zeros(1), 1.0)
    assert white.min() > 0.93 and np.ptp(white) < 0.01
    np.testing.assert_allclose(
        tilt_colours(np.array([5.0]), np.zeros(1), 1.0), tilt_colours(np.ones(1), np.zeros(1), 1.0)
    )


def test_arrows_point_the_way_of_the_wheel(make_map, axes_titled):
    """y is downwards: a tilt along +y is an arrow towards later rows, and sits low on the wheel."""
    scan = make_map(10, 10, hole=0.0)
    scan["tilt_x"][:], scan["tilt_y"][:] = 0.0, 2.0
    axis = axes_titled(plot_map(scan), "tilt, magnitude")
    (arrows,) = [child for child in axis.get_children() if isinstance(child, Quiver)]
    np.testing.assert_allclose(arrows.U, 0.0, atol=1e-12)
    assert (arrows.V < 0).all()  # on the screen, upwards is positive
    assert axis.get_ylim()[0] > axis.get_ylim()[1]


def test_statuses_are_named_with_their_shares(make_map, words):
    text = words(plot_panel(make_map(20, 20, hole=0.1), "status"))
    assert "unusable 10.0 %" in text and "converged" in text and "not done" not in text
    assert share(0.0001) == "< 0.1 %" and share(1.0) == "100.0 %" and share(0.9999) == "> 99.9 %"


def test_the_scale_bar_is_in_nm_where_the_step_is_known(make_map, axes_titled, words):
    figure = plot_panel(make_map(20, 40, step=0.5), "thickness")
    assert "5 nm" in words(figure)
    (bar,) = axes_titled(figure, "thickness").lines
    assert np.ptp(bar.get_xdata()) == pytest.approx(5 / (40 * 0.5))
    assert "10 positions" in words(plot_panel(make_map(20, 40), "thickness"))
    assert "times as high" in words(plot_panel(make_map(2, 100), "thickness"))
    assert [round_length(v) for v in (7.0, 0.3, 250.0, 2.0)] == [5.0, 0.2, 200.0, 2.0]
    assert round_length(0.3, whole=True) == 1.0
    assert two_digits(4.21) == pytest.approx(4.3) and two_digits(0.0) == 1.0


def test_measured_beside_truth(make_map, axes_titled):
    scan, truth = make_map(seed=1), make_map(hole=0.0, seed=2)
    truth["vacuum"] = (truth["thickness"].dims, (truth["status"].values == 5).astype(np.int8))
    figure = plot_paper_map(scan, truth)
    assert [a.get_title(loc="left") for a in figure.axes].count("measured − truth") == 5
    columns = [a for a in figure.axes if a.get_images() and a.get_title(loc="left")]
    measured, expected, difference = (a.get_images()[0] for a in columns[:3])
    assert measured.get_clim() == expected.get_clim()
    there = (scan["thickness"] - truth["thickness"]).values
    np.testing.assert_allclose(difference.get_array().filled(np.nan), there)
    assert difference.get_clim()[0] == -difference.get_clim()[1]
    assert np.nanmax(np.abs(columns[-1].get_images()[0].get_array())) < 30  # azimuths are wrapped
    assert len([a for a in plot_paper_map(scan).axes if a.get_title(loc="left")]) == 5
    with pytest.raises(InputError, match=r"\(12, 15\) positions"):
        plot_paper_map(scan, make_map(12, 15))


def test_saved_whole_and_the_same_each_time(make_map, tmp_path):
    path = tmp_path / "map.png"
    plot_map(make_map(), path)
    first = path.read_bytes()
    plot_map(make_map(), path)
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]
    with Image.open(path) as image:
        assert image.width == 1600
    before = dict(matplotlib.rcParams)
    plot_panel(make_map(), "tilt", tmp_path / "tilt.svg")
    plot_paper_map(make_map(), path=tmp_path / "paper.pdf")
    assert dict(matplotlib.rcParams) == before


def test_panels_are_chosen_by_name(make_map, axes_titled):
    scan = make_map()
    scan["field_x"] = scan["tilt_x"] * 0.01
    figure = plot_map(scan, names=["thickness", "field_x", "scale"])
    low, high = axes_titled(figure, "field x").get_images()[0].get_clim()
    assert low == -high
    assert axes_titled(figure, "scale").get_images()
    assert set(PANELS) >= {"thickness", "tilt", "status"}
    truth = scan[["thickness", "tilt_x", "tilt_y"]]
    assert axes_titled(plot_map(truth), "tilt")


def test_maps_of_nothing_are_drawn(make_map, words):
    scan = make_map(5, 6, hole=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot_map(scan)
        figure.canvas.draw()
        plot_paper_map(scan, scan).canvas.draw()
    assert "nothing known" in words(figure) and "unusable 100.0 %" in words(figure)


@pytest.mark.parametrize("draw", [plot_map, plot_paper_map])
def test_what_cannot_be_drawn_is_refused(make_map, tmp_path, draw):
    with pytest.raises(InputError, match=r"\.png, \.pdf, \.svg"):
        draw(make_map(), path=tmp_path / "map.bmp")
    with pytest.raises(InputError, match="no positions along scan_y"):
        draw(make_map().rename(scan_y="rows"))
    with pytest.raises(InputError, match="no 'nosuch' to draw; it has thickness, tilt"):
        plot_panel(make_map(), "nosuch")
    with pytest.raises(InputError, match="no 'message'"):
        plot_map(make_map(), names=["message"])
    assert list(tmp_path.iterdir()) == []
