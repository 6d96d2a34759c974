"""A visitor's way: upload, invert, smile, paste back, download; and what can go wrong on it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from steps import (
    choose_steps,
    error_text,
    invert,
    upload,
    upload_astronaut,
    wait_for_another_picture,
    wait_for_number,
    wait_for_text,
)

from inversion import Inversion
from inversion.project import demo_photo
from relatent.core.images import read_photo


def test_upload_invert_smile_paste_download(visitor, artefacts, tmp_path):
    page = visitor()
    upload_astronaut(page)
    page.screenshot(path=artefacts / "page-photo.png")
    invert(page)
    assert page.locator("#strip img").count() == 3  # photo, aligned, inverted
    page.screenshot(path=artefacts / "page-inverted.png", full_page=True)
    page.click("#quick-smile")
    page.wait_for_selector("#edited img")
    wait_for_number(page, "slider-smile", "1")
    before = page.get_attribute("#edited .photo img", "src")
    page.locator("#slider-smile input[type=range]").focus()
    page.keyboard.press("ArrowRight")  # a slider is moved by keyboard, too
    wait_for_another_picture(page, "#edited .photo img", before)
    page.screenshot(path=artefacts / "page-edit.png")
    photo = saved(page, "photo-png", tmp_path)
    with Image.open(photo) as opened:
        opened.load()
        assert opened.size == (512, 512)
        assert "compositeWithTrainedAlgorithmicMedia" in str(opened.info.get("XML:com.adobe.xmp"))
        assert "smile" in opened.info["Software"]
    changed = read_photo(photo).pixels != read_photo(demo_photo()).pixels
    assert changed[100:190, 170:280].any()  # the face
    assert not changed[300:].any()  # and nothing below it
    with np.load(saved(page, "latent", tmp_path)) as arrays:
        ws = arrays["w"]
    inversion = Inversion.load(saved(page, "inversion", tmp_path))
    assert inversion.edits["smile"] == pytest.approx(1.1)
    assert np.array_equal(inversion.ws.numpy(), ws)
    assert saved(page, "photo-jpeg", tmp_path).read_bytes()[:2] == b"\xff\xd8"
    assert page.faults == []


def saved(page, kind, folder):
    with page.expect_download() as waiting:
        page.click(f"#get-{kind}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


@pytest.mark.slow
def test_undo_reset_and_the_random_direction(visitor):
    page = visitor()
    upload_astronaut(page)
    invert(page, 5)
    page.click("#quick-smile")
    page.wait_for_selector("#edited img")
    page.click("#dice")
    page.get_by_role("button", name="Advanced").last.click()
    wait_for_number(page, "random-strength", "0.5")
    page.click("#undo")
    wait_for_number(page, "random-strength", "0")
    page.click("#reset-all")
    wait_for_number(page, "slider-smile", "0")
    page.click("#undo")
    wait_for_number(page, "slider-smile", "1")
    before = page.get_attribute("#edited .face img", "src")
    page.locator("#slider-smile").get_by_role("button").first.click()  # reset one
    wait_for_number(page, "slider-smile", "0")
    wait_for_another_picture(page, "#edited .face img", before)


@pytest.mark.slow
def test_cancel_stops_the_work_and_frees_the_network(visitor):
    page = visitor()
    upload_astronaut(page)
    choose_steps(page, 5000)  # minutes of work
    page.click("#invert")
    page.wait_for_selector("#drawing img")  # the picture as it improves
    wait_for_text(page, "#status", "left")
    page.click("#cancel")
    wait_for_text(page, "#status", "Cancelled")
    assert page.is_visible("#invert")
    assert not page.is_visible("#cancel")
    page.get_by_label("Steps of the optimiser", exact=False).fill("3")
    page.click("#invert")  # the next one does not wait for minutes of steps
    wait_for_text(page, "#status", "Done")


@pytest.mark.slow
def test_no_face(visitor, tmp_path):
    file = tmp_path / "meadow.png"
    Image.fromarray(np.full((120, 160, 3), (90, 160, 80), np.uint8)).save(file)
    page = visitor()
    upload(page, str(file))
    assert "no face found in meadow.png (160 x 120)" in error_text(page)


@pytest.mark.slow
def test_corrupt_file(visitor, tmp_path):
    file = tmp_path / "broken.jpg"
    file.write_bytes(demo_photo().read_bytes()[:3000])
    page = visitor()
    upload(page, str(file))
    assert re.search(r"broken.jpg is (damaged|not a picture)", error_text(page))


@pytest.mark.slow
def test_uploads_are_limited_and_say_so(visitor, tmp_path):
    large = tmp_path / "large.png"
    Image.fromarray(np.zeros((2100, 2100, 3), np.uint8)).save(large)
    page = visitor()
    upload(page, str(large))
    assert "at most 4 megapixels" in error_text(page)
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(bytes(3_100_000))
    other = visitor()
    upload(other, str(heavy))
    assert re.search(r"maximum allowed size of 2\.9 Mb", error_text(other))


@pytest.mark.slow
def test_inverting_without_a_photo(visitor):
    page = visitor()
    page.click("#invert")
    assert "there is no photo yet" in error_text(page)
