"""A pickle interpreter that can only build plain data.

A pickle is a program. Python's own machine runs it, and the program may import and call what it likes. This one knows
the instructions that real networks use and no others; a name is looked up in a table
(:mod:`weights.reading.plain_data`), a call is a call of that table's function, and every instruction is paid for from a
budget.

A training snapshot holds more than one network, and what nobody asked for may be of any class. Where a pickle asks for
what the table does not have, an ``Unknown`` takes its place: nothing is imported, nothing is called, and whoever wants
that part of the file is told why there is none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from weights.reading.budget import ELSEWHERE, Budget, Overspent, Refusal, damaged, unknown_name
from weights.reading.plain_data import CONSTANTS, Maker, Name, Unknown, give_state, hashable, usual_name
from weights.reading.stack import MAX_NAME, PickleStack

MAX_TEXT = 2**20  # characters of one string; the longest in real files is a module's source
MAX_WHOLE = 32  # bytes of a whole number; a random generator's state takes 17
CALL_STEPS = 5  # what a call costs beside its own instruction
PROTOCOLS = range(2, 6)
STOP = ord(".")

PersistentLoad = Callable[[Any], Any]


class PickleMachine(PickleStack):
    """Reads the pickles in ``data``, one :meth:`run` each, front to back.

    Attributes:
        unknown: what could not be read, in the order in which it came; empty unless ``run`` was to go on.
    """

    def __init__(self, data: memoryview, budget: Budget) -> None:
        super().__init__(data)
        self.budget = budget
        self.unknown: list[Unknown] = []
        self._start({}, None, False)

    def _start(self, known: Mapping[str, Maker], persistent_load: PersistentLoad | None, go_on: bool) -> None:
        self.known, self.persistent_load, self.go_on = known, persistent_load, go_on
        self.clear()

    def run(
        self,
        known: Mapping[str, Maker] | None = None,
        persistent_load: PersistentLoad | None = None,
        *,
        go_on: bool = False,
    ) -> Any:
        """One pickle's value: plain data, and :class:`Name`, Storage and the like where the pickle put them.

        Args:
            known: what may be imported, and the function that stands for it; None for nothing.
            persistent_load: gives the value of a persistent id; None if there must be none.
            go_on: put an :class:`Unknown` in the place of what is not known, instead of refusing the pickle.

        Raises:
            Refusal: damaged, too expensive, or, unless it is to ``go_on``, asking for anything that is not known.
        """
        self._start(known or {}, persistent_load, go_on)
        while True:
            self.budget.spend_steps(1)
            code = self.take_bytes(1)[0]
            if code == STOP:
                return self.pop(1)[0]
            operation = OPERATIONS.get(code)
            if operation is None and self.unknown:
                raise Refusal(self.unknown[0].reason)
            if operation is None:
                raise Refusal(
                    f"uses the pickle instruction {code:#04x}, which no network needs; it is damaged or hostile. "
                    f"Nothing was run. {ELSEWHERE}"
                )
            operation(self)

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

    def not_read(self, refusal: Refusal, name: str = "") -> Unknown:
        """What stands for a part that cannot be read; raises ``refusal`` if that is not to be passed over."""
        if not self.go_on or isinstance(refusal, Overspent):
            raise refusal
        self.unknown.append(Unknown(name, str(refusal)))
        return self.unknown[-1]

    def key(self, value: Any) -> Any:
        """``value`` as a key; what may be none is not looked at."""
        if type(value) is Unknown:
            return value
        try:
            return hashable(value)
        except Refusal as refusal:
            return self.not_read(refusal)

    def target(self, kind: type[Any]) -> Any:
        """The topmost value, a container that is filled; None if it is unknown, and what goes into it is dropped."""
        return None if type(self.top(object)) is Unknown else self.top(kind)

    def append(self) -> None:
        self._extend(self.pop(1))

    def appends(self) -> None:
        self._extend(self.pop_marked())

    def _extend(self, values: list[Any]) -> None:
        target = self.target(list)
        if target is not None:
            target.extend(values)

    def set_item(self) -> None:
        self._set(self.pop(2))

    def set_items(self) -> None:
        self._set(self.pop_marked())

    def _set(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise damaged("a key without a value")
        target = self.target(dict)
        if target is not None:
            for key, value in zip(values[::2], values[1::2], strict=True):
                target[self.key(key)] = value

    def add_items(self) -> None:
        values = self.pop_marked()
        target = self.target(set)
        if target is not None:
            target.update(map(self.key, values))

    def frozen_set(self) -> None:
        self.stack.append(set(map(self.key, self.pop_marked())))

    def pop_one(self) -> None:
        self.pop(1)

    def pop_mark(self) -> None:
        self.pop_marked()

    def put(self, index: int) -> None:
        self.memo[index] = self.top(object)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise damaged("a remembered value is missing")
        self.stack.append(self.memo[index])

    def global_name(self) -> None:
        self.name(self.line(), self.line())

    def stack_global(self) -> None:
        self.name(*self.pop(2))

    def name(self, module: Any, attribute: Any) -> None:
        if not all(type(part) is str and len(part) <= MAX_NAME for part in (module, attribute)):
            raise damaged("a name that is none")
        name = usual_name(f"{module}.{attribute}")
        if name in self.known:
            self.stack.append(Name(name))
        elif self.known and name in CONSTANTS:
            self.stack.append(name)
        else:
            self.stack.append(self.not_read(unknown_name(name), name))

    def call(self) -> None:
        """REDUCE and NEWOBJ: call the table's function for a name, never the object of that name."""
        function, arguments = self.pop(2)
        if type(function) not in (Name, Unknown) or type(arguments) is not tuple:
            raise Refusal(f"calls a {type(function).__name__}; a network file has no need of that. Nothing was run.")
        self.budget.spend_steps(CALL_STEPS)
        self.stack.append(function if type(function) is Unknown else self._made(function, arguments))

    def _made(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """What the function makes; where an argument is unknown, so is what would be made of it."""
        unknown = next((argument for argument in arguments if type(argument) is Unknown), None)
        if unknown is not None:
            return unknown
        try:
            return self.known[function.text](arguments, self.budget)
        except Refusal as refusal:
            return self.not_read(refusal, function.text)

    def build(self) -> None:
        (state,) = self.pop(1)
        target = self.top(object)
        if type(target) is Unknown:
            return
        try:
            give_state(target, state, self.budget)
        except Refusal as refusal:
            self._forget(target, self.not_read(refusal))

    def _forget(self, target: Any, unknown: Unknown) -> None:
        """Put ``unknown`` in the place of the topmost value, also where it is remembered."""
        self.pop(1)
        self.stack.append(unknown)
        self.budget.spend_steps(len(self.memo))
        self.memo |= {index: unknown for index, value in self.memo.items() if value is target}

    def persistent_id(self) -> None:
        (identity,) = self.pop(1)
        if self.persistent_load is None:
            raise Refusal(f"refers to data outside its pickle; expected none. {ELSEWHERE}")
        unknown = next((one for one in identity if type(one) is Unknown), None) if type(identity) is tuple else None
        self.stack.append(self.persistent_load(identity) if unknown is None else unknown)


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
    0x91: PickleMachine.frozen_set,
    ord("0"): PickleMachine.pop_one,
    ord("1"): PickleMachine.pop_mark,
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
