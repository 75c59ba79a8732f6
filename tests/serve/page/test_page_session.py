"""The session table in a browser: sorting, filter, notes, deleting, and what a reload or restart leaves."""

from __future__ import annotations

import pytest

ROWS = ".session tbody tr"


@pytest.fixture
def page(fake, open_page):
    """The table of twelve fits."""
    page = open_page(f"http://127.0.0.1:{fake.port}", "/#/session")
    page.locator(ROWS).first.wait_for()
    return page


def column(page, index: int) -> list[str]:
    return page.locator(f"{ROWS} td:nth-child({index})").all_inner_texts()


def test_every_column_sorts_both_ways(page):
    heads = page.locator(".session thead .sort")
    for k in range(heads.count()):
        heads.nth(k).click()
        once = column(page, k + 1)
        heads.nth(k).click()
        twice = column(page, k + 1)
        assert sorted(once) == sorted(twice)
        sort = page.locator(".session thead th").nth(k).get_attribute("aria-sort")
        assert sort in ("ascending", "descending")
    page.locator(".session thead .sort", has_text="Thickness").click()
    values = [float(text.split("±")[0]) for text in column(page, 4)]
    assert values == sorted(values) and len(set(values)) > 6
    page.reload()
    page.locator(ROWS).first.wait_for()
    assert [float(text.split("±")[0]) for text in column(page, 4)] == values  # the order is remembered


def test_the_filter_finds_words_of_all_columns(page):
    page.get_by_label("Filter").fill("frame_003")
    assert page.locator(ROWS).count() == 1
    assert "1 of 12 fits" in page.locator("#view-session .title").inner_text()
    page.get_by_label("Filter").fill("nothing like this")
    assert "No fit matches" in page.locator("#view-session .empty").inner_text()


def test_a_note_is_kept_after_a_reload_and_a_restart(fake, page):
    note = page.locator(f"{ROWS} input").nth(2)
    label = note.get_attribute("aria-label")
    note.fill("grain B, <b>thin</b>")
    note.press("Enter")
    page.locator("#view-session [role=status]", has_text="saved").wait_for()
    page.reload()
    assert page.get_by_label(label).input_value() == "grain B, <b>thin</b>"
    page.watched.allowed.append("ERR_|Failed to load")
    fake.stop()
    page.locator("#banner:visible").wait_for()
    fake.start()
    page.locator("#banner").wait_for(state="hidden")
    assert page.locator(ROWS).count() == 12
    assert page.get_by_label(label).input_value() == "grain B, <b>thin</b>"


def test_a_note_that_is_being_written_is_not_taken_away(fake, page):
    note = page.locator(f"{ROWS} input").first
    note.focus()
    page.keyboard.type("half a sen")
    fake.new_fit("new.tif", "good")
    page.evaluate("document.dispatchEvent(new Event('fits'))")
    page.locator("#view-session .title", has_text="13 fits").wait_for()
    assert note.input_value() == "half a sen"


def test_a_deleted_fit_comes_back_by_undo(fake, page):
    first = page.locator(f"{ROWS} a").first.inner_text()
    page.get_by_role("button", name=f"Delete the fit of {first}").click()
    page.locator(".toast", has_text="deleted").wait_for()
    assert page.locator(ROWS).count() == 11
    page.get_by_role("button", name="Undo").click()
    page.locator("#view-session .title", has_text="12 fits").wait_for()
    assert page.locator(f"{ROWS} a").first.inner_text() == first
    assert len(fake.fits) == 12


def test_a_deleted_fit_is_gone_when_its_message_is_closed_or_the_page_is_left(fake, page):
    for k, leave in enumerate((lambda: page.get_by_label("Close this message").click(), page.reload)):
        page.locator(f"{ROWS} td:last-child button").first.click()
        leave()
        page.locator("#view-session .title", has_text=f"{11 - k} fits").wait_for()
        while len(fake.fits) > 11 - k:
            page.wait_for_timeout(20)


def test_a_row_leads_to_its_fit_and_graphs_show_the_session(page):
    assert page.locator("#view-session .chart circle").count() > 12
    page.locator(f"{ROWS} a").first.click()
    page.locator("#view-fit .result .numbers").wait_for()
    page.go_back()
    assert page.locator(ROWS).count() == 12
