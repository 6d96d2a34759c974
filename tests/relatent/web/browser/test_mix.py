"""Two faces of a session mixed, in a grid and as a morph; latents brought along."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from steps import (
    error_text,
    keep_random_face,
    open_tab,
    overflow,
    wait_for_another_picture,
    wait_for_text,
)

from inversion import Inversion
from stylegan import load
from weights.embedded import DEFAULT_NETWORK

pytestmark = pytest.mark.slow  # minutes in a browser; test_flow.py has the main path


def two_faces(page):
    open_tab(page, "Explore")
    page.wait_for_selector("#explore-picture img")
    for _ in range(2):
        page.click("#explore-another")
        page.wait_for_timeout(1500)
        keep_random_face(page)
    open_tab(page, "Mix")
    page.wait_for_selector("#mix-picture img")


def saved(page, selector, folder):
    with page.expect_download() as waiting:
        page.click(selector)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_a_mix_its_grid_and_its_morph(visitor, artefacts, tmp_path):
    page = visitor()
    two_faces(page)
    before = page.get_attribute("#mix-picture img", "src")
    page.get_by_label("Fine: colours, fine detail").first.check()
    wait_for_another_picture(page, "#mix-picture img", before)
    page.screenshot(path=artefacts / "page-mix.png", full_page=True)
    mixed = Inversion.load(saved(page, "#mix-get-inversion", tmp_path))
    (name,) = mixed.edits
    assert name.startswith("mix:seed")
    assert name.endswith(f":0-2,7-{load(DEFAULT_NETWORK).num_ws - 1}")
    page.get_by_role("button", name="Grid: every face").click()
    page.click("#mix-grid")
    page.wait_for_selector("#mix-grid-picture img")
    with Image.open(saved(page, "#mix-grid-file", tmp_path)) as opened:
        assert opened.size == (384, 384)
    page.get_by_role("button", name="Morph: a video").click()
    page.click("#morph")
    wait_for_text(page, "#morph-status", "60 frames drawn")
    page.wait_for_function("document.querySelector('#morph-video video')?.readyState >= 1")  # the browser can play it
    page.screenshot(path=artefacts / "page-morph.png", full_page=True)
    assert saved(page, "#morph-file", tmp_path).read_bytes()[4:8] == b"ftyp"
    assert page.faults == []


def test_latents_of_another_network_are_refused_in_words(visitor, tmp_path):
    np.savez(tmp_path / "other.npz", w=np.zeros((1, 18, 512), np.float32))
    page = visitor()
    open_tab(page, "Mix")
    page.wait_for_selector("#mix-add")
    with page.expect_file_chooser() as waiting:
        page.click("#mix-add")
    waiting.value.set_files(tmp_path / "other.npz")
    reads = [1, load(DEFAULT_NETWORK).num_ws, 256]
    assert f"other.npz has shape [1, 18, 512]; this network reads {reads}" in error_text(page)


def test_mix_on_a_telephone(visitor, artefacts):
    page = visitor(viewport={"width": 380, "height": 780}, color_scheme="dark")
    two_faces(page)
    assert overflow(page) <= 0
    page.screenshot(path=artefacts / "page-telephone-mix.png", full_page=True)
