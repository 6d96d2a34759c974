"""Points of a face are dragged: with a mouse, with a finger on a telephone, and by numbers alone."""

from __future__ import annotations

import json

import pytest
from steps import (
    choose_quality,
    error_text,
    keep_random_face,
    open_tab,
    overflow,
    upload_astronaut,
    wait_for_another_picture,
    wait_for_text,
)

pytestmark = pytest.mark.slow
BUTTONS = ("drag-start", "drag-stop", "drag-undo", "drag-reset", "drag-remove", "drag-clear")


def face_to_drag(page):
    open_tab(page, "Explore")
    page.wait_for_selector("#explore-picture img")
    keep_random_face(page)
    open_tab(page, "Drag")
    page.wait_for_selector("#drag-picture img")
    page.wait_for_timeout(300)


def marks(page):
    return json.loads(page.input_value("#drag-marks textarea") or "{}")


def source(page):
    return page.get_attribute("#drag-picture img", "src")


def pointer(page):
    """A function that moves the mouse to a place of the face, in shares of its square."""
    box = page.locator("#drag-overlay").bounding_box()
    assert abs(box["width"] - page.locator("#drag-picture img").bounding_box()["width"]) < 2
    return lambda x, y: page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def stroke(page, to, start, *way):
    """Press at a place, draw along the way, and let go; ``to`` is a :func:`pointer`."""
    to(*start)
    page.mouse.down()
    for place in way:
        to(*place)
    page.mouse.up()


def dragged(page):
    """Start, and wait for the end; the number of pictures that were seen."""
    page.evaluate(
        """() => { window.sources = new Set(); new MutationObserver(() =>
            window.sources.add(document.querySelector('#drag-picture img')?.src)).observe(
                document.querySelector('#drag-picture'), { subtree: true, childList: true, attributes: true }); }"""
    )
    page.click("#drag-start")
    page.wait_for_function(
        "/arrived|nearer|stopped|used up|too much/.test(document.querySelector('#status').innerText)"
    )
    return page.evaluate("window.sources.size")


def test_a_point_of_a_real_photo_is_dragged_and_the_photo_follows(visitor, artefacts):
    page = visitor(viewport={"width": 1280, "height": 900})
    choose_quality(page)
    upload_astronaut(page)
    photo = page.get_attribute("#edited img", "src")
    open_tab(page, "Drag")
    page.wait_for_selector("#drag-picture img")
    page.wait_for_timeout(300)
    before = source(page)
    stroke(page, pointer(page), (0.62, 0.72), (0.64, 0.70), (0.66, 0.68))
    page.wait_for_function("document.querySelectorAll('#drag-overlay circle').length === 2")
    assert dragged(page) >= 2  # pictures on the way
    assert source(page) != before
    page.screenshot(path=artefacts / "page-dragged-photo-1280.png")
    open_tab(page, "Photo")
    wait_for_another_picture(page, "#edited img", photo)
    assert page.is_enabled("#undo")
    assert page.faults == []


def test_a_mouth_corner_is_dragged_and_comes_back(visitor, artefacts):
    page = visitor(viewport={"width": 1280, "height": 900})
    face_to_drag(page)
    before = source(page)
    to = pointer(page)
    stroke(page, to, (0.36, 0.72), (0.34, 0.70), (0.32, 0.69))
    page.wait_for_function("document.querySelectorAll('#drag-overlay circle').length === 2")
    assert marks(page)["pairs"][0] == pytest.approx([0.36, 0.72, 0.32, 0.69], abs=0.01)
    page.get_by_label("Paint the mask").check()
    stroke(page, to, (0.3, 0.7), (0.5, 0.72), (0.7, 0.7))
    page.wait_for_function("document.querySelectorAll('#drag-overlay polyline').length === 1")
    page.screenshot(path=artefacts / "page-drag-1280.png")
    page.click("#drag-clear")
    page.wait_for_function("document.querySelectorAll('#drag-overlay polyline').length === 0")
    assert dragged(page) >= 2  # pictures on the way
    assert source(page) != before
    page.screenshot(path=artefacts / "page-dragged-1280.png")
    page.click("#drag-undo")
    page.wait_for_function("before => document.querySelector('#drag-picture img').src === before", arg=before)
    assert page.faults == []


def test_a_finger_marks_points_on_a_telephone(visitor, artefacts):
    page = visitor(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    face_to_drag(page)
    assert overflow(page) <= 0
    for name in BUTTONS:
        assert page.locator(f"#{name}").bounding_box()["height"] >= 44, name
    page.locator("#drag-overlay").scroll_into_view_if_needed()
    box = page.locator("#drag-overlay").bounding_box()
    assert box["width"] > 0.85 * 390
    for x, y in ((0.5, 0.5), (0.5, 0.55)):
        page.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.wait_for_function("document.querySelectorAll('#drag-overlay circle').length === 2")
    assert marks(page)["pairs"][0] == pytest.approx([0.5, 0.5, 0.5, 0.55], abs=0.01)
    page.screenshot(path=artefacts / "page-drag-390.png", full_page=True)
    page.get_by_role("button", name="Points by numbers").click()
    page.get_by_label("End, down").fill("120")
    page.click("#drag-add")
    assert "from 0 to 100" in error_text(page)
    for label, value in (("Start, across", "30"), ("End, down", "60")):
        page.get_by_label(label).fill(value)
    page.click("#drag-add")
    page.wait_for_function("document.querySelectorAll('#drag-overlay circle').length === 4")
    page.click("#drag-remove")
    page.wait_for_function("document.querySelectorAll('#drag-overlay circle').length === 2")
    page.click("#drag-reset")
    page.wait_for_function("document.querySelectorAll('#drag-overlay circle').length === 0")
    page.click("#drag-start")
    wait_for_text(page, "#status", "No point is marked")
