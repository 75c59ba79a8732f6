"""Which crystal a frame shows, asked and answered on the page."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def form(fake, open_page, frame):
    """The form of the page, with a frame and a semi-angle."""
    page = open_page(f"http://127.0.0.1:{fake.port}")
    page.locator("#view-fit input[type=file][multiple]").set_input_files(str(frame))
    page.locator(".preview canvas").wait_for()
    form = page.locator("#view-fit form")
    form.get_by_label("Convergence semi-angle").fill("13.6")
    return form


def ask(form) -> None:
    form.get_by_role("button", name="Which crystal is it?").click()


def test_libraries_are_ranked_and_one_is_taken(fake, form):
    form.get_by_label("Crystal").select_option("SrTiO3_001_200kV")
    ask(form)
    rows = form.locator(".odds li")
    rows.first.wait_for()
    words = [" ".join(row.inner_text().split()) for row in rows.all()]
    assert words == [
        "Si [110] 200 kV 42.3 nm, leaves 2.0 %, mirrored 89.6 %",
        "SrTiO3 [001] 200 kV 42.3 nm, leaves 2.0 % 10.0 %",
        "None of these 0.40 %",
    ]
    said = form.locator(".odds").inner_text()
    assert "The frame shows Si [110] 200 kV (89.6 %)." in said and "--flip" not in said
    assert "Not compared: GaAs_110_200kV (it reaches 10 mrad)." in said
    (asked,) = fake.received
    assert asked["options"] == {"semi_angle": 13.6, "first": True, "background": "radial", "hints": {}}
    form.get_by_role("button", name="Take Si [110] 200 kV").click()
    assert form.get_by_label("Crystal").input_value() == "Si_110_200kV"
    form.get_by_role("button", name="Fit", exact=True).click()
    form.page.locator(".result").wait_for()
    fitted = fake.received[-1]["options"]
    assert fitted["library"] == "Si_110_200kV" and fitted["flip"] is True


def test_progress_is_shown_and_another_frame_clears_the_answer(fake, form, frame, tmp_path):
    fake.pace = 1.0
    ask(form)
    form.locator(".odds").get_by_role("progressbar").wait_for()
    form.locator(".odds li").first.wait_for()
    other = tmp_path / "other.npy"
    shutil.copy(frame, other)
    form.page.locator("#view-fit input[type=file][multiple]").set_input_files(str(other))
    form.locator(".odds").wait_for(state="hidden")
    ask(form)
    form.locator(".odds li").first.wait_for()
    assert "none of the 2 libraries" in form.locator(".odds").inner_text()


def test_what_is_missing_is_asked_for(fake, open_page, frame):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    form = page.locator("#view-fit form")
    form.locator("optgroup option").first.wait_for(state="attached")
    ask(form)
    assert "Choose a frame first" in form.locator("> .notice.bad").inner_text()
    page.locator("#view-fit input[type=file][multiple]").set_input_files(str(frame))
    form.get_by_label("Convergence semi-angle").fill("")
    ask(form)
    assert "Give the convergence semi-angle" in form.locator("> .notice.bad").inner_text()
    assert not fake.received
