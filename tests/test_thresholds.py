"""Every threshold can be traced: unit, reason and study; and none hides in a module of the fit or the map."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import hybridfit
from hybridfit import Fitter, simulate_frame
from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.search.cameras import check_bright, trial_cameras, wide_cameras
from hybridfit.fitting.search.settings import SEARCH
from hybridfit.fitting.seed.settings import SEED
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import make_frame
from hybridfit.thresholds import thresholds_of

study = pytest.importorskip("benchmarks.thresholds")
sensitivity = pytest.importorskip("benchmarks.threshold_sensitivity")
margins = pytest.importorskip("benchmarks.threshold_margins")
PACKAGE = Path(hybridfit.__file__).parent
CLASSES = study.settings_classes()
ALL = [each for settings in CLASSES for each in thresholds_of(settings)]
# numbers of modules that decide nothing, each with its reason
TECHNICAL = {
    "fitting/seed/network.py": {"CHUNK": "memory"},
    "fitting/seed/alignment.py": {"HUGE": "rounding of floating-point numbers"},
    "fitting/refine/levenberg.py": {
        **dict.fromkeys(("FIRST", "LEAST", "MOST", "FACTOR", "FAIR", "BAD"), "of a damping"),
        "SINGULAR": "rounding of floating-point numbers",
    },
    "fitting/search/paraboloid.py": {"FARTHEST": "a step of the lattice"},
    "scan/run.py": {"LEAST_BLUR": "not zero"},
    "fitting/refine/thickness_curve.py": dict.fromkeys(("NODES_NM", "NEAR", "POINTS"), "interpolation"),
    "fitting/refine/spread.py": {"NEAR": "shifts by distance", "FAR": "shifts by distance"},
    "fitting/judge/roundness.py": {
        "KNOTS": "finer than a rim",
        "SHAPE": "number of parameters",
        "STEPS": "ends a descent",
        "HOPE": "ends a descent",
        **dict.fromkeys(("FEWEST", "GROUPS", "MEDIAN", "EFFICIENCY"), "statistics of differences"),
    },
    "fitting/search/full.py": {"TEMPLATE_VERSION": "names files"},
    "fitting/search/rings.py": {
        "LEAST_POWER": "against division by zero",
        "TOGETHER": "memory",
    },
    "fitting/search/templates.py": {
        "RINGS": "size of an array that files hold",
        "ANGLES": "size of an array that files hold",
        "HARMONICS": "size of an array that files hold",
        "TOGETHER": "memory",
    },
    "fitting/search/ring_patterns.py": {
        "BACKGROUND_HEIGHTS": "shape of a background whose share is tried",
        "HARMONICS": "size of an array",
    },
    "fitting/posterior/maximum.py": {
        "FLOOR": "against division by zero",
        "LINEAR_STEPS": "steps of an iteration that has then ended",
    },
    "fitting/posterior/nothing.py": {"ROUNDS": "steps of an iteration that has then ended"},
    "fitting/posterior/few.py": {"NOTHING": "a coefficient that stands on its bound"},
    "fitting/posterior/marginal.py": {"FINE": "points of an integral"},
    "fitting/judge/modes.py": {"ROUNDING": "rounding of floating-point numbers"},
    "fitting/posterior/gain.py": {"GROUPS": "points of a quantile", "SAMPLED": "time"},
    "fitting/refine/problem.py": {"ROUNDING": "rounding of floating-point numbers"},
    "fitting/refine/algebra.py": {"INDEPENDENT": "rounding"},
    "fitting/refine/gram.py": {"CHUNK": "speed alone"},
    "fitting/refine/noise.py": {
        "FAINT": "against division by zero",
        "BINS": "points of a line fit",
        "NEAREST": "speed alone",
    },
    "fitting/refine/pairs.py": {"LEVELS": "size of an array"},
    "fitting/refine/refiner.py": {"FOLLOWED": "ends an iteration"},
    "fitting/budget_words.py": {"MARKED": "what a table shows"},
    "fitting/vary/structure.py": {"FIXED": "rounding of floating-point numbers"},
    "fitting/vary/run.py": {"LEAST_SCALE": "against division by zero"},
    "fitting/batch/levenberg.py": {"RIDGE": "rounding of floating-point numbers"},
    "fitting/batch/projected.py": {"RIDGE": "rounding of floating-point numbers"},
    "fitting/batch/noise.py": {"SAMPLED": "time"},
    "fitting/batch/match.py": {"ENTRY": "memory"},
    "fitting/judge/answer.py": {
        "NORMAL_95": "a quantile of the normal distribution",
        "UPPER": "what 95 % intervals are",
    },
    "fitting/judge/network_answer.py": {"TAIL": "definition of a 95 % interval"},
    "fitting/judge/crystallinity.py": {"RINGS": "size of an array"},
    "scan/fields.py": {"REST_ENERGY_KV": "a constant of nature"},
    "scan/lock.py": {"LONGEST": "length of a text"},
    "scan/stopping.py": {"PERIOD": "how often a process looks at its parent"},
    "scan/store.py": {"VERSION": "names files"},
}


def test_the_package_has_thresholds_of_every_stage():
    stages = {name.split("/")[0] for name in CLASSES.values()}
    assert {"fitting", "scan", "library", "network", "new", "physics"} <= stages
    assert len(ALL) > 200


@pytest.mark.parametrize("each", ALL, ids=lambda each: f"{each.settings}.{each.name}")
def test_a_threshold_says_unit_reason_and_study(each):
    assert each.unit.strip()
    assert len(each.why.split()) >= 3
    if each.study.startswith("benchmarks."):
        assert importlib.util.find_spec(each.study), f"there is no {each.study}"
        assert each.study.removeprefix("benchmarks.") in study_names(), f"{each.study} is no study"
    else:  # a publication has a year
        assert each.study == "design" or re.search(r"\b(18|19|20)\d\d\b", each.study)


def study_names() -> list[str]:
    return importlib.import_module("benchmarks.studies").names()


def test_no_name_stands_twice_in_a_class():
    for settings in CLASSES:
        source = ast.parse(Path(module_file(settings)).read_text(encoding="utf-8"))
        body = next(
            n.body for n in source.body if isinstance(n, ast.ClassDef) and n.name == settings.__name__
        )
        names = Counter(n.target.id for n in body if isinstance(n, ast.AnnAssign))
        assert max(names.values()) == 1, names.most_common(1)


def test_no_class_stands_twice():
    names = Counter(settings.__name__ for settings in CLASSES)
    assert max(names.values()) == 1, names.most_common(1)


def module_file(settings: type) -> Path:
    return PACKAGE.parent / (settings.__module__.replace(".", "/") + ".py")


def numbers_of(path: Path) -> set[str]:
    """Names that a module gives to numbers: literals, or what is calculated from literals alone."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        parts = list(ast.walk(node.value))
        literal = any(isinstance(n, ast.Constant) and type(n.value) in (int, float) for n in parts)
        if literal and not any(isinstance(n, ast.Call | ast.Subscript) for n in parts):
            found |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return found


