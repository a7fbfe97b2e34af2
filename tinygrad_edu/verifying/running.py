"""Running a function that claims gradients, in this process or through one that stands for it.

`Function` (derivations) reads and judges such a function but never calls it: it asks a `Running`,
which knows the function's name, signature and source, and calls it with the values of names. `Here`
calls it in this process. A function of a submission runs in a process of its own, and what stands
for it here is another `Running`.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np

from ..frames import observe
from .functions import ClaimError

__all__ = ["BACKPROP", "Changed", "Here", "Running", "has_backprop", "stored_by"]

BACKPROP = "backprop"  # the method of a class that claims gradients

MAX_TURNS = 10_000  # turns that the loops of a changed function may take
ALL_TURNS = 1_000_000  # … and those of all changes that are tried

_ANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_TURN = "_turn_of_a_loop"


class Running(ABC):
    """A function and the means to call it.

    name, signature    its name, and its parameters by name
    first_line, text   the line of its file that it begins in, and its source; 0 and "" if unknown

    Example:
        >>> Here(lambda x, y: x + y).signature.keys()
        odict_keys(['x', 'y'])
    """

    name: str
    signature: Mapping[str, Parameter]
    first_line: int
    text: str

    @abstractmethod
    def __call__(self, names: Mapping[str, Any]) -> Any:
        """Return what the function returns for copies of the values of these names.

        A parameter `self` stands for an object that has all of the names. Where the function
        returns nothing, or this object, the gradients are those that it has stored there.

        Raises:  whatever the function raises
        """

    @abstractmethod
    def changed(self, text: str, names: Mapping[str, Any]) -> Any:
        """Return what the function returns with another source, a bound on the turns of its loops.

        Raises:  whatever it raises; ClaimError if its loops take too many turns
        """

    @abstractmethod
    def locals_on(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Return its local variables (numbers and arrays) as it returns or fails."""

    def line_of(self, error: BaseException) -> int | None:
        """Return the line of the source, counted from 1, that raised an error; None if unknown."""
        return None

    def lacking(self, names: Mapping[str, Any]) -> list[str]:
        """Return the parameters that have neither a value among the names nor a default."""
        known = {"self", *names}
        return [
            n
            for n, p in self.signature.items()
            if n not in known and p.default is p.empty and p.kind not in _ANY
        ]


