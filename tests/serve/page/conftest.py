"""A browser, a fake server, and a page that fails its test on errors, dialogs and requests to other hosts."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update "
         "disable-sync disable-quic").split()  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """The system's Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS])
        yield opened
        opened.close()


@pytest.fixture
def fake() -> Iterator:
    """A server of recorded answers, twelve of them in its session table, that is stopped at the end."""
    from fake_server import Fake

    server = Fake(pace=0.05, rows=12)
    server.start()
    yield server
    server.stop()


class Watched:
    """What a page did that it must not do; `allowed` are patterns of console messages that are expected."""

    def __init__(self, page, host: str) -> None:
        self.wrong: list[str] = []
        self.allowed: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda r: r.url.startswith((host, "blob:")) or self.wrong.append(f"to {r.url}"))

    def _console(self, message) -> None:
        if message.type in ("error", "warning") and not any(re.search(p, message.text) for p in self.allowed):
            self.wrong.append(f"console: {message.text}")


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:
    """open_page(url, path="/", **context) → a page of the size of a laptop that is watched."""
    opened = []

    def open_page(url: str, path: str = "/", **options):
        defaults = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
        context = browser.new_context(**{**defaults, **options})
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.watched = Watched(page, url)
        opened.append((context, page))
        page.goto(url + path)
        return page

    yield open_page
    for context, page in opened:
        context.close()
        assert page.watched.wrong == []


@pytest.fixture(scope="session")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame in a file, 96 × 80."""
    path = tmp_path_factory.mktemp("frames") / "good.npy"
    y, x = np.mgrid[:96, :80]
    np.save(path, np.where(np.hypot(y - 47, x - 39) < 30, 100.0, 3.0).astype("f4"))
    return path


@pytest.fixture(scope="session")
def pixels() -> Callable:
    """pixels(locator) → RGBA array of what a canvas shows."""

    def pixels(locator) -> np.ndarray:
        url = locator.evaluate("c => c.toDataURL('image/png')")
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(url.split(",")[1])))
        return (255 * image).round().astype(np.uint8)

    return pixels
