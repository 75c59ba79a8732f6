"""Fits from the upload to the picture, hostile files, and workers that are killed."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import SEMI_ANGLE, TRUTH, Served

from hybridfit.session import Session

Npy = Callable[[np.ndarray], bytes]


def test_a_frame_becomes_a_row_images_and_pictures(served: Served, frame: np.ndarray, npy: Npy) -> None:
    client = served.client
    answer = served.fit(npy(frame), "wedge <1>.npy", origin="page")
    job = answer.json()
    assert answer.status_code == 200 and job["state"] == "done", job
    (key,) = job["fits"]
    row = next(row for row in client.get("/api/fits").json() if row["id"] == key)
    assert (row["status"], row["origin"], row["file"]) == ("converged", "page", "wedge <1>.npy")
    assert (row["library"], row["semi_angle"]) == ("small", SEMI_ANGLE)
    assert row["thickness_nm"] == pytest.approx(TRUTH["thickness"], abs=4 * row["thickness_stderr"])
    fit = client.get(f"/api/fits/{key}").json()
    assert fit["result"]["tilt_x_mrad"]["value"] == row["tilt_x_mrad"]
    assert client.get(f"/api/fits/{key}/result.json").json() == fit["result"]
    images = client.get(f"/api/fits/{key}/images").json()
    shape = images["shape"]
    shown = {
        name: np.frombuffer(base64.b64decode(images[name]), "<f4").reshape(shape)
        for name in ("experiment", "fit", "residual")
    }
    used = np.frombuffer(base64.b64decode(images["mask"]), "u1").reshape(shape) == 0
    np.testing.assert_allclose((shown["experiment"] - shown["fit"])[used], shown["residual"][used])
    assert np.isnan(shown["residual"][~used]).all() and np.isfinite(shown["residual"][used]).all()
    assert images["disc"]["centre"] == pytest.approx(TRUTH["centre"], abs=0.2)
    profiles = images["profiles"]
    np.testing.assert_allclose(profiles["experiment"], profiles["fit"], atol=0.1 * max(profiles["fit"]))
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        picture = client.get(f"/api/fits/{key}/picture.{kind}")
        assert picture.status_code == 200 and picture.content.startswith(start)
        assert "sandbox" in picture.headers["content-security-policy"]
    report = client.get(f"/api/fits/{key}/report.html")
    assert report.status_code == 200 and "attachment" in report.headers["content-disposition"]
    assert "wedge &lt;1&gt;.npy" in report.text and "<script" not in report.text
    (line,) = csv.DictReader(io.StringIO(client.get(f"/api/fits/{key}/row.csv").text))
    assert float(line["thickness_nm"]) == row["thickness_nm"]
    assert client.patch(f"/api/fits/{key}", json={"note": "left"}).json()["note"] == "left"
    assert client.delete(f"/api/fits/{key}").status_code == 204
    assert client.get(f"/api/fits/{key}").status_code == 404
    assert client.get(f"/api/fits/{key}/images").status_code == 404
    assert list(served.state.settings.uploads.iterdir()) == []


def test_the_curve_comes_when_the_worker_has_time(
    served: Served, frame: np.ndarray, npy: Npy, until: Callable[..., Any]
) -> None:
    (key,) = served.fit(npy(frame), method="hybrid").json()["fits"]
    curve = until(lambda: served.client.get(f"/api/fits/{key}/images").json()["chi2_curve"])
    best = curve["thickness_nm"][int(np.argmin([np.inf if v is None else v for v in curve["chi2"]]))]
    assert best == pytest.approx(TRUTH["thickness"], abs=2)


def test_a_bare_array_is_fitted_without_a_form_and_nothing_is_kept(served: Served, frame: np.ndarray) -> None:
    hints = {**TRUTH, "rotation": 14.0}
    options = {"library": "small", "semi_angle": SEMI_ANGLE, "hints": hints, "session": False}
    query = {"options": json.dumps(options), "shape": "96,96", "dtype": "<u2", "wait": "60"}
    before = len(served.client.get("/api/fits").json())
    kind = {"content-type": "application/octet-stream"}
    job = served.client.post("/api/fit", params=query, content=frame.tobytes(), headers=kind).json()
    assert job["state"] == "done" and job["fits"] == []
    (result,) = job["results"]
    assert result["status"] == "converged" and result["file"] == "frame.raw"
    assert len(served.client.get("/api/fits").json()) == before


def test_a_stack_is_fitted_frame_by_frame_and_bad_ones_are_rows(
    served: Served, frame: np.ndarray, npy: Npy
) -> None:
    stack = np.stack([frame, np.zeros_like(frame), frame])
    job = served.fit(npy(stack), "stack.npy").json()
    rows = {row["id"]: row for row in served.client.get("/api/fits").json()}
    found = [(rows[key]["file"], rows[key]["status"]) for key in job["fits"]]
    assert found == [
        ("stack.npy[0]", "converged"),
        ("stack.npy[1]", "unusable"),
        ("stack.npy[2]", "converged"),
    ]
    bad = job["fits"][1]
    for path in ("images", "picture.png"):
        answer = served.client.get(f"/api/fits/{bad}/{path}")
        assert answer.status_code == 400 and "no answer" in answer.json()["error"]


def test_a_mask_leaves_pixels_out(served: Served, frame: np.ndarray, npy: Npy) -> None:
    from PIL import Image

    marred, mask = frame.copy(), np.zeros(frame.shape, np.uint8)
    marred[30:60, 30:60] = 5 * frame.max()
    mask[30:60, 30:60] = 255
    png = io.BytesIO()
    Image.fromarray(mask).save(png, format="PNG")
    asked = {"library": "small", "semi_angle": SEMI_ANGLE, "hints": {**TRUTH, "rotation": 14.0}}
    files = {"file": ("a.npy", npy(marred)), "mask": ("mask.png", png.getvalue())}
    job = served.client.post(
        "/api/fit?wait=60", files=files, data={"options": json.dumps(asked)}
    ).json()  # fmt: skip
    row = served.client.get(f"/api/fits/{job['fits'][0]}").json()
    assert row["status"] == "converged"
    small = {"file": ("a.npy", npy(marred)), "mask": ("mask.npy", npy(mask[:50]))}
    job = served.client.post("/api/fit?wait=60", files=small, data={"options": json.dumps(asked)}).json()
    assert job["state"] == "failed" and "mask" in job["error"]


def test_a_preview_shows_the_frame_before_it_is_fitted(served: Served, frame: np.ndarray, npy: Npy) -> None:
    files = {"file": ("stack.npy", npy(np.stack([frame] * 3)))}
    found = served.client.post("/api/preview", files=files).json()
    assert (found["shape"], found["frames"]) == ([96, 96], 3)
    assert base64.b64decode(found["png"].partition(",")[2]).startswith(b"\x89PNG")
    answer = served.client.post("/api/preview", files={"file": ("a.png", b"no picture")})
    assert answer.status_code == 400 and str(served.state.settings.session) not in answer.json()["error"]


def test_what_cannot_be_fitted_is_said_before_or_in_the_job(
    served: Served, frame: np.ndarray, npy: Npy
) -> None:
    for options, words in (
        ({"library": "none"}, "unknown library 'none'"),
        ({"library": "SrTiO3_001_200kV"}, "is not built yet"),
    ):
        answer = served.fit(npy(frame), **options)
        assert answer.status_code in (400, 409) and words in answer.json()["error"]
    for options, words in (
        ({"semi_angle": 20.0}, "outside this library"),
        ({"semi_angle": None}, "does not say its semi-angle"),
        ({"fix": {"thicknes": 3.0}}, "unknown parameter 'thicknes'"),
        ({"bounds": {"blur": [3.0, 1.0]}}, "give the lower one first"),
        ({"dataset": "a/b"}, "is for netCDF, HDF5"),
    ):
        job = served.fit(npy(frame), **options).json()
        assert job["state"] == "failed" and words in job["error"], job


def png_of(size: int) -> bytes:
    """The header of a picture of size × size px, and next to nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 16, 0, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zipped_bomb(shape: tuple[int, ...]) -> bytes:
    """An .npz whose array declares more than it holds."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", header.getvalue() + bytes(50_000_000))
    return out.getvalue()


def tiff_of(size: int) -> bytes:
    """A TIFF of size × size px whose only strip unpacks to 50 MB."""
    data = zlib.compress(bytes(50_000_000), 9)
    tags = {256: size, 257: size, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: size, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )


def npy_of(shape: tuple[int, ...], descr: Any = "<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + bytes(1000)


def pickled() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], object), allow_pickle=True)
    return out.getvalue()


def hdf5(how: str, folder: Path) -> bytes:
    """HDF5 whose data are in another file of the machine."""
    h5py = pytest.importorskip("h5py")
    target, path = folder / "private.h5", folder / f"{how}.h5"
    with h5py.File(target, "w") as file:
        file["data"] = np.random.default_rng(0).poisson(50, (96, 96))
    with h5py.File(path, "w") as file:
        if how == "link":
            file["data"] = h5py.ExternalLink(str(target), "data")
        elif how == "virtual":
            layout = h5py.VirtualLayout((96, 96), "i8")
            layout[:] = h5py.VirtualSource(str(target), "data", (96, 96))
            file.create_virtual_dataset("data", layout)
        else:
            file.create_dataset("data", (96, 96), "u1", external=[(str(target), 0, 9216)])
    return path.read_bytes()


def ome(folder: Path) -> bytes:
    """An OME-TIFF that names a file of the machine."""
    tifffile = pytest.importorskip("tifffile")
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels '
        'DimensionOrder="XYCZT" SizeX="96" SizeY="96" SizeC="1" SizeZ="1" SizeT="1" Type="uint16"><TiffData>'
        f'<UUID FileName="{folder}/private.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    tifffile.imwrite(folder / "ome.tif", np.ones((96, 96), "u2"), description=text, metadata=None)
    return (folder / "ome.tif").read_bytes()


def test_hostile_files_are_answered_in_one_line_and_the_worker_lives(
    served: Served, frame: np.ndarray, npy: Npy, tmp_path: Path
) -> None:
    worker = served.state.lanes["fits"].worker
    assert worker is not None
    files = {
        "bomb.png": png_of(100_000),
        "large.png": png_of(5000),
        "bomb.tif": tiff_of(100_000),
        "large.tif": tiff_of(6000),
        "bomb.npz": zipped_bomb((80_000, 80_000)),
        "bomb.npy": npy_of((2**20, 2**20)),
        "negative.npy": npy_of((-1, 96)),
        "objects.npy": npy_of((3,), "|O"),
        "pickled.npy": pickled(),
        "link.h5": hdf5("link", tmp_path),
        "virtual.h5": hdf5("virtual", tmp_path),
        "external.h5": hdf5("external", tmp_path),
        "places.ome.tif": ome(tmp_path),
        "empty.tif": b"",
        "text.tif": b"II*\0" + b"\xff" * 5000,
        "html.png": b"<html><script>alert(1)</script>",
        "nothing": b"\0" * 1000,
        "a.xml": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "a.zspy": b"PK\x03\x04",
        "a.mat": b"MATLAB 5.0" + bytes(500),
        "a.dm4": b"\0\0\0\4" + b"\xff" * 100,
        "blank.npy": npy(np.zeros((96, 96))),
        "nan.npy": npy(np.full((96, 96), np.nan)),
        "line.npy": npy(np.ones((1, 10_000))),
    }
    for name, content in files.items():
        job = served.fit(content, name).json()
        assert job["state"] == "failed", (name, job)
        assert "\n" not in job["error"] and len(job["error"]) < 700, name
        assert "hybridfit itself" not in job["error"], (name, job["error"])
        assert str(served.state.settings.session) not in job["error"], name
    assert served.state.lanes["fits"].worker is worker  # no file has ended it
    assert served.fit(npy(frame)).json()["state"] == "done"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_workers_lose_no_job_and_fit_no_frame_twice(
    served: Served, frame: np.ndarray, npy: Npy, until: Callable[..., Any]
) -> None:
    stack = npy(np.stack([frame] * 6))
    first = served.fit(stack, "stack.npy", wait=0).json()["job"]
    others = [served.fit(npy(frame), f"{i}.npy", wait=0).json()["job"] for i in range(3)]
    until(lambda: len(served.state.queue.job(first).fits) >= 2)
    times = {row["id"]: row["time"] for row in served.client.get("/api/fits").json()}
    worker = served.state.lanes["fits"].worker
    assert worker is not None
    os.kill(worker.process.pid, signal.SIGKILL)
    job = until(
        lambda: (found := served.client.get(f"/api/jobs/{first}").json())["state"] == "done" and found
    )
    assert len(job["fits"]) == len(set(job["fits"])) == 6
    for other in others:
        until(lambda other=other: served.client.get(f"/api/jobs/{other}").json()["state"] == "done")
    rows = {row["id"]: row["time"] for row in served.client.get("/api/fits").json()}
    assert {*job["fits"], *others} <= set(rows)
    assert all(rows[key] == times[key] for key in job["fits"][:2])  # not fitted again


def test_events_follow_a_job_to_its_end(served: Served, frame: np.ndarray, npy: Npy) -> None:
    key = served.fit(npy(frame), wait=0).json()["job"]
    with served.client.stream("GET", f"/api/jobs/{key}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert events[-1]["state"] == "done" and events[-1]["fits"] == [key]


def test_fits_of_another_process_are_in_the_table(served: Served) -> None:
    with Session(served.state.settings.session) as other:
        key = other.add({"file": "=1+1", "status": "failed", "message": "no disc"}, origin="watch")
    assert served.client.get("/api/fits").json()[0]["id"] == key
    assert "'=1+1" in served.client.get("/api/fits.csv").text


def test_a_frame_is_identified_and_nothing_is_kept(served: Served, frame: np.ndarray, npy: Npy) -> None:
    before = len(served.client.get("/api/fits").json())
    stack = np.stack([frame, np.zeros_like(frame)])

    def identify(content: bytes, **options: Any) -> Any:
        asked = {"semi_angle": SEMI_ANGLE, "hints": {"centre": TRUTH["centre"], "scale": 3.2}, **options}
        files, data = {"file": ("frames.npy", content)}, {"options": json.dumps(asked)}
        return served.client.post("/api/identify?wait=60", files=files, data=data)

    job = identify(npy(stack)).json()
    assert (job["kind"], job["state"], job["fits"]) == ("identify", "done", []), job
    found, bad = job["results"]
    assert (found["answer"], found["file"]) == ("small", "frames.npy[0]")
    assert found["matches"][0]["library"] == "small" and found["probability"] > 0.9
    assert found["matches"][0]["thickness_nm"] == pytest.approx(TRUTH["thickness"], abs=0.3)
    assert (bad["status"], bad["file"]) == ("unusable", "frames.npy[1]")
    assert len(identify(npy(stack), first=True, among=["small"]).json()["results"]) == 1
    unknown = identify(npy(frame), among=["nosuch"])
    assert unknown.status_code == 400 and "unknown library" in unknown.json()["error"]
    assert identify(npy(frame), wrong=1).status_code == 400
    assert len(served.client.get("/api/fits").json()) == before
    assert list(served.state.settings.uploads.iterdir()) == []
