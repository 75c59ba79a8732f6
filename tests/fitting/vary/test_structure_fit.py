"""B, coordinates and occupancies of small crystals, from frames of crystals that differ from the CIF."""

from __future__ import annotations

import dataclasses

import lmfit
import numpy as np
import pytest

from hybridfit import Candidate, Library, StructureFitter, fit, fit_together, make_frame, simulate_frame
from hybridfit.errors import InputError
from hybridfit.fitting.vary.again import REST, Again, Place, about
from hybridfit.fitting.vary.names import parsed
from hybridfit.fitting.vary.settings import VarySettings
from hybridfit.fitting.vary.structure import Structure
from hybridfit.library.build import StructuralChange

ANGLE = 7.0
SAME = {"library": 0.0}  # frames and fits have the same few beams
PLACES = ((14.3, (0.7, 0.4)), (21.2, (-0.3, 0.5)))
SIZES = {
    "g_max": 0.8,
    "semi_angle_max": 8,
    "tilt_max": 1.0,
    "sampling": 0.5,
    "thickness": {"start": 10, "stop": 26},
}


def other(library, change):
    """The library of the changed crystal."""
    both = StructuralChange(
        (0.0, 1.0), lambda crystal, on: change(crystal) if on else crystal, kind="discrete"
    )
    diffuse = library.diffuse is not None
    built = Library.build(library.recipe, parameters={"other": both}, diffuse=diffuse, slopes=False)
    return built.at(other=1.0)


def shots(library, places=PLACES, electrons=1e8):
    """Frames of a library, and seeds next to the truth."""
    frames, seeds = [], []
    for i, (thickness, tilt) in enumerate(places):
        values = {"thickness": thickness, "tilt": tilt, "semi_angle": ANGLE, "shape": (80, 80)}
        image, truth = simulate_frame(library, **values, electrons=electrons, seed=i)
        camera = (truth["centre_x"], truth["centre_y"], truth["scale"], truth["rotation"])
        frames.append(make_frame(image))
        seeds.append(Candidate(thickness + 0.3, tilt[0] - 0.1, tilt[1], *camera))
    return frames, seeds


def with_b(**values):
    def change(crystal):
        b = [values.get(e, b) for e, b in zip(crystal.elements, crystal.debye_waller, strict=True)]
        return dataclasses.replace(crystal, debye_waller=np.array(b))

    return change


@pytest.fixture(scope="module")
def strontium(build_library):
    """SrTiO3, and frames of one whose atoms vibrate otherwise."""
    library = build_library("SrTiO3", (0, 0, 1), in_plane=(1, 0, 0), **SIZES)
    return library, *shots(other(library, with_b(Sr=0.75, Ti=0.36, O=0.9)))


@pytest.fixture(scope="module")
def together(strontium):
    """The three B from two frames."""
    library, frames, seeds = strontium
    fitter = StructureFitter(library, "B:Sr,B:Ti,B:O", ANGLE, method="lsf", sigma=SAME)
    return fitter.fit_from(frames, [fitter.fitter.refine(f, s) for f, s in zip(frames, seeds, strict=True)])


def test_all_b_of_a_crystal_from_two_frames(together):
    assert together.ok, together.report()
    for name, true, start in (("B:Sr", 0.75, 0.62), ("B:Ti", 0.36, 0.44), ("B:O", 0.9, 0.73)):
        p = together[name]
        assert p.value == pytest.approx(true, rel=0.02)
        assert 0.001 < p.stderr < 0.02
        assert abs(p.value - true) < 4 * p.stderr
        assert together.start[name] == start
        assert p.unit == "Å²"
        assert p.interval95[0] < p.value < p.interval95[1]
    assert 1 <= together.solves <= 5


def test_frames_have_thicknesses_of_their_own_and_share_the_structure(together):
    for frame, (thickness, tilt) in zip(together.frames, PLACES, strict=True):
        assert frame.thickness == pytest.approx(thickness, abs=0.05)
        assert frame.tilt == pytest.approx(tilt, abs=0.02)
        assert frame.structure == together.structure
        assert frame.reduced_chi2 < 1.2
        assert set(frame.budget) == {"thickness", "tilt_x", "tilt_y", "B:Sr", "B:Ti", "B:O"}
        for name, p in {**frame.structure, "thickness": frame["thickness"]}.items():
            parts = frame.budget[name]
            assert np.sqrt(sum(v**2 for v in parts.values())) == pytest.approx(p.stderr, rel=0.02)
        assert len(frame.posterior(5)["thickness"]) == 5


def test_the_prior_of_vibration_does_not_hold_what_is_fitted(together):
    assert REST not in together.assumed
    assert all("vibration" not in parts for parts in together.budget.values())
    assert "energy" in together.budget["B:Sr"]


def test_what_users_read(together):
    frame = together.frames[0]
    told = frame.to_json()
    assert set(told["structure"]) == {"B:Sr", "B:Ti", "B:O"}
    assert {"value", "stderr", "interval95", "unit"} <= set(told["structure"]["B:Sr"])
    assert -1 < told["correlations"]["B:Sr"]["B:Ti"] < 1
    assert "thickness" in told["correlations"]["B:O"]
    assert "B:Ti" in frame.report() and "correlations" in frame.report()
    assert "CIF: 0.62" in together.report()
    assert "2 frames" in repr(together)
    assert [each["together"] for each in together.to_json()] == [["array", "array"]] * 2


