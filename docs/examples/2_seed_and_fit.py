"""
What the network says, and what the fit makes of it
===================================================

The network reads a frame in a few hundredths of a second.  Least squares then starts from what it read.  Here
both answer for ten frames, and their errors are compared.
"""

import matplotlib.pyplot as plt
import numpy as np

import hybridfit

library = hybridfit.Library.open("SrTiO3_001_200kV")
random = np.random.default_rng(7)
frames, truths = [], []
for i in range(10):
    thickness, (tilt_x, tilt_y) = random.uniform(10, 100), random.uniform(-2, 2, 2)
    image, truth = hybridfit.simulate_frame(
        library,
        thickness=thickness,
        tilt=(tilt_x, tilt_y),
        semi_angle=13.6,
        rotation=random.uniform(-40, 40),
        shape=(128, 128),
        electrons=1e6,
        seed=i,
    )
    frames.append(image)
    truths.append(truth)

# %%
# One `Fitter` for each method; it keeps what the frames share.

seeds = [hybridfit.Fitter(library, 13.6, method="cnn").fit(frame) for frame in frames]
fitter = hybridfit.Fitter(library, 13.6)
fits = [fitter.fit(frame) for frame in frames]

# %%
# The errors of the fit are several times smaller.  Bars are two standard errors; those of the network are the
# width of its probabilities, and long where it gave a part of them to another thickness.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
true = np.array([truth["thickness"] for truth in truths])
for axis, found, name in zip(axes, (seeds, fits), ("network alone", "hybrid fit"), strict=True):
    error = np.array([result.thickness for result in found]) - true
    bars = [2 * result["thickness"].stderr for result in found]
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.errorbar(true, error, yerr=bars, fmt="o", capsize=3)
    axis.set(title=f"{name}: rms {np.sqrt(np.mean(error**2)):.3f} nm", xlabel="true thickness (nm)")
axes[0].set_ylabel("error of thickness (nm)")
plt.show()

# %%
# `route` says how an answer was reached.  Where the network was unsure, the frame was compared with the whole
# library as well.

for result in fits:
    print(f"{result.thickness:7.2f} nm  {result.status.name:10s} {result.route.value}")
