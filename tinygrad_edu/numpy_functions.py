"""NumPy's own functions on tensors: the operation of `ops` for each.

NumPy passes a call such as `np.exp(t)` to the tensor, which looks it up in these tables. They have
each function of `ops` and `windows` that NumPy has by the same name, and a few that NumPy calls
otherwise or gives other parameters. A function that is not in them is refused by name, so that no
gradient is lost silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from . import linalg, ops, windows
from .capture_gate import gate
from .engine import Box


def _shared_names(numpy_module: Any, module: Any) -> dict[Any, Callable[..., Any]]:
    """Return the functions of a module by NumPy's functions of the same names."""
    pairs = ((getattr(numpy_module, name, None), getattr(module, name)) for name in module.__all__)
    return {function: ours for function, ours in pairs if function is not None}


_SHARED = (
    _shared_names(np, ops)
    | _shared_names(np.linalg, linalg)
    | _shared_names(np.lib.stride_tricks, windows)
)

UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    **ops.PIECEWISE_CONSTANT,
    **{function: ours for function, ours in _SHARED.items() if isinstance(function, np.ufunc)},
    np.positive: lambda x: x,
    np.reciprocal: lambda x: ops.divide(1.0, x),
}


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return ops.clip(x, a_min if min is None else min, a_max if max is None else max)


def _einsum(*args: Any, optimize: Any = None) -> Any:
    return ops.einsum(*args)  # its own choice of how to go about it


def _pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0.0) -> Any:
    if mode != "constant" or np.ndim(constant_values):
        raise TypeError("np.pad on a tensor takes a margin of one number only (mode='constant')")
    return windows.pad(x, pad_width, constant_values=constant_values)


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    **{function: ours for function, ours in _SHARED.items() if function not in UFUNCS},
    np.amax: ops.max,
    np.amin: ops.min,
    np.argmax: ops.argmax,
    np.argmin: ops.argmin,
    np.clip: _clip,
    np.einsum: _einsum,
    np.matrix_transpose: lambda x: x.mT,
    np.pad: _pad,
    np.ravel: ops.flatten,
}

# Functions of shapes, order or equality, and rounding: their results have no derivative.
NO_GRADIENT = {
    np.all,
    np.allclose,
    np.any,
    np.argsort,
    np.argwhere,
    np.around,
    np.array_equal,
    np.count_nonzero,
    np.empty_like,
    np.flatnonzero,
    np.isclose,
    np.ndim,
    np.nonzero,
    np.ones_like,
    np.round,
    np.searchsorted,
    np.shape,
    np.size,
    np.zeros_like,
}
FILLED_LIKE = {np.ones_like, np.zeros_like}
SHAPE_ONLY = {
    np.empty_like,
    np.ndim,
    np.ones_like,
    np.shape,
    np.size,
    np.zeros_like,
}  # these no more


def call_ufunc(ufunc: np.ufunc, method: str, inputs: Any, settings: dict[str, Any]) -> Any:
    """What `ufunc(*inputs, **settings)` is, some of the inputs being tensors."""
    name = f"np.{ufunc.__name__}"
    if settings.get("out") is not None:
        raise TypeError(
            f"{name}: an array cannot take a tensor in place (`a += t`, `out=`), that would lose "
            "the gradient; write `a = a + t`"
        )
    if method != "__call__":
        raise TypeError(f"{name}.{method} is not covered on tensors; use operators, sum or einsum")
    if ufunc not in UFUNCS:
        raise TypeError(_uncovered(name))
    if settings:
        raise TypeError(f"{name} on a tensor takes no {', '.join(settings)}")
    return UFUNCS[ufunc](*inputs)


def call_function(function: Callable[..., Any], types: Any, args: Any, settings: Any) -> Any:
    """What `function(*args, **settings)` is, some of the arguments being tensors."""
    if not all(issubclass(kind, (Box, np.ndarray)) for kind in types):
        return NotImplemented
    if function in NO_GRADIENT:
        capture = gate.get()
        if capture is not None and function not in SHAPE_ONLY:
            capture.reads_value(next(boxes([*args, *settings.values()])), f"np.{function.__name__}")
        value = function(*_values(args), **{name: _values(x) for name, x in settings.items()})
        if capture is not None and function in FILLED_LIKE:
            capture.creates_array(value)
        return value
    name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
    if function not in FUNCTIONS:
        raise TypeError(_uncovered(name))
    given = {k: v for k, v in settings.items() if not (k in ("dtype", "out") and v is None)}
    if unknown := given.keys() - _parameters(function):
        raise TypeError(f"{name} on a tensor takes no {', '.join(map(repr, sorted(unknown)))}")
    return FUNCTIONS[function](*args, **given)


@cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(signature(FUNCTIONS[function]).parameters)


def _values(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(_values(part) for part in x)
    return x.value if isinstance(x, Box) else x


def boxes(x: Any) -> Iterator[Box]:
    """All tensors in an argument or a result, also in lists, tuples and dicts.

    Example:
        >>> import tinygrad_edu as tg
        >>> [t.shape for t in boxes([tg.Tensor([1.0]), {"b": tg.Tensor(2.0)}, 3])]
        [(1,), ()]
    """
    if isinstance(x, Box):
        yield x
    elif isinstance(x, (list, tuple)):
        for part in x:
            yield from boxes(part)
    elif isinstance(x, dict):
        yield from boxes(list(x.values()))


def _uncovered(name: str) -> str:
    return (
        f"{name} is not covered on tensors: it has no rule here, and the gradient would be lost. "
        "Write it with functions that have one, declare it with @primitive, or use t.numpy() "
        "where no gradient is wanted"
    )
