"""Fixtures of all tests: a separate cache, small libraries, crystals of all kinds of symmetry."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numba.core.registry import CPUDispatcher

from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.library.settings import BUILD
from hybridfit.pattern.settings import MODEL
from hybridfit.physics.settings import DIFFUSE

# space group, cell, atoms (element, x, y, z, B in Å²)
CRYSTALS: dict[str, tuple[str, tuple[float, ...], list[tuple]]] = {
    "Si": ("F d -3 m:2", (5.431, 5.431, 5.431, 90, 90, 90), [("Si", 0.125, 0.125, 0.125, 0.46)]),
    "GaAs": (
        "F -4 3 m",
        (5.653, 5.653, 5.653, 90, 90, 90),
        [("Ga", 0, 0, 0, 0.60), ("As", 0.25, 0.25, 0.25, 0.50)],
    ),
    "rutile": (
        "P 42/m n m",
        (4.594, 4.594, 2.959, 90, 90, 90),
        [("Ti", 0, 0, 0, 0.50), ("O", 0.305, 0.305, 0, 0.60)],
    ),
    "Mg": (
        "P 63/m m c",
        (3.209, 3.209, 5.211, 90, 90, 120),
        [("Mg", "0.3333333333", "0.6666666667", 0.25, 1.5)],
    ),
    "ZnO": (
        "P 63 m c",
        (3.250, 3.250, 5.207, 90, 90, 120),
        [("Zn", "0.3333333333", "0.6666666667", 0, 0.6), ("O", "0.3333333333", "0.6666666667", 0.382, 0.6)],
    ),
    "threefold": (  # no mirror
        "P 3",
        (4.9, 4.9, 5.4, 90, 90, 120),
        [("Ga", 0, 0, 0, 0.6), ("As", 0.41, 0.13, 0.2, 0.5), ("O", 0.19, 0.62, 0.7, 0.7)],
    ),
    "fourfold": (  # no mirror
        "P 4",
        (4.6, 4.6, 3.9, 90, 90, 90),
        [("Sr", 0, 0, 0, 0.6), ("O", 0.17, 0.36, 0.3, 0.7)],
    ),
    "monoclinic": (
        "P 1 2 1",
        (4.3, 3.7, 5.1, 90, 112, 90),
        [("Ti", 0.1, 0, 0.2, 0.5), ("O", 0.42, 0.31, 0.7, 0.7)],
    ),
    "triclinic": (
        "P 1",
        (4.1, 5.2, 6.3, 82, 97, 104),
        [("Ti", 0.1, 0.2, 0.3, 0.5), ("O", 0.45, 0.62, 0.71, 0.7), ("Sr", 0.8, 0.05, 0.55, 0.6)],
    ),
    "triclinic-centred": (
        "P -1",
        (4.1, 5.2, 6.3, 82, 97, 104),
        [("Ti", 0.1, 0.2, 0.3, 0.5), ("O", 0.45, 0.62, 0.71, 0.7), ("Sr", 0, 0, 0, 0.6)],
    ),
}
CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
ATOM = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "B_iso_or_equiv")
# the files that take longest: with -n, a process that met one of them last would keep the others waiting
LONGEST = (
    "scan/test_map_ended.py",
    # in another process: these need no kernels, which the first file compiles meanwhile
    "io/test_fuzz_readers.py",
    "physics/test_diffuse.py",
    "cli/test_benchmark_command.py",
    "fitting/posterior/test_few_electrons.py",
    "scan/test_map.py",
    "scan/test_map_backends.py",
    "scan/test_batches.py",
    "scan/test_damaged_maps.py",
    "serve/test_served_maps.py",
    "cli/test_demo_command.py",
    "fitting/judge/test_averaged_area.py",
    "library/test_fuzz.py",
    "fitting/batch/test_batch.py",
)
SMALL = """
cif = "SrTiO3.cif"
zone = [0, 0, 1]
in_plane = [1, 0, 0]
energy_kv = 200.0
g_max = 1.0
semi_angle_max = 14.0
tilt_max = 3.0
sampling = 0.5
thickness = { start = 1.0, stop = 60.0 }
"""

# what takes time and no test is about: diffuse tables are rough, within some per cent but as symmetric as
# good ones; maps of a few positions take less memory
LESS: tuple[tuple[object, dict[str, float]], ...] = (
    (DIFFUSE, {"snapshots": 500, "spacing": 0.2, "smallest": 0.1, "wave_step": 0.25}),
    (BUILD, {"diffuse_exit": 2.6, "diffuse_incident": 4.5, "diffuse_step": 3.5, "diffuse_beat": 0.3}),
    (MODEL, {"node_bytes": 3e7}),
)


def pytest_configure() -> None:
    # torch reads it when it is first imported; other processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # processes that tests start would compile all modules again, each of them
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# of many cases of one kind, these are left to `--slow`: each has a study that tries more of them
SLOW = {
    "test_a_run_that_is_ended_leaves_no_worker_and_goes_on[2]": "kills",
    "test_a_run_that_is_ended_leaves_no_worker_and_goes_on[9]": "kills",
    "test_variables_that_are_missing_or_absurd": "fuzz_library",
    "test_values_of_the_recipe_in_a_library": "fuzz_library",
    "test_attributes_that_are_missing_or_absurd": "fuzz_library",
    "test_damaged_files_are_read_or_refused[latest.h5]": "fuzz_readers",
    "test_damaged_files_are_read_or_refused[earliest.h5]": "fuzz_readers",
    "test_damaged_files_are_read_or_refused[a.nc]": "fuzz_readers",
    "test_nothing_without_structure_converges[blob-1000.0]": "few_electrons",
    "test_nothing_without_structure_converges[disc-10000.0]": "few_electrons",
    "test_the_fewest_electrons_are_ambiguous_or_refused": "few_electrons",
    "test_a_map_grows_stops_goes_on_and_shows_its_positions": "server",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests, too, which studies repeat")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests are skipped; where processes share the tests, those of the longest files come first."""
    if not config.getoption("--slow"):
        for item in items:
            if item.name in SLOW:
                item.add_marker(pytest.mark.skip(reason=f"slow: --slow, or benchmarks.{SLOW[item.name]}"))
    if not hasattr(config, "workerinput"):
        return
    folder = Path(__file__).parent
    rank = {folder / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Collections of garbage, which maps ask for, need not look at thousands of tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of this test session; the user's cache is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRIDFIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def approximation() -> Iterator[None]:
    """Libraries of tests have few beams, and fit their own frames: they say that they are good ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hybridfit.library.build.approximation", lambda *_, **__: 0.012)
        yield


@pytest.fixture(scope="session", autouse=True)
def less_work() -> Iterator[None]:
    """Diffuse tables of tests are rough: good ones take 20 times as long as the rest of a small library."""
    with pytest.MonkeyPatch.context() as patch:
        for settings, values in LESS:
            for name, value in values.items():
                patch.setitem(vars(settings), name, value)
        yield


@contextlib.contextmanager
def _shipped() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for settings, values in LESS:
            for name in values:
                patch.setitem(vars(settings), name, type(settings).__dataclass_fields__[name].default)
        yield


@pytest.fixture(scope="module")
def shipped_diffuse() -> Iterator[None]:
    """For tests of the diffuse intensity itself: its settings are those that users have."""
    with _shipped():
        yield


@pytest.fixture(scope="session")
def finer_library(small_recipe: Path) -> Library:
    """The small library with a diffuse table as those of users."""
    with _shipped():
        return Library.build(Recipe.read(small_recipe), device="cpu")


@pytest.fixture(scope="session")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """CIFs by name: CRYSTALS, and the shipped SrTiO3 and PbTiO3."""
    folder = tmp_path_factory.mktemp("crystals")
    paths = {name: shipped_folder() / f"{name}.cif" for name in ("SrTiO3", "PbTiO3")}
    for name, (group, cell, atoms) in CRYSTALS.items():
        lines = [f"data_{name}", f"_symmetry_space_group_name_H-M '{group}'"]
        lines += [f"_cell_{key} {value}" for key, value in zip(CELL, cell, strict=True)]
        lines += ["loop_", *(f"_atom_site_{key}" for key in ATOM)]
        lines += [" ".join(map(str, (f"{atom[0]}{i}", *atom))) for i, atom in enumerate(atoms)]
        paths[name] = folder / f"{name}.cif"
        paths[name].write_text("\n".join(lines) + "\n")
    return paths


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe (TOML) that is solved in a second: SrTiO3 [001], 200 kV, 1–60 nm, ≤ 14 mrad, tilt ≤ 3 mrad."""
    folder = tmp_path_factory.mktemp("recipe")
    shutil.copy(shipped_folder() / "SrTiO3.cif", folder)
    path = folder / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def small_library(small_recipe: Path, cache: Path) -> Library:
    """The library of `small_recipe`, built once; `Library.open(small_recipe)` then finds it in the cache."""
    return Library.open(small_recipe)


@pytest.fixture(scope="session")
def build_library(crystals: dict[str, Path]):
    """Build a library of one of the crystals, with small defaults."""

    def build(crystal: str, zone: tuple[int, int, int], *, diffuse: bool = False, **values) -> Library:
        defaults = {
            "energy_kv": 200,
            "g_max": 1.0,
            "semi_angle_max": 6,
            "tilt_max": 1.5,
            "thickness": {"start": 20, "stop": 23},
        }
        recipe = Recipe(cif=crystals[crystal], zone=zone, **{**defaults, **values})
        return Library.build(recipe, diffuse=diffuse)

    return build


@pytest.fixture
def plain_python(monkeypatch: pytest.MonkeyPatch):
    """Replace every compiled kernel in a module by its plain Python function, and other names by `others`."""

    def replace(module, **others) -> int:
        kernels = {name: value for name, value in vars(module).items() if isinstance(value, CPUDispatcher)}
        for name, dispatcher in kernels.items():
            monkeypatch.setattr(module, name, dispatcher.py_func)
        for name, function in others.items():
            monkeypatch.setattr(module, name, function)
        return len(kernels)

    return replace


@pytest.fixture(scope="session")
def pattern():
    """pattern(rows, cols) → overlapping soft discs, 0 to 1, without symmetry, to show transpositions."""

    def pattern(rows: int = 96, cols: int = 80) -> np.ndarray:
        y, x = np.mgrid[:rows, :cols].astype(float)
        x -= 0.4 * cols
        y -= 0.55 * rows
        out = np.full((rows, cols), 0.02)
        for i, j in np.ndindex(3, 3):
            r = np.hypot(x - 26 * (i - 1), y - 26 * (j - 1))
            height = 0.8 if i == j == 1 else 0.2
            out += height * (1 + 0.3 * np.cos(0.3 * x) * np.cos(0.2 * y)) / (1 + np.exp(r - 16))
        return out

    return pattern


@pytest.fixture(scope="session")
def counts(pattern):
    """counts(electrons, rows, cols, seed) → `pattern`, at so many electrons per unit, with shot noise."""

    def counts(electrons: float, rows: int = 96, cols: int = 80, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).poisson(electrons * pattern(rows, cols))

    return counts


STATUSES = "converged at_bound ambiguous poor_match failed unusable unreadable not_done"
MAP_UNITS = {
    "thickness": "nm",
    "tilt_x": "mrad",
    "tilt_y": "mrad",
    "centre_x": "px",
    "centre_y": "px",
    "scale": "px/mrad",
}


@pytest.fixture(scope="session")
def make_map():
    """make_map(ny, nx, hole, step, seed) → a map as fits leave it: a bent wedge, a share of it unusable."""

    def make_map(
        ny: int = 12, nx: int = 16, *, hole: float = 0.05, step: float | None = None, seed: int = 0
    ) -> xr.Dataset:
        random = np.random.default_rng(seed)
        y, x = np.indices((ny, nx))
        u, v = 2 * x / max(nx - 1, 1) - 1, 2 * y / max(ny - 1, 1) - 1
        values = {
            "thickness": 23 + 1.3 * (u + v),
            "tilt_x": 4 * u,
            "tilt_y": 4 * v,
            "centre_x": 63.5 + 0.8 * u,
            "centre_y": 61.0 - 0.5 * v,
            "scale": np.full((ny, nx), 3.0),
        }
        status = np.zeros((ny, nx), np.int8)
        # the middle of the hole is in the upper right
        distance = np.hypot(y - 0.25 * ny, x - 0.75 * nx)
        status.ravel()[np.argsort(distance, axis=None)[: round(hole * ny * nx)]] = 5
        few = random.random((ny, nx)) < 0.02
        status[few & (status == 0)] = random.integers(1, 5, (few & (status == 0)).sum())
        gone = status >= 4
        dims, variables = ("scan_y", "scan_x"), {}
        for name, value in values.items():
            error = (0.05 if name == "thickness" else 0.01) * (1 + 0.3 * random.random((ny, nx)))
            noisy = value + error * random.standard_normal((ny, nx))
            about = {"units": MAP_UNITS[name], "long_name": name.replace("_", " ")}
            variables[name] = (dims, np.where(gone, np.nan, noisy), about)
            about = about | {"long_name": f"standard error of {name}"}
            variables[f"{name}_stderr"] = (dims, np.where(gone, np.nan, error), about)
        tilt = variables["tilt_x"][1], variables["tilt_y"][1]
        variables["tilt_magnitude"] = (dims, np.hypot(*tilt), {"units": "mrad", "long_name": "tilt"})
        azimuth = np.rad2deg(np.arctan2(tilt[1], tilt[0]))
        variables["tilt_azimuth"] = (dims, azimuth, {"units": "degree", "long_name": "direction of the tilt"})
        residual = np.where(gone, np.nan, 0.01 + 0.003 * random.random((ny, nx)))
        variables["residual_fraction"] = (dims, residual, {"units": "1", "long_name": "residual"})
        flags = {"flag_values": np.arange(8, dtype=np.int8), "flag_meanings": STATUSES}
        variables["status"] = (dims, status, {"long_name": "how the fit ended", **flags})
        message = np.where(gone, "there is no disc, in this frame", "The fit converged.")
        variables["message"] = (dims, message.astype(object))
        unit = {"units": "1" if step is None else "nm"}
        coords = {"scan_y": ("scan_y", np.arange(ny) * (step or 1.0), unit)}
        coords["scan_x"] = ("scan_x", np.arange(nx) * (step or 1.0), unit)
        attrs = {"library": "SrTiO3 [0 0 1] 200 kV", "semi_angle_mrad": 13.6, "energy_kv": 200.0}
        attrs |= {"source": "scan.nc"} | ({} if step is None else {"step_nm": step})
        return xr.Dataset(variables, coords=coords, attrs=attrs)

    return make_map


@pytest.fixture(scope="session")
def made_result():
    """A result that was made by hand: a converged fit with budget, noise, candidates and pictures."""
    from hybridfit.fitting.assumptions import Assumed
    from hybridfit.fitting.camera_noise import CameraNoise
    from hybridfit.fitting.candidates import Candidate
    from hybridfit.fitting.parameter import Parameter
    from hybridfit.fitting.result import FitResult, Thumbnail
    from hybridfit.fitting.route import Route
    from hybridfit.fitting.status import Status

    values = {
        "thickness": (32.61, 0.05), "tilt_x": (0.9, 0.01), "tilt_y": (-0.4, 0.012),
        "centre_x": (49.2, 0.01), "centre_y": (46.1, 0.01), "scale": (2.4, 0.001), "rotation": (17.0, 0.05),
        "ellipticity_a": (0.0, None), "ellipticity_b": (0.0, None), "semi_angle": (12.0, None),
        "blur": (0.25, 0.01),
    }  # fmt: skip
    parameters = {
        name: Parameter(v, e, None if e is None else (v - 2 * e, v + 2 * e))
        for name, (v, e) in values.items()
    }
    row, col = np.mgrid[:48, :48] - 23.5
    radius = np.hypot(row, col) / 1.2
    fit = np.where(radius < 19, 100 / (1 + np.exp(2 * (radius - 12))) * (1 + 0.2 * np.cos(col / 3)), np.nan)
    noise = np.random.default_rng(0).normal(0, 1, fit.shape)
    thickness = np.arange(1.0, 61.0)
    answer = Candidate(32.61, 0.9, -0.4, 49.2, 46.1, 2.4, 17.0, 0.01)
    return FitResult(
        source="frame.tif",
        library="SrTiO3 [0 0 1] 200 kV",
        method="hybrid",
        route=Route.network,
        status=Status.converged,
        detail="",
        remarks=(),
        parameters=parameters,
        structure={},
        varied=tuple(name for name, (_, e) in values.items() if e is not None),
        covariance=None,
        bounds={},
        thickness_range10=(32.0, 33.2),
        library_range=(1.0, 60.0),
        intensity_factor=100.0,
        background=(1.0, 0.0, 0.0),
        residual_fraction=0.01,
        reduced_chi2=1.02,
        misfit_fraction=0.001,
        n_effective=1500.0,
        seed=answer,
        candidates=(answer, Candidate(18.2, 0.5, 0.1, 49.2, 46.1, 2.4, 17.0, 0.2)),
        curve=np.stack([thickness, 0.01 + 0.3 * (1 - np.exp(-((thickness - 32.6) ** 2) / 8))]),
        seconds={"seed": 0.1, "search": 0.1, "refine": 0.1, "total": 0.3},
        thumbnail=Thumbnail(fit + noise, fit, radius, (0.0, 96.0, 96.0, 0.0)),
        budget={n: {"counting": 0.6 * values[n][1], "energy": 0.8 * values[n][1]} for n in list(values)[:3]},
        assumed={"debye_waller": Assumed(0.15, 0.01, 0.02)},
        noise=CameraNoise(1.0, 3e6, 0.5, 0.0),
    )  # fmt: skip


@pytest.fixture(scope="session")
def made_library() -> Library:
    """What says of itself that it is a library of SrTiO3 [001], without intensities."""
    attrs = {
        "crystal": "SrTiO3", "formula": "SrTiO3", "zone": np.array([0, 0, 1]), "energy_kv": 200.0,
        "semi_angle_max_mrad": 14.0, "tilt_max_mrad": 3.0, "rotation_order": 4, "checksum": "a1b2c3",
        "contents": "d4e5",
    }  # fmt: skip
    thickness = np.arange(1.0, 61.0)
    dataset = xr.Dataset(
        {"intensity": (("thickness", "beam", "direction"), np.zeros((60, 1, 1)))}, attrs=attrs
    )
    return Library(dataset.assign_coords(thickness=thickness), path=Path("SrTiO3_001_200kV"))
