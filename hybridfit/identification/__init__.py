"""Which crystal a frame shows: libraries ranked by odds, with "none of these" as an answer.

    known        libraries that are built, or named, and those that cannot be compared with the frame
    hypotheses   one library, one value of each discrete parameter, as recorded or mirrored
    screen       the templates of all hypotheses with cameras that they share
    compare      the best of them refined on the same pixels under the same weights
    structure    what the best of them leaves of the frame, beyond noise
    odds         what these refinements say of every hypothesis, and of none

A crystal does not change where the direct disc is.  The camera is therefore found once for all libraries,
and a library costs one product of its templates with the frame.
"""
