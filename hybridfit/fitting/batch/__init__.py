"""Many frames of one known camera at a time, on a device of torch: a GPU.

settings    memory
regions     compared pixels of many frames, cut out about their centres
match       the whole library against the frames, as `search.shared`
camera      the model of a known camera with its derivatives, as `known_camera`
projected   least squares with intensity factor and background projected out, as `refine.least_squares`
levenberg   Levenberg–Marquardt of many problems, as `refine.levenberg`
noise       noise and misfit of many residuals, as `refine.noise`
rounds      fitting and weighting in turn, as `refine.least_squares`
engine      from frames to attempts, from which a fit is done at once

Nothing here is imported by a fit of one frame: torch is slow to import.
"""
