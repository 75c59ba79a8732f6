"""Frames of small libraries are told apart, and from what is none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hybridfit
from hybridfit.errors import InputError
from hybridfit.fitting.candidates import tilt_distance
from hybridfit.frame import make_frame
from hybridfit.identification.identifier import FEW, Identifier

SEMI_ANGLE = 8.0


@pytest.fixture(scope="module")
def identifier(libraries) -> Identifier:
    return Identifier(SEMI_ANGLE, libraries.values(), workers=1)


@pytest.mark.parametrize("name", ["SrTiO3", "rutile", "fourfold"])
def test_the_library_that_is_shown_is_named(name, identifier, libraries, shown):
    image, truth = shown(name)
    found = identifier.identify(image)
    assert found.answer == str(libraries[name]) and found.probability > 0.95
    assert sum(m.probability for m in found.matches) + found.none == pytest.approx(1)
    assert found.evidence.none() == found.none
    assert found.evidence.shares()[0] * (1 - found.none) <= found.probability + 1e-12
    best, order = found.best, hybridfit.Library.open(libraries[name]).rotation_order
    assert best.thickness == pytest.approx(truth["thickness"], abs=0.3)
    assert tilt_distance((best.tilt_x, best.tilt_y), (truth["tilt_x"], truth["tilt_y"]), order) < 0.1
    assert best.residual_fraction < 0.05 and best.structure_left < 0.05
    assert found.message.startswith(f"The frame shows {name}")


def test_a_mirrored_frame_of_a_crystal_without_a_mirror(identifier, libraries, shown):
    image, truth = shown("fourfold")
    plain, mirror = (identifier.identify(each) for each in (image, image[:, ::-1]))
    assert plain.answer == mirror.answer == str(libraries["fourfold"])
    assert plain.best.mirrored < 0.05 and mirror.best.mirrored > 0.95
    assert "fit them with --flip" in mirror.message and "--flip" not in plain.message
    tilt = mirror.best.tilt_x, mirror.best.tilt_y
    assert tilt_distance(tilt, (truth["tilt_x"], truth["tilt_y"]), 4) < 0.1


@pytest.mark.parametrize(
    "name, why",
    [("rutile", ["SrTiO3 [0 0 1] 200 kV comes nearest"]), ("fourfold", ["comes nearest", "another crystal"])],
)
def test_another_crystal_is_none_of_them(name, why, libraries, shown):
    """The nearest library leaves much of the frame, or fits it no better than a round pattern does.

    Which of the two is so may be chance: of a wrong crystal any disc is as good.
    """
    image, _ = shown(name)
    others = [path for other, path in libraries.items() if other != name]
    found = hybridfit.identify(image, SEMI_ANGLE, among=others, workers=1)
    assert found.answer is None and found.none > 0.7
    assert "none of the 2 libraries" in found.message and any(words in found.message for words in why)


def test_vacuum_is_none_of_them(identifier, vacuum):
    found = identifier.identify(vacuum)
    assert found.answer is None and found.none > 0.9
    assert "(98 %): a round pattern explains it as well: vacuum" in found.message


@pytest.mark.parametrize("electrons", [1e5, 1e8])
def test_a_smooth_blob_is_none_of_them(electrons, identifier):
    """A crystal beside its centre takes the slopes that are left for structure."""
    row, col = np.indices((96, 96))
    k = np.hypot(row - 46.2, col - 48.6) / 2.9
    blob = np.exp(-0.5 * (k / 5) ** 2) + 0.2 * np.exp(-0.5 * (k / 9) ** 2)
    image = np.random.default_rng(1).poisson(electrons * blob / blob.sum()).astype(float)
    found = identifier.identify(image)
    assert found.answer is None and found.none > 0.9
    assert "a round pattern explains it as well" in found.message


def test_a_crystal_of_few_electrons_is_not_taken_for_another(libraries, shown):
    """Noise hides pixel by pixel what a wrong library leaves; as smoothed it stands out."""
    image, _ = shown("rutile", electrons=5e4)
    found = hybridfit.identify(
        image, SEMI_ANGLE, among=[libraries["SrTiO3"], libraries["fourfold"]], workers=1
    )
    left = found.evidence.left
    assert found.answer is None and left.left > 8 * left.deviation


def test_the_energy_of_a_file_rules_libraries_out(identifier, shown):
    frame = replace(make_frame(shown("rutile")[0]), calibration={"energy_kv": 80.0})
    with pytest.raises(InputError, match="no library can be compared with the frame"):
        identifier.identify(frame)


def test_a_frame_of_few_electrons_says_so(identifier, shown):
    assert FEW in identifier.identify(shown("rutile", electrons=1e4)[0]).remarks


def test_answers_are_plain_and_repeat(identifier, shown):
    image, _ = shown("rutile")
    first, second = identifier.identify(image), identifier.identify(image)
    assert [m.name for m in first.matches] == [m.name for m in second.matches]
    assert first.probability == pytest.approx(second.probability) and first.none == pytest.approx(second.none)
    out = first.to_json()
    assert set(out) == {
        "file", "semi_angle_mrad", "answer", "probability", "message", "none", "matches", "not_compared",
        "seconds",
    }  # fmt: skip
    assert set(out["matches"][0]) == {
        "library", "title", "probability", "thickness_nm", "tilt_x_mrad", "tilt_y_mrad", "rotation_deg",
        "scale_px_per_mrad", "residual_fraction", "structure_left", "mirrored", "structure",
    }  # fmt: skip


def test_a_frame_without_a_semi_angle(shown):
    with pytest.raises(InputError, match="does not say its semi-angle"):
        hybridfit.identify(shown("rutile")[0])


def test_a_semi_angle_beyond_all(libraries):
    with pytest.raises(InputError, match=r"no library can be compared .*it reaches 8\.5 mrad"):
        Identifier(12.0, libraries.values())


def test_a_picture_shows_frame_and_fits(identifier, shown, tmp_path):
    found = identifier.identify(shown("rutile")[0])
    figure = found.plot(tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    drawn = sum(match.picture is not None for match in found.matches[:3])
    assert len(figure.axes) == 1 + 2 * drawn
    assert np.isfinite(figure.axes[0].images[0].get_array().compressed()).all()
    with pytest.raises(InputError, match=r"pictures are written as \.png, \.pdf, \.svg"):
        found.plot(tmp_path / "found.gif")


def test_libraries_of_one_crystal_are_no_rivals():
    """One that reaches other tilts, for one: the better of them has the odds of both."""
    from types import SimpleNamespace

    from hybridfit.identification.answer import Match
    from hybridfit.identification.identifier import _by_crystal

    known = [
        SimpleNamespace(name=name, library=SimpleNamespace(structure=structure))
        for name, structure in (("near", {}), ("far", {}), ("other", {}), ("polar", {"polarity": 1}))
    ]
    found = (
        Match("far", "A [0 0 1] 200 kV", 0.5, refined=True),
        Match("near", "A [0 0 1] 200 kV", 0.2, refined=True),
        Match("polar", "A [0 0 1] 200 kV", 0.15, refined=True),
        Match("other", "B [0 0 1] 200 kV", 0.1, refined=True),
    )
    matches, left = _by_crystal(known, found)
    assert [(m.name, pytest.approx(m.probability)) for m in matches] == [
        ("far", 0.7),
        ("polar", 0.15),
        ("other", 0.1),
    ]
    assert [each.name for each in left] == ["near"] and "far, which fits as well" in left[0].why
