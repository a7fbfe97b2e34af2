"""Random programs. Everything about a program follows from its seed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from tests.tools.functions import BY_NAME

from .operations import OPERATIONS
from .program import Array, Call, Input, Kind, Program, renumbered

LARGEST = 40  # entries of a register: each costs a run of the definition
BOUND = 30.0  # values stay below, so that results can be compared
LENGTHS = [0, *[1] * 12, *[2] * 20, *[3] * 20, *[4] * 6]


class Rejected(Exception):
    """This instruction cannot be here; try another one."""


def is_tame(call: Call, operands: list[Any]) -> Any:
    """The result by definition, if the call is valid here: no error or warning, no values that
    are not finite or large, no kink or pole nearby. Otherwise Rejected."""
    operation = OPERATIONS[call.operation]
    if not any(isinstance(x, np.ndarray) for x in operands):
        raise Rejected  # Python's arithmetic, not ours
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            if not operation.tame(*operands, **call.settings):
                raise Rejected
            result = np.asarray(operation.reference(*operands, **call.settings))
    except (ArithmeticError, IndexError, TypeError, ValueError, RuntimeWarning) as error:
        raise Rejected from error
    if result.size > LARGEST or not (np.abs(result) < BOUND).all():
        raise Rejected
    return result


class Draft:
    """A program that is being written. Inputs have negative names while it grows, calls positive
    ones, in the order in which they came."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.inputs: dict[int, Input] = {}
        self.calls: dict[int, Call] = {}
        self.values: dict[int, Any] = {}
        self.precision = self.rng.choice([64] * 7 + [32, 32, 0])  # 0: both

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    # --- registers --------------------------------------------------------------------------------

    def dtype(self) -> Any:
        precision = self.precision or self.rng.choice([32, 64])
        return np.float64 if precision == 64 else np.float32

    def input(self, value: Any, kind: Kind) -> int:
        name = -1 - len(self.inputs)
        self.inputs[name] = Input(value, kind)
        self.values[name] = value
        return name

    def fresh(self, shape: tuple[int, ...], low: float = -2.5, high: float = 2.5) -> int:
        """A new input of random numbers."""
        if prod(shape) > LARGEST:
            raise Rejected
        kind: Kind = "variable" if self.chance(0.8) else self.rng.choice(["constant", "array"])
        value = self.numbers.uniform(low, high, shape).round(3)
        return self.input(np.asarray(value, self.dtype()), kind)

    def labels(self, shape: tuple[int, ...], n: int) -> int:
        """A new input of integers below n."""
        if n < 1 or prod(shape) > LARGEST:
            raise Rejected
        kind: Kind = self.rng.choice(["constant", "array"])
        return self.input(np.asarray(self.numbers.integers(0, n, shape)), kind)

    def number(self, value: float) -> int:
        return self.input(value, "number")

    def shape(self, least: int = 0, most: int = 4) -> tuple[int, ...]:
        ndim = self.rng.choice([0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4])
        ndim = min(max(ndim, least), most)
        return tuple(self.rng.choice(LENGTHS) for _ in range(ndim))

    def some(self, test: Callable[[Array], bool] = lambda x: True) -> int:
        """A register of real numbers that passes the test, the younger the likelier; now and then,
        and where there is none, a new input."""
        names = [
            i
            for i, x in self.values.items()
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and test(x)
        ]
        if names and not self.chance(0.15 if len(self.inputs) < 4 else 0.02):
            return names[-1] if self.chance(0.4) else self.rng.choice(names)
        for _ in range(20):
            shape = self.shape()
            if prod(shape) <= LARGEST and test(np.zeros(shape)):
                return self.fresh(shape)
        raise Rejected

    def of_shape(self, shape: tuple[int, ...]) -> int:
        """A register of real numbers of this shape, or a new input."""
        names = [
            i
            for i, x in self.values.items()
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.shape == shape
        ]
        return self.rng.choice(names) if names and self.chance(0.7) else self.fresh(shape)

    def beside(self, shape: tuple[int, ...]) -> int:
        """An operand that can be broadcast together with this shape."""
        if self.chance(0.12):
            return self.number(self.rng.choice([0.5, 1.5, -0.7, 2, -1, 3.0]))
        if self.chance(0.05):
            return self.labels(self.smaller(shape), 4)
        if self.chance(0.5):
            return self.some(lambda x: _fit(x.shape, shape))
        return self.fresh(self.larger(self.smaller(shape)))

    def smaller(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that can be broadcast to this one."""
        shape = shape[self.rng.randint(0, len(shape)) if self.chance(0.4) else 0 :]
        return tuple(1 if self.chance(0.2) else n for n in shape)

    def larger(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that this one can be broadcast to."""
        shape = tuple(self.rng.choice(LENGTHS) if n == 1 and self.chance(0.4) else n for n in shape)
        return (self.rng.choice(LENGTHS), *shape) if self.chance(0.15) and len(shape) < 4 else shape

    # --- calls ------------------------------------------------------------------------------------

    def call(self, operation: str, *arguments: int, **settings: Any) -> int:
        call = Call(operation, arguments, settings, self.rng.randrange(12))
        name = len(self.calls)
        self.values[name] = is_tame(call, [self.values[i] for i in arguments])
        self.calls[name] = call
        return name

    def positive(self, i: int) -> int:
        """This register if all of it is above 0.2, else something positive made from it."""
        x = np.asarray(self.values[i])
        if x.size and x.min() > 0.2:
            return i
        how = self.rng.choice(["exp", "square", "abs", "softplus", "sigmoid"])
        if how == "exp":
            return self.call("exp", self.between(i, -1.4, 2.0))
        return self.call("add", self.call(how, i), self.number(0.3))

    def between(self, i: int, low: float, high: float) -> int:
        """This register if all of it is in this interval, else something made from it that is."""
        x = np.asarray(self.values[i])
        if x.size and low <= x.min() and x.max() <= high:
            return i
        waves = self.call(self.rng.choice(["sin", "cos", "tanh"]), i)
        half = self.call("multiply", waves, self.number(round((high - low) / 2.1, 3)))
        return self.call("add", half, self.number(round((high + low) / 2, 3)))

    def axis(self, ndim: int, several: bool = True, none: bool = True) -> Any:
        if none and self.chance(0.2):
            return None
        if several and self.chance(0.25):
            axes = self.rng.sample(range(ndim), self.rng.randint(min(1, ndim), ndim))
            return tuple(i - ndim if self.chance(0.5) else i for i in axes)
        if several and self.chance(0.02):
            return ()
        if ndim == 0:
            raise Rejected
        return self.rng.randrange(-ndim, ndim)

    def reduction(self, ndim: int) -> dict[str, Any]:
        """Settings: axis and keepdims, which may be left out."""
        settings: dict[str, Any] = {}
        if self.chance(0.85):
            settings["axis"] = self.axis(ndim)
        if self.chance(0.4):
            settings["keepdims"] = self.chance(0.8)
        return settings

    def index(self, shape: tuple[int, ...]) -> Any:
        """Any index that NumPy has, for an array of this shape."""
        rng, parts, axis = self.rng, list[Any](), 0
        stop = len(shape) - (self.chance(0.2) * rng.randint(0, len(shape)))
        together = self.shape(0, 2)  # integer arrays in one index are broadcast together
        dots = False
        while axis < stop:
            n, kind = shape[axis], rng.random()
            axis += 1
            if kind < 0.1 and len(parts) < 4:
                parts.append(None)
                axis -= 1
            elif kind < 0.2 and not dots:
                parts.append(Ellipsis)
                dots, axis = True, axis - 1 + rng.randint(0, len(shape) - axis + 1)
                stop = len(shape)
            elif kind < 0.5 or n == 0:
                step = rng.choice([None, None, 1, 2, -1, -1, -2])
                start, end = (rng.choice([None, None, rng.randint(-n - 1, n + 1)]) for _ in "ab")
                parts.append(slice(start, end, step))
            elif kind < 0.65:
                parts.append(rng.randrange(-n, n))
            elif kind < 0.88:
                places = self.numbers.integers(-n, n, self.smaller(together))
                parts.append(places.tolist() if self.chance(0.25) and places.ndim else places)
            else:
                last = rng.randint(axis, len(shape))
                mask = self.numbers.random(shape[axis - 1 : last]) < 0.6
                parts.append(mask.tolist() if self.chance(0.1) and mask.ndim == 1 else mask)
                axis = last
        if self.chance(0.02):
            parts.insert(0, self.chance(0.8))
        return parts[0] if len(parts) == 1 and self.chance(0.6) else tuple(parts)


def _fit(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(a[::-1], b[::-1], strict=False))


# --- one instruction of each kind -----------------------------------------------------------------

Draw = Callable[[Draft, str], object]
DRAWS: dict[str, Draw] = {}


def _draws(*operations: str) -> Callable[[Draw], Draw]:
    def enter(draw: Draw) -> Draw:
        DRAWS.update(dict.fromkeys(operations, draw))
        return draw

    return enter


@_draws(
    "positive",
    "negative",
    "square",
    "abs",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "relu",
    "softplus",
    "exp",
    "expm1",
    "flatten",
    "T",
    "sign",
    "floor",
    "silu",
    "leaky_relu",
    "erf",
    "gelu",
    "tan",
    "arctan",
    "sinh",
    "cosh",
)
def _unary(draft: Draft, name: str) -> object:
    return draft.call(name, draft.some())


@_draws("log", "log2", "log10", "sqrt", "log1p", "reciprocal")
def _unary_of_positive(draft: Draft, name: str) -> object:
    return draft.call(name, draft.positive(draft.some()))


@_draws(
    "add",
    "subtract",
    "multiply",
    "maximum",
    "minimum",
    "outer",
    "logaddexp",
    "greater",
    "less",
    "greater_equal",
    "less_equal",
)
def _binary(draft: Draft, name: str) -> object:
    a = draft.some()
    b = draft.beside(np.shape(draft.values[a])) if draft.chance(0.95) else a
    return draft.call(name, *((a, b) if draft.chance(0.5) else (b, a)))


@_draws("divide")
def _divide(draft: Draft, name: str) -> object:
    b = draft.positive(draft.some())
    return draft.call(name, draft.beside(np.shape(draft.values[b])), b)


@_draws("power")
def _power(draft: Draft, name: str) -> object:
    a = draft.some()
    if draft.chance(0.4):  # a base of any sign, with an exponent that stays an integer
        if draft.chance(0.7):
            return draft.call(name, a, draft.number(draft.rng.choice([2, 3, 2.0, -1, 0, 1, -2.0])))
        return draft.call(name, a, draft.labels(draft.smaller(np.shape(draft.values[a])), 4))
    if draft.chance(0.2):
        return draft.call(name, draft.number(draft.rng.choice([0.5, 1.7, 3.0, 2])), a)
    a = draft.positive(a)
    if draft.chance(0.3):
        return draft.call(name, a, draft.number(draft.rng.choice([0.5, -0.5, 1.3, 2, 3])))
    return draft.call(name, a, draft.beside(np.shape(draft.values[a])))


@_draws("where")
def _where(draft: Draft, name: str) -> object:
    a = draft.some()
    shape = np.shape(draft.values[a])
    b = draft.beside(shape)
    bools = [i for i, x in draft.values.items() if np.asarray(x).dtype == bool]
    bools = [i for i in bools if _fit(np.shape(draft.values[i]), shape)]
    if bools and draft.chance(0.4):
        condition = draft.rng.choice(bools)
    elif draft.chance(0.4):
        condition = draft.call(draft.rng.choice(["greater", "less_equal"]), a, b)
    elif draft.chance(0.2):
        condition = draft.some(lambda x: _fit(x.shape, shape))
    else:
        mask = np.asarray(draft.numbers.random(draft.larger(draft.smaller(shape))) < 0.5)
        condition = draft.input(mask, draft.rng.choice(["constant", "array"]))
    return draft.call(name, condition, *((a, b) if draft.chance(0.5) else (b, a)))


@_draws("clip")
def _clip(draft: Draft, name: str) -> object:
    a = draft.some()
    shape = np.shape(draft.values[a])

    def bound(low: float, high: float) -> Any:
        if draft.chance(0.2):
            return None
        if draft.chance(0.2):
            return np.asarray(draft.numbers.uniform(low, high, draft.smaller(shape)).round(2))
        return round(draft.rng.uniform(low, high), 1)

    return draft.call(name, a, a_min=bound(-2.0, 0.0), a_max=bound(0.1, 2.0))


@_draws("sum", "mean", "max", "min", "argmax", "argmin", "logsumexp")
def _reduction(draft: Draft, name: str) -> object:
    a = draft.some()
    settings = draft.reduction(draft.values[a].ndim)
    if name in ("argmax", "argmin") and isinstance(settings.get("axis"), tuple):
        raise Rejected
    if name in ("sum", "max", "min") and draft.values[a].ndim == 0 and draft.chance(0.1):
        settings["axis"] = draft.rng.choice([0, -1])  # NumPy lets a number have this axis
    return draft.call(name, a, **settings)


@_draws("var", "std")
def _deviation(draft: Draft, name: str) -> object:
    a = draft.some()
    settings = draft.reduction(draft.values[a].ndim)
    if draft.chance(0.4):
        settings["ddof"] = draft.rng.choice([0, 1])
    return draft.call(name, a, **settings)


@_draws("softmax", "log_softmax")
def _softmax(draft: Draft, name: str) -> object:
    a = draft.some()
    settings = {"axis": draft.axis(draft.values[a].ndim)} if draft.chance(0.7) else {}
    return draft.call(name, a, **settings)


@_draws("matmul")
def _matmul(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim > 0)
    shape = draft.values[a].shape
    n = draft.rng.choice(LENGTHS)
    if draft.chance(0.5):  # it stands on the left
        inner = shape[-1]
        other = draft.rng.choice([(inner,), (inner, n), (*draft.smaller(shape[:-2]), inner, n)])
        return draft.call(name, a, draft.of_shape(draft.larger(other[:-2]) + other[-2:]))
    inner = shape[-2:][0]
    other = draft.rng.choice([(inner,), (n, inner), (*draft.smaller(shape[:-2]), n, inner)])
    return draft.call(name, draft.of_shape(draft.larger(other[:-2]) + other[-2:]), a)


@_draws("linear")
def _linear(draft: Draft, name: str) -> object:
    x = draft.some(lambda x: x.ndim > 0)
    n, k = draft.values[x].shape[-1], draft.rng.choice(LENGTHS)
    return draft.call(name, x, draft.of_shape((n, k)), draft.of_shape((k,)))


@_draws("dot")
def _dot(draft: Draft, name: str) -> object:
    if draft.chance(0.3):
        return _binary(draft, name)
    if draft.chance(0.5):
        return _matmul(draft, name)
    a = draft.some(lambda x: x.ndim > 0)
    other = [*draft.shape(1, 3)]
    other[max(len(other) - 2, 0)] = draft.values[a].shape[-1]
    return draft.call(name, a, draft.of_shape(tuple(other)))


@_draws("trace")
def _trace(draft: Draft, name: str) -> object:
    squares = [i for i, x in draft.values.items() if np.ndim(x) == 2 and _is_square(x)]
    if squares and draft.chance(0.8):
        return draft.call(name, draft.rng.choice(squares))
    return draft.call(name, draft.fresh((draft.rng.choice(LENGTHS),) * 2))


def _is_square(x: Any) -> bool:
    return bool(x.dtype.kind == "f" and x.shape[0] == x.shape[1])


@_draws("einsum")
def _einsum(draft: Draft, name: str) -> object:
    """Random letters for the axes of up to three operands; dots for the leading axes of some."""
    rng, sizes, operands, terms = draft.rng, dict[str, int](), list[int](), list[str]()
    letters = rng.sample("abcijkxyzABZ", 10)
    dots: tuple[int, ...] = ()
    any_dots = draft.chance(0.2)
    for _ in range(rng.choice([1, 2, 2, 2, 3])):
        if sizes and draft.chance(0.6):  # an operand for letters there are
            term = "".join(rng.choices([*sizes, *letters[:1]], k=rng.randint(0, 3)))
            for c in term:
                sizes.setdefault(c, rng.choice(LENGTHS))
            letters = [c for c in letters if c not in sizes]
            shape = tuple(1 if draft.chance(0.03) else sizes[c] for c in term)
            leading = draft.smaller(dots) if any_dots else ()
            operands.append(draft.of_shape(leading + shape))
        else:  # letters for an operand there is
            operand = draft.some(lambda x: x.ndim <= 3)
            shape, leading, term = draft.values[operand].shape, (), ""
            if any_dots:
                k = rng.randint(0, len(shape))
                leading, shape = shape[:k], shape[k:]
                if not _fit(leading, dots):
                    raise Rejected
                dots = max(dots, leading, key=len)
            for n in shape:
                same = [c for c, m in sizes.items() if m == n]
                c = rng.choice(same) if same and draft.chance(0.35) else letters.pop()
                sizes[c] = n
                term += c
            operands.append(operand)
        terms.append(("..." if any_dots else "") + term)
    used = sorted({c for term in terms for c in term if c != "."})
    subscripts = ",".join(terms)
    if draft.chance(0.8):
        output = "".join(rng.sample(used, rng.randint(0, len(used))))
        subscripts += "->" + ("..." if any_dots else "") + output
    return draft.call(name, *operands, subscripts=subscripts)


@_draws("reshape")
def _reshape(draft: Draft, name: str) -> object:
    a = draft.some()
    rest, shape = draft.values[a].size, list[int]()
    while rest > 1 and len(shape) < 3:
        n = draft.rng.choice([k for k in range(1, rest + 1) if rest % k == 0])
        shape.append(n)
        rest //= n
    if rest != 1 or draft.chance(0.2):
        shape.insert(draft.rng.randint(0, len(shape)), rest)
    if shape and draft.values[a].size and draft.chance(0.3):
        shape[draft.rng.randrange(len(shape))] = -1
    return draft.call(name, a, shape=tuple(shape))


@_draws("transpose")
def _transpose(draft: Draft, name: str) -> object:
    a = draft.some()
    ndim = draft.values[a].ndim
    if draft.chance(0.3):
        return draft.call(name, a)
    axes = draft.rng.sample(range(ndim), ndim)
    return draft.call(name, a, axes=tuple(i - ndim if draft.chance(0.2) else i for i in axes))


@_draws("mT")
def _matrix_transpose(draft: Draft, name: str) -> object:
    return draft.call(name, draft.some(lambda x: x.ndim > 1))


@_draws("swapaxes")
def _swapaxes(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim > 0)
    one, other = (draft.axis(draft.values[a].ndim, False, False) for _ in "ab")
    return draft.call(name, a, axis1=one, axis2=other)


@_draws("moveaxis")
def _moveaxis(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim > 0)
    ndim = draft.values[a].ndim
    if draft.chance(0.5):
        source, destination = (draft.axis(ndim, False, False) for _ in "ab")
    else:
        k = draft.rng.randint(1, ndim)
        source, destination = (tuple(draft.rng.sample(range(-ndim, 0), k)) for _ in "ab")
    return draft.call(name, a, source=source, destination=destination)


@_draws("broadcast_to")
def _broadcast_to(draft: Draft, name: str) -> object:
    a = draft.some()
    return draft.call(name, a, shape=draft.larger(draft.larger(draft.values[a].shape)))


@_draws("sum_to")
def _sum_to(draft: Draft, name: str) -> object:
    a = draft.some()
    return draft.call(name, a, shape=draft.smaller(draft.values[a].shape))


@_draws("expand_dims")
def _expand_dims(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim < 4)
    ndim = draft.values[a].ndim
    axis: Any = draft.rng.randrange(-ndim - 1, ndim + 1)
    if draft.chance(0.2) and ndim < 3:
        axis = tuple(draft.rng.sample(range(ndim + 2), 2))
    return draft.call(name, a, axis=axis)


@_draws("squeeze")
def _squeeze(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: 1 in x.shape or draft.chance(0.1))
    shape = draft.values[a].shape
    ones = [i - len(shape) if draft.chance(0.4) else i for i, n in enumerate(shape) if n == 1]
    settings: dict[str, Any] = {}
    if ones and draft.chance(0.6):
        settings["axis"] = (
            draft.rng.choice(ones)
            if draft.chance(0.6)
            else tuple(draft.rng.sample(ones, draft.rng.randint(1, len(ones))))
        )
    return draft.call(name, a, **settings)


@_draws("astype")
def _astype(draft: Draft, name: str) -> object:
    return draft.call(name, draft.some(), dtype=draft.dtype())


@_draws("getitem")
def _getitem(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim > 0 or draft.chance(0.1))
    return draft.call(name, a, index=draft.index(draft.values[a].shape))


@_draws("index")
def _index(draft: Draft, name: str) -> object:
    """A mask or places that were computed."""
    a = draft.some(lambda x: x.ndim > 0)
    shape = draft.values[a].shape
    if draft.chance(0.4):
        threshold = draft.number(draft.rng.choice([0.0, 0.5, -1]))
        return draft.call(name, a, draft.call(draft.rng.choice(["greater", "less"]), a, threshold))
    indices = [i for i, x in draft.values.items() if np.ndim(x) <= 2 and _is_index(x, shape)]
    if indices and draft.chance(0.8):
        return draft.call(name, a, draft.rng.choice(indices))
    return draft.call(name, a, draft.labels(draft.smaller(draft.shape(0, 2)), shape[0]))


@_draws("embedding")
def _embedding(draft: Draft, name: str) -> object:
    table = draft.some(lambda x: x.ndim > 0 and len(x) > 0)
    rows = draft.labels(draft.smaller(draft.shape(0, 2)), len(draft.values[table]))
    return draft.call(name, rows, table)


def _is_index(x: Any, shape: tuple[int, ...]) -> bool:
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "bi":
        return False
    if x.dtype == bool:
        return x.ndim > 0 and x.shape == shape[: x.ndim]
    return x.size > 0 and bool(x.min() >= -shape[0] and x.max() < shape[0])


@_draws("scatter")
def _scatter(draft: Draft, name: str) -> object:
    shape = draft.shape()
    if prod(shape) > LARGEST:
        raise Rejected
    index = draft.index(shape)
    try:
        part = np.empty(shape)[index].shape
    except (IndexError, ValueError) as error:
        raise Rejected from error
    return draft.call(name, draft.of_shape(part), index=index, shape=shape)


@_draws("concatenate")
def _concatenate(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim > 0)
    shape = draft.values[a].shape
    if draft.chance(0.1):
        return draft.call(name, a, draft.some(), axis=None)
    axis = draft.axis(len(shape), several=False, none=False)
    parts = [a]
    for _ in range(draft.rng.choice([0, 1, 1, 1, 2])):
        other = [*shape]
        if draft.chance(0.5):
            other[axis] = draft.rng.choice(LENGTHS)
        parts.append(a if draft.chance(0.1) else draft.of_shape(tuple(other)))
    draft.rng.shuffle(parts)
    settings = {} if axis == 0 and draft.chance(0.5) else {"axis": axis}
    return draft.call(name, *parts, **settings)


@_draws("stack")
def _stack(draft: Draft, name: str) -> object:
    a = draft.some(lambda x: x.ndim < 4)
    shape = draft.values[a].shape
    parts = [a]
    for _ in range(draft.rng.choice([0, 1, 1, 2])):
        parts.append(a if draft.chance(0.1) else draft.of_shape(shape))
    draft.rng.shuffle(parts)
    axis = draft.rng.randrange(-len(shape) - 1, len(shape) + 1)
    return draft.call(name, *parts, **({} if axis == 0 and draft.chance(0.5) else {"axis": axis}))


@_draws("one_hot")
def _one_hot(draft: Draft, name: str) -> object:
    integers = [i for i, x in draft.values.items() if np.asarray(x).dtype == np.int64]
    integers = [i for i in integers if i >= 0 or draft.inputs[i].kind != "number"]
    n = draft.rng.randint(1, 4)
    labels = draft.rng.choice(integers) if integers else draft.labels(draft.shape(0, 2), n)
    x = draft.values[labels]
    if not x.size or x.min() < 0:
        raise Rejected
    settings = {"n_classes": int(x.max()) + draft.rng.randint(1, 2)} if draft.chance(0.6) else {}
    return draft.call(name, labels, **settings)


def _reduced(draft: Draft) -> dict[str, Any]:
    how = draft.rng.choice([None, "mean", "sum", "none", "none"])
    return {} if how is None else {"reduction": how}


@_draws("mse_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy")
def _loss(draft: Draft, name: str) -> object:
    a = draft.some()
    if name == "binary_cross_entropy":
        a = draft.between(a, 0.05, 0.95)
    t = draft.of_shape(np.shape(draft.values[a]))
    if name != "mse_loss":
        t = draft.between(t, 0.0, 1.0)
    return draft.call(name, a, t, **_reduced(draft))


@_draws("cross_entropy")
def _cross_entropy(draft: Draft, name: str) -> object:
    z = draft.some(lambda x: x.ndim > 0)
    shape = draft.values[z].shape
    if draft.chance(0.5):
        t = draft.labels(shape[:-1], shape[-1])
    else:
        t = draft.call("softmax", draft.of_shape(shape))
    return draft.call(name, z, t, **_reduced(draft))


@_draws(*BY_NAME)
def _function(draft: Draft, name: str) -> object:
    """A function of the shared table, on operands of shapes that it lists."""
    function = BY_NAME[name]
    settings = draft.rng.choice(function.settings)
    shapes = draft.rng.choice(function.shapes_for(settings))
    if len(shapes) == 1 and draft.chance(0.5):
        operands = [draft.some(lambda x: x.ndim == len(shapes[0]))]
    else:
        operands = [draft.of_shape(shape) for shape in shapes]
    return draft.call(name, *operands, **settings)


# Those whose rules have most to do get three shares in ten for themselves.
INTRICATE = [
    "getitem",
    "index",
    "scatter",
    "einsum",
    "matmul",
    "dot",
    "sum",
    "mean",
    "max",
    "var",
    "where",
    "concatenate",
    "stack",
    "multiply",
    "power",
    "clip",
    "divide",
    "subtract",
]

# --- whole programs -------------------------------------------------------------------------------


def generate(seed: int, length: int | None = None) -> Program:
    """The program that belongs to this seed.

    `length` instructions are attempted (None: 1 to 12, as the seed says); those that make an
    operand fit the next one come on top.
    """
    draft = Draft(seed)
    names = sorted(DRAWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while True:
            for _ in range(length or draft.rng.randint(1, 12)):
                name = draft.rng.choice(names if draft.chance(0.7) else INTRICATE)
                for _ in range(4):
                    try:
                        DRAWS[name](draft, name)
                        break
                    except Rejected:
                        pass
            used = {i for call in draft.calls.values() for i in call.arguments}
            ends = [i for i in draft.calls if i not in used]
            if not ends:
                continue
            program = renumbered(draft.inputs, draft.calls, ends, seed)
            depends = program.depends()
            if any(depends[i] for i in program.weights):
                return program
