"""Lanes: what is done to each parameter alike is done to all of them at once.

The update of a network is the same few calls for each parameter. Each entry has its own part in
them, so where all parameters lie side by side in memory, and all gradients, one call does for the
whole network what took one for each of its hundreds of arrays, and gives the same bits. It goes
along them in pieces which stay in the processor's cache from one call to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..arrays import Array
from .calls import OUT, Call, Value, values_in

PIECE = 32768  # entries that are gone through at once


@dataclass
class Lanes:
    """Calls on several arrays that can be made on all of them together.

    calls     for each of the arrays, in order; what they have in between is nobody else's
    vectors   the values that have to lie side by side: homes, or results
    starts    where each member of a vector begins, and
    length    where the last one ends, in entries
    last      the call in whose place they are made
    """

    calls: list[list[Call]]
    vectors: list[list[Value]]
    starts: list[int]
    length: int
    dtype: Any
    last: Call

    def pieces(self, rows: dict[Value, Array]) -> Iterator[tuple[Callable[..., Any], list[Any]]]:
        """The calls, with pieces of the rows that the vectors lie in (by their first value)."""
        template = self.calls[0]
        size = max(1, min(self.length, PIECE))
        between = {c.out: np.empty(size, c.out.dtype) for c in template[:-1]}
        for start in range(0, self.length, size):
            stop = min(start + size, self.length)

            def piece(x: Any, own: Value, start: int = start, stop: int = stop) -> Any:
                x = own if x is OUT else x
                if x in between:
                    return between[x][: stop - start]
                if isinstance(x, Value) and (row := rows.get(owner(x))) is not None:
                    return row[start:stop]
                return x

            for call in template:
                yield call.function, [piece(x, call.out) for x in call.args]


def owner(value: Value) -> Value:
    """The value in whose memory this one lies: a new value of a home is written over the home."""
    return value.block if isinstance(value.block, Value) else value


def lanes(calls: Sequence[Call], last: dict[Value, int]) -> list[Lanes]:
    """What can be done together, of calls whose values for homes have been `_settle`d; `last` says
    when each value is read for the last time, `len(calls)` if it is kept."""
    place = {call: i for i, call in enumerate(calls)}
    writer = {call.out: call for call in calls if call.out is not None}
    readers: dict[Value, list[Call]] = {}
    for call in calls:
        for value in {v.root for v in call.reads()}:
            readers.setdefault(value, []).append(call)
    alike: dict[Any, list[tuple[list[Call], list[Value]]]] = {}
    for call in calls:
        if call.out is not None and isinstance(call.out.block, Value):
            lane = _Lane(call.out.block, writer, readers, last, len(calls))
            if (key := lane.key(call)) is not None:
                alike.setdefault(key, []).append((lane.calls, lane.leaves))
    found: list[Lanes] = []
    vector_of: dict[Value, tuple[Any, ...]] = {}
    for members in alike.values():
        made = _together(members, place)
        vectors = {value: tuple(vector) for vector in made.vectors for value in vector}
        alone = len(vectors) == sum(map(len, made.vectors))  # no lane needs what is another's
        agreed = all(vector_of.get(value, vector) == vector for value, vector in vectors.items())
        if alone and agreed and (len(members) > 1 or made.length > PIECE):
            found.append(made)
            vector_of.update(vectors)
    while wrong := [f for f in found if not _can_wait(f, found, calls, place)]:
        found.remove(wrong[0])
    return found


class _Lane:
    """What leads from the values that lie ready to the new value of one home."""

    def __init__(self, home: Value, writer: Any, readers: Any, last: Any, end: int) -> None:
        self.home, self._writer, self._readers = home, writer, readers
        self._last, self._end = last, end
        self.calls: list[Call] = []
        self.leaves: list[Value] = [home]

    def key(self, call: Call) -> Any:
        """What lanes that are alike have in common; None: this cannot be one."""
        if (key := self._call(call)) is None or not _is_row(self.home):
            return None
        for inner in self.calls[:-1]:
            if not all(reader in self.calls for reader in self._readers[inner.out]):
                return None
        return (self.home.dtype, key)

    def _call(self, call: Call) -> Any:
        if not call.elementwise:
            return None
        key: list[Any] = [call.function]
        for x in call.args:
            if (part := self._operand(x)) is None:
                return None
            key.append(part)
        if call not in self.calls:
            self.calls.append(call)
        return tuple(key)

    def _operand(self, x: Any) -> Any:
        if x is OUT:
            return "out"
        if not isinstance(x, Value):
            return None if any(True for _ in values_in(x)) else (type(x), repr(x))
        if x.root.kind in ("constant", "number"):
            return ("same", id(x)) if prod(x.shape) == 1 else None
        if x.of is not None or (x.shape, x.dtype) != (self.home.shape, self.home.dtype):
            return None
        mine = owner(x)
        if mine.kind == "home" or self._last.get(x) == self._end:
            if not _is_row(mine):
                return None
            if mine not in self.leaves:
                self.leaves.append(mine)
            return (mine.kind, self.leaves.index(mine))
        if x.kind != "result":
            return None
        inner = self._writer[x]
        return ("inner", self.calls.index(inner)) if inner in self.calls else self._call(inner)


def _is_row(value: Value) -> bool:
    """Whether its entries lie in a row, and could do so anywhere."""
    return value.in_a_row and value.kind in ("home", "result")


def _together(members: list[tuple[list[Call], list[Value]]], place: dict[Call, int]) -> Lanes:
    starts, length = [], 0
    for _, (home, *_) in members:
        starts.append(length)
        length += prod(home.shape)
    calls = [lane for lane, _ in members]
    vectors = [list(vector) for vector in zip(*(leaves for _, leaves in members), strict=True)]
    last = max((lane[-1] for lane in calls), key=place.__getitem__)
    return Lanes(calls, vectors, starts, length, members[0][1][0].dtype, last)


def _can_wait(
    found: Lanes, others: list[Lanes], calls: Sequence[Call], place: dict[Call, int]
) -> bool:
    """Whether all can be made in the place of the last: nobody before that needs what they write,
    or writes over what they need."""
    end = place[found.last]
    when = place | {c: place[f.last] for f in others for lane in f.calls for c in lane}
    mine = {call for lane in found.calls for call in lane}
    written = {owner(lane[-1].out): place[lane[-1]] for lane in found.calls}
    read = {owner(v.root): place[call] for call in mine for v in call.reads()}
    for call in calls:
        if call in mine or when[call] > end:
            continue
        if any(place[call] > written.get(owner(v.root), end) for v in call.reads()):
            return False
        if call.out is not None and place[call] > read.get(owner(call.out), end):
            return False
    return True
