"""
A parameter of your own
=======================

Any change of a crystal can be a fit parameter.  It takes a function of a crystal and a value that returns the
changed crystal.  Here it moves titanium along c.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import hybridfit
from hybridfit.library.crystals import StructuralChange


def shifted(crystal, value):
    """Titanium moved by so many Å along c."""
    positions = crystal.positions.copy()
    positions[[element == "Ti" for element in crystal.elements], 2] += value / crystal.cell[2]
    return replace(crystal, positions=positions)


# %%
# The recipe looks along a, so that c lies in the plane of the pattern.  It is small, to be quick.

shipped = hybridfit.Recipe.shipped("SrTiO3_001_200kV")
recipe = shipped.model_copy(
    update={
        "zone": (1, 0, 0),
        "in_plane": (0, 0, 1),
        "g_max": 1.0,
        "semi_angle_max": 8.0,
        "tilt_max": 2.0,
        "sampling": 0.5,
        "thickness": shipped.thickness.model_copy(update={"start": 15, "stop": 30}),
    }
)
change = StructuralChange([0.0, 0.05, 0.1, 0.15, 0.2], shifted, unit="Å")
library = hybridfit.Library.build(recipe, parameters={"ti_shift": change}, slopes=False, diffuse=False)

# %%
# The new parameter is fitted with all others, and has an error like them.

shifts, answers, errors = (0.03, 0.08, 0.12, 0.17), [], []
fitter = hybridfit.Fitter(library, 7.5)
for shift in shifts:
    image, _ = hybridfit.simulate_frame(
        library.at(ti_shift=shift),
        thickness=22.0,
        tilt=(0.5, -0.8),
        semi_angle=7.5,
        shape=(96, 96),
        electrons=1e6,
    )
    found = fitter.fit(image).structure["ti_shift"]
    answers.append(found.value)
    errors.append(found.stderr)
    print(f"titanium moved by {shift:.2f} Å: {found.value:.4f} ± {found.stderr:.4f} {found.unit}")

# %%
# Bars are ten standard errors long, to be seen at all.

figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
axis.plot([0, 0.2], [0, 0.2], color="grey", linewidth=0.8)
axis.errorbar(shifts, answers, yerr=10 * np.array(errors), fmt="o", capsize=3)
axis.set(xlabel="true shift of titanium (Å)", ylabel="fitted shift (Å), bars of 10 σ")
plt.show()