class Here(Running):
    """A function that is called in this process.

    Example:
        >>> Here(lambda x, y: x + y)({"x": 1, "y": 2, "z": 3})
        3
    """

    def __init__(self, function: Callable[..., Any] | object):
        self.function, owner = _function_of(function)
        function = self.function
        self.kind = owner if isinstance(owner, type) else type(owner)
        self.owner = _made(owner) if isinstance(owner, type) else owner
        self.name = getattr(function, "__name__", type(function).__name__)
        self.signature = inspect.signature(function).parameters
        self.first_line, self.text = _source(function)
        self.turns = 0  # that the loops of its changed forms have taken
        self.last: tuple[str, Any] = ("", None)  # the changed form that was compiled last
        self.of_this_call = 0  # turns

    def __call__(self, names: Mapping[str, Any]) -> Any:
        """Call the function."""
        return self._call(self.function, names)

    def changed(self, text: str, names: Mapping[str, Any]) -> Any:
        """Compile the text in the scope of the function and call what comes out."""
        if self.last[0] != text:
            self.last = text, self._compiled(text)
        self.of_this_call = 0
        return self._call(self.last[1], names)

    def line_of(self, error: BaseException) -> int | None:
        """Return the line of the function in which the error was raised or passed through."""
        code, trace = getattr(self.function, "__code__", None), error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is code and self.first_line:
                return trace.tb_lineno - self.first_line + 1
            trace = trace.tb_next
        return None

    def locals_on(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Call the function and note its local variables."""
        found: dict[str, Any] = {}
        code = getattr(self.function, "__code__", None)

        def note(frame: FrameType, event: str, _: Any) -> None:
            if event == "return" and frame.f_code is code:
                found.update(frame.f_locals)

        with contextlib.suppress(Exception):  # what it has up to there
            observe(note, self, names)
        return {k: x for k, x in found.items() if isinstance(x, (int, float, np.ndarray))}

    def _call(self, function: Callable[..., Any], names: Mapping[str, Any]) -> Any:
        own = {k: x.copy() if isinstance(x, np.ndarray) else x for k, x in names.items()}
        holder = self._holder(own)
        values = {"self": holder, **own}
        kinds_given = [p.kind for p in self.signature.values()]
        others = own if Parameter.VAR_KEYWORD in kinds_given else {}  # f(**names)
        kinds = {n: p.kind for n, p in self.signature.items() if p.kind not in _ANY}
        by_place = [values[n] for n, k in kinds.items() if k is Parameter.POSITIONAL_ONLY]
        by_name = {
            n: values[n]
            for n in dict.fromkeys([*kinds, *others])
            if n in values and kinds.get(n) is not Parameter.POSITIONAL_ONLY
        }
        with contextlib.redirect_stdout(None):  # it is run many times, and may print each time
            result = function(*by_place, **by_name)
        if "self" in kinds and (result is None or result is holder):
            return _stored(holder, own, self.name)
        return result

    def _holder(self, names: Mapping[str, Any]) -> Any:
        """Return an object that has the names as attributes, and the class's methods if the class
        is known; of an instance also its own attributes, and the names in its dictionaries."""
        if self.owner is None:
            return SimpleNamespace(**names)
        try:
            holder: Any = object.__new__(self.kind)
            attributes = vars(holder)
        except TypeError:  # a class without a dictionary, or of built-in data
            return SimpleNamespace(**names)
        own = getattr(self.owner, "__dict__", {})
        attributes.update({k: _with_names(x, names) for k, x in own.items()})
        attributes.update(names)
        return holder

    def _compiled(self, text: str) -> Callable[..., Any]:
        whole = ast.parse(text)
        whole.body[0].decorator_list = []  # type: ignore[attr-defined]
        for x in ast.walk(whole):
            if isinstance(x, (ast.For, ast.While)):
                x.body.insert(0, ast.parse(f"{_TURN}()").body[0])
        own = self.function
        closed = inspect.getclosurevars(own).nonlocals if hasattr(own, "__closure__") else {}

        def turn() -> None:
            self.turns += 1
            self.of_this_call += 1
            if self.of_this_call > MAX_TURNS or self.turns > ALL_TURNS:
                raise ClaimError("steps", most=f"{MAX_TURNS:,}")

        scope = {**getattr(own, "__globals__", {}), **closed, _TURN: turn}
        exec(compile(ast.fix_missing_locations(whole), "<a change>", "exec"), scope)
        return scope[self.name]  # type: ignore[no-any-return]


class Changed(Running):
    """A function with another source, called through the one that it was made from.

    Example:
        >>> def add(x, y): return x + y
        >>> Changed(Here(add), "def add(x, y): return x - y")({"x": 1, "y": 2})
        -1
    """

    def __init__(self, running: Running, text: str):
        self.running, self.text = running, text
        self.name, self.signature = running.name, running.signature
        self.first_line = running.first_line

    def __call__(self, names: Mapping[str, Any]) -> Any:
        """Call the function with the other source."""
        return self.running.changed(self.text, names)

    def changed(self, text: str, names: Mapping[str, Any]) -> Any:
        """Call the function with a third source."""
        return self.running.changed(text, names)

    def locals_on(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Return nothing: the variables of a changed function are not looked at."""
        return {}


def has_backprop(x: object) -> bool:
    """Return True if x is a class with a method `backprop`, or an instance of one.

    Example:
        >>> has_backprop(type("C", (), {"backprop": lambda self: None})()), has_backprop({})
        (True, False)
    """
    found = inspect.getattr_static(x if isinstance(x, type) else type(x), BACKPROP, None)
    return callable(found) or isinstance(found, (staticmethod, classmethod))


def _function_of(x: Any) -> tuple[Callable[..., Any], Any]:
    """Return the function that is meant, and the class or the instance that it is a method of.

    Raises:  ClaimError for a class that has no method `backprop`
    """
    if has_backprop(x):
        found = inspect.getattr_static(x if isinstance(x, type) else type(x), BACKPROP)
        if isinstance(found, classmethod):
            return getattr(x, BACKPROP), None
        return (found.__func__, None) if isinstance(found, staticmethod) else (found, x)
    if isinstance(x, type):
        methods = [k for k, f in vars(x).items() if inspect.isfunction(f) and k[:1] != "_"]
        spelled = " / ".join(f"{x.__name__}.{k}" for k in methods) or "…"
        raise ClaimError("no-backprop", kind=x.__name__, methods=spelled)
    owner = getattr(x, "__self__", None)
    if inspect.ismethod(x) and not isinstance(owner, type):
        return x.__func__, owner
    return x, None


def _with_names(x: Any, names: Mapping[str, Any]) -> Any:
    """Return a copy of an attribute, with the values of names in dictionaries that have them."""
    if isinstance(x, dict):
        return {k: names.get(k, y) if isinstance(k, str) else y for k, y in x.items()}
    return x.copy() if isinstance(x, (list, set, np.ndarray)) else x


def _made(kind: type) -> Any:
    """Return an instance of a class whose constructor needs no arguments. For another class return
    an object with those attributes that its `__init__` sets to literals, such as `self.grads = {}`.
    """
    with contextlib.suppress(Exception), contextlib.redirect_stdout(None):
        return kind()
    holder: Any = SimpleNamespace()
    with contextlib.suppress(OSError, TypeError, SyntaxError, AttributeError):
        text = textwrap.dedent(inspect.getsource(kind.__dict__["__init__"]))
        for name, value in _assigned_to_self(ast.parse(text)):
            with contextlib.suppress(ValueError):
                setattr(holder, name, ast.literal_eval(value))
    return holder


def _assigned_to_self(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the attributes of self that are assigned to, each with its expression."""
    pairs: list[tuple[ast.expr, ast.expr]]
    for x in ast.walk(tree):
        match x:
            case ast.Assign(targets=[ast.Tuple(targets)], value=ast.Tuple(values)):
                pairs = list(zip(targets, values, strict=False))
            case ast.Assign(targets=targets, value=value):
                pairs = [(target, value) for target in targets]
            case ast.AnnAssign(target=annotated, value=ast.expr() as value):
                pairs = [(annotated, value)]
            case _:
                continue
        for target, value in pairs:
            match target:
                case ast.Attribute(ast.Name("self"), name):
                    yield name, value


def stored_by(function: ast.FunctionDef) -> list[tuple[str, ast.expr]]:
    """Return the expressions that a method stores as gradients in self, each with its name.

    Example:
        >>> text = "def f(self, X, E): self.dW, self.m = X, 3; self.grads['b'] = E; self.dW = X @ E"
        >>> [(name, ast.unparse(x)) for name, x in stored_by(ast.parse(text).body[0])]
        [('b', 'E'), ('dW', 'X @ E')]
    """
    found = {}
    for statement in function.body:
        match statement:
            case ast.Assign(targets=[ast.Attribute(ast.Name("self"), name)], value=value):
                if _GRADIENT.search(name) and not isinstance(
                    value, (ast.List, ast.Tuple, ast.Dict)
                ):
                    found[name] = value
            case ast.Assign(
                targets=[
                    ast.Subscript(ast.Attribute(ast.Name("self"), holder), ast.Constant(str(name)))
                ],
                value=value,
            ) if _OF_GRADIENTS.search(holder):
                found[name] = value
    return list(found.items())


def _stored(holder: Any, names: Mapping[str, Any], function: str) -> Any:
    """Return what a method has stored under the names of gradients: `self.dW`, `self.grads["W"]`.

    Raises:  ClaimError if there is nothing of the kind
    """
    found: dict[str, Any] = {}
    lists: list[Any] = []
    for name, x in vars(holder).items():
        if x is None or names.get(name) is x:
            continue
        if isinstance(x, Mapping) and _OF_GRADIENTS.search(name):
            found.update({str(k): y for k, y in x.items() if y is not None})
        elif isinstance(x, (list, tuple)) and x and _OF_GRADIENTS.search(name):
            lists.append(x)
        elif _GRADIENT.search(name) and not callable(x):
            found[name] = x
    if found:
        return found
    if lists:
        return tuple(lists[0])  # its order is that of `wrt`
    raise ClaimError("stores-none", function=function)


_OF_GRADIENTS = re.compile(r"grad|deriv|^d(?:s|iffs?|params?|weights?)?$", re.IGNORECASE)
_GRADIENT = re.compile(r"^d_?[^\W\d_]|grad|^nabla|^∇")


def _source(function: Callable[..., Any]) -> tuple[int, str]:
    """Return the line in its file that a function begins in, and its text; 0 and "" if unknown."""
    try:
        lines, first = inspect.getsourcelines(function)
        return first, textwrap.dedent("".join(lines))
    except (OSError, TypeError, SyntaxError, ValueError, RecursionError):
        return 0, ""
