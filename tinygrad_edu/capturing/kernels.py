"""Kernels: a program's calls as a few loops, each the text of a function that Numba compiles.

Neighbouring element-wise calls on one shape become one loop, in which what lies between them never
reaches memory; a reduction joins the loop that its operand is computed in. A product takes the bias
that is added to it along. Sizes and steps are written out as numbers, so that the compiler knows
how often each loop turns; where an array lies is looked up in the row of a table. Two layers of one
size therefore have kernels with the same text, and share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from . import lowering
from .calls import OUT, Call, Value, expect
from .program import Program

_UNARY = {
    np.negative: "-{0}", np.reciprocal: "1 / {0}", np.absolute: "abs({0})",
    np.exp: "exp({0})", np.log: "log({0})",
    np.log1p: "log1p({0})", np.expm1: "expm1({0})", np.sqrt: "np.sqrt({0})",
    np.sin: "np.sin({0})", np.cos: "np.cos({0})", np.tanh: "tanh({0})",
    np.square: "{0} * {0}", np.sign: "np.sign({0})", np.isfinite: "np.isfinite({0})",
}  # fmt: skip
_BINARY = {
    np.add: "{0} + {1}", np.subtract: "{0} - {1}", np.multiply: "{0} * {1}",
    np.divide: "{0} / {1}", np.power: "{0} ** {1}", lowering._power: "{0} ** {1}",
    lowering._maximum: "larger({0}, {1})",
    lowering._minimum: "smaller({0}, {1})", np.logaddexp: "logaddexp({0}, {1})",
    np.equal: "{0} == {1}", np.not_equal: "{0} != {1}",
    np.less: "{0} < {1}", np.less_equal: "{0} <= {1}", np.greater: "{0} > {1}",
    np.greater_equal: "{0} >= {1}",
}  # fmt: skip
_QUESTIONS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite,
}  # fmt: skip
_OTHERS = (lowering._convert, lowering._choose, lowering._masked, np.copyto)
_SUMS = {
    np.add.reduce: "{0} + {1}",
    np.maximum.reduce: "larger({0}, {1})",
    np.minimum.reduce: "smaller({0}, {1})",
}
_OURS = {
    "exp": "exp", "expm1": "expm1_", "log": "log", "log1p": "log1p", "logaddexp": "logaddexp",
    "tanh": "tanh",
}  # fmt: skip
_DTYPES = {
    np.dtype(name)
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
}
REACH = 12  # how many kernels a call may be moved over, to join one over its shape
LARGEST = 2**25  # multiplications of a product that is not left to the BLAS


class NotNative(Exception):
    """A call that has no loop here."""


class Kernel:
    """The text of one function, and the values whose addresses it is given.

    lines     its body; `a[…]`, `b[…]`, … are the entries at the addresses
    values    the values behind a, b, …
    written   those of them that it writes
    asks      whether it gives an answer: False where the program does not apply
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: list[Value] = []
        self.dtypes: list[str] = []
        self.written: list[Value] = []
        self.asks = False

    def name(self, value: Value, dtype: str | None = None, writes: bool = False) -> str:
        """What the entries of a value are called here."""
        if value not in self.values:
            if value.root.kind != "number" and value.dtype not in _DTYPES:
                raise NotNative(f"numbers of the dtype {value.dtype}")
            if 0 in value.shape:  # the loops in products turn at least once
                raise NotNative(f"arrays without entries, {value.shape}")
            self.values.append(value)
            self.dtypes.append(_dtype(value) if dtype is None else dtype)
        if writes:
            self.written.append(value)
        place = self.values.index(value)
        return "abcdefgh"[place] if place < 8 else f"a{place}"

    @property
    def results(self) -> set[Value]:
        """What it writes."""
        return set(self.written)

    @property
    def read(self) -> list[Value]:
        """What it reads."""
        return [v for v in self.values if v not in self.written]

    @property
    def body(self) -> str:
        """The text of the function after its name."""
        heads = []
        for i, (value, dtype) in enumerate(zip(self.values, self.dtypes, strict=True)):
            place = f"at[{i + 1}]"
            kept = "np.uint8" if dtype == "np.bool_" else dtype
            heads.append(f"{self.name(value)} = {f'pointer({place}, {kept})' if kept else place}")
        lines = [*heads, *self.lines, *(["return True"] if self.asks else [])]
        return "(at):\n    " + "\n    ".join(lines) + "\n"


