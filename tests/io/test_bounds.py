"""Files that would take all memory: sizes are estimated first, and refused in one line."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hybridfit.errors import InputError
from hybridfit.io import open_scan, pictures, stack
from hybridfit.io.settings import READING, ReaderSettings
from hybridfit.io.stack import check_frame, check_positions
from hybridfit.thresholds import thresholds_of

pytestmark = pytest.mark.filterwarnings("error")
h5py = pytest.importorskip("h5py")

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "../shared/cases/fuzz"


def scan_refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        open_scan(path, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and path.name in message
    return message


def peak_memory(code: str, *arguments: object) -> float:
    """Peak memory (MB) of another Python that runs some code, over that of one that only imports."""
    end = "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"

    def peak(code: str) -> float:
        command = [sys.executable, "-c", code + end, *map(str, arguments)]
        return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout) / 1e3

    imports = "import sys, hybridfit.io, netCDF4, tifffile, PIL.Image, scipy.ndimage, scipy.io"
    return peak(f"{imports}\n{code}\nNone") - peak(imports)


def test_the_bounds_can_be_traced() -> None:
    assert {threshold.name for threshold in thresholds_of(ReaderSettings)} == set(vars(READING))


def test_the_largest_cameras_and_scans_are_read(tmp_path: Path) -> None:
    for shape in ((4096, 4096), (4092, 5760)):
        check_frame(tmp_path, shape)
    check_positions(tmp_path, (4096, 4096))


def test_a_group_that_is_linked_into_itself(tmp_path: Path, as_dtype, refused) -> None:
    path = tmp_path / "a.h5"
    for name, add in {
        "hard": lambda file: file["g"].__setitem__("again", file["g"]),
        "two": lambda file: (
            file.__setitem__("g/h/back", file["g"]),
            file.__setitem__("other/h", file["g/h"]),
        ),
        "root": lambda file: file["g"].__setitem__("root", file["/"]),
        "soft": lambda file: file["g"].__setitem__("again", h5py.SoftLink("/g")),
        "external": lambda file: file["g"].__setitem__("again", h5py.ExternalLink(str(path), "/")),
    }.items():
        for version in ("earliest", "latest"):
            with h5py.File(path, "w", libver=version) as file:
                file["x"] = as_dtype("u2")
                file.create_group("g/h")
                add(file)
            message = refused(path)
            assert "linked into itself" in message and "copy the dataset" in message, name
            assert "linked into itself" in scan_refused(path)


def test_groups_without_end_in_another_file(tmp_path: Path, as_dtype, refused) -> None:
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["back"] = h5py.ExternalLink("a.h5", "/")
        file["forth"] = h5py.ExternalLink("b.h5", "/")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = as_dtype("u2")
        file["b"] = h5py.ExternalLink("b.h5", "/")
    message = refused(tmp_path / "a.h5")
    assert "linked into itself" in message or "inside each other" in message


def test_groups_that_are_reached_in_a_million_ways(tmp_path: Path, as_dtype, refused) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("first")
        group["x"] = as_dtype("u2")
        for i in range(20):
            above = file.create_group(f"g{i}")
            above["left"] = above["right"] = group
            group = above
    assert "many times over" in refused(tmp_path / "a.h5")


def test_links_that_do_no_harm_are_followed(tmp_path: Path, as_dtype, assert_reads) -> None:
    image = as_dtype("u2")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data/frame"] = image
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw/frame"] = h5py.ExternalLink("b.h5", "/data/frame")
        file.create_group("empty/group")
        file["again"] = file["empty"]
    assert_reads(tmp_path / "a.h5", image)
    layout = h5py.VirtualLayout((3, *image.shape), "u2")
    for i in range(3):
        layout[i] = h5py.VirtualSource("b.h5", "data/frame", image.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("frames", layout)
    assert_reads(tmp_path / "virtual.h5", np.stack([image] * 3))


def test_data_that_were_never_written(tmp_path: Path, refused) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10**5, 10**4, 64, 64), "u2", chunks=(1, 1, 64, 64))
    assert "x declares 8.19e+12 bytes, of which 0 are stored" in scan_refused(path)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (10**6, 64, 64), "u2", chunks=(1, 64, 64))
        data[0] = np.arange(64)
    assert "are stored" in refused(path)
    np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype="u1", shape=(5000, 5000, 32, 32))
    assert "5000 × 5000 frames" in scan_refused(tmp_path / "a.npy")


def test_pieces_that_are_too_large(tmp_path: Path, refused) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("x", (10**5, 64, 64), "u2", chunks=(10**5, 64, 64), compression="gzip")
        data.id.write_direct_chunk((0, 0, 0), np.random.default_rng(1).bytes(10**6))
    assert "pieces of 819.2 MB; pieces of at most 536.9 MB" in refused(tmp_path / "a.h5")


def test_a_strip_of_a_tiff_that_inflates_beyond_measure(
    tmp_path: Path, as_dtype, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = replace(READING, chunk_bytes_at_most=2**25)
    for module in (stack, pictures):
        monkeypatch.setattr(module, "READING", less)
    path = tmp_path / "a.tif"
    image = as_dtype("u2")
    tifffile.imwrite(path, image, compression="zlib", metadata=None)
    squeeze = zlib.compressobj(6)
    bomb = b"".join(squeeze.compress(bytes(2**20)) for _ in range(64)) + squeeze.flush()
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags, end = tiff.pages[0].tags, path.stat().st_size
        tags["StripOffsets"].overwrite((end,))
        tags["StripByteCounts"].overwrite((len(bomb),))
    with path.open("ab") as file:
        file.truncate(end)
        file.write(bomb)
    tracemalloc.start()
    try:
        assert "pieces of" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_a_picture_of_nothing_that_is_very_large(tmp_path: Path, refused) -> None:
    Image.new("1", (13300, 13300)).save(tmp_path / "a.png")
    message = refused(tmp_path / "a.png")
    assert "13300 × 13300 = 176.9 million px; at most 25 million" in message
    Image.new("1", (9600, 9600)).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert "9600 × 9600" in refused(tmp_path / "a.tif")


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
@pytest.mark.parametrize("name", ["hard_loop.h5", "virt_4.h5", "bombz.h5", "bomb_178MP.png"])
def test_little_memory_is_taken_of_bombs(name: str) -> None:
    code = (
        "for read in hybridfit.io.read_frames, hybridfit.io.open_scan:\n"
        "    try: read(sys.argv[1])\n"
        "    except ValueError: continue\n"
        "    raise SystemExit('read it')"
    )
    assert peak_memory(code, CASES / name) < 100
