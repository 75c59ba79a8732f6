"""
Fit a frame and look at the residual
====================================

A camera frame of SrTiO3 [001] is simulated, fitted, and compared with the truth.  Then the same frame is
fitted with a background model that is wrong for it, to see what a bad residual looks like.
"""

import hybridfit

library = hybridfit.Library.open("SrTiO3_001_200kV")
image, truth = hybridfit.simulate_frame(
    library,
    thickness=42.3,
    tilt=(1.3, -0.7),
    semi_angle=13.6,
    rotation=23.0,
    scale=5.4,
    centre=(131.4, 121.8),
    electrons=1e7,
    background=0.3,
)

# %%
# Only the semi-angle is given.  `report` prints every parameter with its error, and what the error contains.

result = hybridfit.fit(image, library, semi_angle=13.6)
print(result.report())

# %%
# The truth lies within a few standard errors of each answer.

for name in ("thickness", "tilt_x", "tilt_y", "rotation", "scale"):
    answer = result[name]
    pull = (answer.value - truth[name]) / answer.stderr
    print(f"{name:10s} {answer.value:9.4f} ± {answer.stderr:.4f}   truth {truth[name]:9.4f}   {pull:+.1f} σ")

# %%
# The picture shows the frame and the fit on one scale of colours.  The residual has its own scale, in per
# cent of theirs.  A good residual is grain: the noise of the electrons, without discs, rims or rings.

figure = result.plot()

# %%
# Without a background the model has to explain the inelastic electrons by something else.  The fit converges,
# but the residual has rims and rings, and this misfit makes the error of thickness thirty times as large.

without = hybridfit.fit(image, library, semi_angle=13.6, background="none")
thickness = without["thickness"]
print(f"{without.status.name}: {thickness.value:.2f} ± {thickness.stderr:.2f} nm; truth {truth['thickness']}")
print(f"residual {without.residual_fraction:.1%}; with a background {result.residual_fraction:.1%}")
figure_without = without.plot()
