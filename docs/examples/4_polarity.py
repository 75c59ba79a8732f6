"""
The polarity of lead titanate
=============================

The library of a polar crystal has a dimension `polarity` with the values −1 and 1.  A fit tries both, and
says how likely each is.  This example builds a small library, to be quick; the shipped one is
`PbTiO3_100_200kV`.
"""

import hybridfit

recipe = hybridfit.Recipe.shipped("PbTiO3_100_200kV")
small = recipe.model_copy(
    update={
        "g_max": 1.25,
        "semi_angle_max": 8.0,
        "tilt_max": 1.5,
        "sampling": 0.4,
        "thickness": recipe.thickness.model_copy(update={"start": 16.0, "stop": 25.0}),
    }
)
library = hybridfit.Library.build(small, slopes=False, diffuse=False)
print(library)

# %%
# A frame of the crystal whose oxygen is shifted along +c, which kx points along.

image, truth = hybridfit.simulate_frame(
    library.at(polarity=1),
    thickness=20.4,
    tilt=(0.5, -0.8),
    semi_angle=8.0,
    rotation=17.0,
    shape=(128, 128),
    electrons=1e6,
)

# %%
# A crystal turned by 180° with the other polarity gives the same pattern.  So the rotation has to be known
# within some degrees: it is given as a hint.

fitter = hybridfit.Fitter(library, 8.0, hints=hybridfit.Hints(rotation=17.0))
result = fitter.fit(image)
polarity = result.structure["polarity"]
print(f"polarity {polarity.value:+.0f}; odds {polarity.odds}")
print(f"thickness {result.thickness:.2f} ± {result['thickness'].stderr:.2f} nm")

# %%
# Held at the wrong polarity, the fit leaves structure in the residual.

figure = result.plot()
fitter = hybridfit.Fitter(library, 8.0, hints=hybridfit.Hints(rotation=17.0), fix={"polarity": -1})
wrong = fitter.fit(image)
print(f"residual with the right polarity {result.residual_fraction:.2%}, {result.status.name}")
print(f"residual with the wrong polarity {wrong.residual_fraction:.2%}, {wrong.status.name}")
figure_wrong = wrong.plot()
