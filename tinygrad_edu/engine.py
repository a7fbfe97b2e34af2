"""The engine: write down what is computed, then walk back over what was written.

Read this file first; who has read it knows how every gradient in this library comes about.

A *primitive* is a NumPy function together with one derivative rule for each of its array
arguments. Called with arrays it is that NumPy function. Called with a tensor it also leaves a
*record* in its result: which operation it was, and with which arguments. A tensor thus points at
the tensors it was made from, never the other way round, so that dropping the result drops
everything, without a reference cycle.

`sweep` starts from the error at the output (`∂L/∂L = 1`) and visits the records, youngest first.
Each rule turns the error at an operation's output into the error at one of its inputs; errors
that reach the same tensor on several ways are added. The chain rule is nothing more than this.

Rules are written with operators, so the same line runs on arrays (fast) and on tensors (recorded,
which makes the gradient itself a graph that can be differentiated again, printed or checked).
No rule knows of broadcasting or of dtypes: `fit` puts both right, once, for all of them.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import lru_cache, partial, update_wrapper, wraps
from inspect import Parameter
from itertools import count, repeat
from operator import attrgetter, is_
from sys import getrefcount
from threading import RLock
from typing import Any, ClassVar, Protocol, TypeVar, cast

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

Array = NDArray[Any]
Rule = Callable[..., Any]
Function = TypeVar("Function", bound=Callable[..., Any])
_new = object.__new__
MOST = 4096  # terms of a sum that is a product with ones

# What is recorded: nothing, whatever depends on a variable, or everything that touches a tensor.
# The numbers are chosen such that `mode + (depends on a variable)` reaches 2 exactly where an
# operation is to be recorded, and 3 where one without any rule is.
OFF, ON, ALL = 0, 1, 3
_mode: ContextVar[int] = ContextVar("recording", default=ON)  # one for each thread and each task
_outer: ContextVar[tuple[int, ...]] = ContextVar("outer", default=())  # … and those around it
tick = count(1).__next__  # the age of what happens next, for all threads


def _alone() -> int:
    """The count of references of an object that nobody has but one variable."""
    new = object()
    return getrefcount(new)


ALONE = _alone()


class Watch(Protocol):
    """Who looks on at what is computed, in any thread or task; see `anomaly`."""

    def called(self, op: Op, args: Any, raw: Any, settings: Any, result: Box) -> None:
        """An operation was called with a tensor."""

    def ruled(self, record: Record, y: Array, g: Any, arg: Box, error: Any) -> None:
        """A rule of a recorded operation turned the error g at its output into one at `arg`."""


watches: list[Watch] = []  # nobody, unless asked to

# By the id of a tensor, what makes of the error there the one to go on with; see `hooks`.
hooks: dict[int, Callable[[Any], Any]] = {}


class Op:
    """What happened: the NumPy function and the rules of one primitive."""

    __slots__ = ("arity", "arrays", "defaults", "forward", "name", "needs", "rules", "settings")

    def __init__(self, forward: Callable[..., Any], rules: Sequence[Rule | None]):
        self.name = forward.__name__.lstrip("_")
        self.forward = forward
        self.rules = tuple(rules)
        self.needs = 2 if any(rules) else 3
        arrays, settings = _parameters(forward)
        variadic = any(p.kind is p.VAR_POSITIONAL for p in arrays)
        self.arity = None if variadic else len(arrays)
        self.arrays = tuple(p.name for p in arrays)
        self.settings = {p.name: p.kind is not p.KEYWORD_ONLY for p in settings}  # by place too?
        self.defaults = {p.name: p.default for p in settings if p.default is not p.empty}
        if len(self.rules) != len(arrays):
            raise TypeError(
                f"{self}{self._signature()}: rules given: {len(self.rules)}, arrays: "
                f"{len(arrays)}; one rule for each array, None where there is no derivative; what "
                "is not an array stands after `/` or has a default"
            )
        given = ["i"] * variadic + ["g", "y", *self.arrays]
        for rule in filter(None, self.rules):
            try:
                inspect.signature(rule).bind(*given, **dict.fromkeys(self.settings))
            except TypeError as error:
                called = ", ".join([*given, *(f"{name}=" for name in self.settings)])
                raise TypeError(f"a rule of {self} is called as rule({called}): {error}") from None

    def __repr__(self) -> str:
        return self.name

    def _signature(self) -> str:
        return f"({', '.join([*self.arrays, *self.settings])})"

    def rules_for(self, args: Sequence[Any]) -> Sequence[Rule | None]:
        """A rule for each argument; the one for any number of them is told which it is."""
        if self.arity is not None:
            return self.rules
        return [self.rules[0] and partial(self.rules[0], i) for i in range(len(args))]

    def bind(self, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Tell arrays from settings, however the caller wrote them, and fill in the defaults."""
        if len(args) == self.arity and not settings:  # so it is most of the time
            return args, self.defaults.copy()
        if self.arity is not None and len(args) != self.arity:
            by_place = [name for name, allowed in self.settings.items() if allowed]
            more = args[self.arity :]
            named = dict(zip(by_place, more, strict=False))
            args = args[: self.arity]
            missing = self.arrays[len(args) :]
            if len(named) < len(more) or named.keys() & settings or {*missing} - settings.keys():
                received = ", ".join([*map(describe, args + more), *settings])
                raise TypeError(f"{self} takes {self._signature()}, received ({received})")
            settings |= named
            args += tuple(settings.pop(name) for name in missing)
        for name, value in settings.items():
            if name not in self.settings:
                raise TypeError(f"{self} takes {self._signature()}, and no {name!r}")
            if (tensor := _tensor_in(value)) is not None:
                raise TypeError(
                    f"{self}: {name!r} is a setting and has no derivative, received a tensor "
                    f"{describe(tensor)}; give a number or an array (t.numpy())"
                )
        return args, self.defaults | settings


