"""The command `train`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hybridfit.cli import main


@pytest.mark.parametrize(
    "options, message",
    [
        (["-o", "x.pt"], "ends in .safetensors"),
        (["-o", "x.safetensors", "--minutes", "1", "--samples", "5"], "give one of them"),
        (["-o", "x.safetensors", "--samples", "0"], "positive number"),
        (["-o", "x.safetensors", "--samples", "5", "--semi-angles", "12"], "no range"),
        (["-o", "x.safetensors", "--samples", "5", "--semi-angles", "12,30"], "cannot be trained"),
        (["-o", "x.safetensors", "--samples", "5", "--resume", "none.checkpoint"], "there is no checkpoint"),
        (["-o", "x.safetensors", "--samples", "5", "--device", "abacus"], "cannot be used"),
        (["-o", "nowhere/x.safetensors"], "does not exist"),
        ([], "--output"),
    ],
)
def test_bad_options_get_one_line(
    options, message, small_library, small_recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(small_recipe), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_checked_before_a_library_is_built(small_recipe, tmp_path, monkeypatch, capsys):
    from hybridfit.library.library import Library

    monkeypatch.setattr(Library, "open", lambda *_, **__: pytest.fail("the library was opened"))
    path = tmp_path / "net.checkpoint"
    for damage in (b"", b"PK\x03\x04 an older one", b"\x02" + bytes(7) + b"{}"):
        path.write_bytes(damage)
        output = str(tmp_path / "x.safetensors")
        assert main(["train", str(small_recipe), "--samples", "5", "-o", output, "--resume", str(path)]) == 2
        error = capsys.readouterr().err
        assert str(path) in error and "start anew" in error and error.count("\n") == 1


def test_weights_and_their_figure_are_written(small_library, small_recipe, tmp_path, monkeypatch, capsys):
    from hybridfit.network import training

    monkeypatch.setattr(training, "HELD_BACK", 16)
    monkeypatch.setattr(training, "CALIBRATION", 16)
    output = tmp_path / "net.safetensors"
    assert main(["train", str(small_recipe), "--samples", "130", "--seed", "3", "-o", str(output)]) == 0
    written = capsys.readouterr()
    assert "within 3 nm" in written.out and "100.0 %" in written.err
    assert output.stat().st_size < 20e6
    assert output.with_suffix(".png").stat().st_size > 1000
    assert output.with_suffix(".checkpoint").exists()


def test_the_command_line_starts_without_torch():
    code = "import sys, hybridfit.cli; print('torch' in sys.modules or 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
