"""From a frame to its answer in a browser: files, options, mask, progress, and what is shown."""

from __future__ import annotations

import base64
import io

import matplotlib.image
import numpy as np
import pytest


def choose(page, *files, angle: str = "13.6") -> None:
    page.locator("#view-fit input[type=file][multiple]").set_input_files([str(f) for f in files])
    if angle:
        page.locator("#view-fit").get_by_label("Convergence semi-angle").fill(angle)


def press_fit(page) -> None:
    page.locator("#view-fit form").get_by_role("button", name="Fit", exact=False).click()


def test_a_dropped_frame_becomes_a_status_numbers_and_pictures(fake, open_page, frame, pixels):
    fake.pace = 0.5
    page = open_page(f"http://127.0.0.1:{fake.port}")
    page.locator("#view-fit").get_by_label("Convergence semi-angle").fill("13.6")
    transfer = page.evaluate_handle(
        """([name, text]) => { const d = new DataTransfer();
        d.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name)); return d; }""",
        [frame.name, base64.b64encode(frame.read_bytes()).decode()],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.locator(".preview canvas").wait_for()
    press_fit(page)
    page.locator(".running").get_by_role("progressbar").wait_for()
    status = page.locator(".result .status")
    status.wait_for()
    assert status.inner_text().split("\n\n")[:2] == [
        "Converged",
        "Look at the residual, then use the numbers.",
    ]
    assert "42.295 ± 0.041 nm" in page.locator(".numbers").inner_text().replace("\n", " ")
    canvases = page.locator(".trio canvas.panel-canvas")
    assert canvases.count() == 3
    page.wait_for_timeout(200)
    for k in range(3):
        assert np.ptp(pixels(canvases.nth(k))[..., :3].astype(int), axis=(0, 1)).max() > 150
    assert page.locator(".chart svg.graph").count() == 2
    assert fake.received[0]["options"] == {
        "library": "SrTiO3_001_200kV", "semi_angle": 13.6, "method": "hybrid", "background": "radial",
        "origin": "page", "session": True,
    }  # fmt: skip
    assert page.locator(".downloads a").count() == 6


def test_values_and_angle_are_told_under_the_pointer_and_by_keys(fake, open_page):
    fit = next(f for f in fake.fits.values() if f["kind"] == "good")
    page = open_page(f"http://127.0.0.1:{fake.port}", f"/#/fit/{fit['id']}")
    first = page.locator(".trio canvas.panel-canvas").first
    first.wait_for()
    box = first.bounding_box()
    centre = [(v + 0.5) / 255 for v in (127.5, 127.5)]
    first.hover(
        position={"x": box["width"] * (centre[0] + 13.6 * 5.926 / 255), "y": box["height"] * centre[1]}
    )
    words = page.locator(".result .readout").inner_text()
    assert "13." in words.split("mrad")[0] and "experiment" in words and "residual" in words
    page.mouse.move(0, 0)
    first.focus()
    page.keyboard.press("ArrowRight")
    before = page.locator(".result .readout").inner_text()
    page.keyboard.press("ArrowDown")
    assert page.locator(".result .readout").inner_text() != before
    page.keyboard.press("+")
    page.keyboard.press("0")


def test_a_bad_file_is_told_in_words(fake, open_page, tmp_path):
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"this is no array")
    page = open_page(f"http://127.0.0.1:{fake.port}")
    page.watched.allowed.append("400")
    choose(page, bad)
    alert = page.locator(".frames [role=alert]")
    alert.wait_for()
    assert "bad.npy cannot be used" in alert.inner_text() and "numpy.save" in alert.inner_text()
    press_fit(page)
    page.locator("form > .notice.bad:visible").wait_for()
    assert page.locator(".result").count() == 0


