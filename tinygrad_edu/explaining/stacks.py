"""Stacks of matrices: arrays of three axes and more, of which the last two are rows and columns.

A batch of attention is S = QKᵀ/√d for every sample at once. The axes before the last two are taken
out of the formula; what is left is one of matrices, and NumPy computes it for the whole stack.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .algebra import ONE, Axis, Base, Call, Index, Sum, Term, indices_of
from .notation import Node


class NoNotation(Exception):
    """A formula that matrices cannot say: it needs three indices at once.

    Example:
        >>> issubclass(NoNotation, Exception)
        True
    """


def one_sample(s: Sum, batch: Index) -> Sum:
    """Return the formula without the axes of the stack, which stand before all others.

    Raises:  NoNotation if an array has them in other places
    Example:
        >>> from tinygrad_edu.explaining.algebra import Symbol, of
        >>> b, i, j = Axis(3), Axis(2), Axis(2)
        >>> one_sample(of(Symbol("X", (b, i, j))), (b,)) == of(Symbol("X", (i, j)))
        True
    """
    return Sum(tuple(_of_term(t, batch) for t in s.terms))


def _of_term(t: Term, batch: Index) -> Term:
    return replace(t, factors=tuple((_of_base(b, batch), p) for b, p in t.factors))


def _of_base(b: Base, batch: Index) -> Base:
    if isinstance(b, Sum):
        return one_sample(b, batch)
    if isinstance(b, Call) and b.each:
        args = tuple((one_sample(s, batch), i) for s, i in b.args)
        return replace(b, args=args, index=tuple(i for i in b.index if i not in batch))
    if not {*batch} & {*b.index}:
        if len(b.index) > 2:
            raise NoNotation
        return b
    lead, own = b.index[:-2], b.index[-2:]
    aligned = all(i in (j, ONE) for i, j in zip(lead[::-1], batch[::-1], strict=False))
    if not lead or len(lead) > len(batch) or not aligned or {*batch} & {*own}:
        raise NoNotation
    return replace(b, index=own)


def stack_axes(x: Any) -> Index:
    """Return the axes before the last two of the array with the most axes in a formula.

    Example:
        >>> from tinygrad_edu.explaining.algebra import Symbol, of
        >>> b, i, j = Axis(3), Axis(2), Axis(2)
        >>> stack_axes(of(Symbol("X", (b, i, j)))) == (b,)
        True
    """
    return whole_index(x)[:-2]


def whole_index(x: Any) -> Index:
    """Return the axes of the array with the most axes in a formula.

    Example:
        >>> from tinygrad_edu.explaining.algebra import Symbol
        >>> i = Axis(3)
        >>> whole_index(Symbol("x", (i,))) == (i,)
        True
    """
    if isinstance(x, Term):
        inner: list[Any] = [b for b, _ in x.factors]
    elif isinstance(x, Sum):
        inner = [*x.terms]
    elif isinstance(x, Call) and x.each:
        inner = [s for s, _ in x.args]
    else:
        return tuple(x.index)
    return max(map(whole_index, inner), key=len, default=())


def free_index(t: Term) -> Index | None:
    """Return the axes of the largest factor that is as large as the whole term without its Σ.

    Example:
        >>> from fractions import Fraction
        >>> from tinygrad_edu.explaining.algebra import Symbol
        >>> i, j = Axis(3), Axis(2)
        >>> X = Symbol("X", (i, j))
        >>> free_index(Term(Fraction(1), ((X, Fraction(2)),), frozenset({i, j}))) == (i, j)
        True
    """
    for b, _ in t.factors:
        letters = indices_of(b)
        if letters >= t.bound:
            found = _output(b)
            if {*found} == letters:
                return found
    return None


def _output(b: Base) -> Index:
    """The axes of a factor in the order in which its arrays have them."""
    if isinstance(b, Sum):
        letters = indices_of(b)
        found: list[Axis] = []
        for t in b.terms:
            for f, _ in t.factors:
                found += [i for i in _output(f) if i in letters and i not in found]
        return tuple(found)
    if isinstance(b, Call) and b.each:
        return max((_output(s) for s, _ in b.args), key=len, default=())
    return tuple(i for i in b.index if i is not ONE)


def as_stack(n: Node) -> Node:
    """Return a formula of matrices as one of stacks: ᵀ, rowsum and 1ᵀ act on the last two axes.

    Example:
        >>> as_stack(Node("T", (Node("name", (), ("K", False)),))).value
        'stack'
    """
    parts = tuple(map(as_stack, n.parts))
    value = "stack" if n.kind in ("T", "rowsum", "colsum") else n.value
    return Node(n.kind, parts, value)


def has_stack(n: Node) -> bool:
    """Return True for a formula of stacks.

    Example:
        >>> has_stack(Node("name", (), ("K", False)))
        False
    """
    return n.kind in ("stack", "stacksum") or any(map(has_stack, n.parts))
