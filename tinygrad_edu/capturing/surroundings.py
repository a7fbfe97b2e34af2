"""Surroundings: what a function can reach by name besides its arguments.

A captured step is right as long as its function would find the same things again: the same
parameters, the same factor in a closure, the same attributes of a layer. So everything that it can
reach is looked up when it is captured, and looked at before each run; a comparison of identities,
no more. What the code of the step never names, such as a history beside it, may change.
"""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import is_
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..engine import Box, Op
from ..nn import Module
from ..optim import Optimizer

_KNOWN = {*sys.stdlib_module_names, "numpy", __name__.partition(".")[0]}
LARGEST = 1000  # a container with more entries is data: only the container itself is looked at
_PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype, ModuleType)
# Whose global variables say nothing of the step: this package's, NumPy's, Python's own.
_OURS = (
    str(Path(__file__).parents[1]),
    str(Path(np.__file__).parent),
    str(Path(random.__file__).parent),
)


class Surroundings:
    """What was found, and where.

    Example:
        >>> factor = 2.0
        >>> def double(x):
        ...     return factor * x
        >>> found = Surroundings(double, used={"factor"})
        >>> found.changed() is None
        True
    """

    def __init__(
        self,
        *roots: Any,
        used: set[str] | None = None,
        codes: dict[CodeType, dict[str, Any]] | None = None,
    ) -> None:
        self.used = used  # the names in the code of the step; None: not known yet, all
        self.tensors: dict[int, Box] = {}
        self.arrays: dict[int, np.ndarray[Any, Any]] = {}
        self.optimizers: list[Optimizer] = []
        self.generators: list[Any] = []
        self.modules: list[Module] = []
        self.places: dict[int, tuple[str, Callable[[], Sequence[Any]], Any, tuple[Any, ...]]] = {}
        self._seen: dict[int, Any] = {}
        for root in roots:
            self._walk(root, getattr(root, "__name__", type(root).__name__))
        for code, space in (codes or {}).items():
            # What others have installed may run at any time, as when memory is cleared up.
            if not (code.co_filename.startswith(_OURS) or "site-packages" in code.co_filename):
                self._names(code, space, code.co_name)
        self._is_same = _comparison([*self.places.values()], [*self.tensors.values()])

    def changed(self) -> str | None:
        """The first place where there is something else now, by name."""
        if self._is_same():
            return None
        for path, look, _, before in self.places.values():
            now = list(look())
            if len(now) != len(before) or not all(map(is_, now, before)):
                return path
        return "requires_grad"

    def changed_since(self, earlier: Surroundings) -> str | None:
        """The first place that was different when `earlier` was made."""
        for key, (path, _, names, now) in self.places.items():
            if key in earlier.places:
                _, _, names_then, then = earlier.places[key]
                old = dict(zip(names_then, then, strict=True))
                new = dict(zip(names, now, strict=True))
                for name, value in new.items():
                    if name not in old or old[name] is not value:
                        return path if isinstance(names, range) else f"{path}.{name}"
                if isinstance(names, range) and len(names) != len(names_then):
                    return path
        return None

    def random_state(self) -> bytes:
        """The state of all sources of random numbers within reach."""
        states: list[Any] = [random.getstate()]
        if "numpy.random" in sys.modules:
            states.append(np.random.get_state())
        for generator in self.generators:
            states.append(
                generator.get_state()
                if isinstance(generator, np.random.RandomState)
                else generator.bit_generator.state
            )
        return pickle.dumps(states)

    def restore_random_state(self, state: bytes) -> None:
        """Go back to a `random_state()`."""
        states = pickle.loads(state)
        random.setstate(states.pop(0))
        if "numpy.random" in sys.modules and len(states) > len(self.generators):
            np.random.set_state(states.pop(0))
        for generator, own in zip(self.generators, states, strict=True):
            if isinstance(generator, np.random.RandomState):
                generator.set_state(own)
            else:
                generator.bit_generator.state = own

    # --- looking ----------------------------------------------------------------------------------

    def _walk(self, x: Any, path: str) -> None:
        if isinstance(x, _PLAIN) or id(x) in self._seen:
            return
        self._seen[id(x)] = x  # kept alive, so that its id stays its own
        if isinstance(x, Box):
            self.tensors[id(x)] = x
        elif isinstance(x, type):
            self._class(x, path)
        elif isinstance(x, property):
            self._walk(x.fget, path)
        elif isinstance(x, (classmethod, staticmethod)):
            self._walk(x.__func__, path)
        elif isinstance(x, np.ndarray):
            self.arrays[id(x)] = x
        elif isinstance(x, Optimizer):
            self.optimizers.append(x)
            names = [n for n in vars(x) if n not in ("lr", "state")]
            self._place(x, path, _Look(vars(x), names), names)
        elif isinstance(x, partial):
            for part in (x.func, *x.args, *x.keywords.values()):
                self._walk(part, path)
        elif isinstance(x, MethodType):
            self._walk(x.__self__, path.rpartition(".")[0] or type(x.__self__).__name__)
            self._walk(x.__func__, path)
        elif isinstance(x, FunctionType) and isinstance(op := getattr(x, "op", None), Op):
            for rule in op.rules:  # the rest is called as it is; rules are followed
                self._walk(rule, path)
        elif isinstance(x, FunctionType):
            self._function(x, path)
        elif hasattr(x, "__wrapped__"):
            self._walk(x.__wrapped__, path)
        elif isinstance(x, dict):
            if len(x) <= LARGEST:
                self._place(x, path, lambda: [*x.keys(), *x.values()], range(2 * len(x)))
        elif isinstance(x, (list, tuple)):
            if len(x) <= LARGEST:
                self._place(x, path, lambda: x, range(len(x)))
        elif "numpy.random" in sys.modules and isinstance(
            x, (np.random.Generator, np.random.RandomState)
        ):
            self.generators.append(x)
        elif hasattr(x, "__dict__") and type(x).__module__.partition(".")[0] != "numpy":
            names = [n for n, value in vars(x).items() if self._counts(n, value)]
            if isinstance(x, Module):
                self.modules.append(x)
                names += ["training"] * ("training" not in names)  # train() will set it
            self._place(x, path, _Look(vars(x), names), names)
            self._walk(type(x), type(x).__name__)

    def _class(self, x: type, path: str) -> None:
        """The attributes of a class that is neither Python's own nor of a package that is known."""
        for kind in x.__mro__:
            if kind.__module__.partition(".")[0] not in _KNOWN:
                names = [n for n in vars(kind) if self.used is None or n in self.used]
                self._place(kind, kind.__name__, _Look(vars(kind), names), names)

    def _counts(self, name: str, value: Any) -> bool:
        return self.used is None or name in self.used or isinstance(value, (Box, Module))

    def _function(self, function: FunctionType, path: str) -> None:
        if cells := function.__closure__:
            names = list(function.__code__.co_freevars)
            self._place(function, path, lambda: [_content(cell) for cell in cells], names)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._walk(default, path)
        if not function.__code__.co_filename.startswith(_OURS):
            self._names(function.__code__, function.__globals__, path)

    def _names(self, code: CodeType, space: dict[str, Any], path: str) -> None:
        """The global variables that are named in some code."""
        if id(code) in self._seen:
            return
        self._seen[id(code)] = code
        names = [n for n in _named(code) if n in space]
        self._place(code, path, _Look(space, names), names)

    def _place(self, x: Any, path: str, look: Callable[[], Any], names: Any) -> None:
        found = tuple(look())
        self.places[id(x)] = (path, look, names, found)
        for name, value in zip(names, found, strict=True):
            self._walk(value, f"{path}[{name}]" if isinstance(names, range) else str(name))


