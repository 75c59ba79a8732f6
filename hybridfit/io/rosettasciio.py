"""Reader of DM3, DM4 and the rest of RosettaSciIO's formats, where that is installed."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError

CHUNK = "8 MiB"  # of a lazy array: one is read as a whole, however little of it is asked for


def read_rosettasciio(path: Path) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signals = load_signals(path)
        images = [s["data"] for s in signals if sum(not axis["navigate"] for axis in s["axes"]) == 2]
        if not images:
            raise InputError(
                f"{path} holds no image ({len(signals)} other signals); choose a file with frames"
            )
        return [np.asarray(image) if image.ndim <= 3 else image for image in images]


def load_signals(path: Path, **options: Any) -> list[dict[str, Any]]:
    """Whatever RosettaSciIO finds in a file, its data as dask arrays: scans are huge."""
    suffix = path.suffix.lower()
    try:
        plugins = importlib.import_module("rsciio").IO_PLUGINS
        dask = importlib.import_module("dask")
    except ImportError as error:
        raise InputError(
            f'{path}: {suffix or "no suffix"} needs RosettaSciIO; pip install "hybridfit[formats]", '
            "or give shape and dtype if it is raw"
        ) from error
    for plugin in plugins:
        if suffix[1:] in (str(extension).lower() for extension in plugin["file_extensions"]):
            break
    else:
        raise InputError(
            f"{path}: {suffix or 'no suffix'} is not a known format; give shape and dtype if it is raw"
        )
    log = logging.getLogger("rsciio")
    level = log.level
    with warnings.catch_warnings(), dask.config.set({"array.chunk-size": CHUNK}):
        warnings.simplefilter("ignore")
        try:
            log.setLevel(logging.CRITICAL)  # what it makes of lesser doubts would land between our lines
            reader = importlib.import_module(plugin["api"]).file_reader
            signals: list[dict[str, Any]] = reader(str(path), lazy=True, **options)
        finally:
            log.setLevel(level)
    return signals
