"""A visitor's way: a photo, one click, a smile, a download; and what can go wrong on it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from steps import (
    SMILE,
    choose_quality,
    error_text,
    toast_text,
    upload,
    upload_astronaut,
    wait_for_another_picture,
    wait_for_number,
    wait_for_text,
    wait_until_done,
    wait_until_ready,
)

from inversion import Inversion
from inversion.project import demo_photo
from relatent.core.images import read_photo

PICTURE = "#edited img"


def test_drop_a_photo_click_smile_and_download(visitor, artefacts, tmp_path):
    page = visitor()
    choose_quality(page)
    upload_astronaut(page)
    before = page.get_attribute(PICTURE, "src")
    page.click("#quick-smile")
    wait_for_another_picture(page, PICTURE, before)
    wait_for_number(page, "slider-smile", f"{SMILE:g}")
    before = page.get_attribute(PICTURE, "src")
    page.locator("#slider-smile input[type=range]").focus()
    page.keyboard.press("ArrowRight")  # a slider is moved by keyboard, too
    wait_for_another_picture(page, PICTURE, before)
    page.screenshot(path=artefacts / "page-edit.png")
    photo = saved(page, "photo", tmp_path)
    with Image.open(photo) as opened:
        opened.load()
        assert opened.format == "PNG"  # as the photo
        assert opened.size == (512, 512)
        assert "compositeWithTrainedAlgorithmicMedia" in str(opened.info.get("XML:com.adobe.xmp"))
        assert "smile" in opened.info["Software"]
    changed = read_photo(photo).pixels != read_photo(demo_photo()).pixels
    assert changed[100:190, 170:280].any()  # the face
    assert not changed[300:].any()  # and nothing below it
    page.get_by_role("button", name="Files for researchers").click()
    with np.load(saved(page, "latent", tmp_path)) as arrays:
        ws = arrays["w"]
    inversion = Inversion.load(saved(page, "inversion", tmp_path))
    assert inversion.edits["smile"] == pytest.approx(SMILE + 0.1)
    assert np.array_equal(inversion.ws.numpy(), ws)
    assert page.faults == []


def saved(page, kind, folder):
    with page.expect_download() as waiting:
        page.click(f"#get-{kind}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


@pytest.mark.slow
def test_the_better_latent_swaps_in_and_the_edits_stay(visitor):
    page = visitor()
    choose_quality(page, "balanced", 8)
    upload_astronaut(page)
    page.click("#quick-smile")
    wait_for_number(page, "slider-smile", f"{SMILE:g}")
    wait_until_done(page)
    assert page.input_value("#slider-smile input[type=number]") == f"{SMILE:g}"
    assert page.is_enabled("#undo")


@pytest.mark.slow
def test_undo_redo_reset_and_the_random_direction(visitor):
    page = visitor()
    choose_quality(page)
    upload_astronaut(page)
    page.click("#quick-smile")
    wait_for_number(page, "slider-smile", f"{SMILE:g}")
    page.click("#dice")
    page.locator("#edit-advanced button").first.click()
    wait_for_number(page, "random-strength", "0.5")
    page.click("#undo")
    wait_for_number(page, "random-strength", "0")
    page.click("#redo")
    wait_for_number(page, "random-strength", "0.5")
    page.click("#reset-all")
    wait_for_number(page, "slider-smile", "0")
    page.click("#undo")
    wait_for_number(page, "slider-smile", f"{SMILE:g}")
    page.click("#quick-smile")  # once more takes it back
    wait_for_number(page, "slider-smile", "0")


@pytest.mark.slow
def test_a_number_out_of_range_is_clamped_and_said(visitor):
    page = visitor()
    choose_quality(page)
    upload_astronaut(page)
    box = page.locator("#slider-smile input[type=number]")
    box.fill("7")
    wait_for_text(page, "#status", "Smile goes from -2 to 2; it is 2 now.")
    wait_for_number(page, "slider-smile", "2")


@pytest.mark.slow
def test_cancel_stops_the_work_and_frees_the_network(visitor):
    page = visitor()
    choose_quality(page, "balanced", 5000)  # minutes of work
    upload_astronaut(page)
    wait_for_text(page, "#status", "left")
    page.click("#cancel")
    wait_for_text(page, "#status", "Stopped")
    assert not page.is_visible("#cancel")
    page.locator("#preset input[value=fast]").check()
    page.get_by_label("Steps of the optimiser", exact=False).first.fill("0")
    page.click("#invert")  # the next one does not wait for minutes of steps
    wait_until_done(page)


@pytest.mark.slow
def test_another_photo_during_the_work_leaves_nothing_of_the_first(visitor, tmp_path):
    meadow = tmp_path / "meadow.png"
    Image.fromarray(np.full((120, 160, 3), (90, 160, 80), np.uint8)).save(meadow)
    page = visitor()
    choose_quality(page, "balanced", 5000)
    upload_astronaut(page)
    page.click("#another")
    page.wait_for_selector("#photo")
    upload(page, str(meadow))
    assert "No face" in error_text(page)
    page.wait_for_timeout(1500)  # the work on the first one would have reported by now
    assert "No face" in page.inner_text("#status")
    assert page.locator("#edited img").count() == 0
    assert not page.is_visible("#quick-smile")


@pytest.mark.slow
def test_a_reload_comes_back_to_the_visit(visitor):
    page = visitor()
    choose_quality(page)
    upload_astronaut(page)
    page.click("#quick-smile")
    wait_for_number(page, "slider-smile", f"{SMILE:g}")
    page.reload()
    wait_until_ready(page)
    wait_for_number(page, "slider-smile", f"{SMILE:g}")


def test_loading_the_page_puts_nothing_into_the_queue(visitor):
    """Gradio's browser code may lose the answer to a photo that is dropped while another event of its queue ends."""
    page = visitor()
    page.wait_for_function("sessionStorage.getItem('relatent-visit')")  # the last but one event of loading
    page.wait_for_timeout(300)
    assert any("run/predict" in url for url in page.requested)
    assert [url for url in page.requested if "queue/join" in url] == []


def test_no_face_is_said_in_the_page_s_words(visitor, tmp_path):
    file = tmp_path / "meadow.png"
    Image.fromarray(np.full((120, 160, 3), (90, 160, 80), np.uint8)).save(file)
    page = visitor()
    upload(page, str(file))
    said = error_text(page)
    assert "No face found in meadow.png (160 x 120)" in said
    assert "--" not in said


def test_a_corrupt_file(visitor, tmp_path):
    file = tmp_path / "broken.jpg"
    file.write_bytes(demo_photo().read_bytes()[:3000])
    page = visitor()
    upload(page, str(file))
    assert re.search(r"[Bb]roken.jpg is (damaged|not a picture)", error_text(page))


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
    assert re.search(r"maximum allowed size of 2\.9 Mb", toast_text(other))


def test_there_is_no_start_without_a_photo_and_the_button_says_why(visitor):
    page = visitor()
    page.get_by_role("button", name="Quality").click()
    assert page.is_disabled("#invert")
    page.wait_for_function("document.querySelector('#invert').title.includes('Choose a photo first')")
    page.locator("#invert").hover(force=True)
    page.mouse.down()
    wait_for_text(page, "#notice", "Choose a photo first")
    page.mouse.up()
    box = page.get_by_label("Steps of the optimiser", exact=False).first
    box.fill("7000")
    box.press("Tab")
    wait_for_text(page, "#notice", "goes from 0 to 5000; it is 5000 now.")
    assert box.input_value() == "5000"
