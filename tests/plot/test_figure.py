"""The page and its file: every format, any name, and no harm done."""

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
from PIL import Image

from hybridfit import plot
from hybridfit.errors import InputError
from hybridfit.fitting.result import Parameter, Status
from hybridfit.plot import plot_fit


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


def test_odd_results_are_drawn(result, words):
    unknown = dict.fromkeys(result.parameters, np.nan) | {"semi_angle": 12.0}
    shown = result.thumbnail
    failed = replace(result.with_(**unknown), status=Status.failed, message="…", candidates=())
    structure = {"oxygen_shift": Parameter(0.0213, 0.0031, None)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_fit(replace(result, whole_curve=None)).canvas.draw()
        plot_fit(replace(result, whole_curve=None, candidates=())).canvas.draw()
        plot_fit(replace(failed, thumbnail=replace(shown, fit=shown.fit * np.nan))).canvas.draw()
        plot_fit(replace(result, thumbnail=replace(shown, experiment=shown.fit * 0))).canvas.draw()
        figure = plot_fit(replace(result, structure=structure))
    assert "oxygen shift" in words(figure) and "± 0.0031" in words(figure)


def test_any_file_name_is_a_title(result, tmp_path):
    for name in ("/data/$x_1^2$ \\frac.tif", "рамка 图像.dm4", "long " * 40 + ".tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = plot_fit(replace(result, source=name), tmp_path / "fit.png")
        assert Path(name).name[-20:] in figure.texts[0].get_text()
        right = figure.texts[0].get_window_extent().x1
        assert right <= 1600


def test_no_global_state_of_matplotlib_is_touched(result):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        figure = plot_fit(result)
    assert to_hex(figure.axes[0].get_facecolor()) == "#ffffff"
    assert dict(matplotlib.rcParams) == before
    code = "import sys, hybridfit.plot; print('matplotlib.pyplot' in sys.modules)"
    root = Path(plot.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert ran.stdout == "False\n", ran
