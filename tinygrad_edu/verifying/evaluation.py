"""Working a claim out over arrays, within bounds.

Only what `grammar` reads and `functions` lists means anything, so a claim can import nothing, open
nothing and reach no attribute; and it can neither compute nor hold more than the limits allow: what
would is refused before it is made.
"""

from __future__ import annotations

import contextlib
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from .. import ops
from .expressions import SLIDES, Node, shorten, target_text
from .functions import CONSTANTS, FUNCTIONS, METHODS, PYTHON_SUM, ClaimError, refuse, total

__all__ = ["Evaluator"]

MAX_STEPS = 100_000  # operations of one evaluation
MAX_SIZE = 1_000_000  # entries of one array
MAX_WORK = 10_000_000  # entries of all arrays of one evaluation
MULTIPLICATIONS = 16  # of a matrix product, that take as long as an entry of another operation
MAX_ALL_STEPS = 1_000_000  # operations of all evaluations of one evaluator …
MAX_ALL_WORK = 100_000_000  # … and entries
ITEMS = 10  # items of a list that take as long as an operation
MAX_KEPT = 200_000  # entries that are remembered, beside as many as 20 times the given arrays have
MAX_INTEGER = 2**63
MAX_AXES = 20


class Evaluator:
    """Works trees out over named arrays; what was worked out once is remembered.

    Raises:  ClaimError for a name that is not known, for shapes that do not fit, and for a claim
             that would compute or hold too much
    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> Evaluator({"E": np.ones((3, 2))})(parse("np.sum(E, axis=0)"))
        array([3., 3.])
    """

    def __init__(self, names: Mapping[str, Any], functions: Mapping[str, Any] | None = None):
        self.names = dict(names)
        self.functions = FUNCTIONS | {k: f for k, f in (functions or {}).items()
                                      if k not in FUNCTIONS}  # fmt: skip
        self.cache: dict[Node, Any] = {}
        self.fresh: dict[Node, Any] = {}  # of this evaluation only
        self.keep = True  # whether new results are remembered
        self.room: float = MAX_KEPT + 20 * sum(np.size(x) for x in self.names.values())
        self.scopes: list[dict[str, Any]] = []
        self.axes: dict[str, int] | None = None  # in index notation: the axis of each letter
        self.steps = self.work = 0.0
        self.all_steps = self.all_work = 0.0  # of all evaluations

    def __call__(self, node: Node) -> Any:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.quickly(node)

    def quickly(self, *nodes: Node) -> Any:
        """The value of the last node, without the guard against NumPy's warnings: for callers that
        have it. The nodes before it are worked out first, since it is made of them."""
        if self.exhausted:
            refuse("total-work", most=f"{MAX_ALL_STEPS:,}")
        self.steps = self.work = 0.0
        self.scopes.clear()
        self.fresh.clear()
        self.axes = None
        value = None
        try:
            for node in nodes:
                value = self._value(node)
        except RecursionError:
            raise ClaimError("too-deep") from None
        finally:
            self.fresh.clear()
            self.all_steps += self.steps
            self.all_work += self.work
        return value

    @property
    def exhausted(self) -> bool:
        """True if so much was worked out that no more will be."""
        return self.all_steps > MAX_ALL_STEPS or self.all_work > MAX_ALL_WORK

    def _value(self, node: Node) -> Any:
        free = not self.scopes and self.axes is None
        if free:
            known = self.cache.get(node)
            if known is None and self.fresh:
                known = self.fresh.get(node)
            if known is not None:
                if isinstance(known, ClaimError):
                    raise known.with_traceback(None)
                return known
        self._step()
        try:
            value = self._checked(_EVALUATE[node.kind](self, node), node)
        except ClaimError as error:
            if self.keep and free:  # without its traceback, which holds all that was computed
                self.cache[node] = ClaimError(error.what, **error.about)
            raise
        except RecursionError:
            raise
        except MemoryError:
            raise ClaimError("work", most=f"{MAX_WORK:,}") from None
        except Exception as error:
            about = {"text": shorten(node), "reason": _reason(error)}
            if self.keep and free:
                self.cache[node] = ClaimError("fails", **about)
            raise ClaimError("fails", **about) from None
        if free and value is not None and not isinstance(value, (zip, enumerate)):
            self._remember(node, value)
        return value

    def _remember(self, node: Node, value: Any) -> None:
        """Keep a value: for good, if there is room, else until the end of this evaluation."""
        size = value.size if isinstance(value, np.ndarray) else total(value)
        if self.keep and size <= self.room:
            self.room -= size if node.kind != "name" else 0
            self.cache[node] = value
        elif node.parts:
            self.fresh[node] = value

    def _step(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            refuse("steps", most=f"{MAX_STEPS:,}")

    def _count(self, entries: float) -> None:
        """Count work: entries that are made or read."""
        if self.work + entries > MAX_WORK:
            refuse("work", most=f"{MAX_WORK:,}")
        self.work += entries

    def _checked(self, value: Any, node: Node) -> Any:
        if isinstance(value, np.ndarray):
            self._count(value.size)
            if value.dtype.kind not in "fiub":
                refuse("not-real", text=shorten(node))
        elif isinstance(value, int) and abs(value) >= MAX_INTEGER:
            refuse("large-result", text=shorten(node))
        elif isinstance(value, complex):
            refuse("not-real", text=shorten(node))
        return value

    def _grow(self, size: float, node: Node) -> None:
        """Refuse what would be too large before it is made."""
        if not size <= MAX_SIZE:
            refuse("large-array", text=shorten(node), size=f"{size:.3g}", most=f"{MAX_SIZE:,}")

    # --- names and operators

    def _name(self, node: Node) -> Any:
        for scope in reversed(self.scopes):
            if node.value in scope:
                return scope[node.value]
        if node.value in self.names:
            value = self.names[node.value]
            if self.axes is not None and np.ndim(value):
                refuse("no-entry", name=node.value)
            return value
        if node.value in ("float", "int"):  # words that may also stand for a dtype
            return "float"
        if node.value.startswith("∂"):
            refuse("unclaimed", name=node.value)
        known = ", ".join(sorted(self.names, key=str.casefold))
        refuse("unknown-name", name=node.value, known=known or "–")

    def _binary(self, node: Node) -> Any:
        a, b = self._value(node.parts[0]), self._value(node.parts[1])
        op = node.value
        if type(a) in _PLAIN and type(b) in _PLAIN and op in _OF_NUMBERS:
            return _power(a, b, node) if op == "**" else _OPERATORS[op](a, b)
        for x, other in ((a, b), (b, a)):
            rows = isinstance(x, (list, tuple)) and isinstance(other, (np.ndarray, np.generic))
            if not _is_numeric(x) and not rows:
                refuse("not-for", text=shorten(node), sign=op, what=_describe(x))
        self._grow(_either_product(a, b), node)
        if op == "·":
            return self._product(a, b, node)
        a, b = self._columns(a, b, node)
        if op == "@":
            return self._matmul(a, b)
        if op == "**":
            return _power(a, b, node)
        return _OPERATORS[op](a, b)

    def _product(self, a: Any, b: Any, node: Node) -> Any:
        """The slides' product, in which a vector is a column unless it is transposed."""
        left, right = np.shape(a), np.shape(b)
        if not left or not right:
            return a * b
        if len(right) == 1 and len(left) < 3 and self._lies(node.parts[1]):
            return np.reshape(a, (left[0], -1)) @ b[None, :]  # abᵀ of two columns
        if len(left) == 1 and len(right) == 2 and right[0] == 1:
            return a[:, None] @ b
        if left[-1] != right[-2:][0] and 1 in (np.size(a), np.size(b)):
            return a * b
        return self._matmul(a, b)

    def _matmul(self, a: Any, b: Any) -> Any:
        if np.ndim(a) and np.ndim(b):
            columns = b.shape[-1] if np.ndim(b) > 1 else 1
            self._count(float(a.size) * columns / MULTIPLICATIONS)
        return ops.matmul.op.forward(a, b)

    def _columns(self, a: Any, b: Any, node: Node) -> tuple[Any, Any]:
        """On the slides a vector beside a column, as rowsum(E) is one, is a column too."""
        for x, other, place in ((a, b, 1), (b, a, 0)):
            beside = np.ndim(x) == 1 and np.shape(other) == (len(x), 1)
            if beside and _by_slides(node) and not _is_stretched(node.parts[place]):
                return (x[:, None], other) if place else (other, x[:, None])
        return a, b

    def _lies(self, node: Node) -> bool:
        """Return True if a vector lies on its side, as xᵀ does."""
        if node.size > MAX_STEPS:  # as a tree: the parts that lines share are looked at each time
            refuse("steps", most=f"{MAX_STEPS:,}")
        if node.kind == "attribute":
            return node.value == "T" and not self._lies(node.parts[0])
        if node.kind == "binary" and node.value in ("·", "@"):
            return self._lies(node.parts[int(np.ndim(self._value(node.parts[0])) == 0)])
        if node.kind == "call" and node.value[0] == "1ᵀ":
            return True
        return node.kind in ("binary", "unary", "call") and any(map(self._lies, node.parts))

    def _unary(self, node: Node) -> Any:
        x: Any = self._value(node.parts[0])
        if not _is_numeric(x):
            refuse("not-for", text=shorten(node), sign=node.value, what=_describe(x))
        if node.value == "-":
            return np.negative(x, dtype=float) if _is_mask(x) else -x
        if node.value == "~":
            return np.logical_not(x) if _is_mask(x) else ~np.asarray(x)
        return (not x) if node.value == "not" else +x

    def _compare(self, node: Node) -> Any:
        a, b = self._value(node.parts[0]), self._value(node.parts[1])
        if not _is_numeric(a) or not _is_numeric(b):
            refuse("not-comparable", text=shorten(node))
        self._grow(_either_product(a, b), node)
        return _OPERATORS[node.value](*self._columns(a, b, node))

    def _attribute(self, node: Node) -> Any:
        x = self._value(node.parts[0])
        if node.value in ("T", "mT") and _is_numeric(x):
            stack = np.ndim(x) > 2 and not _is_numpys(node)  # ᵀ of a stack of matrices
            if node.value == "mT" or stack:
                return np.matrix_transpose(np.asarray(x))
            return np.asarray(x).T
        if not isinstance(x, (np.ndarray, np.generic)):
            refuse("not-of-arrays", text=shorten(node), name=node.value)
        return getattr(x, node.value)

    # --- calls and entries

    def _call(self, node: Node) -> Any:
        spelled, named = node.value
        name = spelled.rpartition(".")[2]
        table = METHODS if node.kind == "method" else self.functions
        is_pythons = spelled == "sum" and node.kind == "call" and not named  # not x.sum()
        function = PYTHON_SUM if is_pythons else table.get(name)
        if function is None:
            refuse("no-function", name=spelled)
        parts = [self._value(part) for part in node.parts]
        if node.kind == "method":
            parts[0] = np.asarray(parts[0])
        for i, part in enumerate(parts):
            if isinstance(part, range) or (name in ("zip", "enumerate") and _is_iterable(part)):
                parts[i] = self._items(part)
            elif isinstance(part, (list, tuple)) and total(part) > MAX_SIZE:
                refuse("large-list", text=shorten(node), most=f"{MAX_SIZE:,}")
        for part in parts:
            size = total(part)
            self._count(size)
            if isinstance(part, (list, tuple)):
                self._step(int(size / ITEMS))
        first = len(parts) - len(named)
        settings = dict(zip(named, parts[first:], strict=True))
        if function.grows is not None:
            self._grow(function.grows(*parts[:first], **settings), node)
        value = function.run(*parts[:first], **settings)
        return self._items(value) if name in ("zip", "enumerate") else value

    def _items(self, x: Any) -> list[Any]:
        """The items of something iterable, counted."""
        items = list(islice(iter(x), MAX_STEPS + 1))
        self._step(len(items))
        return items

    def _index(self, node: Node) -> Any:
        x, index = (self._value(part) for part in node.parts)
        if isinstance(x, (tuple, list, range)):
            if not isinstance(index, (int, slice)):
                refuse("list-index", text=shorten(node))
            return x[index]
        if not _is_numeric(x):
            refuse("not-of-arrays", text=shorten(node), name="[…]")
        index = index if isinstance(index, tuple) else (index,)
        if np.ndim(x) + len(index) > 2 * MAX_AXES:
            refuse("axes", most=MAX_AXES)
        picks = [i for i in index if _is_iterable(i)]
        rows = x.size // max(1, x.shape[0]) if isinstance(x, np.ndarray) and x.ndim else 1
        if picks:
            self._grow(math.prod(float(np.size(i)) for i in picks) * rows, node)
        return np.asarray(x)[index]

    def _comprehension(self, node: Node) -> Any:
        """All loops, innermost last; the names of a loop live as long as the loop does."""
        _, shape = node.value
        element, results = node.parts[0], []

        def loop(level: int, place: int) -> None:
            if level == len(shape):
                results.append(self._value(element))
                return
            target, tests = shape[level]
            iterable = self._value(node.parts[place])
            if not _is_iterable(iterable):
                refuse("loop-over", text=shorten(node))
            if isinstance(iterable, range) and len(iterable) > MAX_STEPS:
                refuse("steps", most=f"{MAX_STEPS:,}")
            for item in iterable:
                self._step()
                self.scopes.append({})
                _bind(target, item, self.scopes[-1])
                if all(self._value(node.parts[place + 1 + t]) for t in range(tests)):
                    loop(level + 1, place + 1 + tests)
                self.scopes.pop()

        loop(0, 1)
        return results

    # --- index notation

    def _indexed(self, node: Node) -> Any:
        """Every letter is an axis of its own; at last only those of the result are kept."""
        letters = dict.fromkeys(x for x in node.value if x != "1")
        letters.update(dict.fromkeys(x for part in node.nodes() for x in _letters(part)))
        if len(letters) > MAX_AXES:
            refuse("axes", most=MAX_AXES)
        outer, self.axes = self.axes, {x: i for i, x in enumerate(letters)}
        try:
            value = np.asarray(self._value(node.parts[0]))
        finally:
            self.axes = outer
        if value.ndim == 0:
            return value[()]
        kept = [x for x in node.value if x != "1"]
        extra = tuple(range(len(kept), value.ndim))
        if any(value.shape[i] != 1 for i in extra) or len({*kept}) < len(kept):
            refuse("free-letter", text=shorten(node))
        ones = [i for i, x in enumerate(node.value) if x == "1"]
        return np.expand_dims(value.squeeze(extra), ones)

    def _entry(self, node: Node) -> Any:
        axes, self.axes = self.axes, None
        try:
            x = np.asarray(self._value(node.parts[0]))
        finally:
            self.axes = axes
        assert axes is not None
        if x.ndim == 0:
            return x
        if x.ndim != len(node.value):
            refuse("entry-axes", text=shorten(node), axes=x.ndim)
        for letter, n in reversed([*zip(node.value, x.shape, strict=True)]):
            if letter == "1" and n != 1:
                refuse("entry-one", text=shorten(node), length=n)
        x = x.squeeze(tuple(i for i, c in enumerate(node.value) if c == "1"))
        found = [c for c in node.value if c != "1"]
        for c in dict.fromkeys(found):  # A[i,i] is the diagonal
            while found.count(c) > 1:
                first = found.index(c)
                second = found.index(c, first + 1)
                x = np.diagonal(x, 0, first, second)
                found = [*found[:first], *found[first + 1 : second], *found[second + 1 :], c]
        order = sorted(range(x.ndim), key=lambda i: axes[found[i]])
        lengths = {axes[c]: n for c, n in zip(found, x.shape, strict=True)}
        return x.transpose(order).reshape([lengths.get(i, 1) for i in range(len(axes))])

    def _up_to(self, node: Node) -> Any:
        """The body of a sum with a limit, which has to be the length of the axis."""
        assert self.axes is not None
        axes, self.axes = self.axes, None
        limit = self._value(node.parts[0])
        self.axes = axes
        body = self._value(node.parts[1])
        axis = axes[node.value]
        length = np.shape(body)[axis] if np.ndim(body) > axis else 1
        if not _is_numeric(limit) or np.ndim(limit) or limit != length:
            refuse("sum-length", letter=node.value, got=limit, length=length)
        return body

    def _sum_over(self, node: Node) -> Any:
        assert self.axes is not None
        return np.sum(self._value(node.parts[0]), axis=self.axes[node.value], keepdims=True)


def _letters(node: Node) -> tuple[str, ...]:
    if node.kind == "entry":
        return tuple(x for x in node.value if x != "1")
    return (node.value,) if node.kind == "sum over" else ()


def _bind(target: Any, item: Any, scope: dict[str, Any]) -> None:
    if isinstance(target, str):
        scope[target] = item
        return
    items = list(item)
    if len(items) != len(target):
        refuse("loop-values", values=len(items), names=target_text(target))
    for name, part in zip(target, items, strict=True):
        _bind(name, part, scope)


def _is_numeric(x: Any) -> bool:
    return isinstance(x, (np.ndarray, int, float, np.generic))


def _is_mask(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "b"


def _is_iterable(x: Any) -> bool:
    return isinstance(x, (list, tuple, range)) or (isinstance(x, np.ndarray) and x.ndim > 0)


def _is_stretched(node: Node) -> bool:
    """Return True if a column is marked as one that stands beside a matrix: col(x)."""
    seen: set[int] = set()
    left = [node]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.kind == "call" and node.value[0] in ("col", "rowsum", "1ᵀ"):
            if node.value[0] == "col":
                return True
        elif node.kind == "binary" and node.value == "·":
            left.append(node.parts[1])
        elif node.kind != "compare":  # a mask is as it is
            left += node.parts
    return False


def _by_slides(node: Node) -> bool:
    source = next((part.source for part in node.nodes() if part.source is not None), "")
    return bool(SLIDES.search(source) or "rowsum" in source)


def _either_product(a: Any, b: Any) -> float:
    """A bound on the entries of a result of a and b: exact where the quick one is too high."""
    quick = float(np.size(a)) * float(np.size(b))
    if quick <= MAX_SIZE:
        return quick
    left, right = np.shape(a), np.shape(b)
    most = 0.0  # where neither fits, the operation itself will say so
    if left and right and left[-1] == right[-2:][0]:  # as a product of matrices
        most = quick / left[-1] / left[-1]
    with contextlib.suppress(ValueError):  # entry by entry
        most = max(most, float(math.prod(np.broadcast_shapes(left, right))))
    return most


def _power(a: Any, b: Any, node: Node) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        if b > 0 and abs(a) > 1 and b * math.log2(abs(a)) > 63:
            refuse("large-result", text=shorten(node))
        return a**b
    if isinstance(a, np.ndarray) and a.dtype.kind in "iub":
        a = a.astype(float)
    return a**b


def _plus(a: Any, b: Any) -> Any:
    return a + 1.0 * b if _is_mask(a) and _is_mask(b) else a + b  # of masks: how many hold


def _minus(a: Any, b: Any) -> Any:
    return 1.0 * a - b if _is_mask(a) and _is_mask(b) else a - b


_PLAIN = (int, float)
_OF_NUMBERS = {"+", "-", "*", "/", "**"}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _plus, "-": _minus, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "&": np.logical_and, "|": np.logical_or, ">": operator.gt,
    "<": operator.lt, ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_EVALUATE: dict[str, Callable[[Evaluator, Node], Any]] = {
    **dict.fromkeys(("number", "bool", "none", "text"), lambda _, node: node.value),
    "ellipsis": lambda _, node: Ellipsis,
    "constant": lambda _, node: CONSTANTS[node.value],
    "name": Evaluator._name,
    "binary": Evaluator._binary,
    "unary": Evaluator._unary,
    "compare": Evaluator._compare,
    "if": lambda ev, node: ev._value(node.parts[0 if ev._value(node.parts[1]) else 2]),
    "attribute": Evaluator._attribute,
    "call": Evaluator._call,
    "method": Evaluator._call,
    "index": Evaluator._index,
    "slice": lambda ev, node: slice(*(ev._value(part) for part in node.parts)),
    "tuple": lambda ev, node: tuple(ev._value(part) for part in node.parts),
    "list": lambda ev, node: [ev._value(part) for part in node.parts],
    "comprehension": Evaluator._comprehension,
    "indexed": Evaluator._indexed,
    "entry": Evaluator._entry,
    "sum over": Evaluator._sum_over,
    "up to": Evaluator._up_to,
}


def _describe(x: Any) -> str:
    return {"NoneType": "None"}.get(type(x).__name__, type(x).__name__)


def _is_numpys(node: Node) -> bool:
    """Return True for `.T`, which turns all axes of an array round; ᵀ turns the last two."""
    start, end = node.span
    return node.source is None or node.source[start:end].rstrip(") ").endswith(".T")


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
