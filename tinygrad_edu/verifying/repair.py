"""The smallest change of a claim that makes it right, searched for.

Every edit is tried at every place of the claim (`edits`), first one, then two, on a small random
problem first and on all of them if it passes there. What is left is the cheapest change that is
right everywhere, and its kind is the diagnosis. Sub-results are remembered, so that a try costs
only the operations above the place of the change.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Array
from .derivations import Claimed, Derivation
from .edits import Edit, Vocabulary, edits
from .evaluation import Evaluator
from .functions import ClaimError

__all__ = ["Repair", "Truth", "factor_between", "find_repair"]


class Truth:
    """A right value, with how close is equal.

    A value is equal if no entry differs by more than 1e-9·scale + 1e-7·(the largest entry of the
    right one), after leading axes of length 1 are dropped and NumPy has broadcast what is smaller.
    With `columns`, a column stands for a vector, as on the slides.

    Example:
        >>> truth = Truth(np.array([1.0, 2.0]))
        >>> truth.agrees(np.array([[1.0, 2.0]])), truth.agrees(np.array([[1.0], [2.0]]))
        (True, False)
    """

    __slots__ = ("array", "columns", "shape", "tolerance")

    def __init__(self, array: Array, columns: bool = False, scale: float = 1.0):
        self.array, self.columns = array, columns
        self.shape = _stripped(array.shape)
        self.tolerance = 1e-9 * scale + 1e-7 * float(np.abs(array).max(initial=0.0))

    def agrees(self, value: Any) -> bool:
        """Whether a value is this one."""
        if type(value) is not np.ndarray or value.dtype.kind not in "fiub":  # its own arithmetic
            if not isinstance(value, (list, tuple, np.ndarray, np.generic, int, float)):
                return False
            try:
                value = np.asarray(value)
                if value.dtype.kind not in "fiubO":
                    return False
                value = value.astype(float)
            except (ValueError, TypeError):
                return False
        column = self.columns and np.shape(value) == (*self.array.shape, 1)
        if column or _stripped(np.shape(value)) == self.shape:
            value = np.reshape(value, self.array.shape)
        elif not _spreads(np.shape(value), self.array.shape):
            return False
        difference = np.abs(value - self.array)
        return bool(difference.max(initial=0.0) <= self.tolerance)  # nan is not


def _stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    i = 0
    while i < len(shape) and shape[i] == 1:
        i += 1
    return shape[i:]


def _spreads(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Whether NumPy broadcasts the one shape to the other."""
    return len(shape) <= len(over) and all(
        n in (1, length) for n, length in zip(shape[::-1], over[::-1], strict=False)
    )


@dataclass(frozen=True)
class Repair:
    """Edits that make a claim right, each with the line that it stands in, and the result.

    Example:
        >>> from tinygrad_edu.verifying.expressions import Node
        >>> one = Node("number", 1)
        >>> edit = Edit("sign", (), one, Node("unary", "-", (one,)), 1.0)
        >>> Repair((edit,), (0,), None, 1).kinds
        ('sign',)
    """

    edits: tuple[Edit, ...]
    lines: tuple[int, ...]
    derivation: Claimed
    tries: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was wrong, in one word each."""
        return tuple(edit.kind for edit in self.edits)


def find_repair(
    claim: Claimed,
    problems: Sequence[tuple[Evaluator, Truth]],
    names: Mapping[str, Any],
    most: int = 40_000,
    words: Vocabulary | None = None,
    until: float = math.inf,
) -> tuple[Repair | None, int]:
    """The cheapest change, of one edit or else of two, with which the claim is right everywhere,
    and how many were tried: `most` of them at most where it takes two.

    `words` is what may be put into the claim (default: the names of the first problem); after
    `until`, by time.monotonic, it is given up.

    Shapes:  the first of the problems should be small, with sizes that all differ
    Example:
        >>> from tinygrad_edu.verifying.derivations import Derivation
        >>> from tinygrad_edu.verifying.expressions import render
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> names = {"E": np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])}
        >>> truth = Truth(names["E"].sum(axis=0))
        >>> claim = Derivation((("b", parse("np.sum(E)")),))
        >>> repair, _ = find_repair(claim, [(Evaluator(names), truth)], names)
        >>> repair.kinds, render(repair.derivation.lines[-1][1])
        (('axis-missing',), 'np.sum(E, axis=0)')
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = _Search(claim, problems, words or Vocabulary(names, problems[0][0]), most, until)
        return search.run(), search.tries


class _Search:
    def __init__(
        self,
        claim: Claimed,
        problems: Sequence[tuple[Evaluator, Truth]],
        words: Vocabulary,
        most: int,
        until: float,
    ):
        self.claim, self.problems, self.words, self.most = claim, problems, words, most
        self.until = until
        self.first, self.truth = problems[0]
        self.slow = not isinstance(claim, Derivation)
        self.tries = 0

    def run(self) -> Repair | None:
        singles: list[tuple[Edit, int, Claimed]] = []
        found: list[tuple[float, Repair]] = []
        values: list[Any] = []
        every = list(self.all_edits(self.claim))
        if self.slow:  # the likeliest first, and no more than are needed
            every = sorted(every, key=lambda pair: pair[1].cost)[: self.most]
        for i, edit in every:
            if self.slow and (found or time.monotonic() > self.until):
                break
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

    def all_edits(self, claim: Claimed, light: bool = False) -> Iterator[tuple[int, Edit]]:
        for i in claim.relevant():
            for edit in edits(claim.lines[i][1], self.words, claim.before(i), light):
                yield i, edit

    def apply(self, claim: Claimed, i: int, edit: Edit) -> Claimed:
        return claim.with_line(i, claim.lines[i][1].replaced(edit.path, edit.new))

    def value(self, claim: Claimed, keep: bool = False) -> Any:
        self.tries += 1
        self.first.keep = keep
        try:
            return claim.value(self.first)
        except (ClaimError, RecursionError):
            return None
        finally:
            self.first.keep = True

    def holds(self, claim: Claimed) -> bool:
        """Whether the claim is right on all problems."""
        try:
            return all(truth.agrees(claim.value(values)) for values, truth in self.problems[1:])
        except ClaimError:
            return False

    def two(self, singles: list[tuple[Edit, int, Claimed]], values: list[Any]) -> Repair | None:
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
                if self.tries >= self.most or time.monotonic() > self.until:
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