def _tensor_in(value: Any) -> Box | None:
    """Return the first tensor in a setting, also inside of tuples and lists, or None."""
    if isinstance(value, (tuple, list)):
        return next((t for part in value if (t := _tensor_in(part)) is not None), None)
    return value if isinstance(value, Box) else None


def _parameters(forward: Callable[..., Any]) -> tuple[list[Parameter], list[Parameter]]:
    """The parameters that are arrays, and the others: the settings."""
    if isinstance(forward, np.ufunc):
        return [Parameter(name, Parameter.POSITIONAL_ONLY) for name in "abc"[: forward.nin]], []
    parameters = list(inspect.signature(forward).parameters.values())
    kinds = [p.kind for p in parameters]
    if Parameter.VAR_POSITIONAL in kinds:
        arrays = [p for p in parameters if p.kind is Parameter.VAR_POSITIONAL]
    elif Parameter.POSITIONAL_ONLY in kinds:
        arrays = [p for p in parameters if p.kind is Parameter.POSITIONAL_ONLY]
    else:
        arrays = [
            p for p in parameters if p.kind is not Parameter.KEYWORD_ONLY and p.default is p.empty
        ]
    return arrays, [p for p in parameters if p not in arrays]


def _variable() -> None:
    """What a variable was computed by: nothing."""


def _released() -> None:
    """What stands in place of an operation that `backward` has used and forgotten."""


VARIABLE = Op(_variable, ())
RELEASED = Op(_released, ())

# (age, operation, arguments, the arguments as the arrays they were, settings). The arrays are
# kept beside the arguments because a parameter may get new data before the sweep comes by.
Record = tuple[int, Op, tuple[Any, ...], Sequence[Any], dict[str, Any]]
_RELEASED: Record = (0, RELEASED, (), (), {})  # older than anything


def variable_record() -> Record:
    """The record of a tensor that wants a gradient and was not computed from others."""
    return (tick(), VARIABLE, (), (), {})


