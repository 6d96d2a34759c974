"""The page at four widths, in the dark, and for those who use a keyboard or a screen reader."""

from __future__ import annotations

import pytest
from steps import choose_quality, overflow, upload_astronaut, wait_until_ready

WIDTHS = (360, 390, 768, 1280)


def test_nothing_is_wider_than_the_window(visitor, artefacts):
    page = visitor(color_scheme="dark")
    for width in (320, *WIDTHS, 1024):
        page.set_viewport_size({"width": width, "height": 780})
        page.wait_for_timeout(50)
        assert overflow(page) <= 0, width
        assert page.locator("#example").bounding_box()["height"] >= 44
        drop, shown = page.locator("#photo").bounding_box(), page.locator("#examples img").first.bounding_box()
        if width < 768:
            assert shown["y"] >= drop["y"] + drop["height"]
            assert shown["width"] > 0.85 * width
        else:  # beside the place for the photo
            assert shown["x"] >= drop["x"] + drop["width"]
            assert abs(shown["y"] - drop["y"]) < 40
        page.screenshot(path=artefacts / f"page-start-{width}.png")


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_the_photo_has_the_width_and_its_buttons_lie_below_it(visitor, artefacts, width):
    page = visitor(viewport={"width": width, "height": 780})
    choose_quality(page)
    upload_astronaut(page)
    if width < 768:  # it is scrolled to, smoothly
        page.wait_for_function("document.querySelector('#edited img').getBoundingClientRect().bottom <= innerHeight")
    picture, button = page.locator("#edited img").bounding_box(), page.locator("#quick-smile").bounding_box()
    page.screenshot(path=artefacts / f"page-edit-{width}.png")
    assert overflow(page) <= 0
    assert page.locator("#lead").bounding_box()["width"] > 0.85 * min(width, 1240)
    assert 0 <= button["y"] - picture["y"] - picture["height"] < 60
    for name in ("quick-smile", "quick-older", "undo", "compare", "get-photo", "another"):
        assert page.locator(f"#{name}").bounding_box()["height"] >= 44, name
    undo, view = page.locator("#undo").bounding_box(), page.locator("#view").bounding_box()
    assert abs(undo["y"] + undo["height"] / 2 - view["y"] - view["height"] / 2) < 10  # in one row
    if width < 768:
        assert picture["width"] > 0.8 * width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_either_light(visitor, artefacts, scheme):
    page = visitor(color_scheme=scheme)
    luminance = page.evaluate(
        """() => {
            const light = colour => {
                const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
                    const s = Number(v) / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const body = getComputedStyle(document.body);
            const text = getComputedStyle(document.querySelector('h1'));
            return [light(body.backgroundColor), light(text.color)]; }"""
    )
    bright, dim = max(luminance), min(luminance)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5  # WCAG AA
    assert (luminance[0] < 0.2) == (scheme == "dark")


@pytest.mark.slow
def test_every_control_has_a_name(visitor):
    page = visitor()
    choose_quality(page)
    upload_astronaut(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input, button, select, textarea')].filter(one => {
            if (one.type === 'hidden' || one.closest('[aria-hidden=true]') || !one.checkVisibility()) return false;
            const label = one.labels && [...one.labels].some(l => l.innerText.trim());
            return !(label || one.innerText.trim() || one.getAttribute('aria-label') || one.title
                || one.getAttribute('aria-labelledby') || one.placeholder);
        }).map(one => one.outerHTML.slice(0, 160))"""
    )
    assert nameless == []


@pytest.mark.slow
def test_by_keyboard_alone_to_a_smile_and_the_focus_is_never_lost(visitor):
    page = visitor()
    choose_quality(page)
    page.locator("#example").focus()
    page.keyboard.press("Enter")  # the button goes away with the first screen
    wait_until_ready(page)
    page.wait_for_function("document.activeElement !== document.body")
    page.locator("#quick-smile").focus()
    before = page.get_attribute("#edited img", "src")
    page.keyboard.press("Enter")
    page.wait_for_function("before => document.querySelector('#edited img').src !== before", arg=before)
    page.locator("#undo").focus()
    page.keyboard.press("Enter")  # nothing is left to undo: the button is switched off under the focus
    page.wait_for_function("document.querySelector('#undo').disabled")
    page.wait_for_function("document.activeElement !== document.body")
    page.locator("#compare").focus()
    page.keyboard.down("Space")
    assert page.locator("#original img").is_visible()
    page.keyboard.up("Space")
    assert not page.locator("#original img").is_visible()
