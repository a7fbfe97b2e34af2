"""Guards: the settings of a step's modules and optimizers, compared before every call.

A captured step is right as long as its function would find the same settings again: the same
parameters, the same `training`, the same factor in a layer. They are collected when the step is
traced, with the names that its code mentions in closures and globals, and compared before each
run: plain values by value, objects by identity. Attributes that the code of the step never names,
such as a history beside it, may change.

Not everything that Python code can read is seen here. `sampling` compares captured calls with the
function itself for the rest.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dis import get_instructions
from functools import cache, partial
from operator import is_
from pathlib import Path
from types import CellType, CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any
from zlib import crc32

import numpy as np

from ..engine import Box
from ..nn import Module
from ..operation import Op
from ..optim import Optimizer

_KNOWN = {*sys.stdlib_module_names, "numpy", __name__.partition(".")[0]}
LARGEST = 1000  # a container with more entries is data: only the container itself is looked at
LARGEST_ARRAY = 2**24  # bytes; the entries of larger arrays are not compared after tracing
# Modules of Python's whose objects keep nothing that a step computes with.
_SERVICES = {"_io", "_thread", "datetime", "io", "logging", "pathlib", "re", "threading"}
# Code that uses one of these may read attributes that it does not name.
_DYNAMIC = {"getattr", "hasattr", "setattr", "vars", "__dict__", "__getattribute__", "attrgetter"}
_PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype, ModuleType)
# Whose global variables say nothing of the step: this package's, NumPy's, Python's own.
_OURS = (
    str(Path(__file__).parents[1]),
    str(Path(np.__file__).parent),
    str(Path(random.__file__).parent),
)


class Surroundings:
    """The tensors, arrays, settings and generators that a function can reach by name.

    used    the names in the code of the step; None: not known yet, all
    codes   the code that ran while the step was traced, with its global variables

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
        self.used = used
        own = [code for code in codes or {} if not _is_library(code)]
        self._in_own_code = {name for code in own for name in _mentioned(code)}
        self._dynamic = bool(_DYNAMIC & {name for code in own for name in _named(code)})
        self.tensors: dict[int, Box] = {}
        self.arrays: dict[int, np.ndarray[Any, Any]] = {}
        self.optimizers: list[Optimizer] = []
        self.generators: list[Any] = []
        self.modules: list[Module] = []
        self.contained: list[tuple[str, Callable[[], Any]]] = [
            ("the environment", lambda: hash(frozenset(os.environ.items())))
        ]
        self.types: list[tuple[str, Any, type]] = []
        self.sizes: list[tuple[str, Mapping[str, Any], int]] = []  # of the attributes of modules
        self.places: dict[Any, tuple[str, Callable[[], Sequence[Any]], Any, tuple[Any, ...]]] = {}
        self._seen: dict[int, Any] = {}
        for root in roots:
            self._walk(root, getattr(root, "__name__", type(root).__name__))
        for code in own:  # the functions that ran besides those that can be reached
            self._names(code, (codes or {})[code], code.co_name)
        self._is_same = _comparison(self)

    def changed(self) -> str | None:
        """The first place where there is something else now, by name."""
        if self._is_same():
            return None
        for path, x, kind in self.types:
            if type(x) is not kind:
                return f"{path}.__class__"
        for path, fields, size in self.sizes:
            if len(fields) != size:
                return f"the attributes of {path}"
        for path, look, names, before in self.places.values():
            now = list(look())
            if len(now) != len(before):
                return path
            for name, new, old in zip(names, now, before, strict=True):
                if not is_same(new, old):
                    return path if isinstance(names, range) else f"{path}.{name}"
        return "requires_grad"

    def changed_since(self, earlier: Surroundings) -> str | None:
        """The first place that was different when `earlier` was made."""
        for key, (path, _, names, now) in self.places.items():
            if key in earlier.places:
                _, _, names_then, then = earlier.places[key]
                old = dict(zip(names_then, then, strict=True))
                new = dict(zip(names, now, strict=True))
                for name, value in new.items():
                    if not is_same(old.get(name), value):
                        return path if isinstance(names, range) else f"{path}.{name}"
                if isinstance(names, range) and len(names) != len(names_then):
                    return path
        return None

    def contents(self) -> list[Any]:
        """Checksums, positions and lengths of what was found, to be compared after tracing; what
        each is of stands in `contained`."""
        return [look() for _, look in self.contained]

    def random_state(self) -> bytes:
        """The state of all sources of random numbers within reach."""
        states: list[Any] = [random.getstate()]
        if "numpy.random" in sys.modules:
            states.append(np.random.get_state())
        for generator in self.generators:
            states.append(_state_of(generator))
        return pickle.dumps(states)

    def restore_random_state(self, state: bytes) -> None:
        """Go back to a `random_state()`."""
        states = pickle.loads(state)
        random.setstate(states.pop(0))
        if "numpy.random" in sys.modules and len(states) > len(self.generators):
            np.random.set_state(states.pop(0))
        for generator, own in zip(self.generators, states, strict=True):
            if isinstance(generator, random.Random):
                generator.setstate(own)
            elif isinstance(generator, np.random.RandomState):
                generator.set_state(own)
            else:
                generator.bit_generator.state = own

    # --- looking ----------------------------------------------------------------------------------

    def _walk(self, x: Any, path: str) -> None:
        if isinstance(x, _PLAIN) or id(x) in self._seen:
            if isinstance(x, ModuleType) and not _is_installed(x):
                self._module(x, path)
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
            self.contained.append((f"the entries of {path}", partial(_checksum, x)))
        elif isinstance(x, Optimizer):
            self.optimizers.append(x)
            names = [n for n in vars(x) if n not in ("lr", "state")]
            self._object(x, path, names)
        elif isinstance(x, partial):
            look = partial(_parts, x)
            self._place(id(x), path, look, range(len(look())))
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
                self._place(id(x), path, lambda: [*x.keys(), *x.values()], range(2 * len(x)))
        elif isinstance(x, (list, tuple, deque, set, frozenset)):
            if len(x) <= LARGEST:
                self._place(id(x), path, lambda: [*x], range(len(x)))
            else:
                self.contained.append((f"the length of {path}", lambda: len(x)))
        elif isinstance(x, bytearray):
            self.contained.append((f"the entries of {path}", partial(bytes, x)))
        elif isinstance(x, random.SystemRandom):
            pass  # it has no state: what it draws differs from trace to trace
        elif isinstance(x, random.Random):
            self.generators.append(x)
        elif isinstance(x, Iterator) and type(x).__module__ in ("builtins", "itertools"):
            self.contained.append((f"the position of {path}", partial(_position, x)))
        elif "numpy.random" in sys.modules and isinstance(
            x, (np.random.Generator, np.random.RandomState)
        ):
            self.generators.append(x)
        elif type(x).__module__.partition(".")[0] not in {"numpy", *_SERVICES}:
            fields = getattr(x, "__dict__", {})
            settings = isinstance(x, Module)  # all of them, whether the code names them or not
            names = [
                n
                for n, value in fields.items()
                if self._counts(n, value) or (settings and isinstance(value, (*_PLAIN, tuple)))
            ]
            if isinstance(x, Module):
                self.modules.append(x)
                names += ["training"] * ("training" not in names)  # train() will set it
            self._object(x, path, names)

    def _object(self, x: Any, path: str, names: list[str]) -> None:
        """The attributes of an object: those of the names, and those that may come to be."""
        kind = type(x)
        if slots := [n for n in _slots(kind) if self._counts(n, getattr(x, n, None))]:
            self._place((id(x), "slots"), path, lambda: [getattr(x, n, None) for n in slots], slots)
        if hasattr(x, "__dict__"):
            fields = vars(x)
            names = names + self._absent(x)
            self._place(id(x), path, _Look(fields, names), names)
            if isinstance(x, (Module, Optimizer)):
                self.sizes.append((path, fields, len(fields)))
            elif self._dynamic and not _is_known(kind):
                self._place((id(x), "names"), path, lambda: [*fields], range(len(fields)))
            if self.used is not None:
                self.types.append((path, x, kind))
        self._walk(kind, kind.__name__)

    def _absent(self, x: Any) -> list[str]:
        """Attributes that the code names and the object lacks: set, they would shadow those of its
        class, or be found by hasattr()."""
        if self.used is None:
            return []
        names = {n for n in self.used if hasattr(type(x), n)}
        if isinstance(x, (Module, Optimizer)) and not _is_known(type(x)):
            names |= self._in_own_code
        return sorted(names - vars(x).keys())

    def _module(self, x: ModuleType, path: str) -> None:
        """The variables of a module that is neither Python's own nor of an installed package."""
        if id(x) not in self._seen:
            self._seen[id(x)] = x
            space = vars(x)
            names = [n for n in space if not n.startswith("__") and self._is_named(n)]
            self._place(id(x), path, _Look(space, names), names)

    def _class(self, x: type, path: str) -> None:
        """The attributes of a class that is neither Python's own nor of a package that is known."""
        for kind in x.__mro__:
            if not _is_known(kind):
                names = [n for n in vars(kind) if self.used is None or n in self.used]
                self._place(id(kind), kind.__name__, _Look(vars(kind), names), names)

    def _is_named(self, name: str) -> bool:
        return self.used is None or name in self.used or name in self._in_own_code

    def _counts(self, name: str, value: Any) -> bool:
        return self._dynamic or self._is_named(name) or isinstance(value, (Box, Module))

    def _function(self, function: FunctionType, path: str) -> None:
        if cells := function.__closure__:
            names = list(function.__code__.co_freevars)
            self._place(id(function), path, lambda: [_content(cell) for cell in cells], names)
        if fields := vars(function):
            names = [n for n, value in fields.items() if self._counts(n, value)]
            self._place((id(function), "fields"), path, _Look(fields, names), names)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._walk(default, path)
        if not _is_library(function.__code__):
            self._names(function.__code__, function.__globals__, path)

    def _names(self, code: CodeType, space: dict[str, Any], path: str) -> None:
        """The global variables that are named in some code."""
        if id(code) in self._seen:
            return
        self._seen[id(code)] = code
        names = [n for n in _globals_of(code) if n in space]
        self._place(id(code), path, _Look(space, names), names)

    def _place(self, key: Any, path: str, look: Callable[[], Any], names: Any) -> None:
        found = tuple(look())
        self.places[key] = (path, look, names, found)
        for name, value in zip(names, found, strict=True):
            self._walk(value, f"{path}[{name}]" if isinstance(names, range) else str(name))