class Box:
    """An array and the record of how it came about; `Tensor` gives it its operators.

    value    the array
    record   None: a constant; otherwise see `Record`
    grad     the gradient that `backward` left (an array), or None
    name     what to call it in print, or None
    """

    __slots__ = ("__weakref__", "grad", "name", "record", "value")
    value: Array
    record: Any  # a Record or None
    grad: Array | None
    name: str | None
    results: ClassVar[type[Box]]

    def __init_subclass__(cls, results: bool = False) -> None:
        if results:  # the class that the results of primitives have
            Box.results = cls


class Primitive(Protocol):
    """A NumPy function that also works on tensors; `op` holds its name and rules."""

    op: Op

    def __call__(self, *args: Any, **settings: Any) -> Any: ...


def primitive(*rules: Rule | None, doc: str | None = None) -> Callable[..., Primitive]:
    """Declare an operation: a NumPy function with one derivative rule for each array argument.

        rule(g, y, *arrays, **settings)  ->  the error at that array

    where g is the error at the output (∂L/∂y), y the output and the rest what the function was
    called with, defaults filled in. A rule may use operators, `.T .mT .shape .sum() .reshape()`,
    NumPy's functions and other primitives, whatever arrays and tensors both have. It need not care
    for broadcasting or dtypes, and returns a new array or a view of one it was given. Neither it
    nor the function may change its arguments; called with a tensor, the function gets arrays that
    can be read only. None stands for "no derivative".

    The arrays are the function's parameters before `/`; where there is no `/`, those without a
    default; all other parameters are settings. A function of `*arrays` has one rule for all,
    `rule(i, g, y, *arrays, **settings)`, told which is asked for. A NumPy ufunc may be declared as
    it is, with its documentation in `doc`.

    Raises:  TypeError at once if the number of rules or their parameters do not fit; called with a
             tensor, ValueError for a function that overwrites what it was given
    Source:  "a primitive and one rule per argument" is autodidact's (M. Johnson, D. Maclaurin).
    Example:
        >>> @primitive(lambda g, y, x: 3 * g * x * x)
        ... def cube(x):
        ...     return x**3
        >>> cube(np.array([1.0, 2.0]))
        array([1., 8.])
    """

    def declare(forward: Callable[..., Any]) -> Primitive:
        if not callable(forward):
            raise TypeError(
                "primitive takes the rules: write @primitive(rule, ...) above a function"
            )
        op = Op(forward, rules)
        arity, needs, has_settings = op.arity, op.needs, bool(op.settings)
        guarded = _guarded(forward)

        def call(*args: Any, **settings: Any) -> Any:
            if has_settings or settings or len(args) != arity:
                args, settings = op.bind(args, settings)
            raw: list[Any] = []
            boxed = depends = odd = False
            for arg in args:
                if isinstance(arg, Box):
                    boxed = True
                    raw.append(arg.value)
                    if arg.record is not None:
                        depends = True
                else:
                    raw.append(arg)
                    kind = type(arg)
                    if kind is ndarray:
                        odd = odd or arg.dtype.kind not in "fiub"
                    elif kind is not float:
                        odd = True
            if not boxed:
                return forward(*args, **settings)
            try:
                if odd:
                    raw = [as_operand(x) for x in raw]
                seen = map(_readable, raw) if guarded else raw
                value = forward(*seen, **settings) if settings else forward(*seen)
            except Exception as error:
                refusal = _refusal(op, args, error)
                try:
                    if refusal is error:
                        raise
                    raise refusal from error
                finally:  # its traceback holds this frame, which must not hold it in turn
                    del refusal
            if type(value) is not ndarray:
                several = isinstance(value, list) and any(np.ndim(part) for part in value)
                if several or isinstance(value, tuple):  # a list of numbers is one array
                    raise TypeError(
                        f"{op} gave a {type(value).__name__} of {len(value)}, expected one array; "
                        "declare an operation for each, or stack them"
                    )
                value = np.asarray(value)
            recorded = _mode.get() + depends >= needs
            if (
                recorded and depends and value.dtype.kind != "f" and needs == 2
                and any(isinstance(x, Box) and x.record and x.value.dtype.kind == "f" for x in args)
            ):  # fmt: skip  # with ALL, sums of recorded comparisons are whole numbers and welcome
                raise TypeError(f"{op} gave {describe(value)}, which has no gradient; give floats")
            result = _new(Box.results)
            result.value = value
            result.record = (tick(), op, args, raw, settings) if recorded else None
            result.grad = result.name = None
            if watches:
                for watch in watches[:]:
                    watch.called(op, args, raw, settings, result)
            return result

        if isinstance(forward, np.ufunc):
            call.__name__ = call.__qualname__ = op.name
            call.__module__ = next(filter(None, rules), primitive).__module__
        else:
            update_wrapper(call, forward)
        call.__doc__ = doc or forward.__doc__
        declared = cast(Primitive, call)
        declared.op = op
        return declared

    return declare


