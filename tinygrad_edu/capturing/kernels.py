"""Kernels: a program's calls as a few loops, each the text of a function that Numba compiles.

Neighbouring element-wise calls on one shape become one loop, in which what lies between them never
reaches memory; a reduction joins the loop that its operand is computed in. A product takes the bias
that is added to it along. Sizes and steps are written out as numbers, so that the compiler knows
how often each loop turns; where an array lies is looked up in the row of a table. Two layers of one
size therefore have kernels with the same text, and share one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from . import lowering, nests
from .calls import OUT, Call, Value, expect
from .expansions import Example, expanded, sum_of_products
from .formulas import QUESTIONS, SUMS, expression, is_elementwise, is_number, start_of
from .moves import is_move, moving
from .nests import gone_of, kept_steps
from .program import Program
from .texts import INDEX, Kernel, NotNative, dense, dtype_of, fresh, nested, number, place, stored

__all__ = ["Kernels", "NotNative"]

REACH = 12  # how many kernels a call may be moved over, to join one over its shape
LARGEST = 2**24  # multiplications of a product that is not left to NumPy's matmul


class Kernels:
    """The kernels of a finished program, in the order in which they run.

    example   gives for each value an array of its shape and steps
    outputs   the results that have to be there afterwards

    Raises:  NotNative
    """

    def __init__(self, program: Program, outputs: Iterable[Value], example: Example) -> None:
        self._example = example
        self.calls = [x for call in program.calls for x in expanded(call, example)]
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
        written = False
        for kernel in self.made:
            if kernel.counts and written:
                raise NotNative("a mask behind an update")
            written = written or any(v.root.kind == "home" for v in kernel.written)

    # --- one call ---------------------------------------------------------------------------------

    def _add(self, i: int, call: Call) -> None:
        named = call.args[0] if call.function in lowering.CALLED else None
        if call.out is not None and 0 in call.out.shape:
            pass  # there is nothing to write
        elif is_elementwise(call):
            self._join(i, call, call.out.shape, self._is_flat(call))
        elif call.function in SUMS:
            self._reduce(i, call)
        elif call.function is np.matmul:
            self._multiply(i, call)
        elif call.function is expect:
            kernel = Kernel()
            kernel.asks = True
            value, expected = call.args
            kernel.lines = [f"if bool({kernel.name(value)}[0]) != {expected}:", "    return False"]
            self._items.append(kernel)
        elif call.function is sum_of_products:
            self._items.append(nests.summed(call, self.steps))
        elif named in (np.argmax, np.argmin):
            self._items.append(nests.placed(call, self.steps))
        elif is_move(call):
            self._items.append(moving(call, self.steps))
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
        x, out = call.args[0], call.out
        if (x.dtype.kind == "b") != (call.function == np.logical_and.reduce) and (
            call.function != np.add.reduce
        ):
            raise NotNative(f"{_called(call)} of {x.dtype}")
        gone = gone_of(call)
        steps = self.steps(x)
        if gone == set(range(len(x.shape) - len(gone), len(x.shape))):  # the last axes
            flat = len(gone) == len(x.shape) and self._example(x).flags.c_contiguous
            self._join(i, call, x.shape, flat)
        elif (
            len(x.shape) == 2 and gone == {0} and call.function == np.add.reduce and x.shape[0]
            and x.dtype == out.dtype and x.dtype.kind == "f" and x.dtype.itemsize > 2
            and steps[1] == 1
        ):  # fmt: skip
            kernel = Kernel()
            names = [kernel.name(out, "", True), kernel.name(x, "")]
            m, n = x.shape
            kernel.lines = [
                f"product({names[0]}, 0, {names[1]}, 0, (1, {m}, {n}), ({n}, {steps[0]}, 0, 0), "
                f"{dtype_of(out)})"
            ]
            self._items.append(kernel)
        else:
            self._items.append(nests.reduced(call, self.steps))

    # --- products ---------------------------------------------------------------------------------

    def _multiply(self, i: int, call: Call) -> None:
        a, b, _ = call.args
        out = call.out
        if out.dtype.kind != "f" or out.dtype.itemsize < 4:
            raise NotNative(f"matmul of {a.dtype}")
        bias = None
        if out not in self._outputs and len(self._readers.get(out, ())) == 1:
            after = self.calls[self._readers[out][0]]
            bias = _bias_of(after, out)
            if bias is not None and self.steps(bias)[-1] == 1:
                self._done.add(self._readers[out][0])
                out = after.out
            else:
                bias = None
        (m, k), n = a.shape[-2:], b.shape[-1]
        is_large = m * k * n > LARGEST
        if is_large:
            a, b = (
                x if _is_for_blas(self.steps(x)[-2:], x.shape[-2:]) else self._in_rows(x)
                for x in (a, b)
            )
        in_rows = self._in_rows(b) if n > 1 and self.steps(b)[-1] != 1 and not is_large else b
        kernel, stack, dtype = Kernel(), out.shape[:-2], dtype_of(out)
        to, x, y, rows = (
            self._layer(kernel.name(value, "", value is out), value, stack)
            for value in (out, a, b, in_rows)
        )
        z = kernel.name(bias, "") if bias is not None else "0"
        steps = (*self.steps(a)[-2:], *self.steps(b)[-2:], n, 1)
        lines = [f"matmul({to}, {x}, {y}, {(m, k, n)}, {steps}, {dtype})"]
        if bias is not None:
            added = f"pointer({to}, {dtype})[i * {n} + j] += pointer({z}, {dtype})[j]"
            lines += nested((m, n), [added])
        if not is_large:
            steps = (*steps[:2], self.steps(in_rows)[-2], n)
            test = _in_registers((to, x, rows, z), (m, k, n), steps, dtype)
            lines = [f"if {test}:", *(f"    {line}" for line in lines)]
        kernel.lines = nested(stack, lines)
        self._items.append(kernel)

    def _layer(self, name: str, value: Value, stack: tuple[int, ...]) -> str:
        """The address of one matrix of a stack."""
        layers = value.shape[:-2]
        steps = [
            0 if n == 1 else step * value.dtype.itemsize
            for n, step in zip(layers, self.steps(value), strict=False)
        ]
        steps = [0] * (len(stack) - len(layers)) + steps
        return f"{name} + {place(steps)}" if any(steps) else name

    def _in_rows(self, value: Value) -> Value:
        """A copy of a value whose rows lie in one piece."""
        copy = fresh(value.shape, value.dtype)
        kernel = Kernel()
        to, entries = kernel.name(copy, writes=True), kernel.name(value)
        kernel.lines = nested(
            value.shape,
            [f"{to}[{place(dense(value.shape))}] = {entries}[{place(self.steps(value))}]"],
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
        reads = list(call.reads())
        if shape != self.shape or (flat != self.flat and not (flat and self._spreads(reads))):
            return False
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

    def _spreads(self, reads: list[Value]) -> bool:
        """Whether these calls go on with a column times a row, such as the gradient of one sample:
        an update that joins them spares a large matrix the way to memory and back."""
        return any(v in self._inside for v in reads) and any(
            c.function is np.multiply and all(v.shape != c.out.shape for v in c.reads())
            for c in self._calls
        )

    def add(self, i: int, call: Call) -> None:
        """Do this call too."""
        self._calls.append(call)
        self.read += call.reads()
        self._places.add(i)
        (self._reduced if call.function in SUMS else self._inside).add(call.out)

    def kernel(self) -> Kernel:
        """The loop with all its calls."""
        shape = (int(np.prod(self.shape)),) if self.flat else self.shape
        depth = len(shape)
        before: list[list[str]] = [[] for _ in range(depth + 1)]  # at which depth of the loops
        after: list[list[str]] = [[] for _ in range(depth + 1)]
        kernel = Kernel()
        known: dict[Value, str] = {}
        following = count().__next__

        def read(x: Any, like: Value) -> str:
            if not isinstance(x, Value):
                if isinstance(x, (int, float)):
                    return f"{dtype_of(like)}({number(x)})"
                raise NotNative(f"an operand {x!r:.40}")
            if x.kind == "constant" and x.array.size == 1:
                return f"{dtype_of(x)}({number(x.array.item())})"
            if x not in known:
                if x.root.kind == "number":
                    text, level = f"{dtype_of(x)}({kernel.name(x.root, 'np.float64')}[0])", 0
                else:
                    steps = self._steps(x)
                    level = max((k + 1 for k, step in enumerate(steps) if step), default=0)
                    text = f"{kernel.name(x)}[{place(steps)}]"
                    text = f"{text} != 0" if x.dtype == np.bool_ else text
                known[x] = f"x{following()}"
                before[level].append(f"{known[x]} = {text}")
            return known[x]

        for call in self._calls:
            out = call.out
            if call.function in SUMS:
                combine, start = SUMS[call.function], start_of(call)
                level = 0 if self.flat else depth - len(gone_of(call))
                name = f"s{following()}"
                entry = f"{dtype_of(out)}({read(call.args[0], out)})"
                before[level].append(f"{name} = {dtype_of(out)}({start})")
                before[depth].append(f"{name} = {combine.format(name, entry)}")
                gone = gone_of(call)
                to = (0,) if self.flat else kept_steps(call.args[0], gone, out, self._kernels.steps)
                target = f"{kernel.name(out, writes=True)}[{place(to)}]"
                is_bool = out.dtype == np.bool_
                after[level].append(f"{target} = {stored(name, out) if is_bool else name}")
                continue
            asks = call.function in QUESTIONS  # a number is compared as it is
            operands = [
                "" if callable(x)
                else number(x) if asks and isinstance(x, (int, float)) else read(x, out)
                for x in call.args if x is not OUT
            ]  # fmt: skip
            known[out] = f"t{following()}"
            before[depth].append(f"{known[out]} = {expression(call, operands)}")
            if self._kernels.is_kept(out, self._places) or -1 in self._places:
                home = out.block if isinstance(out.block, Value) else out
                target = f"{kernel.name(home, writes=True)}[{place(self._steps(home))}]"
                value = f"np.uint8({known[out]})" if out.dtype == np.bool_ else known[out]
                after[depth].append(f"{target} = {value}")
        for level in range(depth + 1):
            kernel.lines += ["    " * level + line for line in before[level]]
            if level < depth:
                kernel.lines.append(
                    "    " * level + f"for {INDEX[level]} in range({shape[level]}):"
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


def _in_registers(
    names: tuple[str, str, str, str],
    sizes: tuple[int, int, int],
    steps: tuple[int, ...],
    dtype: str,
) -> str:
    """The call that multiplies small matrices and returns True if an entry is infinite or NaN.

    names  of C, A, B and the bias
    steps  from a row, and a column, to the next in A, and from a row to the next in B and C
    """
    (c, a, b, bias), (m, k, n) = names, sizes
    a_row, a_column, b_row, c_row = steps
    if n == 1 and (k == 1 or a_column == b_row == 1):
        return f"dots({c}, {a}, {b}, {bias}, {(m, k)}, {a_row}, {dtype})"
    if n == 1 and a_row == 1 and bias == "0":  # Cᵀ = Bᵀ Aᵀ: one row
        a, b, sizes, steps = b, a, (1, k, m), (m, a_column, 0, b_row)
    else:
        steps = (c_row, b_row, a_row, a_column)
    return f"product({c}, {a}, {b}, {bias}, {sizes}, {steps}, {dtype})"


def _is_for_blas(steps: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return True if NumPy hands such a matrix to the BLAS as it is: its rows, or its columns, lie
    in one piece and one after the other. Others are copied first, which is faster."""
    (row, column), (m, n) = steps, shape
    return (column == 1 and row >= n) or (row == 1 and column >= m)


def _bias_of(call: Call, product: Value) -> Value | None:
    """The row that a call adds to each row of a product and to nothing else."""
    if call.function is not np.add or call.out.dtype != product.dtype or len(product.shape) != 2:
        return None
    others = [v for v in call.reads() if v is not product]
    if len(others) != 1 or call.out.shape != product.shape or isinstance(call.out.block, Value):
        return None
    (bias,) = others
    n = product.shape[1]
    is_row = bias.shape in ((n,), (1, n)) and bias.dtype == product.dtype
    return bias if is_row and bias.root.kind in ("home", "argument", "constant") else None


def _called(call: Call) -> str:
    is_named = call.function in lowering.CALLED
    function = call.args[0] if is_named else call.function
    if isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", function)).lstrip("_")
