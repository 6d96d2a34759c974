"""The bytes of a pickle, front to back, and the stack that its instructions work on."""

from __future__ import annotations

from typing import Any

from weights.reading.budget import damaged

MAX_NAME = 256  # characters; the longest real ones have some 50


class PickleStack:
    """Where a pickle's values lie while it is read; whoever takes more than there is is told that it is damaged.

    Attributes:
        position: the first byte not read yet.
        stack: values, the newest last.
        marks: places in it that instructions come back to.
        memo: values that are mentioned again, by number.
    """

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0
        self.clear()

    def clear(self) -> None:
        """Forget all values, for the next pickle of the same file."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def take_bytes(self, count: int) -> memoryview:
        """The next ``count`` bytes, not copied."""
        end = self.position + count
        if end > len(self.data):
            raise damaged("it ends too early")
        view = self.data[self.position : end]
        self.position = end
        return view

    def take_number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take_bytes(size), "little", signed=signed)

    def pop(self, count: int) -> list[Any]:
        """The topmost values, which must lie above the last mark."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise damaged("a value is missing")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_marked(self) -> list[Any]:
        if not self.marks:
            raise damaged("a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]  # pop never goes below a mark
        del self.stack[start:]
        return values

    def top(self, kind: type[Any]) -> Any:
        """The topmost value, left there; of this kind."""
        value = self.pop(1)[0]
        self.stack.append(value)
        if not isinstance(value, kind):
            raise damaged(f"a {type(value).__name__} where a {kind.__name__} belongs")
        return value

    def line(self) -> str:
        """The next line of ASCII, which ends a GLOBAL instruction's names."""
        text, end, _ = bytes(self.data[self.position : self.position + MAX_NAME]).partition(b"\n")
        if not end:
            raise damaged("a name without an end")
        self.position += len(text) + 1
        return str(text, "utf-8")
