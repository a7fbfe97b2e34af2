"""Random problems of many sizes, each with its true gradients: what claims are held against.

A problem is a set of inputs for the author's own `forward`, the values of all the names that occur
in it (its arguments, and its local variables at the moment it returns), and the gradient of what
it returned with respect to each of them, found by the engine. The sizes of the inputs are given by
letters (`X="m n"`, `W1="n h"`) or read off example arrays. Most problems have sizes that all
differ, so that nothing fits by accident; some are special on purpose (m = 1, one output, two sizes
equal), to tell what holds only there.
"""

from __future__ import annotations

import inspect
import linecache
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import FrameType
from typing import Any

import numpy as np

from .. import engine
from ..arrays import Array
from ..engine import Box
from ..frames import observe
from ..gradients import grad
from ..recording import ON, recording
from ..tensor import Tensor
from .branches import Branch, Branches
from .evaluation import Evaluator
from .functions import own_function
from .guards import without_guards
from .inputs import (
    TARGETS,
    CannotCheck,
    Kind,
    Spec,
    choose_sizes,
    draw,
    letter_names,
    read_specs,
    size_letters,
)
from .rounding import spread
from .wording import Told, error_text

__all__ = [
    "TARGETS",
    "CannotCheck",
    "Problem",
    "Spec",
    "choose_sizes",
    "make_problem",
    "read_specs",
    "separate",
    "size_letters",
    "solve",
]


@dataclass
class Problem:
    """Inputs, the values of all names, and the gradients that are right.

    sizes       the length of each letter
    inputs      by the name of the argument of `forward`
    names       the values of all names that a claim may use
    gradients   by name, for all that the loss depends on
    order       of the gradients, from the loss inwards
    operations  those that the loss was computed by
    branches    the sides of thresholds: was each one reached?
    saturated   the largest argument of an operation that is constant far out, such as tanh
    recorded    the loss and the names as recorded tensors

    Example:
        >>> problem = solve(lambda w: (w * w).sum(), {"w": np.array([1.0, 2.0])})
        >>> problem.gradients["w"]
        array([2., 4.])
    """

    sizes: dict[str, int]
    inputs: dict[str, Any]
    names: dict[str, Any]
    gradients: dict[str, Array]
    order: list[str]
    loss: float
    operations: dict[str, Any] = field(default_factory=dict)
    branches: dict[Branch, bool] = field(default_factory=dict)
    saturated: float = 0.0
    recorded: tuple[Box, dict[str, Box]] | None = field(default=None, repr=False)
    returned: list[str] = field(default_factory=list)
    evaluator: Evaluator = field(init=False)
    _spreads: dict[str, Array] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        own = {name: own_function(f) for name, f in self.operations.items()}
        self.evaluator = Evaluator(self.names, own)

    def forget(self) -> None:
        """Forget what claims were worth."""
        self.evaluator = Evaluator(self.names, self.evaluator.functions)

    def spread(self, name: str) -> Array:
        """Return the size of the terms behind each entry of a gradient; see `rounding`."""
        if self._spreads is None:
            assert self.recorded is not None
            with np.errstate(all="ignore"):
                self._spreads = spread(*self.recorded)
        return self._spreads[name]

    @cached_property
    def unguarded(self) -> dict[str, Array]:
        """The gradients without the tiny numbers that `forward` adds; empty if it adds none."""
        return {} if self.recorded is None else without_guards(*self.recorded)

    @cached_property
    def scale(self) -> float:
        """The largest entry of all gradients."""
        return max((float(abs(g).max(initial=0.0)) for g in self.gradients.values()), default=0.0)

    @property
    def is_finite(self) -> bool:
        """Return True if the loss and all its gradients are finite."""
        return bool(
            np.isfinite(self.loss) and all(np.isfinite(g).all() for g in self.gradients.values())
        )


def separate(
    forward: Callable[..., Any], specs: Mapping[str, Spec]
) -> tuple[dict[str, Spec], set[str]]:
    """Letters of their own for axes of example arrays that only happen to be equally long, and the
    letters of which that could not be found out.

    A 5 × 5 example says nothing about which of its axes belong together; `forward` does: an axis is
    made longer, and with it, one after the other, those with which `forward` gets further, until it
    runs to its end.

    Example:
        >>> specs = read_specs({"X": np.ones((3, 3)), "w": np.ones(3)})
        >>> found, unclear = separate(lambda X, w: (X @ w).sum(), specs)
        >>> {name: s.axes for name, s in found.items()}, unclear
        ({'X': ('m', 'n'), 'w': ('n',)}, set())
    """
    found, unclear = dict(specs), set()
    for letter in size_letters(specs):
        places = [place for place in _read_off(specs) if specs[place[0]].axes[place[1]] == letter]
        while len(places) > 1:
            taken = {*size_letters(found), *specs}
            new = next(c for c in letter_names() if c not in taken)
            tried = (_belong(forward, found, places, start, new) for start in reversed(places))
            together = next(filter(None, tried), None)
            if together is None:
                unclear.add(letter)
                break
            places = [place for place in places if place not in together]
            found = _renamed(found, together, new) if places else found
    return found, unclear