def _guarded(forward: Any) -> bool:
    """Whether it could overwrite what it is given: not a ufunc, nor a function of this package."""
    package = str(getattr(forward, "__module__", "")).partition(".")[0]
    return not isinstance(forward, np.ufunc) and package != __name__.partition(".")[0]


def _readable(x: Any) -> Any:
    """The same memory, which a function of somebody else's can read and not write."""
    if type(x) is ndarray:
        x = x.view()
        x.flags.writeable = False
    return x


def as_operand(x: Any) -> Any:
    """What stands beside a tensor in an operation: Python's numbers as they are (so that float32
    stays float32 beside them), anything else as an array of real numbers. A numpy.matrix is
    refused: its `*` is the matrix product, which a tensor's is not."""
    if type(x) is ndarray and x.dtype.kind in "fiub":
        return x
    if isinstance(x, np.matrix):
        raise TypeError(
            "a numpy.matrix multiplies as a matrix with `*`, a tensor entry by entry; give "
            "np.asarray(matrix), and write @ for the matrix product"
        )
    if isinstance(x, (bool, int)):
        return x
    if isinstance(x, float) and not isinstance(x, np.generic):
        return float(x)  # NumPy takes a number of a class of its own for one of float64
    return as_array(x)


def as_array(data: Any, dtype: Any = None) -> Array:
    """The array of real numbers that `data` holds; the same memory where it is one already.

    Raises:  TypeError for anything but real numbers (text, objects, complex numbers, masked
             arrays, recorded tensors), ValueError for rows of different lengths.
    """
    masked = sys.modules.get("numpy.ma")  # to ask for np.ma would import it
    if masked is not None and isinstance(data, masked.MaskedArray):
        raise TypeError("a masked array would lose its mask here; give `array.filled(value)`")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"expected numbers in rows of equal length: {error}") from error
    kind = array.dtype if array.dtype.kind not in "fiub" or dtype is None else np.dtype(dtype)
    if kind.kind not in "fiub":
        raise TypeError(
            f"expected real numbers (float, int or bool), received {type(data).__name__} "
            f"of dtype {kind}"
        )
    return array.astype(kind, copy=False)


class NameMissing(KeyError):
    """A KeyError whose message is printed as it was written: Python's own puts it in quotes.

    Example:
        >>> raise NameMissing("the state has no 'bias'")
        Traceback (most recent call last):
        tinygrad_edu.engine.NameMissing: the state has no 'bias'
    """

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


def describe(x: Any) -> str:
    """Name, shape and dtype of an argument, for messages."""
    if isinstance(x, Box):
        name = f"{x.name} " if x.name else ""
        return f"{name}{x.value.shape} {x.value.dtype}"
    if isinstance(x, ndarray):
        return f"{x.shape} {x.dtype}"
    return f"{x!r:.60}"


