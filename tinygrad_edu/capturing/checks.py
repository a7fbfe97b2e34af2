"""Checks that can be made on all batches of an epoch at once.

A loss looks at its targets, such as whether they are probabilities, and a program goes on only
where the answer is what it was. Where the question is put to each row, "is none below 0?", what is
true of all samples is true of every batch, and need not be asked again for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import Array
from .calls import OUT, Call, Value, expect

# Of the smallest or largest entry of a part, these are true where they are of the whole.
EXTREMES = {
    np.greater: np.minimum, np.greater_equal: np.minimum,
    np.less: np.maximum, np.less_equal: np.maximum,
}  # fmt: skip


def of_rows(calls: Sequence[Call]) -> list[Call]:
    """The guards which ask of each row the same, and the calls that lead to them alone."""
    writer = {call.out: call for call in calls if call.out is not None}
    chains: list[list[Call]] = []
    for guard in calls:
        if guard.function is expect and guard.args[1] is True:
            chain = [guard]
            if _is_extreme(guard.args[0], writer, chain):
                chains.append(chain)
    while True:
        found = {call for chain in chains for call in chain}
        needed = {v.root for call in calls if call not in found for v in call.reads()}
        alone = [chain for chain in chains if not any(call.out in needed for call in chain)]
        if len(alone) == len(chains):
            return [call for call in calls if call in found]
        chains = alone


def hold_for(calls: Sequence[Call], sources: Mapping[Value, Array]) -> bool:
    """Whether all guards among the calls hold for all rows of the arguments' sources."""
    arrays: dict[Any, Any] = dict(sources)
    for call in calls:
        if call.guard:
            if not bool(arrays[call.args[0]]):
                return False
        else:
            args = [arrays.get(x, x.array) if isinstance(x, Value) else x for x in call.args]
            arrays[call.out] = call.function(*(None if x is OUT else x for x in args))
    return True


def _is_extreme(condition: Value, writer: Mapping[Any, Call], asked: list[Call]) -> bool:
    """Whether a condition compares the smallest entry of something, or the largest, with a number,
    so that it holds of a part where it holds of the whole."""
    compare = writer.get(condition)
    if compare is None or compare.function not in EXTREMES:
        return False
    extreme, limit = compare.args[:2]
    reduce = writer.get(extreme)
    if reduce is None or (isinstance(limit, Value) and limit.kind != "constant"):
        return False
    if reduce.function != EXTREMES[compare.function].reduce or reduce.args[1] is not None:
        return False
    asked += [compare, reduce]
    return _is_of_rows(reduce.args[0], writer, asked)


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
        return len(call.args[1].shape) == 1 and _is_of_rows(call.args[0], writer, asked)
    return False
