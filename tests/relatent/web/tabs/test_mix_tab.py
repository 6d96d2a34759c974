import asyncio

import numpy as np
import pytest
import torch
from PIL import Image
from wiring import everything, handler_of, said, shown, widget

from editing.mixing import mix
from editing.seeds import seed_inversion
from inversion import Inversion

pytest.importorskip("gradio")


@pytest.fixture
def session(page, session):
    """A session with two faces of its own."""
    for seed in (1, 2):
        face = seed_inversion(page.app.network, seed)
        session.keep(face, page.app.draw(face), f"seed{seed}")
    return session


UNSET = ("", "", ["coarse"], 1.0, "", [], 1.0)


def file_of(page, kind, *values):
    """The file that a download button makes."""
    return said(everything(call(page, f"mix-get-{kind}", "click", *values)), widget(page.blocks, "mix-saved"))


def call(page, name, event, *values):
    return handler_of(page.blocks, name, event)(*values)


def test_the_visits_faces_are_offered_and_the_newest_two_mixed(page, session):
    show = _show(page)
    older, newer = session.kept
    gallery, base, first, second, chosen, picture, *buttons = show(session, [], *UNSET)
    assert (base["value"], first["value"], second["value"]) == (newer, older, "")
    assert chosen["value"] == [older, newer]
    assert base["choices"][1:] == [("seed1", older), ("seed2", newer)]
    assert gallery.count("<img") == 2
    assert "the mixed face" in picture
    assert all(button["interactive"] for button in buttons)
    assert buttons[0]["visible"] is False  # these faces have no photo


def _show(page):
    (found,) = [
        one for one in page.blocks.fns.values() if one.outputs and one.outputs[0] is widget(page.blocks, "mix-faces")
        and any(event == "select" for _, event in one.targets)
    ]  # fmt: skip
    return found.fn


def test_without_faces_it_says_what_to_do(page):
    empty = page.app.sessions.begin()
    *_, picture, _, _, _, _, keep = _show(page)(empty, [], *UNSET)
    assert "Two faces are needed" in picture
    assert keep["interactive"] is False


def test_a_mix_is_taken_home(page, session):
    older, newer = session.kept
    path = file_of(page, "inversion", session, newer, older, ["coarse"], 0.5, "", [], 1.0)
    found = Inversion.load(path)
    expected = mix(session.kept[newer].inversion, session.kept[older].inversion, "coarse", 0.5)
    assert torch.equal(found.ws, expected.ws)
    face = file_of(page, "face-png", session, newer, older, ["coarse"], 0.5, "", [], 1.0)
    np.testing.assert_array_equal(np.array(Image.open(face)), np.array(expected.image(page.app.network)))


def test_a_mix_joins_the_gallery(page, session):
    older, newer = session.kept
    found = call(page, "mix-keep", "click", session, newer, older, ["middle"], 1.0, "", [], 1.0)
    assert "seed2, mixed" in found[widget(page.blocks, "mix-kept")]
    assert [one.label for one in session.kept.values()] == ["seed1", "seed2", "seed2, mixed"]
    assert torch.equal(session.chosen().inversion.ws[:, 3:7], session.kept[older].inversion.ws[:, 3:7])


def test_another_visits_faces_are_not_to_be_had(page, session):
    stranger = page.app.sessions.begin()
    older, newer = session.kept
    values = (stranger, newer, older, ["coarse"], 1.0, "", [], 1.0)
    updates = everything(call(page, "mix-get-face-png", "click", *values))
    assert "There is no face yet" in said(updates, widget(page.blocks, "status"))
    assert said(updates, widget(page.blocks, "mix-saved")) is None


def test_latent_files_join_the_gallery_and_bad_ones_say_why(page, session, tmp_path):
    seed_inversion(page.app.network, 9).save(tmp_path / "nine.safetensors")
    np.savez(tmp_path / "other.npz", w=np.zeros((1, 18, 512), np.float32))
    add = handler_of(page.blocks, "mix-add", "upload")
    found = add(session, [str(tmp_path / "other.npz"), str(tmp_path / "nine.safetensors")])
    assert "other.npz has shape [1, 18, 512]" in found[widget(page.blocks, "status")]
    assert [one.label for one in session.kept.values()] == ["seed1", "seed2", "nine.safetensors"]


def test_the_grid(page, session):
    older, newer = session.kept
    found = call(page, "mix-grid", "click", session, [older, newer], ["coarse"], 1.0)
    assert found[widget(page.blocks, "mix-grid-picture")].count("<img") == 1
    with Image.open(found[widget(page.blocks, "mix-grid-file")]["value"]) as opened:
        assert opened.size == (384, 384)
    found = call(page, "mix-grid", "click", session, [older], ["coarse"], 1.0)
    assert "1 faces came for a grid" in found[widget(page.blocks, "status")]


def test_the_morph_tells_how_far_it_is_and_gives_a_file(page, session):
    older, newer = session.kept
    updates = everything(call(page, "morph", "click", session, [older, newer], 12, 24, "gif", False))
    assert "12 frames drawn" in said(updates, widget(page.blocks, "morph-status"))
    assert shown(updates[-1:]) == shown(updates)  # a slow browser may lose the messages before
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
    session.job.wait()
    assert not list(session.folder.rglob("*.gif"))