def test_numbers_that_decide_something_stand_in_settings():
    """A number of a module under `fitting` or `scan` is technical, or belongs into settings."""
    found = {
        str(path.relative_to(PACKAGE)): numbers
        for folder in ("fitting", "scan")
        for path in (PACKAGE / folder).rglob("*.py")
        if (numbers := numbers_of(path))
    }
    assert found == {path: set(reasons) for path, reasons in TECHNICAL.items()}


def test_numbers_of_modules_are_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("A, B = 3.0, (1, 2)\nC: float = 2 * 3\nD = 'text'\nE = f(3)\n_F = -1\n")
    assert numbers_of(path) == {"A", "B", "C", "_F"}


# ---------------------------------------------------------------- the study covers them all


def test_every_threshold_of_a_fit_is_studied():
    """Each is compared with a measured quantity, varied, or left out for a reason; and none is gone."""
    of_fits = {f"{t.settings}.{t.name}" for settings in sensitivity.CLASSES for t in thresholds_of(settings)}
    observed = {each.key.split(",")[0] for each in margins.OBSERVED}
    of_scan = {key for key in observed if key.startswith("FirstPassSettings.")}
    varied = {trial.key for trial in sensitivity.trials()}
    assert observed - of_scan | varied | set(sensitivity.UNTRIED) == of_fits
    assert not varied & observed


def test_every_way_is_one_of_a_threshold_that_there_is():
    for name, ways in sensitivity.OTHER_WAY.items():
        settings = next(each for each in sensitivity.CLASSES if each.__name__ == name)
        known = {each.name for each in thresholds_of(settings)}
        assert {field for fields in ways.values() for field in fields} <= known


