"""Composition against a slow oracle: every direction of every disc solved for itself."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.library.build import FOLDED
from hybridfit.library.library import Library
from hybridfit.pattern import compose, expand
from hybridfit.pattern.compose import Partials, pattern_at, pattern_partials
from hybridfit.pattern.expand import workspace
from hybridfit.pattern.pool import Pool
from hybridfit.pattern.series import compose_series, side_by_side
from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.folding import reach_of
from hybridfit.physics.projection import project
from hybridfit.physics.scattering import wavelength

SHIPPED_SAMPLING = 0.26


def library_matrix(cif, zone, g_max):
    """The problem that the library solves, and its beams (mrad)."""
    projection = project(Crystal.from_cif(cif), zone)
    beams = projection.beams(g_max)
    outer = FOLDED * g_max
    every = DynamicalMatrix.of(projection, projection.beams(reach_of(outer, 1.0)), 200, higher_zones=True)
    return every.folded(len(beams), outer), beams @ projection.basis * wavelength(200) * 1e3


def aperture(r, semi_angle, half_edge):
    x = np.clip((semi_angle + half_edge - r) / (2 * half_edge), 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def exact_pattern(kx, ky, cif, zone, g_max, *, thickness, tilt, semi_angle, half_edge):
    """P(k) = Σ_g A(|k − g|) I_g(k − g + τ; t), without a grid."""
    matrix, g = library_matrix(cif, zone, g_max)
    mrad = wavelength(200) * 1e3
    from_g = np.stack([kx, ky], axis=1)[:, None] - g  # (point, beam, xy)
    r = np.linalg.norm(from_g, axis=2)
    at, beam = np.nonzero(r < semi_angle + half_edge)
    q = (from_g[at, beam] + tilt) / mrad
    solved = beam_intensities(matrix, q, np.array([thickness]), device="cpu")[0]
    out = np.zeros(kx.size)
    for i in range(len(q)):
        out[at[i]] += aperture(r[at[i], beam[i]], semi_angle, half_edge) * solved[beam[i], i]
    return out


def points(n=40, extent=12.0, seed=0):
    return np.random.default_rng(seed).uniform(-extent, extent, (2, n))


def square(extent, n):
    axis = np.linspace(-extent, extent, n)
    return np.meshgrid(axis, axis)


# ---------------------------------------------------------------- against the oracle


@pytest.mark.parametrize(
    ("crystal", "zone", "g_max", "first", "thickness", "tolerance"),
    [
        ("SrTiO3", (0, 0, 1), 1.75, 20, 21.0, 2e-5),  # interpolation in direction alone
        ("SrTiO3", (0, 0, 1), 1.75, 98, 99.0, 1e-3),
        ("SrTiO3", (0, 0, 1), 1.75, 120, 121.0, 2e-3),  # fringes narrow as 1/t
        ("SrTiO3", (0, 0, 1), 1.75, 19, 20.5, 5e-4),  # and in thickness
        ("SrTiO3", (0, 0, 1), 1.75, 50, 51.5, 5e-4),
        ("SrTiO3", (0, 1, 1), 1.2, 50, 51.3, 5e-4),
        ("GaAs", (1, 1, 0), 1.0, 50, 51.5, 5e-4),  # one mirror; an oblique grid
        ("Mg", (0, 0, 1), 1.0, 50, 51.7, 5e-4),  # sixfold
        ("rutile", (1, 1, 1), 1.0, 50, 51.5, 5e-4),  # a mirror that mixes vectors of unequal length
        ("triclinic", (0, 0, 1), 0.8, 50, 51.5, 5e-4),  # no symmetry
        ("triclinic-centred", (1, 1, 0), 0.8, 50, 51.5, 5e-4),
        ("triclinic", (2, 3, 5), 0.8, 50, 51.5, 5e-4),
        ("ZnO", (0, 0, 1), 0.8, 50, 51.5, 5e-4),
        ("ZnO", (1, 1, 0), 0.7, 50, 51.5, 5e-4),  # one mirror, complex potential
        ("threefold", (0, 0, 1), 0.7, 50, 51.5, 5e-4),  # a threefold axis alone
        ("fourfold", (0, 0, 1), 0.7, 50, 51.5, 5e-4),
        ("monoclinic", (0, 1, 0), 0.7, 50, 51.5, 5e-4),  # an oblique lattice
    ],
)
def test_equals_the_exact_pattern(build_library, crystals, crystal, zone, g_max, first, thickness, tolerance):
    library = build_library(
        crystal,
        zone,
        g_max=g_max,
        sampling=SHIPPED_SAMPLING,
        thickness={"start": first, "stop": first + 3},
    )
    kx, ky = points()
    at = {"thickness": thickness, "tilt": (0.9, -1.2), "semi_angle": 6.0, "half_edge": library.step / 2}
    expected = exact_pattern(kx, ky, crystals[crystal], zone, g_max, **at)
    np.testing.assert_allclose(
        pattern_at(kx, ky, library.table(), **at), expected, atol=tolerance * expected.max()
    )


@pytest.mark.parametrize("case", [("Mg", (0, 0, 1)), ("GaAs", (1, 1, 0)), ("triclinic", (0, 0, 1))], ids=str)
def test_all_that_an_oblique_grid_is_asked_for_is_filled_in(build_library, case):
    """What a reused workspace holds from before must not be read."""
    library = build_library(*case, sampling=0.5)
    table, (kx, ky), tilt, outer = library.table(), points(50_000, 13.0), (1.1, 0.7), 6.25
    room = workspace(table, outer)
    room[:] = np.nan
    blend = expand.at_thickness(table, 21.4)
    unfolded = expand.unfold(table, blend, tilt, 6.0, 0.25, float(np.hypot(kx, ky).max()), room)
    assert np.isfinite(compose.compose(kx, ky, table, unfolded, *tilt, 6.0, 0.25)).all()


def test_a_vanishing_crystal_gives_the_aperture(build_library):
    library = build_library(
        "SrTiO3", (0, 0, 1), thickness={"start": 1e-3, "stop": 4e-3, "step": 1e-3}, sampling=0.5
    )
    kx, ky = square(9, 61)
    bare = pattern_at(kx, ky, library.table(), thickness=1e-3, tilt=(0.7, 0.2), semi_angle=5.0, half_edge=0.3)
    np.testing.assert_allclose(bare, aperture(np.hypot(kx, ky), 5.0, 0.3), atol=1e-4)


def test_a_parallel_beam_gives_the_intensities_of_its_spots(build_library, crystals):
    """At k = g, P = I_g(τ)."""
    library = build_library("GaAs", (1, 1, 0), sampling=SHIPPED_SAMPLING)
    matrix, g = library_matrix(crystals["GaAs"], (1, 1, 0), 1.0)
    (kx, ky), mrad, tilt = g.T, wavelength(200) * 1e3, (1.1, -0.6)
    spots = pattern_at(kx, ky, library.table(), thickness=21.0, tilt=tilt, semi_angle=0.2, half_edge=0.1)
    expected = beam_intensities(matrix, np.array([tilt]) / mrad, np.array([21.0]), device="cpu")
    stored = library.dataset.sizes["beam"]  # the longer ones take part, but do not reach the pattern
    np.testing.assert_allclose(spots[:stored], expected[0, :stored, 0], atol=1e-5)


def test_cubic_polynomials_are_interpolated_exactly(build_library):
    """In thickness up to both ends, and in both components of q; beyond all discs there is nothing."""
    library = build_library("triclinic", (0, 0, 1), g_max=0.25, sampling=0.5, semi_angle_max=4)
    data = library.dataset.copy()

    def cubic(t, x, y):
        return 1 + (t - 21) / 5 - ((t - 21) / 4) ** 3 + x * y / 30 - x**3 / 200 + (y / 5) ** 2 + x / 20

    data["intensity"] = (
        cubic(data.thickness, data.qx, data.qy)
        .expand_dims(beam=data.sizes["beam"])
        .transpose("thickness", "beam", "direction")
    )
    table = Library(data).table()
    kx, ky = points(200, 3.0)
    inside = np.hypot(kx, ky) < 2.4  # the nearest discs begin at 5 − 2.5 mrad
    for t in (20.0, 20.3, 21.5, 22.9, 23.0):
        pattern = pattern_at(kx, ky, table, thickness=t, tilt=(0.8, -0.5), semi_angle=2.5, half_edge=0.05)
        expected = cubic(t, kx + 0.8, ky - 0.5)
        np.testing.assert_allclose(pattern[inside], expected[inside], atol=2e-6)
    far = pattern_at(kx + 300, ky, table, thickness=21.0, tilt=(0.0, 0.0), semi_angle=2.5, half_edge=0.05)
    np.testing.assert_array_equal(far, 0)


# ---------------------------------------------------------------- conventions and symmetry


def test_a_tilt_along_x_moves_the_zone_axis_to_minus_kx(small_library):
    """In the direct disc P_τ(k) = P_0(k + τ): what was in the middle is now at k = −τ."""
    table = small_library.table()
    at = {"thickness": 40.0, "semi_angle": 3.0, "half_edge": 0.2}
    kx, ky = square(1.0, 21)
    for tilt in [(1.2, 0.0), (0.0, 1.2), (-0.7, 0.4)]:
        tilted = pattern_at(kx - tilt[0], ky - tilt[1], table, tilt=tilt, **at)
        np.testing.assert_allclose(tilted, pattern_at(kx, ky, table, tilt=(0.0, 0.0), **at), atol=1e-6)


def test_a_tilt_along_x_excites_the_beams_on_the_side_of_minus_kx(small_library):
    """q = τ: the Laue circle passes through the direct beam around −τ, so s_g = 0 for g = −2τ.

    True of a thin crystal: from some 8 nm on, the beams have begun to swing back.
    """
    kx, ky = square(16, 97)
    for axis, tilt in ((kx, (2.5, 0.0)), (ky, (0.0, 2.5))):
        pattern = pattern_at(
            kx, ky, small_library.table(), thickness=6.0, tilt=tilt, semi_angle=2.0, half_edge=0.2
        )
        assert pattern[axis < -9].sum() > 1.5 * pattern[axis > 9].sum()


@pytest.mark.parametrize(("crystal", "zone"), [("SrTiO3", (0, 0, 1)), ("GaAs", (1, 1, 0)), ("Mg", (0, 0, 1))])
def test_turning_tilt_and_pattern_together_changes_nothing(build_library, crystals, crystal, zone):
    library = build_library(crystal, zone, sampling=0.5)
    projection = project(Crystal.from_cif(crystals[crystal]), zone)
    k, tilt = points(), np.array([1.2, 0.5])
    at = {"thickness": 21.4, "semi_angle": 5.0, "half_edge": 0.25}
    reference = pattern_at(*k, library.table(), tilt=tuple(tilt), **at)
    for r in projection.symmetry:
        turn = projection.basis.T @ r @ np.linalg.inv(projection.basis.T)
        turned = pattern_at(*(turn @ k), library.table(), tilt=tuple(turn @ tilt), **at)
        np.testing.assert_allclose(turned, reference, atol=2e-3 * reference.max())


# ---------------------------------------------------------------- windows and workspaces


@pytest.mark.parametrize("azimuth", np.deg2rad([0, 45, 100, 200, 290]))
@pytest.mark.parametrize("thickness", [27.0, 30.2, 33.0])
def test_a_window_gives_the_pattern_of_the_whole_library_up_to_its_rim(small_library, thickness, azimuth):
    window = small_library.window(30.0, (1.0, 0.5), half_widths=(3.0, 1.0), semi_angle=10.0)
    assert window.dataset.intensity.size < 0.2 * small_library.dataset.intensity.size
    kx, ky = square(17, 60)
    tilt = (1.0 + np.cos(azimuth), 0.5 + np.sin(azimuth))
    at = {"thickness": thickness, "tilt": tilt, "semi_angle": 10.0, "half_edge": small_library.step / 2}
    np.testing.assert_allclose(
        pattern_at(kx, ky, window.table(k_max=25, semi_angle=10), **at),
        pattern_at(kx, ky, small_library.table(), **at),
        atol=1e-6,
    )


@pytest.mark.parametrize("crystal", ["GaAs", "Mg", "triclinic"])
def test_an_oblique_library_reaches_to_its_rim(build_library, crystal):
    """Largest semi-angle and largest tilt together, against a library with room to spare."""
    zone = (1, 1, 0) if crystal == "GaAs" else (0, 0, 1)
    tight = build_library(crystal, zone, semi_angle_max=5, tilt_max=1, sampling=0.4, g_max=0.8)
    roomy = build_library(crystal, zone, semi_angle_max=5, tilt_max=3, sampling=0.4, g_max=0.8)
    kx, ky = square(9, 91)
    for azimuth in np.linspace(0, 2 * np.pi, 7):
        tilt = (np.cos(azimuth), np.sin(azimuth))
        at = {"thickness": 21.5, "tilt": tilt, "semi_angle": 5.0, "half_edge": tight.step / 2}
        expected = pattern_at(kx, ky, roomy.table(), **at)
        pattern = pattern_at(kx, ky, tight.table(), **at)
        np.testing.assert_allclose(pattern, expected, atol=5e-4 * expected.max())


def test_beams_beyond_the_pattern_are_left_out_without_a_trace(small_library):
    kx, ky = square(5, 41)
    at = {"thickness": 22.2, "tilt": (0.3, -1.1), "semi_angle": 9.0, "half_edge": 0.25}
    fewer = small_library.table(k_max=float(np.hypot(kx, ky).max()), semi_angle=9.0)
    assert len(fewer.beam_n) < len(small_library.table().beam_n)
    np.testing.assert_allclose(
        pattern_at(kx, ky, fewer, **at), pattern_at(kx, ky, small_library.table(), **at), atol=1e-6
    )


def test_a_used_workspace_leaves_no_trace(small_library):
    table = small_library.table()
    kx, ky = square(15, 31)
    room = workspace(table, 10.25, 1)
    at = {"semi_angle": 10.0, "half_edge": 0.25}
    for thickness, tilt in [(20.0, (0.0, 0.0)), (50.3, (2.9, -0.1)), (33.3, (-1.0, 2.0))]:
        fresh = pattern_at(kx, ky, table, thickness=thickness, tilt=tilt, **at)
        reused = pattern_at(kx, ky, table, thickness=thickness, tilt=tilt, room=room, **at)
        np.testing.assert_array_equal(reused, fresh)


# ---------------------------------------------------------------- beams added up on the grid


@pytest.mark.parametrize(
    ("crystal", "zone"),
    [("SrTiO3", (0, 0, 1)), ("Mg", (0, 0, 1)), ("GaAs", (1, 1, 0)), ("triclinic", (0, 0, 1))],
)
@pytest.mark.parametrize("semi_angle", [0.4, 2.0, 5.9])
def test_beams_added_up_equal_beams_one_by_one(build_library, crystal, zone, semi_angle):
    library = build_library(crystal, zone, g_max=1.0, semi_angle_max=6, tilt_max=2, sampling=0.3)
    table, (kx, ky), tilt = library.table(), points(300, 14.0), (0.7, -1.1)
    at = {"thickness": 21.4, "tilt": tilt, "semi_angle": semi_angle, "half_edge": 0.2}
    beams = side_by_side(table, np.array([20.0, 21.4, 23.0]))
    expected = compose_series(kx, ky, table, beams, *tilt, semi_angle, 0.2)[:, 1]
    np.testing.assert_allclose(pattern_at(kx, ky, table, **at), expected, atol=2e-6)


@pytest.mark.parametrize("workers", [2, 3])
def test_threads_share_the_beams(small_library, workers):
    table, (kx, ky) = small_library.table(), points(100, 15.0)
    blend, at = expand.at_thickness(table, 33.3), ((0.4, 1.3), 9.0, 0.25)
    alone, shared = (
        expand.unfold(table, blend, *at, 22.0, room, pool)
        for room, pool in ((None, None), (workspace(table, 9.6, 2, Pool()), Pool(workers)))
    )
    np.testing.assert_array_equal(
        compose.compose(kx, ky, table, shared, *at[0], 9.0, 0.25),
        compose.compose(kx, ky, table, alone, *at[0], 9.0, 0.25),
    )


def test_far_from_what_was_unfolded_there_is_nothing(small_library):
    """A trial camera may send pixels anywhere: no harm is done."""
    table = small_library.table()
    blend = expand.at_thickness(table, 33.3)
    unfolded = expand.unfold(table, blend, (0.4, 1.3), 9.0, 0.25, 8.0)
    far = np.array([60.0, -1e3, 1e5]), np.array([-45.0, 1e4, 1e5])
    assert (compose.compose(*far, table, unfolded, 0.4, 1.3, 9.0, 0.25) == 0).all()


# ---------------------------------------------------------------- kernels and derivatives


def add_scaled(lanes):
    def add(total, to, source, at, factor):
        total[to : to + lanes] += factor * source[at : at + lanes]

    return add


def bends_of(kx, ky, table, *, thickness, tilt, semi_angle, half_edge):
    """(4, n): P and its second derivatives along the tilt."""
    blend = expand.at_thickness(table, thickness, 1)
    unfolded = expand.unfold(table, blend, tilt, semi_angle, half_edge, float(np.hypot(kx, ky).max()))
    return compose.compose(kx, ky, table, unfolded, *tilt, semi_angle, half_edge, True)


@pytest.mark.parametrize("crystal", ["SrTiO3", "triclinic"])
def test_second_derivatives_along_the_tilt_are_those_of_the_slopes(build_library, crystal):
    """Within a cell of the grid, where the pattern is one polynomial of the tilt."""
    library = build_library(crystal, (0, 0, 1), g_max=0.4, semi_angle_max=4, tilt_max=1, sampling=1.0)
    kx, ky = points(60, 7.0)
    at = {"thickness": 21.3, "semi_angle": 3.9, "half_edge": 0.4}
    found = bends_of(kx, ky, library.table(), tilt=(0.6, -0.4), **at)
    np.testing.assert_allclose(
        found[0], pattern_at(kx, ky, library.table(), tilt=(0.6, -0.4), **at), atol=1e-6
    )
    step = 1e-3
    ends = [
        pattern_partials(kx, ky, library.table(), tilt=(0.6 + x * step, -0.4 + y * step), **at)
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    numerical = [
        (ends[0].tilt_x - ends[1].tilt_x) / (2 * step),
        (ends[0].tilt_y - ends[1].tilt_y) / (2 * step),
        (ends[2].tilt_y - ends[3].tilt_y) / (2 * step),
    ]
    for one, other in zip(found[1:], numerical, strict=True):
        away = np.abs(one - other) > 2e-2 * np.abs(other).max()
        assert away.mean() < 0.05  # points on an edge of a cell


@pytest.mark.parametrize("crystal", ["SrTiO3", "triclinic"])
def test_kernels_equal_their_plain_python_selves(build_library, plain_python, crystal):
    library = build_library(crystal, (0, 0, 1), g_max=0.4, semi_angle_max=4, tilt_max=1, sampling=1.0)
    kx, ky = points(40, 7.0)
    at = {"thickness": 21.3, "tilt": (0.6, -0.4), "semi_angle": 3.9, "half_edge": 0.4}
    compiled = pattern_at(kx, ky, library.table(), **at)
    partials = pattern_partials(kx, ky, library.table(), **at)
    bends = bends_of(kx, ky, library.table(), **at)
    assert plain_python(compose, add_scaled_4=add_scaled(4), add_scaled_8=add_scaled(8)) > 0
    assert plain_python(expand) > 0
    np.testing.assert_allclose(pattern_at(kx, ky, library.table(), **at), compiled, atol=1e-6)
    np.testing.assert_allclose(bends_of(kx, ky, library.table(), **at), bends, atol=1e-5)
    for plain, fast in zip(pattern_partials(kx, ky, library.table(), **at), partials, strict=True):
        np.testing.assert_allclose(plain, fast, atol=1e-5)


STEPS = {"kx": 1e-3, "ky": 1e-3, "tilt_x": 1e-3, "tilt_y": 1e-3, "thickness": 0.05, "semi_angle": 1e-3}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("crystal", ["SrTiO3", "GaAs"])
def test_partials_equal_finite_differences(build_library, crystal, name):
    zone = (1, 1, 0) if crystal == "GaAs" else (0, 0, 1)
    library = build_library(crystal, zone, sampling=0.5, tilt_max=2.0)
    table = library.table()
    kx, ky = points(150, 10.0, seed=3)
    rng = np.random.default_rng(4)

    def pattern(v):
        return pattern_at(
            kx + v["kx"],
            ky + v["ky"],
            table,
            thickness=v["thickness"],
            tilt=(v["tilt_x"], v["tilt_y"]),
            semi_angle=v["semi_angle"],
            half_edge=0.4,
        )

    for _ in range(3):
        tilt_x, tilt_y = rng.uniform(-1, 1, 2)
        v = {"kx": 0.0, "ky": 0.0, "tilt_x": tilt_x, "tilt_y": tilt_y}
        v |= {"thickness": rng.uniform(20.2, 22.8), "semi_angle": rng.uniform(4, 6)}
        p = pattern_partials(
            kx,
            ky,
            table,
            thickness=v["thickness"],
            tilt=(tilt_x, tilt_y),
            semi_angle=v["semi_angle"],
            half_edge=0.4,
        )
        by_hand = {
            "kx": p.aperture_x + p.tilt_x,
            "ky": p.aperture_y + p.tilt_y,
            "tilt_x": p.tilt_x,
            "tilt_y": p.tilt_y,
            "thickness": p.thickness,
            "semi_angle": p.semi_angle,
        }[name]
        h = STEPS[name]
        numerical = (pattern(v | {name: v[name] + h}) - pattern(v | {name: v[name] - h})) / (2 * h)
        np.testing.assert_allclose(by_hand, numerical, atol=2e-3 * np.abs(numerical).max())


def test_partials_carry_the_pattern_itself(small_library):
    kx, ky = square(12, 25)
    at = {"thickness": 33.3, "tilt": (0.5, 1.5), "semi_angle": 9.0, "half_edge": 0.25}
    partials = pattern_partials(kx, ky, small_library.table(), **at)
    assert partials._fields == Partials._fields
    assert all(field.shape == kx.shape for field in partials)
    np.testing.assert_allclose(partials.value, pattern_at(kx, ky, small_library.table(), **at), atol=1e-6)
