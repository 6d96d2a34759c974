"""Shows errors in the browser as `gr.Error`, with the message that the command line would print.

Wrap every event handler with `handler`::

    button.click(handler(work), [session, ...], [...])

Handlers outside Gradio's queue (``queue=False``) use `reported` instead, because the browser drops their exceptions.

`handler` marks the session (any `Session` among the arguments) as used, and turns `RelatentError` into `gr.Error`. It
accepts functions and generators, also async ones. `Cancelled` shows only a short notice.
"""

from __future__ import annotations

import functools
import html
import inspect
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from relatent.core.device import device_errors
from relatent.core.errors import Cancelled, FaceNotFoundError, MissingPackageError, RelatentError
from relatent.web.session import Session

SAID = "said"  # key in Session.memory: a message or an error stands in the status line
LOG = logging.getLogger("relatent.web")
OPTION = re.compile(r"(?<!\w)--\w|python -m ")  # a sentence with one of these is for the command line


def require_gradio() -> Any:
    """The package gradio.

    Raises:
        MissingPackageError: it is not installed; the message says how to install it.
    """
    try:
        import gradio
    except ImportError:
        raise MissingPackageError("gradio", "", "the page") from None
    return gradio


def handler(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with its errors shown in the browser, and its session marked as used."""
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapped_stream(*args: Any, **options: Any) -> Any:
            _touch(args)
            with shown_errors():
                async for value in function(*args, **options):
                    yield value

        return wrapped_stream
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapped_coroutine(*args: Any, **options: Any) -> Any:
            _touch(args)
            with shown_errors():
                return await function(*args, **options)

        return wrapped_coroutine
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapped_generator(*args: Any, **options: Any) -> Any:
            _touch(args)
            with shown_errors():
                yield from function(*args, **options)

        return wrapped_generator

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        _touch(args)
        with shown_errors():
            return function(*args, **options)

    return wrapped


@contextmanager
def shown_errors() -> Iterator[None]:
    """Turn `RelatentError` into `gr.Error` with the same message; other exceptions are bugs and are passed on."""
    gradio = require_gradio()
    try:
        with device_errors():
            yield
    except Cancelled:
        raise gradio.Error(
            "Cancelled; nothing was kept.", title="Cancelled", duration=4, print_exception=False
        ) from None
    except RelatentError as error:
        raise gradio.Error(str(error), title="That did not work", duration=None, print_exception=False) from None


def _touch(args: tuple[Any, ...]) -> Session | None:
    """Mark the session among the arguments as used; returns it."""
    found = next((argument for argument in args if isinstance(argument, Session)), None)
    if found is not None:
        found.touch()
    return found


def _has_said(session: Session | None) -> None:
    if session is not None:
        session.memory[SAID] = True


def reported(function: Callable[..., Any], outputs: Sequence[Any], status: Any) -> Callable[..., Any]:
    """``function`` with its errors in the status line, which the visit's next success clears.

    The line of a job at work stays: a slider that is moved meanwhile does not clear its progress.

    Of what an async generator yields, only the last message is sure to arrive whole. Gradio sends messages as
    differences, and its browser code applies one to the last message in place, even if that still waits to be shown:
    a property of a `gr.update` that the next message lacks is lost (gradio 6.31). The last message is sent again in
    full, so it has to hold all that must not be lost. An error keeps what was yielded just before it.

    Args:
        function: a function, a coroutine function or an async generator; its values are those of ``outputs``, or a
            dict of updates.
        outputs: the components that it fills. A dict may have a text under "said" for the status line.
        status: the component of the status line, which must be an output of the event as well.

    Returns:
        A function whose values are dicts, so that an error leaves all other components as they are.
    """

    def updates(value: Any, session: Session | None) -> dict[Any, Any]:
        if value is None:
            found: dict[Any, Any] = {}
        elif isinstance(value, dict) and not isinstance(value.get("__type__"), str):
            found = {key: one for key, one in value.items() if key != "said"}
            if "said" in value:
                found[status] = status_text(value["said"])
                _has_said(session)
        elif len(outputs) == 1:
            found = {outputs[0]: value}
        else:
            found = dict(zip(outputs, value, strict=True))
        working = session is not None and session.job is not None and not session.job.finished
        if status not in found and (not working or (session and session.memory.pop(SAID, False))):
            found[status] = ""
        return found

    def failure(error: Exception, session: Session | None) -> dict[Any, Any]:
        _has_said(session)
        return {status: error_html(error)}

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapped_stream(*args: Any, **options: Any) -> Any:
            session = _touch(args)
            last: dict[Any, Any] = {}
            try:
                with device_errors():
                    async for value in function(*args, **options):
                        last = updates(value, session)
                        # Gradio takes the values out of the updates that it is given.
                        yield {key: dict(one) if isinstance(one, dict) else one for key, one in last.items()}
            except Exception as error:
                yield {**last, **failure(error, session)}
                return
            if not last:
                yield {status: require_gradio().skip()}  # Gradio clears all outputs of a generator that yields nothing

        return wrapped_stream
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapped_coroutine(*args: Any, **options: Any) -> Any:
            session = _touch(args)
            try:
                with device_errors():
                    return updates(await function(*args, **options), session)
            except Exception as error:
                return failure(error, session)

        return wrapped_coroutine

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        session = _touch(args)
        try:
            with device_errors():
                return updates(function(*args, **options), session)
        except Exception as error:
            return failure(error, session)

    return wrapped


def status_text(text: str) -> str:
    """The status line with a message."""
    return f'<div class="relatent-status" role="status"><p>{html.escape(text)}</p></div>'


def error_html(error: Exception) -> str:
    """The status line for an error. An unexpected one is logged under a number, which the visitor can quote."""
    if isinstance(error, Cancelled):
        return status_text("Cancelled; nothing was kept.")
    return f'<div class="relatent-status error" role="alert"><p>{html.escape(in_page_words(error))}</p></div>'


def in_page_words(error: Exception) -> str:
    """The message of an error without what only the command line has."""
    if not isinstance(error, RelatentError):
        number = secrets.token_hex(3)
        LOG.error("error %s", number, exc_info=error)
        return f"Something went wrong on this page. Please try again; its log describes the error as number {number}."
    text = page_words(str(error))
    if isinstance(error, FaceNotFoundError):
        text += " Try a photo in which the face is larger and looks towards the camera."
    return text


def page_words(message: str) -> str:
    """An error message of this project without the sentences that only the command line needs."""
    sentences = re.split(r"(?<=[.!?]) +(?=[A-Z])", message)
    kept = [sentence for sentence in sentences if not OPTION.search(sentence)]
    text = " ".join(kept) if kept else message
    if "." not in text.split(" ")[0]:  # a file's name keeps its letters
        text = text[:1].upper() + text[1:]
    return text
