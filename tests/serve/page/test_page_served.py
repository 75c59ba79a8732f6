"""The page with the real server: a fit, a map that is stopped and goes on, and a restart of the server."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hybridfit import simulate_frame, simulate_scan

if not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "python_multipart")):
    pytest.skip("the extra [serve] is not installed", allow_module_level=True)

TRUTH = {"thickness": 32.0, "tilt": (0.6, -0.4)}


class Process:
    """`hybridfit serve` of a session folder, on a port that stays the same."""

    def __init__(self, session: Path, scans: Path) -> None:
        self.command = [sys.executable, "-m", "hybridfit", "serve", "--session", str(session), "--folder",
                        str(scans), "--no-browser", "--port"]  # fmt: skip
        self.port = 0

    def start(self) -> str:
        self.process = subprocess.Popen(
            [*self.command, str(self.port)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        found = re.search(r"http://localhost:(\d+)/", self.process.stdout.readline())
        assert found is not None
        self.port = int(found[1])
        return f"http://localhost:{self.port}"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(90)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory, small_recipe: Path, small_library) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "scans").mkdir()
    shutil.copytree(small_recipe.parent, folder / "session" / "libraries" / "small")
    image, _ = simulate_frame(small_library, semi_angle=12.0, shape=(96, 96), electrons=2e6, **TRUTH)
    np.save(folder / "frame.npy", image.astype("u2"))
    scan = {"scan_shape": (6, 8), "frame_shape": (64, 64), "thickness": (20.5, 25.5), "bend": 1.0}
    simulate_scan(folder / "scans" / "wedge.nc", small_library, 12.0, electrons=1e6, **scan)
    process = Process(folder / "session", folder / "scans")
    process.folder = folder
    process.start()
    yield process
    process.stop()


def test_a_frame_is_fitted_and_its_downloads_are_there(served, open_page):
    page = open_page(f"http://localhost:{served.port}")
    page.set_default_timeout(60_000)
    form = page.locator("#view-fit form")
    form.get_by_label("Crystal").select_option("small")
    form.get_by_label("Convergence semi-angle").fill("12")
    page.locator("#view-fit input[type=file][multiple]").set_input_files(str(served.folder / "frame.npy"))
    page.locator(".preview canvas").wait_for()
    form.get_by_role("button", name="Fit", exact=True).click()
    page.locator(".result .numbers").wait_for()
    found = float(page.locator(".numbers .value").first.inner_text())
    assert abs(found - 32.0) < 0.5
    assert page.locator(".trio canvas.panel-canvas").count() == 3
    page.locator(".chart", has_text="χ² against thickness").locator("svg.graph").wait_for()
    for link in page.locator(".downloads a").all():
        if "HTML" in link.inner_text() and importlib.util.find_spec("hybridfit.report") is None:
            continue
        with page.expect_download() as download:
            link.click()
        assert download.value.failure() is None, link.inner_text()


def test_a_map_grows_stops_goes_on_and_shows_its_positions(served, open_page):
    page = open_page(f"http://localhost:{served.port}", "/#/maps")
    page.set_default_timeout(90_000)
    page.locator(".browser .row", has_text="wedge.nc").click()
    form = page.locator("#view-maps form")
    form.get_by_label("Crystal").select_option("small")
    form.get_by_label("Convergence semi-angle").fill("12")
    form.get_by_role("button", name="Make the map").click()
    page.locator(".status-legend", has_text="Converged").wait_for()
    page.locator(".map").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Resume").click()
    page.locator(".map .title", has_text="48 of 48").wait_for()
    page.locator(".map > .downloads").wait_for()
    canvas = page.locator(".map-panels canvas.panel-canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.5 / 8, "y": box["height"] * 0.5 / 6})
    page.locator(".map-fit .result .numbers").wait_for()
    assert abs(float(page.locator(".map-fit .numbers .value").first.inner_text()) - 20.5) < 0.5


def test_the_table_is_there_after_a_restart_and_the_page_goes_on(served, open_page):
    page = open_page(f"http://localhost:{served.port}", "/#/session")
    page.set_default_timeout(60_000)
    page.watched.allowed.append("ERR_|Failed to load")
    note = page.locator(".session tbody input").first
    note.fill("grain <b>A</b>")
    note.press("Enter")
    page.locator("#view-session [role=status]", has_text="saved").wait_for()
    served.stop()
    page.locator("#banner:visible").wait_for()
    served.start()
    page.locator("#banner").wait_for(state="hidden")
    page.reload()
    assert page.locator(".session tbody input").first.input_value() == "grain <b>A</b>"
