"""The status in words and colour; numbers to the digits that matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hybridfit.fitting.result import Parameter, Status
from hybridfit.plot import plot_fit
from hybridfit.plot.style import STATUS_COLOURS
from hybridfit.plot.words import measured


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_said_in_words_and_colour(result, words, status):
    message = status.value.format(detail="tilt_x, tilt_y at 4.6 mrad", thinnest=1, thickest=60)
    figure = plot_fit(replace(result.with_(tilt_x=4.6), status=status, message=message))
    assert message in words(figure).replace("\n", " ")
    boxes = [text.get_bbox_patch() for axes in figure.axes for text in axes.texts if text.get_bbox_patch()]
    assert [to_hex(box.get_facecolor()) for box in boxes] == [to_hex(STATUS_COLOURS[status.name])]
    assert ("on its bound" in words(figure)) == (status is Status.at_bound)


def test_values_and_errors_are_written_to_the_digits_that_matter():
    assert measured(Parameter(42.29152, 0.01234, None)) == "42.292 ± 0.012"
    assert measured(Parameter(-0.7031, 0.0028, None)) == "−0.7031 ± 0.0028"
    assert measured(Parameter(131.4, 12.0, None)) == "131 ± 12"
    assert measured(Parameter(13.6, None, None)) == "13.6"
    assert measured(Parameter(13.6, np.nan, None)) == "13.6"
    assert measured(Parameter(120.0, 0.001, None)) == "120.0000 ± 0.0010"
    assert measured(Parameter(13.6, 1e-12, None)).endswith("± 1e−12")


def test_the_parts_of_an_error_bar_are_named_the_largest_first(result, words):
    parts = {"counting": 0.004, "misfit": 0.012, "vibration": 0.028, "energy": 0.003, "semi_angle": 0.0001}
    tilts = {"tilt_x": {"counting": 0.002}, "tilt_y": {"counting": 0.004, "misfit": 0.003}}
    shown = words(plot_fit(replace(result, budget={"thickness": parts, **tilts})))
    assert "± of thickness (nm): vibration 0.028, misfit 0.012, counting 0.004\n" in shown
    assert "± of tilt y (mrad): counting 0.0040, misfit 0.0030" in shown and "of tilt x" not in shown
    assert "± of" not in words(plot_fit(result))


def test_of_a_long_budget_the_largest_parts_are_written_whole(result, words):
    """Not the middle of the line is left out, but its smallest parts."""
    names = ("counting", "misfit", "library", "vibration", "semi_angle", "energy", "point_spread")
    parts = {name: 0.1 * 0.8**i for i, name in enumerate(names)}
    said = words(plot_fit(replace(result, budget={"thickness": parts})))
    (line,) = (each for each in said.splitlines() if each.startswith("± of thickness"))
    written = line.partition(": ")[2].split(", ")
    assert len(written) > 3
    for text, name in zip(written, names, strict=False):
        assert text == "…" or text.startswith(name.replace("_", "-") + " 0.")
