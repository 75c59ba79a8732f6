"""Settings that are mixed up are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridfit import Fitter, Hints, make_frame, simulate_frame
from hybridfit.errors import InputError, LibraryError
from hybridfit.fitting.judge.mistakes import contradictions, likely_mistake
from hybridfit.physics.scattering import wavelength

PX_PER_MRAD = 2.6


@pytest.fixture(scope="module")
def frame(small_library):
    image, _ = simulate_frame(
        small_library, thickness=31.0, tilt=(0.4, -0.3), semi_angle=9.0, shape=(96, 96), scale=PX_PER_MRAD
    )
    return make_frame(image)


def test_what_a_file_says_otherwise() -> None:
    right = {"energy_kv": 200.0, "semi_angle_mrad": 13.6, "mrad_per_px": 0.2}
    assert contradictions(right, 200.0, 13.6, 5.0) == ()
    assert contradictions(right, 200.3, 13.9, 4.7) == () == contradictions({}, 200.0, 13.6, 5.0)
    assert contradictions(right, 300.0, 13.6) == ("The file says 200 kV, and the library is of 300 kV.",)
    assert contradictions(right, 200.0, 12.0) == (
        "The file says a semi-angle of 13.6 mrad, and 12 was given.",
    )
    assert "which is the full angle of 13.6" in contradictions(right, 200.0, 27.2)[0]
    assert contradictions(right, 200.0, 13.6, 4.3) == (
        "The file says 0.2 mrad/px, and the fit finds 0.2326.",
    )
    plain = contradictions({"mrad_per_px": 0.2}, 200.0, 27.2, 2.5)
    assert plain == ("The file says 0.2 mrad/px, and the fit finds 0.4.",)
    assert contradictions({"mrad_per_px": 0.2}, 200.0, 27.2, 2.5, poor=True) == (
        "The disc is 27.2 mrad across by the file's calibration (0.2 mrad/px): did you mean --semi-angle "
        "13.6?",
    )


def test_an_answer_says_it(small_library, frame) -> None:
    energy = float(small_library.dataset.attrs["energy_kv"])
    hints = Hints(thickness=31.0, tilt=(0.4, -0.3), scale=PX_PER_MRAD, rotation=0.0)
    fitter = Fitter(small_library, 9.0, hints=hints)
    told = replace(frame, calibration={"energy_kv": energy, "mrad_per_px": 1 / PX_PER_MRAD})
    assert "file" not in fitter.fit(told).message
    told = replace(frame, calibration={"energy_kv": energy + 100, "mrad_per_px": 1.15 / PX_PER_MRAD})
    result = fitter.fit(told)
    message = result.message
    assert "The fit converged." in message and f"The file says {energy + 100:g} kV" in message
    found = 1 / result["scale"].value
    assert f"mrad/px, and the fit finds {found:.4g}" in message
    assert found == pytest.approx(1 / PX_PER_MRAD, rel=1e-3)


def test_units_of_the_scale(frame) -> None:
    """mrad/px, px per 1/Å and 1/Å per px, at 200 kV."""

    def said(scale: float, **calibration: float) -> str:
        return likely_mistake(replace(frame, calibration=calibration), Hints(scale=scale), 9.0, 200.0)

    assert said(PX_PER_MRAD) == ""
    assert "did you mean 2.6, which is 0.384615 mrad/px?" in said(1 / PX_PER_MRAD)
    assert "px per 1/Å?" in said(PX_PER_MRAD * 25.0793)
    assert "1/Å per px?" in said(1 / (PX_PER_MRAD * 25.0793))
    assert "did you mean --semi-angle" in said(PX_PER_MRAD, mrad_per_px=1.0)
    angle = likely_mistake(frame, Hints(), 0.5423, 200.0)
    assert angle == "the semi-angle is in mrad: did you mean 13.6, which is 0.5423 1/Å?"


def test_a_refusal_names_the_mistake(small_library, frame) -> None:
    energy = float(small_library.dataset.attrs["energy_kv"])
    fitter = Fitter(small_library, 9.0, hints=Hints(scale=PX_PER_MRAD * 1e3 * wavelength(energy)))
    with pytest.raises(InputError, match="scale is in px/mrad: did you mean"):
        fitter.fit(frame)
    with pytest.raises(LibraryError, match="or give 9 if this is the full angle"):
        Fitter(small_library, 18.0)