def _read_off(specs: Mapping[str, Spec]) -> list[tuple[str, int]]:
    """The axes whose length was read off an example or a shape, and not said by a letter."""
    found = []
    for name, spec in specs.items():
        shape = spec.example
        for i in range(len(spec.axes)):
            said = isinstance(shape, tuple) and isinstance(shape[i], str)
            if isinstance(shape, (np.ndarray, tuple)) and not said:
                found.append((name, i))
    return found


def _belong(
    forward: Callable[..., Any],
    specs: Mapping[str, Spec],
    places: Sequence[tuple[str, int]],
    start: tuple[str, int],
    letter: str,
) -> list[tuple[str, int]] | None:
    """The axes that have to be as long as the one at the start; None if it is not clear."""
    together = [start]
    while len(together) < len(places):
        progress = _progress(forward, _renamed(specs, together, letter))
        if progress == math.inf:
            return together
        best, place = max(
            (_progress(forward, _renamed(specs, [*together, place], letter)), place)
            for place in places
            if place not in together
        )
        if best <= progress:
            return None
        together.append(place)
    return together


def _renamed(
    specs: Mapping[str, Spec], places: Sequence[tuple[str, int]], letter: str
) -> dict[str, Spec]:
    return {
        name: replace(s, axes=tuple(letter if (name, i) in places else axis
                                    for i, axis in enumerate(s.axes)))
        for name, s in specs.items()
    }  # fmt: skip


def _progress(forward: Callable[..., Any], specs: Mapping[str, Spec]) -> float:
    """How many operations `forward` gets through; infinity if it comes to its end."""
    _, sizes = choose_sizes(size_letters(specs), 1)[0]
    before = engine.variable_record()[0]  # the age of what is recorded now
    try:
        make_problem(forward, specs, sizes, {}, np.random.default_rng(0))
    except CannotCheck:
        return engine.variable_record()[0] - before
    return math.inf


def make_problem(
    forward: Callable[..., Any],
    specs: Mapping[str, Spec],
    sizes: Mapping[str, int],
    kinds: Mapping[str, Kind],
    rng: Any,
    whole: bool = False,
    stretch: Mapping[str, Callable[[Array], Array]] | None = None,
) -> Problem:
    """Return a problem of the given sizes; `kinds` and `stretch` by the name of the input.

    Example:
        >>> specs = read_specs({"w": "n"})
        >>> f = lambda w: (w * w).sum()
        >>> make_problem(f, specs, {"n": 2}, {}, np.random.default_rng(0)).gradients["w"].shape
        (2,)
    """
    changes = stretch or {}
    inputs = {
        name: draw(
            name, spec, sizes, kinds.get(name) or usual_kind(spec), rng, whole, changes.get(name)
        )
        for name, spec in specs.items()
    }
    return solve(forward, inputs, sizes)


def usual_kind(spec: Spec) -> Kind:
    """Return the kind of an input where nothing is known of how `forward` uses it.

    Classes lie along the last axis that is not of length 1. A column of probabilities is one of
    independent numbers.

    Example:
        >>> usual_kind(Spec(("k", 1), "onehot")), usual_kind(Spec(("m", "k"), None))
        (Kind(name='onehot', axis=0), Kind(name='real', axis=None))
    """
    if spec.kind == "onehot":
        along = [spec.axis] if spec.axis is not None else spec.class_axes
        return Kind("onehot", along[0] if along else len(spec.axes) - 1)
    if spec.kind == "probability" and spec.axis is None:
        rows = bool(spec.axes) and spec.axes[-1] != 1
        return Kind("probability", len(spec.axes) - 1 if rows else None)
    return Kind(spec.kind or "real", spec.axis)


