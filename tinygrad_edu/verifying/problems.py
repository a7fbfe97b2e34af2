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
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, count
from types import FrameType
from typing import Any

import numpy as np

from .. import engine
from ..engine import Array, Box
from ..tensor import Tensor
from .evaluation import Evaluator
from .functions import own_function
from .wording import Told

__all__ = ["CannotCheck", "Problem", "Spec", "make_problem", "read_specs", "separate", "solve"]

TARGETS = {"Y", "y", "T", "t", "target", "targets", "Target", "Targets"}
KINDS = ("real", "positive", "probability", "binary", "onehot", "labels")


class CannotCheck(Told):
    """There is nothing that claims could be held against, with the reason.

    Example:
        >>> read_specs({"X": "m n nonsense!"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        tinygrad_edu...CannotCheck: X='m n nonsense!': expected letters for sizes and at \
most one of real, positive, probability, binary, onehot, labels
    """


@dataclass(frozen=True)
class Spec:
    """An input: the length of each axis (a letter or a number), and what its entries are.

    Example:
        >>> read_specs({"Y": "m k onehot"})["Y"]
        Spec(axes=('m', 'k'), kind='onehot', example=None)
    """

    axes: tuple[str | int, ...]
    kind: str | None  # one of KINDS; None: real, or what suits a target
    example: Any = None  # of a number: the number


@dataclass
class Problem:
    """Inputs, the values of all names, and the gradients that are right.

    Example:
        >>> problem = solve(lambda w: (w * w).sum(), {"w": np.array([1.0, 2.0])})
        >>> problem.gradients["w"]
        array([2., 4.])
    """

    sizes: dict[str, int]
    inputs: dict[str, Any]
    names: dict[str, Any]
    gradients: dict[str, Array]
    order: list[str]  # of the gradients, from the loss inwards
    loss: float
    operations: dict[str, Any] = field(default_factory=dict)  # that the loss was computed by
    scale: float = 1.0  # of the gradients, where all are small: what counts as 0
    evaluator: Evaluator = field(init=False)

    def __post_init__(self) -> None:
        own = {name: own_function(f) for name, f in self.operations.items()}
        self.evaluator = Evaluator(self.names, own)


def read_specs(inputs: Mapping[str, Any]) -> dict[str, Spec]:
    """What is said about each input: letters, an example array, or a number.

    Raises:  CannotCheck for text that is no list of sizes
    Example:
        >>> read_specs({"X": np.ones((4, 3)), "m": 4})["X"].axes
        ('m', 'n')
    """
    specs: dict[str, Spec] = {}
    letters = _letters({k: x for k, x in inputs.items() if not isinstance(x, (str, int, float))})
    for name, given in inputs.items():
        if isinstance(given, str):
            specs[name] = _read_spec(name, given)
        elif isinstance(given, (bool, int, float)) and not isinstance(given, np.generic):
            specs[name] = Spec((), None, given)
        else:
            array = engine.as_array(given.value if isinstance(given, Box) else given)
            axes = tuple(1 if n == 1 else letters[n] for n in array.shape)
            kind = _kind_of(array)
            if kind == "labels":
                classes = int(array.max(initial=0)) + 1
                specs[name] = Spec((*axes, letters.get(classes, classes)), "labels", array)
            else:
                specs[name] = Spec(axes, kind, array)
    return specs


def _read_spec(name: str, text: str) -> Spec:
    words = text.replace(",", " ").replace("(", " ").replace(")", " ").split()
    kinds = [word for word in words if word in KINDS]
    axes = [int(w) if w.isdigit() else w for w in words if w not in KINDS]
    if (
        len(kinds) > 1
        or any(
            isinstance(axis, str) and not re.fullmatch(r"[A-Za-z]\w{0,7}", axis) for axis in axes
        )
        or any(isinstance(axis, int) and not 1 <= axis <= 1000 for axis in axes)
    ):
        raise CannotCheck("bad-sizes", name=name, text=text, kinds=", ".join(KINDS))
    if kinds == ["labels"] and not axes:
        raise CannotCheck("labels-classes", name=name, text=text)
    return Spec(tuple(axes), kinds[0] if kinds else None)


