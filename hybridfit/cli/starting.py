"""A faster start of commands."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quick_start() -> Iterator[None]:
    """Import and open without garbage collection.

    Importing large packages creates hundreds of thousands of objects that stay. The collector would search
    all of them several times meanwhile. At the end the objects are frozen: the collector ignores them until
    the next quick start.
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
