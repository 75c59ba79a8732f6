"""What frames of one crystal say together of its structure: one immutable result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.assumptions import Assumed
from hybridfit.fitting.budget_words import budget_lines, correlation_words
from hybridfit.fitting.correlations import correlations_of
from hybridfit.fitting.lmfit_copy import identifier
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.result import FitResult
from hybridfit.quantities import decimals

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Together:
    """The structure that frames share, and the result of each frame.

    Attributes
    ----------
    frames : tuple of FitResult
        Thickness, tilt and camera of each; their `structure` is the shared one.
    structure : mapping of name ("B:Sr") to Parameter
        B in Å², coordinates in fractions of the cell.
    covariance : (p, p) array
        Of the structure, in its order.
    budget : mapping of name to what its error contains
    assumed : mapping of name to what the frames say of what was taken for granted
    start : mapping of name to the value of the CIF
    remarks : tuple of str
        What the frames cannot tell.
    solves : int
        How often the crystal was solved again.
    seconds : float
        Without the fits of the single frames.
    """

    frames: tuple[FitResult, ...]
    structure: Mapping[str, Parameter]
    covariance: Array
    budget: Mapping[str, Mapping[str, float]]
    assumed: Mapping[str, Assumed]
    start: Mapping[str, float]
    remarks: tuple[str, ...]
    solves: int
    seconds: float

    def __getitem__(self, name: str) -> Parameter:
        return self.structure[name]

    def __repr__(self) -> str:
        """One line: how many frames, and the numbers."""
        shown = ", ".join(
            f"{name} {p.value:.4g}" + (f" ± {p.stderr:.2g}" if p.stderr else "")
            for name, p in self.structure.items()
        )
        return f"<Together {len(self.frames)} frames: {shown}>"

    @property
    def ok(self) -> bool:
        """Whether every frame converged without a warning."""
        return all(frame.ok for frame in self.frames)

    @property
    def correlations(self) -> dict[str, dict[str, float]]:
        """Of each structural number with the others."""
        return correlations_of(tuple(self.structure), self.covariance)

    @property
    def minimizer(self) -> Any:
        """What lmfit reads of a fit, for `lmfit.fit_report`: the structure, as B_Sr for "B:Sr"."""
        import lmfit

        params, names = lmfit.Parameters(), [*self.structure]
        errors = np.sqrt(np.maximum(np.diag(self.covariance), 0))
        for name, p in self.structure.items():
            params.add(identifier(name), value=p.value)
            own = params[identifier(name)]
            own.stderr = p.stderr
            own.correl = {identifier(k): c for k, c in self.correlations[name].items()}
            own.init_value = self.start[name]
        residual = np.concatenate([frame.lmfit_result.residual for frame in self.frames])
        out = lmfit.minimizer.MinimizerResult()
        out.params, out.var_names, out.covar = params, [identifier(name) for name in names], self.covariance
        out.errorbars, out.success, out.method = bool((errors > 0).all()), self.ok, "leastsq"
        out.residual, out.ndata = residual, residual.size
        out.nvarys = len({name for frame in self.frames for name in frame.varied if name in self.structure})
        out.nvarys += sum(len(frame.varied) - len(self.structure) for frame in self.frames)
        out.nfree, out.nfev = out.ndata - out.nvarys, self.solves
        out.chisqr = float((residual**2).sum())
        out.redchi = out.chisqr / max(out.nfree, 1)
        out.aic = out.ndata * np.log(out.chisqr / out.ndata) + 2 * out.nvarys
        out.bic = out.ndata * np.log(out.chisqr / out.ndata) + np.log(out.ndata) * out.nvarys
        return out

    def report(self) -> str:
        """The structure as text for people; the frames have reports of their own."""
        many = len(self.frames)
        of = "1 frame" if many == 1 else f"{many} frames"
        lines = [f"Structure from {of}: {self.solves} solves, {self.seconds:.1f} s"]
        for name, p in self.structure.items():
            digits = decimals(p.stderr, 6) if p.stderr else 4
            error = f" ± {p.stderr:.2g}" if p.stderr is not None else "   (on its bound)"
            unit = "" if p.unit in (None, "1") else f" {p.unit}"
            low_high = f"   95 %: {p.interval95[0]:.5g} … {p.interval95[1]:.5g}" if p.interval95 else ""
            lines.append(
                f"  {name:14s} {p.value:10.{digits}f}{error}{unit}{low_high}   CIF: {self.start[name]:.4g}"
            )
        if told := correlation_words(self.correlations):
            lines.append(f"  correlations   {told}")
        lines += budget_lines(self.budget, self.assumed, ())
        lines += [f"  {remark}" for remark in self.remarks]
        return "\n".join(lines)

    def to_json(self) -> list[dict[str, Any]]:
        """A list with one object per frame, as of `FitResult.to_json`; each has the shared structure."""
        return [{**frame.to_json(), "together": [f.source for f in self.frames]} for frame in self.frames]

    def plot(self, path: str | Path | None = None, frame: int = 0) -> Any:
        """The picture of a frame, by its number: see `FitResult.plot`."""
        return self.frames[frame].plot(path)
