"""Maps: followed tile by tile, stopped, killed, gone on with, and read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import SEMI_ANGLE, TRUTH, Served

from hybridfit import simulate_frame
from hybridfit.scan.live import LiveMap, values_path
from hybridfit.scan.maps import read_map
from hybridfit.scan.rows import COLUMN, FIELDS, Rows
from hybridfit.scan.store import Store

SHAPE = (4, 12)


@pytest.fixture(scope="module")
def scan(served: Served, small_library: Any) -> str:
    """A wedge in the folder of the server, thicker to the right; its name."""
    frames = np.zeros((*SHAPE, 64, 64), np.uint16)
    truth = {**TRUTH, "scale": 2.1, "centre": (31.5, 31.0)}
    for x in range(SHAPE[1]):
        truth["thickness"] = 25.0 + 0.5 * x
        image, _ = simulate_frame(
            small_library, semi_angle=SEMI_ANGLE, shape=(64, 64), electrons=1e6, rotation=14.0, **truth
        )
        frames[:, x] = image
    np.save(served.state.settings.folders["scans"] / "wedge.npy", frames)
    return "wedge.npy"


def values_of(served: Served, key: str, name: str = "thickness") -> np.ndarray:
    found = served.client.get(f"/api/maps/{key}/values", params={"name": name}).json()
    return np.frombuffer(base64.b64decode(found["values"]), "<f4").reshape(found["shape"])


def test_a_map_is_seen_as_it_grows_and_goes_on_where_it_was(
    served: Served, scan: str, until: Callable[..., Any]
) -> None:
    client = served.client
    assert [file["name"] for file in client.get("/api/files?folder=scans").json()["files"]] == [scan]
    asked = {"folder": "scans", "path": scan, "library": "small", "semi_angle": SEMI_ANGLE}
    asked |= {
        "common": [],
        "fix": {"rotation": 14.0, "scale": 2.1, "ellipticity_a": 0.0, "ellipticity_b": 0.0},
    }
    made = client.post("/api/maps", json=asked).json()
    key, job = made["map"], made["job"]
    assert client.get(f"/api/maps/{key}").json()["shape"] is None

    def done() -> int:
        return client.get(f"/api/maps/{key}").json()["done"]

    until(lambda: done() > 0)
    assert np.isfinite(values_of(served, key)).sum() > 0
    client.post(f"/api/jobs/{job}/stop")
    until(lambda: client.get(f"/api/jobs/{job}").json()["state"] in ("stopped", "done"))
    before = done()
    assert before > 0
    if client.get(f"/api/jobs/{job}").json()["state"] == "stopped":
        position = client.post(f"/api/maps/{key}/fit", json={"y": 1, "x": 2}).json()[
            "job"
        ]  # of what there is
        found = until(lambda: (j := client.get(f"/api/jobs/{position}").json())["state"] == "done" and j)
        fit = client.get(f"/api/fits/{found['fits'][0]}").json()
        assert (fit["origin"], fit["map"], fit["y"], fit["x"]) == ("map", key, 1, 2)
        assert client.get(f"/api/maps/{key}/map.nc").status_code == 400
        client.post(f"/api/jobs/{job}/resume")
    with client.stream("GET", f"/api/maps/{key}/events") as stream:
        rows = [json.loads(line[6:])["done"] for line in stream.iter_lines() if line.startswith("data: ")]
    ended = client.get(f"/api/jobs/{job}").json()
    assert ended["state"] == "done", ended
    assert rows == sorted(rows) and rows[-1] == done() == SHAPE[0] * SHAPE[1]
    thickness = values_of(served, key)
    np.testing.assert_allclose(thickness, np.broadcast_to(25.0 + 0.5 * np.arange(SHAPE[1]), SHAPE), atol=0.6)
    whole = client.get(f"/api/maps/{key}").json()
    assert {"thickness", "tilt_magnitude", "thickness_stderr"} <= {v["name"] for v in whole["variables"]}
    assert whole["status_meanings"][int(values_of(served, key, "status")[0, 0])] == "converged"
    assert client.get(f"/api/maps/{key}/values?name=none").status_code == 400
    path = served.state.settings.session / "downloaded.nc"
    path.write_bytes(client.get(f"/api/maps/{key}/map.nc").content)
    np.testing.assert_allclose(read_map(path)["thickness"].values, thickness, rtol=1e-6)
    for kind, start in (("map.png", b"\x89PNG"), ("map.csv", b"y,x,"), ("report.html", b"<!doctype")):
        assert client.get(f"/api/maps/{key}/{kind}").content.startswith(start)
    assert client.get(f"/api/maps/{key}/map.exe").status_code == 400
    position = client.post(f"/api/maps/{key}/fit", json={"y": 0, "x": 3}).json()["job"]
    found = until(lambda: (j := client.get(f"/api/jobs/{position}").json())["state"] == "done" and j)
    fit = client.get(f"/api/fits/{found['fits'][0]}").json()
    assert fit["thickness_nm"] == pytest.approx(float(thickness[0, 3]), abs=0.05)
    assert client.get(f"/api/fits/{fit['id']}/images").status_code == 200
    position = client.post(f"/api/maps/{key}/fit", json={"y": 9, "x": 3}).json()["job"]
    failed = until(lambda: (j := client.get(f"/api/jobs/{position}").json())["state"] == "failed" and j)
    assert "is not in this map of 4 × 12" in failed["error"]


def test_a_scan_that_is_none_makes_a_job_that_says_so(served: Served, until: Callable[..., Any]) -> None:
    folder = served.state.settings.folders["scans"]
    (folder / "text.nc").write_text("no scan")
    asked = {"folder": "scans", "path": "text.nc", "library": "small", "semi_angle": SEMI_ANGLE}
    job = served.client.post("/api/maps", json=asked).json()["job"]
    found = until(lambda: (j := served.client.get(f"/api/jobs/{job}").json())["state"] == "failed" and j)
    assert "text.nc" in found["error"] and "\n" not in found["error"]
    (folder / "text.nc").unlink()


def test_values_are_those_of_the_latest_stage(tmp_path: Path) -> None:
    output = tmp_path / "map.nc"
    store = Store(output, {})
    live = LiveMap(output, (2, 3))

    def block(name: str, at: list[tuple[int, int]], thickness: float) -> None:
        rows = Rows.empty(len(at))
        rows.values[:, COLUMN["thickness"]] = thickness
        rows.status[:] = 0
        store.keep(name, at, rows)

    with store.working():
        block("rows-000000", [(0, 0), (0, 1)], 1.0)
        block("first-0000", [(0, 0), (1, 2)], 2.0)
        assert live.update() == 4  # (0, 0) twice
        block("mend-0-000000", [(0, 1)], 3.0)
        (store.folder / "rows-000001.npz").write_bytes(b"not whole")
        assert live.update() == 1 and live.update() == 0
        live.write()
    with np.load(values_path(output), allow_pickle=False) as stored:
        np.testing.assert_array_equal(
            stored["thickness"], np.array([[1, 3, np.nan], [np.nan, np.nan, 2]], np.float32)
        )
        about = json.loads(str(stored["about"]))
    assert about["done"] == 3 and about["units"]["tilt_x"] == "mrad"
    assert set(FIELDS[:5]) <= set(about["units"])
