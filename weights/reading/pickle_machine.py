"""A pickle interpreter that can only build plain data.

A pickle is a program, which in Python's own interpreter can import and call anything. This interpreter supports only
the instructions that occur in network files. Names are looked up in a table (:mod:`weights.reading.plain_data`), calls
call the functions of that table, and the number of instructions is limited by a budget.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from weights.reading.budget import ELSEWHERE, Budget, Refusal, damaged, unknown_name
from weights.reading.plain_data import Maker, Name, give_state, hashable

MAX_TEXT = 2**20  # characters of one string; the longest in real files is a module's source
MAX_NAME = 256
MAX_WHOLE = 16  # bytes of an integer
CALL_STEPS = 5  # steps of the budget for a call, in addition to its instruction
PROTOCOLS = range(2, 6)
STOP = ord(".")

PersistentLoad = Callable[[Any], Any]


class PickleMachine:
    """Reads consecutive pickles from ``data``, one with each :meth:`run`.

    Attributes:
        position: of the next byte to read.
    """

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self.data, self.budget, self.position = data, budget, 0
        self._start({}, None)

    def _start(self, known: Mapping[str, Maker], persistent_load: PersistentLoad | None) -> None:
        self.known, self.persistent_load = known, persistent_load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, known: Mapping[str, Maker] | None = None, persistent_load: PersistentLoad | None = None) -> Any:
        """The value of the next pickle: plain data, which may contain :class:`Name`, Storage and Persistent.

        Args:
            known: the names that may be imported, with their replacement functions; None for no names.
            persistent_load: returns the value of a persistent id; None to refuse persistent ids.

        Raises:
            Refusal: damaged, over budget, or using an unknown instruction or name.
        """
        self._start(known or {}, persistent_load)
        while True:
            self.budget.spend_steps(1)
            code = self.take_bytes(1)[0]
            if code == STOP:
                return self.pop(1)[0]
            operation = OPERATIONS.get(code)
            if operation is None:
                raise Refusal(
                    f"uses the pickle instruction {code:#04x}, which no network needs; it is damaged or hostile. "
                    f"Nothing was run. {ELSEWHERE}"
                )
            operation(self)

    def take_bytes(self, count: int) -> memoryview:
        """The next ``count`` bytes, without copying."""
        end = self.position + count
        if end > len(self.data):
            raise damaged("it ends too early")
        view = self.data[self.position : end]
        self.position = end
        return view

    def take_number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take_bytes(size), "little", signed=signed)

    def pop(self, count: int) -> list[Any]:
        """Pop values from the stack; they must lie above the last mark."""
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
        """The topmost value, which must be of type ``kind`` and stays on the stack."""
        value = self.pop(1)[0]
        self.stack.append(value)
        if not isinstance(value, kind):
            raise damaged(f"a {type(value).__name__} where a {kind.__name__} belongs")
        return value

    def protocol(self) -> None:
        version = self.take_number(1)
        if version not in PROTOCOLS:
            raise Refusal(f"is a pickle of protocol {version}; expected 2 to 5. {ELSEWHERE}")

    def frame(self) -> None:
        self.take_bytes(8)  # the length of the frame, a hint for buffered reading

    def text(self, size: int) -> None:
        length = self.take_number(size)
        if length > MAX_TEXT:
            raise Refusal(f"holds a text of {length} bytes; no network needs that. {ELSEWHERE}")
        self.budget.spend_characters(length)
        self.stack.append(str(self.take_bytes(length), "utf-8"))

    def short_bytes(self) -> None:
        self.stack.append(bytes(self.take_bytes(self.take_number(1))))

    def long_bytes(self, size: int) -> None:
        """Push a view without copying, because these bytes are most of a file; a storage copies them once."""
        self.stack.append(self.take_bytes(self.take_number(size)))

    def whole_number(self) -> None:
        length = self.take_number(1)
        if length > MAX_WHOLE:
            raise Refusal(f"holds a whole number of {length} bytes; no network needs that. {ELSEWHERE}")
        self.stack.append(self.take_number(length, signed=True))

    def make_tuple(self, count: int) -> None:
        self.stack.append(tuple(self.pop(count)))

    def append(self) -> None:
        (value,) = self.pop(1)
        self.top(list).append(value)

    def appends(self) -> None:
        values = self.pop_marked()
        self.top(list).extend(values)

    def set_item(self) -> None:
        key, value = self.pop(2)
        self.top(dict)[hashable(key)] = value

    def set_items(self) -> None:
        values = self.pop_marked()
        target = self.top(dict)
        if len(values) % 2:
            raise damaged("a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[hashable(key)] = value

    def add_items(self) -> None:
        values = self.pop_marked()
        self.top(set).update(map(hashable, values))

    def put(self, index: int) -> None:
        self.memo[index] = self.top(object)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise damaged("a remembered value is missing")
        self.stack.append(self.memo[index])

    def line(self) -> str:
        """The next line, an argument of the GLOBAL instruction."""
        text, end, _ = bytes(self.data[self.position : self.position + MAX_NAME]).partition(b"\n")
        if not end:
            raise damaged("a name without an end")
        self.position += len(text) + 1
        return str(text, "utf-8")

    def global_name(self) -> None:
        self.name(self.line(), self.line())

    def stack_global(self) -> None:
        self.name(*self.pop(2))

    def name(self, module: Any, attribute: Any) -> None:
        if not all(type(part) is str and len(part) <= MAX_NAME for part in (module, attribute)):
            raise damaged("a name that is none")
        name = f"{module}.{attribute}"
        if name not in self.known:
            raise unknown_name(name)
        self.stack.append(Name(name))

    def call(self) -> None:
        """REDUCE and NEWOBJ: call the table's function for a name, never the object of that name."""
        function, arguments = self.pop(2)
        if type(function) is not Name or type(arguments) is not tuple:
            raise Refusal(f"calls a {type(function).__name__}; a network file has no need of that. Nothing was run.")
        self.budget.spend_steps(CALL_STEPS)
        self.stack.append(self.known[function.text](arguments, self.budget))

    def build(self) -> None:
        (state,) = self.pop(1)
        give_state(self.top(object), state, self.budget)

    def persistent_id(self) -> None:
        (identity,) = self.pop(1)
        if self.persistent_load is None:
            raise Refusal(f"refers to data outside its pickle; expected none. {ELSEWHERE}")
        self.stack.append(self.persistent_load(identity))


