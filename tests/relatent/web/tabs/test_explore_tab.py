import pytest
import torch
from PIL import Image
from wiring import handler_of, widget

from editing.seeds import seed_inversion
from relatent.web.actions.explore import COUNT, KINDS
from relatent.web.tabs.explore import SHEET
from stylegan import load
from weights.embedded import DEFAULT_NETWORK

pytest.importorskip("gradio")
STILL = [0.0] * (COUNT * len(KINDS))


def drawing(page):
    """Gives the picture of the controls, as the browser gets it."""
    picture = widget(page.blocks, "explore-picture")
    return lambda *values: handler_of(page.blocks, "explore-psi", "input")(*values)[picture]


def test_every_component_has_a_slider_that_moves_the_face(page, session):
    draw = drawing(page)
    still = draw(session, 3, 0.7, "all", *STILL)
    assert "seed 3" in still
    seen = {still}
    for number, kind in enumerate(KINDS):
        for component in (0, COUNT - 1):
            assert widget(page.blocks, f"explore-{kind}-{component + 1}").minimum < 0
            moved = [*STILL]
            moved[number * COUNT + component] = 3.0
            seen.add(draw(session, 3, 0.7, "all", *moved))
    assert len(seen) == 5


def test_a_kept_face_is_in_the_gallery(page, session):
    moved = [1.5, *STILL[1:]]
    found = handler_of(page.blocks, "explore-keep", "click")(session, 3, 0.7, "all", *moved)
    assert "seed 3" in found[widget(page.blocks, "explore-kept")]
    one = session.chosen()
    plain = seed_inversion(page.app.network, 3, 0.7)
    assert one.inversion.edits == {"sefa_0": 1.5}
    assert torch.equal(one.inversion.origin, plain.ws)


def test_many_faces_at_once(page, session):
    found = handler_of(page.blocks, "explore-many", "click")(session, 40, 0.7)
    shown = found[widget(page.blocks, "explore-sheet")]
    assert [text for _, text in shown] == [f"seed {seed}" for seed in range(40, 40 + SHEET)]
    for path, _ in shown:
        assert path.startswith(str(session.folder))
        with Image.open(path) as opened:
            assert opened.size == (load(DEFAULT_NETWORK).resolution,) * 2


def test_what_is_no_seed_is_refused_in_words(page, session):
    found = handler_of(page.blocks, "explore-psi", "input")(session, -1, 0.7, "all", *STILL)
    assert set(found) == {widget(page.blocks, "status")}
    assert "The seed is -1; expected a whole number from 0 to 4294967295" in found[widget(page.blocks, "status")]


def test_the_about_tab_shows_the_texts(page):
    assert "FairFace" in widget(page.blocks, "about-card").value
    assert "iBUG 300-W" in widget(page.blocks, "about-licences").value
    assert "Ask." in widget(page.blocks, "about-use").value
