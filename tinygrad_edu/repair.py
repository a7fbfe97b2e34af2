"""The diagnosis of a wrong claim: the smallest change of its text that makes it right.

A claim is a tree, and a mistake is usually one step away from the truth: a transpose, an `axis=0`,
`A1` for `Z1`, a factor, a sign. So every such step is tried at every place of the tree (`edits`),
first one, then two, on a small random problem first and on all of them if it passes there. What
is left is the cheapest change that is right everywhere, and its kind is the diagnosis, put into
words in `wording`. Sub-results are remembered, so that a try costs only the operations above the
place of the change.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .engine import Array
from .expressions import ClaimError, Evaluator, Node
from .problems import TARGETS

__all__ = ["Derivation", "Edit", "Repair", "Truth", "edits", "find_repair"]


@dataclass(frozen=True)
class Derivation:
    """A claim as a sequence of lines `name = tree`, the last of which is the claim itself.

    Example:
        >>> from tinygrad_edu.expressions import parse
        >>> lines = (("E", parse("A - Y")), ("b", parse("np.sum(E, axis=0)")))
        >>> sorted(Derivation(lines).tree().names())
        ['A', 'Y']
    """

    lines: tuple[tuple[str, Node], ...]

    def tree(self) -> Node:
        """The claim with each line put in the place of its name."""
        known: dict[str, Node] = {}
        node = self.lines[-1][1]
        for name, tree in self.lines:
            node = substitute(tree, known)
            known[name] = node
        return node

    def with_line(self, i: int, tree: Node) -> Derivation:
        """The derivation with another tree in line i."""
        return Derivation((*self.lines[:i], (self.lines[i][0], tree), *self.lines[i + 1 :]))

    def relevant(self) -> list[int]:
        """The lines that the last one depends on, itself first."""
        wanted, found = set(self.lines[-1][1].names()), [len(self.lines) - 1]
        for i in range(len(self.lines) - 2, -1, -1):
            name, tree = self.lines[i]
            if name in wanted:
                found.append(i)
                wanted = (wanted - {name}) | tree.names()
        return found


def substitute(node: Node, known: Mapping[str, Node]) -> Node:
    """The tree with trees in the place of names.

    Example:
        >>> from tinygrad_edu.expressions import parse
        >>> substitute(parse("2 * E"), {"E": parse("A - Y")}) == parse("2 * (A - Y)")
        True
    """
    if node.kind == "name":
        return known.get(node.value, node)
    if not known or not node.parts:
        return node
    parts = [substitute(part, known) for part in node.parts]
    if all(a is b for a, b in zip(parts, node.parts, strict=True)):
        return node
    return node.with_parts(parts)


class Truth:
    """A right value, with how close is equal. Leading axes of length 1 do not count.

    Example:
        >>> truth = Truth(np.array([1.0, 2.0]))
        >>> truth.agrees(np.array([[1.0, 2.0]])), truth.agrees(np.array([[1.0], [2.0]]))
        (True, False)
    """

    __slots__ = ("array", "shape", "size", "tolerance")

    def __init__(self, array: Array):
        self.array = array
        self.shape = _stripped(array.shape)
        self.size = array.size
        self.tolerance = 1e-9 + 1e-7 * float(np.abs(array).max(initial=0.0))

    def agrees(self, value: Any) -> bool:
        """Whether a value is this one."""
        if not isinstance(value, (np.ndarray, np.generic, int, float)):
            if not isinstance(value, (list, tuple)):
                return False
            try:
                value = np.asarray(value, dtype=float)
            except (ValueError, TypeError):
                return False
        shape = np.shape(value)
        if shape != self.array.shape and _stripped(shape) != self.shape:
            return False
        difference = np.abs(np.reshape(value, self.array.shape) - self.array)
        return bool(difference.max(initial=0.0) <= self.tolerance)  # nan is not


def _stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    i = 0
    while i < len(shape) and shape[i] == 1:
        i += 1
    return shape[i:]


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


@dataclass(frozen=True)
class Repair:
    """Edits that make a claim right, each with the line that it stands in, and the result.

    Example:
        >>> edit = Edit("sign", (), ONE, Node("unary", "-", (ONE,)), 1.0)
        >>> Repair((edit,), (0,), Derivation((("", edit.new),)), 1).kinds
        ('sign',)
    """

    edits: tuple[Edit, ...]
    lines: tuple[int, ...]
    derivation: Derivation
    tries: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was wrong, in one word each."""
        return tuple(edit.kind for edit in self.edits)


