"""The page on a telephone, in the dark, and for those who use a keyboard or a screen reader."""

from __future__ import annotations

import pytest
from steps import invert, upload_astronaut

pytestmark = pytest.mark.slow  # minutes in a browser; test_flow.py has the main path


TELEPHONE = {"viewport": {"width": 380, "height": 780}, "device_scale_factor": 1, "is_mobile": True, "has_touch": True}


def overflow(page):
    """How many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def test_a_telephone(visitor, artefacts):
    page = visitor(**TELEPHONE)
    assert overflow(page) <= 0
    upload_astronaut(page)
    invert(page, 5)
    assert overflow(page) <= 0
    page.screenshot(path=artefacts / "page-telephone-inverted.png", full_page=True)
    page.click("#quick-smile")
    page.wait_for_selector("#edited img")
    assert overflow(page) <= 0
    page.wait_for_timeout(500)
    page.locator("#slider-yaw, #dice").last.scroll_into_view_if_needed()
    face = page.locator("#edited img").last.bounding_box()
    assert 0 <= face["y"] < 400  # it stays in sight while the sliders scroll
    page.screenshot(path=artefacts / "page-telephone.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_either_light(visitor, artefacts, scheme):
    page = visitor(color_scheme=scheme)
    page.screenshot(path=artefacts / f"page-{scheme}.png")
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


def test_every_control_has_a_name(visitor):
    page = visitor()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input, button, select, textarea')].filter(one => {
            if (one.type === 'hidden' || one.closest('[aria-hidden=true]') || !one.checkVisibility()) return false;
            const label = one.labels && [...one.labels].some(l => l.innerText.trim());
            return !(label || one.innerText.trim() || one.getAttribute('aria-label') || one.title
                || one.getAttribute('aria-labelledby') || one.placeholder);
        }).map(one => one.outerHTML.slice(0, 160))"""
    )
    assert nameless == []


def test_the_keyboard_reaches_what_matters(visitor):
    page = visitor()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id]')?.id || ''"))
    assert {"example", "invert"} <= reached
