"""Thickness and tilt at every position of a scan, while LiberTEM reads it.

    from libertem.api import Context
    from hybridfit.clients.libertem import HybridfitUDF

    with Context() as context:
        dataset = context.load("auto", path="scan.mib")
        udf = HybridfitUDF(library="SrTiO3_001_200kV", semi_angle=13.6, block=4)
        found = context.run_udf(dataset=dataset, udf=udf)
        found["thickness"].data                      # (scan_y, scan_x), nm

The frames of a block of n × n positions are added up and fitted together, because a PACBED pattern is that
of a unit cell at least.  Every position of the block gets its answer.  Answers come partition by partition
(`run_udf_iter`); a block that two partitions share is fitted in two parts.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.status import Status
from hybridfit.frame import make_frame

try:
    from libertem.udf import UDF, UDFPostprocessMixin
except ImportError:  # an error only where a UDF is made
    UDF, UDFPostprocessMixin = type("UDF", (), {}), type("UDFPostprocessMixin", (), {})

NAMES = ("thickness", "tilt_x", "tilt_y")
VALUES = (*NAMES, *(f"{name}_stderr" for name in NAMES))
NOT_DONE, UNUSABLE = 0, -1
# of `status`; 0 where nothing has been fitted yet, −1 for frames that cannot be fitted
STATUSES = {status.name: i + 1 for i, status in enumerate(Status)}


@functools.lru_cache(maxsize=2)
def _fitter(library: str, semi_angle: float, options: str) -> Fitter:
    """The fitter of this process."""
    return Fitter(library, semi_angle, workers=1, **json.loads(options))


class HybridfitUDF(UDF, UDFPostprocessMixin):  # type: ignore[misc, valid-type]
    """Fits the sum of each n × n block of positions.

    Parameters
    ----------
    library : str
        Name or file of a library, which every worker opens; build it before.
    semi_angle : float, mrad
    block : int
        n: a block should be a unit cell at least.
    options : dict, optional
        Further options of `hybridfit.Fitter`, in plain numbers and texts: ``{"fix": {"scale": 5.4}}``.

    Results are buffers by position: thickness (nm), tilt_x, tilt_y (mrad), each with its _stderr, NaN where
    it is not known; and status, a number of `STATUSES`.

    Raises
    ------
    InputError
        LiberTEM is not installed, or the block cannot be.
    """

    def __init__(
        self,
        library: str,
        semi_angle: float,
        block: int = 4,
        options: dict[str, Any] | None = None,
        **internal: Any,
    ) -> None:
        if not hasattr(UDF, "get_task_data"):
            raise InputError("the Python package libertem is not installed; install it: pip install libertem")
        if not isinstance(block, int | np.integer) or block < 1:
            raise InputError(f"block = {block!r} is no number of positions; give 1 or more")
        asked = {"library": str(library), "semi_angle": float(semi_angle), "block": int(block)}
        super().__init__(**asked, options=dict(options or {}), **internal)

    def get_preferred_input_dtype(self) -> Any:
        """Of frames that are added up."""
        return np.float64

    def get_result_buffers(self) -> dict[str, Any]:
        """Answers by position."""
        values = {name: self.buffer(kind="nav", dtype="float32") for name in VALUES}
        return {**values, "status": self.buffer(kind="nav", dtype="int8")}

    def get_task_data(self) -> dict[str, Any]:
        """Of a partition: sums of blocks that are not complete, answers of those that are, frames so far."""
        return {"sums": {}, "answers": [], "count": [0]}

    def process_frame(self, frame: NDArray[Any]) -> None:
        """Add a frame to its block, and fit the block when it is complete."""
        n, task = self.params.block, self.task_data
        shape = tuple(self.meta.dataset_shape.nav)
        place = tuple(int(c) for c in np.ravel(self.meta.coordinates))
        block = tuple(c // n for c in place)
        total, members = task.sums.setdefault(block, [np.zeros(frame.shape), []])
        total += frame
        members.append(task.count[0])
        task.count[0] += 1
        if len(members) == np.prod([min(n, size - b * n) for b, size in zip(block, shape, strict=True)]):
            task.answers.append((members, self._fit(total)))
            del task.sums[block]

    def postprocess(self) -> None:
        """Fit what blocks have in this partition, and write the answers of all."""
        task = self.task_data
        for total, members in task.sums.values():
            task.answers.append((members, self._fit(total)))
        for members, (values, status) in task.answers:
            for name, value in zip(VALUES, values, strict=True):
                getattr(self.results, name)[members] = value
            self.results.status[members] = status

    def get_results(self) -> dict[str, Any]:
        """The buffers, with NaN where nothing is known yet."""
        known = self.results.status != NOT_DONE
        out = {name: np.where(known, getattr(self.results, name), np.float32(np.nan)) for name in VALUES}
        return {**out, "status": self.results.status}

    def _fit(self, total: NDArray[np.float64]) -> tuple[list[float], int]:
        asked = self.params
        fitter = _fitter(asked.library, asked.semi_angle, json.dumps(asked.options, sort_keys=True))
        try:
            result = fitter.fit(make_frame(total, source="block"))
        except InputError:
            return [np.nan] * len(VALUES), UNUSABLE
        found = [result[name] for name in NAMES]
        errors = [np.nan if p.stderr is None else p.stderr for p in found]
        return [*(p.value for p in found), *errors], STATUSES[result.status.name]