# --- the edits ------------------------------------------------------------------------------------

ONE = Node("number", 1)
REDUCTIONS = {"sum", "mean", "max", "min", "amax", "amin"}
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

    def __init__(self, names: Mapping[str, Any], values: Evaluator):
        self.values = values
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
            (shape, _binary("-", Node("name", a), Node("name", y)))
            for y, shape in self.arrays.items()
            if y in TARGETS
            for a, other in self.arrays.items()
            if other == shape and a != y
        ]
        # … and one layer further back, (A − Y)Wᵀ
        for shape, error in self.errors[:6]:
            for name, size in self.arrays.items():
                if len(size) == len(shape) == 2 and size[1] == shape[1] and name not in TARGETS:
                    back = _binary("@", error, _transpose(Node("name", name)))
                    place = self.factors.setdefault((shape[0], size[0]), [])
                    place.append(("error-missing", back, 2.0))
        self.scalars.sort(key=lambda name: (name != "m", len(name), name))
        for name, shape in self.arrays.items():
            a, places = Node("name", name), self.factors.setdefault(shape, [])
            square = _binary("**", a, Node("number", 2))
            places += [
                ("slope-missing", _binary("*", a, _binary("-", ONE, a)), 1.0),
                ("slope-missing", _binary("-", ONE, square), 1.1),
                ("mask-missing", Node("compare", ">", (a, Node("number", 0))), 1.2),
                ("factor-missing", a, 1.4),
                ("factor-missing", _binary("-", ONE, a), 1.5),
                ("factor-missing", _binary("-", a, square), 1.9),
            ]


def edits(
    tree: Node, words: Vocabulary, before: Mapping[str, Node], light: bool = False
) -> Iterator[Edit]:
    """Every single change of the tree that is worth a try; `light`: the frequent ones only.

    Example:
        >>> from tinygrad_edu.expressions import parse
        >>> names = {"E": np.ones((3, 2))}
        >>> tree = parse("np.sum(E)")
        >>> {e.kind for e in edits(tree, Vocabulary(names, Evaluator(names)), {}, light=True)} >= {
        ...     "axis-missing", "sum-extra", "sign"}
        True
    """
    for path, node in tree.walk():
        parent = tree
        for i in path[:-1]:
            parent = parent.parts[i]
        if _is_plumbing(parent, path[-1] if path else None):
            yield from _small_number(path, node)
            continue
        value = _value(words.values, substitute(node, before))
        yield from _changes(path, node, value, words, light, parent if path else None)


def _is_plumbing(parent: Node, i: int | None) -> bool:
    """Whether a place holds no quantity but an axis, an index, a shape, a loop."""
    if i is None:
        return False
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