class _Look:
    """What names stand for in a namespace at the time."""

    def __init__(self, space: Mapping[str, Any], names: list[str]) -> None:
        self.space, self.names = space, names

    def __call__(self) -> Sequence[Any]:
        return [self.space.get(name) for name in self.names]


def _comparison(places: list[Any], tensors: list[Box]) -> Callable[[], bool]:
    """Whether all places hold what they held, and the same tensors are variables: written out as
    one expression of Python, since it is asked before every step."""
    known: dict[str, Any] = {}
    asked: list[str] = []

    def name(x: Any) -> str:
        known[f"x{len(known)}"] = x
        return f"x{len(known) - 1}"

    for _, look, _, found in places:
        if isinstance(look, _Look):
            space = name(look.space)
            for key, value in zip(look.names, found, strict=True):
                there = key in look.space
                asked.append(
                    f"{space}[{key!r}] is {name(value)}" if there else f"{key!r} not in {space}"
                )
        else:
            asked.append(f"same({name(look)}(), {name(found)})")
    for x in tensors:
        asked.append(f"{name(x)}.record is {'' if x.record is None else 'not '}None")
    known["same"] = lambda now, found: len(now) == len(found) and all(map(is_, now, found))
    lines = ["def is_same():", "  try:", f"    return {' and '.join(asked) or True}"]
    exec("\n".join([*lines, "  except KeyError:", "    return False"]), known)
    is_same: Callable[[], bool] = known["is_same"]
    return is_same


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _named(code: CodeType) -> list[str]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return list(dict.fromkeys([*code.co_names, *(n for c in inner for n in _named(c))]))
