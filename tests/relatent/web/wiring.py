"""The page's handlers as the browser calls them, found by the widget that starts them."""

import asyncio
import inspect


def handler_of(blocks, elem_id, event):
    """The function behind an event of a widget."""
    return event_of(blocks, elem_id, event).fn


def chain_of(blocks, elem_id, event):
    """The functions behind an event of a widget, and behind the events that follow it by ``then``."""
    found = [event_of(blocks, elem_id, event)]
    while following := [one for one in blocks.fns.values() if one.trigger_after == found[-1]._id]:
        found += following
    return [one.fn for one in found]


async def called(function, *inputs):
    """What a handler yields or returns, as a stream."""
    answer = function(*inputs)
    if inspect.isasyncgen(answer):
        async for value in answer:
            yield value
    else:
        yield await answer if inspect.isawaitable(answer) else answer


async def chained(blocks, elem_id, event, session, *inputs):
    """What an event and those that follow it yield; the followers get the session alone."""
    first, *followers = chain_of(blocks, elem_id, event)
    async for value in called(first, session, *inputs):
        yield value
    for follower in followers:
        async for value in called(follower, session):
            yield value


def shown(messages):
    """The widgets' properties after some messages, where those of each message arrive whole; values are left out."""
    found = {}
    for message in messages:
        for one, update in message.items():
            if isinstance(update, dict) and update.get("__type__") == "update":
                found.setdefault(one, {}).update({key: value for key, value in update.items() if key != "value"})
    return found


def event_of(blocks, elem_id, event):
    """An event of a widget, as Gradio keeps it."""
    ids = {block._id for block in blocks.blocks.values() if getattr(block, "elem_id", None) == elem_id}
    (found,) = [one for one in blocks.fns.values() if any(i in ids and e == event for i, e in one.targets)]
    return found


def widget(blocks, elem_id):
    (found,) = [block for block in blocks.blocks.values() if getattr(block, "elem_id", None) == elem_id]
    return found


def everything(stream):
    """All that an asynchronous handler yields."""

    async def collect():
        return [value async for value in stream]

    return asyncio.run(collect())


def said(updates, one):
    """The last value that a stream of updates gave a widget."""
    values = [update[one] for update in updates if one in update]
    last = [value for value in values if value != {"__type__": "update"}][-1]  # what gr.skip() is
    return last.get("value", last) if isinstance(last, dict) else last
