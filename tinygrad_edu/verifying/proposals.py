"""Proposals: changes of the author's text, each of which is a promise.

Applied to the author's text, a proposal gives a report in which at least one claim more is right
and none less. That is checked before it is shown: the changed text is read or run again, and with
it every claim that shares a changed line. So a change of a line that several gradients share counts
only if no right claim becomes wrong by it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .claims import Claim, is_slides
from .derivations import Claimed, Derivation, Function, Program
from .evaluation import Evaluator
from .expressions import Node, render
from .functions import ClaimError
from .grammar import parse
from .problems import Problem
from .repair import Budget, Repair, find_repair
from .truth import Truth
from .vocabulary import Vocabulary

__all__ = ["Changes", "Proposals"]

WORK = 100_000  # operations that the search for all repairs of a verification may take
PAIRS = 0.6  # … and which part of what is left goes to pairs of edits, shared by the claims
SAMPLES = 8  # problems by which arrays are classified

Changes = list[tuple[str, Node, Node]]  # a line's name (∂L/∂W for a claim), its tree, the new one


class Proposals:
    """The repairs of the wrong claims of a verification.

    claims    all claims, those that are right included
    right     which of them are right
    problems  the problems, the first with sizes that all differ
    words     the names of functions that occur in forward

    Example:
        >>> from tinygrad_edu.verifying.claims import Sheet
        >>> from tinygrad_edu.verifying.problems import solve
        >>> import numpy as np
        >>> problem = solve(lambda w: (w * w).sum(), {"w": np.array([1.0, 2.0])})
        >>> claims = Sheet(problem).read({"w": "w"})
        >>> found = Proposals(claims, {claims[0]: False}, [problem])
        >>> found.search()
        >>> found.found[claims[0]].kinds
        ('number-missing',)
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        right: Mapping[Claim, bool],
        problems: Sequence[Problem],
        words: Collection[str] = (),
    ):
        self.claims, self.right, self.problems = claims, right, problems
        self.operations = {*problems[0].operations, *words}
        self.budget = Budget(WORK)
        self.found: dict[Claim, Repair] = {}
        self.same: dict[Claim, Claim] = {}  # whose mistake is the same, and as whose
        self.given_up: set[Claim] = set()  # no repair was found before the bound was reached
        self._words: dict[Any, Vocabulary] = {}
        self._locals: dict[tuple[int, int], dict[str, Any]] = {}

    def search(self) -> None:
        """Look for a repair of every wrong claim: single edits first, then pairs."""
        wrong = [claim for claim in self.claims if self._is_repairable(claim)]
        for claim in wrong:
            self._note(claim, self._again(claim) or self._found(claim, claim.derivation, 1))
        rest = [claim for claim in wrong if claim not in self.found]
        for i, claim in enumerate(rest):
            repair = self._again(claim) or self._on_top(claim)
            if repair is None:
                whole, share = self.budget.left, self.budget.left * PAIRS / (len(rest) - i)
                self.budget.left = max(share, 0)
                repair = self._found(claim, claim.derivation, 2)
                if repair is None and self.budget.reached:
                    self.given_up.add(claim)
                self.budget.left = whole - share + self.budget.left
            self._note(claim, repair)

    def _is_repairable(self, claim: Claim) -> bool:
        if self.right[claim] or claim.refusal or claim.on_example or claim.derivation is None:
            return False
        if claim.function is not None and not claim.function.misfits:
            return True
        return not holds(claim.derivation, self._pairs(claim))  # else it fails elsewhere

    def _note(self, claim: Claim, repair: Repair | None) -> None:
        if repair is None:
            return
        changes = self.changes(claim, repair)
        for other, earlier in self.found.items():
            if changes == self.changes(other, earlier) and len(repair.derivation.lines) > 1:
                self.same.setdefault(claim, other)
                break
        self.found[claim] = repair

    # --- finding

    def _found(self, claim: Claim, start: Claimed | None, edits_at_once: int) -> Repair | None:
        assert start is not None
        return find_repair(
            start,
            self._pairs(claim),
            lambda i: self.words(claim, i),
            self.budget,
            lambda repair: self.accepted(claim, repair),
            edits_at_once,
            0.15 if claim.function is None else 0.0,
        )

    def _again(self, claim: Claim) -> Repair | None:
        """Return the change that repaired another claim, if it repairs this one too."""
        assert claim.derivation is not None
        for other, repair in self.found.items():
            changed, places = self._apply(claim, self.changes(other, repair))
            if changed is not None and holds(changed, self._pairs(claim)):
                again = Repair(repair.edits, places, changed)
                if self.accepted(claim, again):
                    return again
        return None

    def _on_top(self, claim: Claim) -> Repair | None:
        """Return a change that repaired another claim together with one edit of this one."""
        for other, repair in list(self.found.items()):
            changed, places = self._apply(claim, self.changes(other, repair))
            if changed is None:
                continue
            more = find_repair(
                changed,
                self._pairs(claim),
                lambda i: self.words(claim, i),
                self.budget,
                lambda last, first=repair, lines=places: self.accepted(  # type: ignore[misc]
                    claim, _together(first, lines, last)
                ),
            )
            if more is not None:
                return _together(repair, places, more)
        return None

    def _apply(self, claim: Claim, changes: Changes) -> tuple[Claimed | None, tuple[int, ...]]:
        """Return a claim with changed lines, and which they are; None if it has none of them."""
        changed, places = claim.derivation, []
        if changed is None:
            return None, ()
        for key, old, new in changes:
            for i, (name, tree) in enumerate(changed.lines):
                if tree == old and _key(claim, changed, i) == key and name == changed.lines[i][0]:
                    if claim.function is not None and tree.span != old.span:
                        continue
                    changed = changed.with_line(i, new)
                    places.append(i)
                    break
            else:
                return None, ()
        return changed, tuple(places)

    def changes(self, claim: Claim, repair: Repair) -> Changes:
        """Return the lines that a repair changes, each with its name, as it was and as it is."""
        assert claim.derivation is not None
        before, after = claim.derivation.lines, repair.derivation.lines
        return [
            (_key(claim, claim.derivation, i), old, new)
            for i, ((_, old), (_, new)) in enumerate(zip(before, after, strict=True))
            if old is not new
        ]

    # --- the promise

    def accepted(self, claim: Claim, repair: Repair) -> int:
        """Return how many wrong claims a repair makes right; 0 if it breaks a promise."""
        changes = self.changes(claim, repair)
        if claim.function is not None:
            return self._of_function(claim, claim.function, changes)
        changes = [
            (key, old, _read_again(claim, new, self.problems[0])) for key, old, new in changes
        ]
        fixed = 0
        for other in self.claims:
            if other.function is not None or other.derivation is None or other.refusal:
                continue
            changed, _ = self._apply_some(other, changes)
            if changed is None:
                fixed += 0
            elif holds(changed, self._pairs(other)):
                fixed += not self.right[other]
            elif self.right[other] or other is claim:
                return 0
        return fixed

    def _apply_some(self, claim: Claim, changes: Changes) -> tuple[Claimed | None, int]:
        """Return a claim with those of the changed lines that it has; None if it has none."""
        changed, count = claim.derivation, 0
        for change in changes:
            step = replace(claim, derivation=changed)
            after, _ = self._apply(step, [change])
            if after is not None:
                changed, count = after, count + 1
        return (changed if count else None), count

    def _of_function(self, claim: Claim, function: Function, changes: Changes) -> int:
        """Run the changed text of a function and compare everything that it returns."""
        pairs = [(old, new) for _, old, new in changes]
        changed = function.changed(pairs, self.problems[0])
        if changed is None:
            return 0
        family = [c for c in self.claims if c.function is function]
        left = {c for c in family if self.right[c] or c is claim}
        open_ = set(family) - left
        for problem in self.problems:
            for other in [*left, *open_]:
                try:
                    ok = other.truth(problem).agrees(changed.value(other.name, problem))
                except ClaimError:
                    ok = False
                if not ok and other in left:
                    return 0
                if not ok:
                    open_.discard(other)
        return 1 + len(open_)

    def _pairs(self, claim: Claim) -> list[tuple[Evaluator, Truth]]:
        return [(p.evaluator, claim.truth(p)) for p in self.problems]

    # --- words

    def words(self, claim: Claim, i: int) -> Vocabulary:
        """Return what may be put into line i of a claim."""
        key = (claim, i if claim.function is not None else 0)
        if key not in self._words:
            self._words[key] = self._vocabulary(claim, i)
        return self._words[key]

    def _vocabulary(self, claim: Claim, i: int) -> Vocabulary:
        first, function = self.problems[0], claim.function
        if function is None:
            samples = [p.names for p in self.problems[:SAMPLES]]
            slides = is_slides(claim.text)
            return Vocabulary(
                first.names, first.evaluator, samples=samples, operations=self.operations,
                target=claim.name, slides=slides,
            )  # fmt: skip
        assert claim.derivation is not None
        before = self._before(claim.derivation, i)
        samples = [{**p.names, **self._own(function, p, before)} for p in self.problems[:SAMPLES]]
        values = first.evaluator
        if isinstance(claim.derivation, Program):
            values = Evaluator({**first.names, **self._own(function, first, None)})
            if claim.derivation.is_result(i):  # also where it is an entry of a list
                with contextlib.suppress(ClaimError):
                    values.cache[claim.derivation.lines[i][1]] = claim.value(first)
        return Vocabulary(
            samples[0], values, lambda name: function.spell(name, first), samples,
            self.operations, claim.name, own=function.own,
        )  # fmt: skip

    @staticmethod
    def _before(derivation: Claimed, i: int) -> set[str] | None:
        """Return the names that are assigned before a line; None if that is not known."""
        if isinstance(derivation, Program):
            return None
        return {name for name, _ in derivation.lines[:i] if name}

    def _own(self, function: Function, problem: Problem, names: set[str] | None) -> dict[str, Any]:
        """Return the local variables of a function, those of these names."""
        key = (id(function), id(problem))
        if key not in self._locals:
            self._locals[key] = function.locals_on(problem)
        found = self._locals[key]
        return found if names is None else {k: x for k, x in found.items() if k in names}


