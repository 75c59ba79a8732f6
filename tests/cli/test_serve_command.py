"""`hybridfit serve`: what it refuses, how it starts, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hybridfit.cli import main

THERE = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "python_multipart"))
needs_server = pytest.mark.skipif(not THERE, reason="the extra [serve] is not installed")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["serve", "--no-browser", *arguments]) == 2
    return capsys.readouterr().err


@needs_server
def test_what_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = ("--session", str(tmp_path / "session"))
    assert "give a --token" in said(capsys, "--host", "0.0.0.0", *session)
    assert "give a --token" in said(capsys, "--host", "192.168.1.2", *session)
    assert "hard to guess" in said(capsys, "--host", "0.0.0.0", "--token", "short", *session)
    assert "letters and digits" in said(capsys, "--token", "with a space; and more", *session)
    assert "unknown library 'none'" in said(capsys, "--library", "none", *session)
    assert "cannot be right" in said(capsys, "--semi-angle", "-3", *session)
    assert "is no folder" in said(capsys, "--folder", str(tmp_path / "none"), *session)
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "session.sqlite").write_bytes(b"rubbish" * 1000)
    assert "is damaged" in said(capsys, "--port", "0", *session)


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "fastapi" else real(name, *rest)
    )
    assert "fastapi is not installed; install the extra" in said(capsys)


def start(session: Path) -> tuple[subprocess.Popen[str], str]:
    """The command in a process of its own, and its address."""
    command = [sys.executable, "-m", "hybridfit", "serve", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--session", str(session)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://localhost:\d+/", line)
    assert found is not None, line + process.stdout.read()
    return process, found.group()


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


@needs_server
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_serves_its_page_alone_on_its_session_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    process, address = start(tmp_path)
    try:
        assert b"hybridfit" in get(address)
        assert json.loads(get(f"{address}api/about"))["folders"] == []
        loaded = json.loads(get(f"{address}api/fits"))
        assert loaded == []
        command = [sys.executable, "-m", "hybridfit", "serve", "--no-browser", "--port", "0"]
        command += ["--session", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2 and "another server is at work on" in second.stderr
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}api/fit", data=b"x", timeout=30)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0 and "Traceback" not in rest
        assert time.monotonic() - begun < 15
    finally:
        process.kill()
        process.wait()
    again, address = start(tmp_path)
    again.kill()  # the next one may start at once, whatever ended the last
    again.wait()
    third, _ = start(tmp_path)
    third.send_signal(signal.SIGTERM)
    third.communicate(timeout=30)


@needs_server
def test_the_server_imports_nothing_heavy_before_its_page(tmp_path: Path) -> None:
    code = (
        "import sys; from hybridfit.serve.app import make_app; from hybridfit.serve.settings import "
        "ServeSettings; from pathlib import Path; app = make_app(ServeSettings(Path(sys.argv[1]))); "
        "print([m for m in ('torch', 'lmfit', 'matplotlib', 'xarray', 'netCDF4', 'numba', 'scipy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
