"""
Do the error bars hold?
=======================

Twenty frames of known thickness and tilt are fitted.  If the error bars are honest, the error over the
standard error spreads like a Gaussian of width 1, and about 19 of 20 intervals of 95 % hold the truth.
"""

import matplotlib.pyplot as plt
import numpy as np

import hybridfit

library = hybridfit.Library.open("SrTiO3_001_200kV")
fitter = hybridfit.Fitter(library, 13.6)
random = np.random.default_rng(3)
names = ("thickness", "tilt_x", "tilt_y")
pulls, held = [], 0
for i in range(20):
    image, truth = hybridfit.simulate_frame(
        library,
        thickness=random.uniform(10, 80),
        tilt=tuple(random.uniform(-1.5, 1.5, 2)),
        semi_angle=13.6,
        shape=(128, 128),
        electrons=1e6,
        seed=i,
    )
    result = fitter.fit(image)
    if not result.ok:
        print(f"frame {i}: {result.message}")
        continue
    pulls.append([(result[name].value - truth[name]) / result[name].stderr for name in names])
    low, high = result["thickness"].interval95
    held += low <= truth["thickness"] <= high
print(f"{len(pulls)} frames converged; {held} intervals of thickness hold the truth")

# %%
# Points are errors in units of the stated standard error.

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
axis.axhspan(-1.96, 1.96, color="tab:blue", alpha=0.15, label="95 % interval")
for j, name in enumerate(names):
    axis.plot(np.array(pulls)[:, j], "os^"[j], label=name)
axis.set(xlabel="frame", ylabel="error / standard error", ylim=(-4, 4), xticks=range(0, 20, 2))
axis.legend(ncols=4, loc="upper center")
plt.show()

# %%
# Twenty frames can show that something is badly wrong, not that all is well.  The studies fit hundreds: see
# *How good it is*.  Frames that the same library has simulated cannot show what is wrong with the library.
# They have its energy and its vibration, so that these errors are rather smaller than stated.  The study
# `truth` uses another simulation, and `budget` draws energy and vibration at random.
