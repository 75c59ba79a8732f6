"""Structure from patterns: B, coordinates and occupancies fitted by solving the crystal again.

names        what a user asks for: B:Sr, z:O1, occ:La
structure    the crystal at other values of these, by the symmetry of its CIF
again        beam intensities and diffuse part about the present answer, and their derivatives
model        the forward model of a frame, linear in the structure about the crystal that was solved
joint        frames together: one set of normal equations, with priors of what is taken for granted
errors       covariance, and what it contains
run          the story: from a fit without structure to one with it
answer       results
"""
