"""The posterior of a frame of few electrons: all minima of the library, and their odds.

settings    what decides something
gain        counts per electron, and which frames have few
maximum     the likeliest parameters near a start, under counting statistics
marginal    how far a maximum reaches: mean, covariance and weight of what is around it
nothing     the same frame without a crystal
few         from a frame to its maxima and their odds
answer      from these to the result that goes to the user
route       which frames go this way, and the way
"""
