import asyncio

import numpy as np
import pytest
import torch
from PIL import Image
from wiring import everything, handler_of, said, widget

from editing.mixing import mix
from editing.seeds import seed_inversion
from inversion import Inversion

gr = pytest.importorskip("gradio")


@pytest.fixture
def session(page, session):
    """A session with two faces of its own."""
    for seed in (1, 2):
        face = seed_inversion(page.app.network, seed)
        session.keep(face, page.app.draw(face), f"seed{seed}")
    return session


def call(page, name, event, *values):
    return handler_of(page.blocks, name, event)(*values)


def test_the_visits_faces_are_offered_and_the_newest_two_mixed(page, session):
    show = _show(page)
    older, newer = session.kept
    gallery, base, first, second, chosen, picture = show(session, [], "", "", ["coarse"], 1.0, "", [], 1.0)
    assert (base["value"], first["value"], second["value"]) == (newer, older, "")
    assert chosen["value"] == [older, newer]
    assert base["choices"][1:] == [("seed1", older), ("seed2", newer)]
    assert gallery.count("<img") == 2
    assert "the mixed face" in picture


def _show(page):
    (found,) = [
        one for one in page.blocks.fns.values() if one.outputs and one.outputs[0] is widget(page.blocks, "mix-faces")
        and any(event == "select" for _, event in one.targets)
    ]  # fmt: skip
    return found.fn


def test_without_faces_it_says_what_to_do(page):
    empty = page.app.sessions.begin()
    assert "Two faces are needed" in _show(page)(empty, [], "", "", ["coarse"], 1.0, "", [], 1.0)[-1]


def test_a_mix_is_taken_home(page, session):
    older, newer = session.kept
    path = call(page, "mix-get-inversion", "click", session, newer, older, ["coarse"], 0.5, "", [], 1.0)
    found = Inversion.load(path)
    expected = mix(session.kept[newer].inversion, session.kept[older].inversion, "coarse", 0.5)
    assert torch.equal(found.ws, expected.ws)
    face = call(page, "mix-get-face-png", "click", session, newer, older, ["coarse"], 0.5, "", [], 1.0)
    np.testing.assert_array_equal(np.array(Image.open(face)), np.array(expected.image(page.app.network)))


def test_a_mix_joins_the_gallery(page, session):
    older, newer = session.kept
    text = call(page, "mix-keep", "click", session, newer, older, ["middle"], 1.0, "", [], 1.0)
    assert "seed2, mixed" in text
    assert [one.label for one in session.kept.values()] == ["seed1", "seed2", "seed2, mixed"]
    assert torch.equal(session.chosen().inversion.ws[:, 3:7], session.kept[older].inversion.ws[:, 3:7])


def test_another_visits_faces_are_not_to_be_had(page, session):
    stranger = page.app.sessions.begin()
    older, newer = session.kept
    with pytest.raises(gr.Error, match="no inverted face yet"):
        call(page, "mix-get-face-png", "click", stranger, newer, older, ["coarse"], 1.0, "", [], 1.0)


def test_latent_files_join_the_gallery_and_bad_ones_say_why(page, session, tmp_path):
    seed_inversion(page.app.network, 9).save(tmp_path / "nine.safetensors")
    np.savez(tmp_path / "other.npz", w=np.zeros((1, 18, 512), np.float32))
    add = handler_of(page.blocks, "mix-add", "upload")
    with pytest.raises(gr.Error, match=r"other\.npz has shape \[1, 18, 512\]"):
        add(session, [str(tmp_path / "other.npz"), str(tmp_path / "nine.safetensors")])
    assert [one.label for one in session.kept.values()] == ["seed1", "seed2", "nine.safetensors"]


def test_the_grid(page, session):
    older, newer = session.kept
    html, file = call(page, "mix-grid", "click", session, [older, newer], ["coarse"], 1.0)
    assert html.count("<img") == 1
    with Image.open(file["value"]) as opened:
        assert opened.size == (384, 384)
    with pytest.raises(gr.Error, match="1 faces came for a grid"):
        call(page, "mix-grid", "click", session, [older], ["coarse"], 1.0)


def test_the_morph_tells_how_far_it_is_and_gives_a_file(page, session):
    older, newer = session.kept
    updates = everything(call(page, "morph", "click", session, [older, newer], 12, 24, "gif", False))
    assert "12 frames drawn" in said(updates, widget(page.blocks, "morph-status"))
    file = said(updates, widget(page.blocks, "morph-file"))
    with Image.open(file) as opened:
        assert opened.n_frames == 12
    assert str(session.folder) in file


def test_the_morph_is_cancelled(page, session):
    older, newer = session.kept
    stream = call(page, "morph", "click", session, [older, newer], 300, 24, "gif", False)

    async def cancel_at_once():
        found = []
        async for update in stream:
            call(page, "morph-cancel", "click", session)
            found.append(update)
        return found

    updates = asyncio.run(cancel_at_once())
    assert "Cancelled" in said(updates, widget(page.blocks, "morph-status"))
    assert not list(session.folder.rglob("*.gif"))
