"""The page's handlers as the browser calls them, found by the widget that starts them."""

import asyncio


def handler_of(blocks, elem_id, event):
    """The function behind an event of a widget."""
    ids = {block._id for block in blocks.blocks.values() if getattr(block, "elem_id", None) == elem_id}
    (found,) = [one for one in blocks.fns.values() if any(i in ids and e == event for i, e in one.targets)]
    return found.fn


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
    last = values[-1]
    return last.get("value", last) if isinstance(last, dict) else last
