"""The command line's sentences, in the browser."""

from __future__ import annotations

import asyncio
import threading

import pytest

from relatent.core.errors import Cancelled, FaceNotFoundError, UsageError
from relatent.web.errors import handler, in_page_words, reported

gradio = pytest.importorskip("gradio")


def failing(error):
    def plain(session=None):
        raise error

    def stream(session=None):
        yield 1
        raise error

    async def coroutine(session=None):
        raise error

    async def async_stream(session=None):
        yield 1
        raise error

    return plain, stream, coroutine, async_stream


def run(function, *args):
    import inspect

    if inspect.isasyncgenfunction(function):

        async def drain():
            return [value async for value in function(*args)]

        return asyncio.run(drain())
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function(*args))
    return list(function(*args)) if inspect.isgeneratorfunction(function) else function(*args)


@pytest.mark.parametrize("kind", range(4))
def test_our_errors_become_gradios_with_the_same_sentence(kind):
    wrapped = handler(failing(FaceNotFoundError("no face found in me.jpg (3 x 4)."))[kind])
    with pytest.raises(gradio.Error) as caught:
        run(wrapped)
    assert caught.value.message == "no face found in me.jpg (3 x 4)."


@pytest.mark.parametrize("kind", range(4))
def test_a_bug_stays_a_bug(kind):
    with pytest.raises(ZeroDivisionError):
        run(handler(failing(ZeroDivisionError())[kind]))


def test_cancelling_is_no_failure_of_the_visitor():
    with pytest.raises(gradio.Error, match="nothing was kept"):
        run(handler(failing(Cancelled("step 3"))[0]))


def test_every_handler_keeps_its_visit_alive(app):
    session = app.sessions.begin()
    session.used = 0.0
    handler(lambda own: None)(session)
    assert session.used > 0
    assert len(app.sessions) == 1


def test_live_errors_go_into_the_status_line_and_leave_the_rest():
    status, picture = gradio.HTML(), gradio.HTML()
    one, _, coroutine, stream = failing(FaceNotFoundError("no face found in me.jpg (3 x 4). Use --no-align."))
    for function in (one, coroutine):
        found = run(reported(function, [picture], status))
        assert set(found) == {status}
        assert "No face found in me.jpg (3 x 4). Try a photo" in found[status]
        assert "--" not in found[status]
    *_, last = run(reported(stream, [picture], status))
    assert last == {picture: 1, status: found[status]}  # what was shown before the error is in the last message, too


def test_a_stream_without_a_message_leaves_everything():
    """Gradio takes the outputs of a generator that yields nothing to be None, and clears them."""
    status, picture = gradio.HTML(), gradio.HTML()

    async def silent():
        return
        yield

    assert run(reported(silent, [picture], status)) == [{status: gradio.skip()}]


def test_a_success_clears_the_status_line():
    status, picture, other = gradio.HTML(), gradio.HTML(), gradio.HTML()
    assert reported(lambda: "x", [picture], status)() == {picture: "x", status: ""}
    assert reported(lambda: ["x", "y"], [picture, other], status)() == {picture: "x", other: "y", status: ""}
    found = reported(lambda: {picture: "x", "said": "<so>"}, [picture], status)()
    assert "&lt;so&gt;" in found[status]


def test_a_success_leaves_the_progress_of_a_job_and_clears_an_error(app):
    status, picture = gradio.HTML(), gradio.HTML()
    session = app.sessions.begin()
    release = threading.Event()
    job = app.queue.start(lambda report: release.wait(60), session)
    draw = reported(lambda own: "x", [picture], status)
    assert status not in draw(session)
    reported(failing(UsageError("no."))[0], [picture], status)(session)
    assert draw(session)[status] == ""
    assert status not in draw(session)
    release.set()
    job.wait()
    assert draw(session)[status] == ""


def test_a_bug_is_one_sentence_and_a_number_of_the_log(caplog):
    words = in_page_words(ZeroDivisionError("secret path"))
    number = words.rstrip(".").rsplit(" ", 1)[1]
    assert "secret" not in words
    assert number in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("the queue is full. Try again.", "The queue is full. Try again."),
        ("no latent. Run `python -m inversion.project me.jpg` first.", "No latent."),
    ],
)
def test_sentences_for_the_command_line_are_left_out(said, shown):
    assert in_page_words(UsageError(said)) == shown
