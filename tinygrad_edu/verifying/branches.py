"""Note the branches that a run of `forward` takes: both sides of each threshold, or one only.

relu, abs, maximum, minimum, clip, where and comparisons compute one formula on one side of a
threshold and another one beyond it. A problem whose numbers all stay on one side says nothing about
the other, so each run notes which sides were reached, and at which call in the source.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from .. import engine
from ..engine import Box, Record
from ..operation import Op

__all__ = ["Branch", "Branches"]

Sides = dict[str, bool]  # by the key of a side's words in `wording`: was it reached?
Branch = tuple[CodeType | None, int, str, str]  # code, instruction, operation, side

INSIDE = tuple(str(Path(module.__file__ or "").parent) for module in (engine, np))


def _of_sign(raw: Any, settings: Any, result: Any) -> Sides:
    return {"side-positive": bool((raw[0] > 0).any()), "side-negative": bool((raw[0] < 0).any())}


def _of_order(raw: Any, settings: Any, result: Any) -> Sides:
    a, b = raw
    return {"side-first-larger": bool(np.any(a > b)), "side-second-larger": bool(np.any(a < b))}


def _of_bounds(raw: Any, settings: Any, result: Any) -> Sides:
    x, low, high = raw[0], settings["a_min"], settings["a_max"]
    sides = {"side-inside": bool(np.any(x == result))}
    if low is not None:
        sides["side-below"] = bool(np.any(x < low))
    if high is not None:
        sides["side-above"] = bool(np.any(x > high))
    return sides


def _of_condition(raw: Any, settings: Any, result: Any) -> Sides:
    condition = np.asarray(raw[0])
    return {"side-true": bool(condition.any()), "side-false": not bool(condition.all())}


def _of_result(raw: Any, settings: Any, result: Any) -> Sides:
    return {"side-true": bool(result.any()), "side-false": not bool(result.all())}


SIDES: dict[str, Callable[[Any, Any, Any], Sides]] = {
    **dict.fromkeys(("relu", "leaky_relu", "absolute", "sign"), _of_sign),
    **dict.fromkeys(("maximum", "minimum"), _of_order),
    "clip": _of_bounds,
    "where": _of_condition,
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal"), _of_result),
}
# Operations that are as good as constant for large arguments, where a gradient says little.
SATURATING = {
    "exp", "expm1", "sigmoid", "tanh", "softmax", "log_softmax", "logsumexp", "softplus", "erf",
    "gelu", "silu", "cosh", "sinh", "cross_entropy", "binary_cross_entropy_with_logits",
}  # fmt: skip


class Branches:
    """Notes the sides of all branches that are taken in this thread while it is in force.

    sides      by branch: was this side reached?
    saturated  the largest argument of an operation that saturates

    A comparison counts if what it gives is used by a recorded operation, or if it compares single
    numbers, as an `if` does. The condition of a `where` counts once.

    Example:
        >>> import tinygrad_edu as tg
        >>> with Branches() as branches:
        ...     y = tg.relu(tg.Tensor([1.0, 2.0], requires_grad=True))
        >>> {side: reached for (*_, side), reached in branches.sides.items()}
        {'side-positive': True, 'side-negative': False}
    """

    def __init__(self) -> None:
        self.sides: dict[Branch, bool] = {}
        self.saturated = 0.0
        self.thread = threading.get_ident()
        self.masks: dict[int, tuple[Box, set[Branch]]] = {}  # by id: derived from comparisons
        self.pending: dict[Branch, bool] = {}  # sides of comparisons of which no use is known yet

    def __enter__(self) -> Branches:
        engine.observers.append(self)
        return self

    def __exit__(self, *failure: object) -> None:
        engine.observers.remove(self)

    def ruled(self, record: Record, y: Any, g: Any, arg: Box, error: Any) -> None:
        """Do nothing: rules choose the branches that the operations chose."""

    def called(self, op: Op, args: Any, raw: Any, settings: Any, result: Box) -> None:
        """Note the sides that an operation of `forward` reached."""
        if threading.get_ident() != self.thread:
            return
        if op.name in SATURATING and raw and np.size(raw[0]):
            self.saturated = max(self.saturated, float(np.abs(raw[0]).max()))
        recorded = result.record is not None
        used = {b for x in args if id(x) in self.masks for b in self.masks[id(x)][1]}
        if recorded:
            for branch in used:
                self.note(branch, self.pending.get(branch, False))
        else:
            self.masks[id(result)] = (result, used)  # the tensor is kept: its id stays its own
        if op.name not in SIDES or (op.name == "where" and used):
            return
        sides = SIDES[op.name](raw, settings, result.value)
        branches = {(*_place(), op.name, side): reached for side, reached in sides.items()}
        for branch, reached in branches.items():
            if recorded or result.value.size == 1:
                self.note(branch, reached)
            self.pending[branch] = self.pending.get(branch, False) or reached
            if not recorded:
                self.masks[id(result)][1].add(branch)

    def note(self, branch: Branch, reached: bool) -> None:
        """Note that a branch counts, and whether this side of it was reached."""
        self.sides[branch] = self.sides.get(branch, False) or reached


def _place() -> tuple[CodeType | None, int]:
    """The instruction outside this package and NumPy that led here."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(INSIDE):
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None, 0


def source_of(branch: Branch) -> str:
    """Return the call of a branch as it stands in the source, or the name of the operation.

    Example:
        >>> source_of((None, 0, "relu", "side-positive"))
        'relu'
    """
    code, instruction, operation, _ = branch
    if code is None:
        return operation
    line, last, start, end = list(code.co_positions())[instruction // 2]
    text = linecache.getline(code.co_filename, line or 0)
    if not text or line != last or start is None or end is None:
        return operation
    return text.encode()[start:end].decode(errors="ignore").strip() or operation


def count_reached(runs: Iterable[dict[Branch, bool]]) -> dict[Branch, int]:
    """Return in how many runs each side of a branch was reached, in the order of the calls.

    Example:
        >>> here = (None, 0, "relu", "side-positive")
        >>> count_reached([{here: False}, {here: True}])[here]
        1
    """
    found: dict[Branch, int] = {}
    for sides in runs:
        for branch, reached in sides.items():
            found[branch] = found.get(branch, 0) + reached
    return found
