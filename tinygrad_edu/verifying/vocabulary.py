"""The words that a repair may use: the names of a problem, and the factors made from them.

A factor is a candidate only if it says something: an array whose entries vanish or coincide on all
problems is none, and the slope of an activation is offered for what is an activation, which is told
by its values (in (0, 1): a sigmoid's; rows that add up to 1: a softmax' …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluation import Evaluator
from .expressions import Node
from .problems import TARGETS

__all__ = ["ONE", "REDUCTIONS", "Slope", "Vocabulary", "binary", "call", "name", "num", "slope_of",
           "transpose"]  # fmt: skip

REDUCTIONS = ("sum", "Σ", "mean", "max", "min", "amax", "amin")
ONE = Node("number", 1)
# functions, and those that occur in their derivatives
PARTNERS: dict[str, tuple[str, ...]] = {
    "abs": ("abs", "sign"), "absolute": ("abs", "sign"), "exp": ("exp",), "log": ("log",),
    "tanh": ("tanh",), "sigmoid": ("sigmoid",), "sqrt": ("sqrt",), "relu": ("relu",),
    "softplus": ("sigmoid",), "softmax": ("softmax",), "log_softmax": ("softmax",),
    "logsumexp": ("softmax",), "cross_entropy": ("softmax",), "sin": ("cos", "sin"),
    "cos": ("sin", "cos"), "binary_cross_entropy_with_logits": ("sigmoid",),
}  # fmt: skip
PIECEWISE = {"relu", "maximum", "minimum", "where", "clip", "abs", "absolute", "max", "leaky_relu"}


def name(text: str) -> Node:
    """Return the node of a name.

    Example:
        >>> name("W")
        <name W>
    """
    return Node("name", text)


def num(x: float) -> Node:
    """Return the node of a number.

    Example:
        >>> num(2)
        <number 2>
    """
    return Node("number", x)


def binary(op: str, a: Node, b: Node) -> Node:
    """Return a ∘ b.

    Example:
        >>> binary("@", name("X"), name("W"))
        <binary X @ W>
    """
    return Node("binary", op, (a, b))


def transpose(node: Node) -> Node:
    """Return xᵀ.

    Example:
        >>> transpose(name("W"))
        <attribute W.T>
    """
    return Node("attribute", "T", (node,))


def call(function: str, *parts: Node, **settings: Node) -> Node:
    """Return f(parts, setting=…).

    Example:
        >>> call("np.sum", name("E"), axis=num(0))
        <call np.sum(E, axis=0)>
    """
    return Node("call", (function, tuple(settings)), (*parts, *settings.values()))


@dataclass(frozen=True)
class Slope:
    """The derivative of an activation: of which function, of which array, as a formula.

    Example:
        >>> Slope("relu", name("Z"), Node("compare", ">", (name("Z"), num(0)))).function
        'relu'
    """

    function: str
    array: Node
    formula: Node


def slope_of(node: Node) -> Slope | None:
    """Return which activation's derivative a formula is, by its form.

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> slope_of(parse("A1 * (1 - A1)")).function, slope_of(parse("1 - A1**2")).function
        ('sigmoid', 'tanh')
        >>> slope_of(parse("Z > 0")).function, slope_of(parse("A * Z"))
        ('relu', None)
    """
    if node.kind == "method" and node.value[0] == "astype":
        node = node.parts[0]
    if node.kind == "compare" and node.value in (">", ">=") and node.parts[1] == num(0):
        return Slope("relu", node.parts[0], node)
    if node.kind != "binary" or node.value not in ("*", "-"):
        return None
    a, b = node.parts
    if node.value == "*":
        for x, other in ((a, b), (b, a)):
            if other == binary("-", ONE, x):
                return Slope("sigmoid", x, node)
        if {a, b} == {binary("-", ONE, _inner(a)), binary("+", ONE, _inner(a))}:
            return Slope("tanh", _inner(a), node)
        return None
    if (squared := _squared(b)) is not None:
        if a == ONE:
            return Slope("tanh", squared, node)
        if a == squared:
            return Slope("sigmoid", squared, node)
    return None


def _inner(node: Node) -> Node:
    return node.parts[-1] if node.parts else node


def _squared(node: Node) -> Node | None:
    """Return x of x², x·x, np.square(x)."""
    if node.kind == "binary" and node.value == "**" and node.parts[1] == num(2):
        return node.parts[0]
    if node.kind == "binary" and node.value == "*" and node.parts[0] == node.parts[1]:
        return node.parts[0]
    if node.kind == "call" and node.value[0] == "np.square":
        return node.parts[0]
    return None


class Vocabulary:
    """The names of a problem and the factors made from them, which a repair may use.

    names       values by name on the first problem, on which changes are tried first
    values      the evaluator of that problem
    spell       how a name is written by the author (`self.a1`)
    samples     the names on several problems, by which arrays are classified
    operations  the operations that forward is computed by
    target      what the claim is the gradient of
    slides      True if the claim is in the slides' spelling
    own         the names that a function uses; None for an expression

    Example:
        >>> names = {"A": np.array([[0.5, 0.2], [0.1, 0.9], [0.3, 0.4]]), "m": 3}
        >>> words = Vocabulary(names, Evaluator(names))
        >>> words.arrays, words.scalars, words.slopes[3, 2][0].formula
        ({'A': (3, 2)}, ['m'], <binary A * (1 - A)>)
    """

    def __init__(
        self,
        names: Mapping[str, Any],
        values: Evaluator,
        spell: Callable[[str], Node | None] = name,
        samples: Sequence[Mapping[str, Any]] = (),
        operations: Iterable[str] = (),
        target: str = "",
        slides: bool = False,
        own: Iterable[str] | None = None,
    ):
        self.own = None if own is None else set(own)
        self.values, self.operations, self.target = values, set(operations), target
        self.slides = slides
        self.spellings = {k: node for k in names if (node := spell(k)) is not None}
        self.samples = list(samples) or [names]
        self.letters: list[str] = []  # the indices of the claim, in index notation
        self.present: set[str] = set()  # the names in the line that is changed
        self.arrays: dict[str, tuple[int, ...]] = {}
        self.scalars: list[str] = []
        self._sort(names)
        self.kinds = {k: self._kind_of(k) for k in self.arrays}
        self.functions = sorted({f for op in self.operations for f in PARTNERS.get(op, ())})
        self.piecewise = bool(self.operations & PIECEWISE) or not self.operations
        self.slopes: dict[tuple[int, ...], list[Slope]] = {}
        self.errors: list[tuple[tuple[int, ...], Node]] = []
        self.backs: dict[tuple[int, ...], list[Node]] = {}
        self._find_slopes()
        self._find_errors()

    def spell(self, text: str) -> Node:
        """Return a name as the author has to write it."""
        return self.spellings[text]

    def spell_function(self, function: str) -> str:
        """Return a function as the author has to write it.

        Example:
            >>> Vocabulary({}, Evaluator({})).spell_function("sign")
            'np.sign'
        """
        if function not in ("sigmoid", "relu", "softmax"):
            return f"np.{function}"
        return function if self.own is None or function in self.own else f"tg.{function}"

    def _sort(self, names: Mapping[str, Any]) -> None:
        seen: list[Any] = []
        for k, x in names.items():
            if k not in self.spellings:
                continue
            if np.ndim(x) == 0:
                if isinstance(x, (int, float, np.generic, np.ndarray)) and type(x) is not bool:
                    self.scalars.append(k)
            elif not any(x is other for other in seen) and not self._is_dull(k, x):
                seen.append(x)
                self.arrays[k] = np.shape(x)
        self.scalars.sort(key=lambda k: (k != "m", len(k), k))

    def _drawn(self, k: str, x: Any = None) -> list[Any]:
        """Return the values of a name on all samples that have it as an array."""
        found = [np.asarray(s[k]) for s in self.samples if np.ndim(s.get(k, 0))]
        return [v for v in found or [np.asarray(x)] if v.dtype.kind in "fiub"]

    def _is_dull(self, k: str, x: Any) -> bool:
        """Return True if all entries coincide on every sample that has more than one."""
        drawn = [v for v in self._drawn(k, x) if v.size > 1]
        return bool(drawn) and all(np.all(v == v.flat[0]) for v in drawn)

    def _kind_of(self, k: str) -> str:
        """Return "target", "mask", "softmax", "sigmoid", "tanh", "relu", "normalised" or ""."""
        if k in TARGETS:
            return "target"
        drawn = self._drawn(k)
        if not drawn or any(v.dtype.kind != "f" and v.dtype.kind != "b" for v in drawn):
            return ""
        low, high = min(v.min() for v in drawn), max(v.max() for v in drawn)
        return next((kind for kind, holds in _TESTS if holds(drawn, low, high)), "")

    def is_fraction(self, k: str) -> bool:
        """Return True if all entries of an array lie between 0 and 1."""
        drawn = self._drawn(k)
        return bool(drawn) and all(np.all((v >= 0) & (v <= 1)) for v in drawn)

    def is_scalar(self, node: Node) -> bool:
        """Return True if a tree is made of sizes and numbers of the problem only."""
        return bool(node.names()) and node.names() <= set(self.scalars)

    def is_rate(self, k: str) -> bool:
        """Return True if a number of the problem is no size: a λ, a probability of keeping."""
        x = self.samples[0].get(k, 0)
        return bool(np.ndim(x) == 0 and (isinstance(x, (float, np.floating)) or (np.size(x) and
                                         float(x) != round(float(x)))))  # fmt: skip

    def preactivation(self, k: str, function: str) -> str | None:
        """Return the name of which an array is the relu or the tanh, if there is one."""
        f: Callable[[Any], Any] = np.tanh if function == "tanh" else lambda z: np.maximum(z, 0)
        mine = self._drawn(k)
        for other in self.arrays:
            theirs = self._drawn(other)
            if other != k and len(theirs) == len(mine) and all(
                a.shape == z.shape and np.allclose(f(z), a)
                for a, z in zip(mine, theirs, strict=True)
            ):  # fmt: skip
                return other
        return None

    def _find_slopes(self) -> None:
        for k, shape in self.arrays.items():
            place, a = self.slopes.setdefault(shape, []), self.spell(k)
            kind = self.kinds[k]
            if kind == "sigmoid":
                place.append(Slope("sigmoid", a, binary("*", a, binary("-", ONE, a))))
            elif kind == "tanh":
                place.append(Slope("tanh", a, binary("-", ONE, binary("**", a, num(2)))))
            elif kind == "relu":
                z = self.preactivation(k, "relu")
                x = self.spell(z) if z else a
                place.append(Slope("relu", a, Node("compare", ">", (x, num(0)))))
            elif kind == "" and k not in TARGETS and "tanh" in self.operations:
                square = binary("**", call("np.tanh", a), num(2))
                place.append(Slope("tanh", a, binary("-", ONE, square)))
        for place in self.slopes.values():  # an array's own first, what is computed again last
            place.sort(key=lambda s: "tanh(" in repr(s.formula))

    def _find_errors(self) -> None:
        """The error at the output, A − Y, and one layer further back, (A − Y)Wᵀ."""
        self.errors = [
            (shape, binary("-", self.spell(a), self.spell(y)))
            for y, shape in self.arrays.items()
            if y in TARGETS
            for a, other in self.arrays.items()
            if other == shape and a != y
        ]
        for shape, error in self.errors[:6]:
            for k, size in self.arrays.items():
                if len(size) == len(shape) == 2 and size[1] == shape[1] and k not in TARGETS:
                    back = binary("@", error, transpose(self.spell(k)))
                    self.backs.setdefault((shape[0], size[0]), []).append(back)
                if len(size) == len(shape) == 2 and size[0] == shape[0] and k not in TARGETS:
                    back = binary("@", transpose(self.spell(k)), error)  # samples in columns
                    self.backs.setdefault((size[1], shape[1]), []).append(back)
        firsts = [(shape, back) for shape, found in self.backs.items() for back in found][:4]
        self.errors += [(shape, binary("*", back, s.formula)) for shape, back in firsts
                        for s in self.slopes.get(shape, ())]  # fmt: skip

    def sum_of(self, node: Node, axis: int) -> Node:
        """Return the sum along an axis, in the spelling of the claim."""
        if self.slides:
            return call("1ᵀ" if axis == 0 else "rowsum", node)
        return call("np.sum", node, axis=num(axis))


def _adds_up_to_one(drawn: list[Any], low: float, high: float) -> bool:
    return low > 0 and all(
        v.ndim > 1 and (np.allclose(v.sum(axis=-1), 1) or np.allclose(v.sum(axis=0), 1))
        for v in drawn
    )


def _is_mask(drawn: list[Any], low: float, high: float) -> bool:
    return low == 0 < high and all(np.all((v == 0) | (v == v.max())) for v in drawn)


def _is_normalised(drawn: list[Any], low: float, high: float) -> bool:
    return all(
        v.ndim > 1 and np.allclose(v.mean(axis=0), 0, atol=1e-6)
        and np.all(np.abs(v.std(axis=0) - 1) < 0.02)
        for v in drawn if len(v) > 1
    )  # fmt: skip


_TESTS: list[tuple[str, Callable[[list[Any], float, float], bool]]] = [
    ("mask", _is_mask),
    ("softmax", _adds_up_to_one),
    ("sigmoid", lambda drawn, low, high: low > 0 and high < 1),
    ("tanh", lambda drawn, low, high: -1 < low < 0 and high < 1),
    ("relu", lambda drawn, low, high: low == 0 < high),
    ("normalised", _is_normalised),
]
