"""Native: a captured program as machine code, by Numba.

Where a step is small, its time is that of the calls: 46 NumPy functions for a network of ten
units. Here the same program becomes a table. Each row is one of a few kernels (see `kernels`) and
the addresses that it works on, and a loop goes through the rows, and around it another through the
batches of an epoch, without returning to Python. How long the compilation takes depends on how
many kernels differ, not on the length of the program; the machine code is kept on disk for the
next process (see `machine_code`).

The order of sums, and the exponential function, are not NumPy's: results agree to rounding. What
has no loop here is refused by name, and the NumPy program is run in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import addressof, c_int64
from itertools import chain
from typing import Any

import numpy as np

from ..arrays import Array
from .calls import Value
from .kernels import Kernels, NotNative
from .machine_code import compiled
from .memory import address
from .program import Program

__all__ = ["Native", "NotNative"]

_HEAD = '''\
"""A step as kernels, and `run`, which goes through a table of them for each batch."""

import numpy as np
from numba import cfunc, njit

from tinygrad_edu.capturing.mathematics import *
from tinygrad_edu.capturing.products import dots, matmul, pointer, product

kernel = njit(
    error_model="numpy", fastmath={"reassoc", "contract"}, no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)

'''
_RUN = '''
@cfunc("i8(i8)", error_model="numpy")
def run(frame):
    """The steps for the batches of an epoch; how many were done before one did not apply.

    frame    the address of what follows, each an address and how many rows lie there:
    table    a row for each kernel that is run: its number, and the addresses; `width` numbers each
    order    which rows of the sources make up each batch, `batch` of them
    sources  the address of each source, the bytes of a row, and where a batch has room
    given    where in the table an argument's address belongs: row, column, source, bytes further
    results  the address of each number that a step gives, and its bytes
    kept     where these numbers go
    """
    parts = pointer(frame, np.int64)
    table, calls, width = parts[0], parts[1], parts[2]
    order, steps, batch = pointer(parts[3], np.int64), parts[4], parts[5]
    sources, arguments = pointer(parts[6], np.int64), parts[7]
    given, places = pointer(parts[8], np.int64), parts[9]
    results, numbers = pointer(parts[10], np.int64), parts[11]
    kept = pointer(parts[12], np.float64)
    for step in range(steps):
        first = order[step * batch]
        for s in range(arguments):
            start, size, room = sources[3 * s], sources[3 * s + 1], sources[3 * s + 2]
            place = start + first * size
            for i in range(1, batch):
                if order[step * batch + i] != first + i:  # not in one piece
                    place = room
                    break
            if place == room:
                for i in range(batch):
                    row = pointer(start + order[step * batch + i] * size, np.uint8)
                    copy = pointer(room + i * size, np.uint8)
                    for k in range(size):
                        copy[k] = row[k]
            for p in range(places):
                if given[4 * p + 2] == s:
                    cell = table + 8 * (given[4 * p] * width + given[4 * p + 1])
                    pointer(cell, np.int64)[0] = place + given[4 * p + 3]
        for c in range(calls):
            at = pointer(table + 8 * c * width, np.int64)
            number = at[0]
{dispatch}
        for r in range(numbers):
            if results[2 * r + 1] == 4:
                number_of = pointer(results[2 * r], np.float32)[0]
            else:
                number_of = pointer(results[2 * r], np.float64)[0]
            kept[step * numbers + r] = number_of
    return steps
'''
_ORDER, _STEPS, _BATCH, _KEPT = 3, 4, 5, 12  # in the frame
_ONCE = np.zeros((1, 1), np.int64)  # the order of a single step: its arguments as they lie


class Native:
    """A finished and bound `Program` as a table of kernels.

    given    arguments as they come
    outputs  the values that have to be there after a run
    numbers  those of them that an epoch keeps for each step: single numbers, or nothing is kept
    source   the generated module

    Raises:  NotNative; ImportError without the extra `native`
    """

    def __init__(
        self,
        program: Program,
        given: Sequence[Any],
        outputs: Sequence[Value],
        numbers: Sequence[Value],
    ) -> None:
        self.program = program
        self._outputs = set(outputs)
        self._numbers = list(numbers)
        self._layout: Any = None
        self._arguments = [v for v in program.given if v.kind == "argument"]
        self._rates = np.zeros(max(1, len(program.given) - len(self._arguments)))
        if not all(array.flags.c_contiguous for array in given[: len(self._arguments)]):
            raise NotNative("an argument whose entries do not lie in a row")
        self._rooms = {v: np.empty(v.shape, v.dtype) for v in self._arguments}
        self.bind()

    # --- making -----------------------------------------------------------------------------------

    def bind(self) -> None:
        """Fill the table with the addresses of the program's arrays as they are now."""
        homes = {v: self.program.array(v).strides for v in self._values() if v.kind == "home"}
        if homes != self._layout:
            self._compile()
            self._layout = homes
        self._fill()

    def _values(self) -> Iterator[Value]:
        for call in self.program.calls:
            for value in (*call.reads(), call.out):
                if value is not None:
                    yield value.root
                    if isinstance(value.block, Value):
                        yield value.block
        for home, value in self.program.copies:
            yield home
            yield value.root

    def _compile(self) -> None:
        examples: dict[Value, Array] = {}

        def example(value: Value) -> Array:
            if value not in examples:
                examples[value] = self._array(value, lambda v: _memory(v, None))
            return examples[value]

        self._kernels = Kernels(self.program, self._outputs, example).made
        bodies = list(dict.fromkeys((kernel.body, kernel.asks) for kernel in self._kernels))
        numbers = {body: i for i, body in enumerate(bodies)}
        self._which = [numbers[kernel.body, kernel.asks] for kernel in self._kernels]
        defined = [f"\n@kernel\ndef kernel{i}{body}\n" for i, (body, _) in enumerate(bodies)]
        dispatch = []
        for i, (_, asks) in enumerate(bodies):
            dispatch.append(f"{'el' * (i > 0)}if number == {i}:")
            if asks:
                dispatch += [f"    if not kernel{i}(at):", "        return step"]
            else:
                dispatch.append(f"    kernel{i}(at)")
        text = "\n".join(" " * 12 + line for line in dispatch)
        self.source = _HEAD + "\n".join(defined) + _RUN.replace("{dispatch}", text)
        self._machine_code = compiled(self.source)

    def _array(self, value: Value, memory: Any) -> Array:
        """The array of a value; those of results that only kernels see are made by `memory`."""
        made: Array
        if value.of is not None:
            assert value.function is not None
            made = value.function(self._array(value.of, memory))
        elif value.kind == "argument":
            made = self._rooms[value]
        elif value.kind == "result" and not self._is_outside(value):
            made = memory(value)
        else:
            made = self.program.array(value)
        return made

    def _is_outside(self, value: Value) -> bool:
        return value in self._outputs or isinstance(value.block, Value)

    def _fill(self) -> None:
        """The table, and memory for the results between kernels: one piece for all that are not
        needed at the same time."""
        first: dict[Value, int] = {}
        last: dict[Value, int] = {}
        for i, kernel in enumerate(self._kernels):
            for value in (v.root for v in kernel.values):
                if value.kind == "result" and not self._is_outside(value):
                    first.setdefault(value, i)
                    last[value] = i
        free: list[Array] = []
        arrays: dict[Value, Array] = {}
        pieces: dict[Value, Array] = {}
        table = np.zeros(
            (len(self._kernels), 1 + max((len(k.values) for k in self._kernels), default=0)),
            np.int64,
        )
        given = []
        argument = {v: i for i, v in enumerate(self._arguments)}
        rate = {v: i for i, v in enumerate(v for v in self.program.given if v not in argument)}
        self._pieces = []
        for i, kernel in enumerate(self._kernels):
            for value in [v for v, start in first.items() if start == i]:
                size = _bytes(value)
                fits = [piece for piece in free if size <= len(piece) <= 4 * size + 256]
                if fits:
                    piece = min(fits, key=len)
                    free = [other for other in free if other is not piece]
                else:
                    piece = np.empty(size + 64, np.uint8)
                    self._pieces.append(piece)
                    piece = piece[-piece.ctypes.data % 64 :]
                pieces[value] = piece
                arrays[value] = _memory(value, piece)
            table[i, 0] = self._which[i]
            for k, value in enumerate(kernel.values):
                if value.root.kind == "number":
                    table[i, k + 1] = self._rates.ctypes.data + 8 * rate[value.root]
                    continue
                address = self._array(value, arrays.__getitem__).ctypes.data
                if value.root in argument:
                    start = self._rooms[value.root].ctypes.data
                    given.append((i, k + 1, argument[value.root], address - start))
                table[i, k + 1] = address
            free += [pieces[value] for value, end in last.items() if end == i]
        self._table = table
        self._given = np.array(given, np.int64).reshape(-1, 4)
        self._results = np.array(
            [
                (self.program.array(v).ctypes.data, v.dtype.itemsize)
                for v in self._numbers
                if v.shape == () and v.kind == "result" and v.dtype.char in "fd"
            ],
            np.int64,
        ).reshape(-1, 2)

        rooms = [np.atleast_1d(self._rooms[v]) for v in self._arguments]
        self._sources = _numbers(*((0, room[:1].nbytes, room.ctypes.data) for room in rooms))
        # What `run` gets: for an epoch, and for a single step, of which no numbers are kept.
        parts = (
            (table.ctypes.data, *table.shape),
            (_ONCE.ctypes.data, *_ONCE.shape),
            (addressof(self._sources), len(rooms)),
            (self._given.ctypes.data, len(self._given)),
        )
        self._epoch = _numbers(*parts, (self._results.ctypes.data, len(self._results), 0))
        self._step = _numbers(*parts, (0, 0, 0))

    # --- running ----------------------------------------------------------------------------------

    def run(self, given: Sequence[Any]) -> bool:
        """One step for these arguments and numbers; False where the program does not apply."""
        self._give(given, given[len(self._arguments) :])
        return bool(self._machine_code(addressof(self._step)))

    def epoch(self, sources: Sequence[Array], order: Array, rates: Sequence[float]) -> Array:
        """A step for each row of `order` (int64, in one piece as the sources are), whose arguments
        are the rows that it names: what they gave, as far as it came, which is nowhere if that is
        no numbers."""
        if not self._numbers or len(self._results) != len(self._numbers):
            return np.empty((0, 1))
        self._give(sources, rates)
        kept = np.empty((len(order), len(self._numbers)))
        frame = self._epoch
        frame[_ORDER], frame[_STEPS], frame[_BATCH] = address(order), *order.shape
        frame[_KEPT] = address(kept)
        return kept[: self._machine_code(addressof(frame))]

    def _give(self, arrays: Sequence[Array], rates: Sequence[float]) -> None:
        for i in range(len(self._arguments)):
            self._sources[3 * i] = address(arrays[i])
        if rates:
            self._rates[: len(rates)] = rates


def _numbers(*parts: Sequence[int]) -> Any:
    """Whole numbers one behind the other, as the machine code reads them."""
    numbers = [*chain(*parts)]
    return (c_int64 * len(numbers))(*numbers)


def _bytes(value: Value) -> int:
    entries = int(np.prod(value.shape))
    return max(1, entries * int(value.dtype.itemsize))


def _memory(value: Value, piece: Array | None) -> Array:
    """An array for a value, in a piece of memory or in a new one."""
    piece = np.empty(_bytes(value), np.uint8) if piece is None else piece
    return np.ndarray(value.shape, value.dtype, piece.data, strides=value.strides)
