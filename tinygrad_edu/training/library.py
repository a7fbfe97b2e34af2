"""`OwnParts`: the check by which `fit(compile="auto")` captures only code of this package.

A captured step repeats what its Python code did when it was traced. The code of this package reads
nothing that could change unnoticed between two batches. User code may, so a training that contains
some runs eagerly, unless the user passes `compile=True`.
"""

from __future__ import annotations

import reprlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import is_
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from .. import (
    arrays,
    engine,
    gradients,
    linalg,
    losses,
    nn,
    numpy_functions,
    operation,
    ops,
    optim,
    recording,
    windows,
)
from .. import module as modules
from ..engine import Box

PACKAGE = __name__.partition(".")[0]
FOLDER = str(Path(__file__).parents[1])
PYTHON = str(Path(reprlib.__file__).parent)
# Types of values, and of containers, in which a step finds no code. A class that derives from one
# of them may have methods of its own, and does not count as one of them.
VALUES = {str, bytes, int, float, complex, bool, type(None), slice}
SEQUENCES = {list, tuple, set, frozenset}
MAPPINGS = {dict, OrderedDict}
RANDOM = ("numpy.random._generator", "numpy.random.mtrand")


_MODULES = (
    *(arrays, engine, gradients, linalg, losses, modules, nn, np, np.linalg, numpy_functions),
    *(operation, ops, optim, recording, windows),
)
# The functions that a step of this package calls, by module, as they were imported.
_FUNCTIONS = {
    module: {name: x for name, x in vars(module).items() if callable(x) and not isinstance(x, type)}
    for module in _MODULES
}


