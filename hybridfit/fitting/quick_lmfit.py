"""The first import of lmfit, without the packages that a fit does not use.

lmfit imports scipy.stats, for its confidence intervals, and matplotlib, for its plots: a fifth of the time
that a fit takes from the start of its process.  While lmfit is imported, stand-ins are in their places; a
name of scipy.stats that lmfit took from one imports the package when it is used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

LATER = "scipy.stats", "matplotlib"
FIRST = (
    "scipy.linalg",
    "scipy.optimize",
    "scipy.sparse.linalg",
    "scipy.special",
)  # lmfit's; they may need those


class Later(ModuleType):
    """A stand-in for a module, which has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Named(self.__name__, name)


class Named:
    """What a module has under a name; the module is imported when this is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _there(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._there(), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._there()(*arguments, **named)


def import_lmfit() -> None:
    """Import lmfit; nothing is done where it has been imported."""
    if "lmfit" in sys.modules:
        return
    for name in FIRST:
        importlib.import_module(name)
    standing_in = [name for name in LATER if name not in sys.modules]
    sys.modules.update({name: Later(name) for name in standing_in})
    try:
        importlib.import_module("lmfit")
    finally:
        for name in standing_in:
            if isinstance(sys.modules.get(name), Later):
                del sys.modules[name]