def holds(claimed: Claimed, pairs: Sequence[tuple[Evaluator, Truth]]) -> bool:
    """Return True if a claim has the right value on all problems.

    Example:
        >>> import numpy as np
        >>> claim = Derivation((("", parse("2 * w")),))
        >>> holds(claim, [(Evaluator({"w": 3.0}), Truth(np.array(6.0)))])
        True
    """
    try:
        return all(truth.agrees(claimed.value(values)) for values, truth in pairs)
    except (ClaimError, RecursionError):
        return False


def _together(first: Repair, places: tuple[int, ...], last: Repair) -> Repair:
    return Repair((*first.edits, *last.edits), (*places, *last.lines), last.derivation, last.fixed)


def _key(claim: Claim, derivation: Claimed, i: int) -> str:
    """Return the name of a line; of the claim itself: ∂L/∂name, as others may refer to it."""
    name = derivation.lines[i][0]
    last = isinstance(derivation, Derivation) and i == len(derivation.lines) - 1
    return f"∂L/∂{claim.name}" if last and not name else name


def _read_again(claim: Claim, tree: Node, problem: Problem) -> Node:
    """Return the tree of a changed line as it is read from its text."""
    slides = is_slides(claim.text)
    names = claim.names or {*problem.names, *(name for name, _ in _lines(claim))}
    try:
        return parse(render(tree, slides), names, problem.operations, slides=slides or None)
    except ClaimError:
        return Node("name", "?")


def _lines(claim: Claim) -> Iterator[tuple[str, Node]]:
    assert claim.derivation is not None
    yield from claim.derivation.lines
