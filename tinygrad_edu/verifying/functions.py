"""The functions and methods that a claim may call, and how much each may make.

An allow-list: what is not in `FUNCTIONS` or `METHODS` does not exist for a claim. Each entry says
how many arguments may be given by place, which by name (`out=` is among none), and, where a result
can be larger than what went in, how large it will be, so that it is refused before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from .. import losses, ops
from .wording import Told

__all__ = ["CONSTANTS", "FUNCTIONS", "METHODS", "ClaimError"]

CONSTANTS = {"pi": math.pi, "e": math.e, "newaxis": None, "float64": "float", "inf": math.inf}


class ClaimError(Told):
    """A claim that cannot be read or worked out, with the reason.

    Example:
        >>> issubclass(ClaimError, ValueError)
        True
    """


def refuse(what: str, /, **about: Any) -> NoReturn:
    """Raise a ClaimError with one of the sentences of `wording`.

    Example:
        >>> refuse("empty")
        Traceback (most recent call last):
        ...
        tinygrad_edu.verifying.functions.ClaimError: the claim is empty
    """
    raise ClaimError(what, **about)


class _Function:
    """A function of the language: what it computes, how it may be called, how much it makes."""

    __slots__ = ("grows", "most", "named", "run")

    def __init__(
        self,
        run: Callable[..., Any],
        most: int,
        named: str = "",
        grows: Callable[..., float] | None = None,
    ):
        self.run, self.most, self.named, self.grows = run, most, set(named.split()), grows


def check_call(function: _Function | None, spelled: str, given: int, named: Iterable[str]) -> None:
    """Refuse a call with arguments that the function does not take in a claim.

    Example:
        >>> check_call(FUNCTIONS["exp"], "np.exp", 2, ())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        tinygrad_edu...ClaimError: np.exp takes at most 1 arguments by place in a claim
    """
    if function is None:  # of the author's own
        return
    if given > function.most:
        refuse("many-arguments", name=spelled, most=function.most)
    for name in named:
        if name not in function.named:
            refuse("no-setting", name=spelled, setting=name)


def own_function(run: Callable[..., Any]) -> _Function:
    """The entry of a function of the author's own: whatever it takes, in sizes that are bounded.

    Example:
        >>> own_function(np.cbrt).run(8.0)
        np.float64(2.0)
    """
    return _Function(run, 9, "", _largest)


def _largest(*arrays: Any, **settings: Any) -> float:
    """No more entries than all arrays, and all numbers among the settings, multiplied."""

    def numbers(x: Any) -> float:
        if isinstance(x, (tuple, list)):
            return math.prod(map(numbers, x))
        return max(1.0, abs(float(x))) if isinstance(x, (int, float)) else 1.0

    return _product(*arrays) * math.prod(map(numbers, settings.values()))


def _product(*arrays: Any, **_: Any) -> float:
    return math.prod(float(np.size(a)) for a in arrays)


def _spread(*arrays: Any, **_: Any) -> float:
    """The entries of what NumPy broadcasts arrays to; 0 where it cannot, and will say so."""
    try:
        return float(math.prod(np.broadcast_shapes(*map(np.shape, arrays))))
    except ValueError:
        return 0.0


def total(arrays: Any, *_: Any, **__: Any) -> float:
    """The number of entries in arrays, and in lists of them.

    Example:
        >>> total([np.ones(3), np.ones(2)])
        6.0
    """
    if isinstance(arrays, np.ndarray):
        return float(arrays.size)
    if isinstance(arrays, (list, tuple)):
        return sum(total(a) for a in arrays) + 1
    return 1.0


def _entries(shape: Any, *_: Any, **__: Any) -> float:
    if isinstance(shape, (tuple, list)):
        return math.prod(abs(float(n)) for n in shape)
    return abs(float(shape))


def _square_of(n: Any, m: Any = None, *_: Any, **__: Any) -> float:
    return abs(float(n)) * abs(float(n if m is None else m))


def _diagonal(x: Any, *_: Any) -> float:
    return float(np.size(x)) ** 2 if np.ndim(x) == 1 else float(np.size(x))


def _times(x: Any, n: Any, *_: Any, **__: Any) -> float:
    return float(np.size(x)) * max(1.0, _entries(n))


def _span_of(start: Any, stop: Any = None, step: Any = 1) -> float:
    low, high = (0, start) if stop is None else (start, stop)
    return abs((float(high) - float(low)) / float(step)) + 1


def _einsum_work(subscripts: Any, *operands: Any, **_: Any) -> float:
    if not isinstance(subscripts, str):
        refuse("einsum-text")
    terms = subscripts.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, float] = {}
    for term, operand in zip(terms, operands, strict=False):
        if "." in term or len(term) != np.ndim(operand):
            return _product(*operands)
        sizes.update(zip(term, np.shape(operand), strict=True))
    return math.prod(sizes.values())


def _einsum(subscripts: str, *operands: Any, optimize: Any = None) -> Any:
    return np.einsum(subscripts, *operands)


def _sum(items: Any, start: Any = 0) -> Any:
    """Python's sum, and for an array np.sum of all of it where it has rows to add up."""
    if isinstance(items, np.ndarray):
        return np.add.reduce(items, axis=0) + start if items.ndim else items
    total = start
    for item in items:
        total = total + np.asarray(item) if isinstance(item, (list, tuple)) else total + item
    return total