class _Look:
    """What names stand for in a namespace at the time."""

    def __init__(self, space: Mapping[str, Any], names: list[str]) -> None:
        self.space, self.names = space, names

    def __call__(self) -> Sequence[Any]:
        return [self.space.get(name) for name in self.names]


def _comparison(found: Surroundings) -> Callable[[], bool]:
    """A function that returns True if all places hold what they held, and the same tensors are
    variables: written out as one expression of Python, since it is called before every step."""
    known: dict[str, Any] = {"is_same": is_same, "all_same": all_same}
    conditions: list[str] = []

    def name(x: Any) -> str:
        known[f"x{len(known)}"] = x
        return f"x{len(known) - 1}"

    def condition(now: str, value: Any) -> str:
        then = name(value)
        if isinstance(value, (*_PLAIN, tuple)) and value is not None:
            return f"({now} is {then} or is_same({now}, {then}))"
        return f"{now} is {then}"

    for _, fields, size in found.sizes:
        conditions.append(f"len({name(fields)}) == {size}")
    for _, x, kind in found.types:
        conditions.append(f"type({name(x)}) is {name(kind)}")
    for _, look, _, values in found.places.values():
        if isinstance(look, _Look):
            space = name(look.space)
            for key, value in zip(look.names, values, strict=True):
                there = key in look.space
                now = f"{space}[{key!r}]"
                conditions.append(condition(now, value) if there else f"{key!r} not in {space}")
        else:
            conditions.append(f"all_same({name(look)}(), {name(values)})")
    for tensor in found.tensors.values():
        variable = "" if tensor.record is None else "not "
        conditions.append(f"{name(tensor)}.record is {variable}None")
    lines = ["def compare():", "  try:", f"    return {' and '.join(conditions) or True}"]
    exec("\n".join([*lines, "  except KeyError:", "    return False"]), known)
    compare: Callable[[], bool] = known["compare"]
    return compare


