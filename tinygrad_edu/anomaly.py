"""Anomalies: find where the first NaN or infinity was computed.

Everything computed from a NaN is NaN too, so the question is where it first appeared.
`first_nonfinite` walks a recorded graph, oldest operation first. `detect_anomaly` checks every
operation while the graph is recorded and differentiated, stops at the first such number and names
the line of the program that computed it.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import FrameType
from typing import Any
from weakref import ref
from zlib import crc32

import numpy as np

from .arrays import Array, describe
from .engine import RELEASED, Box, Record, observers, recorded_results, sweep
from .nn import Module
from .operation import Op


@dataclass(frozen=True)
class Anomaly:
    """The first result that is not finite, and what it was computed from.

    op        the operation's name; "" if an input has such a number already
    value     the array with the number in it: the operation's result, or that input
    place     the index of the first such entry
    number    that entry: nan, inf or −inf
    message   a description, which `str` returns

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
    """Return the first operation in the graph of `output` whose result is not finite while its
    inputs are.

    If an input is not finite (data with a NaN, a weight that has become infinite), this input is
    reported. None if all is finite. `infinity=False` looks for NaN only, for graphs in which −∞ is
    intended, such as logits of impossible classes.

    Raises:  RuntimeError if nothing was recorded, or `backward()` has released the graph: call this
             before, or call `backward(retain_graph=True)`
    Example:
        >>> import tinygrad_edu as tg
        >>> p = tg.Tensor([0.5, 0.0], requires_grad=True, name="p")
        >>> with np.errstate(divide="ignore", invalid="ignore"):
        ...     loss = (p * tg.log(p)).sum()
        >>> print(first_nonfinite(loss))
        log gave -inf at [1], 1 of 2 entries
          received p (2,) float64, there 0.0
    """
    nodes = (
        recorded_results(output) if isinstance(output, Box) and output.record is not None else []
    )
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
    """Return the anomaly among the inputs and the result of one operation, or None. Inputs that
    another operation computed are skipped.

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
        told += f"\n  received {describe(arg)}{_there(x, place, value)}"
    return Anomaly(op, value, place, float(value[place]), told)


def first_place(x: Any, infinity: bool = True) -> tuple[int, ...] | None:
    """Return the index of the first entry that is not finite, or None.

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


def _there(x: Any, place: tuple[int, ...], other: Array) -> str:
    """Return text with the entry of x at this index of the other array, if both have one shape."""
    return f", there {np.asarray(x)[place]}" if np.shape(x) == other.shape else ""


def _told(x: Any, place: tuple[int, ...], infinity: bool) -> str:
    x = np.asarray(x)
    if not x.ndim:
        return str(x)
    return f"{x[place]} at {list(place)}, {_wrong(x, infinity).sum()} of {x.size} entries"


# --- looking on -----------------------------------------------------------------------------------

_current: ContextVar[detect_anomaly | None] = ContextVar("anomaly", default=None)


