"""The command line as a process: fast help, exit codes, errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hybridfit import cli

ROOT = Path(cli.__file__).parents[2]


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "hybridfit.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
    )


def test_help_needs_none_of_the_heavy_packages():
    code = (
        "import sys; from hybridfit.cli import main; main(['--help']); main(['fit', '--help'])\n"
        "heavy = {'numpy', 'torch', 'xarray', 'lmfit', 'numba', 'scipy', 'matplotlib', 'rich'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert ran.stdout.splitlines()[-1] == "heavy: []", ran
    assert "--semi-angle" in ran.stdout and "demo" in ran.stdout


def test_version_and_bad_input_in_a_process(tmp_path):
    ran = process("--version")
    assert ran.returncode == 0 and ran.stdout.startswith("hybridfit ") and not ran.stderr
    ran = process("fit", tmp_path / "missing.tif", "--semi-angle", "13.6")
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "missing.tif" in ran.stderr
    assert not ran.stdout


def test_help_of_everything(run):
    for words in ([], ["library"], ["--help"], ["fit", "-h"], ["demo", "--help"], ["library", "build", "-h"]):
        ran = run(*words)
        assert ran.code == 0 and "Usage: hybridfit" in ran.out and not ran.err
