"""The table of mistakes, and the single changes of a claim that would undo one.

A mistake is one step away from the truth: a transpose, an `axis=0`, `A1` for `Z1`, a factor, a
sign. Each is declared once, by `@mistake`: at which nodes it is looked for, what is put in the
place, how unlikely it is (its cost), and its sentence in English and in Korean. The declarations
are in `mistakes` (slips of algebra) and `textbook` (what courses warn of). `edits` yields every
change that the table knows, at every place of a tree.
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
from .vocabulary import REDUCTIONS, Vocabulary
from .wording import declare, say

__all__ = ["TABLE", "Change", "Edit", "Mistake", "Place", "describe", "edits", "mistake"]


@dataclass(frozen=True)
class Edit:
    """One change: of what kind, at what place, from what to what.

    Example:
        >>> one = Node("number", 1)
        >>> Edit("sign", (), one, Node("unary", "-", (one,)), 1.0).kind
        'sign'
    """

    kind: str
    path: tuple[int, ...]
    old: Node
    new: Node
    cost: float
    about: dict[str, Any] = field(default_factory=dict, compare=False)  # for the sentence


@dataclass(frozen=True)
class Change:
    """A replacement that a mistake proposes, its extra cost, and words for its sentence.

    Example:
        >>> Change(Node("name", "X"), 0.1, {}).more
        0.1
    """

    new: Node
    more: float
    about: dict[str, Any]


class Place:
    """A node of a claim at which mistakes are looked for.

    node, path   the node and where it stands
    parent       the operation it is an operand of; None for the whole claim
    value        what the node is worth on the first problem; None if that cannot be computed
    words        the names and factors that a change may use
    light        True if only the frequent changes are wanted
    plumbing     True if the node is an axis, an index or a size, not a quantity

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> words = Vocabulary({"E": np.ones((3, 2))}, Evaluator({}))
        >>> Place(parse("E"), (), None, np.ones((3, 2)), words).shape
        (3, 2)
    """

    def __init__(
        self,
        node: Node,
        path: tuple[int, ...],
        parent: Node | None,
        value: Any,
        words: Vocabulary,
        light: bool = False,
        plumbing: bool = False,
    ):
        self.node, self.path, self.parent, self.value = node, path, parent, value
        self.words, self.light, self.plumbing = words, light, plumbing
        numeric = isinstance(value, (np.ndarray, np.generic, float, int))
        self.shape: tuple[int, ...] | None = np.shape(value) if numeric else None
        self.is_matrix = self.shape is not None and len(self.shape) == 2
        # a quantity that a factor, a sum or a sign can be missing at; what is divided by is none
        self.is_quantity = self.shape is not None and not (parent and node.kind == "number")

    @property
    def root(self) -> bool:
        """True if the node is the whole claim."""
        return self.parent is None

    def within(self, *operators: str) -> bool:
        """Return True if the node is an operand of one of these operators."""
        return self.parent is not None and self.parent.value in operators

    @staticmethod
    def to(new: Node, more: float = 0.0, **about: Any) -> Change:
        """Return a replacement with an extra cost and words for the sentence."""
        return Change(new, more, about)


Finder = Callable[[Place], Iterator[Node | Change]]


@dataclass(frozen=True)
class Mistake:
    """An entry of the table: where a mistake is looked for, and what undoes it.

    Example:
        >>> Mistake("sign", ("unary",), 1.0, False, False, lambda at: iter(at.node.parts)).cost
        1.0
    """

    kind: str
    on: tuple[str, ...]  # kinds of nodes; () for all
    cost: float
    rare: bool  # left out where only the frequent ones are wanted
    plumbing: bool  # looked for at axes, indices and sizes too
    find: Finder
    words: str = ""  # functions and settings that a change may bring in

    def edits(self, at: Place) -> Iterator[Edit]:
        """Yield the changes at a place."""
        depth = 0.01 * len(at.path)
        for change in self.find(at):
            if not isinstance(change, Change):
                change = Change(change, 0.0, {})
            if change.new != at.node:
                cost = self.cost + change.more + depth
                yield Edit(self.kind, at.path, at.node, change.new, cost, change.about)


TABLE: list[Mistake] = []
_BY_KIND: dict[str, list[Mistake]] = {}  # by the kind of node, made on first use


def mistake(
    kind: str,
    *on: str,
    cost: float,
    en: str,
    ko: str,
    hint: tuple[str, str],
    rare: bool = False,
    plumbing: bool = False,
    words: str = "",
) -> Callable[[Finder], Finder]:
    """Enter a mistake in the table; the decorated function yields the replacements of a node.

    kind     its name, as in Verdict.kinds
    on       the kinds of nodes at which it is looked for; none: all
    cost     how unlikely it is: about 1 for what everybody does, 2 for what is far-fetched
    en, ko   its sentence; {old} and {new} are the texts before and after, others come from `to`
    hint     what is told without the repair, in English and in Korean; it names no formula
    rare     True: not tried as a second change
    plumbing True: looked for at axes, indices and sizes too
    words    the functions and settings that a change may bring in

    Example:
        >>> from tinygrad_edu.verifying.edits import TABLE
        >>> any(entry.kind == "mistake" for entry in TABLE)
        False
    """

    def enter(find: Finder) -> Finder:
        declare(kind, (en, ko), hint)
        TABLE.append(Mistake(kind, on, cost, rare, plumbing, find, words))
        _BY_KIND.clear()
        return find

    return enter


def describe(edit: Edit, lang: str = "en", slides: bool = False) -> str:
    """Return the sentence on what was wrong.

    Example:
        >>> import tinygrad_edu.verifying.mistakes
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