def solve(
    forward: Callable[..., Any], inputs: Mapping[str, Any], sizes: Mapping[str, int] | None = None
) -> Problem:
    """Run `forward` on the inputs, note what its names stand for, and differentiate.

    Raises:  CannotCheck if it fails or does not return one number that depends on its inputs
    Example:
        >>> def forward(x):
        ...     y = x * 3
        ...     return (y * y).sum()
        >>> problem = solve(forward, {"x": np.array([1.0])})
        >>> problem.order, problem.gradients["y"]
        (['y', 'x'], array([6.]))
    """
    tensors: dict[str, Any] = {
        name: Tensor(x, requires_grad=True)
        if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        else x
        for name, x in inputs.items()
    }
    with Branches() as branches:
        loss, found = _run(forward, tensors)
    if not isinstance(loss, Box) or loss.value.size != 1 or loss.record is None:
        raise CannotCheck("not-a-loss", what=_what(loss))
    found = {**found, **tensors}
    names, nodes = _values(found, loss)
    for letter, size in (sizes or {}).items():
        names.setdefault(letter, size)
    if "m" not in names and (rows := [np.shape(x)[0] for x in inputs.values() if np.ndim(x) > 1]):
        names["m"] = rows[0]
    history = engine.recorded_results(loss)
    members = {*history, *(t for t in tensors.values() if isinstance(t, Box))}
    nodes = {name: x for name, x in nodes.items() if x in members}
    try:
        with np.errstate(all="ignore"):
            gradients = grad(loss, list(nodes.values()))
    except Exception as error:  # of a rule: np.std(x, ddof=1) of one row divides by 0
        raise CannotCheck("gradient-fails", error=error_text(error)) from error
    return Problem(
        dict(sizes or {}),
        dict(inputs),
        names,
        dict(zip(nodes, gradients, strict=True)),
        _from_the_loss(nodes, history),
        float(loss.value.item()),
        {node.record[1].name: node.record[1].forward for node in history},
        branches.sides,
        branches.saturated,
        (loss, nodes),
        [name for name, x in found.items() if x is loss],
    )


def _values(found: Mapping[str, Any], loss: Any) -> tuple[dict[str, Any], dict[str, Box]]:
    """The plain values of all names, and those that are recorded tensors."""
    names: dict[str, Any] = {}
    nodes: dict[str, Box] = {}
    returned = [name for name, x in found.items() if x is loss]
    names.update(dict.fromkeys(returned, float(loss.value.item())))
    for name, x in found.items():
        if x is loss:
            continue
        if isinstance(x, Box):
            names[name] = x.value
            if x.record is not None:
                nodes[name] = x
        elif isinstance(x, (bool, int, float, np.ndarray, np.generic)):
            names[name] = x
    return names, nodes


# --- the axis of the classes ----------------------------------------------------------------------


def axes_of_classes(
    forward: Callable[..., Any], specs: Mapping[str, Spec], names: Sequence[str]
) -> dict[str, int]:
    """Return, for each of these inputs, the axis along which `forward` normalises its predictions.

    Predictions are what has the shape of the input, or its transpose: numbers that add up to 1
    along one axis, their logarithms, or what softmax, log-softmax or log-sum-exp are taken of. An
    input of which nothing of the kind is found, or more than one axis, is left out.

    Example:
        >>> import tinygrad_edu as tg
        >>> def forward(X, Y, W):
        ...     A = tg.softmax(W @ X, axis=0)
        ...     return -(Y * np.log(A)).sum()
        >>> specs = read_specs({"X": "n m", "Y": "k m onehot", "W": "k n"})
        >>> axes_of_classes(forward, specs, ["Y"])
        {'Y': 0}
    """
    _, sizes = choose_sizes(size_letters(specs), 1)[0]
    rng = np.random.default_rng(0)
    free = {name: Kind("probability") for name in names}
    kinds = [free, *({n: Kind("onehot", specs[n].class_axes[i]) for n in names} for i in (0, -1))]
    history: list[Box] = []
    for chosen in kinds:  # cross_entropy wants targets that add up to 1
        try:
            problem = make_problem(forward, specs, sizes, chosen, rng)
        except CannotCheck:
            continue
        assert problem.recorded is not None
        history = engine.recorded_results(problem.recorded[0])
        break
    found = {}
    for name in names:
        shape = tuple(n if isinstance(n, int) else sizes[n] for n in specs[name].axes)
        axes = {axis for node in history for axis in _normalised(node, shape)}
        if len(axes) == 1:
            found[name] = axes.pop()
    return found


