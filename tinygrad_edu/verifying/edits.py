"""The single changes of a claim that are worth a try: what students get wrong, undone.

A mistake is usually one step away from the truth: a transpose, an `axis=0`, `A1` for `Z1`, a
factor, a sign. `edits` gives every such step at every place of a tree, each with its kind, which is
the diagnosis, and a cost: the smaller, the likelier it is that this was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .derivations import substitute
from .evaluation import Evaluator
from .expressions import Node, render
from .functions import ClaimError
from .problems import TARGETS
from .wording import say

__all__ = ["Edit", "Vocabulary", "describe", "edits"]


@dataclass(frozen=True)
class Edit:
    """One change: of what kind, at what place, from what to what.

    Example:
        >>> Edit("sign", (), ONE, Node("unary", "-", (ONE,)), 1.0).kind
        'sign'
    """

    kind: str
    path: tuple[int, ...]
    old: Node
    new: Node
    cost: float
    about: dict[str, Any] = field(default_factory=dict, compare=False)  # for the sentence


def describe(edit: Edit, lang: str = "en", slides: bool = False) -> str:
    """What was wrong, in a sentence.

    Example:
        >>> w = Node("name", "W")
        >>> describe(Edit("transpose-missing", (), w, Node("attribute", "T", (w,)), 1.0))
        'W must be transposed'
    """
    about = {"old": edit.old, "new": edit.new, **edit.about}
    told = {
        k: " ".join(render(x, slides).split()) if isinstance(x, Node) else x
        for k, x in about.items()
    }
    if "axis" in about:
        told["over"] = say(f"over-{about['axis']}", lang)
    return say(edit.kind, lang, **told)


ONE = Node("number", 1)
REDUCTIONS = {"sum", "Σ", "mean", "max", "min", "amax", "amin"}
COMMUTES = {"+", "*"}
SLOPES = ("sign", "exp", "log", "tanh", "sigmoid", "abs", "sqrt", "square", "relu")


def _binary(op: str, a: Node, b: Node) -> Node:
    return Node("binary", op, (a, b))


def _transpose(node: Node) -> Node:
    return Node("attribute", "T", (node,))


class Vocabulary:
    """What may be put into a claim: the names of a problem and the factors made from them.

    Example:
        >>> names = {"A": np.ones((3, 2)), "m": 3}
        >>> words = Vocabulary(names, Evaluator(names))
        >>> words.arrays, words.scalars, len(words.factors[3, 2])
        ({'A': (3, 2)}, ['m'], 6)
    """

    def __init__(
        self,
        names: Mapping[str, Any],
        values: Evaluator,
        spell: Callable[[str], Node] = lambda name: Node("name", name),
    ):
        self.values, self.spell = values, spell
        self.letters: set[str] = set()  # the indices of the claim, in index notation
        self.arrays: dict[str, tuple[int, ...]] = {}
        self.factors: dict[tuple[int, ...], list[tuple[str, Node, float]]] = {}
        self.scalars: list[str] = []
        seen: list[Any] = []
        for name, x in names.items():
            if np.ndim(x) == 0:
                if isinstance(x, bool) or not isinstance(x, (int, float, np.generic, np.ndarray)):
                    continue
                self.scalars.append(name)
            elif not any(x is other for other in seen):
                seen.append(x)
                self.arrays[name] = np.shape(x)
        # the error at the output, A − Y
        self.errors = [
            (shape, _binary("-", spell(a), spell(y)))
            for y, shape in self.arrays.items()
            if y in TARGETS
            for a, other in self.arrays.items()
            if other == shape and a != y
        ]
        # … and one layer further back, (A − Y)Wᵀ, with the slope there
        backs: list[tuple[tuple[int, ...], Node]] = []
        for shape, error in self.errors[:6]:
            for name, size in self.arrays.items():
                if len(size) == len(shape) == 2 and size[1] == shape[1] and name not in TARGETS:
                    back = _binary("@", error, _transpose(spell(name)))
                    place = self.factors.setdefault((shape[0], size[0]), [])
                    place.append(("error-missing", back, 2.0))
                    backs.append(((shape[0], size[0]), back))
        self.scalars.sort(key=lambda name: (name != "m", len(name), name))
        for name, shape in self.arrays.items():
            a, places = spell(name), self.factors.setdefault(shape, [])
            square = _binary("**", a, Node("number", 2))
            places += [
                ("slope-missing", _binary("*", a, _binary("-", ONE, a)), 1.0),
                ("slope-missing", _binary("-", ONE, square), 1.1),
                ("mask-missing", Node("compare", ">", (a, Node("number", 0))), 1.2),
                ("factor-missing", a, 1.4),
                ("factor-missing", _binary("-", ONE, a), 1.5),
                ("factor-missing", _binary("-", a, square), 1.9),
            ]
        for shape, back in backs[:2]:
            factors = [f for kind, f, _ in self.factors[shape] if kind != "error-missing"]
            self.errors += [(shape, _binary("*", back, factor)) for factor in factors]


def edits(
    tree: Node, words: Vocabulary, before: Mapping[str, Node], light: bool = False
) -> Iterator[Edit]:
    """Every single change of the tree that is worth a try; `light`: the frequent ones only.

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> names = {"E": np.ones((3, 2))}
        >>> tree = parse("np.sum(E)")
        >>> {e.kind for e in edits(tree, Vocabulary(names, Evaluator(names)), {}, light=True)} >= {
        ...     "axis-missing", "sum-extra", "sign"}
        True
    """
    words.letters = {
        x for _, node in tree.walk() if node.kind in ("entry", "indexed") for x in node.value
    }
    for path, node in tree.walk():
        parent = tree
        for i in path[:-1]:
            parent = parent.parts[i]
        if _is_plumbing(parent, path[-1] if path else None):
            yield from _plumbing(path, node, words)
            continue
        value = _value(words.values, substitute(node, before))
        yield from _changes(path, node, value, words, light, parent if path else None)


def _is_plumbing(parent: Node, i: int | None) -> bool:
    """Whether a place holds no quantity but an axis, an index, a shape, a loop."""
    if i is None:
        return False
    if parent.kind == "attribute" and parent.value in ("shape", "size"):
        return True
    if parent.kind in ("slice", "tuple", "index") and not (parent.kind == "index" and i == 0):
        return True
    if parent.kind in ("call", "method"):
        name = parent.value[0].rpartition(".")[2]
        first = len(parent.parts) - len(parent.value[1])
        if i >= first or name in ("range", "len", "zeros", "ones", "eye", "arange", "einsum"):
            return name != "einsum" or i == 0
        receiver = parent.kind == "method"
        if name in ("reshape", "transpose", "repeat", "tile", *REDUCTIONS) and i >= 1:
            return True
        return receiver and name == "swapaxes" and i >= 1
    return False


def _plumbing(path: tuple[int, ...], node: Node, words: Vocabulary) -> Iterator[Edit]:
    """Another axis or index, another size."""
    if node.kind == "number" and isinstance(node.value, int) and -2 <= node.value <= 2:
        for other in (0, 1):
            if other != node.value:
                yield Edit("index", path, node, Node("number", other), 1.6)
    if node.kind == "name" and node.value in words.scalars:
        for name in words.scalars:
            if name != node.value:
                yield Edit("name-wrong", path, node, words.spell(name), 1.4)


def _value(values: Evaluator, node: Node) -> Any:
    try:
        return values.quickly(node)
    except ClaimError:
        return None


def _changes(
    path: tuple[int, ...],
    node: Node,
    value: Any,
    words: Vocabulary,
    light: bool,
    parent: Node | None,
) -> Iterator[Edit]:
    depth = 0.01 * len(path)
    shape = np.shape(value) if isinstance(value, (np.ndarray, np.generic, float, int)) else None

    def edit(kind: str, new: Node, cost: float, **about: Any) -> Edit:
        return Edit(kind, path, node, new, cost + depth, about)

    # transposes
    if node.kind == "attribute" and node.value in ("T", "mT"):
        yield edit("transpose-extra", node.parts[0], 0.9)
    elif (value is None or (shape is not None and len(shape) == 2)) and not (
        parent is not None and parent.kind == "attribute"
    ):
        bare = node.kind in ("name", "call", "method")
        yield edit("transpose-missing", _transpose(node), 1.0 if bare else 1.3)
    if node.kind == "entry":
        for k, old in enumerate(node.value):
            for letter in words.letters:
                if letter != old:
                    place = (*node.value[:k], letter, *node.value[k + 1 :])
                    yield edit("index", Node("entry", place, node.parts), 1.2)
    # sums and their axes
    if node.kind in ("comprehension", "list") and parent is None:
        call = Node("call", ("np.sum", ("axis",)), (node, Node("number", 0)))
        yield edit("sum-missing", call, 1.3, axis=0)
    if node.kind in ("call", "method"):
        yield from _sums(node, edit)
    if node.kind == "call" and len(node.parts) == 1:
        if node.value[0] == "1ᵀ":
            yield edit("sum-extra", node.parts[0], 1.3)
        elif not light:
            name = node.value[0]
            yield edit("function-extra", node.parts[0], 1.4)
            for other in SLOPES:
                if other != name.rpartition(".")[2]:
                    yield edit(
                        "function-wrong", Node("call", (_prefixed(other), ()), node.parts), 1.8
                    )
    # names
    if node.kind == "name":
        yield from _names(node, shape, words, edit, light)
    if node.kind == "number":
        for number in (0, 1, 2, 0.5, 3, -1, 4):
            if number != node.value:
                power = parent is not None and parent.kind == "binary" and parent.value == "**"
                kind = "power" if power and path[-1] == 1 else "number"
                yield edit(kind, Node("number", number), 1.3 + 0.1 * (number not in (1, 2)))
    # operators
    if node.kind == "binary":
        yield from _operators(node, edit, light)
    if node.kind == "unary" and node.value == "-":
        yield edit("sign", node.parts[0], 1.05)
    if node.kind == "compare":
        for sign in (">", "<", ">=", "<="):
            if sign != node.value:
                yield edit("comparison", Node("compare", sign, node.parts), 1.2)
    if not light and (node.kind == "compare" or _is_tanh_slope(node)):
        for kind, factor, cost in words.factors.get(shape or (), ()):
            if kind in ("slope-missing", "mask-missing") and factor != node:
                yield edit("slope-wrong", factor, cost + 0.3)
    if node.kind == "call" and node.value[0].rpartition(".")[2] in ("dot", "matmul", "multiply"):
        name, named = node.value
        if len(node.parts) == 2:
            a, b = node.parts
            prefix = name[: name.rfind(".") + 1]
            other = "dot" if name.endswith("multiply") else "multiply"
            yield edit("operator", Node("call", (prefix + other, named), (a, b)), 1.1,
                       op="@" if other == "dot" else "*")  # fmt: skip
            if not name.endswith("multiply"):
                yield edit("operands-swapped", Node("call", node.value, (b, a)), 1.1)
                yield edit("product-extra", a, 1.6)
                yield edit("product-extra", b, 1.6)
    if node.kind == "number" and parent is not None and parent.value == "@":
        for name, size in words.arrays.items():  # 2 @ E, where 2 * A.T @ E is meant
            if len(size) == 2 and not light:
                for matrix in (words.spell(name), _transpose(words.spell(name))):
                    yield edit("product-missing", _binary("*", node, matrix), 1.8, factor=matrix)
    if node.kind == "name":  # A, where A - Y is meant
        for _, error in words.errors:
            if error.parts[0] == node and not (parent is not None and parent.value == "-"):
                term = Node("unary", "-", (error.parts[1],))
                yield edit("term-missing", error, 1.2, term=term)
    # what lacks
    if shape is None or (parent is not None and node.kind == "number"):
        return
    numeric = parent is None or parent.kind != "compare"
    if numeric and not _negated(parent):
        yield edit("sign", Node("unary", "-", (node,)), 1.5)
    if shape and (parent is None or not light):
        yield edit("sum-missing", Node("call", ("np.sum", ()), (node,)), 1.6, axis="all")
    if len(shape) == 2 and not light:
        for axis in (0, 1):
            call = Node("call", ("np.sum", ("axis",)), (node, Node("number", axis)))
            yield edit("sum-missing", call, 1.3 + 0.2 * axis, axis=axis)
    elif len(shape) == 2 and parent is None:
        call = Node("call", ("np.sum", ("axis",)), (node, Node("number", 0)))
        yield edit("sum-missing", call, 1.3, axis=0)
    for i, name in enumerate(words.scalars):
        s = words.spell(name)
        extra = 0.02 * i + (0.3 if node.kind == "name" and parent is not None else 0.0)
        if not light or name == "m":
            yield edit("divisor-missing", _binary("/", node, s), 1.1 + extra, factor=s)
            yield edit("scalar-missing", _binary("*", s, node), 1.3 + extra, factor=s)
    if parent is None or not light:
        for number in (2, 0.5, 3):
            n = Node("number", number)
            yield edit("number-missing", _binary("*", n, node), 1.3 + 0.1 * (number != 2), factor=n)
    for kind, factor, cost in words.factors.get(shape, ()):
        if not light and node != factor:
            yield edit(kind, _binary("*", node, factor), cost, factor=factor)
            if kind == "factor-missing" and factor.kind == "name":
                yield edit("divisor-missing", _binary("/", node, factor), 1.9, factor=factor)
    if light:
        return
    if shape == () and node.kind == "name":
        for name in words.arrays:
            a = words.spell(name)
            for factor in (a, Node("call", ("np.sign", ()), (a,))):
                yield edit("factor-missing", _binary("*", node, factor), 1.6, factor=factor)
    for place, error in words.errors:
        if len(shape) == len(place) == 2 and shape[1] == place[0]:
            yield edit("product-missing", _binary("@", node, error), 1.7, factor=error)
        if len(shape) == len(place) == 2 and shape[0] == place[1]:
            yield edit("product-missing", _binary("@", error, node), 1.7, factor=error)
        if shape == place:
            yield edit("factor-missing", _binary("*", error, node), 1.8, factor=error)
    for array, size in words.arrays.items():
        a = words.spell(array)
        if size == shape and (parent is None or node.kind == "binary"):
            scaled = [(a, 1.6), (Node("call", ("np.sign", ()), (a,)), 1.7)]
            for one in words.scalars:
                n = words.spell(one)
                scaled += [(_binary("*", n, x), c + 0.05) for x, c in scaled[:2]]
                for two in words.scalars:
                    if one != two:
                        over = words.spell(two)
                        scaled += [
                            (_binary("/", _binary("*", n, x), over), c + 0.1) for x, c in scaled[:2]
                        ]
                        both = _binary("+", _binary("*", n, scaled[1][0]), _binary("*", over, a))
                        scaled += [(both, 1.9), (_binary("/", both, words.spell("m")), 1.95)]
            for term, cost in scaled:
                yield edit("term-missing", _binary("+", node, term), cost, term=term)
        if len(size) == 2 and len(shape) in (1, 2):
            for matrix, sides in ((a, size), (_transpose(a), size[::-1])):
                if shape[-1] == sides[0]:
                    yield edit("product-missing", _binary("@", node, matrix), 1.5, factor=matrix)
                if sides[1] == shape[0]:
                    yield edit("product-missing", _binary("@", matrix, node), 1.6, factor=matrix)


def _negated(parent: Node | None) -> bool:
    return parent is not None and parent.kind == "unary"


def _sums(node: Node, edit: Any) -> Iterator[Edit]:
    spelled, named = node.value
    name = spelled.rpartition(".")[2]
    if name not in REDUCTIONS and name not in ("rowsum", "colsum"):
        return
    first = len(node.parts) - len(named)
    settings = dict(zip(named, node.parts[first:], strict=True))
    x = node.parts[0]
    spelled = "np.sum" if spelled == "sum" and node.kind == "call" else spelled
    if first == 2:
        settings = {"axis": node.parts[1], **settings}
    if "axis" not in settings:
        for axis in (0, 1):
            new = {"axis": Node("number", axis), **settings}
            call = Node(node.kind, (spelled, tuple(new)), (x, *new.values()))
            if name not in ("rowsum", "colsum"):
                if spelled == "Σ":
                    call = Node("call", ("1ᵀ" if axis == 0 else "rowsum", ()), (x,))
                yield edit("axis-missing", call, 1.0 + 0.1 * axis, axis=axis)
    else:
        now = settings["axis"].value
        for axis in (0, 1):
            if axis != now:
                new = {**settings, "axis": Node("number", axis)}
                yield edit("axis-wrong", Node(node.kind, (spelled, tuple(new)), (x, *new.values())),
                           1.0, axis=axis)  # fmt: skip
        rest = {k: v for k, v in settings.items() if k != "axis"}
        yield edit("axis-extra", Node(node.kind, (spelled, tuple(rest)), (x, *rest.values())), 1.2)
    if "keepdims" in settings:
        rest = {k: v for k, v in settings.items() if k != "keepdims"}
        yield edit("keepdims", Node(node.kind, (spelled, tuple(rest)), (x, *rest.values())), 1.3)
    elif name in REDUCTIONS and "axis" in settings:
        new = {**settings, "keepdims": Node("bool", True)}
        yield edit("keepdims", Node(node.kind, (spelled, tuple(new)), (x, *new.values())), 1.3)
    if name in ("sum", "Σ", "mean"):
        other = "sum" if name == "mean" else "mean"
        prefix = spelled[: spelled.rfind(".") + 1]
        yield edit("sum-mean", Node(node.kind, (prefix + other, named), node.parts), 1.2,
                   function=other)  # fmt: skip
    if name in ("rowsum", "colsum"):
        other = "colsum" if name == "rowsum" else "rowsum"
        yield edit("axis-wrong", Node("call", (other, ()), (x,)), 1.0, axis=int(name == "colsum"))
    yield edit("sum-extra", x, 1.3)


def _names(
    node: Node, shape: tuple[int, ...] | None, words: Vocabulary, edit: Any, light: bool
) -> Iterator[Edit]:
    name = node.value
    for other, size in words.arrays.items():
        if other == name:
            continue
        if size == shape:
            yield edit("name-wrong", words.spell(other), 1.05)
        elif not light:
            yield edit("name-wrong", words.spell(other), 1.25)
            if len(size) == 2:
                yield edit("name-wrong", _transpose(words.spell(other)), 1.7)
    if shape == () or shape is None:
        for other in words.scalars:
            if other != name:
                yield edit("name-wrong", words.spell(other), 1.1)
    if shape:
        yield edit("complement-missing", _binary("-", ONE, node), 1.15)
        if not light:
            yield edit("power-missing", _binary("**", node, Node("number", 2)), 1.5)
            yield edit("condition", Node("compare", ">", (node, Node("number", 0))), 1.3)
            for function in SLOPES:
                call = Node("call", (_prefixed(function), ()), (node,))
                yield edit("function-missing", call, 1.4, function=function)


def _is_tanh_slope(node: Node) -> bool:
    """Whether it is 1 − x²."""
    return (
        node.kind == "binary" and node.value == "-" and node.parts[0] == ONE
        and node.parts[1].value == "**"
    )  # fmt: skip


def _prefixed(function: str) -> str:
    return function if function in ("sigmoid", "relu") else f"np.{function}"


def _operators(node: Node, edit: Any, light: bool) -> Iterator[Edit]:
    op, (a, b) = node.value, node.parts
    matrix = op in ("@", "·")
    if op == "-":
        ones = "number" in (a.kind, b.kind)  # 1 − A is less likely than Y − A to be meant
        yield edit("difference-swapped", node.with_parts((b, a)), 1.2 if ones else 1.0)
        yield edit("plus-minus", _binary("+", a, b), 1.1)
        if a.kind == "number" and a.value == 1:
            yield edit("complement-extra", b, 1.1)
    if op == "+":
        yield edit("plus-minus", _binary("-", a, b), 1.1)
    if op in ("+", "-"):
        yield edit("term-extra", a, 1.4, term=b)
        yield edit("term-extra", b if op == "+" else Node("unary", "-", (b,)), 1.4, term=a)
    if matrix or op == "/":
        yield edit("operands-swapped", node.with_parts((b, a)), 1.1)
    if matrix:
        yield edit("operator", _binary("*", a, b), 1.1, op="*")
        yield edit("product-extra", a, 1.6)
        yield edit("product-extra", b, 1.6)
    if op == "*":
        yield edit("operator", _binary("@", a, b), 1.1, op="@")
        yield edit("operator", _binary("/", a, b), 1.3, op="/")
        yield edit("factor-extra", a, 1.2, factor=b)
        yield edit("factor-extra", b, 1.2, factor=a)
        if not light:
            yield edit("operator", _binary("+", a, b), 1.6, op="+")
            yield edit("operator", _binary("-", a, b), 1.6, op="-")
    if op == "/":
        yield edit("divisor-extra", a, 1.15, factor=b)
        yield edit("operator", _binary("*", a, b), 1.2, op="*")
    if op in ("+", "-") and not light:
        yield edit("operator", _binary("*", a, b), 1.5, op="*")
    if op == "**":
        yield edit("power", a, 1.2)
        yield edit("complement-missing", _binary("-", ONE, node), 1.2)
    if light:
        return
    # brackets: (a ∘ b) • c  ↔  a ∘ (b • c), at every place of a longer chain
    chain: list[tuple[str, Node]] = []
    rest = node
    while rest.kind == "binary":
        chain.insert(0, (rest.value, rest.parts[1]))
        rest = rest.parts[0]
    for k in range(len(chain) - 1):
        right = chain[k][1]
        for sign, x in chain[k + 1 :]:
            right = _binary(sign, right, x)
        yield edit("brackets", _binary(chain[k][0], rest, right), 1.3 + 0.2 * (k < len(chain) - 2))
        rest = _binary(chain[k][0], rest, chain[k][1])
    if a.kind == "binary" and a.value == op and op not in COMMUTES:
        yield edit("operands-swapped", _binary(op, _binary(op, a.parts[0], b), a.parts[1]), 1.4)
    if a.kind == "binary" and a.value in ("+", "-") and op in ("*", "/"):  # (a + b)/m: a/m + b
        yield edit("brackets", _binary(a.value, _binary(op, a.parts[0], b), a.parts[1]), 1.25)
    if b.kind == "binary":
        yield edit("brackets", _binary(b.value, _binary(op, a, b.parts[0]), b.parts[1]), 1.3)