def _refusal(op: Op, args: Iterable[Any], error: Exception) -> Exception:
    """The error of an operation, telling which operation it was and what it had received: a new
    one in place of Python's and NumPy's own, a note on any other."""
    received = f"received {', '.join(describe(arg) for arg in args)}"
    if isinstance(error, ValueError) and "read-only" in str(error):
        received += "\n  it may not overwrite what it was given: let it change and return a copy"
    kinds = (np.exceptions.AxisError, IndexError, TypeError, ValueError)
    if type(error) in kinds or type(error).__name__.startswith("_UFunc"):
        kind = next(kind for kind in kinds if isinstance(error, kind))
        return kind(f"{op}: {error}\n  {received}")
    error.add_note(f"in {op}, which {received}")
    return error


# --- the primitives that the sweep itself needs ---------------------------------------------------


@primitive(lambda g, y, x, shape: g)  # `fit` adds up what was spread out
def broadcast_to(x: Any, /, shape: Any) -> Any:
    """x repeated along new axes and axes of length 1 until it has the given shape.

    Error:   what arrives at the copies, added up
    Raises:  ValueError if x cannot be broadcast to that shape
    Source:  numpy.broadcast_to
    Example:
        >>> broadcast_to(np.array([1.0, 2.0]), (2, 2))
        array([[1., 2.],
               [1., 2.]])
    """
    return np.broadcast_to(x, shape)


def is_matrix(x: Any) -> bool:
    """Whether an array is one of the matrices that the library under NumPy multiplies.

    Example:
        >>> is_matrix(np.ones((2, 3))), is_matrix(np.ones((2, 3), int))
        (True, False)
    """
    return x.ndim == 2 and x.dtype.char in "fd"


def ones_beside(x: Any, axis: int) -> Array | None:
    """The 1 of 1ᵀX or X1, a product that adds a matrix up along an axis several times faster than
    NumPy's sum; None where that sum is better: for what is no matrix, and for many terms, of which
    it loses fewer digits.

    Example:
        >>> ones_beside(np.zeros((3, 2)), 0)
        array([1., 1., 1.])
    """
    return ones(n, x.dtype) if is_matrix(x) and (n := x.shape[axis]) <= MOST else None


@lru_cache(32)
def ones(n: int, dtype: Any) -> Array:
    """A vector of n ones, always the same one.

    Example:
        >>> ones(2, np.dtype(float))
        array([1., 1.])
    """
    vector = np.ones(n, dtype)
    vector.flags.writeable = False
    return vector


@primitive(lambda g, y, x, shape: broadcast_to(g, x.shape))
def sum_to(x: Any, /, shape: Any) -> Any:
    """x added up to a shape from which it could have been broadcast: the slides' 1ᵀE.

    Error:   repeated for every term of the sum
    Raises:  ValueError if no broadcast leads from that shape to x's
    Example:
        >>> sum_to(np.ones((3, 2)), (2,))
        array([3., 3.])
    """
    x = np.asarray(x)
    if x.shape[1:] == shape and (one := ones_beside(x, 0)) is not None:  # a bias, mostly
        return one.dot(x)
    new = x.ndim - len(shape)
    total = np.add.reduce(x, axis=tuple(range(new))) if new > 0 else x
    if total.shape != shape and new >= 0:
        gone = [i for i, (n, m) in enumerate(zip(shape, total.shape, strict=True)) if n == 1 != m]
        total = np.add.reduce(total, axis=tuple(gone), keepdims=True)
    if total.shape != tuple(shape):
        raise ValueError(f"{x.shape} cannot be summed to {tuple(shape)}")
    return total


@primitive(lambda g, y, x, dtype: g)  # `fit` brings it back to x's own dtype
def astype(x: Any, /, dtype: Any) -> Any:
    """x in another floating dtype.

    Error:   the same, in the dtype of x
    Raises:  TypeError for floating numbers that would become others: these have no slope
    Source:  numpy.ndarray.astype
    Example:
        >>> astype(np.ones(2), np.float32).dtype
        dtype('float32')
    """
    x = np.asarray(x)
    if x.dtype.kind == "f" != np.dtype(dtype).kind:
        raise TypeError(
            f"only another floating dtype keeps the gradient, received {np.dtype(dtype)}; write "
            "t.numpy().astype(...) where none is wanted"
        )
    return x.astype(dtype, copy=False)


