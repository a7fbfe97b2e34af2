"""Anomalies: where the first number came from that is not finite.

Once there is a NaN, everything computed from it is NaN too; what one wants to know is where it
first appeared. `first_nonfinite` walks a graph that was recorded, oldest operation first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .engine import RELEASED, Array, Box, describe, history


@dataclass(frozen=True)
class Anomaly:
    """The first result that is not finite, and what it was computed from.

    op        the operation's name; "" if the number came in from outside, with an input
    value     the array with the number in it: the operation's result, or that input
    place     the index of the first such entry
    number    that entry: nan, inf or −inf
    message   all of it in words, which `str` gives

    Example:
        >>> import tinygrad_edu as tg
        >>> Anomaly("log", np.array([0.0, -np.inf]), (1,), -np.inf, "log gave -inf").op
        'log'
    """

    op: str
    value: Array
    place: tuple[int, ...]
    number: float
    message: str

    def __str__(self) -> str:
        return self.message


def first_nonfinite(output: Box, infinity: bool = True) -> Anomaly | None:
    """The first operation on the way to `output` whose result is not finite while its inputs are.

    If an input came in that way (data with a NaN, a weight that has become infinite), it is this
    input that is named. None if all is finite. `infinity=False` looks for NaN only, where −∞ is
    meant (logits of what is impossible).

    Raises:  RuntimeError if nothing was recorded, or `backward()` has released it: ask before, or
             call `backward(retain_graph=True)`
    Example:
        >>> import tinygrad_edu as tg
        >>> p = tg.Tensor([0.5, 0.0], requires_grad=True, name="p")
        >>> with np.errstate(divide="ignore", invalid="ignore"):
        ...     loss = (p * tg.log(p)).sum()
        >>> print(first_nonfinite(loss))
        log gave -inf at [1], 1 of 2 entries
          received p (2,) float64, there 0.0
    """
    nodes = history(output) if isinstance(output, Box) and output.record is not None else []
    if not nodes:
        raise RuntimeError(f"nothing was recorded that led to {describe(output)}")
    if any(node.record[1] is RELEASED for node in nodes):
        raise RuntimeError(
            "backward() has released this graph; ask before it, or call backward(retain_graph=True)"
        )
    for node in nodes:
        _, op, args, raw, _ = node.record
        if (found := anomaly_in(op.name, args, raw, node.value, infinity)) is not None:
            return found
    return None


def anomaly_in(
    op: str, args: Sequence[Any], raw: Sequence[Any], value: Array, infinity: bool = True
) -> Anomaly | None:
    """What is not finite among the inputs and the result of one operation; of inputs only those
    that no other operation answers for.

    Example:
        >>> x = np.array([4.0, -1.0])
        >>> print(anomaly_in("sqrt", [x], [x], np.array([2.0, np.nan])))
        sqrt gave nan at [1], 1 of 2 entries
          received (2,) float64, there -1.0
    """
    for arg, x in zip(args, raw, strict=True):
        if (place := first_place(x, infinity)) is not None:
            told = f"{describe(arg)} holds {_told(x, place, infinity)} and went into {op}"
            return Anomaly("", np.asarray(x), place, float(np.asarray(x)[place]), told)
    if (place := first_place(value, infinity)) is None:
        return None
    told = f"{op} gave {_told(value, place, infinity)}"
    for arg, x in zip(args, raw, strict=True):
        there = f", there {np.asarray(x)[place]}" if np.shape(x) == value.shape else ""
        told += f"\n  received {describe(arg)}{there}"
    return Anomaly(op, value, place, float(value[place]), told)


def first_place(x: Any, infinity: bool = True) -> tuple[int, ...] | None:
    """The index of the first entry that is not finite, or None.

    Example:
        >>> first_place(np.array([[1.0, 2.0], [np.inf, np.nan]]))
        (1, 0)
    """
    wrong = _wrong(x, infinity)
    if not wrong.any():
        return None
    return tuple(map(int, np.unravel_index(int(wrong.argmax()), wrong.shape)))


def _wrong(x: Any, infinity: bool) -> Array:
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return np.zeros(x.shape, bool)
    return np.asarray(~np.isfinite(x) if infinity else np.isnan(x))


def _told(x: Any, place: tuple[int, ...], infinity: bool) -> str:
    x = np.asarray(x)
    if not x.ndim:
        return str(x)
    return f"{x[place]} at {list(place)}, {_wrong(x, infinity).sum()} of {x.size} entries"
