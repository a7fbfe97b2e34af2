"""Search for the plainest change of a claim that makes it right.

Every edit is tried at every place of the claim (`edits`), first one, then two, on a small random
problem first and on all of them if it passes there. What is left is the cheapest change that is
right everywhere, and its kind is the diagnosis. Sub-results are cached, so that a try costs only
the operations above the place of the change. The search is bounded by the operations it does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Array
from . import mistakes, textbook
from .derivations import Claimed, Derivation
from .edits import Edit, edits
from .evaluation import Evaluator
from .expressions import Node
from .functions import ClaimError
from .truth import Truth, stripped
from .vocabulary import Vocabulary

__all__ = ["TABLES", "Budget", "Repair", "factor_between", "find_repair", "words_in"]

TABLES = (mistakes, textbook)  # the modules whose import declares the mistakes


@dataclass(frozen=True)
class Repair:
    """Edits that make a claim right, each with the line that it stands in, and the result.

    Example:
        >>> from tinygrad_edu.verifying.expressions import Node
        >>> one = Node("number", 1)
        >>> edit = Edit("sign", (), one, Node("unary", "-", (one,)), 1.0)
        >>> Repair((edit,), (0,), None).kinds
        ('sign',)
    """

    edits: tuple[Edit, ...]
    lines: tuple[int, ...]
    derivation: Claimed
    fixed: int = 1  # how many wrong claims become right by it

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each edit."""
        return tuple(edit.kind for edit in self.edits)


class Budget:
    """The work that the search for repairs may do, counted in operations, not in seconds.

    Counting makes the result the same on a fast and on a busy machine.

    Example:
        >>> budget = Budget(100)
        >>> budget.spend(60), budget.spend(60), budget.tries, budget.reached
        (None, None, 2, True)
    """

    def __init__(self, most: float = math.inf):
        self.left, self.tries = most, 0

    @property
    def reached(self) -> bool:
        """True if nothing is left."""
        return self.left <= 0

    def spend(self, work: float) -> None:
        """Count a try that did so much work."""
        self.tries += 1
        self.left -= work


WORK_OF_A_CALL = 40  # a call of a changed function, in operations of the interpreter
WORK_OF_A_LOOK = 0.5  # a changed claim that was worked out before
USUAL_STEPS, USUAL_DEPTH = 12, 30  # of an evaluation, and of a tree: beyond them more is counted


def work_of(steps: float, depth: int) -> float:
    """Return the work of a try: of its evaluation, and of building the changed tree.

    Example:
        >>> work_of(8, 10), work_of(112, 40)
        (2.0, 125.0)
    """
    return 1 + steps / 8 + max(0.0, steps - USUAL_STEPS) + max(0, depth - USUAL_DEPTH)


SLACK = 0.5  # how much more than the cheapest repair one may cost that makes more claims right
PER_CLAIM = 0.3  # … for each claim

Accepts = Callable[[Repair], int]