def _normalised(node: Box, shape: tuple[int, ...]) -> Iterator[int]:
    """The axes of an array of this shape along which a result, or its exponential, adds up to 1."""
    _, op, args, raw, settings = node.record
    if op.name in _ALONG or (op.name == "sum" and _is_exponential(args[0])):
        axis = settings.get("axis", -1)
        yield from _axes_in(shape, np.shape(raw[0]), -1 if axis is None else axis)
    x = node.value
    for array in (x, np.exp(x)) if x.size and x.max() <= 0 else (x,):
        if array.min(initial=0.0) >= 0:
            for axis in range(x.ndim):
                sums = array.sum(axis=axis)
                if x.shape[axis] > 1 and sums.size and np.allclose(sums, 1, rtol=0, atol=1e-9):
                    yield from _axes_in(shape, x.shape, axis)


_ALONG = {"softmax", "log_softmax", "logsumexp", "cross_entropy"}


def _is_exponential(x: Any) -> bool:
    return isinstance(x, Box) and x.record is not None and x.record[1].name == "exp"


def _axes_in(shape: tuple[int, ...], found: tuple[int, ...], axis: Any) -> Iterator[int]:
    """An axis of an array as an axis of a shape that is the array's or its transpose's."""
    if isinstance(axis, int) and found:
        axis %= len(found)
        if found == shape and shape[axis] > 1:
            yield axis
        elif found == shape[::-1] and found[axis] > 1:
            yield len(shape) - 1 - axis


def _from_the_loss(nodes: Mapping[str, Box], history: list[Box]) -> list[str]:
    """The names by the age of what they stand for; an input is as old as its youngest use."""
    age: dict[int, float] = {}
    for node in history:
        for arg in node.record[2]:
            age[id(arg)] = node.record[0] - 0.5
    own = {id(node): float(node.record[0]) for node in history}
    return sorted(
        nodes, key=lambda name: -(own.get(id(nodes[name])) or age.get(id(nodes[name]), 0))
    )


def _what(x: Any) -> Told:
    """The word for what is no loss."""
    if x is None:
        return Told("nothing")
    if not isinstance(x, Box):
        return Told("a-kind", kind=type(x).__name__)
    return Told("a-constant") if x.value.size == 1 else Told("shape-of", shape=x.value.shape)


def _run(forward: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The result of `forward`, and the local variables of it and of what it calls in its file."""
    try:
        parameters = inspect.signature(forward).parameters
    except (TypeError, ValueError) as error:
        raise CannotCheck("not-a-function", error=error) from None
    lacking = [
        name
        for name, p in parameters.items()
        if name not in arguments and p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]  # fmt: skip
    if lacking:
        known = {"names": ", ".join(parameters), "lacking": ", ".join(lacking)}
        raise CannotCheck("forward-takes", **known)
    by_place = [arguments[n] for n, p in parameters.items() if p.kind is p.POSITIONAL_ONLY]
    by_name = {
        n: arguments[n]
        for n, p in parameters.items()
        if n in arguments and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    code = getattr(inspect.unwrap(getattr(forward, "__func__", forward)), "__code__", None)
    inner: dict[str, Any] = {}
    outer: dict[str, Any] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and code is not None and frame.f_code.co_filename == code.co_filename:
            place = outer if frame.f_code is code else inner
            local = frame.f_locals
            if isinstance(holder := local.get("self"), object) and hasattr(holder, "__dict__"):
                place.update({k: v for k, v in vars(holder).items() if not k.startswith("_")})
            place.update({k: v for k, v in local.items() if not k.startswith("_") and k != "self"})

    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(), recording(ON):
            warnings.simplefilter("ignore", RuntimeWarning)  # it is run many times
            loss = observe(note, forward, *by_place, **by_name)
    except Exception as error:
        if line := _filling(error, code):
            raise CannotCheck("fills-array", line=line) from error
        raise CannotCheck("forward-fails", error=error_text(error)) from error
    return loss, {**inner, **outer}


_INTO_ENTRY = re.compile(r"(?:^|[:;])\s*[\w.]+\s*\[.*\]\s*[-+*/@]?=(?!=)")


def _filling(error: Exception, code: Any) -> str:
    """The line of `forward` that failed, if it is one that puts a tensor into an array."""
    line, trace = "", error.__traceback__
    if not isinstance(error, TypeError) and "sequence" not in str(error):
        return ""
    while trace is not None and code is not None:
        frame = trace.tb_frame
        if frame.f_code.co_filename == code.co_filename:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
        trace = trace.tb_next
    return line if _INTO_ENTRY.search(line) else ""
