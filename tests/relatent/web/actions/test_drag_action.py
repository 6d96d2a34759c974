"""Points from the browser, drags of a face as it is now, and their place among the other edits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from editing.photo_faces import photo_face
from relatent.core.errors import UsageError
from relatent.core.images import to_pixels
from relatent.face.crop import pack_crop
from relatent.web.actions import drag as drag_action
from relatent.web.actions.drag import (
    Marks,
    Measuring,
    Square,
    Stroke,
    account,
    add_drag,
    drag_face,
    marks_at,
    square_of,
)
from relatent.web.actions.edit import Change, DragMove, dragged
from relatent.web.actions.results import changed, shown

PAIR = (0.48, 0.48, 0.55, 0.48)


def test_marks_survive_the_way_to_the_browser():
    marks = Marks((PAIR, (0.1, 0.2, 0.3, 0.4)), (Stroke(0.05, ((0.5, 0.5), (0.6, 0.5))),))
    assert Marks.read(marks.text()) == marks
    assert Marks.read("") == Marks()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "came as"),
        ("[]", "came as"),
        ("[" * 5000, "came as"),
        ('{"pairs": [[1, 2, 3]]}', "came as"),
        ('{"pairs": [[NaN, 2, 3, 4]]}', "came as"),
        ('{"pairs": [["a", 2, 3, 4]]}', "came as"),
        ('{"pairs": 3}', "came as"),
        ('{"strokes": [{"radius": 1}]}', "came as"),
        (json.dumps({"pairs": [[0, 0, 1, 1]] * 200}), "200 points came"),
        (json.dumps({"strokes": [{"radius": 0.1, "places": [[0, 0]] * 30_000}]}), "too many strokes"),
    ],
)
def test_bad_marks_get_a_sentence(text, said):
    with pytest.raises(UsageError, match=said):
        Marks.read(text)


def test_points_come_from_number_fields_and_go_again():
    marks = Marks().with_pair([48, "48", 55.0, 48])
    assert marks.pairs == (PAIR,)
    assert marks.without_last() == Marks().without_last() == Marks()
    for values, said in (
        ([1, 2, 3, None], "four numbers"),
        ([1, 2, 3, "x"], "four numbers"),
        ([1, 2, 3, 101], "four numbers"),
        ([1, 2, 1, 2], "ends where it starts"),
    ):
        with pytest.raises(UsageError, match=said):
            marks.with_pair(values)
    with pytest.raises(UsageError, match="100 points already"):
        Marks((PAIR,) * 100).with_pair([1, 2, 3, 4])


def test_a_painted_mask_lies_where_the_brush_went():
    mask = Marks((), (Stroke(0.1, ((0.25, 0.5), (0.75, 0.5))),)).mask(32)
    assert mask.shape == (32, 32)
    assert mask[15:17, 8:24].min() > 0.95  # along the stroke
    assert mask[:11].max() < 0.05 > mask[21:].max()
    assert Marks().mask(32) is None
    assert Marks((), (Stroke(0.05, ((0.5, 0.5),)),)).mask(32)[15:17, 15:17].min() > 0.5  # a touch
    assert Marks((), (Stroke(9e9, ((9e9, -9e9),)),)).mask(32) is not None


def test_what_drags_are_compared_with_is_measured_once(app, monkeypatch):
    asked = []
    monkeypatch.setattr(drag_action, "usual_distance", lambda *given: asked.append(given))
    measuring = Measuring(app)
    assert not measuring.done
    measuring.begin()
    measuring.begin()
    measuring.wait()
    assert measuring.done
    assert asked == [(app.network, app.network_lock.quick)]


@pytest.mark.parametrize("change", [Change(), Change({"smile": 0.3}), Change({"smile": 0.3}, None, 0.5)])
def test_a_drag_joins_the_other_edits(app, face, change):
    _, one = face()
    one.history.add(change)
    before = changed(app, one)
    steps = []
    result = drag_face(app, one, Marks((PAIR,)), steps.append)
    assert np.linalg.norm(result.points - result.targets) < 0.5 * 0.07 * 32
    assert np.allclose(marks_at(steps[0], Marks((PAIR,)), 32).pairs, [PAIR])
    assert add_drag(app, one, before, Marks((PAIR,)), result)
    now = changed(app, one)
    assert torch.allclose(now.ws, result.face.ws, atol=1e-5)
    assert set(now.edits) == {*before.edits, *result.face.edits}
    assert torch.equal(now.unedited().ws, one.inversion.ws)
    assert not one.history.now.nothing
    drags = one.history.now.drags
    one.history.add(Change(drags=drags))  # sliders go back, and the drag stays
    assert torch.allclose(changed(app, one).ws, one.inversion.ws + drags[0].ws, atol=1e-5)
    one.history.undo()
    one.history.undo()
    assert one.history.now == change
    assert torch.equal(changed(app, one).ws, before.ws)


def test_a_masked_drag_shows_in_its_mask_until_something_else_is_edited(app, face):
    _, one = face()
    marks = Marks((PAIR,), (Stroke(0.2, ((0.5, 0.5),)),))
    before = changed(app, one)
    result = drag_face(app, one, marks)
    add_drag(app, one, before, marks, result)
    assert np.array_equal(changed(app, one).mask[0, 0], marks.mask(32))
    one.history.add(Change({"smile": 1}, drags=one.history.now.drags))
    assert changed(app, one).mask is None


def test_masks_of_drags_add_up():
    from editing.seeds import seed_inversion
    from stylegan import Generator, GeneratorConfig

    network = Generator(GeneratorConfig(resolution=8, z_dim=4, w_dim=4, mapping_layers=1, channel_base=32))
    start = seed_inversion(network.eval().requires_grad_(False), 0)
    left, right = torch.zeros(2, 1, 1, 8, 8)
    left[..., :4], right[..., 6:] = 1, 1
    moves = [DragMove(torch.ones_like(start.ws), name, mask, (), (), ()) for name, mask in (("a", left), ("b", right))]
    both = dragged(start, tuple(moves))
    assert torch.equal(both.mask, left + right)
    assert torch.allclose(both.ws, start.ws + 2)
    everywhere = DragMove(start.ws, "c", None, (), (), ())
    assert dragged(start, (*moves, everywhere)).mask is None
    edited = start.replace(edits={"smile": 1.0}, origin=start.ws)
    assert dragged(edited, tuple(moves)).mask is None  # or the smile would vanish
    assert dragged(edited.replace(mask=right), tuple(moves[:1])).mask.sum() == (left + right).sum()


def test_bad_drags_get_a_sentence(app, face):
    _, one = face()
    for marks, said in (
        (Marks(), "no point is marked"),
        (Marks(((0.5, 0.5, 1.5, 0.5),)), "outside the face"),
        (Marks(((0.5, 0.5, 0.5, 0.5),)), "is to end there"),
        (Marks((PAIR, (*PAIR[:2], 0.1, 0.1))), "same place"),
        (Marks((PAIR,), (Stroke(0.01, ((3, 3),)),)), "leaves nothing"),
    ):
        with pytest.raises(UsageError, match=said):
            drag_face(app, one, marks)
    one.history.add(Change({}, None, 0.0))
    with pytest.raises(UsageError, match="truncation is 0"):
        drag_face(app, one, Marks((PAIR,)))
    assert one.history.now.drags == ()


def test_a_stopped_drag_keeps_what_it_has_and_nothing_adds_nothing(app, face):
    _, one = face()
    before, seen = changed(app, one), []
    result = drag_face(app, one, Marks((PAIR,)), lambda step: bool(seen.append(step)))
    assert result.reason == "stopped"
    assert account(result, 32) == (
        f"{result.steps} step{'s' * (result.steps > 1)}: it was stopped. The farthest point is "
        f"{100 * np.linalg.norm(result.points - result.targets) / 32:.1f} % of the face's side from its end."
    )
    nothing = result.__class__(**{**vars(result), "face": before.replace(edits={"drag:1,1>2,2": 1.0})})
    assert not add_drag(app, one, before, Marks(), nothing)
    assert one.history.now.nothing


def test_the_square_is_the_photo_s(app, face):
    session, one = face()
    assert square_of(app, one).found is None  # neither the photo's face nor a crop is kept
    assert np.array_equal(square_of(app, one).picture(one.inversion), to_pixels(one.inversion.tensor(app.network))[0])
    photo = np.random.default_rng(0).integers(60, 200, (100, 120, 3), dtype=np.uint8)
    one = session.keep(one.inversion.replace(crop=pack_crop(photo, one.inversion.face_to_photo, 32)), one.aligned, "me")
    square = square_of(app, one)
    assert np.array_equal(square.picture(one.inversion), photo_face(one.inversion, app.network).pixels)
    result = drag_face(app, one, Marks((PAIR,)))
    add_drag(app, one, one.inversion, Marks((PAIR,)), result)
    assert np.array_equal(square.picture(changed(app, one)), shown(app, one).face)
    assert isinstance(square, Square)