def _range(*ends: Any) -> range:
    return range(*(int(end) for end in ends))


def _as_float(x: Any, dtype: Any = None) -> Any:
    return np.asarray(x, dtype=float) if np.ndim(x) else float(x)


def _array(x: Any, dtype: Any = None) -> Any:
    array = np.array(list(x) if isinstance(x, (range, list, tuple)) else x)
    if array.dtype.kind not in "fiub":
        refuse("real-array")
    return array.astype(float) if dtype is not None else array


def _softmax(x: Any, axis: Any = -1) -> Any:
    return ops.softmax(np.asarray(x, dtype=float), axis=axis)


def _log_softmax(x: Any, axis: Any = -1) -> Any:
    return ops.log_softmax(np.asarray(x, dtype=float), axis=axis)


def _clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    return np.clip(x, a_min, a_max)


def _norm(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
    """The square root of the sum of all squares, or of those along an axis."""
    return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))


def _column_sums(x: Any) -> Any:
    """Return 1ᵀx; in a stack, where products act on the last two axes, it keeps its axis."""
    return np.sum(x, axis=-2, keepdims=True) if np.ndim(x) > 2 else np.sum(x, axis=0)


def _sigmoid_slope(x: Any) -> Any:
    y = ops.sigmoid(np.asarray(x, dtype=float))
    return y * (1 - y)


def _reshape(x: Any, *shape: Any) -> Any:
    return np.reshape(x, shape[0] if len(shape) == 1 else shape)


def _transpose(x: Any, *axes: Any) -> Any:
    return np.transpose(x, None if not axes else axes[0] if len(axes) == 1 else axes)


