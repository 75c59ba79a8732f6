"""Whether another semi-angle fits much better: then the given one, or the crystal, is wrong."""

from __future__ import annotations

from hybridfit.fitting.judge.status import against, on_bound, unexplained
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.refiner import is_thin
from hybridfit.fitting.refine.settings import Effort
from hybridfit.frame import Frame


def other_semi_angle(frame: Frame, minima: Minima) -> str:
    """What another semi-angle says against a match that leaves some structure; empty where nothing does.

    The best minimum is refined twice on the coarse frame, with the semi-angle held and free.

    Parameters
    ----------
    frame : Frame
    minima : Minima
    """
    refiner, best = minima.refiner, minima.best
    settings = refiner.settings
    limits = settings.judging
    if is_thin(best.answer.thickness, refiner.library, settings.refining):
        return ""  # of a disc without structure any size fits
    told = "semi_angle" in (*settings.free, *settings.fix, *settings.bounds, *settings.expressions)
    if told or unexplained(best, limits) < limits.suspicious:
        return ""
    if against(best, on_bound(best, refiner.library, settings), limits):
        return ""  # it is poor without that
    gain, found = semi_angle_gain(frame, minima)
    if gain < limits.semi_angle_gain or abs(found / settings.semi_angle - 1) < limits.semi_angle_off:
        return ""
    return f"{gain:.0%} less is left at a semi-angle of {found:.1f} mrad"


def semi_angle_gain(frame: Frame, minima: Minima) -> tuple[float, float]:
    """The share of the sum of squares that a free semi-angle takes away, and where it ends (mrad).

    Parameters
    ----------
    frame : Frame
    minima : Minima
    """
    refiner, best = minima.refiner, minima.best
    refining = refiner.settings.refining
    start = {name: best.fit.values[name] for name in refiner.library.structure}
    effort = Effort(1, refining.coarse_tolerance, refining.coarse_pixel, errors=False)
    held, freed = (
        refiner.follow(frame, best.answer, minima.coarse.region, effort, free=free, start=start).fit
        for free in ((), ("semi_angle",))
    )
    gain = 1 - freed.sum_of_squares / max(held.sum_of_squares, 1e-300)
    return float(gain), float(freed.values["semi_angle"])