@primitive(lambda g, y, x: g)
def as_recorded(x: Any, /) -> Any:
    """x as it was when it was used, although its tensor has been given new data since."""
    return x


# --- the sweep ------------------------------------------------------------------------------------


def history(output: Box) -> list[Box]:
    """All results of recorded operations that led to `output`, itself included, oldest first.

    A result is younger than what it was computed from, so the order of age is an order in which
    each comes after its inputs. No recursion: a graph may be deeper than Python's stack.
    """
    seen = {output} if output.record[1] is not VARIABLE else set()
    stack = [*seen]
    while stack:
        for arg in stack.pop().record[2]:
            if (
                isinstance(arg, Box)
                and (record := arg.record) is not None
                and record[1] is not VARIABLE
                and arg not in seen
            ):
                seen.add(arg)
                stack.append(arg)
    return sorted(seen, key=attrgetter("record"))  # by age, with which a record begins


def sweep(
    output: Box,
    error: Any,
    wanted: set[Box] | None = None,
    *,
    release: bool = False,
    recorded: bool = False,
) -> dict[Box, Any]:
    """The errors ∂L/∂x at the wanted tensors (None: at all variables), given ∂L/∂output.

    release    forget each record once it is used, so that memory is free as early as possible
    recorded   run the rules on tensors, so that the errors are recorded computations themselves
    """
    nodes = history(output)
    if nodes and nodes[0].record is _RELEASED:
        raise RuntimeError(
            "a part of this graph was released by an earlier backward(), also if that failed on "
            "the way; compute it again, or call backward(retain_graph=True) the first time"
        )
    needed = None if wanted is None else _on_the_way(nodes, wanted)
    errors = {output: error}
    while nodes:  # each is dropped as it is done: with `release` nothing else may hold it
        node = nodes.pop()
        g = errors.get(node) if wanted and node in wanted else errors.pop(node, None)
        if g is None:
            continue
        if hooks and id(node) in hooks:
            g = hooks[id(node)](g)
            if wanted and node in wanted:
                errors[node] = g
        age, op, args, raw, settings = node.record
        if release:
            node.record = _RELEASED
        y: Any = node.value
        inputs: Sequence[Any] = raw
        if recorded:
            y, inputs = node, [_as_it_was(arg, x) for arg, x in zip(args, raw, strict=True)]
        rules = op.rules if op.arity is not None else op.rules_for(args)
        for rule, arg, x in zip(rules, args, raw, strict=True):
            if rule is None or not isinstance(arg, Box) or (record := arg.record) is None:
                continue
            if needed is not None and arg not in needed:
                continue
            if record[0] > age:
                raise RuntimeError(
                    f"{describe(arg)} was given requires_grad=True after it had been used by {op}, "
                    "where a part of its gradient may not have been recorded; set it before"
                )
            try:
                new = rule(g, y, *inputs, **settings) if settings else rule(g, y, *inputs)
                if recorded and not isinstance(new, Box):  # a constant: no slope of its own
                    new = _box(fit(new, x))
                if type(new) is not ndarray or new.dtype is not x.dtype or new.shape != x.shape:
                    new = fit(new, x)
            except Exception as failure:
                failure.add_note(
                    f"in the rule of {op} for {describe(arg)}, with {describe(g)} at its output"
                )
                raise
            if watches:
                for watch in watches[:]:
                    watch.ruled((age, op, args, raw, settings), node.value, g, arg, new)
            if (before := errors.get(arg)) is not None:
                new = before + new
            elif not recorded and (record[1] is VARIABLE or (wanted and arg in wanted)):
                # What is handed out is memory of its own, not another's error or the record's.
                others = (g, y, *raw, *settings.values()) if getrefcount(new) > ALONE else ()
                if new.base is not None or any(map(is_, repeat(new), others)):
                    new = new.copy()
            errors[arg] = new
    if hooks:  # at a variable the errors of all ways have been added only now
        for box, g in errors.items():
            if id(box) in hooks and box.record[1] is VARIABLE:
                errors[box] = hooks[id(box)](g)
    return errors  # the others have been taken out


