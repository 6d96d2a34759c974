"""The Drag tab's handlers, as the browser calls them."""

import json

import pytest
from wiring import everything, handler_of, said, shown, widget

from editing.seeds import seed_inversion
from relatent.web.actions.drag import Marks
from stylegan import load
from weights.embedded import DEFAULT_NETWORK

pytest.importorskip("gradio")

MARKS = Marks(((0.36, 0.72, 0.33, 0.7),))


@pytest.fixture
def session(page, session):
    face = seed_inversion(page.app.network, 2, psi=0.7)
    session.keep(face, page.app.draw(face), "seed2")
    return session


def call(page, name, *values):
    return handler_of(page.blocks, name, "click")(*values)


def told(page, updates, name):
    return said(updates, widget(page.blocks, name))


def test_a_drag_is_seen_on_the_way_and_undone(page, session):
    one = session.chosen()
    updates = everything(call(page, "drag-start", session, MARKS.text()))
    pictures = [update[picture] for picture in [widget(page.blocks, "drag-picture")] for update in updates
                if picture in update]  # fmt: skip
    assert all("data:image/jpeg" in html for html in pictures)
    assert "every point has arrived" in told(page, updates, "status")
    assert json.loads(told(page, updates, "drag-marks"))["pairs"] == []
    on = [update[widget(page.blocks, "drag-stop")]["interactive"] for update in updates
          if widget(page.blocks, "drag-stop") in update]  # fmt: skip
    assert on == [True] * (len(on) - 1) + [False]
    assert shown(updates[-1:]) == shown(updates)  # a slow browser may lose the messages before
    (drag,) = one.history.now.drags
    side = load(DEFAULT_NETWORK).resolution
    assert drag.targets[0] == pytest.approx((0.33 * side - 0.5, 0.7 * side - 0.5))
    start = round(0.36 * side - 0.5, 2), round(0.72 * side - 0.5, 2)
    lines = handler_of(page.blocks, "lines", "expand")(session)
    shell = told(page, [lines], "shell")
    assert f"python -m editing drag out/photo --pixels face --from {start[0]:g},{start[1]:g}" in shell
    assert f"me = drag(me, [({start[0]:g}, {start[1]:g})]" in told(page, [lines], "python")
    handler_of(page.blocks, "quick-smile", "click")(session)
    assert one.history.now.drags == (drag,)  # a slider leaves it alone
    call(page, "drag-undo", session)
    call(page, "drag-undo", session)
    assert one.history.now.nothing


def test_bad_points_are_said_and_leave_the_buttons_on(page, session):
    updates = everything(call(page, "drag-start", session, Marks(((0.5, 0.5, 0.5, 0.5),)).text()))
    assert "is to end there" in told(page, updates, "status")
    assert updates[-1][widget(page.blocks, "drag-start")]["interactive"]
    assert shown(updates[-1:]) == shown(updates)
    updates = everything(call(page, "drag-start", session, "nonsense"))
    assert "Reload the page" in told(page, updates, "status")
    assert session.chosen().history.now.nothing


def test_points_come_and_go_by_numbers(page, session):
    added = call(page, "drag-add", session, "", 10, 20, 30, 40)
    text = told(page, [added], "drag-marks")
    assert Marks.read(text).pairs == ((0.1, 0.2, 0.3, 0.4),)
    assert Marks.read(told(page, [call(page, "drag-remove", session, text)], "drag-marks")) == Marks()
    assert "four numbers" in told(page, [call(page, "drag-add", session, text, 10, 20, 30, None)], "status")
    assert Marks.read(told(page, [call(page, "drag-reset", session)], "drag-marks")) == Marks()


def test_without_a_face_it_says_what_to_do(page):
    empty = page.app.sessions.begin()
    (show,) = [
        one.fn for one in page.blocks.fns.values()
        if one.outputs and one.outputs[0] is widget(page.blocks, "drag-picture")
        and any(event == "select" for _, event in one.targets)
    ]  # fmt: skip
    assert "No face yet" in told(page, [show(empty)], "drag-picture")
    assert "no face yet" in told(page, everything(call(page, "drag-start", empty, MARKS.text())), "status")


def test_the_brush_can_be_chosen(page):
    assert all(widget(page.blocks, name).interactive for name in ("drag-mode", "drag-brush"))
