"""A result as an xarray.Dataset: scalars with CF units, images, and the χ² curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.fitting.assumptions import BUDGET_PARTS
from hybridfit.fitting.budget_words import budget_variables
from hybridfit.fitting.status import Status
from hybridfit.quantities import quantity


def dataset_of(result: Any) -> xr.Dataset:
    """Values and standard errors as scalars with CF units, the images and the χ² curve of a `FitResult`."""
    out = xr.Dataset(attrs={"source": result.source, "library": result.library, "method": result.method})
    for name, p in {**result.parameters, **result.structure}.items():
        known = quantity(name, p.unit)
        error = math.nan if p.stderr is None else p.stderr
        out[name] = ((), p.value, known.attrs)
        out[f"{name}_stderr"] = ((), error, known.stderr_attrs)
        if p.odds is not None:
            out[f"{name}_odds"] = ((f"{name}_value",), list(p.odds.values()), {"units": "1"})
            out = out.assign_coords(
                {f"{name}_value": (f"{name}_value", list(p.odds), {"units": known.attrs["units"]})}
            )
    out = out.assign(budget_variables(result.budget)).assign_coords(
        {"part": ("part", list(BUDGET_PARTS))} if result.budget else {}
    )
    out["status"] = ((), list(Status).index(result.status), {
        "flag_values": list(range(len(Status))),
        "flag_meanings": " ".join(s.name for s in Status),
    })  # fmt: skip
    out["residual_fraction"] = ((), result.residual_fraction, {"units": "1"})
    left, right, bottom, top = result.thumbnail.extent
    rows, cols = result.thumbnail.experiment.shape
    out["experiment"] = (("row", "col"), result.thumbnail.experiment)
    out["fit"] = (("row", "col"), result.thumbnail.fit)
    out = out.assign_coords(
        row=("row", np.linspace(top, bottom, rows), {"units": "px"}),
        col=("col", np.linspace(left, right, cols), {"units": "px"}),
    )
    if result.whole_curve is not None:
        thickness, chi2 = result.whole_curve
        out["chi2_of_thickness"] = (("searched_thickness",), chi2, {"units": "1"})
        out = out.assign_coords(searched_thickness=("searched_thickness", thickness, {"units": "nm"}))
    return out
