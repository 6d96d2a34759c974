"""Shows errors in the browser as `gr.Error`, with the message that the command line would print.

Wrap every event handler with `handler`::

    button.click(handler(work), [session, ...], [...])

It marks the session (any `Session` among the arguments) as used, and turns `RelatentError` into `gr.Error`. It accepts
functions and generators, also async ones. `Cancelled` shows only a short notice.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from relatent.core.device import device_errors
from relatent.core.errors import Cancelled, MissingPackageError, RelatentError
from relatent.web.session import Session


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


def _touch(args: tuple[Any, ...]) -> None:
    for argument in args:
        if isinstance(argument, Session):
            argument.touch()