def find_repair(
    claim: Claimed,
    problems: Sequence[tuple[Evaluator, Truth]],
    words: Callable[[int], Vocabulary],
    budget: Budget,
    accepts: Accepts = lambda repair: 1,
    edits_at_once: int = 1,
    above: float = 0.0,
) -> Repair | None:
    """Return the plainest change of one edit, or of two, that makes a claim right everywhere.

    problems       the claim's values on these must be right; the first should be small, with
                   sizes that all differ
    words          what may be put into line i of the claim
    budget         bounds the search
    accepts        the number of claims that a repair makes right, 0 if it must not be proposed
    edits_at_once  2: two edits are tried together
    above          what a change of a line above the claim's own costs

    Example:
        >>> from tinygrad_edu.verifying.derivations import Derivation
        >>> from tinygrad_edu.verifying.expressions import render
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> names = {"E": np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])}
        >>> truth, values = Truth(names["E"].sum(axis=0)), Evaluator(names)
        >>> claim = Derivation((("b", parse("np.sum(E)")),))
        >>> words = Vocabulary(names, values)
        >>> repair = find_repair(claim, [(values, truth)], lambda i: words, Budget())
        >>> repair.kinds, render(repair.derivation.lines[-1][1])
        (('axis-missing',), 'np.sum(E, axis=0)')
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = _Search(claim, problems, words, budget, accepts, above)
        return search.one() if edits_at_once == 1 else search.two()


@dataclass(frozen=True)
class _Try:
    """An edit of a line, what it costs, the changed claim, and its value on the first problem."""

    edit: Edit
    line: int
    cost: float
    changed: Claimed
    value: Any = None


class _Search:
    def __init__(
        self,
        claim: Claimed,
        problems: Sequence[tuple[Evaluator, Truth]],
        words: Callable[[int], Vocabulary],
        budget: Budget,
        accepts: Accepts,
        above: float,
    ):
        self.claim, self.problems, self.words = claim, problems, words
        self.budget, self.accepts, self.above = budget, accepts, above
        self.first, self.truth = problems[0]
        self.is_program = not isinstance(claim, Derivation)
        self.own = {word for _, tree in claim.lines for word in words_in(tree)}
        self.wrong: set[int] = set()  # hashes of changed claims that are not right

    def one(self) -> Repair | None:
        """Return the plainest repair of one edit."""
        found: list[_Try] = []
        tries = self.tries(self.claim)
        if self.is_program:  # each is a call: the likeliest first, and no more than are needed
            tries = iter(sorted(tries, key=lambda t: t.cost))
        for t in tries:
            if self.budget.reached or (found and self.is_program and t.cost > found[0].cost + 0.3):
                break
            if self.is_right(t.changed):
                found.append(t)
        return self.plainest(found)

    def plainest(self, found: list[_Try]) -> Repair | None:
        """Return the cheapest that is accepted; making more claims right counts for it."""
        best: tuple[float, Repair] | None = None
        for t in sorted(found, key=lambda t: t.cost):
            if best is not None and t.cost > best[0] + SLACK:
                break
            repair = Repair((t.edit,), (t.line,), t.changed)
            if fixed := self.accepts(repair):
                cost = t.cost - PER_CLAIM * (fixed - 1)
                if best is None or cost < best[0]:
                    best = cost, replace(repair, fixed=fixed)
        return None if best is None else best[1]

    def two(self) -> Repair | None:
        """Return the cheapest repair of two edits.

        First edits whose result is the truth but for a factor, a sign or a transpose come first,
        since that is seen without a try.
        """
        firsts: list[tuple[bool, float, int, _Try]] = []
        for t in self.tries(self.claim):
            if self.budget.reached:
                return None
            value = self.value(t.changed, keep=True)
            if value is not None or t.edit.kind in _STRUCTURAL:
                firsts.append((not _nearly(value, self.truth), t.cost, len(firsts), t))
        best: tuple[float, Repair] | None = None
        for far, cost, _, t in sorted(firsts, key=lambda first: first[:3]):
            if best is not None and (far or cost + 1.0 >= best[0]):
                break
            for second in self.tries(t.changed, light=True):
                if best is not None and cost + second.cost >= best[0]:
                    continue
                if self.budget.reached:
                    return None if best is None else best[1]
                if not self.is_right(second.changed):
                    continue
                both = cost + second.cost + self.far_fetched(second)
                if best is None or both < best[0]:
                    repair = Repair((t.edit, second.edit), (t.line, second.line), second.changed)
                    if fixed := self.accepts(repair):
                        best = both, replace(repair, fixed=fixed)
        return None if best is None else best[1]

    def is_right(self, claim: Claimed) -> bool:
        """Return True if a changed claim is right on all problems; the same claim, which two
        changes in either order lead to, is worked out once."""
        key = hash(claim.lines)
        if key in self.wrong:
            self.budget.left -= WORK_OF_A_LOOK
            return False
        value = self.value(claim)
        if value is not None and self.truth.agrees(value) and self.holds(claim):
            return True
        self.wrong.add(key)
        return False

    def tries(self, claim: Claimed, light: bool = False) -> Iterator[_Try]:
        """Yield every change of one edit; `light`: the frequent ones, without `far_fetched`."""
        last = len(claim.lines) - 1
        for i in claim.relevant():
            tree, words = claim.lines[i][1], self.words(i)
            returned = i == last > 0 and tree.kind == "name" and words.own is not None
            for edit in edits(tree, words, claim.before(i), light):
                if returned and edit.kind != "name-wrong":
                    continue  # a function's result is mended where it is computed
                changed = claim.with_line(i, tree.replaced(edit.path, edit.new))
                above = self.above if i < len(claim.lines) - 1 else 0.0
                t = _Try(edit, i, edit.cost + above, changed)
                yield t if light else replace(t, cost=t.cost + self.far_fetched(t))

    def far_fetched(self, t: _Try) -> float:
        """Return what a change costs for its length and for words that the author does not use."""
        names = self.words(t.line).own or ()
        new = list(words_in(t.edit.new))
        longer = len(new) - sum(1 for _ in words_in(t.edit.old))
        strange = {word for word in new if word not in self.own and word not in names}
        return 0.06 * len(strange) + 0.01 * max(0, longer)

    def value(self, claim: Claimed, keep: bool = False) -> Any:
        """Return what a changed claim is worth on the first problem; None if it cannot be."""
        self.first.keep = keep
        try:
            return claim.value(self.first)
        except (ClaimError, RecursionError):
            return None
        finally:
            self.first.keep = True
            if isinstance(claim, Derivation):
                self.budget.spend(work_of(self.first.steps, claim.tree().depth))
            else:
                self.budget.spend(WORK_OF_A_CALL)

    def holds(self, claim: Claimed) -> bool:
        """Return True if the claim is right on all problems."""
        try:
            return all(truth.agrees(claim.value(values)) for values, truth in self.problems[1:])
        except ClaimError:
            return False


def words_in(node: Node) -> Iterator[str]:
    """Yield the names, functions and numbers of a tree, as often as they occur.

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> list(words_in(parse("2 * np.sum(E)")))
        ['2', 'np.sum', 'E']
    """
    left = [node]
    while left:
        part = left.pop()
        if part.kind in ("name", "number", "constant"):
            yield str(part.value)
        elif part.kind in ("call", "method"):
            yield str(part.value[0])
        left += reversed(part.parts)


_STRUCTURAL = {
    "transpose-missing", "transpose-extra", "operands-swapped", "operator", "name-wrong",
    "axis-missing", "axis-wrong", "sum-missing",
}  # fmt: skip


def _nearly(value: Any, truth: Truth) -> bool:
    """Return True if a value is the truth but for one number as a factor, or for a transpose."""
    if value is None or not isinstance(value, (np.ndarray, np.generic, float, int)):
        return False
    x, t = np.asarray(value, dtype=float), truth.array
    if x.ndim == 2 and x.T.shape == t.shape and x.shape != t.shape and truth.agrees(x.T):
        return True
    if stripped(x.shape) != truth.shape:
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
    close = np.abs(x - c * t) <= 1e-8 * np.abs(c * t) + 1e-13 * np.abs(x).max()
    return c if close.all() else None
