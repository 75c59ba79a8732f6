"""A quick start of commands that a person waits for."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quick_start() -> Iterator[None]:
    """Import and open without collecting garbage.

    Packages as large as torch make a million objects that stay, and the collector looks through all of
    them several times while they are imported: a second of five. What is there in the end is left alone
    later, too, until the next quick start.
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
