"""Checks that are made in one call, or on all batches of an epoch at once.

A loss looks at its targets, such as whether they are probabilities, and a program goes on only
where the answer is what it was. "Is none below 0?" are three calls of NumPy's, for which one
function will do. Where the question is put to each row, what is true of all samples is true of
every batch, and need not be asked again for each.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..ops import largest, smallest
from .calls import OUT, Call, Mispredicted, Value, expect

# Of the smallest or largest entry of a part, these are true where they are of the whole: by what
# a program finds the entry, and how the same is asked in one call.
EXTREMES: dict[Any, tuple[Any, Callable[[Any], Any], Callable[[Any, Any], bool]]] = {
    np.greater: (np.minimum.reduce, smallest, operator.gt),
    np.greater_equal: (np.minimum.reduce, smallest, operator.ge),
    np.less: (np.maximum.reduce, largest, operator.lt),
    np.less_equal: (np.maximum.reduce, largest, operator.le),
}


def in_one_call(calls: Sequence[Call], results: Iterable[Value]) -> dict[Call, Call | None]:
    """The guards on a smallest or largest entry, each with a call that asks the same; and the calls
    that led to them alone, each with None.

    results  what is read when all calls have been made
    """
    writer = {call.out: call for call in calls if call.out is not None}
    read = [*(value for call in calls for value in call.reads()), *results]
    reads = Counter(value.root for value in read)  # views of it are it
    found: dict[Call, Call | None] = {}
    for guard in calls:
        if guard.function is not expect or guard.args[1] is not True:
            continue
        led = _extreme_of(guard.args[0], writer)
        if led is None or (x := led[1].args[0]).root.kind == "home":
            continue  # a home may have been written over when it is asked about
        limit = led[0].args[1]
        limit = limit.array.item() if isinstance(limit, Value) else limit
        _, extreme, compare = EXTREMES[led[0].function]
        found[guard] = Call(expect_extreme, (extreme, compare, x, limit), None)
        last = guard
        for call in led:
            reads[call.out] -= sum(value.root is call.out for value in last.reads())
            if reads[call.out]:
                break
            found[call], last = None, call
    return found


def expect_extreme(
    extreme: Callable[[Array], Any], compare: Callable[[Any, Any], bool], array: Array, limit: Any
) -> None:
    """Go on only where the smallest or largest entry, and so each, compares so with the limit."""
    if not compare(extreme(array), limit):
        raise Mispredicted


def of_rows(calls: Sequence[Call], results: Iterable[Value]) -> list[Call]:
    """The guards which ask of each row the same, and the calls that lead to them alone.

    results  what is read when all calls have been made
    """
    wanted = {value.root for value in results}
    writer = {call.out: call for call in calls if call.out is not None}
    chains: list[list[Call]] = []
    for guard in calls:
        if guard.function is expect and guard.args[1] is True:
            chain = [guard]
            if _is_extreme(guard.args[0], writer, chain):
                chains.append(chain)
    while True:
        found = {call for chain in chains for call in chain}
        needed = {v.root for call in calls if call not in found for v in call.reads()} | wanted
        alone = [chain for chain in chains if not any(call.out in needed for call in chain)]
        if len(alone) == len(chains):
            return [call for call in calls if call in found]
        chains = alone


def hold_for(calls: Sequence[Call], sources: Mapping[Value, Array]) -> bool:
    """Whether all guards among the calls hold for all rows of the arguments' sources."""
    arrays: dict[Any, Any] = dict(sources)
    try:
        for call in calls:
            args = [
                None if x is OUT else arrays.get(x, x.array) if isinstance(x, Value) else x
                for x in call.args
            ]
            arrays[call.out] = call.function(*args)
    except Mispredicted:
        return False
    return True


def _is_extreme(condition: Value, writer: Mapping[Any, Call], asked: list[Call]) -> bool:
    """Whether a condition compares the smallest entry of something, or the largest, with a number,
    so that it holds of a part where it holds of the whole."""
    led = _extreme_of(condition, writer)
    if led is None:
        return False
    asked += led
    return _is_of_rows(led[1].args[0], writer, asked)


def _extreme_of(condition: Any, writer: Mapping[Any, Call]) -> tuple[Call, Call] | None:
    """The comparison of a smallest or largest entry with a number that a condition is, and the
    reduction which finds it."""
    compare = writer.get(condition)
    if compare is None or compare.function not in EXTREMES:
        return None
    extreme, limit = compare.args[:2]
    reduce = writer.get(extreme)
    if reduce is None or np.shape(limit.array if isinstance(limit, Value) else limit):
        return None
    if isinstance(limit, Value) and limit.kind != "constant":
        return None
    if reduce.function != EXTREMES[compare.function][0] or reduce.args[1] is not None:
        return None
    return compare, reduce


def _is_of_rows(value: Any, writer: Mapping[Any, Call], asked: list[Call]) -> bool:
    """Whether each row of a value depends on the same row of the arguments only."""
    if not isinstance(value, Value) or value.kind == "constant":
        return not isinstance(value, Value) or value.shape == ()
    if value.kind == "argument":
        return bool(value.shape)
    call = writer.get(value)
    if call is None:
        return False
    asked.append(call)
    if call.elementwise and isinstance(call.function, np.ufunc):
        return all(
            _is_of_rows(x, writer, asked)
            and not (isinstance(x, Value) and x.shape and len(x.shape) < len(value.shape))
            for x in call.args
            if x is not OUT
        )
    if call.function == np.add.reduce and call.args[1] in (-1, (-1,)):
        return len(call.args[0].shape) > 1 and _is_of_rows(call.args[0], writer, asked)
    if call.function is np.ndarray.dot and call.args[1].kind == "constant":  # rows times ones
        shapes = [len(x.shape) for x in call.args[:2]]
        return shapes == [2, 1] and _is_of_rows(call.args[0], writer, asked)
    return False
