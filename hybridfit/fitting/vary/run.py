"""The story: from fits without structure to one with it.

    fit      every frame by itself, with the crystal as the CIF has it: thickness, tilt, camera
    solve    the crystal again about these answers, and its derivatives once
    step     all frames together, linear in the structure; thickness, tilt and camera of each
    again    until the step from a crystal that was solved is next to nothing

A step is bounded (`VarySettings.trust_b`, …), so that the linear model holds.  The last crystal is solved
within a fraction of a standard error of the answer: derivatives, which are less exact, do not decide where
that is.  Each solve corrects them, too [1]: with a step s (in units of w, what is trusted) after which the
image differs by y from what was expected,

    ∂image/∂θ_j → ∂image/∂θ_j + y s_j / (w_j² Σ_k s_k²/w_k²).

.. [1] Broyden, Math. Comp. 19 (1965) 577.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.assumptions import LIBRARY, POINT_SPREAD, sigma_of
from hybridfit.fitting.lmfit_copy import identifier
from hybridfit.fitting.refine.least_squares import excess_of
from hybridfit.fitting.refine.levenberg import solve
from hybridfit.fitting.refine.noise import estimate_noise
from hybridfit.fitting.refine.plain import PlainParameter, PlainParameters
from hybridfit.fitting.refine.problem import Problem
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.settings import FitSettings
from hybridfit.fitting.vary.again import REST, Again, Along, about
from hybridfit.fitting.vary.approximated import changes_of, covariance_of, images_of
from hybridfit.fitting.vary.errors import Errors, errors_of
from hybridfit.fitting.vary.joint import Joint, Part, Prior
from hybridfit.fitting.vary.model import VariedModel, sharpen
from hybridfit.fitting.vary.settings import VARY, VarySettings
from hybridfit.fitting.vary.state import Ended, OneFrame
from hybridfit.fitting.vary.structure import Structure
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.model import AVERAGING, CAMERA, FINE_PIXEL, PARAMETERS, ForwardModel
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.energy import by_angles
from hybridfit.pattern.pool import Pool

Array = NDArray[np.float64]
Progress = Callable[[str, float], None]
SEMI_ANGLE, ENERGY = "semi_angle", "energy"
LEAST_SCALE = 0.1  # of naive variances
STAGE = "structure"


class Run:
    """Fits of frames with a structure.

    Parameters
    ----------
    structure : Structure
    library : Library
    settings : FitSettings
    again : Again, optional
    pool : Pool, optional
    progress : callable(stage, fraction), optional
    varying : VarySettings
    """

    def __init__(
        self,
        structure: Structure,
        library: Library,
        settings: FitSettings,
        *,
        again: Again | None = None,
        pool: Pool | None = None,
        progress: Progress | None = None,
        varying: VarySettings = VARY,
    ) -> None:
        self.structure, self.library, self.settings, self.varying = structure, library, settings, varying
        self.again = again or Again(structure, library, settings.semi_angle, settings=varying)
        self.pool, self.progress = pool or Pool(), progress or (lambda stage, fraction: None)
        self.ids = {each.name: identifier(each.name) for each in structure.varied}
        sigma = {name: s for name, s in sigma_of(library, settings.sigma).items() if s > 0}
        self.approximation = sigma.pop(LIBRARY, 0.0)
        sigma.pop(POINT_SPREAD, None)
        if SEMI_ANGLE in (*settings.free, *settings.fix, *settings.bounds):
            sigma.pop(SEMI_ANGLE, None)
        if structure.vibration_varied and not structure.others_vibrate:
            sigma.pop(REST, None)
        self.sigma = sigma
        self.shifts = dict.fromkeys((REST, ENERGY), 0.0)  # what is taken for granted, as a logarithm

    def fit(self, frames: Sequence[Frame], starts: Sequence[FitResult]) -> Ended:
        """From fits without structure to the answer."""
        began = time.perf_counter()
        states = [self._state(frame, start) for frame, start in zip(frames, starts, strict=True)]
        values = self.structure.start
        along: list[Along] = []
        made_at: Mapping[str, float] = {}
        settled, most = False, self.varying.solves
        if not self._as_in_the_file(values):
            self.again.diffuse_of = {}
        for turn in range(most):
            windows = about(self.again, [state.place for state in states])
            if turn or not self._as_in_the_file(values):
                anew = self._far(values, self.again.diffuse_of, self.varying.far)
                show = self._showing(turn, 0.0, 0.7)
                windows = self.again.solved(values, windows, anew=anew, progress=show)
            if not along or self._far(values, made_at, self.varying.far):
                anew = self._far(values, self.again.diffuse_slopes_of, self.varying.diffuse_far)
                show = self._showing(turn, 0.7, 0.9)
                along = self.again.along(values, windows, anew=anew, progress=show)
                made_at = dict(values)
                for state in states:
                    state.corrections = {}
                    state.model = None
            joint, errors = self._step(states, windows, along, values)
            self._showing(turn, 0.9, 1.0)(1.0)
            new = {name: joint.params[i].value for name, i in self.ids.items()}
            deviations = dict(zip(errors.names, np.sqrt(np.diag(errors.covariance)), strict=True))
            solved, before = values, values
            settled = all(
                abs(new[name] - before[name]) <= self.varying.settled * deviations[i]
                for name, i in self.ids.items()
            )
            values = new
            if settled:
                break
        if self.approximation > 0 and not self.structure.recipe.holz:
            errors = errors.with_approximation(joint, self._approximated(joint, states, windows, solved))
        return Ended(
            states,
            joint,
            errors,
            values,
            solved,
            settled,
            self.again.solves,
            time.perf_counter() - began,
            self.lacking,
        )

    # ---------------------------------------------------------------- a step

    def _step(
        self,
        states: Sequence[OneFrame],
        windows: Sequence[Library],
        along: Sequence[Along],
        values: Mapping[str, float],
    ) -> tuple[Joint, Errors]:
        """All frames together, from a crystal that was solved: where that leads, and how well it is known."""
        models = [
            self._model(state, window, each, values)
            for state, window, each in zip(states, windows, along, strict=True)
        ]
        for state, model in zip(states, models, strict=True):
            state.model = model
        known = {name for model in models for name in model.images} | {SEMI_ANGLE}
        self.lacking = tuple(name for name in self.sigma if name not in known)
        priors = {name: Prior(0.0, s) for name, s in self.sigma.items() if name in known}
        if SEMI_ANGLE in priors:
            alpha = self.settings.semi_angle
            priors[SEMI_ANGLE] = Prior(alpha, self.sigma[SEMI_ANGLE] * alpha)
        shared = [*self.ids.values(), *priors]
        params = [
            self._parameters(state, window, values, priors)
            for state, window in zip(states, windows, strict=True)
        ]
        problems = []
        for state, model, p in zip(states, models, params, strict=True):
            data = state.region.image[state.region.mask]
            problem = Problem(model, data, np.full(len(data), 1 / max(float(np.var(data)), 1e-300)))
            if state.noise is None:  # what neighbours differ by is noise at the start, too
                _, image = problem.linear(problem.columns(p))
                state.noise = estimate_noise(data - image, image, model.mask)._replace(misfit=0.0)
            problems.append(self._weighted(problem, state, p))
        refining = self.settings.refining
        for _ in range(self.varying.passes):
            joint = Joint([Part(x, p) for x, p in zip(problems, params, strict=True)], shared, priors)
            solve(joint, joint.params, refining.settled, refining.evaluations)
            before, problems = problems, []
            for state, part in zip(states, joint.parts, strict=True):
                self._look(state, part)
                problems.append(self._weighted(part.problem, state, part.params, refining.same_weights))
            if all(a is b for a, b in zip(before, problems, strict=True)):
                break
        for state, part in zip(states, joint.parts, strict=True):
            state.values = {name: part.params[name].value for name in state.values}
        self.shifts = {name: joint.params[name].value for name in self.shifts if name in joint.params}
        noises = [state.noise for state in states if state.noise is not None]
        means = {SEMI_ANGLE: self.settings.semi_angle}
        scales = [state.scale for state in states]
        images = [state.image for state in states]
        coarse = [
            self._coarseness(state, window, model.inner)
            for state, window, model in zip(states, windows, models, strict=True)
        ]
        return joint, errors_of(joint, noises, images, scales, coarse, self.approximation, means)

    def _approximated(
        self,
        joint: Joint,
        states: Sequence[OneFrame],
        windows: Sequence[Library],
        values: Mapping[str, float],
    ) -> Array:
        """The covariance of all parameters for what the library approximates of a crystal."""
        share = self.approximation / (self.library.approximation or self.approximation)  # a user may know it
        changes = images_of(changes_of(self.again, values, windows), states, windows, self._refiner)
        return share**2 * covariance_of(joint, changes)

    def _refiner(self, window: Library) -> Refiner:
        return Refiner(window, self.settings, pool=self.pool)

    def _coarseness(self, state: OneFrame, window: Library, model: ForwardModel) -> Array:
        """What finer points would change in an image, from what coarser ones do: it grows as their width."""
        s = model.oversampling
        coarser = s // 2 or 2
        width = model.pixel / state.values["scale"] / coarser * (1 + 1e-9)
        other = self._refiner(window).model(state.frame, state.candidate, state.region, width)
        assert isinstance(other, ForwardModel)
        sharpen(other, state.values["scale"])
        change = model.evaluate(state.values).columns[0] - other.evaluate(state.values).columns[0]
        return np.asarray(state.coefficients[0] * change * coarser / (s - coarser))

    def _weighted(
        self, problem: Problem, state: OneFrame, params: PlainParameters, within: float = 0.0
    ) -> Problem:
        """A problem with the weights of its noise and misfit; itself where they are the same."""
        _, image = problem.linear(problem.columns(params))
        assert state.noise is not None
        return problem.weighted(1 / (state.noise.variance(image) * state.scale), within)

    def _look(self, state: OneFrame, part: Part) -> None:
        """What a frame's residual says of its noise and misfit."""
        problem, mask = part.problem, part.problem.model.mask
        state.coefficients, state.image = problem.linear(problem.columns(part.params))
        state.residual = problem.data - state.image
        state.noise = estimate_noise(state.residual, state.image, mask)
        root = 1 / np.sqrt(state.noise.variance(state.image))
        excess, state.n_effective = excess_of(
            root * state.residual, root, mask, state.noise, len(part.names), self.settings.refining
        )
        state.scale = max(1 + excess, LEAST_SCALE)

    def _model(
        self, state: OneFrame, window: Library, along: Along, values: Mapping[str, float]
    ) -> VariedModel:
        """The model of a frame about a crystal that was solved."""
        inner, soft = (
            self._refiner(window).model(state.frame, state.candidate, state.region, pixel)
            for pixel in (state.fine_pixel, FINE_PIXEL)
        )
        assert isinstance(inner, ForwardModel) and isinstance(soft, ForwardModel)
        at = state.values
        sharpen(inner, at["scale"])
        images = soft.recorded_slopes(along.slopes, at)
        offset = np.zeros(inner.n_pixels)
        if along.diffuse:
            k = to_angles(
                inner.raster.pixel_col, inner.raster.pixel_row, Camera(*(at[name] for name in CAMERA))
            )
            filled = 1 - at.get("vacuum", 0.0)
            for name, table in along.diffuse.items():
                tilt = at["tilt_x"], at["tilt_y"]
                images[name] = (
                    images[name] + filled * table.at(k, at["thickness"], tilt, at[SEMI_ANGLE]).value
                )
        taken = soft.assumption_slopes(at)
        if {ENERGY, SEMI_ANGLE} <= {*self.sigma} and ENERGY in taken:
            # that it scales angles, too, is left to semi-angle and tilt, which are fitted: rims softer than
            # those of this model would tell the energy from them
            taken[ENERGY] = taken[ENERGY] - self._rims(soft, at)
        for name in (ENERGY, REST):
            if name in self.sigma and name in taken and name not in images:
                if name != REST or not self.structure.vibration_varied:
                    images[name] = taken[name]
        images = {
            self.ids.get(name, name): image
            for name, image in images.items()
            if name in self.ids or name in self.sigma
        }
        solved = {self.ids[name]: value for name, value in values.items()}
        if state.model is not None:
            self._correct(state, state.model, inner, solved, offset)
        for name, image in state.corrections.items():
            images[name] = images[name] + image
        return VariedModel(inner, images, {**dict.fromkeys((REST, ENERGY), 0.0), **solved}, offset)

    def _rims(self, model: ForwardModel, at: Mapping[str, float]) -> Array:
        """The derivative of an image along ln of the energy, as far as angles have it."""
        names = (SEMI_ANGLE, "tilt_x", "tilt_y")
        slopes = model.evaluate(at, names).pattern_slopes
        assert slopes is not None
        along = [at[name] * slope for name, slope in zip(names, slopes, strict=True)]
        return by_angles(self.structure.recipe.energy_kv, along)

    def _correct(
        self,
        state: OneFrame,
        before: VariedModel,
        inner: ForwardModel,
        solved: Mapping[str, float],
        offset: Array,
    ) -> None:
        """Correct derivatives by what the last step has led to, beside what was expected of it."""
        names = {i: name for name, i in self.ids.items()}
        was = {names[i]: before.solved[i] for i in names}
        step = {i: (solved[i] - before.solved[i]) / self._trust(names[i], was) ** 2 for i in names}
        size = sum(s * (solved[i] - before.solved[i]) for i, s in step.items())
        if size <= 0:
            return
        expected = before.evaluate({**state.values, REST: 0.0, ENERGY: 0.0, **solved}).columns[0]
        off = inner.evaluate(state.values).columns[0] + offset - expected
        for i, s in step.items():
            state.corrections[i] = state.corrections.get(i, 0.0) + off * (s / size)

    def _parameters(
        self, state: OneFrame, window: Library, values: Mapping[str, float], priors: Mapping[str, Prior]
    ) -> PlainParameters:
        """A frame's own parameters within its window, then the shared ones within what is trusted."""
        also = [name for name in AVERAGING if name in state.values and name in state.start.varied]
        free = [*also, *([SEMI_ANGLE] if SEMI_ANGLE in priors else [])]
        starts = dict(zip(AVERAGING, self.settings.refining.averaging_starts, strict=True))
        given = Refiner(window, self.settings).parameters({**starts, **state.values}, free=free)
        room = dict(zip(("thickness", "tilt_x", "tilt_y"), (0, 1, 1), strict=True))
        out = PlainParameters()
        for name, p in given.items():
            low, high = float(p.min), float(p.max)
            if name in room and p.vary:
                reach = self.varying.window[room[name]]
                low, high = max(low, state.values[name] - reach), min(high, state.values[name] + reach)
            value = state.values.get(name, float(p.value))
            out[name] = PlainParameter(float(np.clip(value, low, high)), bool(p.vary), low, high)
        bounds = self.structure.bounds
        for each in self.structure.varied:
            value, trust = values[each.name], self._trust(each.name, values)
            low, high = bounds[each.name]
            out[self.ids[each.name]] = PlainParameter(
                value, True, max(low, value - trust), min(high, value + trust)
            )
        for name in priors:
            if name != SEMI_ANGLE:
                most = 10 * priors[name].sigma
                out[name] = PlainParameter(self.shifts.get(name, 0.0), True, -most, most)
        return out

    # ---------------------------------------------------------------- how far

    def _trust(self, name: str, values: Mapping[str, float]) -> float:
        """How far a number may go before the crystal is solved again."""
        each = next(v for v in self.structure.varied if v.name == name)
        if each.kind == "B":
            return self.varying.trust_b * max(values[name], 0.2)
        if each.kind == "occ":
            return self.varying.trust_occupancy
        return self.varying.trust_coordinate / self.structure.edge(each)

    def _far(self, values: Mapping[str, float], made_at: Mapping[str, float], far: float) -> bool:
        """Whether numbers have moved by more than so many trusted steps, or nothing has been made yet."""
        return not made_at or any(
            abs(values[name] - made_at[name]) > far * self._trust(name, made_at) for name in values
        )

    def _as_in_the_file(self, values: Mapping[str, float]) -> bool:
        """Whether the library in the file is that of these values."""
        one, two = self.structure.at(values), self.structure.crystal
        pairs = ("positions", "occupancies", "debye_waller")
        return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in pairs)

    # ---------------------------------------------------------------- where it begins

    def _state(self, frame: Frame, start: FitResult) -> OneFrame:
        """A frame as the fit without structure has left it."""
        refining = self.settings.refining
        values = {name: p.value for name, p in start.parameters.items() if name in (*PARAMETERS, *AVERAGING)}
        if (said := start.assumed.get(SEMI_ANGLE)) is not None:
            values[SEMI_ANGLE] *= 1 + said.offset
        seed = start.candidates[0]
        alpha = self.settings.semi_angle
        region = Region.around(frame, seed, alpha, refining.fine_radius, self.library.room(alpha))
        electrons = start.noise.electrons if start.noise else None
        bright = electrons is None or electrons > refining.bright
        fine = self.varying.fine_pixel if bright else refining.coarse_pixel
        return OneFrame(frame, start, region, fine, values)

    def _showing(self, turn: int, begin: float, end: float) -> Callable[[float], None]:
        """Show the progress of a part of a turn: each turn takes half of what is left."""
        done = 1 - 0.5**turn

        def show(fraction: float) -> None:
            self.progress(STAGE, done + 0.5 ** (turn + 1) * (begin + (end - begin) * fraction))

        return show