class OwnParts:
    """The parts of a training, searched again only after something in them has changed.

    Example:
        >>> layer = tg.nn.Linear(1, 1)
        >>> parts = OwnParts([layer, tg.mse_loss])
        >>> parts.foreign()
        >>> layer.forward = lambda x: x
        >>> parts.foreign()
        'forward of a Linear was replaced'
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._seen = Seen()
        self._found: str | None = None

    def foreign(self) -> str | None:
        """Return a sentence that names the first part that is not this package's own; None if all
        are.
        """
        for module, then in _FUNCTIONS.items():
            if not then.items() <= vars(module).items():
                name = next(name for name, x in then.items() if vars(module).get(name) is not x)
                return f"{module.__name__}.{name} was replaced"
        if not self._seen.is_same():
            self._seen = seen = Seen()
            found = (_foreign(part, seen) for part in self._parts)
            self._found = next((what for what in found if what is not None), None)
        return self._found


class Seen:
    """Objects that were searched, with their contents, to detect changes.

    Example:
        >>> seen, part = Seen(), [1, 2]
        >>> seen.add(part, lambda: part)
        >>> part in seen, seen.is_same()
        (True, True)
        >>> part[0] = 3
        >>> seen.is_same()
        False
    """

    def __init__(self) -> None:
        self._objects: dict[int, Any] = {}  # kept alive, so that their ids stay their own
        self._types: list[type] = []
        self._inside: list[tuple[Callable[[], Iterable[Any]], tuple[Any, ...]]] = []

    def add(self, x: Any, inside: Callable[[], Iterable[Any]]) -> None:
        """Add an object and a function that returns its contents."""
        self._objects[id(x)] = x
        self._types.append(type(x))
        self._inside.append((inside, tuple(inside())))

    def __contains__(self, x: Any) -> bool:
        return id(x) in self._objects

    def is_same(self) -> bool:
        """Return True if there are objects, and each still has the same contents."""
        return (
            bool(self._types)
            and all(map(is_, map(type, self._objects.values()), self._types))
            and all(_are_same(tuple(inside()), then) for inside, then in self._inside)
        )


def _are_same(now: tuple[Any, ...], then: tuple[Any, ...]) -> bool:
    return len(now) == len(then) and all(map(is_, now, then))


def _foreign(x: Any, seen: Seen) -> str | None:
    """Return a sentence that names x, or something inside, if it is not this package's own; else
    None.
    """
    if _is_value(x) or type(x).__module__ in RANDOM or x in seen:
        return None
    seen.add(x, partial(_inside, x))
    if isinstance(x, (FunctionType, MethodType, BuiltinFunctionType, np.ufunc)):
        found = None if _is_own_function(x) else f"{_name(x)} is not a function of {PACKAGE}"
        inner: Iterable[Any] = _closure(x)
    elif isinstance(x, type):
        found, inner = _foreign_class(x), ()
    else:
        container = type(x) in {partial, *SEQUENCES, *MAPPINGS}
        found, inner = None if container else _foreign_object(x, seen), _inside(x)
    if found is not None:
        return found
    return next((f for part in inner if (f := _foreign(part, seen)) is not None), None)


def _is_value(x: Any) -> bool:
    """Return True for a value of Python or NumPy that holds no code."""
    kind = type(x)
    return (
        kind in VALUES
        or isinstance(x, np.dtype)
        or (issubclass(kind, (np.generic, np.ndarray)) and kind.__module__ == "numpy")
    )


def _inside(x: Any) -> Iterable[Any]:
    """Return the current contents of x."""
    if isinstance(x, type):
        return [part for base in x.__mro__ if _is_own(base) for part in vars(base).values()]
    if type(x) in MAPPINGS:
        return list(x.values())
    if type(x) in SEQUENCES:
        return list(x)
    if type(x) is partial:
        return [x.func, *x.args, *x.keywords.values()]
    if isinstance(x, Box):  # its record is of operations, not of settings
        return ()
    fields = getattr(x, "__dict__", {})
    if isinstance(x, optim.Optimizer):  # its state is arrays, which every step replaces
        return [value for name, value in fields.items() if name != "state"]
    return list(fields.values())


def _foreign_object(x: Any, seen: Seen) -> str | None:
    """Return a sentence if the class of x is not this package's own, or x shadows a method of it;
    else None.
    """
    kind = type(x)
    if (found := _foreign(kind, seen)) is not None:
        return found
    for name in getattr(x, "__dict__", ()):
        if callable(getattr(kind, name, None)):
            return f"{name} of a {kind.__name__} was replaced"
    return None


def _foreign_class(kind: type) -> str | None:
    """Return a sentence if a class is not this package's own, or one of its methods was replaced;
    else None.
    """
    if not _is_own(kind) or getattr(sys.modules[kind.__module__], kind.__name__, None) is not kind:
        return f"{kind.__name__} is not a class of {PACKAGE}"
    for base in filter(_is_own, kind.__mro__):
        for attribute, value in vars(base).items():
            if any(not _is_own_function(function) for function in _functions(value)):
                return f"{base.__name__}.{attribute} was replaced"
    return None


def _functions(x: Any) -> Iterator[Any]:
    """Return the functions in an entry of a class: a method, a property's accessors and the
    like.
    """
    if isinstance(x, (classmethod, staticmethod)):
        x = x.__func__
    if isinstance(x, property):
        yield from filter(None, (x.fget, x.fset, x.fdel))
    elif isinstance(x, FunctionType):
        yield x


def _is_own(x: Any) -> bool:
    return str(getattr(x, "__module__", "")).partition(".")[0] == PACKAGE


def _is_own_function(x: Any) -> bool:
    """Return True for a function whose code is in this package, or NumPy's."""
    x = getattr(x, "__func__", x)
    if not isinstance(x, FunctionType):
        return str(getattr(x, "__module__", None) or "numpy").partition(".")[0] == "numpy"
    made = x.__code__.co_filename
    if made.startswith(FOLDER):
        return True
    python = made.startswith(PYTHON) and "site-packages" not in made
    return _is_own(x) and (python or made == "<string>")  # a decorator's, or of a dataclass


def _closure(x: Any) -> Iterator[Any]:
    """Return the functions and objects in a function's closure, and the function that it wraps."""
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
