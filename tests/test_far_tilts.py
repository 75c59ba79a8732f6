"""The study of far tilts: its frames and rows, and the physics that it checks, at 15 mrad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import far_physics, far_table, far_tilts, references
from benchmarks.common import Study
from benchmarks.far_frames import AZIMUTHS, SIZES, THREE, camera_of, recipe_of, shots, tilts
from benchmarks.far_physics import COMPARED, FarPoints
from benchmarks.reference_cases import CASES, FAR_CASES, FAR_NM
from benchmarks.references import elastic_table
from benchmarks.slab import wavelength
from benchmarks.slices import Grid, propagators, spherical
from benchmarks.truth import REPORTING_TILTS, SEEDS, TUNING_TILTS
from hybridfit.errors import InputError
from hybridfit.pattern.camera import to_pixels

CPU = torch.device("cpu")


# the physics


@pytest.fixture(scope="module")
def magnesia() -> FarPoints:
    """A few directions of MgO, tilted by 15 mrad, to 40 nm."""
    case = FAR_CASES["MgO_far"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(far_physics, "STEPS", (1, 4))
        patch.setattr(far_physics, "BAND", 4.0)
        patch.setattr(far_physics, "SLICE", 0.3)
        points = FarPoints.with_directions(case, recipe_of(case), (13.3, -7.0), 3)
        for name in dict.fromkeys(name for pair in COMPARED.values() for name in pair):
            points.solve(name)
        assert points.slopes.shape == (3, 2, len(points.g), len(points.q))
    return points


@pytest.mark.parametrize(
    ("one", "other", "pattern", "thickness", "tilt"),
    [
        ("paraxial zone", "zone", 1e-3, 0.01, 0.005),
        ("paraxial slab", "slab", 2e-3, 0.02, 0.01),
        ("library", "zone", 2e-3, 0.02, 0.01),
        ("library", "slab", 2e-3, 0.03, 0.01),
    ],
)
def test_what_is_approximated_is_small_at_15_mrad(magnesia, one, other, pattern, thickness, tilt):
    found = magnesia.compare(one, other)
    assert found.pattern.max() < pattern
    assert np.abs(found.thickness).max() < thickness
    assert found.tilt.max() < tilt


def test_higher_zones_are_seen_where_they_are_left_out(magnesia):
    bare = magnesia.compare("bare", "slab")
    library = magnesia.compare("library", "slab")
    assert np.abs(bare.thickness).max() > 4 * np.abs(library.thickness).max()
    assert np.abs(bare.thickness).max() > 0.03


def test_a_shift_of_thickness_and_tilt_is_found(magnesia):
    known = magnesia.solve("slab")
    moved = 1.01 * known + 0.02 * magnesia.slopes[0] - 0.03 * magnesia.slopes[2]
    found = magnesia.difference(moved, known)
    assert found.thickness == pytest.approx(0.02, abs=1e-6)
    assert found.tilt == pytest.approx(0.03, abs=1e-6)


def test_propagators_of_the_sphere():
    grid, wave = Grid.finer((4.0, 5.0), 2.0), wavelength(200.0)
    q = np.array([[0.0, 0.0], [0.6, -0.3]])
    flat, curved = (f(grid, q, 2.0, wave, CPU, torch.complex128).numpy() for f in (propagators, spherical))
    gx, gy = grid.g
    for d, (x, y) in enumerate(q):
        # the phase of a plane wave over the slice, of the direct beam's, in units of λΔz
        normal = np.sqrt(wave**-2 - x**2 - y**2)
        exact = (np.sqrt(wave**-2 - (x + gx) ** 2 - (y + gy) ** 2) - normal) * normal * wave
        inside = grid.g2 <= grid.band**2
        assert curved[d][inside] == pytest.approx(np.exp(2j * np.pi * 2.0 * exact)[inside])
        assert not curved[d][~inside].any() and not flat[d][~inside].any()
        near = inside & (grid.g2 < 0.6**2)
        assert np.abs(curved[d] - flat[d])[near].max() < 1e-4
    assert np.abs(curved - flat).max() > 5e-4  # and they do differ


# references


def test_an_unfinished_table_is_gone_on_with(tmp_path, monkeypatch):
    case = replace(
        FAR_CASES["MgO_far"],
        semi_angle_max=3.0,
        tilt_max=2.0,
        step_mrad=2.0,
        thicknesses=(2.0, 4.0),
        band=1.5,
    )
    whole = elastic_table(case, CPU)
    path = tmp_path / "unfinished.npy"
    np.save(path, -np.ones_like(whole.intensity.values[:, :, :4]))  # as no run would leave it
    again = elastic_table(case, CPU, path)
    assert (again.intensity.values[:, :, :4] == -1).all()
    assert again.intensity.values[:, :, 4:] == pytest.approx(whole.intensity.values[:, :, 4:])
    monkeypatch.setattr(references, "KEPT_EVERY", 0.0)
    elastic_table(case, CPU, path)
    assert np.load(path).shape == whole.intensity.shape


def test_names_of_files_do_not_depend_on_what_cases_did_not_have():
    case = CASES["MgO"]
    assert replace(case, thicknesses=tuple(case.cells_along() * 0.4211)).key("elastic") == case.key("elastic")
    assert replace(case, view_mrad=20.0).key("elastic") != case.key("elastic")


def test_references_reach_as_far_as_the_frames():
    assert set(THREE) <= set(FAR_CASES) and not set(FAR_CASES) & set(CASES)
    for case in FAR_CASES.values():
        assert case.tilt_max >= max(SIZES)
        assert case.thickest >= max(FAR_NM)
        # a pattern ends where the disc about the middle of its Laue circle ends
        assert case.view_mrad >= max(SIZES) + 7.5
        recipe = recipe_of(case)
        assert recipe.cif.is_file() and recipe.energy_kv == case.energy_kv and recipe.zone == case.zone
        assert recipe.tilt_max > case.tilt_max and recipe.semi_angle_max > case.semi_angle_max


# frames


def test_tilts_are_of_five_to_fifteen_mrad_in_many_azimuths():
    found = np.array(tilts())
    assert np.hypot(*found.T) == pytest.approx(SIZES)
    assert min(SIZES) == 5.0 and max(SIZES) == 15.0
    assert np.diff(sorted(AZIMUTHS), append=min(AZIMUTHS) + 360).max() < 90
    others = np.array([*TUNING_TILTS, *REPORTING_TILTS])
    assert np.linalg.norm(found[:, None] - others, axis=-1).min() > 0.2


def test_a_frame_shows_the_disc_and_the_middle_of_the_laue_circle():
    for number, tilt in enumerate(tilts()):
        camera = camera_of(10.0, tilt, 128, np.random.default_rng(number))
        azimuth = np.linspace(0, 2 * np.pi, 60)
        for middle in ((0.0, 0.0), (-tilt[0] / 2, -tilt[1] / 2)):
            kx, ky = middle[0] + 10.0 * np.cos(azimuth), middle[1] + 10.0 * np.sin(azimuth)
            col, row = to_pixels(kx, ky, camera)
            assert min(col.min(), row.min()) > 0 and max(col.max(), row.max()) < 127


def test_every_frame_has_a_seed_of_its_own():
    class Some:
        thickness_nm = np.array(FAR_NM, float)

    found = [shot for name in THREE for shot in shots(FAR_CASES[name], Some(), 3)]  # type: ignore[arg-type]
    assert len(found) == 3 * 6 * 4
    assert len({tuple(shot.seed) for shot in found}) == len(found)
    assert not {shot.seed[0] for shot in found} & set(SEEDS.values())
    assert {shot.t for shot in found} == set(range(len(FAR_NM)))


# rows


def row(thickness: float, tilt: float, status: str = "converged", way: str = "from near") -> dict:
    out = {
        "case": "some",
        "way": way,
        "status": status,
        "seconds": 1.0,
        "true_thickness": 20.0,
        "tilt_size": 9.0,
    }
    out |= {"thickness": thickness, "tilt_x": tilt, "tilt_y": -tilt}
    for key, value in (("thickness", 0.1), ("tilt_x", 0.02), ("tilt_y", 0.02)):
        out |= {f"{key}_stderr": value, f"{key}_half95": 2 * value}
    return out


def measured(rows: list[dict], name: str = far_table.ALL) -> dict:
    study = Study("far_tilts", quick=True)
    far_table.summarise(study, name, rows, pooled=True)
    return {each.what: each for each in study.rows}


def test_rows_say_what_is_missed():
    good, bad = [row(0.05, 0.01)] * 9, [row(0.7, 0.3)]
    found = measured(good + bad)
    assert all(each.passed is not False for each in measured(good).values())
    of = "all, from near: "
    assert found[f"{of}thickness error, rms of 10"].passed is False
    assert found[f"{of}95 % intervals of tilt that hold"].measured == pytest.approx(90)
    assert found[f"{of}converged and wrong"].measured == pytest.approx(10)
    assert found[f"{of}within 0.5 nm and 0.1 mrad"].measured == pytest.approx(90)


def test_a_refused_frame_counts():
    refused = {"case": "some", "way": "from near", "status": "refused", "true_thickness": 20.0}
    found = measured([row(0.05, 0.01), refused])
    assert found["all, from near: frames that were answered of 2"].measured == 50
    assert found["all, from near: status converged"].measured == 50
    assert measured([refused])["all, from near: within 0.5 nm and 0.1 mrad"].measured == 0


def test_a_wide_error_misleads_nobody():
    assert not far_table.misled(row(0.7, 0.3, status="poor_match"))
    assert far_table.misled(row(0.7, 0.01))
    assert not far_table.misled(row(0.7, 0.01) | {"thickness_stderr": 0.5})


def test_an_error_of_a_fit_is_a_row(monkeypatch):
    class Refuses:
        class library:
            rotation_order = 4

        def fit(self, frame):
            raise InputError("no disc")

        fit_near = lambda self, frame, seeds: self.fit(frame)  # noqa: E731

    class Source:
        thickness_nm, diffuse = np.array([10.0]), None

        def frame(self, *_: object) -> np.ndarray:
            return np.random.default_rng(1).random((64, 64))

    shot = next(shots(FAR_CASES["MgO_far"], Source(), 1))  # type: ignore[arg-type]
    found = far_tilts.fitted(shot, Source(), dict.fromkeys(far_tilts.WAYS, Refuses()), scatter=True)  # type: ignore[arg-type]
    assert [each["status"] for each in found] == ["refused"] * 2
    assert {each["way"] for each in found} == set(far_tilts.WAYS)


def test_without_references_fits_are_skipped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.reference_cases.DATA", tmp_path)
    monkeypatch.setenv("HYBRIDFIT_BENCHMARK_OUT", str(tmp_path))
    assert far_tilts.main(["--part", "fits"]) == 0
    assert "--make" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        far_tilts.main(["nothing"])


def test_what_was_run_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_BENCHMARK_OUT", str(tmp_path))
    curve = {"pattern": [1e-3], "thickness": [-0.01], "tilt": [0.01]}
    changes = {"some": {f"{size:g} mrad: {words}": curve for size in (5, 15) for words in COMPARED}}
    for rows, curves in (([row(0.05, 0.01)], {}), ([], changes), ([row(0.05, 0.01)], changes)):
        study = Study("far_tilts", quick=True)
        study.path(".png").unlink(missing_ok=True)
        far_tilts.draw(study, rows, curves)
        assert study.path(".png").stat().st_size > 5000
