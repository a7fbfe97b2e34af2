"""Products: C = A B + bias for matrices of known sizes, kept in the registers of the processor.

A block of a few rows of C lies in registers while k runs: for each k one row of B is loaded, and
each entry of A is multiplied by it and added (`fma`). A library's `gemm` does the same, but has to
ask for the sizes, copy its operands into an order that it likes and find its way back; at the sizes
of a small network that costs more than the product.

Only generated code imports this file, and mathematics.py; what stands here are Numba *intrinsics*,
functions whose machine instructions (as LLVM knows them) are written down one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_FEATURES = llvmlite.binding.get_host_cpu_features()
# Bytes in a register, and how many blocks of C may lie in registers at once.
WIDTH, BLOCKS = (
    (64, 24) if _FEATURES.get("avx512f") else (32, 12) if _FEATURES.get("avx") else (16, 12)
)
CACHE = 24 * 1024  # bytes of B that stay near the processor while the rows of A go by


@intrinsic(prefer_literal=True)
def pointer(context: Any, address: Any, dtype: Any) -> Any:
    """The entries at an address: `pointer(address, np.float32)[i]`."""
    kind = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.intp, dtype), generate


@intrinsic(prefer_literal=True)
def product(
    context: Any, c: Any, a: Any, b: Any, bias: Any, sizes: Any, steps: Any, dtype: Any
) -> Any:
    """C = A B, or with an address for `bias` (not 0) this row added to each row of C; with a = 0
    all entries of A are 1. Return True if an entry of C is infinite or NaN.

    c, a, b, bias  addresses
    sizes          (m, k, n) of A (m, k) and B (k, n)
    steps          entries from a row to the next in C and B, and from a row, and a column, to the
                   next in A: (c, b, a, a'). Rows of B and C lie in one piece
    """
    (m, k, n), steps_of = _numbers(sizes), _numbers(steps)
    with_a, with_bias = (not _is_zero(a)), (not _is_zero(bias))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(dtype.dtype)
        pointers = [builder.inttoptr(x, scalar.as_pointer()) for x in args[:4]]
        block = _Block(builder, scalar, n)
        checked = _Finite(builder, block.kind)
        most = BLOCKS if with_a else 1
        for start, count in _chunks(block.vectors, 7 if BLOCKS > 12 else 3):
            rows = max(1, min(m, most // count))
            # Rather fewer rows at a time than some that are left over, which take as long as all.
            rows = next((r for r in range(rows, rows // 2, -1) if m % r == 0), rows)
            depth = max(16, CACHE // (count * WIDTH))
            for first, deep in _first_and_others(builder, k, depth):
                for i, high in _pieces(builder, m, rows):
                    sums = block.multiply(
                        pointers if with_bias else pointers[:3], with_a,
                        i, high, first, deep, start, count, steps_of,
                    )  # fmt: skip
                    checked.note(sums)
        return checked.failed()

    signature = types.boolean(c, a, b, bias, sizes, steps, dtype)
    return signature, generate


@intrinsic(prefer_literal=True)
def dots(context: Any, c: Any, a: Any, b: Any, bias: Any, sizes: Any, step: Any, dtype: Any) -> Any:
    """c = A b, or with an address for `bias` (not 0) A b plus this number: each entry is the
    product of a row, which lies in one piece, with the vector b. Return True if an entry of c is
    infinite or NaN.

    c, a, b, bias  addresses
    sizes          (m, k) of A; `step`: entries from one of its rows to the next
    """
    (m, k), row, with_bias = _numbers(sizes), step.literal_value, not _is_zero(bias)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(dtype.dtype)
        to, rows, factors, more = [builder.inttoptr(x, scalar.as_pointer()) for x in args[:4]]
        block = _Block(builder, scalar, k)
        name = f"llvm.vector.reduce.fadd.v{block.lanes}f{8 * block.bytes}"
        function = ir.FunctionType(scalar, [scalar, block.kind])
        add_up = cgutils.get_or_insert_function(builder.module, function, name)
        start = builder.load(more) if with_bias else ir.Constant(scalar, 0.0)
        kept = [block.load(factors, j) for j in range(min(block.vectors, BLOCKS))]
        checked = _Finite(builder, scalar)
        with _loop(builder, m, []) as (i, _):
            at = builder.gep(rows, [builder.mul(i, _I64(row))])
            total = block.zero
            for j in range(block.vectors):
                factor = kept[j] if j < len(kept) else block.load(factors, j)
                total = builder.call(block.fma, [block.load(at, j), factor, total])
            result = builder.call(add_up, [start, total], fastmath=("reassoc",))
            builder.store(result, builder.gep(to, [i]))
            checked.note([result])
        return checked.failed()

    return types.boolean(c, a, b, bias, sizes, step, dtype), generate


@intrinsic(prefer_literal=True)
def matmul(context: Any, c: Any, a: Any, b: Any, sizes: Any, steps: Any, dtype: Any) -> Any:
    """C = A B by NumPy's own inner loop for matrices: the numbers that np.matmul gives.

    Large products go this way, since that loop calls the BLAS, and so do products that overflowed:
    which sums are infinite, and which NaN, depends on the order in which they are added up.

    c, a, b  addresses
    sizes    (m, k, n) of A (m, k) and B (k, n)
    steps    entries from a row, and from a column, to the next in A, B and C: (a, a', b, b', c, c')
    Source:  PyUFuncGenericFunction in NumPy's C interface, of the signature (m,k),(k,n)->(m,n)
    """
    (m, k, n), steps_of = _numbers(sizes), _numbers(steps)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        is_double = isinstance(context.get_value_type(dtype.dtype), ir.DoubleType)
        size = 8 if is_double else 4
        numbers = [_I64(x) for x in (1, m, k, n)]
        moves = [_I64(x) for x in (0, 0, 0, *(size * step for step in steps_of))]
        loop = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [_I64.as_pointer()] * 3 + [ir.IntType(8).as_pointer()]),
            "numpy_matmul_float64" if is_double else "numpy_matmul_float32",
        )
        nothing = ir.Constant(ir.IntType(8).as_pointer(), None)
        operands = (args[1], args[2], args[0])
        builder.call(loop, [*(_array(builder, x) for x in (operands, numbers, moves)), nothing])
        return context.get_dummy_value()

    return types.void(c, a, b, sizes, steps, dtype), generate


def _array(builder: Any, numbers: Sequence[Any]) -> Any:
    """The address of whole numbers one behind the other, on the stack."""
    start = cgutils.alloca_once(builder, _I64, _I64(len(numbers)))
    for i, number in enumerate(numbers):
        builder.store(number, builder.gep(start, [_I64(i)]))
    return start


def _numbers(kind: Any) -> list[int]:
    return [part.literal_value for part in kind]


def _is_zero(kind: Any) -> bool:
    return bool(getattr(kind, "literal_value", None) == 0)


def _chunks(total: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, length) of pieces of about the same length."""
    number = -(-total // most)
    length = -(-total // number)
    for start in range(0, total, length):
        yield start, min(length, total - start)


def _pieces(builder: Any, total: int, length: int) -> Iterator[tuple[Any, int]]:
    """Go through a range piece by piece: (where it starts, how long it is); a loop in the machine
    code for those of full length, and the rest."""
    full, rest = divmod(total, length)
    if full == 1:
        yield _I64(0), length
    elif full:
        with _loop(builder, full, []) as (i, _):
            yield builder.mul(i, _I64(length)), length
    if rest:
        yield _I64(full * length), rest


def _first_and_others(builder: Any, total: int, length: int) -> Iterator[tuple[Any, int]]:
    """The same, with the first piece by itself."""
    length = min(total, length)
    yield _I64(0), length
    for i, n in _pieces(builder, total - length, length):
        yield builder.add(i, _I64(length)), n


@contextmanager
def _loop(builder: Any, n: int, values: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """`for i in range(n)`; the values change from turn to turn, as what the caller leaves in the
    list, and hold what the last turn left."""
    before = builder.block
    body, after = builder.append_basic_block("turn"), builder.append_basic_block("after")
    builder.branch(body)
    builder.position_at_end(body)
    i = builder.phi(_I64)
    i.add_incoming(_I64(0), before)
    carried = [builder.phi(value.type) for value in values]
    for phi, value in zip(carried, values, strict=True):
        phi.add_incoming(value, before)
    left = list(carried)
    yield i, left
    following = builder.add(i, _I64(1))
    i.add_incoming(following, builder.block)
    for phi, value in zip(carried, left, strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, _I64(n)), body, after)
    builder.position_at_end(after)
    values[:] = left


class _Finite:
    """Σ 0·x over all numbers x of a product: 0 if they are finite, and NaN if one is not."""

    def __init__(self, builder: Any, kind: Any) -> None:
        self.builder, self.kind = builder, kind
        self.sum = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, None), self.sum)

    def note(self, numbers: Sequence[Any]) -> None:
        """Add 0 times each of these registers or numbers, two and two: they need not wait for each
        other."""
        zero = ir.Constant(self.kind, None)
        terms = [self.builder.load(self.sum), *(self.builder.fmul(x, zero) for x in numbers)]
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=False)
            terms = [self.builder.fadd(*pair) for pair in pairs] + terms[len(terms) // 2 * 2 :]
        self.builder.store(terms[0], self.sum)

    def failed(self) -> Any:
        """1 if a number was not finite, else 0."""
        total = self.builder.load(self.sum)
        lanes = self.builder.fcmp_unordered("uno", total, total)
        if not isinstance(self.kind, ir.VectorType):
            return lanes
        bits = self.builder.bitcast(lanes, ir.IntType(self.kind.count))
        return self.builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


class _Block:
    """Rows of `n` numbers, as registers of several numbers each; the last may be used in part."""

    def __init__(self, builder: Any, scalar: Any, n: int) -> None:
        self.builder, self.n = builder, n
        self.bytes = 8 if isinstance(scalar, ir.DoubleType) else 4
        self.lanes = WIDTH // self.bytes
        self.vectors = -(-n // self.lanes)
        self.kind = ir.VectorType(scalar, self.lanes)
        self.zero = ir.Constant(self.kind, [ir.Constant(scalar, 0.0)] * self.lanes)
        self.one = ir.Constant(self.kind, [ir.Constant(scalar, 1.0)] * self.lanes)
        bits = ir.VectorType(ir.IntType(1), self.lanes)
        self.used = n - (self.vectors - 1) * self.lanes  # of the last register
        self.mask = ir.Constant(
            bits, [ir.Constant(ir.IntType(1), place < self.used) for place in range(self.lanes)]
        )
        self.is_full = self.used == self.lanes
        name = f"v{self.lanes}f{8 * self.bytes}"
        at = self.kind.as_pointer()
        self.fma = self._intrinsic(f"llvm.fma.{name}", self.kind, [self.kind] * 3)
        self.some = self._intrinsic(
            f"llvm.masked.load.{name}.p0", self.kind, [at, _I32, bits, self.kind]
        )

    def _intrinsic(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def _at(self, row: Any, j: int) -> tuple[Any, bool]:
        """Where register j of a row lies, and whether all of it belongs to the row."""
        place = self.builder.gep(row, [_I64(j * self.lanes)])
        return (
            self.builder.bitcast(place, self.kind.as_pointer()),
            self.is_full or j < self.vectors - 1,
        )

    def load(self, row: Any, j: int) -> Any:
        """Register j of the row that starts at a pointer."""
        place, whole = self._at(row, j)
        if whole:
            return self.builder.load(place, align=self.bytes)
        return self.builder.call(self.some, [place, _I32(self.bytes), self.mask, self.zero])

    def store(self, value: Any, row: Any, j: int) -> None:
        """Write register j of a row."""
        place, whole = self._at(row, j)
        if whole:
            self.builder.store(value, place, align=self.bytes)
            return
        # In pieces of 8, 4, 2 and 1: some processors take very long to store under a mask.
        first, length = 0, self.lanes // 2
        while length:
            if self.used & length:
                lanes = ir.Constant(
                    ir.VectorType(_I32, length), [_I32(first + i) for i in range(length)]
                )
                piece = self.builder.shuffle_vector(value, self.zero, lanes)
                to = self.builder.gep(row, [_I64(j * self.lanes + first)])
                to = self.builder.bitcast(to, piece.type.as_pointer())
                self.builder.store(piece, to, align=self.bytes)
                first += length
            length //= 2

    def spread(self, number: Any) -> Any:
        """A register with one number everywhere."""
        nothing = ir.Constant(self.kind, ir.Undefined)
        first = self.builder.insert_element(nothing, number, _I32(0))
        everywhere = ir.Constant(ir.VectorType(_I32, self.lanes), [_I32(0)] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, everywhere)

    def multiply(
        self, pointers: list[Any], with_a: bool, i: Any, rows: int, first: Any, depth: int,
        start: int, count: int, steps: list[int],
    ) -> list[Any]:  # fmt: skip
        """Compute rows i … of C, registers `start` …, from columns `first` … of A; added to what is
        there unless these are the first. Return the registers."""
        builder = self.builder
        c_row, b_row, a_row, a_column = steps

        def away(base: Any, *moves: tuple[Any, int]) -> Any:
            for places, step in moves:
                base = builder.gep(base, [builder.mul(places, _I64(step))])
            return base

        c = away(pointers[0], (i, c_row))
        a = away(pointers[1], (i, a_row), (first, a_column))
        b = away(pointers[2], (first, b_row))
        registers = range(start, start + count)
        targets = [(away(c, (_I64(r), c_row)), j) for r in range(rows) for j in registers]
        sums = []
        is_first = isinstance(first, ir.Constant)
        for row, j in targets:
            if not is_first:
                sums.append(self.load(row, j))
            else:
                sums.append(self.load(pointers[3], j) if len(pointers) > 3 else self.zero)
        with _loop(builder, depth, sums) as (k, sums_now):
            row = away(b, (k, b_row))
            entries = [self.load(row, j) for j in registers]
            for r in range(rows):
                if with_a:
                    factor = self.spread(builder.load(away(a, (k, a_column), (_I64(r), a_row))))
                for j in range(count):
                    place = r * count + j
                    sums_now[place] = (
                        builder.call(self.fma, [factor, entries[j], sums_now[place]])
                        if with_a
                        else builder.fadd(entries[j], sums_now[place])
                    )
        for value, (row, j) in zip(sums, targets, strict=True):
            self.store(value, row, j)
        return sums
