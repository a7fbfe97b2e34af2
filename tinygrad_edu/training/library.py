"""What `fit(compile="auto")` captures: modules, losses and optimizers of this package, unpatched.

A captured step repeats what its Python code did when it was traced. Code of this package reads
nothing that changes unseen between two batches; code of the user's may, so that a training with
some in it is run eagerly unless the user asks for `compile=True`.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from .. import dispatch, engine, losses, nn, ops, optim, windows
from .. import module as modules
from ..engine import Box
from ..module import Module

PACKAGE = __name__.partition(".")[0]
FOLDER = str(Path(__file__).parents[1])
PYTHON = str(Path(reprlib.__file__).parent)
PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype, np.ndarray, slice)
RANDOM = ("numpy.random._generator", "numpy.random.mtrand")


# The modules whose functions a step of this package calls, as they were imported.
_MODULES = {
    module: dict(vars(module))
    for module in (dispatch, engine, losses, modules, nn, ops, optim, windows)
}


def foreign(
    model: Module,
    loss: Any,
    metrics: Mapping[str, Any],
    penalty: Any,
    optimizer: Any,
    hooks: Iterable[Callable[..., Any]],
) -> str | None:
    """Name the first part of a training that is not this package's own; None if all are.

    hooks   functions that are called between two batches

    Example:
        >>> class Mine(tg.nn.Module):
        ...     def forward(self, x):
        ...         return x
        >>> foreign(tg.nn.Linear(1, 1), tg.mse_loss, {}, None, "sgd", [])
        >>> foreign(Mine(), tg.mse_loss, {}, None, "sgd", [])
        'Mine is not a class of tinygrad_edu'
    """
    for module, names in _MODULES.items():
        for name, value in names.items():
            if getattr(module, name, None) is not value:
                return f"{module.__name__}.{name} was replaced"
    parts = [model, loss, *metrics.values(), penalty, optimizer, *hooks]
    seen: set[int] = set()
    return next((found for part in parts if (found := _foreign(part, seen)) is not None), None)


def _foreign(x: Any, seen: set[int]) -> str | None:
    """A sentence that names x, or something in it, if that is not this package's own."""
    if isinstance(x, PLAIN) or type(x).__module__ in RANDOM or id(x) in seen:
        return None
    seen.add(id(x))
    if isinstance(x, (FunctionType, MethodType, BuiltinFunctionType, np.ufunc)):
        found = None if _is_own_function(x) else f"{_name(x)} is not a function of {PACKAGE}"
        inner: Iterable[Any] = _closure(x)
    elif isinstance(x, type):
        found, inner = _foreign_class(x, x.__name__), ()
    elif isinstance(x, partial):
        found, inner = None, (x.func, *x.args, *x.keywords.values())
    elif isinstance(x, (list, tuple, set, frozenset)):
        found, inner = None, x
    elif isinstance(x, dict):
        found, inner = None, x.values()
    else:
        found, inner = _foreign_object(x), vars(x).values() if hasattr(x, "__dict__") else ()
        if isinstance(x, Box):  # its record is of operations, not of settings
            inner = ()
    if found is not None:
        return found
    return next((f for part in inner if (f := _foreign(part, seen)) is not None), None)


def _foreign_object(x: Any) -> str | None:
    """A sentence if the class of x is not this package's own, or x shadows a method of it."""
    kind = type(x)
    if (found := _foreign_class(kind, kind.__name__)) is not None:
        return found
    for name in getattr(x, "__dict__", ()):
        if callable(getattr(kind, name, None)):
            return f"{name} of a {kind.__name__} was replaced"
    return None


def _foreign_class(kind: type, name: str) -> str | None:
    """A sentence if a class is not this package's own, or one of its methods was replaced."""
    if not _is_own(kind) or getattr(sys.modules[kind.__module__], kind.__name__, None) is not kind:
        return f"{name} is not a class of {PACKAGE}"
    for base in filter(_is_own, kind.__mro__):
        for attribute, value in vars(base).items():
            if any(not _is_own_function(function) for function in _functions(value)):
                return f"{base.__name__}.{attribute} was replaced"
    return None


def _functions(x: Any) -> Iterator[Any]:
    """The functions that an entry of a class consists of."""
    if isinstance(x, (classmethod, staticmethod)):
        x = x.__func__
    if isinstance(x, property):
        yield from filter(None, (x.fget, x.fset, x.fdel))
    elif isinstance(x, FunctionType):
        yield x


def _is_own(x: Any) -> bool:
    return str(getattr(x, "__module__", "")).partition(".")[0] == PACKAGE


def _is_own_function(x: Any) -> bool:
    """Return True for a function whose code lies in this package, or NumPy's."""
    x = getattr(x, "__func__", x)
    if not isinstance(x, FunctionType):
        return str(getattr(x, "__module__", None) or "numpy").partition(".")[0] == "numpy"
    made = x.__code__.co_filename
    if made.startswith(FOLDER):
        return True
    python = made.startswith(PYTHON) and "site-packages" not in made
    return _is_own(x) and (python or made == "<string>")  # a decorator's, or of a dataclass


def _closure(x: Any) -> Iterator[Any]:
    """The functions and objects that a function has in its closure, and the one that it wraps."""
    if isinstance(x, MethodType):
        yield x.__self__
    x = getattr(x, "__func__", x)
    for cell in getattr(x, "__closure__", None) or ():
        if callable(content := cell.cell_contents):
            yield content
    if hasattr(x, "__wrapped__"):
        yield x.__wrapped__


def _name(x: Any) -> str:
    return str(getattr(x, "__qualname__", None) or getattr(x, "__name__", type(x).__name__))
