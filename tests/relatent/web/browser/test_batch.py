"""Many photos: a zip and a photo without a face in, one zip out."""

from __future__ import annotations

import zipfile

import pytest
from PIL import Image
from steps import error_text, open_tab, overflow, wait_for_text

from inversion.project import demo_photo

pytestmark = pytest.mark.slow  # minutes in a browser; test_flow.py has the main path


def choose(page, *files, steps=5):
    open_tab(page, "Batch")
    page.set_input_files("#batch-files input[type=file]", [str(file) for file in files])
    page.wait_for_function(
        "count => document.querySelectorAll('#batch-files tr.file').length === count", arg=len(files)
    )
    page.locator("#batch-advanced button").first.click()
    page.locator("#batch-steps input").fill(str(steps))
    page.keyboard.press("Tab")


def pack(path):
    with zipfile.ZipFile(path, "w") as packed:
        packed.write(demo_photo(), "holiday/me.png")
    return path


def test_photos_in_one_zip_out(visitor, artefacts, tmp_path):
    Image.new("RGB", (90, 60), "green").save(tmp_path / "meadow.png")
    page = visitor()
    choose(page, pack(tmp_path / "photos.zip"), tmp_path / "meadow.png")
    page.locator("#batch-smile input[type=number]").fill("2")
    page.keyboard.press("Tab")
    page.click("#batch-start")
    wait_for_text(page, "#batch-status", "1 done, 1 failed")
    assert "No face found in meadow.png (90 x 60)" in page.inner_text("#batch-table")
    assert page.locator("#batch-table img").count() == 1
    page.screenshot(path=artefacts / "page-batch.png", full_page=True)
    with page.expect_download() as waiting:
        page.click("#batch-results")
    waiting.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as packed:
        assert {"results.csv", "photos/me-edited.png", "for researchers/me/edited.safetensors"} <= set(
            packed.namelist()
        )
    assert page.faults == []


def test_a_batch_is_cancelled(visitor, tmp_path):
    page = visitor()
    choose(page, pack(tmp_path / "photos.zip"), demo_photo(), steps=5000)
    page.click("#batch-start")
    wait_for_text(page, "#batch-status", "left")
    page.click("#batch-cancel")
    wait_for_text(page, "#batch-status", "2 cancelled")
    assert page.is_visible("#batch-start")
    assert not page.is_visible("#batch-cancel")


def test_a_batch_survives_a_reload(visitor, tmp_path):
    page = visitor()
    choose(page, pack(tmp_path / "photos.zip"), demo_photo(), steps=5000)
    page.click("#batch-start")
    wait_for_text(page, "#batch-status", "Photo 1 of 2")
    page.reload()
    open_tab(page, "Batch")
    wait_for_text(page, "#batch-status", "Photo 1 of 2")
    assert not page.is_visible("#batch-start")
    page.click("#batch-cancel")
    wait_for_text(page, "#batch-status", "2 cancelled")
    page.reload()
    open_tab(page, "Batch")
    wait_for_text(page, "#batch-status", "2 cancelled")
    assert page.is_visible("#batch-start")
    assert page.faults == []


def test_a_bomb_is_refused_and_the_limit_named(visitor, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.png", bytes(2_000_000))
    page = visitor()
    choose(page, tmp_path / "bomb.zip")
    page.click("#batch-start")
    assert "at most 50 times is unpacked" in error_text(page)


def test_batch_on_a_telephone(visitor, artefacts):
    page = visitor(viewport={"width": 380, "height": 780}, color_scheme="dark")
    open_tab(page, "Batch")
    page.wait_for_selector("#batch-start")
    assert overflow(page) <= 0
    page.screenshot(path=artefacts / "page-telephone-batch.png", full_page=True)
