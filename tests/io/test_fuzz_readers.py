"""Damaged files of every core format: frames, or one line that says what is wrong, and soon."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hybridfit.errors import InputError
from hybridfit.frame import Frame
from hybridfit.io import BadFrame, open_frames, open_scan, read_frames

SLOW = 10.0  # s of processor time
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)

Change = Callable[[bytes], bytes]


def flipped(place: float, value: int) -> Change:
    return lambda old: old[: (i := int(place * len(old)))] + bytes([value]) + old[i + 1 :]


def cut(place: float) -> Change:
    return lambda old: old[: max(1, int(place * len(old)))]


def inserted(place: float, new: bytes) -> Change:
    return lambda old: old[: (i := int(place * len(old)))] + new + old[i:]


def numbered(place: float, value: int, size: int, order: Any) -> Change:
    """A number of the header changed to one that may be a trap."""

    def change(old: bytes) -> bytes:
        i = int(place * len(old)) // 4 * 4
        return old[:i] + (value % 2 ** (8 * size)).to_bytes(size, order) + old[i + size :]

    return change


# Most of what can go wrong is in the first bytes of a file: a third power goes there more often.
places = st.floats(0, 1, exclude_max=True).map(lambda x: x**3)
orders = st.sampled_from(("little", "big"))
changes = st.lists(
    st.one_of(
        st.builds(flipped, places, st.integers(0, 255)),
        st.builds(cut, places),
        st.builds(inserted, places, st.binary(min_size=1, max_size=16)),
        st.builds(numbered, places, st.sampled_from(NUMBERS), st.sampled_from((2, 4, 8)), orders),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory, counts, write_mrc, write_netcdf) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """A small valid file of each format by its name, and the options that it is read with."""
    folder = tmp_path_factory.mktemp("good")
    image = counts(50, 40, 36).astype("u1")
    stack = np.stack([image + i for i in range(3)]).astype("u2")
    scan = np.stack([stack[:2], stack[1:]])
    options: dict[str, dict[str, Any]] = {}
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(image).convert("P").save(folder / "palette.png")
    Image.fromarray(image).save(folder / "a.jpg")
    tifffile.imwrite(folder / "a.tif", stack, photometric="minisblack")
    tifffile.imwrite(folder / "zip.tif", stack, photometric="minisblack", compression="zlib")
    Image.fromarray(image).save(folder / "lzw.tif", compression="tiff_lzw")
    np.save(folder / "a.npy", stack)
    np.save(folder / "fortran.npy", np.asfortranarray(stack))
    np.save(folder / "scan.npy", scan)
    write_mrc(folder / "a.mrc", stack, 6)
    write_netcdf(folder / "a.nc", {"frames": stack})
    write_netcdf(folder / "classic.nc", {"frame": image.astype("i4")}, "NETCDF3_CLASSIC")
    (folder / "a.raw").write_bytes(b"head" + stack.tobytes())
    options["a.raw"] = {"shape": stack.shape, "dtype": "u2", "offset": 4}
    (folder / "scan_x2_y1.raw").write_bytes(np.ones((2, 130, 128), "f4").tobytes())
    (folder / "scan_x2_y1.xml").write_text(
        "<root><raw_file filename='scan_x2_y1.raw'/><pix_x>2</pix_x><pix_y>1</pix_y></root>"
    )
    h5py = pytest.importorskip("h5py")
    for version in ("earliest", "latest"):
        with h5py.File(folder / f"{version}.h5", "w", libver=version) as file:
            file.create_dataset(
                "scan/data", data=scan, chunks=(1, 1, 40, 36), compression="gzip", shuffle=True
            )
            file.create_dataset("frames/data", data=stack, chunks=(1, 40, 36), fletcher32=True)
            for i, n in enumerate(scan.shape):
                file[f"scan/dim{i}"] = np.arange(n) * 0.5
                file[f"scan/dim{i}"].attrs["name"] = "xyab"[i]
    with h5py.File(folder / "velox.emd", "w") as file:
        file["Data/Image/0123abc/Data"] = np.moveaxis(stack, 0, -1)
    return {path.name: (path.read_bytes(), options.get(path.name, {})) for path in sorted(folder.iterdir())}


NAMES = (
    "a.png palette.png a.jpg a.tif zip.tif lzw.tif a.npy fortran.npy scan.npy a.mrc a.nc classic.nc a.raw "
    "scan_x2_y1.xml earliest.h5 latest.h5 velox.emd"
).split()
SCANS = ("scan.npy", "scan_x2_y1.xml", "earliest.h5", "latest.h5")


def check(path: Path, options: dict[str, Any]) -> None:
    """Read a file in every way. Anything but frames and an InputError of one line fails."""
    try:
        assert all(isinstance(frame, Frame) for frame in read_frames(path, **options))
    except InputError as error:
        assert "\n" not in str(error) and path.name in str(error)
    try:
        for frame in itertools.islice(open_frames(path, **options), 100):
            assert isinstance(frame, Frame | BadFrame)
    except InputError as error:
        assert "\n" not in str(error)
    for more in ({}, {"scan_shape": (1, 3)}):
        try:
            scan = open_scan(path, **options, **more)
            frames, present = scan.read(slice(0, 1), slice(0, 2))
            assert frames.shape[:2] == present.shape
            assert sum(scan.fingerprint()["shape"]) > 0
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", NAMES)
def test_valid_files_are_read(tmp_path: Path, good, name: str) -> None:
    content, options = good[name]
    (tmp_path / name).write_bytes(content)
    if name.endswith(".xml"):
        (tmp_path / "scan_x2_y1.raw").write_bytes(good["scan_x2_y1.raw"][0])
    if name in SCANS:
        assert open_scan(tmp_path / name, **options).read(slice(0, 1), slice(0, 1))[1].all()
    if name not in ("scan.npy", "scan_x2_y1.xml"):
        assert len(read_frames(tmp_path / name, **options)) in (1, 3)


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changed=changes)
def test_damaged_files_are_read_or_refused(tmp_path: Path, good, name: str, changed: list[Change]) -> None:
    content, options = good[name]
    for change in changed:
        content = change(content) or b"\0"
    if name.endswith(".xml"):
        (tmp_path / "scan_x2_y1.raw").write_bytes(good["scan_x2_y1.raw"][0])
    path = tmp_path / name
    path.unlink(missing_ok=True)  # a file that is still mapped must not change under its reader
    path.write_bytes(content)
    started = time.process_time()
    check(path, options)
    assert time.process_time() - started < SLOW
