"""The one place where the options of numba are chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}


def kernel(function: F) -> F:
    """Compile a kernel: cached on disk, free of the GIL, sums may be reordered."""
    return numba.njit(**OPTIONS)(function)