Example = Callable[[Value], Any]  # an array that lies in memory as the value will


class Kernels:
    """The kernels of a finished program, in the order in which they run.

    example   gives for each value an array of its shape and steps
    outputs   the results that have to be there afterwards

    Raises:  NotNative
    """

    def __init__(self, program: Program, outputs: Iterable[Value], example: Example) -> None:
        self.calls, self._example = [*map(_plain, program.calls)], example
        self._outputs = {*outputs, *(value.root for _, value in program.copies)}
        self._items: list[Kernel | _Loop] = []
        self._readers: dict[Value, list[int]] = {}
        for i, call in enumerate(self.calls):
            for value in call.reads():
                for x in {value, value.root}:
                    self._readers.setdefault(x, []).append(i)
        self._done: set[int] = set()
        for i, call in enumerate(self.calls):
            if i not in self._done:
                self._add(i, call)
        for home, value in program.copies:
            copy = Call(np.copyto, (OUT, value), home, True)
            loop = _Loop(self, home.shape, self._is_flat(copy))
            loop.add(-1, copy)
            self._items.append(loop)
        self.made = [x.kernel() if isinstance(x, _Loop) else x for x in self._items]

    # --- one call ---------------------------------------------------------------------------------

    def _add(self, i: int, call: Call) -> None:
        if is_elementwise(call):
            self._join(i, call, call.out.shape, self._is_flat(call))
        elif call.function in _SUMS:
            self._reduce(i, call)
        elif call.function in (lowering.DOT, np.matmul):
            self._multiply(i, call)
        elif call.function is expect:
            kernel = Kernel()
            kernel.asks = True
            value, expected = call.args
            if value.shape != ():
                raise NotNative(f"a question about {value.shape}")
            kernel.lines = [f"if bool({kernel.name(value)}[0]) != {expected}:", "    return False"]
            self._items.append(kernel)
        else:
            shapes = ", ".join(str(v.shape).replace(" ", "") for v in call.reads())
            raise NotNative(f"{_called(call)} of {shapes}")

    def _join(self, i: int, call: Call, shape: tuple[int, ...], flat: bool) -> None:
        """Into the last loop over the same shape, if nothing that comes after it is in the way."""
        reads = {v.root for v in call.reads()}
        home = call.out.block if isinstance(call.out.block, Value) else None
        for item in self._items[: -REACH - 1 : -1]:
            if isinstance(item, _Loop) and item.takes(call, shape, flat):
                item.add(i, call)
                return
            touched = {v.root for v in item.read}
            if reads & item.results or home in touched or (home and item.asks):
                break
        loop = _Loop(self, shape, flat)
        loop.add(i, call)
        self._items.append(loop)

    def is_kept(self, value: Value, until: set[int]) -> bool:
        """Whether a value is read by other calls than these, or from outside."""
        return (
            value in self._outputs
            or isinstance(value.block, Value)
            or any(i not in until for i in self._readers.get(value, ()))
        )

    def steps(self, value: Value) -> tuple[int, ...]:
        """From an entry of a value to the next along each axis."""
        array = self._example(value)
        if any(step % array.itemsize for step in array.strides):
            raise NotNative(f"entries that lie {array.strides} bytes from each other")
        return tuple(step // array.itemsize for step in array.strides)

    def _is_flat(self, call: Call) -> bool:
        """Whether all arrays of a call lie in memory in one way and without gaps, so that one loop
        over all entries will do: the compiler makes more of it."""
        return all(
            is_number(v)
            or (v.shape == call.out.shape and self._example(v).flags.c_contiguous)
            for v in (*call.reads(), call.out)
        )  # fmt: skip

    # --- reductions -------------------------------------------------------------------------------

    def _reduce(self, i: int, call: Call) -> None:
        x = call.args[0]
        if x.dtype.kind == "b" and call.function != np.add.reduce:
            raise NotNative(f"{_called(call)} of {x.dtype}")
        gone = gone_of(call)
        steps = self.steps(x)
        if gone == set(range(len(x.shape) - len(gone), len(x.shape))):  # the last axes
            flat = len(gone) == len(x.shape) and self._example(x).flags.c_contiguous
            self._join(i, call, x.shape, flat)
            return
        kernel, out = Kernel(), call.out
        if (
            len(x.shape) == 2 and gone == {0} and call.function == np.add.reduce
            and x.dtype == out.dtype and x.dtype.kind == "f" and x.dtype.itemsize > 2
            and steps[1] == 1
        ):  # fmt: skip
            names = [kernel.name(out, "", True), kernel.name(x, "")]
            m, n = x.shape
            kernel.lines = [
                f"product({names[0]}, 0, {names[1]}, 0, (1, {m}, {n}), ({n}, {steps[0]}, 0, 0), "
                f"{_dtype(out)})"
            ]
        else:
            combine, start = _SUMS[call.function], _start(call)
            kept = [k for k in range(len(x.shape)) if k not in gone]
            to = dict(zip(kept, _dense([x.shape[k] for k in kept]), strict=True))
            place = _place([to.get(k, 0) for k in range(len(x.shape))])
            target = f"{kernel.name(out, writes=True)}[{place}]"
            entry = f"{_dtype(out)}({kernel.name(x)}[{_place(steps)}])"
            kernel.lines = [
                *_nested(x.shape, [f"{target} = {_dtype(out)}({start})"], kept),
                *_nested(x.shape, [f"{target} = {combine.format(target, entry)}"]),
            ]
        self._items.append(kernel)

    # --- products ---------------------------------------------------------------------------------

    def _multiply(self, i: int, call: Call) -> None:
        a, b, _ = call.args
        out = call.out
        if (
            len(a.shape) != 2 or len(b.shape) != 2 or {a.dtype, b.dtype} != {out.dtype}
            or out.dtype.kind != "f" or out.dtype.itemsize < 4
        ):  # fmt: skip
            raise NotNative(f"matmul of {a.shape} and {b.shape}")
        bias = None
        if out not in self._outputs and len(self._readers.get(out, ())) == 1:
            after = self.calls[self._readers[out][0]]
            bias = _bias_of(after, out)
            if bias is not None and self.steps(bias)[-1] == 1:
                self._done.add(self._readers[out][0])
                out = after.out
            else:
                bias = None
        (m, k), n = a.shape, b.shape[1]
        dtype = _dtype(out)
        is_large = m * k * n > LARGEST
        if is_large:
            a, b = (x if _is_for_blas(self.steps(x), x.shape) else self._in_rows(x) for x in (a, b))
        elif n > 1 and self.steps(b)[1] != 1:
            b = self._in_rows(b)
        kernel = Kernel()
        (a_row, a_column), (b_row, b_column) = self.steps(a), self.steps(b)
        to, x, y = kernel.name(out, "", True), kernel.name(a, ""), kernel.name(b, "")
        z = kernel.name(bias, "") if bias is not None else "0"
        if is_large:
            if bias is not None:
                entries = f"pointer({to}, {dtype})[i * {n} + j] = pointer({z}, {dtype})[j]"
                kernel.lines = _nested((m, n), [entries])
            of_all = (n, b_row, b_column, a_row, a_column)
            beta = int(bias is not None)
            kernel.lines.append(f"blas({to}, {x}, {y}, {(m, k, n)}, {of_all}, {beta}, {dtype})")
        elif n == 1 and (k == 1 or a_column == b_row == 1):
            kernel.lines = [f"dots({to}, {x}, {y}, {z}, {(m, k)}, {a_row}, {dtype})"]
        elif n == 1 and a_row == 1 and bias is None:  # Cᵀ = Bᵀ Aᵀ: one row
            turned = f"(1, {k}, {m}), ({m}, {a_column}, 0, {b_row})"
            kernel.lines = [f"product({to}, {y}, {x}, 0, {turned}, {dtype})"]
        else:
            steps = (n, b_row, a_row, a_column)
            kernel.lines = [f"product({to}, {x}, {y}, {z}, {(m, k, n)}, {steps}, {dtype})"]
        self._items.append(kernel)

    def _in_rows(self, value: Value) -> Value:
        """A copy of a value whose rows lie in one piece."""
        copy = Value("result", np.broadcast_to(np.zeros((), value.dtype), value.shape))
        copy.strides = tuple(step * value.dtype.itemsize for step in _dense(value.shape))
        kernel = Kernel()
        to, entries = kernel.name(copy, writes=True), kernel.name(value)
        kernel.lines = _nested(
            value.shape,
            [f"{to}[{_place(_dense(value.shape))}] = {entries}[{_place(self.steps(value))}]"],
        )
        self._items.append(kernel)
        return copy


class _Loop:
    """Calls that are done entry by entry, in one loop over a shape."""

    def __init__(self, kernels: Kernels, shape: tuple[int, ...], flat: bool) -> None:
        self._kernels, self.shape, self.flat = kernels, shape, flat
        self.asks = False
        self.read: list[Value] = []
        self._calls: list[Call] = []
        self._places: set[int] = set()
        self._inside: set[Value] = set()
        self._reduced: set[Value] = set()

    @property
    def results(self) -> set[Value]:
        """What it computes, and the homes that it writes."""
        homes = {c.out.block for c in self._calls if isinstance(c.out.block, Value)}
        return self._inside | self._reduced | homes

    def takes(self, call: Call, shape: tuple[int, ...], flat: bool) -> bool:
        """Whether a call can be done in the same turns."""
        if shape != self.shape or flat != self.flat:
            return False
        reads = list(call.reads())
        shared = {v.root for v in (*self.read, *self._inside) if not is_number(v)}
        if shape and not any(v.root in shared for v in reads):
            return False  # nothing is gained, and two small kernels are found in more places
        if any(v.root in self._inside and v not in self._inside for v in reads):
            return False
        if any(v.root in self.results - self._inside for v in reads):
            return False
        home = call.out.block
        return not (
            isinstance(home, Value)
            and any(v.root is home and v is not home for c in self._calls for v in c.reads())
        )

    def add(self, i: int, call: Call) -> None:
        """Do this call too."""
        self._calls.append(call)
        self.read += call.reads()
        self._places.add(i)
        (self._reduced if call.function in _SUMS else self._inside).add(call.out)

    def kernel(self) -> Kernel:
        """The loop with all its calls."""
        shape = (int(np.prod(self.shape)),) if self.flat else self.shape
        depth = len(shape)
        before: list[list[str]] = [[] for _ in range(depth + 1)]  # at which depth of the loops
        after: list[list[str]] = [[] for _ in range(depth + 1)]
        kernel = Kernel()
        known: dict[Value, str] = {}
        fresh = count().__next__

        def read(x: Any, like: Value) -> str:
            if not isinstance(x, Value):
                if isinstance(x, (int, float)):
                    return f"{_dtype(like)}({_text(x)})"
                raise NotNative(f"an operand {x!r:.40}")
            if x.kind == "constant" and x.array.size == 1:
                return f"{_dtype(x)}({_text(x.array.item())})"
            if x not in known:
                if x.root.kind == "number":
                    text, level = f"{_dtype(x)}({kernel.name(x.root, 'np.float64')}[0])", 0
                else:
                    steps = self._steps(x)
                    level = max((k + 1 for k, step in enumerate(steps) if step), default=0)
                    text = f"{kernel.name(x)}[{_place(steps)}]"
                    text = f"{text} != 0" if x.dtype == np.bool_ else text
                known[x] = f"x{fresh()}"
                before[level].append(f"{known[x]} = {text}")
            return known[x]

        for call in self._calls:
            out = call.out
            if call.function in _SUMS:
                combine, start = _SUMS[call.function], _start(call)
                level = 0 if self.flat else depth - len(gone_of(call))
                name = f"s{fresh()}"
                entry = f"{_dtype(out)}({read(call.args[0], out)})"
                before[level].append(f"{name} = {_dtype(out)}({start})")
                before[depth].append(f"{name} = {combine.format(name, entry)}")
                place = _place(_dense(shape[:level]))
                target = f"{kernel.name(out, writes=True)}[{place}]"
                after[level].append(f"{target} = {name}")
                continue
            asks = call.function in _QUESTIONS  # a number is compared as it is
            operands = [
                "" if callable(x)
                else _text(x) if asks and isinstance(x, (int, float)) else read(x, out)
                for x in call.args if x is not OUT
            ]  # fmt: skip
            known[out] = f"t{fresh()}"
            before[depth].append(f"{known[out]} = {expression(call, operands)}")
            if self._kernels.is_kept(out, self._places) or -1 in self._places:
                home = out.block if isinstance(out.block, Value) else out
                place = _place(self._steps(home))
                value = f"np.uint8({known[out]})" if out.dtype == np.bool_ else known[out]
                after[depth].append(f"{kernel.name(home, writes=True)}[{place}] = {value}")
        for level in range(depth + 1):
            kernel.lines += ["    " * level + line for line in before[level]]
            if level < depth:
                kernel.lines.append(
                    "    " * level + f"for {_INDEX[level]} in range({shape[level]}):"
                )
        for level in range(depth, -1, -1):
            kernel.lines += ["    " * level + line for line in after[level]]
        return kernel

    def _steps(self, value: Value) -> tuple[int, ...]:
        if self.flat:
            return (0,) if is_number(value) else (1,)
        steps = self._kernels.steps(value)
        new = len(self.shape) - len(value.shape)
        return (0,) * new + tuple(
            0 if n == 1 else step for n, step in zip(value.shape, steps, strict=True)
        )


def _text(number: float) -> str:
    return repr(number).replace("inf", "np.inf").replace("nan", "np.nan")


def _is_for_blas(steps: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether the rows or the columns of a matrix lie in one piece, one after the other."""
    (row, column), (m, n) = steps, shape
    return (column == 1 and row >= n) or (row == 1 and column >= m)


_INDEX = "ijklmnopqrstuvwxyz"


def _nested(shape: Sequence[int], lines: list[str], axes: Sequence[int] | None = None) -> list[str]:
    """Lines in loops over (some axes of) a shape."""
    result: list[str] = []
    level = 0
    for k, n in enumerate(shape):
        if axes is None or k in axes:
            result.append("    " * level + f"for {_INDEX[k]} in range({n}):")
            level += 1
    return result + ["    " * level + line for line in lines]


def _place(steps: Iterable[int], index: str = _INDEX) -> str:
    """Where an entry lies: `i * 30 + j`."""
    parts = [
        (f"{index[k]} * {step}" if step != 1 else index[k]) for k, step in enumerate(steps) if step
    ]
    return " + ".join(parts) or "0"


def _dense(shape: Sequence[int]) -> tuple[int, ...]:
    """The steps of an array without gaps."""
    return tuple(int(np.prod(shape[k + 1 :])) for k in range(len(shape)))


def gone_of(call: Call) -> set[int]:
    """The axes that a reduction takes away."""
    x, axis = call.args[:2]
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = {a % len(x.shape) for a in axes} if x.shape else set()
    ones = {k for k, n in enumerate(x.shape) if n == 1}
    return {*range(len(x.shape))} if len(gone | ones) == len(x.shape) else gone


def _plain(call: Call) -> Call:
    """The call; in place of products with ones, 1ᵀE and E1, the sums that they are."""
    if call.function is lowering.DOT:
        for axis, (one, x) in enumerate((call.args[:2], call.args[1::-1])):
            if one.kind == "constant" and len(one.shape) == 1:
                return Call(np.add.reduce, (x, axis, None, OUT, False), call.out)
    return call


def _bias_of(call: Call, product: Value) -> Value | None:
    """The row that a call adds to each row of a product and to nothing else."""
    if call.function is not np.add or call.out.dtype != product.dtype:
        return None
    others = [v for v in call.reads() if v is not product]
    if len(others) != 1 or call.out.shape != product.shape or isinstance(call.out.block, Value):
        return None
    (bias,) = others
    n = product.shape[1]
    is_row = bias.shape in ((n,), (1, n)) and bias.dtype == product.dtype
    return bias if is_row and bias.root.kind in ("home", "argument", "constant") else None


def is_number(value: Value) -> bool:
    """One number beside arrays."""
    return value.shape == () or (value.kind == "constant" and value.array.size == 1)


def is_elementwise(call: Call) -> bool:
    """Whether each entry of the result comes from the same entries of the operands."""
    function = call.function
    return call.out is not None and (
        function in _UNARY or function in _BINARY or function in _OTHERS
    )


def _dtype(value: Value) -> str:
    return f"np.{value.dtype}" if value.dtype != np.bool_ else "np.bool_"


def _called(call: Call) -> str:
    is_named = call.function in (lowering._called, lowering._into)
    function = call.args[0] if is_named else call.function
    if isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", function))


def expression(call: Call, operands: list[str]) -> str:
    """One entry of the result from entries of the operands, in the result's dtype."""
    dtype = _dtype(call.out)
    function = call.function
    if function is lowering._choose:
        return f"{dtype}({operands[1]}) if {operands[0]} else {dtype}({operands[2]})"
    if function is lowering._masked:
        _, where, before, *rest = operands
        inner = _formula(call.args[0], rest, call.out.dtype)
        return f"{dtype}({inner}) if {where} else {dtype}({before})"
    if function in (lowering._convert, np.copyto):
        return f"{dtype}({operands[0]})"
    if function in _QUESTIONS:
        return _formula(function, operands, call.out.dtype)
    if any(isinstance(v, Value) and v.dtype != call.out.dtype for v in call.args):
        operands = [f"{dtype}({text})" for text in operands]
    return f"{dtype}({_formula(function, operands, call.out.dtype)})"


def _formula(function: Any, operands: list[str], dtype: Any) -> str:
    table = _UNARY if function in _UNARY else _BINARY
    if function not in table:
        raise NotNative(str(getattr(function, "__name__", function)))
    if dtype == np.bool_ and function not in _QUESTIONS | {np.add, np.multiply}:
        raise NotNative(f"{getattr(function, '__name__', function)} of bool")
    text = str(table[function])
    name = text.partition("(")[0]
    if name in _OURS:
        return f"{_OURS[name]}{8 * dtype.itemsize}({', '.join(operands)})"
    return text.format(*operands)


def _start(call: Call) -> str:
    """What a sum or an extreme of no entries would be."""
    dtype = call.out.dtype
    if call.function == np.add.reduce:
        return "0"
    largest = call.function == np.maximum.reduce
    if dtype.kind == "f":
        return "-np.inf" if largest else "np.inf"
    return str(np.iinfo(dtype).min if largest else np.iinfo(dtype).max)
