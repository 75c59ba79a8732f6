"""Maps, fits and libraries as notebooks show them."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from hybridfit.plot import plot_panel

CELLS = [
    "import hybridfit, xarray as xr, pickle\nresult = pickle.load(open(PATHS[0], 'rb'))\nresult",
    "result.plot()",
    "found = xr.open_dataset(PATHS[1])\nimport hybridfit.accessor\nfound.hybridfit",
    "bar = hybridfit.ProgressBar('map')\nfor i in range(3):\n    bar('fit', i / 2)",
]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_maps_have_an_attribute(make_map, tmp_path):
    found = make_map()
    found.attrs["source"] = "<script>x.nc"
    about = found.hybridfit
    shown = about._repr_html_()
    assert "script" not in Tags(shown).tags and "img" in Tags(shown).tags and "converged" in shown
    assert sum(about.statuses.values()) == 12 * 16 and "12 × 16 positions" in repr(about)
    assert np.isnan(found["thickness"].where(about.good).values[~about.good.values]).all()
    about.plot(tmp_path / "a.png")
    about.report(tmp_path / "a.html")
    assert (tmp_path / "a.png").exists() and (tmp_path / "a.html").exists()


def test_datasets_get_it_from_a_plain_import():
    code = "import xarray, hybridfit; assert 'hybridfit' in dir(xarray.Dataset), 1"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_pictures_show_themselves(make_map):
    picture, about = plot_panel(make_map(), "thickness")._repr_png_()
    assert picture.startswith(b"\x89PNG") and about["width"] <= 960


def test_fits_show_what_to_do_first(made_result):
    shown = made_result._repr_html_()
    assert shown.index("Look at the picture") < shown.index("<img") < shown.index("<details>")
    assert "converged" in repr(made_result) and len(repr(made_result)) < 200


def test_libraries_show_how_far_they_reach(made_library):
    shown = made_library._repr_html_()
    assert "SrTiO3 [0 0 1]" in shown and "1 … 60 nm" in shown and "200 kV" in shown


def test_a_notebook_runs(made_result, make_map, tmp_path):
    """Executed by a kernel, as a user's is: outputs are HTML and pictures, and one bar."""
    pytest.importorskip("ipykernel")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    import pickle

    paths = [str(tmp_path / "r.pkl"), str(tmp_path / "m.nc")]
    with open(paths[0], "wb") as file:
        pickle.dump(made_result, file)
    make_map().to_netcdf(paths[1])
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    book.cells = [nbformat.v4.new_code_cell(cell.replace("PATHS", repr(paths))) for cell in CELLS]
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = [cell.outputs for cell in book.cells]
    assert [[o.output_type for o in each] for each in outputs] == [
        ["execute_result"], ["execute_result"], ["execute_result"], ["display_data"],
    ]  # fmt: skip
    data = [each[0].data for each in outputs]
    assert "Look at the picture" in data[0]["text/html"] and "image/png" in data[1]
    assert "12 × 16 positions" in data[2]["text/html"] and "100 %" in data[3]["text/html"]


def test_xarray_is_not_imported_for_it():
    code = "import hybridfit, sys; assert 'xarray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
