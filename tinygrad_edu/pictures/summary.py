"""`summary`: a table of a model's layers, with their output shapes, parameters and costs.

It works for any module: the model is called on zeros, for two and for three samples, and the calls
of modules and the recorded operations are noted. What grows with the number of samples is shown for
one sample; an axis that grows is called m.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from math import prod
from types import FrameType
from typing import Any

import numpy as np

from .. import ops, windows
from ..engine import Box, recorded_results, tick
from ..frames import observe
from ..module import Module, parts_of
from ..operation import Op
from ..recording import ALL, recording
from ..tensor import Tensor

__all__ = ["Row", "Summary", "summary"]

_CALL = Module.__call__.__code__


@dataclass
class Row:
    """A call of a module, without the modules called inside it.

    name           its path in the model and its title
    depth          the number of modules around it
    shape          its output shape, with "m" for the number of samples; "" if there is no tensor
    trainable      the number of entries of its trained parameters
    fixed          the number of entries of its other tensors: frozen parameters, buffers
    multiply_adds  those of its matrix products, convolutions and the like, for one sample
    memory         bytes of the results that are kept for backward(), for one sample

    Example:
        >>> Row("Linear(3, 2)", 0, "(m, 2)", trainable=8).parameters
        8
    """

    name: str
    depth: int
    shape: str
    trainable: int = 0
    fixed: int = 0
    multiply_adds: int = 0
    memory: int = 0

    @property
    def parameters(self) -> int:
        """The number of entries of all its tensors."""
        return self.trainable + self.fixed


@dataclass(repr=False)
class Summary:
    """The table; it prints itself.

    rows     one for each call of a module, outer ones before those inside
    size     bytes of all parameters and buffers
    unknown  user-defined operations, whose multiply-adds are not counted

    Example:
        >>> table = tg.summary(tg.nn.Linear(30, 10, rng=0), (30,))
        >>> table.parameters, table.multiply_adds
        (310, 300)
    """

    rows: list[Row]
    size: int
    unknown: list[str] = field(default_factory=list)

    @property
    def trainable(self) -> int:
        """The number of trained entries."""
        return sum(row.trainable for row in self.rows)

    @property
    def parameters(self) -> int:
        """The number of entries of all parameters and buffers; a shared one counts once."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass, for one sample."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def memory(self) -> int:
        """Bytes of the results of a forward pass, for one sample."""
        return sum(row.memory for row in self.rows)

    def __repr__(self) -> str:
        head = ["Layer", "Output shape", "Parameters", "Multiply-adds", "Results"]
        lines = [
            [
                f"{'  ' * row.depth}{row.name}",
                row.shape or "–",
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                _bytes(row.memory),
            ]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        rule = "─" * (sum(widths) + 3 * len(widths) - 3)
        table = [
            "   ".join(
                cell.ljust(width) if k < 2 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [head, *lines]
        ]
        fixed = self.parameters - self.trainable
        told = [
            f"Parameters: {self.parameters:,} ({_bytes(self.size)}), "
            f"{self.trainable:,} trainable, {fixed:,} not",
            f"For each of the m samples: {self.multiply_adds:,} multiply-adds, "
            f"{_bytes(self.memory)} of results",
        ]
        if self.unknown:
            told.append(f"Not counted: multiply-adds inside {', '.join(self.unknown)}")
        return "\n".join([table[0], rule, *table[1:], rule, *told])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


def summary(model: Module, *input_shapes: Sequence[int], dtype: Any = None) -> Summary:
    """Return a table of a model's layers for inputs of these shapes, each the shape of *one*
    sample.

    The model is called on zeros in evaluation mode; its modes are restored. `dtype` is the dtype of
    the inputs, by default that of the parameters; an Embedding needs `dtype=int`.

    Raises:  TypeError if `model` is no module or a shape no tuple, and the model's own error if the
             shapes do not fit
    Source:  keras.Model.summary, torchinfo
    Example:
        >>> network = tg.nn.Sequential(
        ...     tg.nn.Linear(784, 100, rng=0), tg.nn.Sigmoid(), tg.nn.Linear(100, 10, rng=1)
        ... )
        >>> tg.summary(network, (784,))
        Layer                   Output shape   Parameters   Multiply-adds   Results
        ───────────────────────────────────────────────────────────────────────────
        Sequential              (m, 10)                 0               0       0 B
          0: Linear(784, 100)   (m, 100)           78,500          78,400     800 B
          1: Sigmoid            (m, 100)                0               0     800 B
          2: Linear(100, 10)    (m, 10)             1,010           1,000      80 B
        ───────────────────────────────────────────────────────────────────────────
        Parameters: 79,510 (621.2 KiB), 79,510 trainable, 0 not
        For each of the m samples: 79,400 multiply-adds, 1.6 KiB of results
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary takes a module, received {type(model).__name__}")
    for shape in input_shapes:
        if not isinstance(shape, (tuple, list)):
            raise TypeError(
                f"the shape of a sample is a tuple, such as (30,), received {shape!r}; for several "
                "inputs give several shapes"
            )
    assumed = dtype is None
    if assumed:
        dtype = next((p.dtype for p in model.parameters()), np.float64)
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        two, three = (
            _run(model, [Tensor(np.zeros((m, *shape), dtype)) for shape in input_shapes])
            for m in (2, 3)
        )
    except Exception as error:
        shapes = ", ".join(str((2, *shape)) for shape in input_shapes)
        error.add_note(f"in summary, which called {type(model).__name__} on zeros {shapes}")
        if assumed and isinstance(error, (TypeError, IndexError)):
            error.add_note(f"of {dtype}; indices are whole numbers: summary(…, dtype=int)")
        raise
    finally:
        for module, was in training:
            module.training = was
    return _table(model, two, three)


@dataclass
class _Call:
    """A call of a module: the ages before and after it, its depth inside others, and its result."""

    module: Module
    depth: int
    begun: int
    ended: int = 0
    result: Any = None


@dataclass
class _Run:
    calls: list[_Call]
    nodes: list[Box]


def _run(model: Module, inputs: list[Any]) -> _Run:
    """Call the model; return the calls of modules, and the operations that led to their results."""
    calls: list[_Call] = []
    open_calls: list[_Call] = []

    def note(frame: FrameType, event: str, result: Any) -> None:
        if frame.f_code is not _CALL:
            return
        if event == "call":
            calls.append(_Call(frame.f_locals["self"], len(open_calls), tick()))
            open_calls.append(calls[-1])
        else:
            call = open_calls.pop()
            call.ended, call.result = tick(), result

    with recording(ALL):
        observe(note, model, *inputs)
    results = [call.result for call in calls if isinstance(call.result, Box)]
    nodes = {node for x in results if x.record is not None for node in recorded_results(x)}
    return _Run(calls, sorted(nodes, key=lambda node: node.record[0]))


def _table(model: Module, two: _Run, three: _Run) -> Summary:
    """Combine both runs into the table."""
    if len(two.calls) != len(three.calls):
        raise ValueError(
            f"{type(model).__name__} calls other modules for 2 samples than for 3, so that nothing "
            "can be said for one"
        )
    costs = [_costs(run) for run in (two, three)]
    paths = {id(module): path for path, module in model.named_modules()}
    counted: set[int] = set()
    rows = []
    calls = zip(two.calls, three.calls, *costs, strict=True)
    for call, again, few, more in calls:
        row = _row(call.module, paths, call.depth, counted)
        row.shape = _shape(call.result, again.result)
        row.multiply_adds, row.memory = (b - a for a, b in zip(few, more, strict=True))
        rows.append(row)
    called = {id(call.module) for call in two.calls}
    for module in model.modules():
        if id(module) not in called and _own(module):
            row = _row(module, paths, 1, counted)
            row.name += " (not called)"
            rows.append(row)
    size = sum({id(x): x.value.nbytes for m in model.modules() for x in _own(m)}.values())
    foreign = {node.record[1].name for node in two.nodes if _is_foreign(node.record[1])}
    return Summary(rows, size, sorted(foreign))


def _own(module: Module) -> list[Box]:
    """Return the tensors of a module itself, without those of modules inside it."""
    return [part for _, part in parts_of(vars(module), "") if isinstance(part, Box)]


def _row(module: Module, paths: dict[int, str], depth: int, counted: set[int]) -> Row:
    title = module._title().removesuffix("()")
    path = paths.get(id(module), "")
    row = Row(f"{path}: {title}" if path else title, depth, "")
    for tensor in _own(module):
        if id(tensor) in counted:
            row.name += " (shared)" * (not row.name.endswith(" (shared)"))
        elif tensor.record is not None:
            row.trainable += tensor.value.size
        else:
            row.fixed += tensor.value.size
        counted.add(id(tensor))
    return row


def _shape(two: Any, three: Any) -> str:
    """Return the shape of a result, with m for an axis that grows with the samples."""
    if not (isinstance(two, (Box, np.ndarray)) and isinstance(three, (Box, np.ndarray))):
        return ""
    few, more = (np.shape(x.value if isinstance(x, Box) else x) for x in (two, three))
    if len(few) != len(more):
        return ""
    axes = [_axis(a, b - a) for a, b in zip(few, more, strict=True)]
    return f"({', '.join(axes)}{',' * (len(axes) == 1)})"


def _axis(length: int, growth: int) -> str:
    """Return the length of an axis as text, given its length for 2 samples and its growth with a
    third.
    """
    rest = length - 2 * growth
    if not growth:
        return str(length)
    return ("m" if growth == 1 else f"{growth}m") + (f"{rest:+}" if rest else "")


def _costs(run: _Run) -> list[tuple[int, int]]:
    """Return multiply-adds and bytes of each call, without those of calls inside it."""
    begins = [call.begun for call in run.calls]
    found = [[0, 0] for _ in run.calls]
    for node in run.nodes:
        k = bisect_right(begins, node.record[0]) - 1
        while k >= 0 and run.calls[k].ended < node.record[0]:
            k -= 1
        if k >= 0:
            found[k][0] += _multiply_adds(node)
            found[k][1] += node.value.nbytes * (node.value.base is None)
    return [(a, b) for a, b in found]


def _matmul(node: Box) -> int:
    return node.value.size * int(np.shape(node.record[3][0])[-1])


def _einsum(node: Box) -> int:
    """Return the multiply-adds of an einsum: one for each combination of its indices."""
    _, _, _, raw, settings = node.record
    inputs, _ = ops._einsum_terms(settings["subscripts"], [np.ndim(x) for x in raw])
    lengths: dict[str, int] = {}
    for letters, x in zip(inputs, raw, strict=True):
        lengths |= dict(zip(letters, np.shape(x), strict=True))
    return prod(lengths.values())


def _convolution(node: Box) -> int:
    _, weight = node.record[3]
    return int(node.value.size * prod(np.shape(weight)[1:]))


COUNTS: dict[Any, Callable[[Box], int]] = {
    ops.matmul.op: _matmul,
    ops.linear.op: _matmul,
    ops._einsum.op: _einsum,
    windows._conv2d.op: _convolution,
}


def _multiply_adds(node: Box) -> int:
    return COUNTS[node.record[1]](node) if node.record[1] in COUNTS else 0


def _is_foreign(op: Op) -> bool:
    """Return True for an operation from outside of this package, whose cost is unknown."""
    return not (
        isinstance(op.forward, np.ufunc) or op.forward.__module__.startswith("tinygrad_edu.")
    )


def _bytes(n: int) -> str:
    """Return a number of bytes as text."""
    size, unit = float(n), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{n} B" if unit == "B" else f"{size:.1f} {unit}"