class detect_anomaly(ContextDecorator):
    """Raise an error at the first number that is not finite, and name where it was computed.

    A context manager and a decorator, for the forward and the backward pass. The error names the
    first operation whose result or gradient has a NaN or an infinity, the line of the program that
    called it, and its module. An argument that was changed in place between the operation and
    `backward()` raises an error too, since the gradient would be wrong. It applies to the thread or
    task that entered it. It slows computations down considerably.

    Raises:  inside, FloatingPointError for a number that is not finite, RuntimeError for an array
             that was changed
    Source:  torch.autograd.detect_anomaly
    Example:
        >>> import tinygrad_edu as tg
        >>> x = tg.Tensor([4.0, 0.0], requires_grad=True, name="x")
        >>> try:
        ...     with np.errstate(divide="ignore"), detect_anomaly():
        ...         tg.sqrt(x).sum().backward()
        ... except FloatingPointError as error:
        ...     print(str(error).partition("  sqrt was called")[0])
        the rule of sqrt gave inf at [1], 1 of 2 entries, as the error at x (2,) float64
          from (2,) float64, there 1.0, the error at its output
          and x (2,) float64, there 0.0
        <BLANKLINE>
    """

    def __init__(self, infinity: bool = True) -> None:
        self.infinity = infinity  # True if infinity is an anomaly too, not only NaN
        self._notes: dict[int, _Note] = {}  # by the age of the record
        self._tokens: list[Token[detect_anomaly | None]] = []

    def _recreate_cm(self) -> detect_anomaly:  # a decorated function gets a new one at each call
        return detect_anomaly(self.infinity)

    def __enter__(self) -> None:
        self._tokens.append(_current.set(self))
        observers.append(self)

    def __exit__(self, *failure: object) -> None:
        observers.remove(self)
        _current.reset(self._tokens.pop())

    def called(self, op: Op, args: Any, raw: Any, settings: Any, result: Box) -> None:
        """Check the result of an operation; note where it was called, and checksums of its
        arrays.
        """
        if _current.get() is not self:
            return
        frames = list(_frames())
        told = f"{op} was called in {_told_place(frames)}"
        if not any(frame.f_code is sweep.__code__ for frame in frames):
            # (Intermediate results of a rule are not checked; `ruled` checks its outcome.)
            found = anomaly_in(op.name, args, raw, result.value, self.infinity)
            if found is not None:
                raise FloatingPointError(f"{found}\n  {told}")
        if result.record is not None:
            age, notes = result.record[0], self._notes
            marks = _marks(args, raw, settings, result.value)
            notes[age] = _Note(told, marks, ref(result, lambda _: notes.pop(age, None)))

    def ruled(self, record: Record, y: Array, g: Any, arg: Box, error: Any) -> None:
        """Check that the recorded arrays are unchanged, and the error that the rule returned."""
        if _current.get() is not self:
            return
        age, op, args, raw, settings = record
        note = self._notes.get(age)
        told = note.told if note else f"{op} was called before detect_anomaly() was entered"
        now = _marks(args, raw, settings, y)
        for (name, mark), (_, before) in zip(now, note.marks if note else now, strict=True):
            if mark != before:
                raise RuntimeError(
                    f"{name} was changed in place between {op}, which recorded it, and backward(): "
                    f"the gradient would be wrong; give {op} a copy, or make a new array\n  {told}"
                )
        g, error = (np.asarray(x.value if isinstance(x, Box) else x) for x in (g, error))
        if (place := first_place(g, self.infinity)) is not None:
            raise FloatingPointError(
                f"the error at the output of {op} is {_told(g, place, self.infinity)}; it came in "
                f"with backward(gradient), from a hook or by adding up\n  {told}"
            )
        if (place := first_place(error, self.infinity)) is not None:
            lines = [
                f"the rule of {op} gave {_told(error, place, self.infinity)}, as the error at "
                f"{describe(arg)}",
                f"  from {describe(g)}{_there(g, place, error)}, the error at its output",
            ]
            for part, x in zip(args, raw, strict=True):
                lines.append(f"  and {describe(part)}{_there(x, place, error)}")
            raise FloatingPointError("\n".join([*lines, f"  {told}"]))


@dataclass(frozen=True)
class _Note:
    """The data kept for one recorded operation while its result is alive."""

    told: str  # where it was called
    marks: list[tuple[str, int]]
    gone: ref[Box]


def _marks(args: Any, raw: Any, settings: Any, y: Array) -> list[tuple[str, int]]:
    """Return name and checksum of every array that a record holds."""
    named = [(describe(arg), x) for arg, x in zip(args, raw, strict=True)]
    for name, value in settings.items():
        parts = value if isinstance(value, tuple) else (value,)
        named += [(f"{name} {describe(part)}", part) for part in parts]
    named.append((f"the result {describe(y)}", y))
    return [(name, crc32(x.tobytes())) for name, x in named if isinstance(x, np.ndarray)]


_LIBRARIES = tuple(os.path.dirname(file) + os.sep for file in (__file__, np.__file__))


def _frames() -> Iterator[FrameType]:
    """Yield the frames of the current calls, innermost first, without the caller's own: a frame
    that refers to itself would keep the graph alive.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _told_place(frames: list[FrameType]) -> str:
    """Return the innermost line of the user's program, and the module that is being called."""
    own = (frame for frame in frames if not frame.f_code.co_filename.startswith(_LIBRARIES))
    frame = next(own, frames[-1])
    file, line = frame.f_code.co_filename, frame.f_lineno
    told = f"{file}:{line}: {linecache.getline(file, line).strip()}".rstrip(": ")
    modules = [f.f_locals["self"] for f in frames if f.f_code is Module.__call__.__code__]
    if modules:
        inner, outer = modules[0], modules[-1]
        path = next((name for name, module in outer.named_modules() if module is inner), "")
        whole = f" of {type(outer).__name__}" if inner is not outer else ""
        told += f"\n  in {f'module {path!r}, ' if path else ''}{type(inner).__name__}{whole}"
    return told