def _small_number(path: tuple[int, ...], node: Node) -> Iterator[Edit]:
    if node.kind == "number" and isinstance(node.value, int) and -2 <= node.value <= 2:
        for other in (0, 1):
            if other != node.value:
                yield Edit("index", path, node, Node("number", other), 2.0)


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
        yield edit("transpose-extra", node.parts[0], 1.0)
    elif (value is None or (shape is not None and len(shape) == 2)) and not (
        parent is not None and parent.kind == "attribute" and parent.value == "T"
    ):
        bare = node.kind in ("name", "call", "method")
        yield edit("transpose-missing", _transpose(node), 1.0 if bare else 1.3)
    # sums and their axes
    if node.kind in ("call", "method"):
        yield from _sums(node, edit)
    if node.kind == "call" and len(node.parts) == 1:
        if node.value[0] == "1ᵀ":
            yield edit("sum-extra", node.parts[0], 1.3)
        elif not light:
            name = node.value[0]
            prefix = name[: name.rfind(".") + 1]
            yield edit("function-extra", node.parts[0], 1.4)
            for other in SLOPES:
                if other != name.rpartition(".")[2]:
                    yield edit(
                        "function-wrong", Node("call", (prefix + other, ()), node.parts), 1.8
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
    # what lacks
    if shape is None or (parent is not None and node.kind == "number"):
        return
    numeric = parent is None or parent.kind != "compare"
    if numeric and not _negated(parent):
        yield edit("sign", Node("unary", "-", (node,)), 1.5)
    if len(shape) == 2 and not light:
        for axis in (0, 1):
            call = Node("call", ("np.sum", ("axis",)), (node, Node("number", axis)))
            yield edit("sum-missing", call, 1.3 + 0.2 * axis, axis=axis)
    elif len(shape) == 2 and parent is None:
        call = Node("call", ("np.sum", ("axis",)), (node, Node("number", 0)))
        yield edit("sum-missing", call, 1.3, axis=0)
    for i, name in enumerate(words.scalars):
        s = Node("name", name)
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
            a = Node("name", name)
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
        a = Node("name", array)
        if size == shape and (parent is None or node.kind == "binary"):
            scaled = [(a, 1.6), (Node("call", ("np.sign", ()), (a,)), 1.7)]
            for one in words.scalars:
                n = Node("name", one)
                scaled += [(_binary("*", n, x), c + 0.05) for x, c in scaled[:2]]
                for two in words.scalars:
                    if one != two:
                        over = Node("name", two)
                        scaled += [
                            (_binary("/", _binary("*", n, x), over), c + 0.1) for x, c in scaled[:2]
                        ]
                        both = _binary("+", _binary("*", n, scaled[1][0]), _binary("*", over, a))
                        scaled += [(both, 1.9), (_binary("/", both, Node("name", "m")), 1.95)]
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
    if first == 2:
        settings = {"axis": node.parts[1], **settings}
    if "axis" not in settings:
        for axis in (0, 1):
            new = {"axis": Node("number", axis), **settings}
            call = Node(node.kind, (spelled, tuple(new)), (x, *new.values()))
            if name not in ("rowsum", "colsum"):
                slides = "." not in spelled and node.kind == "call"
                if slides:
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
    if name in ("sum", "mean"):
        other = "mean" if name == "sum" else "sum"
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
            yield edit("name-wrong", Node("name", other), 1.05)
        elif not light:
            yield edit("name-wrong", Node("name", other), 1.25)
            if len(size) == 2:
                yield edit("name-wrong", _transpose(Node("name", other)), 1.7)
    if shape == () or shape is None:
        for other in words.scalars:
            if other != name:
                yield edit("name-wrong", Node("name", other), 1.1)
    if shape:
        yield edit("complement-missing", _binary("-", ONE, node), 1.15)
        if not light:
            yield edit("power-missing", _binary("**", node, Node("number", 2)), 1.5)
            yield edit("condition", Node("compare", ">", (node, Node("number", 0))), 1.3)
            for function in SLOPES:
                call = Node("call", (f"np.{function}", ()), (node,))
                yield edit("function-missing", call, 1.4, function=function)


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
        yield edit("term-extra", a, 1.4)
        yield edit("term-extra", b if op == "+" else Node("unary", "-", (b,)), 1.4)
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
    # brackets: (a ∘ b) • c  ↔  a ∘ (b • c)
    if a.kind == "binary":
        yield edit("brackets", _binary(a.value, a.parts[0], _binary(op, a.parts[1], b)), 1.3)
        if a.value == op and op not in COMMUTES:
            yield edit("operands-swapped", _binary(op, _binary(op, a.parts[0], b), a.parts[1]), 1.4)
        if a.parts[0].kind == "binary":
            c = a.parts[0]
            moved = _binary(
                c.value, c.parts[0], _binary(op, _binary(a.value, c.parts[1], a.parts[1]), b)
            )
            yield edit("brackets", moved, 1.5)
    if b.kind == "binary":
        yield edit("brackets", _binary(b.value, _binary(op, a, b.parts[0]), b.parts[1]), 1.3)


# --- the search -----------------------------------------------------------------------------------


def find_repair(
    claim: Derivation,
    problems: Sequence[tuple[Evaluator, Truth]],
    names: Mapping[str, Any],
    most: int = 40_000,
) -> tuple[Repair | None, int]:
    """The cheapest change, of one edit or else of two, with which the claim is right everywhere,
    and how many were tried: `most` of them at most where it takes two.

    Shapes:  the first of the problems should be small, with sizes that all differ
    Example:
        >>> from tinygrad_edu.expressions import parse, render
        >>> names = {"E": np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])}
        >>> truth = Truth(names["E"].sum(axis=0))
        >>> claim = Derivation((("b", parse("np.sum(E)")),))
        >>> repair, _ = find_repair(claim, [(Evaluator(names), truth)], names)
        >>> repair.kinds, render(repair.derivation.lines[-1][1])
        (('axis-missing',), 'np.sum(E, axis=0)')
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = _Search(claim, problems, names, most)
        return search.run(), search.tries


class _Search:
    def __init__(
        self,
        claim: Derivation,
        problems: Sequence[tuple[Evaluator, Truth]],
        names: Mapping[str, Any],
        most: int,
    ):
        self.claim, self.problems, self.most = claim, problems, most
        self.first, self.truth = problems[0]
        self.words = Vocabulary(names, self.first)
        self.tries = 0

    def run(self) -> Repair | None:
        singles: list[tuple[Edit, int, Derivation]] = []
        found: list[tuple[float, Repair]] = []
        values: list[Any] = []
        for i, edit in self.all_edits(self.claim):
            changed = self.apply(self.claim, i, edit)
            value = self.value(changed, keep=True)
            if value is not None:
                if self.truth.agrees(value) and self.holds(changed):
                    found.append((edit.cost, Repair((edit,), (i,), changed, self.tries)))
                singles.append((edit, i, changed))
                values.append(value)
            elif edit.kind in _STRUCTURAL:
                singles.append((edit, i, changed))
                values.append(None)
        if found:
            return min(found, key=lambda pair: pair[0])[1]
        return self.two(singles, values)

    def all_edits(self, claim: Derivation, light: bool = False) -> Iterator[tuple[int, Edit]]:
        for i in claim.relevant():
            before: dict[str, Node] = {}
            for name, tree in claim.lines[:i]:
                before[name] = substitute(tree, before)
            for edit in edits(claim.lines[i][1], self.words, before, light):
                yield i, edit

    def apply(self, claim: Derivation, i: int, edit: Edit) -> Derivation:
        return claim.with_line(i, claim.lines[i][1].replaced(edit.path, edit.new))

    def value(self, claim: Derivation, keep: bool = False) -> Any:
        self.tries += 1
        self.first.keep = keep
        try:
            return self.first.quickly(claim.tree())
        except (ClaimError, RecursionError):
            return None
        finally:
            self.first.keep = True

    def holds(self, claim: Derivation) -> bool:
        """Whether the claim is right on all problems."""
        tree = claim.tree()
        for evaluator, truth in self.problems[1:]:
            try:
                if not truth.agrees(evaluator.quickly(tree)):
                    return False
            except ClaimError:
                return False
        return True

    def two(self, singles: list[tuple[Edit, int, Derivation]], values: list[Any]) -> Repair | None:
        """A second edit on top of each first one; those whose result is the truth but for a
        factor, a sign or a transpose come first, since that is seen without a try."""
        order = sorted(
            range(len(singles)),
            key=lambda j: (not _nearly(values[j], self.truth), singles[j][0].cost),
        )
        best: tuple[float, Repair] | None = None
        for j in order:
            edit, i, changed = singles[j]
            near = _nearly(values[j], self.truth)
            if best is not None and (not near or edit.cost + 1.0 >= best[0]):
                break
            for k, second in self.all_edits(changed, light=True):
                if best is not None and edit.cost + second.cost >= best[0]:
                    continue
                if self.tries >= self.most:
                    return None if best is None else best[1]
                twice = self.apply(changed, k, second)
                value = self.value(twice)
                if value is not None and self.truth.agrees(value) and self.holds(twice):
                    repair = Repair((edit, second), (i, k), twice, self.tries)
                    best = (edit.cost + second.cost, repair)
        return None if best is None else best[1]


_STRUCTURAL = {
    "transpose-missing", "transpose-extra", "operands-swapped", "operator", "name-wrong",
    "axis-missing", "axis-wrong", "sum-missing",
}  # fmt: skip


def _nearly(value: Any, truth: Truth) -> bool:
    """Whether a value is the truth but for one number as a factor, or for a transpose."""
    if value is None or not isinstance(value, (np.ndarray, np.generic, float, int)):
        return False
    x, t = np.asarray(value, dtype=float), truth.array
    if x.ndim == 2 and x.T.shape == t.shape and x.shape != t.shape and truth.agrees(x.T):
        return True
    if _stripped(x.shape) != truth.shape:
        return False
    return factor_between(x.reshape(t.shape), t) is not None


def factor_between(x: Array, t: Array) -> float | None:
    """The number c with x = c·t in all entries, if there is one and x is not 0.

    Example:
        >>> factor_between(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
        2.0
    """
    if x.shape != t.shape or not t.size:
        return None
    i = int(np.abs(t).argmax())
    if t.flat[i] == 0:
        return None
    c = float(x.flat[i] / t.flat[i])
    if not np.isfinite(c) or c == 0:
        return None
    return c if np.abs(x - c * t).max() <= 1e-8 * (np.abs(x).max() + 1e-300) else None
