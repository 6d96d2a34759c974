"""What the controls ask for, and the way back."""

from __future__ import annotations

import pytest
import torch

from editing import edit
from editing.seeds import seed_inversion
from relatent.core.errors import UnknownNameError, UsageError
from relatent.web.actions.edit import Change, History


def test_a_change_does_what_edit_does(app):
    me = seed_inversion(app.network, 1)
    change = Change({"smile": 2.0}, (2, 4), 0.5)
    ours = change.apply(me, app.network, app.directions)
    theirs = edit(
        me, smile=2.0, directions=list(app.directions.values()), layers="2-4", truncation=0.5, network=app.network
    )
    assert torch.equal(ours.ws, theirs.ws)
    assert ours.edits == theirs.edits == {"truncation": 0.5, "smile": 2.0}
    assert torch.equal(ours.unedited().ws, me.ws)


def test_only_the_layers_asked_for_move(app):
    me = seed_inversion(app.network, 1)
    moved = Change({"smile": 2.0}, (2, 4)).apply(me, app.network, app.directions)
    different = (moved.ws != me.ws).any(dim=2)[0]
    assert different.nonzero().flatten().tolist() == [2, 3, 4]


def test_truncation_0_is_the_average_face(app):
    me = seed_inversion(app.network, 1)
    average = Change(truncation=0.0).apply(me, app.network, app.directions)
    assert torch.allclose(average.ws[0], app.network.w_avg.expand_as(average.ws[0]))


def test_random_directions_have_a_seed(app):
    me = seed_inversion(app.network, 1)
    one, again, other = (
        Change({name: 1.0}).apply(me, app.network, {}).ws for name in ("random_7", "random_7", "random_8")
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    towards = seed_inversion(app.network, 7).ws
    assert torch.allclose(one - me.ws, towards - app.network.w_avg, atol=1e-5)


def test_unknown_names_and_layers_are_refused(app):
    me = seed_inversion(app.network, 1)
    with pytest.raises(UnknownNameError, match="smile"):
        Change({"smyle": 1.0}).apply(me, app.network, app.directions)
    with pytest.raises(UsageError, match="its layers are 0 to"):
        Change({"smile": 1.0}, (0, 40)).apply(me, app.network, app.directions)


def test_zero_strengths_are_no_change():
    assert Change({"smile": 0}) == Change()
    assert Change({"smile": 0}).nothing
    assert not Change(truncation=0.9).nothing


def test_undo_goes_back_and_a_run_of_one_control_is_one_step():
    history = History()
    for strength in (0.1, 0.2, 0.3):
        history.add(Change({"smile": strength}), "smile")
    history.add(Change({"smile": 0.3, "age": 1}), "age")
    assert history.undo() == Change({"smile": 0.3})
    assert history.undo() == Change()
    assert not history.can_undo
    assert history.undo() == Change()


def test_the_same_control_after_an_undo_is_a_new_step():
    history = History()
    history.add(Change({"smile": 1}), "smile")
    history.add(Change({"smile": 1, "age": 1}), "age")
    history.undo()
    history.add(Change({"smile": 2}), "smile")
    assert history.undo() == Change({"smile": 1})


def test_undo_goes_step_by_step_within_one_slider_and_redo_comes_back():
    history = History()
    for strength, at in ((0.1, 10.0), (0.2, 10.2), (1.0, 15.0)):  # a drag, and a click later
        history.add(Change({"smile": strength}), "smile", at)
    assert history.undo() == Change({"smile": 0.2})
    assert history.undo() == Change()
    assert history.redo() == Change({"smile": 0.2})
    assert history.redo() == Change({"smile": 1.0})
    assert not history.can_redo
    history.undo()
    history.add(Change({"age": 1}), "age")
    assert not history.can_redo  # a new step