def fit(g: Any, x: Array) -> Any:
    """The error `g` brought to the shape and dtype of the array x that it belongs to.

    Where x was broadcast, its copies' errors are added up: for a bias this is the slides' 1ᵀE.
    """
    if type(g) is ndarray and g.dtype is x.dtype:
        return g if g.shape == x.shape else sum_to.op.forward(g, x.shape)
    boxed = isinstance(g, Box)
    array = g.value if boxed else np.asarray(g)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"the error at a real array must be real, received {array.dtype}"
            + (", nothing at all (does the rule return something?)" if g is None else "")
        )
    if not boxed:
        if array.shape != x.shape:
            if isinstance(g, (tuple, list)):  # the sum of its parts would be wrong, silently
                raise TypeError(
                    f"a rule gives one error, at {describe(x)}, received a {type(g).__name__} of "
                    f"{len(g)}; write one rule for each array"
                )
            array = sum_to.op.forward(array, x.shape)
        return array if array.dtype == x.dtype else array.astype(x.dtype)
    if array.shape != x.shape:
        g = sum_to(g, x.shape)
    return g if array.dtype == x.dtype else astype(g, x.dtype)


def _on_the_way(nodes: Iterable[Box], wanted: set[Box]) -> set[Box]:
    """The tensors that were computed from a wanted one: only these have to be visited."""
    needed = set(wanted)
    for node in nodes:
        _, op, args, *_ = node.record
        if op.needs == 2 and any(isinstance(arg, Box) and arg in needed for arg in args):
            needed.add(node)
    return needed


def _as_it_was(arg: Any, x: Any) -> Any:
    if not isinstance(arg, Box):
        return x  # the array of a list
    if arg.value is not x:
        return _box(x, (tick(), as_recorded.op, (arg,), (x,), {}))
    return arg


def _box(value: Array, record: Record | None = None) -> Box:
    box = _new(Box.results)
    box.value, box.record, box.grad, box.name = value, record, None, None
    return box


# --- the two doors --------------------------------------------------------------------------------

_adding = RLock()  # held while gradients are added to `.grad`, by one thread at a time