_AXES = "axis keepdims"
FUNCTIONS: dict[str, _Function] = {
    **{
        name: _Function(getattr(np, name), 1)
        for name in (
            "negative", "positive", "square", "sqrt", "exp", "log", "log1p", "expm1",
            "log2", "log10", "tanh", "sinh", "cosh", "sin", "cos", "tan", "arctan",
            "absolute", "sign", "reciprocal", "ravel", "atleast_1d", "atleast_2d",
            "logical_not", "floor", "ceil", "ndim", "shape", "size", "isfinite",
        )
    },
    **{
        name: _Function(getattr(np, name), 2, "", _spread)
        for name in (
            "add", "subtract", "multiply", "divide", "true_divide", "power", "maximum",
            "minimum", "greater", "less", "greater_equal", "less_equal", "equal",
            "not_equal", "logical_and", "logical_or", "heaviside",
        )
    },
    **{
        name: _Function(getattr(np, name), 2, "", _product)
        for name in ("matmul", "dot", "inner", "outer", "kron")
    },
    **{
        name: _Function(getattr(np, name), 2, _AXES)
        for name in (
            "mean", "prod", "max", "min", "amax", "amin", "any", "all",
        )
    },
    "var": _Function(np.var, 2, _AXES + " ddof"), "std": _Function(np.std, 2, _AXES + " ddof"),
    "cumsum": _Function(np.cumsum, 2, "axis"),
    "argmax": _Function(np.argmax, 2, _AXES), "argmin": _Function(np.argmin, 2, _AXES),
    "sum": _Function(np.sum, 2, _AXES),
    "abs": _Function(np.abs, 1), "fabs": _Function(np.abs, 1),
    "where": _Function(np.where, 3, "", _spread),
    "clip": _Function(_clip, 3, "a_min a_max", _spread),
    "tensordot": _Function(np.tensordot, 3, "axes", lambda a, b, *_, **__: _product(a, b)),
    "einsum": _Function(_einsum, 9, "optimize", _einsum_work),
    "trace": _Function(np.trace, 1),
    "diag": _Function(np.diag, 1, "", _diagonal),
    "diagflat": _Function(np.diagflat, 1, "", lambda x: float(np.size(x)) ** 2),
    "diagonal": _Function(np.diagonal, 1),
    "stack": _Function(np.stack, 2, "axis", total),
    "vstack": _Function(np.vstack, 1, "", total),
    "hstack": _Function(np.hstack, 1, "", total),
    "column_stack": _Function(np.column_stack, 1, "", total),
    "concatenate": _Function(np.concatenate, 2, "axis", total),
    "array": _Function(_array, 2, "dtype", total),
    "asarray": _Function(_array, 2, "dtype", total),
    "zeros": _Function(lambda shape, dtype=None: np.zeros(shape), 2, "dtype", _entries),
    "ones": _Function(lambda shape, dtype=None: np.ones(shape), 2, "dtype", _entries),
    "full": _Function(lambda shape, x: np.full(shape, float(x)), 2, "", _entries),
    "zeros_like": _Function(lambda x: np.zeros(np.shape(x)), 1),
    "ones_like": _Function(lambda x: np.ones(np.shape(x)), 1),
    "full_like": _Function(lambda x, v: np.full(np.shape(x), float(v)), 2),
    "eye": _Function(np.eye, 2, "", _square_of), "identity": _Function(np.eye, 1, "", _square_of),
    "arange": _Function(np.arange, 3, "", _span_of),
    "transpose": _Function(_transpose, 2, "axes"),
    "matrix_transpose": _Function(np.matrix_transpose, 1),
    "swapaxes": _Function(np.swapaxes, 3), "moveaxis": _Function(np.moveaxis, 3),
    "reshape": _Function(np.reshape, 2, "shape"), "squeeze": _Function(np.squeeze, 2, "axis"),
    "expand_dims": _Function(np.expand_dims, 2, "axis"),
    "broadcast_to": _Function(np.broadcast_to, 2, "shape", lambda x, shape: _entries(shape)),
    "tile": _Function(np.tile, 2, "", _times),
    "repeat": _Function(np.repeat, 3, "axis", _times),
    "float64": _Function(_as_float, 1), "float": _Function(_as_float, 1),
    "int": _Function(int, 1), "len": _Function(len, 1),
    "range": _Function(_range, 3), "zip": _Function(zip, 9), "enumerate": _Function(enumerate, 2),
    "sigmoid": _Function(lambda x: ops.sigmoid(np.asarray(x, dtype=float)), 1),
    "activation": _Function(lambda x: ops.sigmoid(np.asarray(x, dtype=float)), 1),
    "relu": _Function(lambda x: np.maximum(x, 0), 1),
    "softplus": _Function(lambda x: ops.softplus(np.asarray(x, dtype=float)), 1),
    "softmax": _Function(_softmax, 2, "axis"),
    "log_softmax": _Function(_log_softmax, 2, "axis"),
    "logsumexp": _Function(ops.logsumexp, 2, _AXES),
    "one_hot": _Function(
        lambda labels, n_classes: ops.one_hot(np.asarray(labels), int(n_classes)),
        2,
        "n_classes",
        lambda labels, n_classes: np.size(labels) * max(1.0, float(n_classes)),
    ),
    "getitem": _Function(ops.getitem, 2, "index", lambda x, index: np.size(x) * total(index)),
    "scatter": _Function(ops.scatter, 3, "index shape", lambda x, index, shape: _entries(shape)),
    "sum_to": _Function(ops.sum_to, 2, "shape"),
    "mse_loss": _Function(losses.mse_loss, 2, "reduction"),
    "cross_entropy": _Function(losses.cross_entropy, 2, "reduction"),
    "norm": _Function(_norm, 1, _AXES),
    "sigmoid′": _Function(_sigmoid_slope, 1),
    "tanh′": _Function(lambda x: 1 - np.square(np.tanh(x)), 1),
    "relu′": _Function(lambda x: np.asarray(x) > 0, 1),
    "rowsum": _Function(lambda x: np.sum(x, axis=-1, keepdims=True), 1),
    **dict.fromkeys(("colsum", "1ᵀ"), _Function(_column_sums, 1)),
    "Σ": _Function(np.sum, 1, _AXES),
    "col": _Function(lambda x: np.asarray(x)[..., None], 1),
}  # fmt: skip
PYTHON_SUM = _Function(_sum, 2)
METHODS: dict[str, _Function] = {
    **{
        name: _Function(FUNCTIONS[name].run, 1, _AXES)
        for name in ("sum", "mean", "prod", "max", "min")
    },
    "any": _Function(np.any, 1, _AXES), "all": _Function(np.all, 1, _AXES),
    "var": FUNCTIONS["var"], "std": FUNCTIONS["std"], "cumsum": _Function(np.cumsum, 1, "axis"),
    "dot": _Function(np.dot, 1, "", _product),
    "reshape": _Function(_reshape, 6), "transpose": _Function(_transpose, 6),
    "ravel": _Function(np.ravel, 0), "flatten": _Function(np.ravel, 0),
    "squeeze": _Function(np.squeeze, 1, "axis"), "trace": _Function(np.trace, 0),
    "diagonal": _Function(np.diagonal, 0), "copy": _Function(np.copy, 0),
    "astype": _Function(_as_float, 1), "clip": _Function(np.clip, 2, "", _spread),
    "swapaxes": _Function(np.swapaxes, 2), "argmax": _Function(np.argmax, 1, "axis"),
    "repeat": _Function(np.repeat, 2, "axis", _times),
    "item": _Function(lambda x: x.item(), 0),
}  # fmt: skip