def edits(
    tree: Node, words: Vocabulary, before: Mapping[str, Node], light: bool = False
) -> Iterator[Edit]:
    """Yield every single change of the tree that is worth a try; `light`: the frequent ones only.

    Example:
        >>> import tinygrad_edu.verifying.mistakes
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> names = {"E": np.ones((3, 2))}
        >>> tree = parse("np.sum(E)")
        >>> {e.kind for e in edits(tree, Vocabulary(names, Evaluator(names)), {}, light=True)} >= {
        ...     "axis-missing", "sum-extra", "sign"}
        True
    """
    found = (x for _, n in tree.walk() if n.kind in ("entry", "indexed") for x in n.value)
    words.letters, words.present = sorted(set(found)), tree.names()
    for path, node in tree.walk():
        parent = tree
        for i in path[:-1]:
            parent = parent.parts[i]
        plumbing = _is_plumbing(parent, path[-1] if path else None)
        value = None if plumbing else _value(words.values, substitute(node, before))
        at = Place(node, path, parent if path else None, value, words, light, plumbing)
        at.is_quantity &= not _in_divisor(tree, path)
        for entry in _entries(node.kind):
            if (entry.plumbing or not plumbing) and not (light and entry.rare):
                yield from entry.edits(at)


def _in_divisor(tree: Node, path: tuple[int, ...]) -> bool:
    """Return True if a place is part of what is divided by."""
    for i in path:
        if tree.value == "/" and tree.kind == "binary" and i == 1:
            return True
        tree = tree.parts[i]
    return False


def _entries(kind: str) -> list[Mistake]:
    if kind not in _BY_KIND:
        _BY_KIND[kind] = [entry for entry in TABLE if not entry.on or kind in entry.on]
    return _BY_KIND[kind]


def _is_plumbing(parent: Node, i: int | None) -> bool:
    """Return True if a place holds no quantity but an axis, an index, a shape, a loop."""
    if i is None:
        return False
    if parent.kind == "attribute" and parent.value in ("shape", "size"):
        return True
    if parent.kind in ("slice", "tuple", "index") and not (parent.kind == "index" and i == 0):
        return True
    return parent.kind in ("call", "method") and _is_setting(parent, i)


def _is_setting(call: Node, i: int) -> bool:
    """Return True if operand i of a call is no quantity."""
    name = call.value[0].rpartition(".")[2]
    first = len(call.parts) - len(call.value[1])
    if i >= first or name in ("range", "len", "zeros", "ones", "eye", "arange", "einsum"):
        return bool(name != "einsum" or i == 0)
    if name in ("reshape", "transpose", "repeat", "tile", *REDUCTIONS) and i >= 1:
        return True
    return bool(call.kind == "method" and name == "swapaxes" and i >= 1)


def _value(values: Evaluator, node: Node) -> Any:
    try:
        return values.quickly(node)
    except ClaimError:
        return None
