"""The engine: record what is computed, then sweep back over the records.

Read this file first. `gradients.py` beside it holds the two functions that start a sweep,
`backward` and `grad`; the rest of the library only declares operations or reads records.

A *primitive* is a NumPy function together with one derivative rule for each of its array arguments.
Called with arrays it is that NumPy function. Called with a tensor it also leaves a *record* in its
result: which operation it was, and with which arguments. A leaf variable has a record from the
start; a result has one if an argument has one, except under `no_grad()` (see
`recording.should_record`). A tensor refers to the tensors it was computed from, never the other way
round. So there are no reference cycles, and dropping a result frees everything that only it refers
to.

`sweep` starts from the error at the output (∂L/∂L = 1) and visits the records, youngest first. Each
rule turns the error at an operation's output into the error at one of its inputs. Errors that reach
the same tensor along several paths are added. This is the chain rule.

Rules are written with operators, so the same line runs on arrays (fast) and on tensors. On tensors
the gradient is itself a recorded graph, which can be differentiated again, printed or checked. No
rule handles broadcasting or dtypes: `unbroadcast` does so, for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import update_wrapper
from itertools import count, repeat
from operator import attrgetter, is_
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy import ndarray

from .arrays import Array, describe, summed_to
from .operation import Op, Primitive, Rule
from .recording import should_record

_new = object.__new__
tick = count(1).__next__  # the next age; ages count the results of all threads

# (age, operation, arguments, the arguments as arrays, settings). The arrays are stored beside the
# arguments because a tensor may be assigned new data between the forward pass and the sweep. They
# are not copies: an array that is overwritten in place gives a wrong gradient (see `anomaly`).
Record = tuple[int, Op, tuple[Any, ...], Sequence[Any], dict[str, Any]]


class Observer(Protocol):
    """An object that is notified of every call and every rule, in all threads; see `anomaly`."""

    def called(self, op: Op, args: Any, raw: Any, settings: Any, result: Box) -> None:
        """Called after an operation ran on a tensor."""

    def ruled(self, record: Record, y: Array, g: Any, arg: Box, error: Any) -> None:
        """Called after a rule turned the error g at the output into the error at `arg`."""


observers: list[Observer] = []
hooks: dict[int, Callable[[Any], Any]] = {}  # id of a tensor: maps its error to a new one


class Box:
    """An array and the record of how it was computed. `Tensor` adds operators and methods."""

    __slots__ = ("__weakref__", "grad", "name", "record", "value")
    value: Array
    record: Any  # a Record, or None for a constant
    grad: Array | None  # the gradient that `backward` left
    name: str | None  # the name in messages and formulas
    results: ClassVar[type[Box]]  # the class of the results of primitives: Tensor

    def __init_subclass__(cls, results: bool = False) -> None:
        if results:
            Box.results = cls


def box(value: Array, record: Record | None = None) -> Box:
    """Return a tensor with this array and record."""
    result = _new(Box.results)
    result.value = value
    result.record = record
    result.grad = result.name = None
    return result


# --- recording ------------------------------------------------------------------------------------


def primitive(
    *rules: Rule | None, doc: str | None = None, activation: bool = False
) -> Callable[..., Primitive]:
    """Declare an operation: a NumPy function with one derivative rule for each array argument.

        rule(g, y, *arrays, **settings)  ->  the error at that array

    g is the error at the output (∂L/∂y), y the output. The rest are the arguments of the function,
    defaults filled in. A rule may use operators, `.T .mT .shape .sum() .reshape()`, NumPy's
    functions and other primitives: whatever arrays and tensors both have. It need not handle
    broadcasting or dtypes. It returns a new array or a view of one of its arguments. None stands
    for "no derivative". Neither the rule nor the function may change its arguments; if one of them
    is a tensor, the function gets read-only arrays.

    The arrays are the function's parameters before `/`; without a `/`, those without a default.
    All other parameters are settings. A function of `*arrays` has one rule for all of them,
    `rule(i, g, y, *arrays, **settings)`, where i is the index of the array. A NumPy ufunc may be
    declared as it is, with its documentation in `doc`. `activation=True` marks the activation of a
    layer: `explain` names its result A1 if its argument is Z1.

    Raises:  TypeError at once if the number of rules or their parameters do not fit; called with a
             tensor, ValueError for a function that overwrites its arguments
    Source:  "a primitive and one rule per argument" is autodidact's (M. Johnson, D. Maclaurin).
    Example:
        >>> @primitive(lambda g, y, x: 3 * g * x * x)
        ... def cube(x):
        ...     return x**3
        >>> cube(np.array([1.0, 2.0]))
        array([1., 8.])
    """

    def declare(forward: Callable[..., Any]) -> Primitive:
        op = Op(forward, rules, activation)
        arity = None if op.settings else op.arity  # of a call that needs no binding

        def call(*args: Any, **settings: Any) -> Any:
            if settings or len(args) != arity:
                args, settings = op.bind(args, settings)
            raw: list[Any] = []
            has_tensor = depends = convert = False
            for arg in args:
                if isinstance(arg, Box):
                    has_tensor = True
                    depends = depends or arg.record is not None
                    raw.append(arg.value)
                else:
                    convert = convert or type(arg) is not float
                    raw.append(arg)
            if not has_tensor:
                return forward(*args, **settings)
            value = op.run(args, raw, settings, convert)
            record = None
            if should_record(op.differentiable, depends):
                if value.dtype.kind != "f":
                    op.check_kind(args, raw, value)
                record = (tick(), op, args, raw, settings)
            result = box(value, record)
            for observer in observers[:]:
                observer.called(op, args, raw, settings, result)
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


def _variable() -> None:
    """Placeholder operation in the record of a leaf variable."""


def _released() -> None:
    """Placeholder operation in a record that `backward` has released."""


VARIABLE, RELEASED = Op(_variable, ()), Op(_released, ())
_RELEASED: Record = (0, RELEASED, (), (), {})  # older than any other


def variable_record() -> Record:
    """Return the record of a leaf variable."""
    return (tick(), VARIABLE, (), (), {})


@primitive(lambda g, y, x: g)
def as_recorded(x: Any, /) -> Any:
    """Return x: the array that a record holds, where its tensor has been given new data since."""
    return x


# --- the sweep ------------------------------------------------------------------------------------


def recorded_results(output: Box) -> list[Box]:
    """Return all results of recorded operations that led to `output`, itself too, oldest first.

    A result is younger than its arguments, so in this order each comes after all of them. A stack
    in place of recursion: a graph may be deeper than Python's call stack.
    """
    seen = {output} if output.record[1] is not VARIABLE else set()
    stack = [*seen]
    while stack:
        for arg in stack.pop().record[2]:
            if not isinstance(arg, Box) or (record := arg.record) is None or arg in seen:
                continue
            if record[1] is not VARIABLE:
                seen.add(arg)
                stack.append(arg)
    return sorted(seen, key=attrgetter("record"))  # by age, the first entry of a record


def sweep(
    output: Box, error: Any, wanted: Collection[Box] | None = None, *, release: bool = False
) -> dict[Box, Any]:
    """Return the errors ∂L/∂x at the wanted tensors (None: at all variables), given ∂L/∂output.

    error     ∂L/∂output. If it is a tensor, the rules run on tensors, so that the errors are
              recorded results themselves
    release   drop each record at its visit, so that memory is freed as early as possible

    Raises:  RuntimeError if the graph was released before
    """
    nodes = recorded_results(output)
    if nodes and nodes[0].record is _RELEASED:
        raise RuntimeError(
            "a part of this graph was released by an earlier backward(), also if that failed on "
            "the way; compute it again, or call backward(retain_graph=True) the first time"
        )
    needed = None if wanted is None else depending_on(nodes, wanted)
    kept = wanted or ()
    errors = {output: error}
    while nodes:
        node = nodes.pop()  # youngest first; with `release`, nothing else refers to it
        g = errors.pop(node, None)
        if g is None:
            continue
        if hooks:
            g = _after_hooks(node, g)
        if node in kept:
            errors[node] = g
        record = node.record
        if release:
            node.record = _RELEASED
        _pass_back(g, node, record, errors, kept, needed)
    if hooks:  # the error at a variable is complete only now
        for x, g in errors.items():
            if x.record[1] is VARIABLE:
                errors[x] = _after_hooks(x, g)
    return errors


def _after_hooks(x: Box, g: Any) -> Any:
    """Return the error g at x, or the one by which a hook of x has replaced it."""
    return hooks[id(x)](g) if id(x) in hooks else g


def _pass_back(
    g: Any, node: Box, record: Record, errors: Any, kept: Collection[Box], needed: Any
) -> None:
    """Add to `errors` what the rules of one operation make of the error g at its result `node`."""
    age, op, args, raw, settings = record
    y: Any = node.value
    inputs: Sequence[Any] = raw
    if recorded := isinstance(g, Box):
        y, inputs = node, [*map(_as_it_was, args, raw)]
    rules = op.rules if op.arity is not None else op.rules_for(args)
    for rule, arg, x in zip(rules, args, raw, strict=True):
        if rule is None or not isinstance(arg, Box) or (origin := arg.record) is None:
            continue
        if needed is not None and arg not in needed:
            continue
        if origin[0] > age:
            raise RuntimeError(
                f"{describe(arg)} was given requires_grad=True after it had been used by {op}, "
                "where a part of its gradient may not have been recorded; set it before"
            )
        try:
            new = rule(g, y, *inputs, **settings)
            if type(new) is not ndarray or new.dtype is not x.dtype or new.shape != x.shape:
                new = unbroadcast(new, x)
            if recorded and not isinstance(new, Box):  # a constant, whose own derivative is 0
                new = box(new)
        except Exception as failure:
            failure.add_note(
                f"in the rule of {op} for {describe(arg)}, with {describe(g)} at its output"
            )
            raise
        for observer in observers[:]:
            observer.ruled(record, node.value, g, arg, new)
        if (before := errors.get(arg)) is not None:
            new = before + new  # never in place: two tensors may share this array
        elif (origin[1] is VARIABLE or arg in kept) and _is_shared(new, record, node.value, g):
            new = new.copy()  # the caller may write to it
        errors[arg] = new


def _is_shared(new: Any, record: Record, y: Array, g: Any) -> bool:
    """Return True if an error is an array that the record refers to, or the error g, or a view."""
    _, _, _, raw, settings = record
    if isinstance(new, Box):  # tensors are not written to
        return False
    return new.base is not None or any(map(is_, repeat(new), (g, y, *raw, *settings.values())))


def unbroadcast(g: Any, x: Array) -> Any:
    """Return the error g in the shape and dtype of the array x to which it belongs.

    Where x was broadcast, g is summed over the copies: for a bias this is the slides' 1ᵀE. The
    dtype is cast, so that the gradient of a float32 tensor is float32.

    Raises:  TypeError if g is not one array of real numbers
    """
    if isinstance(g, Box):
        tensor: Any = g  # a Tensor, whose methods record
        tensor = tensor if tensor.shape == x.shape else tensor.sum_to(x.shape)
        return tensor if tensor.dtype == x.dtype else tensor.astype(x.dtype)
    array = np.asarray(g)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"the error at a real array must be real, received {array.dtype}"
            + (", nothing at all (does the rule return something?)" if g is None else "")
        )
    if array.shape != x.shape:
        if isinstance(g, (tuple, list)):  # the sum of its parts would be wrong
            raise TypeError(
                f"a rule gives one error, at {describe(x)}, received a {type(g).__name__} of "
                f"{len(g)}; write one rule for each array"
            )
        array = summed_to(array, x.shape)
    return array if array.dtype == x.dtype else array.astype(x.dtype)


def depending_on(nodes: Iterable[Box], wanted: Iterable[Box]) -> set[Box]:
    """Return the wanted tensors and those of `nodes` that were computed from them."""
    needed = set(wanted)
    for node in nodes:
        _, op, args, *_ = node.record
        if op.differentiable and any(isinstance(arg, Box) and arg in needed for arg in args):
            needed.add(node)
    return needed


def _as_it_was(arg: Any, x: Any) -> Any:
    """Return the argument of a record as a tensor with the array x that was used then."""
    if isinstance(arg, Box):
        return arg if arg.value is x else box(x, (tick(), as_recorded.op, (arg,), (x,), {}))
    return x