def test_what_is_missing_is_asked_for_where_it_belongs(fake, open_page, frame):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    page.locator("#view-fit select").first.wait_for()
    press_fit(page)
    assert "Choose a frame first" in page.locator("#view-fit form > .notice.bad").inner_text()
    choose(page, frame, angle="25")
    press_fit(page)
    assert "20.0 mrad" in page.locator("#view-fit form > .notice.bad").inner_text()
    focused = page.evaluate("document.activeElement.labels[0].textContent")
    assert focused == "Convergence semi-angle" and not fake.received


@pytest.mark.parametrize("rows, cols", [(96, 80), (1701, 1300)])
def test_a_mask_is_drawn_and_sent_in_the_size_of_the_frame(fake, open_page, tmp_path, rows, cols):
    frame = tmp_path / "frame.npy"
    np.save(frame, np.ones((rows, cols), "u1"))
    page = open_page(f"http://127.0.0.1:{fake.port}")
    choose(page, frame)
    page.locator(".preview canvas").wait_for()
    page.locator("#view-fit summary", has_text="More options").click()
    page.get_by_role("button", name="Draw a mask").click()
    page.locator("dialog .segment", has_text="Rectangle").click()
    box = page.locator("dialog canvas").bounding_box()
    at = lambda x, y: (box["x"] + box["width"] * x, box["y"] + box["height"] * y)  # noqa: E731
    page.mouse.move(*at(0.5, 0.001))
    page.mouse.down()
    page.mouse.move(*at(0.9999, 0.4999), steps=4)
    page.mouse.up()
    page.locator("dialog .segment", has_text="Erase").click()
    page.mouse.click(*at(0.75, 0.25))
    page.locator("dialog canvas").focus()
    page.get_by_role("button", name="Done").click()
    press_fit(page)
    page.locator(".result").wait_for()
    mask = matplotlib.image.imread(io.BytesIO(fake.received[0]["mask"]))[..., 0]
    assert mask.shape == (rows, cols)
    assert (
        mask[: rows // 2, cols // 2 + 3 :].mean() > 0.9 and mask[rows // 4, 3 * cols // 4] == 0
    )  # erased in the middle
    assert mask[rows // 2 + 3 :].sum() == 0 and mask[:, : cols // 2 - 3].sum() == 0


def test_options_travel_as_the_interface_wants_them(fake, open_page, frame):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    choose(page, frame)
    page.locator("#view-fit summary", has_text="More options").click()
    for name in ("Hints", "Parameters", "How well"):
        page.locator("#view-fit summary", has_text=name).click()
    form = page.locator("#view-fit form")
    form.get_by_label("Method").select_option("lsf")
    form.get_by_label("the camera mirrors").check()
    form.get_by_label("Thickness", exact=True).fill("40,5")
    form.get_by_label("Tilt x, y").fill("1")
    form.get_by_label("tilt y", exact=True).fill("-0.5")
    form.get_by_label("blur: fit or hold").select_option("hold")
    form.get_by_label("blur: held at").fill("0.3")
    form.get_by_label("rotation: fit or hold").select_option("hold")
    form.get_by_label("semi angle: fit or hold").select_option("fit")
    form.get_by_label("scale: at least").fill("5.2")
    form.locator(".group").get_by_label("Energy", exact=True).fill("0.1")
    press_fit(page)
    assert "scale: give both bounds" in page.locator("#view-fit form > .notice.bad").inner_text()
    form.get_by_label("scale: at most").fill("5.6")
    press_fit(page)
    page.locator(".result").wait_for()
    options = fake.received[0]["options"]
    assert options["hints"] == {"thickness": 40.5, "tilt": [1, -0.5]}
    assert options["fix"] == {"blur": 0.3, "rotation": None} and options["free"] == ["semi_angle"]
    assert options["bounds"] == {"scale": [5.2, 5.6]} and options["sigma"] == {"energy": 0.001}
    assert options["method"] == "lsf" and options["flip"] is True and options["session"] is True


def test_several_files_are_fitted_one_after_the_other_and_each_can_be_seen(fake, open_page, frame, tmp_path):
    other = tmp_path / "other.npy"
    other.write_bytes(frame.read_bytes())
    page = open_page(f"http://127.0.0.1:{fake.port}")
    choose(page, frame, other)
    page.get_by_role("button", name="Fit 2 files").click()
    page.locator(".job", has_text="Poor match").click()
    page.locator(".result .status.bad").wait_for()
    assert "Do not use the numbers yet" in page.locator(".result .status").inner_text()
    page.get_by_role("button", name="Start here").first.click()  # fits this file again, from that minimum
    while len(fake.received) < 3:
        page.wait_for_timeout(20)
    page.locator(".result").wait_for()
    assert fake.received[-1]["name"] == "other.npy" and "thickness" in fake.received[-1]["options"]["hints"]


def test_names_and_notes_are_text_whatever_they_say(fake, open_page, frame, tmp_path):
    name = "<img src=x onerror=alert(1)>.npy"
    hostile = tmp_path / name
    hostile.write_bytes(frame.read_bytes())
    fake.new_fit(name, "good")["note"] = "<script>alert(2)</script>"
    page = open_page(f"http://127.0.0.1:{fake.port}")
    choose(page, hostile)
    press_fit(page)
    page.locator(".result").wait_for()
    assert page.locator(".result .about .file").inner_text() == name
    page.get_by_role("link", name="Session").click()
    row = page.locator(".session tbody tr", has_text=name).last
    assert row.locator("input").input_value() == "<script>alert(2)</script>"
    assert page.locator("main img, tbody script").count() == 0


def test_from_the_page_to_the_answer_by_keys_alone(fake, open_page, frame):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    page.locator("#view-fit optgroup option").first.wait_for(state="attached")

    def until(words: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            found = page.evaluate(
                "(e => `${e.tagName} ${e.labels?.[0]?.textContent ?? e.textContent}`)(document.activeElement)"
            )
            if words in found:
                outline = page.evaluate(
                    "getComputedStyle(document.activeElement.className === 'hidden-input' ?"
                    " document.activeElement.nextSibling : document.activeElement).outlineStyle"
                )
                assert outline != "none", f"the focus on {words} is not seen"
                return
        raise AssertionError(f"{words} is not reached")

    until("Drop frames here")
    # the window that chooses files is the system's: that it is asked for is enough
    page.evaluate(
        "document.activeElement.addEventListener('click', e => { e.preventDefault(); window.asked = 1; })"
    )
    page.keyboard.press("Enter")
    assert page.evaluate("window.asked") == 1
    page.locator("#view-fit input[type=file][multiple]").set_input_files(str(frame))
    until("Convergence semi-angle")
    page.keyboard.type("13.6")
    page.keyboard.press("Enter")
    page.locator(".result .status").wait_for()


def test_a_library_is_built_from_the_page_with_progress(fake, open_page):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    crystal = page.locator("#view-fit").get_by_label("Crystal")
    crystal.select_option("GaAs_110_200kV")
    page.get_by_role("button", name="Build it now").click()
    page.locator("#view-fit .library-about .progress", has_text="Bloch waves").wait_for()
    page.locator("#view-fit optgroup[label=Ready] option").nth(2).wait_for(state="attached")
    assert crystal.input_value() == "GaAs_110_200kV"


def test_a_fit_can_be_stopped(fake, open_page, frame):
    fake.pace = 5
    page = open_page(f"http://127.0.0.1:{fake.port}")
    choose(page, frame)
    press_fit(page)
    page.get_by_role("button", name="Stop").click()
    page.locator(".answer .notice", has_text="stopped").wait_for()


def test_a_lost_connection_is_told_and_found_again(fake, open_page, frame):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    page.watched.allowed.append("ERR_|Failed to load")
    page.locator("#connection", has_text="ready").wait_for()
    fake.stop()
    choose(page, frame)  # asks for a preview
    page.locator("#banner", has_text="hybridfit serve").wait_for()
    assert "no connection" in page.locator("#connection").inner_text()
    fake.start()
    page.locator("#banner").wait_for(state="hidden")
    press_fit(page)
    page.locator(".result").wait_for()
