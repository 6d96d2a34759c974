"""A session remembers little, shares nothing, and leaves nothing behind."""

from __future__ import annotations

import copy
import threading
import time

import numpy as np
import pytest
from PIL import Image

from editing.seeds import seed_inversion
from relatent.core.errors import Cancelled, UsageError
from relatent.web.actions.edit import Change

ALIGNED = np.zeros((32, 32, 3), np.uint8)


def test_every_copy_is_a_new_visit(app):
    first = app.sessions.begin()
    first.memory["photo"] = "mine"
    second = copy.deepcopy(first)
    assert second is not first
    assert second.memory == {}
    assert second.folder != first.folder


def test_files_have_names_nobody_can_guess(app):
    session = app.sessions.begin()
    one, two = session.new_file("me.png"), session.new_file("../../me.png")
    assert one.name == two.name == "me.png"
    assert one.parent != two.parent
    assert all(path.is_relative_to(session.folder) for path in (one, two))
    assert len(one.parent.name) >= 32
    assert session.folder.stat().st_mode & 0o077 == 0


def test_uploads_are_copied_and_their_first_copy_goes_with_the_visit(app):
    session = app.sessions.begin()
    arrived = app.sessions.folder / "uploads" / "abc" / "me.png"
    arrived.parent.mkdir(parents=True)
    arrived.write_bytes(b"picture")
    own = session.take_upload(arrived)
    assert own.read_bytes() == b"picture"
    assert arrived.exists()  # another visitor may have sent the same
    assert session.take_upload(own) == own
    session.end()
    assert not own.exists()
    assert not arrived.exists()


def test_only_so_many_faces_are_kept_and_the_newest_is_current(app):
    session = app.sessions.begin()
    kept = [session.keep(seed_inversion(app.network, seed), ALIGNED, "me") for seed in range(3)]
    assert list(session.kept) == [kept[1].key, kept[2].key]
    assert session.chosen() is kept[2]
    assert session.chosen(kept[1].key) is kept[1]
    assert len({one.label for one in kept}) == 3
    with pytest.raises(UsageError, match="5 minutes"):
        session.chosen(kept[0].key)


def test_a_visit_without_a_face_says_what_to_do(app):
    with pytest.raises(UsageError, match="Choose a photo first"):
        app.sessions.begin().chosen()


def test_an_unused_visit_ends_and_a_used_one_stays(app, face):
    unused, _ = face()
    used, one = face()
    now = time.monotonic()
    unused.used = now - 301
    assert app.sessions.sweep() == 1
    assert unused.kept == {}
    assert one.photo.parent.parent != unused.folder
    assert one.photo.exists()
    assert used.chosen() is one
    assert app.sessions.sweep(now + 302) >= 1
    assert not one.photo.exists()


def test_a_closed_tab_ends_the_visit_soon_unless_it_comes_back(app, face):
    session, one = face()
    app.sessions.arrive(session, "session")
    app.sessions.leave("session")
    assert app.sessions.sweep() == 0
    session.touch()
    assert app.sessions.sweep(time.monotonic() + 11) == 0
    app.sessions.arrive(session, "session")
    app.sessions.leave("session")
    assert app.sessions.sweep(time.monotonic() + 11) == 1
    assert not one.photo.exists()


def test_leaving_stops_the_work(app):
    session, never = app.sessions.begin(), threading.Event()

    def task(report):
        while not never.wait(0.005):
            if not report(1, 2):
                raise Cancelled("stopped")

    job = app.queue.start(task, session)
    app.sessions.arrive(session, "session")
    app.sessions.leave("session")
    assert job.wait(5)


def test_a_visit_is_small(app, face):
    """Latents, not pictures: what stays in memory of a face is far below one photo."""
    session, one = face()
    inversion = one.inversion
    held = inversion.ws.nbytes + sum(level.nbytes for level in inversion.noise or ()) + one.aligned.nbytes
    assert held < 100_000
    assert session.folder.exists()
    session.end()
    assert not list(app.sessions.folder.rglob("*.png"))


def test_a_token_finds_its_session_while_that_lives(app):
    session = app.sessions.begin()
    session.touch()
    assert app.sessions.again(session.token) is session
    assert app.sessions.again("") is None
    assert app.sessions.again("guessed") is None
    app.sessions.end_all()
    assert app.sessions.again(session.token) is None


def test_a_reload_that_arrives_before_the_old_tab_has_left_keeps_the_session(app):
    session = app.sessions.begin()
    app.sessions.arrive(session, "old")
    app.sessions.arrive(session, "new")
    app.sessions.leave("old")
    assert session.left is None
    app.sessions.leave("new")
    assert session.left is not None


def test_a_better_latent_keeps_the_edits(app, face):
    session, one = face()
    one.history.add(Change({"smile": 1}))
    better = one.inversion.replace(ws=one.inversion.ws + 1)
    refined = session.refine(one.key, better, preset="best")
    assert session.chosen() is refined
    assert refined.history is one.history
    assert (refined.inversion, refined.preset) == (better, "best")


class Lasting:
    """A batch at work."""

    ended, cancelled = None, False

    def cancel(self):
        self.cancelled = True


def test_a_batch_outlasts_a_reload(app):
    session, batch = app.sessions.begin(), Lasting()
    session.touch()
    session.batch = batch
    session.leave()
    minutes, seconds = app.sessions.minutes * 60, app.sessions.leave_seconds
    assert not batch.cancelled
    assert app.sessions.sweep(session.left + seconds + 1) == 0
    batch.ended = session.left + seconds + 10
    assert app.sessions.sweep(batch.ended + seconds - 1) == 0  # time to fetch the results
    assert app.sessions.sweep(batch.ended + seconds + 1) == 1
    session.batch = batch = Lasting()
    session.touch()
    session.leave()
    assert app.sessions.sweep(session.left + minutes + 1) == 1  # nobody has come back
    assert batch.cancelled


def test_the_screen_copy_of_the_latest_photo_stays_decoded(app, tmp_path):
    session = app.sessions.begin()
    files = []
    for level in (10, 200):
        files.append(tmp_path / f"{level}.png")
        Image.new("RGB", (4, 3), (level, level, level)).save(files[-1])
    inversion = seed_inversion(app.network, 1)
    first, second = (session.keep(inversion, ALIGNED, "me", photo=file) for file in files)
    assert first.screen is second.screen  # one for the visit: the memory of one picture
    assert first.screen.read(files[0]).tolist() == [[[10] * 3] * 4] * 3
    files[0].unlink()
    pixels = second.screen.read(files[0])  # from memory
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0
    assert second.screen.read(files[1]).max() == 200
    with pytest.raises(FileNotFoundError):
        first.screen.read(files[0])  # that one is forgotten
    session.end()
    assert session.keep(inversion, ALIGNED, "me").screen is not first.screen
