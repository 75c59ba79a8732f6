"""A quick start leaves the garbage collector as it was."""

from __future__ import annotations

import gc
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
