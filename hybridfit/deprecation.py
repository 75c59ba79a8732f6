"""Warnings of what goes: every one names what to use in its place, and the version that takes it away.

docs/deprecations.md has the policy.
"""

from __future__ import annotations

import warnings


def warn_deprecated(old: str, new: str, *, goes_in: str, stacklevel: int = 2) -> None:
    """Say that something is deprecated.

    Parameters
    ----------
    old, new : str
        What is called, and what to call in its place, as a user writes it.
    goes_in : str
        The version that takes it away, such as "0.4".
    stacklevel : int, default 2
        2: the warning points at the caller of the function that calls this one.
    """
    words = f"{old} is deprecated and goes in hybridfit {goes_in}; use {new}"
    warnings.warn(words, DeprecationWarning, stacklevel=stacklevel + 1)
