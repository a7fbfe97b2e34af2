"""Reading: from a recorded graph to a formula in index notation.

Every operation that is sums, products and shuffled axes disappears into the indices; what remains
are named arrays and calls of functions. Tensors that have a name are not looked into.

The graph is read by age, oldest first, each result once, so no graph is too deep. A result that is
needed and too long to be written out is given a name of its own, `T1`, `T2` …
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .. import engine, ops
from ..engine import Box
from ..operation import Op
from .algebra import (
    COMPARISONS,
    ONE,
    OPPOSITE,
    Arange,
    Axis,
    Call,
    Given,
    Index,
    Sum,
    Symbol,
    add,
    contracted,
    cost,
    multiply,
    number,
    of,
    parts_changed,
    power,
    renamed,
    scale,
    simplify,
    summed,
)
from .losses import is_loss, read_loss
from .selecting import read_add_rows, read_getitem, read_scatter

LONG = 150  # signs that a formula may have before a part of it gets a name
# Element-wise operations besides NumPy's ufuncs that formulas write as a function of each entry.
_ELEMENTWISE = {"sigmoid", "relu", "softplus", "clip", "power", "where"}
FILLER = 1e6  # numbers from here on, as −1e9, stand in the place of −∞


def within(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """[a_min ≤ x ≤ a_max]: where clipping changes nothing.

    Example:
        >>> within(np.array([1.0, 5.0]), 0, 2)
        array([ True, False])
    """
    return x == np.clip(x, a_min, a_max)


class Reader:
    """Reads tensors as formulas.

    names      what each named tensor is called
    values     the array behind every name that was used
    functions  the NumPy function behind every call that was written
    identities the names of identity matrices
    m          the number of samples, where what is divided by it can be seen
    parts      the formulas of `T1`, `T2` …, in the order of their use
    hot        Y = one_hot(y), which an index was read as
    idle       the names of arrays whose clip was left out
    decimals   whether a number such as 0.3 was read, after which others are written as decimals
    whole_losses  losses keep the name of their operation

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> Reader({W: "W"}).formula(W)[1].terms[0].factors[0][0].name
        'W'
    """

    def __init__(
        self,
        names: dict[Box, str],
        arrays: dict[int, str] | None = None,
        constants: Sequence[tuple[Any, str]] = (),
        m: int | None = None,
    ):
        self.names = dict(names)
        self.arrays = arrays or {}  # id of a plain array -> its name
        self.m = m
        self._alike = constants  # arrays of the author's that may have the same entries
        self.values: dict[str, Any] = {}
        self.functions: dict[str, Callable[..., Any]] = {
            "within": within,
            "sigmoid": ops.sigmoid.op.forward,
            "softmax": ops.softmax.op.forward,
            "log": np.log,
            **{name: getattr(np, name) for name in COMPARISONS},
        }
        self.parts: dict[str, Box] = {}
        self.idle: list[str] = []
        self.hot: dict[str, tuple[Index, Sum]] = {}
        self._hot_names: dict[tuple[int, int], str] = {}
        self.decimals = self.whole_losses = False
        self.identities: set[str] = set()
        self.constants: list[tuple[Any, str]] = []
        self._kept: list[Any] = []
        self._taken = {*names.values(), *self.arrays.values()}
        self._forms: dict[Box, tuple[Index, Sum]] = {}

    def share(self, other: Reader) -> None:
        """Use the values, functions and one-hot arrays of another reader of the same trace."""
        self.values, self.functions, self.hot = other.values, other.functions, other.hot
        self._hot_names, self._kept = other._hot_names, other._kept
        self._taken |= other.hot.keys()

    # --- the walk -----------------------------------------------------------------------------

    def formula(self, x: Box, own: str | None = None) -> tuple[Index, Sum]:
        """What x is made of, and the indices of its axes; `own`: its name, which is looked into."""
        if _is_result(x) and self.names.get(x, own) == own:
            return self._form(x)
        return self._leaf_form(x)

    def _leaf_form(self, x: Box) -> tuple[Index, Sum]:
        index = tuple(map(Axis, x.value.shape))
        return index, self.read(x, index)

    def _form(self, x: Box) -> tuple[Index, Sum]:
        for node in self._below(x):
            index = tuple(map(Axis, node.value.shape))
            _, op, args, raw, settings = node.record
            s = self._algebra(node, index)
            if s is None:
                s = self._opaque(node, op, index, args, raw, settings)
            if node is not x and cost(s) > LONG:
                s = simplify(s, [contracted(self.identities)])
                if cost(s) > LONG:
                    self._forms[node] = index, s
                    name = self._new_name("T")
                    self.parts[name] = node
                    self.names[node] = name
                    continue
            self._forms[node] = index, s
        return self._forms[x]

    def _algebra(self, node: Box, index: Index) -> Sum | None:
        """Return an operation as sums and products; None if it has to keep its name."""
        _, op, args, _, settings = node.record
        method = getattr(self, f"_op_{op.name}", None)
        reading = partial(read_loss, self) if is_loss(op) else method
        try:
            return reading(node, index, *args, **settings) if reading else None
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError):
            return None  # an operation's own name is right whatever its arguments are

    def part(self, name: str) -> tuple[Index, Sum]:
        """The formula of `T1`, `T2` …"""
        return self._forms[self.parts[name]]

    def _below(self, x: Box) -> list[Box]:
        """What has to be read before x can be, and x, oldest first."""
        found, stack = {x}, [x]
        while stack:
            for arg in stack.pop().record[2]:
                if (
                    _is_result(arg)
                    and arg not in self.names
                    and arg not in found
                    and arg not in self._forms
                ):
                    found.add(arg)
                    stack.append(arg)
        return sorted(found, key=lambda node: node.record[0])

    def read(self, x: Any, index: Index, raw: Any = None) -> Sum:
        """x at these indices: its name, its number, or its formula, which has been read before."""
        if not isinstance(x, Box):
            return self._constant(x, index)
        if x in self.names:
            name = self.names[x]
            self.values[name] = x.value if raw is None else raw
            return of(Symbol(name, index))
        if x.record is None or _is_drawn(x):
            return self._constant(x.value, index)
        if x.record[1] is engine.VARIABLE:
            self.names[x] = self._new_name("V")
            return self.read(x, index, raw)
        own, s = self._forms[x]
        to = {i: j for i, j in zip(own, index, strict=True) if i is not ONE}
        s = renamed(s, to)
        assert isinstance(s, Sum)
        return s

    def _constant(self, x: Any, index: Index) -> Sum:
        if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
            return self._array(np.asarray(x), index) if np.isnan(x) else self._number(x)
        return self._array(np.asarray(x), index)

    def _number(self, x: Any) -> Sum:
        if isinstance(x, float) and np.isfinite(x) and not x.is_integer():
            digits, short = Fraction(repr(x)), len(repr(x)) < 12
            self.decimals |= short and (digits.numerator != 1 or digits.denominator % 5 == 0)
        return number(x)

    def _array(self, a: Any, index: Index) -> Sum:
        known = self.arrays.get(id(a))
        if known is None and a.ndim == 2 and (whole := self._whole(a)) is not None:
            return self._array(whole, index[::-1])  # Xᵀ, which is no operation on plain arrays
        if known is None and a.size and a.dtype.kind in "fiub" and (a == a.flat[0]).all():
            single = a.dtype.kind == "f" and a.dtype.itemsize < 8  # 0.3 rather than 0.300000012
            return self._number(float(str(a.flat[0])) if single else a.flat[0].item())
        name = self._name_of(a)
        self.values[name] = a
        return of(Symbol(name, index))

    def _name_of(self, a: Any) -> str:
        """Return the author's name of an array, or a new one."""
        name = self.arrays.get(id(a))
        name = name or next((n for b, n in self.constants if b is a or _is_equal(a, b)), None)
        if name is None:
            alike = (n for b, n in self._alike if _same_entries(a, b) and self._is_free(n, a))
            usual = "I" if _is_identity(a) else "Y" if _is_one_hot(a) else ""
            name = next(alike, None) or (usual if usual not in self._taken else "")
            name = name or self._new_name("C")
            self._taken.add(name)
            if _is_identity(a):
                self.identities.add(name)
            self.constants.append((a, name))
        return name

    def given(self, x: Any) -> Any:
        """Return a setting with names in the place of its arrays."""
        return parts_changed(x, self._given)

    def _given(self, x: Any) -> Any:
        if not isinstance(x, np.ndarray) or not x.ndim or x.dtype.kind not in "iub":
            return x
        if x.ndim == 1 and len(x) > 1 and x.dtype.kind != "b" and (x == np.arange(len(x))).all():
            return Arange(len(x))
        box = next((n for b, n in self.names.items() if b.value is x), None)
        if box is None and id(x) not in self.arrays and x.size <= 4 and x.dtype.kind != "b":
            return x.tolist()
        name = box or self._name_of(x)
        self.values[name] = x
        return Given(name)

    def has_name(self, x: Any) -> bool:
        """Return True for an array that the author has a name for."""
        return id(x) in self.arrays or any(b.value is x for b in self.names)

    def one_hot(self, places: Any, n: int) -> str:
        """Return the name of the array whose rows have a 1 in these places: Y for those of y."""
        if name := self._hot_names.get((id(places), n)):
            return name
        given = self.given(places)
        known = given.name if isinstance(given, Given) else ""
        if not known:
            known = self._name_of(places)
            self.values[known] = places
        name = known.upper()
        if name == known or name in self._taken or not known.isalpha():
            name = self._new_name("H")
        self._taken.add(name)
        self._hot_names[id(places), n] = name
        self._kept.append(places)  # so that its id stays its own
        own = tuple(map(Axis, (*np.shape(places), n)))
        labels = of(Symbol(known, own[:-1]))
        self.functions["one_hot"] = ops.one_hot.op.forward
        settings = (("n_classes", n),)
        call = Call("one_hot", ((labels, own[:-1]),), own, settings, each=False)
        self.hot[name] = own, of(call)
        self.values[name] = ops.one_hot.op.forward(places, n)
        return name

    def operation(self, x: Box, index: Index) -> Sum:
        """Return the last operation of x, by its name, of what has names or is no result."""
        _, op, args, raw, settings = x.record
        return self._opaque(x, op, index, args, raw, settings)

    def name_part(self, x: Box) -> str:
        """Name a result T1, T2 …"""
        self.names[x] = name = self._new_name("T")
        self.values[name] = x.value
        return name

    def label(self, x: Any) -> str:
        """Return what an argument is called, or its number."""
        if isinstance(x, Box):
            return self.names.get(x) or self._name_of(x.value)
        return self._name_of(x) if isinstance(x, np.ndarray) and x.ndim else str(x)

    def _whole(self, a: Any) -> Any:
        """The named array whose transpose this is."""
        b = a.T
        base = a.base
        if base is None or id(base) not in self.arrays or base.shape != b.shape:
            return None
        same = base.strides == b.strides and base.ctypes.data == b.ctypes.data
        return base if same else None

    def _is_free(self, name: str, a: Any) -> bool:
        """Whether this can be the name of the array: nothing else has it."""
        mine = [b for b, n in self._alike if n == name and id(b) in self.arrays]
        return name.isidentifier() and (name not in self._taken or bool(mine))

    def _new_name(self, letter: str) -> str:
        k = 1
        while f"{letter}{k}" in self._taken:
            k += 1
        self._taken.add(f"{letter}{k}")
        return f"{letter}{k}"

    # --- functions that are no algebra --------------------------------------------------------

    def _opaque(
        self, x: Box, op: Op, index: Index, args: Any, raw: Any, settings: dict[str, Any]
    ) -> Sum:
        name = "abs" if op is ops.abs.op else op.name
        if self.functions.setdefault(name, op.forward) is not op.forward:
            name = f"{name}_{len(self.functions)}"  # another function of that name
            self.functions[name] = op.forward
        if op in (ops.softmax.op, ops.log_softmax.op) and settings["axis"] == len(index) - 1:
            settings = {"axis": -1}
        given = tuple(
            (k, self.given(settings[k])) for k in op.settings for v in [settings[k]]
            if k not in op.defaults or not _same(op.defaults[k], v)
        )  # fmt: skip
        single = all(v is None or np.isscalar(v) or _is_number(v) for _, v in given)
        if single and (op.name in _ELEMENTWISE or isinstance(op.forward, np.ufunc)):
            each = self._operands(x, index, args)
            return of(Call(name, tuple((s, ()) for s in each), index, given))
        inner = []
        for arg, array in zip(args, raw, strict=True):
            own = tuple(map(Axis, np.shape(array)))
            inner.append((self.read(arg, own, array), own))
        return of(Call(name, tuple(inner), index, given, each=False))

    def _operands(self, x: Box, index: Index, args: Iterable[Any]) -> list[Sum]:
        """The arguments of an operation that broadcasts, each at its share of the indices."""
        raw = x.record[3]
        return [
            self.read(a, _fitted(index, np.shape(r)), r) for a, r in zip(args, raw, strict=True)
        ]

    # --- operations that are algebra: (result, its indices, arguments, settings) -> formula ------

    def _op_add(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum:
        return add(*self._operands(x, index, (a, b)))

    def _op_subtract(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum:
        first, second = self._operands(x, index, (a, b))
        return add(first, scale(second, -1))

    def _op_multiply(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum:
        return multiply(*self._operands(x, index, (a, b)))

    def _op_divide(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        top, under = self._operands(x, index, (a, b))
        if not under.terms:
            return None
        n = x.record[3][1]
        if self.m and np.size(n) == 1 and np.size(b) and not self._has_name(b):
            under = self.count(np.asarray(n).item()) or under
        return multiply(top, power(under, Fraction(-1)))

    def _has_name(self, x: Any) -> bool:
        return isinstance(x, Box) and (x in self.names or x.record is not None)

    def count(self, n: float) -> Sum | None:
        """m for the number of samples, 3·m for what they have of entries."""
        if not self.m or n < self.m or n % self.m:
            return None
        self.values["m"] = self.m
        return scale(of(Symbol("m")), int(n) // self.m)

    def _op_negative(self, x: Box, index: Index, a: Any) -> Sum:
        return scale(self.read(a, index, x.record[3][0]), -1)

    def _op_square(self, x: Box, index: Index, a: Any) -> Sum:
        s = self.read(a, index, x.record[3][0])
        return power(s, Fraction(2)) if s.terms else s

    def _op_sqrt(self, x: Box, index: Index, a: Any) -> Sum:
        s = self.read(a, index, x.record[3][0])
        return of(s, Fraction(1, 2)) if s.terms else s

    def _op_power(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        exponent = x.record[3][1]
        if isinstance(b, Box) and b in self.names:
            return None
        if np.size(exponent) != 1 or (isinstance(b, Box) and b.record is not None):
            return None
        given = float(np.asarray(exponent).item())
        n = Fraction(str(given)).limit_denominator(100) if np.isfinite(given) else Fraction(0)
        if abs(n) > 20 or float(n) != given:
            return None
        s = self.read(a, _fitted(index, np.shape(x.record[3][0])), x.record[3][0])
        if not s.terms:
            return number(1) if n == 0 else s if n > 0 else None
        if n.denominator != 1:
            return of(s, n)
        return power(s, n)

    def _op_matmul(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        left, right = x.record[3][:2]
        if np.ndim(left) == 0 or np.ndim(right) == 0:
            return None
        k = Axis(left.shape[-1])
        rows = 1 if left.ndim > 1 else 0
        columns = 1 if right.ndim > 1 else 0
        batch = index[: len(index) - rows - columns]
        i = index[len(batch) : len(batch) + rows]
        j = index[len(batch) + rows :]
        first = (*_fitted(batch, left.shape[: left.ndim - 1 - rows]), *i, k)
        second = (*_fitted(batch, right.shape[: max(0, right.ndim - 2)]), k, *j)
        return summed(multiply(self.read(a, first, left), self.read(b, second, right)), [k])

    def _op_linear(self, x: Box, index: Index, a: Any, /, w: Any, b: Any) -> Sum | None:
        bias = x.record[3][2]
        product = self._op_matmul(x, index, a, w)
        if product is None:
            return None
        return add(product, self.read(b, _fitted(index, np.shape(bias)), bias))

    def _op_einsum(self, x: Box, index: Index, *operands: Any, subscripts: str) -> Sum:
        raw = x.record[3]
        terms, output = ops._einsum_terms(subscripts, [np.ndim(r) for r in raw])
        letters: dict[str, Axis] = dict(zip(output, index, strict=True))
        for term, r in zip(terms, raw, strict=True):
            for c, n in zip(term, np.shape(r), strict=True):
                if c not in letters or letters[c].size == 1 != n:
                    letters[c] = Axis(n)
        kept = []
        for a, r, term in zip(operands, raw, terms, strict=True):
            known = isinstance(a, Box) and (a in self.names or a.record is not None)
            if len(term) == 2 and term[0] != term[1] and not known and _is_identity(r):
                # δ of two letters: one letter for both, unless the output has both
                first, second = letters[term[0]], letters[term[1]]
                shown = {letters[c] for c in output}
                if not {first, second} <= shown:
                    to, gone = (first, second) if second not in shown else (second, first)
                    letters = {c: to if i is gone else i for c, i in letters.items()}
                    continue
            kept.append((a, r, term))
        parts = [
            self.read(a, _sized(tuple(letters[c] for c in term), np.shape(r)), r)
            for a, r, term in kept
        ]
        shown = {letters[c] for c in output}
        over = dict.fromkeys(i for i in letters.values() if i not in shown)
        return summed(multiply(number(1), *parts), over)

    def _op_getitem(self, x: Box, index: Index, a: Any, /, **settings: Any) -> Sum | None:
        """x[..., 0] where that axis has a single entry, and x[:, None]: only the axes change."""
        array = x.record[3][0]
        parts = settings["index"] if isinstance(settings["index"], tuple) else (settings["index"],)
        if not all(map(_keeps_order, parts)):
            return read_getitem(self, x, index, a, **settings)
        used = sum(p is not None and p is not Ellipsis for p in parts)
        fill = (slice(None),) * (np.ndim(array) - used)
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts = (*parts[:at], *fill, *parts[at + 1 :])
        else:
            parts = (*parts, *fill)
        inner: list[Axis] = []
        rest = iter(index)
        for p in parts:
            if p is None:
                next(rest)
            elif p == 0 and type(p) is int:
                if array.shape[len(inner)] != 1:
                    return None
                inner.append(ONE)
            else:
                inner.append(next(rest))
        return self.read(a, tuple(inner), array)

    def _op_embedding(self, x: Box, index: Index, indices: Any, weight: Any, /) -> Sum:
        """E[t], whatever it was written as."""
        table = x.record[3][1]
        own = tuple(map(Axis, np.shape(table)))
        self.functions.setdefault("getitem", ops.getitem.op.forward)
        settings = (("index", self.given(np.asarray(x.record[3][0]))),)
        return of(
            Call("getitem", ((self.read(weight, own, table), own),), index, settings, each=False)
        )

    def _op_add_rows(self, x: Box, index: Index, a: Any, rows: Any, /, n: int) -> Sum:
        return read_add_rows(self, x, index, a, rows, n=n)

    def _op_scatter(self, x: Box, index: Index, a: Any, /, **settings: Any) -> Sum | None:
        """What goes back through x[..., 0], if nothing has to be filled up: only axes change."""
        parts = settings["index"] if isinstance(settings["index"], tuple) else ()
        if not parts or not all(map(_keeps_order, parts)):
            return read_scatter(self, x, index, a, **settings)
        return self._op_reshape(x, index, a)

    def _op_transpose(self, x: Box, index: Index, a: Any, /, axes: Any) -> Sum:
        n = len(index)
        order = range(n)[::-1] if axes is None else normalize_axis_tuple(axes, n)
        inner = [ONE] * n
        for place, source in enumerate(order):
            inner[source] = index[place]
        return self.read(a, tuple(inner), x.record[3][0])

    def _op_sum(self, x: Box, index: Index, a: Any, /, axis: Any, keepdims: bool) -> Sum:
        array = x.record[3][0]
        inner, over = _reduced(index, np.shape(array), axis, keepdims)
        return summed(self.read(a, inner, array), over)

    def _op_mean(self, x: Box, index: Index, a: Any, /, axis: Any, keepdims: bool) -> Sum | None:
        n = np.size(x.record[3][0]) // max(1, x.value.size)
        if n == 0:
            return None
        count = self.count(n) or number(n)
        return multiply(self._op_sum(x, index, a, axis, keepdims), power(count, Fraction(-1)))

    def _op_sum_to(self, x: Box, index: Index, a: Any, /, shape: tuple[int, ...]) -> Sum:
        big = np.shape(x.record[3][0])
        new = len(big) - len(shape)
        inner: list[Axis] = []
        over: list[Axis] = []
        for k, n in enumerate(big):
            if k < new or (shape[k - new] == 1 != n):
                inner.append(Axis(n))
                over.append(inner[-1])
            else:
                inner.append(index[k - new])
        return summed(self.read(a, tuple(inner), x.record[3][0]), over)

    def _op_broadcast_to(self, x: Box, index: Index, a: Any, /, shape: Any) -> Sum:
        array = x.record[3][0]
        return self.read(a, _fitted(index, np.shape(array)), array)

    def _op_reshape(self, x: Box, index: Index, a: Any, /, **_: Any) -> Sum | None:
        array = x.record[3][0]
        if [n for n in np.shape(array) if n != 1] != [n for n in x.value.shape if n != 1]:
            return None
        rest = iter([i for i in index if i.size != 1])
        return self.read(a, tuple(ONE if n == 1 else next(rest) for n in np.shape(array)), array)

    _op_expand_dims = _op_squeeze = _op_reshape

    def _op_astype(self, x: Box, index: Index, a: Any, /, **_: Any) -> Sum:
        return self.read(a, index, x.record[3][0])

    _op_as_recorded = _op_astype

    def _op_clip(self, x: Box, index: Index, a: Any, /, **_: Any) -> Sum | None:
        """A guard that changes nothing here is left out, and that is said."""
        if not is_idle_guard(x):
            return None
        name = self.names.get(a, "")
        if name not in self.idle:
            self.idle.append(name)
        return self.read(a, index, x.record[3][0])

    def _op_where(self, x: Box, index: Index, condition: Any, a: Any, b: Any) -> Sum | None:
        """[condition]·a + [not condition]·b; where(mask, S, −∞) as it is, since 0·∞ is nan."""
        if any(map(_is_filler, x.record[3][1:])):
            return None
        mask, yes, no = self._operands(x, index, (condition, a, b))
        raw = x.record[3][0]
        if np.asarray(raw).dtype != bool:
            mask = of(Call("not_equal", ((mask, ()), (Sum(), ())), index))
        return add(multiply(mask, yes), multiply(self._opposite(mask), no))

    def _op_logical_and(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        """Conditions are 0 or 1."""
        return multiply(*self._operands(x, index, (a, b))) if _are_conditions(x) else None

    def _op_logical_or(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        if not _are_conditions(x):
            return None
        first, second = self._operands(x, index, (a, b))
        return add(first, multiply(self._opposite(first), second))

    def _op_logical_not(self, x: Box, index: Index, a: Any) -> Sum | None:
        return self._opposite(self.read(a, index, x.record[3][0])) if _are_conditions(x) else None

    _op_bitwise_and, _op_bitwise_or, _op_invert = _op_logical_and, _op_logical_or, _op_logical_not

    def _opposite(self, mask: Sum) -> Sum:
        if len(mask.terms) == 1 and len(mask.terms[0].factors) == 1:
            call = mask.terms[0].factors[0][0]
            if isinstance(call, Call) and call.name in OPPOSITE:
                name = OPPOSITE[call.name]
                return of(Call(name, call.args, call.index))
        return add(number(1), scale(mask, -1))

    def _op_greater(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        """relu(z) > 0 where z > 0: the one that has a name is shown."""
        if not isinstance(a, Box) or a in self.names or np.any(x.record[3][1] != 0):
            return None
        for named in self.names:
            if _is_result(named) and named.record[1] is ops.relu.op and named.record[2][0] is a:
                return of(Call("greater", ((self.read(named, index), ()), (Sum(), ())), index))
        return None

    def _op_equal(self, x: Box, index: Index, a: Any, /, b: Any) -> Sum | None:
        """x = clip(x) is where x is within the bounds."""
        if _is_result(b) and b.record[1] is ops.clip.op and b.record[2][0] is a:
            given = tuple((k, v) for k, v in b.record[4].items() if v is not None)
            if not given or is_idle_guard(b):
                return number(1)
            if all(np.ndim(v) == 0 for _, v in given):
                s = self.read(a, index, x.record[3][0])
                return of(Call("within", ((s, ()),), index, given))
        return None


def _is_filler(x: Any) -> bool:
    """Return True for −1e9 or −∞, which a mask puts in the place of entries that do not count."""
    x = np.asarray(x)
    return bool(x.size and np.abs(x.flat[0]) >= FILLER and (x == x.flat[0]).all()) or not bool(
        np.isfinite(x).all()
    )


def is_algebra(op: Op) -> bool:
    """Whether a formula shows an operation as sums and products, and not by its name.

    Example:
        >>> is_algebra(ops.mean.op), is_algebra(ops.var.op)
        (True, False)
    """
    return is_loss(op) or hasattr(Reader, f"_op_{op.name}")


def is_idle_guard(x: Box) -> bool:
    """Whether this is clip(z, −100, None) or clip(a, 1e−10, 1 − 1e−10), which is there only to keep
    exp and log finite, and all its entries are within.

    Example:
        >>> import tinygrad_edu as tg
        >>> z = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> is_idle_guard(np.clip(z, -100, None)), is_idle_guard(np.clip(z, 0, 3))
        (True, False)
    """
    if x.record is None or x.record[1] is not ops.clip.op:
        return False
    bounds = [v for v in x.record[4].values() if v is not None]
    guards = all(
        np.ndim(v) == 0 and (abs(v) >= 20 or 0 < v <= 1e-3 or 1 - 1e-3 <= v < 1) for v in bounds
    )
    return guards and np.array_equal(x.value, x.record[3][0])


def _is_result(x: Any) -> bool:
    return (
        isinstance(x, Box) and x.record is not None
        and x.record[1] is not engine.VARIABLE
        and not _is_drawn(x)
    )  # fmt: skip


def _are_conditions(x: Box) -> bool:
    return all(np.asarray(raw).dtype == bool for raw in x.record[3])


def _is_number(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.ndim == 0


def _keeps_order(part: Any) -> bool:
    """Whether this part of an index only adds an axis, drops one, or leaves it as it is."""
    return (
        part is None or part is Ellipsis
        or (isinstance(part, slice) and part == slice(None))
        or (type(part) is int and part == 0)
    )  # fmt: skip


def _is_identity(a: Any) -> bool:
    return bool(np.ndim(a) == 2 and len(a) > 1 and a.shape[0] == a.shape[1]
                and np.array_equal(a, np.eye(len(a))))  # fmt: skip


def _is_equal(a: Any, b: Any) -> bool:
    return bool(a.size <= 64 and a.dtype == b.dtype and _same_entries(a, b))


def _same_entries(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and np.array_equal(a, b)


def _is_one_hot(a: Any) -> bool:
    """Rows of a single 1: labels, as cross-entropy has made them."""
    return bool(
        np.ndim(a) == 2
        and a.shape[1] > 1
        and np.isin(a, (0, 1)).all()
        and (a.sum(axis=1) == 1).all()
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, np.dtype):
        return isinstance(a, type) and b == a
    return a is b or (type(a) is type(b) and isinstance(a, (bool, int, float, str)) and a == b)


def _fitted(index: Index, shape: Sequence[int]) -> Index:
    """The indices of an operand of this shape that was broadcast to `index`."""
    return _sized(index[len(index) - len(shape) :], shape)


def _sized(index: Index, shape: Sequence[int]) -> Index:
    return tuple(ONE if n == 1 != i.size else i for i, n in zip(index, shape, strict=True))


def _reduced(
    index: Index, shape: Sequence[int], axes: Any, keepdims: bool
) -> tuple[Index, list[Axis]]:
    """The indices before a reduction, and those of them that it uses up."""
    gone = (
        set(range(len(shape)))
        if axes is None or not shape
        else set(normalize_axis_tuple(axes, len(shape)))
    )
    rest = iter([i for k, i in enumerate(index) if not (keepdims and k in gone)])
    inner = tuple(Axis(n) if k in gone else next(rest) for k, n in enumerate(shape))
    return inner, [inner[k] for k in sorted(gone)]


def _is_drawn(x: Box) -> bool:
    """Whether x came out of a random generator, as a mask of dropout: drawn anew it is another."""
    return x.record is not None and "rng" in x.record[4]
