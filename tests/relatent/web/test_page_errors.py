"""The command line's sentences, in the browser."""

from __future__ import annotations

import asyncio

import pytest

from relatent.core.errors import Cancelled, FaceNotFoundError
from relatent.web.errors import handler

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
