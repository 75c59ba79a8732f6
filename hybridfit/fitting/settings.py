"""What a user asks of a fit: one frozen object that travels from the command line to every stage."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypedDict

import numpy as np

from hybridfit.errors import InputError
from hybridfit.fitting.assumptions import checked_sigma
from hybridfit.fitting.hints import Hints, with_fixed
from hybridfit.fitting.judge.settings import JUDGE, JudgeSettings
from hybridfit.fitting.limits import check_bounds, check_fixed
from hybridfit.fitting.posterior.settings import POSTERIOR, PosteriorSettings
from hybridfit.fitting.refine.settings import REFINE, RefineSettings
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.seed.settings import SEED, SeedSettings
from hybridfit.library.library import Library
from hybridfit.model import AVERAGING, PARAMETERS
from hybridfit.pattern import background as bg
from hybridfit.thresholds import threshold

METHODS = ("hybrid", "lsf", "cnn")
TURNED = "tilt_y"  # what has the other sign in the mirror


@dataclass(frozen=True)
class RouteSettings:
    """Thresholds that decide by which route a frame goes."""

    smallest_semi_angle: float = threshold(
        0.5, "mrad", "no probe has a smaller semi-angle, which was probably given in rad", "design"
    )
    wider: tuple[float, float] = threshold(
        (9.0, 2.0),
        "nm, mrad",
        "this window is searched where the first one did not hold the answer",
        "design",
    )
    wider_most: int = threshold(
        4, "candidates", "so many candidates of the wider window are refined", "design"
    )
    no_match: float = threshold(
        0.6,
        "of the frame's variance",
        "a library match that leaves more is not refined; the full search follows",
        "design",
    )
    matched_most: int = threshold(
        5, "candidates", "so many candidates of a library match are refined at most", "design"
    )
    matched_sure: float = threshold(
        0.97,
        "probability",
        "where a library match is surer of its best candidate, it is refined alone",
        "benchmarks.match_odds",
    )
    matched_near: float = threshold(
        0.15,
        "of the frame's variance",
        "candidates of a library match that leave this much more than the best one are not refined",
        "design",
    )
    matched_likely: float = threshold(
        0.02,
        "of the best one's odds",
        "candidates of a library match that are less likely are not refined: of 140 frames of crystals that"
        " report nothing the best one was right in 137, and in three none was",
        "benchmarks.match_odds",
    )
    discs_most: int = threshold(
        3,
        "discs",
        "where a disc in doubt leads to a poor match, so many others are refined by themselves",
        "design",
    )
    searched_least: int = threshold(
        3,
        "candidates",
        "so many candidates of a full search are refined, whatever they leave: runners-up that a user sees",
        "design",
    )
    believed: float = threshold(
        0.99,
        "probability",
        "a network so certain is believed even where electrons are few: at 1e4 electrons it was "
        "wrong in two of sixty fits with 0.93 and 0.97",
        "design",
    )
    few_electrons: float = threshold(
        5e4, "electrons", "in frames of fewer electrons a network has to be surer", "design"
    )
    doubted_most: int = threshold(
        3,
        "candidates",
        "so many candidates of the library match beside a network in doubt are refined at most",
        "design",
    )
    doubted_near: float = threshold(
        0.03,
        "of the frame's variance",
        "candidates of the library match beside a network in doubt that leave this much more than"
        " the best one are not refined: most of χ² is noise there",
        "design",
    )


class FitOptions(TypedDict, total=False):
    """What `hybridfit.fit`, `Fitter` and `map_scan` take by name: the fields of `FitSettings`."""

    method: str
    background: str
    fix: Mapping[str, float | None] | None
    free: Sequence[str]
    bounds: Mapping[str, tuple[float, float]] | None
    expressions: Mapping[str, str] | None
    sigma: Mapping[str, float] | None
    hints: Hints | None
    flip: bool
    thorough: bool
    whole_curve: bool
    keep_model: bool
    routes: RouteSettings
    seeding: SeedSettings
    searching: SearchSettings
    refining: RefineSettings
    judging: JudgeSettings
    gain: float | None
    posterior: PosteriorSettings


@dataclass(frozen=True)
class FitSettings:
    """What a user asks of a fit.

    Parameters
    ----------
    semi_angle : float, mrad
        Convergence semi-angle.
    method : str
        "hybrid": a network seeds a search of the library around its answer.  Where the library has no
        network, the library is matched with the frame.  Where neither holds, the whole library is searched.
        "lsf": the whole library is searched.  "cnn": the network alone.
    background : str, one of `hybridfit.pattern.background.NAMES`
    fix : mapping of parameter name to value, or to None to keep the value of the seed
    free : names of parameters to fit that are fixed by default
        semi_angle; and what the averaged area may hold besides one flat crystal: vacuum (a share),
        thickness_spread (nm) and tilt_spread (mrad), standard deviations.  These are 0 unless they are freed,
        fixed or bounded.
    bounds : mapping of parameter name to (lowest, highest)
        In place of the default bounds; thickness, tilt and semi-angle end where the library ends.
    expressions : mapping of parameter name to expression
        Ties a parameter to others, as in lmfit: ``{"ellipticity_b": "-ellipticity_a"}``.
    sigma : mapping of name to relative standard deviation
        How well is known what the fit takes for granted (`hybridfit.fitting.assumptions`): ``debye_waller``
        (0.15 by default), ``energy`` (0.003), ``semi_angle`` (0.01).  0 says that a value is exact.
    hints : Hints
        A thickness, tilt or rotation that is known makes the search one around it, without the network.
    flip : bool
        The camera mirrors its frames.  Pixels and rotation stay those of the file, tilts are the crystal's.
    thorough : bool
        Whether the whole library is searched where a seed does not hold.
    whole_curve : bool
        Results can show χ² over the whole library, also where the search was narrower; they keep the frame.
    keep_model : bool
        Results keep their model (some 20 MB), for `FitResult.conf_interval`.
    gain : float, counts per electron, optional
        Of the camera; by default it is estimated from the noise of the frame.  It says which frames have few
        electrons, and how sure their answers are.
    routes, seeding, searching, refining, judging, posterior : settings of the stages
        Thresholds; change them only to study them.

    Raises
    ------
    InputError
        A value of another type, or one that cannot be right.
    """

    semi_angle: float
    method: str = "hybrid"
    background: str = "radial"
    fix: Mapping[str, float | None] = field(default_factory=dict)
    free: Sequence[str] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    expressions: Mapping[str, str] = field(default_factory=dict)
    sigma: Mapping[str, float] = field(default_factory=dict)
    hints: Hints = field(default_factory=Hints)
    flip: bool = False
    thorough: bool = True
    whole_curve: bool = False
    keep_model: bool = False
    routes: RouteSettings = RouteSettings()
    seeding: SeedSettings = SEED
    searching: SearchSettings = SEARCH
    refining: RefineSettings = REFINE
    judging: JudgeSettings = JUDGE
    gain: float | None = None
    posterior: PosteriorSettings = POSTERIOR

    def __post_init__(self) -> None:
        check_semi_angle(self.semi_angle, self.routes)
        check_method(self.method)
        bg.check(self.background)
        if isinstance(self.free, str) or not isinstance(self.free, Sequence):
            raise InputError(f"free is {self.free!r}; give a list of names, such as ['semi_angle']")
        check_gain(self.gain)
        if not isinstance(self.hints, Hints | None):
            raise InputError(f"hints is {self.hints!r}; give hybridfit.Hints(thickness=42.3), for instance")
        plain = {
            "semi_angle": float(self.semi_angle),
            "fix": _mapping("fix", self.fix, "{'scale': 5.4}"),
            "free": tuple(self.free),
            "bounds": _bounds(_mapping("bounds", self.bounds, "{'blur': (0.0, 1.0)}")),
            "expressions": _mapping("expressions", self.expressions, "{'ellipticity_b': '-ellipticity_a'}"),
            "sigma": checked_sigma(self.sigma),
            "hints": self.hints or Hints(),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def averaging(self) -> tuple[str, ...]:
        """What a user asks for of vacuum, thickness_spread and tilt_spread."""
        asked = {*self.free, *self.fix, *self.bounds, *self.expressions}
        return tuple(name for name in AVERAGING if name in asked)

    def tilt_limit(self, library: Library) -> float:
        """The largest tilt (mrad) of a library at this semi-angle."""
        return library.tilt_max + library.semi_angle_max - self.semi_angle

    def check(self, library: Library) -> None:
        """Raise an InputError or LibraryError for what a library does not know or cover."""
        library.check_semi_angle(self.semi_angle)
        known = (*PARAMETERS, *AVERAGING, *library.structure)
        for name in (*self.fix, *self.free, *self.bounds, *self.expressions):
            if name not in known:
                raise InputError(f"unknown parameter {name!r}; the parameters are {', '.join(known)}")
        check_fixed(self.fix, library, self.semi_angle)
        self.hints.check_library(library, self.semi_angle)
        check_bounds(self.bounds, library, self.semi_angle)
        for name in self.bounds:
            if name in self.fix:
                raise InputError(f"{name} is both fixed and bounded; leave one of them out")
        for name in self.expressions:
            if name in (*self.fix, *self.bounds):
                raise InputError(f"{name} has an expression; it cannot be fixed or bounded, too")
            _check_expression(name, self.expressions[name], known)

    def held(self) -> FitSettings:
        """The same with hints of what is fixed at a value: the search starts where the fit must stay."""
        return replace(self, hints=with_fixed(self.hints, self.fix))

    def mirrored(self) -> FitSettings:
        """The same in the frame of the crystal's mirror image, (x, −y): tilt_y has the other sign."""
        fix = {n: -v if n == TURNED and v is not None else v for n, v in self.fix.items()}
        bounds = {n: (-b[1], -b[0]) if n == TURNED else b for n, b in self.bounds.items()}
        tilt = self.hints.tilt
        hints = self.hints if tilt is None else replace(self.hints, tilt=(tilt[0], -tilt[1]))
        expressions = {n: _mirrored_expression(n, e) for n, e in self.expressions.items()}
        return replace(self, fix=fix, bounds=bounds, hints=hints, expressions=expressions)


