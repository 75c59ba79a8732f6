"""Reader of DM3, DM4 and the rest of RosettaSciIO's formats, where that is installed."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.calibration import Axis, calibration, number
from hybridfit.io.stack import Stack, check_piece, joined, kept_shape, stack_of
from hybridfit.io.trial import try_first
from hybridfit.io.velox import at

CHUNK = "8 MiB"  # of a lazy array: one is read as a whole, however little of it is asked for


@contextmanager
def read_rosettasciio(path: Path) -> Iterator[Stack]:
    """Frames of every signal in a file that has two dimensions beside those of navigation."""
    signals = load_signals(path)
    images = [s for s in signals if sum(not axis["navigate"] for axis in s["axes"]) == 2]
    if not images:
        raise InputError(f"{path} holds no image ({len(signals)} other signals); choose a file with frames")
    yield joined([replace(_stack(path, s["data"]), calibration=_known(s)) for s in images])


def _known(signal: Mapping[str, Any]) -> dict[str, float]:
    axes = sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))
    microscope = at(signal.get("metadata"), "Acquisition_instrument", "TEM")
    return calibration([axis_of(a) for a in axes], microscope if isinstance(microscope, Mapping) else {})


def axis_of(axis: Mapping[str, Any]) -> Axis:
    """An axis as RosettaSciIO describes it."""
    return Axis(str(axis.get("name") or ""), str(axis.get("units") or ""), number(axis.get("scale")))


def _stack(path: Path, image: Any) -> Stack:
    """The frames of a lazy array."""
    check_chunks(path, image)
    image = image.reshape(kept_shape(image.shape, 3))

    def read(i: int) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(image[i] if image.ndim == 3 else image)

    return stack_of(path, image.shape, read)


def check_chunks(path: Path, image: Any) -> None:
    """Raise an InputError for a lazy array of which one chunk takes too much memory."""
    sizes = getattr(image, "chunksize", image.shape)
    count = image.dtype.itemsize
    for n in sizes:
        count *= int(n)
    check_piece(path, count)


def load_signals(path: Path, **options: Any) -> list[dict[str, Any]]:
    """Whatever RosettaSciIO finds in a file, its data as dask arrays: scans are huge."""
    suffix = path.suffix.lower()
    try:
        plugins = importlib.import_module("rsciio").IO_PLUGINS
        importlib.import_module("dask.array")
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
    reader = importlib.import_module(plugin["api"]).file_reader
    read = partial(_quietly, reader, path, options)
    try_first(path, read, *sorted(options.items()))
    return read()


def _quietly(reader: Any, path: Path, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Read a file without what RosettaSciIO has to say about it."""
    dask = importlib.import_module("dask")
    log = logging.getLogger("rsciio")
    level = log.level
    with warnings.catch_warnings(), dask.config.set({"array.chunk-size": CHUNK}):
        warnings.simplefilter("ignore")
        try:
            log.setLevel(logging.CRITICAL + 1)  # its complaints would stand between our lines
            try:
                signals: list[dict[str, Any]] = reader(str(path), lazy=True, **options)
            except NotImplementedError:  # a format of small files, which is only read as a whole
                signals = reader(str(path), lazy=False, **options)
                for signal in signals:
                    signal["data"] = importlib.import_module("dask.array").from_array(signal["data"])
        finally:
            log.setLevel(level)
    return signals
