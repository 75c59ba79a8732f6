"""
A small map
===========

A scan of a bent wedge is simulated and mapped.  A real scan is mapped in the same way, from its file.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import hybridfit
from hybridfit.plot import plot_map

library = hybridfit.Library.open("SrTiO3_001_200kV")
folder = Path(tempfile.mkdtemp())
truth = hybridfit.simulate_scan(
    folder / "scan.nc",
    library,
    13.6,
    scan_shape=(6, 8),
    frame_shape=(96, 96),
    thickness=(20.5, 25.5),
    bend=2.0,
    electrons=1e6,
    step=2.0,
)

# %%
# The scan is read in blocks.  Scale, rotation and distortion are found at a few positions, then held for all.

found = hybridfit.map_scan(folder / "scan.nc", library, semi_angle=13.6, output=folder / "map.nc", workers=1)
print(found["thickness"].attrs["units"], dict(found.sizes))

# %%
# One page shows the map, its errors, and how the fits ended.

figure = plot_map(found)

# %%
# The map is an `xarray.Dataset`.  The truth has the same names, so that they can be compared.

error = found["thickness"] - truth["thickness"]
print(f"error of thickness: rms {float((error**2).mean() ** 0.5):.3f} nm")
print(f"stated error: {float(found['thickness_stderr'].mean()):.3f} nm")

own, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
found["thickness"].plot(ax=axes[0])
(error / found["thickness_stderr"]).plot(ax=axes[1], cmap="coolwarm", vmin=-3, vmax=3)
axes[0].set_title("thickness")
axes[1].set_title("error over stated error")
plt.show()