Operation = Callable[[PickleMachine], None]


def _constant(make: Callable[[], Any]) -> Operation:
    return lambda machine: machine.stack.append(make())


OPERATIONS: dict[int, Operation] = {
    0x80: PickleMachine.protocol,
    0x95: PickleMachine.frame,
    ord("("): lambda machine: machine.marks.append(len(machine.stack)),
    ord("N"): _constant(lambda: None),
    0x88: _constant(lambda: True),
    0x89: _constant(lambda: False),
    ord("J"): lambda machine: machine.stack.append(machine.take_number(4, signed=True)),
    ord("K"): lambda machine: machine.stack.append(machine.take_number(1)),
    ord("M"): lambda machine: machine.stack.append(machine.take_number(2)),
    0x8A: PickleMachine.whole_number,
    ord("G"): lambda machine: machine.stack.append(struct.unpack(">d", machine.take_bytes(8))[0]),
    ord("X"): lambda machine: machine.text(4),
    0x8C: lambda machine: machine.text(1),
    0x8D: lambda machine: machine.text(8),
    ord("C"): PickleMachine.short_bytes,
    ord("B"): lambda machine: machine.long_bytes(4),
    0x8E: lambda machine: machine.long_bytes(8),
    0x96: lambda machine: machine.long_bytes(8),
    ord("]"): _constant(list),
    ord("}"): _constant(dict),
    ord(")"): _constant(tuple),
    0x8F: _constant(set),
    ord("a"): PickleMachine.append,
    ord("e"): PickleMachine.appends,
    ord("s"): PickleMachine.set_item,
    ord("u"): PickleMachine.set_items,
    0x90: PickleMachine.add_items,
    ord("t"): lambda machine: machine.stack.append(tuple(machine.pop_marked())),
    0x85: lambda machine: machine.make_tuple(1),
    0x86: lambda machine: machine.make_tuple(2),
    0x87: lambda machine: machine.make_tuple(3),
    ord("q"): lambda machine: machine.put(machine.take_number(1)),
    ord("r"): lambda machine: machine.put(machine.take_number(4)),
    0x94: lambda machine: machine.put(len(machine.memo)),
    ord("h"): lambda machine: machine.get(machine.take_number(1)),
    ord("j"): lambda machine: machine.get(machine.take_number(4)),
    ord("c"): PickleMachine.global_name,
    0x93: PickleMachine.stack_global,
    ord("R"): PickleMachine.call,
    0x81: PickleMachine.call,
    ord("b"): PickleMachine.build,
    ord("Q"): PickleMachine.persistent_id,
}
