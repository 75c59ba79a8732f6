"""A quick start leaves the garbage collector and other packages as they were."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import weakref

import pytest

from hybridfit.cli.starting import quick_start


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_nothing_is_collected_inside_and_everything_new_is_afterwards():
    with quick_start():
        assert not gc.isenabled()
    assert gc.isenabled()
    lost = weakref.ref(Cycle())
    assert lost() is not None
    gc.collect()
    assert lost() is None


def test_an_error_inside_leaves_it_enabled():
    with pytest.raises(ValueError, match="bad"), quick_start():
        raise ValueError("bad")
    assert gc.isenabled()


def test_who_has_switched_it_off_keeps_it_off():
    gc.disable()
    try:
        with quick_start():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def fresh(lines: str) -> str:
    """What a process of its own prints."""
    code = "from hybridfit.cli.starting import plain_docstrings_of_matplotlib, quick_start\n"
    done = subprocess.run(
        [sys.executable, "-c", code + textwrap.dedent(lines)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_packages_of_arrays_are_told_apart_once_they_are_imported():
    for package in ("dask.array", "pint"):
        pytest.importorskip(package)
    seen = fresh("""
        import sys
        with quick_start():
            import numpy as np
            import xarray as xr
            before = xr.Dataset({"a": ("x", np.arange(4.0))})
        print("dask" in sys.modules, "pint" in sys.modules, before.chunks == {}, float(before.a.sum()))
        import dask.array
        made = xr.DataArray(dask.array.arange(6, chunks=2), dims="x")
        print(made.chunks, type(made.data).__module__.split(".")[0], int(made.sum().compute()))
        print(before.chunk({"x": 2}).chunks["x"])
        from xarray.namedarray.pycompat import array_type, mod_version
        import dask
        print(array_type("dask") == (dask.array.Array,), str(mod_version("dask")) == dask.__version__)
        import pint
        print(array_type("pint") == (pint.Quantity,))
    """)
    assert seen.split("\n")[:-1] == [
        "False False True 6.0", "((2, 2, 2),) dask 15", "(2, 2)", "True True", "True",
    ]  # fmt: skip


def test_what_is_left_out_of_docstrings_is_all_that_is_missing():
    seen = fresh("""
        with quick_start():
            from scipy import ndimage
        with plain_docstrings_of_matplotlib():
            from matplotlib.figure import Figure
        print("Parameters" in ndimage.gaussian_filter.__doc__, ndimage.gaussian_filter([0.0, 1, 0], 1).sum())
        figure = Figure()
        line, = figure.add_subplot().plot([0, 1])
        line.set(linewidth=3, color="red")
        print(line.get_linewidth(), line.get_color())
        from scipy._lib import _array_api, _docscrape
        from matplotlib.artist import Artist, kwdoc
        import numpy, numpy.f2py, numpy.testing
        print(callable(numpy.f2py.run_main), numpy.testing.assert_allclose(1.0, 1.0))
        print(_array_api.FunctionDoc is _docscrape.FunctionDoc, "linewidth" in kwdoc(line))
    """)
    assert seen.split("\n")[:-1] == ["True 1.0", "3.0 red", "True None", "True True"]


def test_maps_and_simulations_are_imported_without_packages_of_arrays():
    seen = fresh("""
        import sys
        with quick_start():
            from hybridfit.scan.maps import map_scan
            from hybridfit.simulate.scan import simulate_scan
        print([name for name in ("dask", "pint", "matplotlib") if name in sys.modules])
    """)
    assert seen == "[]\n"
