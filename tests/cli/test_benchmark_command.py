"""The command `benchmark`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hybridfit.cli import benchmark

studies = pytest.importorskip("benchmarks.studies")


def test_studies_are_listed_with_what_they_show(run):
    ran = run("benchmark", "--list")
    assert ran.code == 0
    for name in studies.names():
        assert name in ran.out
    assert "Cramér–Rao bound" in ran.out


def test_an_unknown_study_gets_the_known_names_in_one_line(run, tmp_path):
    ran = run("benchmark", "startup", "hybird", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "'hybird'" in ran.err and "hybrid" in ran.err and "scan_maps" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_a_clone_one_line_says_what_is_needed(run, tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "hybridfit" / "cli"
    monkeypatch.setattr(benchmark, "__file__", str(package / "benchmark.py"))
    for option in ([], ["--list"]):
        ran = run("benchmark", *option)
        assert ran.code == 2
        assert "clone the repository" in ran.err and len(ran.err.splitlines()) == 1


def test_a_folder_that_cannot_be_made_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    ran = run("benchmark", "scan_formats", "-o", tmp_path / "file" / "out")
    assert ran.code == 2 and "choose another" in ran.err


def benchmark_process(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hybridfit", "benchmark", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_study_leaves_json_figure_and_table(tmp_path):
    process = benchmark_process("scan_formats", "--quick", "-o", tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "[1/1] scan_formats: Scans in every format" in out and "done in" in out
    found = json.loads((tmp_path / "scan_formats.json").read_text())
    assert found["quick"] is True
    assert found["facts"]["cores"] >= 1 and found["facts"]["processor"]
    assert (tmp_path / "scan_formats.png").stat().st_size > 1000
    results = (tmp_path / "RESULTS.md").read_text()
    assert "## scan_formats (quick)" in results
    assert all(row["what"].strip() in results for row in found["rows"])


@pytest.fixture
def pretended(tmp_path):
    """Start the command in a clone with four studies: good, broken, killed, waiting."""
    root = tmp_path / "clone"
    folder = root / "benchmarks"
    folder.mkdir(parents=True)
    real = studies.HERE
    claims = ("claims", "untuned_claims", "unseen_claims")
    for name in ("__init__", "__main__", *claims, "common", "machine", "results", "rows"):
        (folder / f"{name}.py").write_bytes((real / f"{name}.py").read_bytes())
    text = (real / "studies.py").read_text()
    start, end = text.index("ORDER = ("), text.index(")\n", text.index("ORDER = ("))
    order = 'ORDER = ("broken", "killed", "waiting", "good"'
    (folder / "studies.py").write_text(text[:start] + order + text[end:])
    (folder / "README.md").write_text("")
    (folder / "good.py").write_text(
        '"""Good."""\nfrom benchmarks.common import Study\n\n'
        "def main(arguments=None):\n"
        "    study = Study('good')\n    study.add('a bar', 2, 'm', at_most=1)\n"
        "    study.note(str(list(arguments)))\n"
        "    return 0 if study.finish() else 1\n"
    )
    (folder / "broken.py").write_text(
        '"""Broken."""\ndef main(arguments=None):\n    raise ValueError("no way")\n'
    )
    (folder / "killed.py").write_text(
        '"""Killed."""\nimport os\ndef main(arguments=None):\n    os.kill(os.getpid(), 9)\n'
    )
    (folder / "waiting.py").write_text(
        '"""Waits."""\nimport subprocess, sys, time\ndef main(arguments=None):\n'
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    print('child', child.pid, flush=True)\n    time.sleep(60)\n"
    )
    script = root / "run.py"
    script.write_text(
        "import sys\nfrom hybridfit.cli import benchmark, main\n"
        f"benchmark.__file__ = {str(root / 'hybridfit' / 'cli' / 'benchmark.py')!r}\n"
        "sys.exit(main(['benchmark', *sys.argv[1:]]))\n"
    )

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_a_study_that_crashes_does_not_stop_the_others_and_is_named(pretended, tmp_path):
    process = pretended("broken", "killed", "good", "--quick", "-o", tmp_path / "out")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "failed: broken, killed" in out and "bars were missed in: good" in out
    assert "no way" in err
    results = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "## broken\n" in results and "ValueError: no way" in results
    assert "exit code -9" in results
    assert "| a bar | 2 m | 1 m | **missed** |" in results and "['--quick']" in results


def test_a_study_that_was_not_run_keeps_its_section(pretended, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "RESULTS.md").write_text("# Results\n\n## waiting\n\n| kept | 1 |\n")
    process = pretended("good", "-o", tmp_path / "out")
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0, out
    results = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "| kept | 1 |" in results and "## good\n" in results


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_an_interrupt_stops_the_study_and_what_it_started(pretended, tmp_path):
    process = pretended("waiting", "good", "-o", tmp_path / "out")
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("child"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err and "good" not in out
    child = int(line.split()[1])
    for _ in range(100):
        if not _alive(child):
            return
        time.sleep(0.1)
    raise AssertionError("a process of the study is still there")


def _alive(pid: int) -> bool:
    try:
        state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
