"""The attribute `hybridfit` of xarray datasets that are maps.

    found.hybridfit                       how the positions ended, and a picture, in a notebook
    found.hybridfit.plot("map.png")       the picture, in a file too
    found.hybridfit.panel("thickness")    one panel of it
    found["thickness"].where(found.hybridfit.good).plot()

It is there once `hybridfit.map_scan` or `hybridfit.read_map` were used, or after `import hybridfit.accessor`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from hybridfit.fitting.result import FitResult


@xr.register_dataset_accessor("hybridfit")
class MapAccessor:
    """What hybridfit knows of a map; see the module."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._map = dataset

    def __repr__(self) -> str:
        words = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in self.statuses.items())
        sizes = self._map.sizes
        return f"<hybridfit map of {sizes['scan_y']} × {sizes['scan_x']} positions: {words}>"

    def _repr_html_(self) -> str:
        from hybridfit.plot.notebook import map_html

        return map_html(self._map)

    @property
    def statuses(self) -> dict[str, int]:
        """How many positions have each status."""
        from hybridfit.flags import map_status

        return map_status(self._map)

    @property
    def good(self) -> xr.DataArray:
        """Where numbers can be relied on: positions that converged, or sit on a bound."""
        from hybridfit.flags import good_positions

        dims = self._map["status"].dims if "status" in self._map else ("scan_y", "scan_x")
        return xr.DataArray(good_positions(self._map), dims=dims)

    def plot(self, path: str | Path | None = None, names: list[str] | None = None) -> Any:
        """Draw the map, or some of its panels; see `hybridfit.plot.plot_map`."""
        from hybridfit.plot.maps import plot_map

        return plot_map(self._map, path, names)

    def panel(self, name: str, path: str | Path | None = None) -> Any:
        """Draw one panel; see `hybridfit.plot.plot_panel`."""
        from hybridfit.plot.maps import plot_panel

        return plot_panel(self._map, name, path)

    def report(self, path: str | Path) -> None:
        """Write a report of the map (.html)."""
        from hybridfit.report import map_report, write_report

        write_report(path, map_report(self._map))

    def fit_at(self, y: int, x: int) -> FitResult:
        """Fit a position of the map again, with everything that a single fit has."""
        from hybridfit.scan.maps import fit_at

        return fit_at(self._map, y, x)
