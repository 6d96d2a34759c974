"""The handlers of the Photo tab's controls, without a browser."""

import pytest
from wiring import event_of, handler_of, widget

from editing.pasting import BLENDS
from editing.seeds import seed_inversion
from relatent.web.tabs.direction_slider import ENDS
from relatent.web.tabs.edit import QUICK

pytest.importorskip("gradio")
SMILE = QUICK["Smile"][1]


@pytest.fixture
def kept(page, session):
    inversion = seed_inversion(page.app.network, 1)
    return session.keep(inversion, page.app.draw(inversion), "seed1")


def call(page, name, event, *values):
    return handler_of(page.blocks, name, event)(*values)


def advanced(page, seed=1, far=0.0, first=0, last=None, truncation=1.0, blend=BLENDS[0]):
    """What the browser sends of the controls below Advanced."""
    return [seed, far, first, page.app.network.num_ws - 1 if last is None else last, truncation, blend]


def test_before_the_first_face_a_slider_says_so_in_the_status_line(page, session):
    found = call(page, "slider-smile", "input", session, 1)
    status = widget(page.blocks, "status")
    assert set(found) == {status}
    assert "There is no face yet" in found[status]


def test_a_number_out_of_range_is_clamped_and_said(page, session, kept):
    found = call(page, "slider-smile", "input", session, 7)
    assert found[widget(page.blocks, "slider-smile")] == 2.0
    assert "Smile goes from -2 to 2; it is 2 now." in found[widget(page.blocks, "status")]
    assert kept.history.now.strengths == {"smile": 2.0}


def test_the_next_success_clears_the_status_line(page, session, kept):
    status = widget(page.blocks, "status")
    wrong = advanced(page, first=5, last=2)
    assert "error" in call(page, "first-layer", "input", session, *wrong)[status]
    assert call(page, "slider-smile", "input", session, 1)[status] == ""


def test_only_buttons_that_change_are_sent_while_a_slider_moves(page, session, kept):
    stage = [widget(page.blocks, name) for name in ("undo", "redo", "quick-smile", "compare")]
    found = call(page, "slider-smile", "input", session, 0.6)
    assert found[stage[0]]["interactive"] is True
    found = call(page, "slider-smile", "input", session, 0.7)
    assert widget(page.blocks, "edited") in found
    assert not set(stage) & set(found)
    found = call(page, "slider-smile", "input", session, SMILE)  # as the quick button does
    assert found[stage[2]]["variant"] == "primary"
    call(page, "undo", "click", session)
    found = call(page, "slider-smile", "input", session, 0.5)
    assert found[stage[1]]["interactive"] is False  # nothing to redo after a new edit


def test_a_quick_button_sets_takes_back_and_leaves_the_rest(page, session, kept):
    call(page, "slider-yaw", "input", session, 0.5)
    found = call(page, "quick-smile", "click", session)
    assert kept.history.now.strengths == {"yaw": 0.5, "smile": SMILE}
    assert found[widget(page.blocks, "slider-smile")] == SMILE
    assert found[widget(page.blocks, "undo")]["interactive"] is True
    call(page, "quick-smile", "click", session)
    assert kept.history.now.strengths == {"yaw": 0.5}
    call(page, "undo", "click", session)
    found = call(page, "redo", "click", session)
    assert kept.history.now.strengths == {"yaw": 0.5}
    assert found[widget(page.blocks, "redo")]["interactive"] is False


def test_sliders_and_the_controls_below_advanced_leave_each_other_s_values(page, session, kept):
    call(page, "slider-smile", "input", session, 1.0)
    call(
        page, "truncation", "input", session, *advanced(page, far=0.5, seed=7, first=2, truncation=0.8, blend="replace")
    )
    call(page, "slider-yaw", "input", session, -1.0)
    now = kept.history.now
    assert now.strengths == {"smile": 1.0, "random_7": 0.5, "yaw": -1.0}
    assert (now.layers, now.truncation) == ((2, page.app.network.num_ws - 1), 0.8)
    assert session.memory["blend"] == "replace"
    call(page, "random-strength", "input", session, *advanced(page, seed=8, far=0.2))
    assert kept.history.now.strengths == {"smile": 1.0, "yaw": -1.0, "random_8": 0.2}


def test_moves_of_one_slider_are_one_step_and_of_two_are_two(page, session, kept):
    for name, value in (("smile", 0.5), ("smile", 0.6), ("yaw", 0.5)):
        call(page, f"slider-{name}", "input", session, value)
    call(page, "undo", "click", session)
    assert kept.history.now.strengths == {"smile": 0.6}
    call(page, "undo", "click", session)
    assert kept.history.now.strengths == {}


def test_a_slider_sends_and_gets_no_more_than_it_needs(page):
    event = event_of(page.blocks, "slider-smile", "input")
    assert len(event.inputs) == 2
    assert not {widget(page.blocks, f"slider-{name}") for name in ("yaw", "age")} & set(event.outputs)


def test_every_slider_says_what_its_ends_are(page):
    for name, direction in page.app.directions.items():
        info = widget(page.blocks, f"slider-{name}").info
        assert info == (" \u2194 ".join(ENDS[name]) if name in ENDS else direction.facts["up"])
        assert widget(page.blocks, f"batch-{name}").info == info


def test_the_network_s_words_are_turn_and_nod_here(page):
    assert widget(page.blocks, "slider-yaw").label == "Turn"
    assert widget(page.blocks, "slider-pitch").label == "Nod"
