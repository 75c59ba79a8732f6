"""The worker of the lane of fits: it is warm before it is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hybridfit.serve.work.listing import listed
from hybridfit.serve.work.telling import Asked, Say, Work


def make(asked: Asked, say: Say) -> tuple[dict[str, Work], Callable[[], None]]:
    """Import and warm up; what it can do by name, and what it does when there is nothing to do."""
    say(libraries=listed(asked.libraries))
    from hybridfit.serve.work.fits import Fits

    fits = Fits(asked)
    say(engine=fits.engine())
    if asked.warm:
        try:
            fits.warm_up()
        except Exception:  # what is wrong is said to whoever asks for a fit
            logging.exception("warm-up")
    from hybridfit.serve.work.identifying import Identifying
    from hybridfit.serve.work.pictures import map_picture, preview

    return {
        "fit": lambda payload, say: (fits.position if "y" in payload else fits.fit)(payload, say),
        "identify": Identifying(asked).identify,
        "preview": lambda payload, say: preview(payload, asked.pixels),
        "picture": fits.picture,
        "map picture": lambda payload, say: map_picture(payload),
    }, fits.idle
