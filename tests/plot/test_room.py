"""Nothing on a page is cut at its edge, and no words lie over others or over what they explain."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.status import Status
from hybridfit.plot import plot_fit
from hybridfit.plot.chi2 import runners_up

EVERY = {
    "plain": lambda r: r,
    "thick and certain": lambda r: r.with_(thickness=(120.0, 0.001), tilt_x=(-4.59999, 0.00001)),
    "large numbers": lambda r: scaled(r, 3e4),
    "small numbers": lambda r: scaled(r, -2.7e-7),
    "long message": lambda r: replace(r, status=Status.poor_match, message=LONG),
    "rivals close together": lambda r: with_rivals(r, [9.9, 11.1, 11.4, 12.3, 50.0]),
    "rivals at the edge": lambda r: with_rivals(r, [1.0, 1.6, 59.0, 58.2]),
    "rivals, no curve": lambda r: replace(with_rivals(r, [31.0, 33.4, 59.0, 58.2]), whole_curve=None),
    "many minima": lambda r: replace(with_rivals(r, [22.0, 47.0]), whole_curve=wavy()),
    "structure": lambda r: replace(r, structure=STRUCTURE, message=LONG, status=Status.ambiguous),
    "long names": lambda r: replace(r, source="a" * 90 + ".tif", library="LaSrMnO3 with vacancies " * 4),
    "flipped": lambda r: replace(r, flipped=True),
    "budget": lambda r: replace(r, budget=BUDGET),
    "budget, long message": lambda r: replace(r, budget=BUDGET, message=LONG, structure=STRUCTURE),
    "nothing known": lambda r: replace(
        r.with_(**(dict.fromkeys(r.parameters, np.nan) | {"semi_angle": 12.0})),
        whole_curve=None,
        candidates=(),
    ),
}
LONG = (
    "The best match is poor (a residual of 31.4 % of the variance where noise explains 2.2 %): this is "
    "probably not that crystal, zone axis or semi-angle, or it is thinner or thicker than the library "
    "(1 … 125 nm), or the frame is distorted; check them before you trust a number. The network and the "
    "library do not agree. Another orientation of the crystal (polarity −1) gives the same pattern at this "
    "thickness: the rotation decides between them, and with it the sign of the tilt (--hint-rotation)."
)
BUDGET = {
    "thickness": {
        "counting": 0.004,
        "misfit": 0.012,
        "vibration": 0.028,
        "energy": 0.0043,
        "semi_angle": 0.0001,
    },
    "tilt_x": {"counting": 0.004, "misfit": 0.011, "vibration": 0.001, "energy": 0.001, "semi_angle": 0.0},
    "tilt_y": {"counting": 0.004, "misfit": 0.01, "vibration": 0.001, "energy": 0.001, "semi_angle": 0.0},
}
STRUCTURE = {
    "polarity": Parameter(-1.0, None, None, "1", {-1.0: 0.981, 1.0: 0.019}),
    "oxygen_octahedral_rotation": Parameter(3.14159, 0.00012, None, "degree"),
    "debye_waller_of_strontium": Parameter(0.6213, 0.021, None, "Å²"),
    "strain": Parameter(-0.0103, 0.0004, None, "1"),
}


def scaled(result, factor):
    """The same in other frame units."""
    shown = result.thumbnail
    return replace(
        result, thumbnail=replace(shown, experiment=shown.experiment * factor, fit=shown.fit * factor)
    )


def with_rivals(result, thicknesses):
    """The same with refined candidates at these thicknesses (nm)."""
    best = result.candidates[0]
    more = [replace(best, thickness=t, chi2=best.chi2 * (1.001 + 0.3 * i)) for i, t in enumerate(thicknesses)]
    return replace(result, candidates=(best, *more))


def wavy():
    """A χ² curve with a minimum every 8 nm."""
    t = np.arange(1.0, 61.0, 1.0)
    return np.stack([t, 0.5 + 0.2 * np.cos(2 * np.pi * t / 8) - 0.2 * np.exp(-(((t - 33) / 3) ** 2))])


@pytest.fixture(scope="module", params=list(EVERY))
def figure(request, result):
    """The picture of each of them."""
    drawn = plot_fit(EVERY[request.param](result))
    drawn.canvas.draw()
    return drawn


def test_no_words_are_cut_at_the_edge_of_the_page(figure, written):
    width, height = figure.canvas.get_width_height()
    for text, box in written(figure):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text


def test_no_words_lie_over_others(figure, written):
    for (first, one), (second, other) in itertools.combinations(written(figure), 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, down) <= 1.0, (first, second)


def test_legends_cover_no_data(figure):
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend() is not None]
    assert legends
    for legend, axes in itertools.product(legends, figure.axes):
        box = legend.get_window_extent()
        for line in axes.lines:
            points = line.get_path().interpolated(50).vertices
            at = line.get_transform().transform(points)
            inside = axes.get_window_extent()
            drawn = at[[inside.contains(*point) for point in at]]
            assert not any(box.contains(*point) for point in drawn), (legend.get_texts(), line.get_label())


def test_every_number_and_the_whole_message_are_written(result, words):
    for name in ("long message", "structure"):
        drawn = EVERY[name](result)
        shown = words(plot_fit(drawn)).replace("\n", " ")
        assert drawn.message in shown
        assert all(f"{p.stderr:.2g}" in shown for p in drawn.parameters.values() if p.stderr)
    assert "98.1 %" in shown and "° " in shown.replace("°", "° ") and "Å²" in shown


def test_equivalent_minima_are_listed_once(result, axes_titled):
    drawn = with_rivals(result, [17.42, 17.40, 17.44, 50.0])
    assert [c.thickness for c in runners_up(drawn)] == [17.42, 50.0]
    # two polarities: the same thickness and χ², the other tilt
    one = replace(drawn.candidates[1], thickness=17.4)
    twin = replace(one, tilt_x=-one.tilt_x, tilt_y=-one.tilt_y)
    both = replace(result, candidates=(drawn.candidates[0], one, twin))
    assert len(runners_up(both)) == 2
    texts = [text.get_text() for text in axes_titled(plot_fit(both), "χ² against thickness").texts]
    assert len(texts) == len(set(texts)) and sum("17.4 nm" in text for text in texts) == 1


def test_labels_that_are_far_from_their_points_have_lines_to_them(result, axes_titled):
    """A label is beside its point, or a thin line leads from one to the other."""
    axes = axes_titled(plot_fit(with_rivals(result, [9.9, 10.6, 11.1, 11.6])), "χ² against thickness")
    marks = next(line for line in axes.lines if line.get_marker() == "D")
    points = axes.transData.transform(np.stack(marks.get_data(), axis=1))
    leaders = [
        axes.transAxes.transform(line.get_xydata()) for line in axes.lines if len(line.get_xdata()) == 2
    ]
    for text, point in zip((t for t in axes.texts if "×" in t.get_text()), points, strict=True):
        box = text.get_window_extent()
        away = np.hypot(*np.maximum(np.maximum(box.min - point, point - box.max), 0))
        if away > 26:
            assert any(np.hypot(*(line - point).T).min() < 10 for line in leaders), text.get_text()


def test_a_true_result_is_drawn_as_it_is(fitted, words):
    shown = words(plot_fit(fitted))
    assert "tilt x" in shown and fitted.message in shown.replace("\n", " ")