@pytest.mark.parametrize("trial", sensitivity.trials(), ids=lambda trial: f"{trial.key} {trial.factor}")
def test_a_varied_threshold_makes_settings(trial):
    settings = FitSettings(13.0, **trial.options())
    assert settings != FitSettings(13.0)


def test_values_are_varied_by_kind():
    assert sensitivity.varied(2.0, 1.25) == 2.5
    assert sensitivity.varied(3, 0.8) == 2
    assert sensitivity.varied(1, 0.8) == 1
    assert sensitivity.varied(1, 1.25) == 2
    assert sensitivity.varied(98.0, 1.25, "percent") == 97.5
    assert sensitivity.varied((0.8, 1.25), 1.25) == pytest.approx((0.8**1.25, 1.25**1.25))
    assert sensitivity.varied(((3, 0.5), (2, 0.25)), 0.8) == ((2, 0.4), (1, 0.2))


def test_margins_are_ratios_to_the_nearest_frames():
    rows = [
        {"kind": "good", "JudgeSettings.poor_misfit": 0.02},
        {"kind": "good", "JudgeSettings.poor_misfit": 0.03},
        {"kind": "another crystal", "JudgeSettings.poor_misfit": 0.05},
        {"kind": "another crystal", "JudgeSettings.poor_misfit": 0.5},
        {"kind": "noise", "JudgeSettings.beyond_chance": 2.0},
        {"kind": "good", "JudgeSettings.beyond_chance": 30.0},
    ]
    found = {margin.threshold: margin for margin in margins.margins(rows)}
    misfit, chance = found["JudgeSettings.poor_misfit"], found["JudgeSettings.beyond_chance"]
    assert (misfit.worst, misfit.best, misfit.others_on_wrong_side) == (0.03, 0.05, 1)
    assert misfit.to_good == pytest.approx(0.06 / 0.03)
    assert misfit.to_others == pytest.approx(0.05 / 0.06)
    assert (chance.to_good, chance.to_others) == pytest.approx((1.5, 10.0))
    assert np.isnan(found["JudgeSettings.hole"].to_good)


# ---------------------------------------------------------------- thresholds reach what they decide


@pytest.fixture(scope="module")
def image(small_library):
    """A frame of 30 nm of the small library, whose direct disc is whole."""
    values = {"thickness": 30.0, "tilt": (0.3, -0.4), "semi_angle": 9.0, "shape": (96, 96)}
    return simulate_frame(small_library, **values, electrons=1e6)[0]


def test_a_user_may_have_another_opinion_of_cut_discs(small_library, image):
    library = small_library.window(30.0, half_widths=(8.0, 1.0))
    usual = Fitter(library, 9.0, method="lsf", workers=1)
    assert usual.fit(image).ok
    stricter = dataclasses.replace(SEARCH, disc_outside=-9.0)  # nine radii of room are wanted
    with pytest.raises(InputError, match="is cut by the edge"):
        Fitter(library, 9.0, method="lsf", workers=1, searching=stricter).fit(image)


def test_settings_of_the_disc_decide_where_cameras_are_tried(image):
    frame, none = make_frame(image), dataclasses.replace(SEED.disc, largest=0.01)
    assert len(trial_cameras(frame, Hints(), 9.0))
    with pytest.raises(InputError, match="no direct disc"):
        trial_cameras(frame, Hints(), 9.0, SEARCH, none)
    smaller = dataclasses.replace(SEED.disc, half_bright=0.5 * SEED.disc.half_bright)
    usual, half = (wide_cameras(frame, Hints(), 9.0, SEARCH, finding) for finding in (SEED.disc, smaller))
    assert half[:, 2].min() == pytest.approx(0.5 * usual[:, 2].min(), rel=0.2)


def test_settings_of_the_disc_decide_what_is_bright():
    row, col = np.indices((96, 96), dtype=float)
    cut = np.where(np.hypot(row - 48, col) < 20, 100.0, 1.0)
    frame = make_frame(np.random.default_rng(0).poisson(cut))
    with pytest.raises(InputError, match="is cut by the edge"):
        check_bright(frame, Hints())
    check_bright(frame, Hints(), SEARCH, dataclasses.replace(SEED.disc, stands_out=100.0))
