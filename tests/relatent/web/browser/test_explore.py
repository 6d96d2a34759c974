"""Faces by seed, along the network's axes, kept for the other tabs."""

from __future__ import annotations

import pytest
from steps import keep_random_face, open_tab, overflow, wait_for_another_picture

pytestmark = pytest.mark.slow  # minutes in a browser; test_flow.py has the main path


def test_a_face_is_explored_and_kept(visitor, artefacts):
    page = visitor()
    open_tab(page, "Explore")
    page.wait_for_selector("#explore-picture img")
    for name in ("explore-sefa-1", "explore-psi"):
        before = page.get_attribute("#explore-picture img", "src")
        page.locator(f"#{name} input[type=range]").focus()
        page.keyboard.press("ArrowRight")
        wait_for_another_picture(page, "#explore-picture img", before)
    keep_random_face(page)
    page.screenshot(path=artefacts / "page-explore.png", full_page=True)
    open_tab(page, "Photo")
    page.wait_for_selector("#edited img")
    assert page.faults == []


def test_many_faces_and_one_of_them_chosen(visitor):
    page = visitor()
    open_tab(page, "Explore")
    page.wait_for_selector("#explore-picture img")
    page.get_by_role("button", name="Many faces at once").click()
    page.click("#explore-many")
    page.locator("#explore-sheet img").nth(11).wait_for()
    page.locator("#explore-sheet button:has(img)").nth(4).click()
    page.wait_for_function("document.querySelector('#explore-picture figcaption')?.innerText === 'seed 4'")


def test_explore_and_about_on_a_telephone_in_the_dark(visitor, artefacts):
    page = visitor(viewport={"width": 380, "height": 780}, color_scheme="dark")
    for name in ("Explore", "About"):
        open_tab(page, name)
        page.wait_for_timeout(1000)
        assert overflow(page) <= 0, name
        page.screenshot(path=artefacts / f"page-telephone-{name.lower()}.png", full_page=True)