def _letters(examples: Mapping[str, Any]) -> dict[int, str]:
    """A letter for each length: m for the rows of the first matrix, then n, h, k, …"""
    shapes = [np.shape(x.value if isinstance(x, Box) else x) for x in examples.values()]
    sizes = list(dict.fromkeys(n for shape in shapes for n in shape if n != 1))
    return dict(zip(sizes, (c for c in _letter_names() if c not in examples), strict=False))


def _letter_names() -> Iterator[str]:
    return chain("mnhkpqrstuvw", (f"s{i}" for i in count()))


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
        places = [(name, i) for name, s in specs.items() if isinstance(s.example, np.ndarray)
                  for i, axis in enumerate(s.axes) if axis == letter]  # fmt: skip
        while len(places) > 1:
            taken = {*size_letters(found), *specs}
            new = next(c for c in _letter_names() if c not in taken)
            tried = (_belong(forward, found, places, start, new) for start in reversed(places))
            together = next(filter(None, tried), None)
            if together is None:
                unclear.add(letter)
                break
            places = [place for place in places if place not in together]
            found = _renamed(found, together, new) if places else found
    return found, unclear


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


def _kind_of(array: Array) -> str | None:
    if array.size == 0:
        raise CannotCheck("no-entries")
    if array.dtype.kind in "iu" and array.ndim == 1 and array.min() >= 0 and array.max() > 1:
        return "labels"
    if np.isin(array, (0, 1)).all():
        if array.ndim == 2 and array.shape[1] > 1 and (array.sum(axis=1) == 1).all():
            return "onehot"
        return (
            "binary"
            if ((array == 0).any() and array.dtype.kind != "f") or array.ndim == 2
            else None
        )
    return None


def draw(name: str, spec: Spec, sizes: Mapping[str, int], kind: str, rng: Any, whole: bool) -> Any:
    """A random value for an input; `whole`: of small whole numbers.

    Example:
        >>> draw("X", Spec(("m", 2), None), {"m": 3}, "real", np.random.default_rng(0), True).shape
        (3, 2)
    """
    if not spec.axes and spec.example is not None and not isinstance(spec.example, np.ndarray):
        x = spec.example
        if isinstance(x, float) and not whole:
            return x * float(rng.uniform(0.5, 2.0)) if x else x
        return x
    shape = tuple(n if isinstance(n, int) else sizes[n] for n in spec.axes)
    if kind == "labels":
        return rng.integers(0, shape[-1], shape[:-1])
    if kind == "onehot":
        return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(float)
    if whole:
        x = rng.integers(1, 3, shape) if kind == "positive" else rng.integers(-2, 3, shape)
        return np.asarray(x / (4.0 if kind == "probability" else 1.0))
    if kind == "positive":
        return rng.uniform(0.3, 2.0, shape)
    if kind == "probability":
        return rng.uniform(0.1, 0.9, shape)
    if not shape:
        return np.array(rng.uniform(0.5, 2.0))
    return rng.normal(size=shape)


def size_letters(specs: Mapping[str, Spec]) -> list[str]:
    """The letters of all sizes, in the order in which they occur.

    Example:
        >>> size_letters(read_specs({"X": "m n", "W": "n k"}))
        ['m', 'n', 'k']
    """
    return list(dict.fromkeys(a for s in specs.values() for a in s.axes if isinstance(a, str)))