def _new_lock() -> None:
    """Replace the lock in a forked process, where the thread that held it does not exist."""
    global _adding
    _adding = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def backward(output: Box, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add ∂(output)/∂v to the `.grad` of every variable v that `output` was computed from.

    See `Tensor.backward`, which this is.
    """
    found = sweep(output, _seed(output, gradient), release=not retain_graph)
    with _adding:
        for variable, g in found.items():
            if variable.grad is not None and np.shape(variable.grad) != g.shape:
                raise ValueError(
                    f"{describe(variable)} has a .grad of shape {np.shape(variable.grad)}; "
                    "set it to None"
                )
        for variable, g in found.items():  # only now: a sweep that failed changes no gradient
            variable.grad = np.asarray(g if variable.grad is None else variable.grad + g)


def grad(output: Box, wrt: Any, gradient: Any = None, create_graph: bool = False) -> Any:
    """∂(output)/∂x for the tensor x = `wrt`, or a list of them for a list or tuple of tensors.

    The tensors may stand anywhere in the graph of `output`; where `output` does not depend on
    one, its gradient is zero. The graph is kept. `gradient` is ∂L/∂(output), needed where the
    output is not a single number. With `create_graph=True` the gradients are recorded
    computations themselves, to be differentiated again.

    Shapes:  each gradient has the shape and dtype of its x: an array, or with `create_graph=True`
             a Tensor
    Raises:  RuntimeError if nothing was recorded or the graph was released, ValueError for a
             gradient of another shape than the output's, TypeError if `wrt` is no recorded tensor
    Example:
        >>> import tinygrad_edu as tg
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> slope = tg.grad(x**3, x, create_graph=True)
        >>> slope.item(), tg.grad(slope, x).item()
        (27.0, 18.0)
    """
    several = isinstance(wrt, (list, tuple))
    targets = list(wrt) if several else [wrt]
    for x in targets:
        if not isinstance(x, Box) or x.record is None:
            raise TypeError(
                f"grad: wrt must be tensors that require a gradient, received {describe(x)}; "
                "give requires_grad=True to Tensor(...), or do not compute it under no_grad()"
            )
    if not create_graph:
        found = sweep(output, _seed(output, gradient), set(targets))
        own = np.asarray if len(set(targets)) == len(targets) else np.array
        gradients = [own(found[x]) if x in found else np.zeros_like(x.value) for x in targets]
    else:
        with recording(max(_mode.get(), ON)):
            found = sweep(output, _seed(output, gradient, True), set(targets), recorded=True)
        gradients = [found[x] if x in found else _box(np.zeros_like(x.value)) for x in targets]
    return gradients if several else gradients[0]


def _seed(output: Box, gradient: Any, recorded: bool = False) -> Any:
    """The error that the sweep starts from: 1, or what the caller gave, checked."""
    if not isinstance(output, Box):
        raise TypeError(
            f"only a tensor can be differentiated, received {describe(output)}; a gradient can if "
            "it was asked for with tg.grad(..., create_graph=True)"
        )
    if output.record is None:
        raise RuntimeError(
            f"there is nothing to go back through: {describe(output)} was computed from no tensor "
            "with requires_grad=True, or under no_grad(), or was detached"
        )
    y = output.value
    if gradient is None:
        if y.size != 1:
            raise ValueError(
                f"the gradient of an output of shape {y.shape} needs ∂L/∂(output): give "
                "`gradient` in that shape, or reduce the output to one number (sum, mean)"
            )
        one = np.array(1, y.dtype, ndmin=y.ndim)
        return _box(one) if recorded else one
    if recorded and isinstance(gradient, Box):
        given: Any = gradient
    else:
        given = np.array(gradient.value if isinstance(gradient, Box) else as_array(gradient))
        given = _box(given) if recorded else given
    if given.shape != y.shape:
        raise ValueError(f"gradient has shape {given.shape}, the output has {y.shape}")
    return fit(given, y)


def is_recording() -> bool:
    """Return False inside of `no_grad()`.

    Example:
        >>> with no_grad():
        ...     is_recording()
        False
    """
    return _mode.get() != OFF


class recording:
    """Set what is recorded in this thread or task: OFF, ON or ALL, until the block ends."""

    def __init__(self, mode: int):
        self._mode = mode

    def __enter__(self) -> None:
        _outer.set((*_outer.get(), _mode.get()))
        _mode.set(self._mode)

    def __exit__(self, *failure: object) -> None:
        *outer, before = _outer.get()
        _outer.set(tuple(outer))
        _mode.set(before)


class no_grad(recording):
    """Record nothing: results are constants. A context manager and a decorator.

    In force for the thread or asyncio task that it was entered in, and for the tasks that are
    started inside.

    Raises:  TypeError for a generator function, whose body runs when its caller is not in here
    Example:
        >>> import tinygrad_edu as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with tg.no_grad():
        ...     y = w * 2
        >>> y.requires_grad
        False
        >>> @tg.no_grad()
        ... def predict(x):
        ...     return x * w
        >>> predict(3.0).requires_grad
        False
    """

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)  # @no_grad, @no_grad()

    def __init__(self) -> None:
        super().__init__(OFF)

    def __call__(self, function: Function) -> Function:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"no_grad() cannot decorate the generator {function.__name__}; write "
                "`with no_grad():` around what it computes between its yields"
            )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def unrecorded(*args: Any, **kwargs: Any) -> Any:
                with recording(OFF):
                    return await function(*args, **kwargs)
        else:

            @wraps(function)
            def unrecorded(*args: Any, **kwargs: Any) -> Any:
                with recording(OFF):
                    return function(*args, **kwargs)

        return cast(Function, unrecorded)
