"""What happens to a photo, without a browser."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from PIL import Image
from wiring import called, chain_of, chained, everything, said, shown, widget

from inversion.project import demo_photo
from relatent.core.images import Photo
from relatent.face import Face
from relatent.web.actions.faces import DetectedFaces
from relatent.web.tabs.photo import tags_html

pytest.importorskip("gradio")
SETTINGS = ("fast", 0, "", 303, "embedded", False, True)


def arrive(page, session, path):
    return chained(page.blocks, "photo", "input", session, str(path), *SETTINGS)


@pytest.fixture
def meadow(tmp_path):
    Image.new("RGB", (160, 120), (90, 160, 80)).save(tmp_path / "meadow.png")
    return tmp_path / "meadow.png"


def test_a_photo_is_inverted_by_itself_and_the_next_one_clears_it(page, session, meadow):
    blocks = page.blocks
    updates = everything(arrive(page, session, demo_photo()))
    assert "Done" in said(updates, widget(blocks, "status"))
    assert "<img" in said(updates, widget(blocks, "edited"))
    assert shown(updates)[widget(blocks, "invert")]["interactive"] is True
    assert session.chosen().preset == "fast"
    updates = everything(arrive(page, session, meadow))
    assert said(updates, widget(blocks, "edited")) == ""
    assert not any("<img" in str(update.get(widget(blocks, "edited"), "")) for update in updates)
    first = updates[0]
    assert first[widget(blocks, "quick-smile")]["interactive"] is False
    assert first[widget(blocks, "get-photo")]["interactive"] is False
    status = said(updates, widget(blocks, "status"))
    assert "No face found in meadow.png (160 x 120)." in status
    assert "--" not in status
    assert session.current == ""


def test_a_newer_photo_silences_the_work_on_the_older_one(page, session, meadow):
    async def both():
        older = arrive(page, session, demo_photo())
        await anext(older)
        newer = [update async for update in arrive(page, session, meadow)]
        return [update async for update in older], newer

    older, newer = asyncio.run(both())
    assert not any(widget(page.blocks, "edited") in update for update in older)
    assert session.kept == {}
    assert "No face" in said(newer, widget(page.blocks, "status"))


def test_cancel_ends_the_fast_inversion_at_once(page, session):
    async def cancelled():
        found = []
        async for update in arrive(page, session, demo_photo()):
            found.append(update)
            if session.job is not None:
                session.cancel()
        return found

    updates = asyncio.run(cancelled())
    assert "Cancelled; nothing was kept." in said(updates, widget(page.blocks, "status"))
    assert session.kept == {}
    session.job.wait()


def test_a_face_that_is_inverted_anew_stays_when_that_is_cancelled(page, session):
    everything(arrive(page, session, demo_photo()))
    before = session.chosen()

    async def cancelled():
        found = []
        async for update in chained(page.blocks, "invert", "click", session, *SETTINGS):
            found.append(update)
            if session.job is not None and not session.job.finished:
                session.cancel()
        return found

    updates = asyncio.run(cancelled())
    assert "Stopped; the face stays as it was." in said(updates, widget(page.blocks, "status"))
    assert session.chosen() is before
    session.job.wait()


BALANCED = ("balanced", 2, *SETTINGS[2:])


@pytest.mark.parametrize(
    ("name", "event", "inputs"),
    [
        ("photo", "input", (str(demo_photo()), *BALANCED)),
        pytest.param("example", "click", BALANCED, marks=pytest.mark.slow),
        pytest.param("invert", "click", BALANCED, marks=pytest.mark.slow),
        ("photo", "input", ("meadow.png", *BALANCED)),
    ],
)
def test_a_slow_browser_shows_the_same_in_the_end(page, session, meadow, name, event, inputs):
    """Gradio's browser code may lose properties of any message but the last one of an event."""
    if name == "invert":
        everything(arrive(page, session, demo_photo()))
    inputs = [str(meadow) if value == "meadow.png" else value for value in inputs]
    first, *followers = chain_of(page.blocks, name, event)
    events = [everything(called(first, session, *inputs))]
    events += [everything(called(follower, session)) for follower in followers]
    whole, lossy = (
        shown([message for messages in events for message in messages]),
        shown([messages[-1] for messages in events if messages]),
    )
    assert lossy == whole
    assert len(whole) > 3


def test_settings_that_cannot_be_used_leave_the_buttons_on(page, session):
    everything(arrive(page, session, demo_photo()))
    refused = [*SETTINGS[:4], "nonsense", *SETTINGS[5:]]
    updates = everything(chained(page.blocks, "invert", "click", session, *refused))
    assert "nonsense" in said(updates, widget(page.blocks, "status"))
    assert shown(updates)[widget(page.blocks, "invert")]["interactive"] is True


def test_numbers_stand_beside_several_faces():
    faces = tuple(Face(np.zeros((68, 2)), (x, 20.0, x + 40, 60.0), 1.0) for x in (100.0, 20.0))
    found = DetectedFaces(None, "us.jpg", faces, 2)
    photo = Photo(np.zeros((100, 200, 3), np.uint8), "us.jpg")
    marks = tags_html(found, photo)
    assert 'data-face="1" aria-label="Face 1" style="left:50.0%;top:20.0%"' in marks
    assert 'chosen" data-face="2"' in marks
    assert tags_html(DetectedFaces(None, "me.jpg", faces[:1]), photo) == ""
