"""Maps in a browser: choosing a scan, growth, status, positions, stop and resume."""

from __future__ import annotations

import pytest

VALUES, STATUS = (
    ".map-panels .panel:nth-child(1) canvas.panel-canvas",
    ".map-panels .panel:nth-child(2) canvas",
)


@pytest.fixture
def page(fake, open_page):
    """A map that has just been started, and takes long unless `fake.pace` is made shorter."""
    fake.pace = 1.0
    page = open_page(f"http://127.0.0.1:{fake.port}", "/#/maps")
    page.locator(".browser .row", has_text="scan_9.nc").click()
    form = page.locator("#view-maps form")
    form.get_by_label("Convergence semi-angle").fill("13.6")
    form.get_by_role("button", name="Make the map").click()
    page.locator(VALUES).wait_for()
    return page


def shown(pixels, page) -> float:
    """Share of the map that has a colour."""
    return float((pixels(page.locator(VALUES))[..., 3] > 0).mean())


def test_a_map_grows_and_its_colours_are_those_of_its_values(fake, page, pixels):
    fake.pace = 0.25
    page.locator("#view-maps .title", has_text="of 768 positions").wait_for()
    found = [shown(pixels, page)]
    while page.locator(".map .progress").is_visible() and len(found) < 60:
        page.wait_for_timeout(150)
        found.append(shown(pixels, page))
    page.wait_for_timeout(300)
    assert len(set(found)) > 2 and found == sorted(found)
    image = pixels(page.locator(VALUES)).astype(int)
    low, high = image[10, 10, :3], image[-10, -10, :3]
    assert low[1] < 60 and high[1] > 180  # viridis: dark where it is thin, light where it is thick
    hole = image[int(0.3 * len(image)), int(0.75 * image.shape[1])]
    assert hole[3] == 0  # nothing known there
    legend = page.locator(".status-legend").inner_text()
    assert "Converged" in legend and "Unusable" in legend and "Not done" not in legend


def test_a_map_is_stopped_and_goes_on(fake, page):
    page.locator(".map").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Resume").wait_for()
    done = fake.maps["m1"]["done"]
    assert done < 768 and fake.jobs["j1"]["state"] == "stopped"
    assert "it goes on where it was" in page.locator(".map .title").inner_text()
    fake.pace = 0.01
    page.get_by_role("button", name="Resume").click()
    page.locator(".map .title", has_text="768 of 768").wait_for()
    assert page.get_by_role("button", name="Resume").count() == 0


def test_a_position_is_opened_by_a_click_and_by_keys(fake, page):
    fake.pace = 0.05
    canvas = page.locator(VALUES)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 3.5 / 32, "y": box["height"] * 5.5 / 24})
    page.locator(".map-fit .result .status").wait_for()
    assert "row 5, column 3" in page.locator(".map-fit").inner_text()
    fit = next(f for f in fake.fits.values() if f["origin"] == "map")
    assert (fit["y"], fit["x"]) == (5, 3)
    page.locator(".map .title", has_text="768 of 768").wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator(".map-fit h3", has_text="row 5, column 4").wait_for()
    assert page.url.endswith("/5,4")


def test_a_position_is_followed_beyond_the_end_of_its_map(fake, page):
    page.locator(VALUES).click(position={"x": 20, "y": 20})  # takes a second
    page.locator(".map-fit .progress").wait_for()
    fake.pace = 0.01
    page.locator(".map .title", has_text="768 of 768").wait_for()
    page.locator(".map-fit .result .status").wait_for()


def test_the_variable_is_chosen_and_its_value_is_told(fake, page):
    fake.pace = 0.01
    page.locator(".map .title", has_text="768 of 768").wait_for()
    page.get_by_label("Variable", exact=True).select_option("tilt_x")
    page.locator(".map .bar-ends", has_text="mrad").wait_for()
    ends = page.locator(".map .bar-ends span").all_inner_texts()
    assert ends[1] == "0 mrad" and ends[0].strip("≤ −") == ends[2].strip("≥ ")  # about zero
    canvas = page.locator(VALUES)
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] * 31.5 / 32, "y": box["height"] * 20.5 / 24})
    assert "4.000 mrad" in page.locator(".map .readout").inner_text()


def test_folders_are_opened_and_what_cannot_be_read_is_not_offered(fake, open_page):
    page = open_page(f"http://127.0.0.1:{fake.port}", "/#/maps")
    page.locator(".browser .row", has_text="monday").click()
    page.locator(".crumbs button", has_text="monday").wait_for()
    assert page.locator(".browser .row", has_text="scan_10.nc").is_disabled()
    page.locator("#view-maps form").get_by_role("button", name="Make the map").click()
    assert "Choose a scan" in page.locator("#view-maps form > .notice.bad").inner_text()


def test_a_map_is_there_again_after_a_restart(fake, page):
    page.watched.allowed.append("ERR_|Failed to load")
    page.locator(".map").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Resume").wait_for()
    fake.stop()
    page.locator("#banner:visible").wait_for()
    fake.start()
    page.locator("#banner").wait_for(state="hidden")
    fake.pace = 0.01
    page.get_by_role("button", name="Resume").click()
    page.locator(".map .title", has_text="768 of 768").wait_for()
