"""A faster start of commands."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quick_start() -> Iterator[None]:
    """Import and open without garbage collection.

    Importing large packages such as torch creates a million objects that stay. The collector would search
    all of them several times meanwhile, which takes one second of five. At the end the objects are frozen:
    the collector ignores them until the next quick start.
    """
    collecting = gc.isenabled()
    gc.disable()
    gc.unfreeze()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
