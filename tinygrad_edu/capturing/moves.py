"""Moves: operations that compute nothing, and only say where each entry comes from or goes to.

An index, a join, a margin, windows: all of them, and what comes back through each. Such an
operation is run once on an array whose entries say where they lie in memory, and what it gives says
where the entries of the result are taken from. In most cases these places are a start and a step
for each axis, and numbers in the kernel's text; else they are a table that the kernel reads. Only
an index that is another one at each run is looked at by the kernel itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops, windows
from ..arrays import Array
from ..ops import broadcast_to
from . import lowering
from .calls import OUT, Call, Nested, Value
from .texts import INDEX, Kernel, NotNative, dense, dtype_of, fresh, nested, number, place, stored

Lengths = tuple[int, ...]
Steps = Callable[[Value], Lengths]

# Those of which the operation itself says where entries come from.
_TAKEN = {
    op.forward
    for op in (
        broadcast_to.op, ops.expand_dims.op, ops.getitem.op, ops.squeeze.op, ops.transpose.op,
        windows._windows.op,
    )
}  # fmt: skip


@dataclass
class _Index:
    """An array of indices that is another one at each run, along one axis of what it picks from.

    first   the axis of the result along which its own axes begin
    length  of the axis that it picks from, and the step there
    wraps   whether −1 means the last
    """

    value: Value
    first: int
    length: int
    step: int
    wraps: bool


@dataclass
class _Places:
    """Where entries lie: an array of places, to which what the indices say is added."""

    at: Array
    indices: list[_Index] = field(default_factory=list)


def is_move(call: Call) -> bool:
    """Whether a call is one of these."""
    return call.function in lowering.CALLED and (call.args[0] in _TAKEN or call.args[0] in _OTHERS)


def moving(call: Call, steps: Steps) -> Kernel:
    """The kernel of such a call; `steps` tells how the entries of a value lie.

    Raises:  NotNative for what cannot be said in this way
    """
    function, settings, args, out = *call_of(call), call.out
    kernel = Kernel()
    target = kernel.name(out, writes=True)
    to = _lying(out.shape, steps(out))
    if function in _TAKEN:
        (x,) = args
        if function is ops.getitem.op.forward:
            taken = _indexed(kernel, x, settings["index"], out.shape, steps)
        else:
            taken = _Places(function(_lying(x.shape, steps(x)), **settings))
        _move(kernel, x, taken, _Places(to), steps, False)
        return kernel
    fill, parts = _OTHERS[function](kernel, to, settings, args, steps)
    if fill is not None:
        lines = [f"{target}[{place(steps(out))}] = {stored(number(fill), out)}"]
        if steps(out) == dense(out.shape):
            kernel.lines += nested((to.size,), [f"{target}[i] = {stored(number(fill), out)}"])
        else:
            kernel.lines += nested(out.shape, lines)
    for x, taken, put, adds in parts:
        if x.shape and 0 in x.shape:
            continue
        _move(kernel, x, taken, put, steps, adds)
    return kernel


def call_of(call: Call) -> tuple[Any, dict[str, Any], list[Any]]:
    """The operation that is called as it is, its settings, and what else it is given."""
    function, settings, *args = call.args
    parts = settings.parts if isinstance(settings, Nested) else settings
    return function, parts, [x for x in args if x is not OUT]


# --- where entries lie ----------------------------------------------------------------------------


def _lying(shape: Sequence[int], steps: Sequence[int]) -> Array:
    """For each entry of an array where it lies."""
    at = np.zeros((), np.int64)
    for n, step in zip(shape, steps, strict=True):
        at = at[..., None] + np.arange(n) * step
    return at


def _indexed(
    kernel: Kernel, x: Value, index: Any, shape: Lengths, steps: Steps, wraps: bool = True
) -> _Places:
    """Where the entries of x[index] lie, which has that shape."""
    of = steps(x)
    at = _lying(x.shape, of)
    parts = list(index) if isinstance(index, tuple) else [index]
    if not any(isinstance(part, Value) for part in parts):
        return _Places(np.asarray(at[index]))
    if not any(part is ... for part in parts):
        parts.append(...)
    hidden = len(x.shape) - sum(_axes(part) for part in parts)  # what ... stands for
    picks = [i for i, part in enumerate(parts) if _picks(part)]
    # NumPy lets the axes of the indices stand where these are, and first if they are apart.
    before = parts[: picks[0]] if picks[-1] - picks[0] == len(picks) - 1 else []
    start = sum(hidden if part is ... else 1 for part in before)
    many = max(1 if _is_mask(parts[i]) else _rank(parts[i]) for i in picks)
    rank = many + sum(hidden if part is ... else not _picks(part) for part in parts)
    whole: list[Any] = []
    for part in parts:
        if _is_mask(part) and len(shape) != rank:
            raise NotNative("a mask into which a smaller array is broadcast")
        whole += (
            _counted(kernel, part, shape[start + many - 1], steps) if _is_mask(part) else [part]
        )
    zeros = [np.zeros(p.shape, np.int64) if isinstance(p, Value) else p for p in whole]
    found = _Places(np.asarray(at[tuple(zeros)]))
    axis = 0
    for part in whole:
        if isinstance(part, Value):
            first = start + many - len(part.shape)
            found.indices.append(_Index(part, first, x.shape[axis], of[axis], wraps))
        axis += hidden if part is ... else _axes(part)
    return found


def _rank(part: Any) -> int:
    return len(part.shape) if isinstance(part, Value) else np.ndim(part)


def _picks(part: Any) -> bool:
    return not (part is None or part is ... or isinstance(part, slice))


def _is_mask(part: Any) -> bool:
    return _picks(part) and bool(
        (part if isinstance(part, Value) else np.asarray(part)).dtype == bool
    )


def _axes(part: Any) -> int:
    """How many axes a part of an index picks from."""
    return _rank(part) if _is_mask(part) else int(part is not None and part is not ...)


def _counted(kernel: Kernel, mask: Any, n: int, steps: Steps) -> list[Any]:
    """A mask as indices: where its n entries stand that are true."""
    if not _rank(mask):
        raise NotNative("a single yes or no as an index")
    if not isinstance(mask, Value):
        return list(np.nonzero(mask))
    found = [fresh((n,), np.int64) for _ in mask.shape]
    names = [kernel.name(value, writes=True) for value in found]
    lines = [f"if {kernel.name(mask)}[{place(steps(mask))}]:", f"    if count == {n}:"]
    lines.append("        return False")
    lines += [f"    {name}[count] = {INDEX[k]}" for k, name in enumerate(names)]
    lines.append("    count += 1")
    kernel.lines += ["count = 0", *nested(mask.shape, lines)]
    kernel.lines += [f"if count != {n}:", "    return False"]
    kernel.asks = kernel.counts = True
    return found


# --- operations with several parts: a number that the result is filled with, and for each part the
# value, where its entries lie, where they go, and whether they are added to what is there


def _whole(x: Value, steps: Steps) -> _Places:
    return _Places(_lying(x.shape, steps(x)))


def _reshaped(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    (x,) = args  # its own axes have one step each; those of the result may not
    return None, [(x, _whole(x, steps), _Places(to.reshape(x.shape)), False)]


def _arrays(args: Any, settings: Any) -> tuple[list[Value], int]:
    arrays, axis = args[0], [*args[1:], settings.get("axis", 0)][0]
    return [x if isinstance(x, Value) else Value("constant", np.array(x)) for x in arrays], axis


def _joined(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    arrays, axis = _arrays(args, settings)
    parts, start = [], 0
    to = np.moveaxis(to, axis, 0)
    for x in arrays:
        n = x.shape[axis]
        put = np.moveaxis(to[start : start + n], 0, axis)
        parts.append((x, _whole(x, steps), _Places(put), False))
        start += n
    return None, parts


def _stacked(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    arrays, axis = _arrays(args, settings)
    layers = np.moveaxis(to, axis, 0)
    return None, [
        (x, _whole(x, steps), _Places(layer), False)
        for x, layer in zip(arrays, layers, strict=True)
    ]


def _padded(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    (x,) = args
    inner = to[windows._inner(x.shape, settings["pad_width"])]
    return settings["constant_values"], [(x, _whole(x, steps), _Places(inner), False)]


def _scattered(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    (x,) = args
    put = _indexed(kernel, kernel.written[0], settings["index"], x.shape, steps)
    at = np.broadcast_to(_whole(x, steps).at, put.at.shape)
    return 0, [(x, _Places(at), put, True)]


def _rows_added(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    x, rows = args
    put = _indexed(kernel, kernel.written[0], (rows,), x.shape, steps, wraps=False)
    return 0, [(x, _whole(x, steps), put, True)]


def _rows_taken(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    rows, table = args
    taken = _indexed(kernel, table, (rows,), to.shape, steps, wraps=False)
    return None, [(table, taken, _Places(to), False)]


def _overlapping(kernel: Kernel, to: Array, settings: Any, args: Any, steps: Steps) -> Any:
    (x,) = args
    more = {name: settings[name] for name in ("sizes", "axes", "steps")}
    put = _Places(windows._windows.op.forward(to, **more))
    return 0, [(x, _whole(x, steps), put, True)]


_OTHERS: dict[Any, Callable[..., Any]] = {
    np.concatenate: _joined, np.stack: _stacked, windows.pad.op.forward: _padded,
    ops.reshape.op.forward: _reshaped, ops.scatter.op.forward: _scattered,
    ops._add_rows.op.forward: _rows_added, ops.embedding.op.forward: _rows_taken,
    windows._overlap.op.forward: _overlapping,
}  # fmt: skip


# --- text -----------------------------------------------------------------------------------------


def _move(kernel: Kernel, x: Value, taken: _Places, put: _Places, steps: Steps, adds: bool) -> None:
    """Write the loops that take entries from their places in x to those in the result."""
    out, shape = kernel.written[0], taken.at.shape
    if 0 in shape:
        return
    source, target = kernel.name(x), kernel.name(out)
    before: list[str] = []
    (read, from_steps), (write, to_steps) = (
        _text(kernel, places, steps, before) for places in (taken, put)
    )
    entry, there = f"{source}[{read}]", f"{target}[{write}]"
    if adds:
        entry = f"{there} + {dtype_of(out)}({entry})"
    line = f"{there} = {stored(entry if out.dtype != np.bool_ else f'{entry} != 0', out)}"
    # The innermost loop goes along memory, and is a long one.
    axes = sorted(
        (k for k, n in enumerate(shape) if n > 1),
        key=lambda k: (-abs(to_steps[k]), -abs(from_steps[k]), shape[k]),
    )
    kernel.lines += nested(shape, [*before, line], axes)


def _text(
    kernel: Kernel, places: _Places, steps: Steps, before: list[str]
) -> tuple[str, tuple[int, ...]]:
    """Where entry i, j, … lies, and the steps from it to the next."""
    at, shape = places.at, places.at.shape
    start = int(at[(0,) * at.ndim])
    moved = tuple(
        0 if n == 1 else int(at[(0,) * k + (1,) + (0,) * (at.ndim - k - 1)]) - start
        for k, n in enumerate(shape)
    )
    if np.array_equal(at, start + _lying(shape, moved)):
        terms = [str(start)] if start or not any(moved) else []
        terms += [place(moved)] if any(moved) else []
    else:
        table = Value("constant", np.ascontiguousarray(at))
        moved = tuple(0 if n == 1 else step for n, step in zip(shape, dense(shape), strict=True))
        terms = [f"{kernel.name(table)}[{place(moved)}]"]
    for index in places.indices:
        name = f"n{len(before)}"
        own = steps(index.value)
        letters = INDEX[index.first :]
        along = [0 if n == 1 else s for n, s in zip(index.value.shape, own, strict=True)]
        before.append(f"{name} = np.int64({kernel.name(index.value)}[{place(along, letters)}])")
        if index.wraps:
            before.append(f"{name} = {name} + {index.length} if {name} < 0 else {name}")
        before += [f"if {name} < 0 or {name} >= {index.length}:", "    return False"]
        terms.append(f"{name} * {index.step}")
        kernel.asks = True
    return " + ".join(terms), moved
