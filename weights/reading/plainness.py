"""Checks that the value of a pickle is plain data of limited size and depth."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from weights.reading.budget import ELSEWHERE, Refusal
from weights.reading.plain_data import Attributes, Name, Persistent, Storage, Unknown

MAX_DEPTH = 100  # far below Python's limit on recursion, so that users of the data may recurse
MAX_VALUES = 5_000_000  # ten for each pickle instruction that is allowed; only shared parts make more
LEAVES = frozenset((type(None), bool, int, float, str, bytes, memoryview, np.dtype, np.ndarray, Tensor))


class Extent(NamedTuple):
    """The size of a value when shared parts are counted at every reference.

    Attributes:
        depth: of nesting.
        values: number of values.
        bulk: bytes of tensors and arrays.
    """

    depth: int
    values: int
    bulk: int


def require_plain(root: Any, max_bulk: int) -> None:
    """Refuse values that are not plain data, contain themselves, are nested too deeply, or expand too much.

    A list that contains another list twice, which contains another twice, and so on, is a small file but takes
    exponential time to traverse. Therefore shared parts are counted at every reference.

    Args:
        root: the value of a pickle.
        max_bulk: limit on the bytes of all tensors and arrays.

    Raises:
        Refusal: the value is not accepted.
    """
    extents: dict[int, Extent] = {}
    entered: set[int] = set()  # containers on the path to the current value; meeting one of them again is a cycle
    pending = [root]
    while pending:
        value = pending[-1]
        key = id(value)
        if key in extents:
            pending.pop()
            continue
        inside = _inside(value)
        if key in entered:
            extents[key] = _checked(_extent(value, [extents[id(child)] for child in inside]), max_bulk)
            pending.pop()
            continue
        entered.add(key)
        for child in inside:
            if id(child) in extents:
                continue
            if id(child) in entered:
                raise Refusal(f"holds a value that holds itself; no network needs that. {ELSEWHERE}")
            if _is_leaf(child):
                extents[id(child)] = _extent(child, [])
            else:
                pending.append(child)


def _is_leaf(value: Any) -> bool:
    return type(value) in LEAVES and not _holds_objects(value)


def _holds_objects(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype.hasobject


def _inside(value: Any) -> Collection[Any]:
    kind = type(value)
    if kind in (dict, Attributes, Persistent):
        entries = value.state if kind is Persistent else value
        _refuse_unknown(entries)
        return entries.values()
    if kind in (list, tuple):
        return value
    if kind is set:  # its members are text and numbers
        _refuse_unknown(value)
        return ()
    if _holds_objects(value):
        return value.ravel().tolist()
    if kind in LEAVES:
        return ()
    if kind is Unknown:
        raise Refusal(value.reason)
    if kind is Name:
        raise Refusal(f"mentions {value.text} where data belongs. {ELSEWHERE}")
    if kind is Storage:
        raise Refusal(f"holds bare numbers without a shape where a tensor belongs. {ELSEWHERE}")
    raise Refusal(f"holds a {kind.__name__}; expected plain data. {ELSEWHERE}")


def _refuse_unknown(keys: Collection[Any]) -> None:
    for key in keys:
        if type(key) is Unknown:
            raise Refusal(key.reason)


def _extent(value: Any, inside: list[Extent]) -> Extent:
    bulk = value.nbytes if isinstance(value, (Tensor, np.ndarray)) else 0
    if not inside:
        return Extent(0, 1, bulk)
    depths, values, bulks = zip(*inside, strict=True)
    return Extent(1 + max(depths), 1 + sum(values), sum(bulks))


def _checked(extent: Extent, max_bulk: int) -> Extent:
    if extent.depth > MAX_DEPTH:
        raise Refusal(f"is nested more than {MAX_DEPTH} deep; no network needs that. {ELSEWHERE}")
    if extent.values > MAX_VALUES:
        raise Refusal(f"unfolds to more than {MAX_VALUES} values; no network needs that. {ELSEWHERE}")
    if extent.bulk > max_bulk:
        raise Refusal(f"unfolds to {extent.bulk} bytes of numbers; its length allows {max_bulk}. {ELSEWHERE}")
    return extent
