"""The machine of a study and the versions of packages, so that others can compare."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("hybridfit", "torch", "numpy", "scipy", "numba")
LOOK_S = 0.25  # how long other processes are watched


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Name of the processor, or its architecture if the system does not give the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def memory_gb() -> float | None:
    """Memory of the machine (GB), where the system says it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, OSError, ValueError):
        return None


def busy_elsewhere() -> float:
    """Cores that other processes use now; the load average if there is no /proc."""
    try:
        before, own = _busy_s(), time.process_time()
        start = time.perf_counter()
        time.sleep(LOOK_S)
        return (_busy_s() - before - (time.process_time() - own)) / (time.perf_counter() - start)
    except (OSError, ValueError):
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _busy_s() -> float:
    """Seconds that all cores together have worked since the system started."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far (GB), the interpreter and all imports included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def resident_memory_gb() -> float:
    """Resident memory of this process now (GB); where /proc is missing, the peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory_gb()
    return pages * resource.getpagesize() / 1e9


def facts() -> dict[str, Any]:
    """Versions, cores, processor, memory (GB) and platform."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed (run from the source)"
    memory = memory_gb()
    found |= {"cores": cores(), "processor": processor(), "platform": platform.system()}
    return found if memory is None else found | {"memory_gb": round(memory)}