def choose_sizes(letters: Sequence[str], general: int) -> list[tuple[str, dict[str, int]]]:
    """Sizes to try with what is special about them: "" where all differ, else "k = 1", "n = k" …

    Example:
        >>> choose_sizes(["m", "n"], 1)
        [('', {'m': 5, 'n': 3}), ('m = 1', {'m': 1, 'n': 3}), ('n = 1', {'m': 5, 'n': 1}), \
('m = n', {'m': 5, 'n': 5}), ('m = n', {'m': 3, 'n': 3})]
    """
    base = [5, 3, 4, 2, 6, 7, 8, 9, 10, 11, 12, 13]
    base += list(range(14, 14 + max(0, len(letters) - len(base))))
    found: list[tuple[str, dict[str, int]]] = []
    rng = np.random.default_rng(7)
    for i in range(general):
        sizes = base[: len(letters)] if i == 0 else (rng.permutation(len(letters) + 3) + 2).tolist()
        found.append(("", dict(zip(letters, sizes, strict=False))))
    first = found[0][1]
    for letter in letters:
        for _, sizes in found[: min(2, general)]:
            found.append((f"{letter} = 1", {**sizes, letter: 1}))
    for a, b in combinations(letters[:6], 2):
        found.append((f"{a} = {b}", {**first, a: first[a], b: first[a]}))
        found.append((f"{a} = {b}", {**first, a: first[b], b: first[b]}))
    return found


def make_problem(
    forward: Callable[..., Any],
    specs: Mapping[str, Spec],
    sizes: Mapping[str, int],
    kinds: Mapping[str, str],
    rng: Any,
    whole: bool = False,
) -> Problem:
    """A problem of the given sizes.

    Example:
        >>> specs = read_specs({"w": "n"})
        >>> f = lambda w: (w * w).sum()
        >>> make_problem(f, specs, {"n": 2}, {}, np.random.default_rng(0)).gradients["w"].shape
        (2,)
    """
    inputs = {
        name: draw(name, spec, sizes, kinds.get(name) or spec.kind or "real", rng, whole)
        for name, spec in specs.items()
    }
    return solve(forward, inputs, sizes)


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
    loss, found = _run(forward, tensors)
    if not isinstance(loss, Box) or loss.value.size != 1 or loss.record is None:
        raise CannotCheck("not-a-loss", what=_what(loss))
    found = {**found, **tensors}
    names: dict[str, Any] = {}
    nodes: dict[str, Box] = {}
    for name, x in found.items():
        if x is loss:
            continue
        if isinstance(x, Box):
            names[name] = x.value
            if x.record is not None:
                nodes[name] = x
        elif isinstance(x, (bool, int, float, np.ndarray, np.generic)):
            names[name] = x
    for letter, size in (sizes or {}).items():
        names.setdefault(letter, size)
    if "m" not in names and (rows := [np.shape(x)[0] for x in inputs.values() if np.ndim(x) > 1]):
        names["m"] = rows[0]
    history = engine.history(loss)
    members = {*history, *(t for t in tensors.values() if isinstance(t, Box))}
    nodes = {name: x for name, x in nodes.items() if x in members}
    with np.errstate(all="ignore"):
        gradients = engine.grad(loss, list(nodes.values()))
    return Problem(
        dict(sizes or {}),
        dict(inputs),
        names,
        dict(zip(nodes, gradients, strict=True)),
        _from_the_loss(nodes, history),
        float(loss.value.item()),
        {node.record[1].name: node.record[1].forward for node in history},
    )


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
    """What is no loss, in a word."""
    if x is None:
        return Told("nothing")
    if not isinstance(x, Box):
        return Told("a-kind", kind=type(x).__name__)
    return Told("a-constant") if x.value.size == 1 else Told("shape-of", shape=x.value.shape)


def _run(forward: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What `forward` returns, and the local variables of it and of what it calls in its file."""
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

    before = sys.getprofile()
    try:
        with np.errstate(all="ignore"), engine.recording(engine.ON):
            sys.setprofile(note)
            loss = forward(*by_place, **by_name)
    except Exception as error:
        raise CannotCheck("forward-fails", error=f"{type(error).__name__}: {error}") from error
    finally:
        sys.setprofile(before)
    return loss, {**inner, **outer}
