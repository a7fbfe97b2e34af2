"""Native: a captured program as machine code, by Numba.

Where a step is small, its time is that of the calls: 46 NumPy functions for a network of ten
units. Here the same program becomes a table. Each row is one of a few kernels (see `kernels`) and
the addresses that it works on, and a loop goes through the rows, and around it another through the
batches of an epoch, without returning to Python. How long the compilation takes depends on how
many kernels differ, not on the length of the program; the machine code is kept on disk for the
next process.

The order of sums, and the exponential function, are not NumPy's: results agree to rounding. What
has no loop here is refused by name, and the NumPy program is run in its place.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Array
from .calls import Value
from .kernels import Kernels, NotNative
from .program import Program

__all__ = ["Native", "NotNative"]

_HEAD = '''\
"""A step as kernels, and `run`, which goes through a table of them for each batch."""

import numpy as np
from numba import njit

from tinygrad_edu.capturing.mathematics import *
from tinygrad_edu.capturing.products import blas, dots, pointer, product

kernel = njit(
    error_model="numpy", fastmath={"reassoc", "contract"}, no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)

'''
_RUN = '''
@njit("i8(i8[:, ::1], i8[:, ::1], i8[:, ::1], i8[:, ::1], i8[:, ::1], f8[:, ::1])",
      cache=True, error_model="numpy")
def run(table, order, sources, given, results, kept):
    """The steps for the batches of `order`; how many were done before one did not apply.

    table    a row for each kernel that is run: its number, and the addresses
    order    which rows of the sources make up each batch
    sources  the address of each source, the bytes of a row, and where a batch has room
    given    where in the table an argument's address belongs: row, column, source, bytes further
    results  the address of each number that a step gives, and its bytes; they go into `kept`
    """
    for step in range(len(order)):
        for s in range(len(sources)):
            place = sources[s, 0] + order[step, 0] * sources[s, 1]
            for i in range(1, order.shape[1]):
                if order[step, i] != order[step, 0] + i:  # not in one piece
                    place = sources[s, 2]
                    break
            if place == sources[s, 2]:
                for i in range(order.shape[1]):
                    row = pointer(sources[s, 0] + order[step, i] * sources[s, 1], np.uint8)
                    room = pointer(place + i * sources[s, 1], np.uint8)
                    for k in range(sources[s, 1]):
                        room[k] = row[k]
            for p in range(len(given)):
                if given[p, 2] == s:
                    table[given[p, 0], given[p, 1]] = place + given[p, 3]
        for c in range(len(table)):
            at = pointer(table.ctypes.data + c * table.strides[0], np.int64)
            number = at[0]
{dispatch}
        for r in range(len(results)):
            if results[r, 1] == 4:
                kept[step, r] = pointer(results[r, 0], np.float32)[0]
            else:
                kept[step, r] = pointer(results[r, 0], np.float64)[0]
    return len(order)
'''
_ONCE = np.zeros((1, 1), np.int64)  # the order of a single step: its arguments as they lie


def compiled(source: str) -> Any:
    """The function `run` of a generated module, compiled by Numba; the machine code is kept in a
    folder of its own for other processes.

    Raises:  ImportError without the extra `native`
    """
    try:
        import numba
        from llvmlite.binding import set_option
    except ModuleNotFoundError as error:
        raise ImportError(
            "backend='numba' needs Numba: pip install 'tinygrad_edu[native]'"
        ) from error
    # Loops over many arrays are checked for overlaps at run time, however many pairs there are.
    set_option("", "-runtime-memory-check-threshold=1000")
    ours = [
        Path(__file__).with_name(f"{n}.py").read_text("utf-8") for n in ("mathematics", "products")
    ]
    text = "".join([source, *ours, numba.__version__])
    key = sha256(text.encode()).hexdigest()[:24]
    name = f"tinygrad_edu_step_{key}"
    if name not in sys.modules:  # a module of its own, by whose name Numba finds its machine code
        path = _kept(f"step_{key}.py", source)
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules.setdefault(name, module)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name)
            raise
    return sys.modules[name].run


def _kept(name: str, source: str) -> Path:
    """The file of a module in the user's cache; where nothing can be written there, in a folder
    that is nobody else's."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(home) / "tinygrad_edu" / "native" / name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(source, encoding="utf-8")
            fresh.replace(path)  # whole, or not at all
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="tinygrad_edu")) / name
        path.write_text(source, encoding="utf-8")
    return path


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
            self._layout = homes
            self._compile()
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
        self.function = compiled(self.source)

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

    # --- running ----------------------------------------------------------------------------------

    def run(self, given: Sequence[Any]) -> bool:
        """One step for these arguments and numbers; False where the program does not apply."""
        n = len(self._arguments)
        sources = [(array.ctypes.data, 0, 0) for array in given[:n]]
        self._rates[: len(given) - n] = given[n:]
        kept = np.empty((1, len(self._results)))
        return bool(self._run(_ONCE, sources, kept))

    def _run(self, order: Array, sources: Any, kept: Array) -> int:
        rows = np.array(sources, np.int64).reshape(-1, 3)
        done = self.function(self._table, order, rows, self._given, self._results, kept)
        return int(done)

    def epoch(self, sources: Sequence[Array], order: Array, rates: Sequence[float]) -> Array:
        """A step for each row of `order`, whose arguments are the rows of the sources that it
        names: what they gave, as far as it came, which is nowhere if that is no numbers."""
        if not self._numbers or len(self._results) != len(self._numbers):
            return np.empty((0, 1))
        rows = [
            (source.ctypes.data, source.nbytes // max(1, len(source)), self._rooms[v].ctypes.data)
            for source, v in zip(sources, self._arguments, strict=True)
        ]
        self._rates[: len(rates)] = rates
        kept = np.empty((len(order), len(self._numbers)))
        return kept[: self._run(np.ascontiguousarray(order, np.int64), rows, kept)]


def _bytes(value: Value) -> int:
    entries = int(np.prod(value.shape))
    return max(1, entries * int(value.dtype.itemsize))


def _memory(value: Value, piece: Array | None) -> Array:
    """An array for a value, in a piece of memory or in a new one."""
    piece = np.empty(_bytes(value), np.uint8) if piece is None else piece
    return np.ndarray(value.shape, value.dtype, piece.data, strides=value.strides)
