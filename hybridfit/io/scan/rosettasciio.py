"""Scans in MIB, BLO, DM3, DM4, TVIPS and the rest of RosettaSciIO's formats, where that is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.errors import InputError
from hybridfit.io.axes import told_order
from hybridfit.io.calibration import Axis, calibration, is_angle, is_length
from hybridfit.io.order import unnamed_order
from hybridfit.io.rosettasciio import axis_of, check_chunks, load_signals
from hybridfit.io.scan.source import Block, Layout, Read, check_numbers, frame_by_frame, split_shape
from hybridfit.io.stack import check_frame

SWAPPED = "Data Order Swapped"  # a tag of DigitalMicrograph
ALL_FRAMES = (2**60,)  # more than a MIB file can have: it comes as the stack of those it has


@dataclass(frozen=True)
class RosettaSource:
    """A signal by its number, its axes in the order scan rows, scan cols, frame rows, frame cols."""

    path: Path
    layout: Layout
    signal: int
    order: tuple[int, ...]
    is_stack: bool = False  # of a MIB file: all its frames, as many as there are

    def open(self) -> Read:
        data = _load(self.path, self.is_stack)[self.signal]["data"].transpose(self.order)

        def get(block: Block) -> np.ndarray:
            values: np.ndarray = data[block].compute(scheduler="synchronous")
            return values

        return lambda block: frame_by_frame(get, block, self.layout)


def rosettasciio_source(path: Path, dataset: str | None, scan_shape: tuple[int, int] | None) -> RosettaSource:
    """Find the signal that is a scan by its shape: which axes RosettaSciIO calls navigation is a guess."""
    mib = path.suffix.lower() == ".mib"
    scan = scan_shape
    if mib and scan is None:
        scan = _scan_of_mib(_load(path, stack=False)[0])
    signals = _load(path, stack=mib)
    number = _chosen(path, signals, dataset)
    signal = signals[number]
    data, tags = signal["data"], signal.get("original_metadata") or {}
    axes = [axis_of(axis) for axis in sorted(signal["axes"], key=lambda axis: axis.get("index_in_array", 0))]
    order = tuple(range(data.ndim))
    if path.suffix.lower() == ".dm4" and data.ndim == 4:
        order = _order_in_dm(axes, tags)
    elif not mib and len(axes) == data.ndim:
        order = told_order(axes) or order
    note = ""
    if not mib and data.ndim == 4 and not (any(axis.units for axis in axes) or _find(tags, SWAPPED)):
        note = unnamed_order(path, [data.shape[i] for i in order])[1]
    data = data.transpose(order)
    if mib and scan:  # a stack of one frame is what is left of it
        stored, frame_shape = data.shape[:1], data.shape[1:]
        check_frame(path, frame_shape)
    else:
        stored, frame_shape = split_shape(path, data.shape)
    check_numbers(path, data.dtype)
    check_chunks(path, data)
    known: dict[str, float] = {}
    if len(axes) == data.ndim:
        microscope = _at(signal.get("metadata"), "Acquisition_instrument", "TEM")
        known = calibration([axes[i] for i in order], microscope)
    tile = (1, data.chunksize[0]) if len(stored) == 1 else data.chunksize[:2]
    kind = f"{path.suffix[1:].upper()}, read by RosettaSciIO"
    native = data.dtype.newbyteorder("=")
    layout = Layout(
        kind, stored, frame_shape, native, tile, counted=mib, calibration=known, scan=scan, note=note
    )
    return RosettaSource(path, layout, number, order, mib)


def _load(path: Path, stack: bool) -> list[dict[str, Any]]:
    if not stack:
        return load_signals(path)
    signals = load_signals(path, navigation_shape=ALL_FRAMES)
    for signal in signals:  # without the axis of the frames where there is but one
        signal["data"] = signal["data"].reshape(-1, *signal["data"].shape[-2:])
    return signals


def _chosen(path: Path, signals: Sequence[Mapping[str, Any]], dataset: str | None) -> int:
    for dimensions in (4, 3, 2):
        usable = [i for i, s in enumerate(signals) if s["data"].ndim == dimensions]
        if usable:
            break
    titles = [str(_at(s.get("metadata"), "General").get("title", "")) for s in signals]
    if dataset is not None:
        usable = [i for i in range(len(signals)) if dataset in (str(i), titles[i])]
    if len(usable) == 1:
        return usable[0]
    listed = ", ".join(f"{i} {titles[i]} {s['data'].shape}" for i, s in enumerate(signals)) or "nothing"
    if dataset is not None:
        raise InputError(f"{path} holds no dataset {dataset!r}; name one by its number: {listed}")
    raise InputError(f"{path} holds {len(usable)} scans; name one by its number with dataset = ...: {listed}")


def _scan_of_mib(signal: Mapping[str, Any]) -> tuple[int, int] | None:
    """Rows and columns as RosettaSciIO tells them from time stamps or .hdr, which knows what is missing."""
    shape = signal["data"].shape
    if len(shape) != 4:
        return None
    header = _at(signal.get("original_metadata"), "hdr_file")
    try:
        announced = int(header["Frames in Acquisition (Number)"]) // shape[1]
    except (KeyError, TypeError, ValueError):
        announced = 0
    return max(shape[0], announced), shape[1]


def _order_in_dm(axes: Sequence[Axis], tags: Any) -> tuple[int, int, int, int]:
    """Frames lie in one piece where "Data Order Swapped" is set; older files have the scan run fastest."""
    scan_last, as_stored = (2, 3, 0, 1), (0, 1, 2, 3)
    angles, lengths = [is_angle(axis) for axis in axes], [is_length(axis) for axis in axes]
    for order in (scan_last, as_stored):  # units of both tell more than a tag
        if all(lengths[i] for i in order[:2]) and all(angles[i] for i in order[2:]):
            return order
    swapped = _find(tags, SWAPPED)
    if swapped is not None:
        return as_stored if str(swapped).strip().casefold() in ("1", "true") else scan_last
    detector_first = any(map(is_angle, axes[:2])) and not any(map(is_angle, axes[2:]))
    return scan_last if detector_first or all(map(is_length, axes[2:])) else as_stored


def _at(tree: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def _find(tree: Any, name: str) -> Any:
    """The first value of that name anywhere in nested mappings."""
    if not isinstance(tree, Mapping):
        return None
    if name in tree:
        return tree[name]
    return next((found for child in tree.values() if (found := _find(child, name)) is not None), None)
