"""What holds for all views: contrast, dark mode, narrow screens, names, and what code must not do."""

from __future__ import annotations

import re

from fake_server import PAGE

VIEWS = ("/#/fit", "/#/fit/f1", "/#/session", "/#/maps", "/#/maps/m1")
READY = {"/#/fit": ".welcome", "/#/fit/f1": ".trio", "/#/session": ".session tbody tr", "/#/maps": ".welcome",
         "/#/maps/m1": ".map-panels"}  # fmt: skip


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def themes() -> list[dict[str, str]]:
    text = (PAGE / "style.css").read_text()
    blocks = re.findall(r":root[^{]*\{([^}]*--ground[^}]*)\}", text)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def test_words_are_readable_on_every_ground_in_every_theme():
    light, dark, chosen = themes()
    assert dark == chosen
    pairs = [
        (ink, ground) for ink in ("text", "quiet", "accent") for ground in ("ground", "surface", "sunken")
    ]
    pairs += [(tone, f"{tone}-soft") for tone in ("good", "warn", "bad")]
    pairs += [
        (ink, f"{tone}-soft")
        for tone in ("good", "warn", "bad", "idle", "accent")
        for ink in ("text", "quiet")
    ]
    pairs += [("on-accent", "accent"), ("on-accent", "accent-strong")]
    for theme in (light, dark):
        for ink, ground in pairs:
            a, b = sorted((luminance(theme[ink]), luminance(theme[ground])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, f"{ink} on {ground}"
        for ground in ("surface", "ground"):  # edges of controls, and the focus
            for edge in ("line-strong", "focus"):
                a, b = sorted((luminance(theme[edge]), luminance(theme[ground])))
                assert (b + 0.05) / (a + 0.05) >= 3, f"{edge} on {ground}"


def test_the_code_makes_no_markup_of_text_and_names_no_other_host():
    for path in PAGE.iterdir():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path.name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text
        ), path
        hosts = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
        assert not hosts, f"{path.name}: {hosts}"
        if path.suffix == ".html":
            assert not re.search(r"\s(style|on\w+)=|<script(?! type=\"module\" src)|<style", text)


def test_no_view_is_wider_than_the_screen(fake, open_page):
    fake.pace = 0.01
    fake.new_map({"path": "a.nc", "semi_angle": 13.6})
    for view in VIEWS:
        page = open_page(f"http://127.0.0.1:{fake.port}", view, viewport={"width": 390, "height": 844})
        page.locator(READY[view]).first.wait_for()
        for more in page.locator("summary:visible").all():
            more.click()
        for width in (390, 700, 1024):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{view} at {width}"


def test_every_control_has_a_name_and_every_id_is_its_own(fake, open_page):
    fake.new_map({"path": "a.nc", "semi_angle": 13.6})
    for view in VIEWS:
        page = open_page(f"http://127.0.0.1:{fake.port}", view)
        page.locator(READY[view]).first.wait_for()
        nameless = page.evaluate(
            """[...document.querySelectorAll('input, select, button, a, canvas[tabindex], [role=img]')]
            .filter(e =>
            !(e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim() || e.textContent.trim())
            ).map(e => e.outerHTML)"""
        )
        assert nameless == []
        twice = page.evaluate(
            "(ids => ids.filter((id, i) => ids.indexOf(id) !== i))"
            "([...document.querySelectorAll('[id]')].map(e => e.id))"
        )
        assert twice == []


def test_dark_is_as_the_system_has_it_and_the_switch_is_remembered(fake, open_page):
    page = open_page(f"http://127.0.0.1:{fake.port}", color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    page.locator(".welcome").wait_for()
    dark = page.evaluate(ground)
    switch = page.locator("#theme")
    switch.click()  # light
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.locator(".welcome").wait_for()
    assert page.evaluate(ground) == light
    switch.click()
    assert page.evaluate(ground) == dark and "dark" in switch.get_attribute("aria-label")


def test_semi_angle_and_library_are_remembered(fake, open_page, frame):
    page = open_page(f"http://127.0.0.1:{fake.port}")
    form = page.locator("#view-fit form")
    form.get_by_label("Crystal").select_option("Si_110_200kV")
    form.get_by_label("Convergence semi-angle").fill("9.5")
    page.locator("#view-fit input[type=file][multiple]").set_input_files(str(frame))
    form.get_by_role("button", name="Fit", exact=True).click()
    page.locator(".result").wait_for()
    page.reload()
    assert form.get_by_label("Convergence semi-angle").input_value() == "9.5"
    form.locator("optgroup option").first.wait_for(state="attached")
    assert form.get_by_label("Crystal").input_value() == "Si_110_200kV"