def test_lmfit_reads_the_answers(together):
    params = together.minimizer.params
    assert params["B_Sr"].value == together["B:Sr"].value
    assert params["B_Sr"].correl["B_O"] == pytest.approx(together.correlations["B:Sr"]["B:O"])
    assert "B_Ti" in lmfit.fit_report(together.minimizer)
    own = together.frames[0].minimizer
    assert own.params["B_Ti"].stderr == pytest.approx(together["B:Ti"].stderr, rel=1e-3)
    assert "thickness" in lmfit.fit_report(own)


def test_one_frame_and_the_prior_of_other_atoms(strontium):
    library, frames, seeds = strontium
    fitter = StructureFitter(library, ["B:O"], ANGLE, method="lsf")
    found = fitter.fit_from(frames[1:], [fitter.fitter.refine(frames[1], seeds[1])])
    assert found["B:O"].value == pytest.approx(0.9, rel=0.1)
    assert found.budget["B:O"]["vibration"] > 0
    assert REST in found.assumed
    assert found["B:O"].stderr > found.budget["B:O"]["library"] > found.budget["B:O"]["counting"]  # few beams


def test_images_along_numbers_are_those_of_solves(strontium):
    """What the fit takes for the derivative of intensities, beside a difference of two solves."""
    library, *_ = strontium
    structure = Structure.of(library.recipe, parsed("B:Sr,B:O"))
    again = Again(structure, library, ANGLE, settings=VarySettings(slope_sampling=0.01))
    windows = about(again, [Place(14.3, (0.7, 0.4))])
    start = structure.start
    (along,) = again.along(start, windows)
    assert set(along.slopes.values) == {"B:Sr", "B:O", REST}
    warm, cold = (again.solved({**start, "B:O": start["B:O"] + by}, windows)[0] for by in (0.05, -0.05))
    expected = (warm.dataset.intensity.values - cold.dataset.intensity.values) / 0.1
    numbers, _ = along.slopes.values["B:O"]
    at = {tuple(n): i for i, n in enumerate(window_directions(windows[0]))}
    scale = np.abs(expected).max()
    # the same grid here, because it is coarse already
    both = [(at[n], i) for i, n in enumerate(slope_directions(along, library)) if n in at]
    assert len(both) > 50
    mine, theirs = map(list, zip(*both, strict=True))
    np.testing.assert_allclose(numbers[..., theirs], expected[..., mine], atol=0.03 * scale)


def window_directions(window):
    return window.dataset.direction_n.values.tolist()


def slope_directions(along, library):
    """Stored directions of the slopes, in steps of the library."""
    table = along.slopes.table
    half = np.array(table.direction_at.shape) // 2
    out = {}
    for m in np.argwhere((table.direction_at >= 0) & (table.operation_at == 0)):
        out[int(table.direction_at[tuple(m)])] = tuple((m - half).tolist())
    ratio = 1 / along.slopes.sampling
    assert np.allclose(ratio, 1)
    return [out[i] for i in range(len(out))]


@pytest.fixture(scope="module")
def lead(build_library):
    """PbTiO3 [100], without an inversion centre, and with a diffuse part."""
    sizes = {
        **SIZES,
        "sampling": 0.8,
        "semi_angle_max": 7,
        "tilt_max": 0.5,
        "thickness": {"start": 8, "stop": 14},
    }
    return build_library("PbTiO3", (1, 0, 0), diffuse=True, in_plane=(0, 0, 1), **sizes)


def test_a_coordinate_of_a_polar_crystal(lead):
    def change(crystal):
        moved = np.array([label == "O1" for label in crystal.labels])
        return dataclasses.replace(crystal, positions=crystal.positions + np.outer(moved, [0, 0, 0.012]))

    frames, seeds = shots(other(lead, change), [(11.2, (0.2, -0.1))])
    seeds = [dataclasses.replace(seed, thickness=11.3) for seed in seeds]
    fitter = StructureFitter(lead, "z:O1", 7.0, method="lsf", sigma=SAME)
    found = fitter.fit_from(frames, [fitter.fitter.refine(frames[0], seeds[0])])
    p = found["z:O1"]
    assert 4.156 * abs(p.value - 0.124) < 0.005  # Å
    assert p.stderr < 0.002
    assert "vibration" in found.budget["z:O1"]


def test_what_a_fit_does_not_take(strontium, tmp_path):
    library, frames, _ = strontium
    with pytest.raises(InputError, match="does not take flip"):
        StructureFitter(library, "B:O", ANGLE, method="lsf", flip=True)
    with pytest.raises(InputError, match="does not take expressions"):
        StructureFitter(library, "B:O", ANGLE, method="lsf", expressions={"blur": "0.1 * scale"})
    with pytest.raises(InputError, match="list of frames"):
        fit_together("a.tif", library, vary="B:O", semi_angle=ANGLE)
    with pytest.raises(InputError, match="no frames"):
        StructureFitter(library, "B:O", ANGLE, method="lsf").fit([])
    with pytest.raises(InputError, match="no such site"):
        fit(frames[0], library, semi_angle=ANGLE, vary="B:Xe")
