"""The route of a frame of few electrons: which frames go by it, and from the frame to its result."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from hybridfit.fitting.attempts import Attempts
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.judge.answer import Origin, make_result
from hybridfit.fitting.posterior.answer import weighed_result
from hybridfit.fitting.posterior.few import Weigher
from hybridfit.fitting.posterior.gain import noise_of_few
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.route import Route
from hybridfit.fitting.search.cameras import check_disc
from hybridfit.frame import Frame
from hybridfit.library.library import Library

if TYPE_CHECKING:
    from hybridfit.fitting.seed.network import Seeder


class FewElectrons:
    """Fits frames of few electrons, by all minima of one library.

    Parameters
    ----------
    library : Library
        The whole one, as the camera sees it.
    refiner : Refiner
        With the settings of the fit.
    attempts : Attempts
        Finds cameras, and holds the library points.
    seeder : Seeder, optional
        Its candidates are looked at, too.
    method, remark : str
        What the results say of the method, and besides.
    """

    def __init__(
        self,
        library: Library,
        refiner: Refiner,
        attempts: Attempts,
        seeder: Seeder | None,
        method: str,
        remark: str = "",
    ) -> None:
        self.library, self.refiner, self.attempts, self.seeder = library, refiner, attempts, seeder
        self.method, self.remark = method, remark
        self.settings = refiner.settings
        self.weigher = Weigher(refiner, attempts.searcher.searchers[0], self.settings.posterior)

    def noise(self, frame: Frame) -> Noise | None:
        """Counting noise of a frame that goes by this route; None for all others.

        Frames of libraries with structural parameters, and fits with expressions, go by the other routes.
        """
        asked = self.settings
        if self.method == "cnn" or not asked.thorough or self.library.structure or asked.expressions:
            return None
        return noise_of_few(frame.image, frame.valid, asked.gain, asked.posterior)

    def fit(self, frame: Frame, noise: Noise, clock: Clock) -> FitResult:
        """Every minimum of the library, weighed by counting statistics.

        Raises
        ------
        InputError
            No camera can be that of the frame, its disc is cut, or too few pixels are usable.
        """
        others: Sequence[Candidate] = ()
        cameras: list[tuple[float, float, float]] = []
        if self.seeder is not None:
            others = self.seeder.seed(frame).candidates
            cameras = [(others[0].centre_x, others[0].centre_y, others[0].scale)]
        cameras += self.attempts.cameras(frame)
        clock.lap("seed")
        weighed = self.weigher.weigh(frame, noise, cameras, others)
        answer = weighed.points[0].values
        camera = answer["centre_x"], answer["centre_y"], answer["scale"]
        check_disc(frame, camera, self.refiner.semi_angle, self.settings.searching)
        clock.lap("refine")
        origin = Origin(Route.few_electrons, self.method, weighed.start, remark=self.remark)

        def make(minima: Minima, candidates: Sequence[Candidate]) -> FitResult:
            result = partial(make_result, frame, self.library, minima, "", origin, clock.seconds())
            return result(candidates=candidates)

        return weighed_result(self.weigher, weighed, make)
