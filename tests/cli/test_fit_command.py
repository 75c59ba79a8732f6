"""`hybridfit fit`: what it prints and what it writes."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import xarray as xr

from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.result import FitResult, Status

OLD_JSON, OLD_PNG = b"[1]", b"\x89PNG\r\n\x1a\nold"  # older results, which may be replaced


def test_fit_writes_the_json_of_the_contract_and_a_picture(run, frame, options, simulated, tmp_path):
    out, picture = tmp_path / "out.json", tmp_path / "fit.png"
    ran = run("fit", frame, *options, "--json", out, "--plot", picture)
    assert (ran.code, ran.err) == (0, "")
    assert f"{frame}: The fit converged." in ran.out
    assert ran.out.splitlines()[-1] == f"Written: {picture}, {out}"
    assert picture.read_bytes().startswith(b"\x89PNG")

    (answer,) = json.loads(out.read_text())
    truth = simulated[1]
    measured = {
        "thickness_nm": "thickness",
        "tilt_x_mrad": "tilt_x",
        "tilt_y_mrad": "tilt_y",
        "centre_x_px": "centre_x",
        "centre_y_px": "centre_y",
        "scale_px_per_mrad": "scale",
        "rotation_deg": "rotation",
        "blur_mrad": "blur",
    }
    for key, name in measured.items():
        value = answer[key]
        assert abs(value["value"] - truth[name]) < 5 * value["stderr"], key
        low, high = value["interval95"]
        assert low < value["value"] < high
    assert answer["semi_angle_mrad"] == {"value": 12.0, "stderr": None, "interval95": None}
    assert (answer["file"], answer["method"], answer["status"]) == (str(frame), "hybrid", "converged")
    assert answer["message"].startswith("The fit converged.")
    assert answer["structure"] == {}
    assert answer["intensity_factor"] > 0 and len(answer["background"]) == 3
    assert 0 < answer["residual_fraction"] < 0.02 and 0.8 < answer["reduced_chi2"] < 1.3
    assert set(answer["seconds"]) == {"seed", "search", "refine", "total"}
    assert answer["candidates"]
    for candidate in answer["candidates"]:
        assert set(candidate) == {"thickness_nm", "tilt_x_mrad", "tilt_y_mrad", "probability", "chi2"}


def test_several_patterns_are_numbered(run, frame, options, hints, simulated, tmp_path):
    stack = tmp_path / "stack.npy"
    np.save(stack, np.stack([simulated[0], simulated[0][::-1]]))
    out = tmp_path / "out.json"
    ran = run("fit", frame, stack, *options, *hints, "--json", out, "--plot", tmp_path / "fit.svg")
    assert (ran.code, ran.err) == (0, "")
    assert [o["file"] for o in json.loads(out.read_text())] == [str(frame), f"{stack}[0]", f"{stack}[1]"]
    assert sorted(p.name for p in tmp_path.glob("*.svg")) == ["fit-1.svg", "fit-2.svg", "fit-3.svg"]


def test_fix_free_mask_and_quiet(run, frame, options, hints, tmp_path):
    mask = np.zeros((96, 96), bool)
    mask[:, 60:62] = True
    np.save(tmp_path / "mask.npy", mask)
    out = tmp_path / "out.json"
    changes = ["--fix", "blur=0.25", "--fix", "rotation", "--free", "semi_angle", "--hint-rotation", "17"]
    more = ["--mask", tmp_path / "mask.npy", "--background", "uniform", "--quiet"]
    ran = run("fit", frame, *options, *hints, *changes, *more, "--json", out)
    assert ran == (0, "", "")
    (answer,) = json.loads(out.read_text())
    assert answer["blur_mrad"] == {"value": 0.25, "stderr": None, "interval95": None}
    assert answer["rotation_deg"]["stderr"] is None
    assert answer["semi_angle_mrad"]["stderr"] > 0
    assert len(answer["background"]) == 1


def test_what_the_mask_leaves_out_may_be_nan(run, options, hints, simulated, tmp_path):
    image, mask = simulated[0].astype(float), np.zeros((96, 96), np.uint8)
    image[30:33], mask[30:33] = np.nan, 255
    np.save(tmp_path / "frame.npy", image)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    ran = run("fit", tmp_path / "frame.npy", *options, *hints, "--mask", tmp_path / "mask.tif")
    assert (ran.code, ran.err) == (0, "")


def test_raw_frames_and_datasets(run, options, hints, simulated, tmp_path):
    raw, nc = tmp_path / "frame.raw", tmp_path / "frame.nc"
    raw.write_bytes(b"header" + simulated[0].astype(">u2").tobytes())
    rows = ("row", "col")
    xr.Dataset({"one": (rows, simulated[0]), "other": (rows, simulated[0][::-1])}).to_netcdf(nc)
    shape = ["--shape", "96,96", "--dtype", ">u2", "--offset", "6"]
    assert run("fit", raw, *options, *hints, *shape).code == 0
    assert run("fit", nc, *options, *hints, "--dataset", "one").code == 0


def test_an_answer_with_a_warning_exits_0_and_a_failed_fit_1(
    run, frame, options, hints, tmp_path, monkeypatch
):
    original = Fitter.fit
    for status, code in ((Status.poor_match, 0), (Status.failed, 1)):

        def fit(self, image, status=status):
            return replace(original(self, image), status=status, detail="so it is")

        monkeypatch.setattr(Fitter, "fit", fit)
        out = tmp_path / f"{code}.json"
        ran = run("fit", frame, *options, *hints, "--json", out)
        assert (ran.code, ran.err) == (code, "")
        assert "(so it is)" in ran.out
        assert json.loads(out.read_text())[0]["status"] == status.name


def test_an_interrupt_ends_a_fit_and_the_threads_that_work_for_it(run, frame, options, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    out.write_bytes(OLD_JSON)

    def interrupted(self, image):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):  # as in a thread that reports its progress
                self.progress("search", 0.5)
            raise

    monkeypatch.setattr(Fitter, "fit", interrupted)
    ran = run("fit", frame, *options, "--json", out)
    assert ran == (130, "", "hybridfit: interrupted; nothing was written\n")
    assert out.read_bytes() == OLD_JSON
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failure_while_writing_leaves_every_old_file(run, frame, options, hints, tmp_path, monkeypatch):
    out, picture = tmp_path / "out.json", tmp_path / "fit.png"
    out.write_bytes(OLD_JSON)
    picture.write_bytes(OLD_PNG)

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FitResult, "to_json", full)
    ran = run("fit", frame, *options, *hints, "--json", out, "--plot", picture)
    assert ran.code == 2 and "No space left" in ran.err and ran.err.count("\n") == 1
    assert (out.read_bytes(), picture.read_bytes()) == (OLD_JSON, OLD_PNG)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.png", "out.json"]


def test_a_mirrored_frame_is_fitted_with_flip(run, options, simulated, tmp_path):
    mirrored, out = tmp_path / "mirrored.npy", tmp_path / "out.json"
    np.save(mirrored, simulated[0][::-1])
    hints = ["--hint-thickness", simulated[1]["thickness"], "--hint-rotation", -simulated[1]["rotation"]]
    assert run("fit", mirrored, *options, *hints, "--flip", "--json", out).code == 0
    (answer,) = json.loads(out.read_text())
    assert answer["flipped"] is True and answer["status"] == "converged"
    assert answer["tilt_y_mrad"]["value"] == pytest.approx(simulated[1]["tilt_y"], abs=0.1)
    assert answer["rotation_deg"]["value"] == pytest.approx(-simulated[1]["rotation"], abs=0.3)


def test_bad_frames_among_good_ones_do_not_stop_them(run, frame, options, hints, simulated, tmp_path):
    """The others get their answers, the bad ones an entry that says why; the exit code is 1."""
    image = simulated[0]
    np.save(tmp_path / "stack.npy", np.stack([image, np.zeros_like(image), image]))
    (tmp_path / "broken.tif").write_bytes(frame.read_bytes()[:500])
    out, plot = tmp_path / "out.json", tmp_path / "fit.png"
    ran = run(
        "fit",
        tmp_path / "stack.npy",
        tmp_path / "broken.tif",
        *options,
        *hints,
        "--json",
        out,
        "--plot",
        plot,
    )
    assert ran.code == 1 and ran.err.count("\n") == 2, ran.err
    entries = json.loads(out.read_text())
    assert [entry["status"] for entry in entries] == ["converged", "unusable", "converged", "unreadable"]
    assert entries[0]["thickness_nm"]["value"] == entries[2]["thickness_nm"]["value"]
    assert entries[1]["file"].endswith("stack.npy[1]") and "broken.tif" in entries[3]["message"]
    assert all(entry["message"] in ran.err for entry in entries[1::2])
    assert sorted(path.name for path in tmp_path.glob("fit-*.png")) == ["fit-1.png", "fit-3.png"]


def test_one_bad_frame_alone_is_refused(run, options, hints, tmp_path):
    np.save(tmp_path / "blank.npy", np.zeros((96, 96)))
    out = tmp_path / "out.json"
    ran = run("fit", tmp_path / "blank.npy", *options, *hints, "--json", out)
    assert ran.code == 2 and ran.err.count("\n") == 1 and not out.exists()


def test_bounds_are_given_by_name(run, frame, options, hints, tmp_path):
    out = tmp_path / "out.json"
    ran = run("fit", frame, *options, *hints, "--bound", "blur=0,0.1", "--json", out)
    assert ran.code == 0
    entry = json.loads(out.read_text())[0]
    assert entry["status"] == "at_bound" and entry["blur_mrad"]["value"] <= 0.1
    for text, said in (("blur", "has no values"), ("blur=1", "1 parts"), ("colour=0,1", "unknown parameter")):
        ran = run("fit", frame, *options, *hints, "--bound", text)
        assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
