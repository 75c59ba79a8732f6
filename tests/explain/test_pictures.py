"""Pictures of all results; a file that cannot be written is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from hybridfit.errors import InputError
from hybridfit.explain import (
    activations,
    plot_activations,
    plot_saliency,
    plot_sweep,
    saliency,
    sweep_mask,
)
from hybridfit.explain.pictures import strongest


@pytest.fixture(scope="module")
def drawn(frame, cnn):
    """(function, what it draws) of every picture."""
    return (
        (plot_sweep, sweep_mask(frame, cnn, radii=[3, 15])),
        (plot_saliency, saliency(frame, cnn)),
        (plot_activations, activations(frame, cnn, layers=("input", "stem"))),
    )


def test_every_picture_is_written(drawn, tmp_path):
    for plot, what in drawn:
        path = tmp_path / f"{plot.__name__}.png"
        assert isinstance(plot(what, path), Figure)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == len(drawn)


def test_unknown_suffixes_are_refused(drawn, tmp_path):
    for plot, what in drawn:
        with pytest.raises(InputError, match=r"\.png, \.pdf, \.svg"):
            plot(what, tmp_path / "picture.bmp")


def test_as_many_maps_as_asked_for(drawn):
    maps = drawn[2][1]
    figure = plot_activations({"stem": maps["stem"]}, most=5)
    assert len(figure.axes) == 5
    chosen = strongest(maps["stem"], 5)
    spread = maps["stem"].std(dim=("y", "x")).values
    assert spread[chosen].min() >= max(spread[i] for i in range(32) if i not in chosen)
    with pytest.raises(InputError, match="give at least one of both"):
        plot_activations({}, most=5)


def test_the_module_comes_with_hybridfit_and_imports_nothing_heavy():
    code = (
        "import hybridfit, sys; hybridfit.explain; "
        "print({'torch', 'matplotlib', 'numba', 'xarray'} & set(sys.modules)); "
        "print(hybridfit.explain.mask_annulus.__name__, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["set()", "mask_annulus False"]
