"""The study that sets how much doubt in a disc is too much: its frames and what it counts."""

from __future__ import annotations

import numpy as np
import pytest

disc_doubts = pytest.importorskip("benchmarks.disc_doubts")
reporting = pytest.importorskip("benchmarks.unseen")

from benchmarks.common import Study  # noqa: E402
from hybridfit.fitting.seed.alignment import Alignment  # noqa: E402
from hybridfit.pattern.camera import Camera, to_pixels  # noqa: E402


def test_its_crystals_are_of_the_training_and_none_that_reports():
    names = {case.name for case in disc_doubts.CASES}
    assert all(case.cif.is_file() for case in disc_doubts.CASES) and len(names) == 13
    assert not names & {path.stem for path in reporting.FOLDER.glob("*.cif")}


@pytest.mark.parametrize("i", range(20, 32))
def test_leaning_frames_show_the_disc_whole_and_the_bright_side_in_the_middle(i):
    case = disc_doubts.CASES[i % 13]
    values = disc_doubts.leaning(case, i)
    assert values == disc_doubts.leaning(case, i) != disc_doubts.leaning(case, i + 1)
    size, _ = values["shape"]
    x, y = values["centre"]
    radius = values["scale"] * values["semi_angle"]
    assert 5 <= np.hypot(*values["tilt"]) <= 15
    assert radius - 1 <= min(x, y) and max(x, y) <= size - radius
    towards = Camera(x, y, values["scale"], values["rotation"])
    laue = to_pixels(*(np.array([-0.5 * tilt]) for tilt in values["tilt"]), towards)
    middle = (size - 1) / 2
    assert (
        np.hypot(laue[0] - middle, laue[1] - middle) < 0.35 * np.hypot(x - middle, y - middle) + 0.15 * size
    )


def test_errors_are_of_the_radius():
    truth = {"centre_x": 50.0, "centre_y": 40.0, "scale": 2.0, "semi_angle": 10.0}
    at = Alignment(50.0, 40.0, 2.0, 0.01, True)
    assert disc_doubts.off(at, truth) == 0
    assert disc_doubts.off(at._replace(centre_x=53.0, centre_y=44.0), truth) == pytest.approx(0.25)
    assert disc_doubts.off(at._replace(scale=2.2, centre_x=51.0), truth) == pytest.approx(0.1)


def test_what_it_counts():
    row = {"told": 0.01, "further": np.inf, "alone": 0.03, "crystal": "LaB6"}
    rows = [
        row | {"off": 0.01, "doubt": 0.004},
        row | {"off": 0.06, "doubt": 0.011, "told": 0.06, "further": 0.02},
        row | {"off": 0.03, "doubt": 0.029, "crystal": "CoSb3"},
        row | {"off": 0.9, "doubt": 0.4},
    ]
    study = Study("disc_doubts", quick=True)
    disc_doubts.report(study, rows)
    said = {each.what: each.measured for each in study.rows}
    assert said["disc of the whole frame alone within 5 %"] == 100
    assert said["disc of the whole frame alone within 2 %"] == 0
    assert said["first disc within 2 %"] == 25 and said["first disc within 5 %"] == 50
    assert said["first disc within 2 %, simple crystals"] == pytest.approx(100 / 3)
    assert said["first disc within 2 %, crowded crystals"] == 0
    assert said["any disc that is told within 5 %"] == 75
    assert said["with those of crops all over the frame"] == 100
    assert said["doubt up to 0.01: frames"] == 25 and said["doubt up to 0.01: off by more than 5 %"] == 0
    assert said["doubt up to 0.03: frames"] == 75 and said["doubt up to 0.03: off by more than 5 %"] == 1