def check_gain(gain: Any) -> None:
    """Raise an InputError for what is no gain in counts per electron."""
    if gain is None:
        return
    if not isinstance(gain, Real) or isinstance(gain, bool) or not 0 < float(gain) < np.inf:
        raise InputError(
            f"gain {gain!r} is none; give counts per electron, above 0, or None to estimate it from the frame"
        )


def check_method(method: str) -> None:
    """Raise an InputError for a method that there is not."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; the methods are {', '.join(METHODS)}")


def check_semi_angle(semi_angle: Any, routes: RouteSettings = RouteSettings()) -> None:
    """Raise an InputError for what is no convergence semi-angle in mrad."""
    if not isinstance(semi_angle, Real) or isinstance(semi_angle, bool) or not np.isfinite(float(semi_angle)):
        raise InputError(f"semi_angle {semi_angle!r} is not a number; give it in mrad, such as 13.6")
    if float(semi_angle) < routes.smallest_semi_angle:
        rad = f" ({1000 * float(semi_angle):g} if this was in rad)" if 1e-4 <= float(semi_angle) else ""
        raise InputError(
            f"semi-angle {float(semi_angle):g} mrad cannot be right; give it in mrad, at least "
            f"{routes.smallest_semi_angle:g}{rad}"
        )


def _mapping(name: str, given: Any, example: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InputError(f"{name} is {given!r}; give a dict of parameter names, such as {example}")
    return dict(given)


def _bounds(given: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    out = {}
    for name, pair in given.items():
        try:
            low, high = (float(v) for v in pair)
        except (TypeError, ValueError):
            raise InputError(
                f"bounds of {name} are {pair!r}; give the lowest and the highest value"
            ) from None
        if not (np.isfinite([low, high]).all() and low < high):
            raise InputError(f"bounds of {name} are {low:g}, {high:g}; give the lower one first, both finite")
        out[name] = (low, high)
    return out


def _check_expression(name: str, expression: Any, known: Sequence[str]) -> None:
    """Raise an InputError for an expression that lmfit could not evaluate."""
    try:
        names = {
            node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)
        }
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        raise InputError(
            f"expression {expression!r} of {name} cannot be read; write it as in Python, "
            "such as '0.5 * ellipticity_a'"
        ) from None
    if name in names or not names & set(known):
        raise InputError(
            f"expression {expression!r} of {name} must name other parameters: {', '.join(known)}"
        )


class _Mirror(ast.NodeTransformer):
    """tilt_y → (−tilt_y)."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.UnaryOp(ast.USub(), node) if node.id == TURNED else node


def _mirrored_expression(name: str, expression: str) -> str:
    turned = ast.unparse(_Mirror().visit(ast.parse(expression, mode="eval")))
    return f"-({turned})" if name == TURNED else turned
