"""How much memory there is, so that a library too large for it is refused before any is taken."""

from __future__ import annotations

import os
from pathlib import Path


def free_memory() -> float:
    """Bytes that this process may still take: free memory, or the rest of its limit if that is less."""
    free = _free_in_all()
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(limit - _mapped(), 0.0))
    except (ImportError, OSError):  # not on this system
        pass
    return free


def _free_in_all() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _mapped() -> float:
    """Bytes of address space that this process has mapped."""
    try:
        return float(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def in_words(size: float) -> str:
    """A number of bytes with its unit."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB" if size < 1e6 else f"{size:.1e} GB"
