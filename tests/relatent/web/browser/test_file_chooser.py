"""Pictures whose type the browser does not know, as HEIC on most machines: chosen, dropped, and still checked."""

from __future__ import annotations

import base64

import pillow_heif
import pytest
from PIL import Image
from steps import toast_text, wait_until_ready

from inversion.project import demo_photo

DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, {type: ""}));
  const target = document.querySelector("#photo .upload-container");
  target.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: files}));
}"""
CHOOSE = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, {type: ""}));
  const input = document.querySelector("#photo input[type=file]");
  input.files = files.files;
  input.dispatchEvent(new Event("change", {bubbles: true}));
}"""


@pytest.fixture
def heic(tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    with Image.open(demo_photo()) as opened:
        pillow_heif.from_pillow(opened.convert("RGB")).save(path, quality=90)
    return [path.name, base64.b64encode(path.read_bytes()).decode()]


@pytest.mark.parametrize("way", [CHOOSE, pytest.param(DROP, marks=pytest.mark.slow)], ids=["chosen", "dropped"])
def test_a_heic_photo_without_a_type(visitor, heic, way):
    page = visitor()
    page.evaluate(way, heic)
    wait_until_ready(page)
    page.wait_for_function("document.querySelector('#edited img')?.naturalWidth > 0")  # shown as what browsers can show
    assert page.faults == []


@pytest.mark.slow
def test_the_chooser_offers_heic(visitor):
    page = visitor()
    with page.expect_file_chooser():
        page.click("#photo .upload-container")
    offered = page.get_attribute("#photo input[type=file]", "accept")
    assert "image/*" in offered
    assert ".heic" in offered


@pytest.mark.slow
def test_what_is_no_picture_is_still_refused(visitor):
    page = visitor()
    page.evaluate(CHOOSE, ["notes.txt", base64.b64encode(b"hello").decode()])
    assert "notes.txt" in toast_text(page)