def is_same(now: Any, then: Any) -> bool:
    """Return True if two settings are one object, or equal plain values of one type.

    −0.0 is not 0.0, True is not 1, and NaN is NaN.

    Example:
        >>> is_same(0.1 + 0.2, 0.30000000000000004), is_same(1, True), is_same(0.0, -0.0)
        (True, False, False)
    """
    if now is then:
        return True
    if type(now) is not type(then):
        return False
    if isinstance(now, tuple):
        return all_same(now, then)
    return isinstance(now, _PLAIN) and repr(now) == repr(then)


def all_same(now: Sequence[Any], then: Sequence[Any]) -> bool:
    """Return True if two sequences are as long, and their entries are the same."""
    return len(now) == len(then) and (all(map(is_, now, then)) or all(map(is_same, now, then)))


def _parts(x: partial[Any]) -> list[Any]:
    """Return the function and the arguments of a partial one; all of them can be replaced."""
    return [x.func, *x.args, *x.keywords.keys(), *x.keywords.values()]


def _state_of(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    return generator.bit_generator.state


def _checksum(array: np.ndarray[Any, Any]) -> int:
    if array.dtype.hasobject or array.nbytes > LARGEST_ARRAY:
        return 0
    return crc32(np.ascontiguousarray(array).view(np.uint8).data)


def _position(x: Iterator[Any]) -> Any:
    """How far an iterator has come, as far as Python tells."""
    if isinstance(x, GeneratorType):
        return x.gi_frame and x.gi_frame.f_lasti, repr(x.gi_frame and x.gi_frame.f_locals)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 on: itertools will lose __reduce__
            return repr(x.__reduce__())
    except TypeError:
        return repr(x)


def _slots(kind: type) -> list[str]:
    """The names in the __slots__ of a class and its bases."""
    slots: list[str] = []
    for base in kind.__mro__:
        names: Iterable[str] = base.__dict__.get("__slots__", ())
        slots += [names] if isinstance(names, str) else names
    return [name for name in slots if name not in ("__dict__", "__weakref__")]


def _is_known(kind: type) -> bool:
    """Return True for a class of Python's, NumPy's or this package's."""
    return kind.__module__.partition(".")[0] in _KNOWN


def _is_installed(module: ModuleType) -> bool:
    """Return True for a module of Python's, NumPy's or this package's, or of another package."""
    file = getattr(module, "__file__", None) or ""
    return (
        module.__name__.partition(".")[0] in _KNOWN
        or file.startswith(_OURS)
        or "site-packages" in file
    )


def _is_library(code: CodeType) -> bool:
    """Return True for code of Python's, NumPy's or this package's, or of an installed package."""
    return code.co_filename.startswith(_OURS) or "site-packages" in code.co_filename


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


@cache
def _globals_of(code: CodeType) -> tuple[str, ...]:
    """Return the names of variables of the module that some code, and the functions in it, read or
    assign; names of attributes are no such names."""
    uses = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
    own = [x.argval for x in get_instructions(code) if x.opname in uses]
    inner = [name for c in code.co_consts if isinstance(c, CodeType) for name in _globals_of(c)]
    return tuple(dict.fromkeys([*own, *inner]))


def _named(code: CodeType) -> list[str]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return list(dict.fromkeys([*code.co_names, *(n for c in inner for n in _named(c))]))


def _mentioned(code: CodeType) -> set[str]:
    """The names in some code, and its strings, which may be names of attributes."""
    strings = {x for x in code.co_consts if isinstance(x, str) and x.isidentifier()}
    return {*code.co_names, *strings}
