"""Selecting entries: what an index or a mask takes out, and the error that goes back through it.

A[arange(m), y] takes one entry of each row. With Y = one_hot(y) it is rowsum(Y ⊙ A), and the error
that goes back through it is Y times the one that arrives. So is the gradient of a table E of which
rows E[t] were taken: Tᵀ·∂L/∂E[t] with T = one_hot(t).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from ..engine import Box
from .algebra import (
    ONE,
    Axis,
    Base,
    Call,
    Given,
    Index,
    Rule,
    Sum,
    Symbol,
    Term,
    indices_of,
    multiply,
    of,
    renamed,
    summed,
)


class Selects(Protocol):
    """A reader of recorded graphs, as far as an index needs it.

    Example:
        >>> from tinygrad_edu.explaining.reading import Reader
        >>> Reader({}).one_hot(np.array([1, 0]), 2)
        'H1'
    """

    def read(self, x: Any, index: Index, raw: Any = None) -> Sum:
        """The formula of x at these indices."""

    def given(self, x: Any) -> Any:
        """A setting with names in the place of its arrays."""

    def has_name(self, x: Any) -> bool:
        """Whether the author has a name for an array."""

    def one_hot(self, places: Any, n: int) -> str:
        """The name of the array whose rows have a 1 in these places."""


def _parts(index: Any, ndim: int) -> list[Any] | None:
    """The parts of an index, one for each axis; None unless they are arrays and whole axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [np.asarray(p) if isinstance(p, (list, range)) else p for p in parts]
    if any(p is Ellipsis for p in parts):
        at = next(k for k, p in enumerate(parts) if p is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (ndim + 1 - len(parts))
    parts += [slice(None)] * (ndim - len(parts))
    whole = all(isinstance(p, np.ndarray) or p == slice(None) for p in parts)
    return parts if whole and len(parts) == ndim else None


def _places(parts: Sequence[Any]) -> list[int] | None:
    """The axes with arrays of whole numbers, if these stand together and have one shape."""
    found = [k for k, p in enumerate(parts) if isinstance(p, np.ndarray)]
    arrays = [parts[k] for k in found]
    fits = found == list(range(found[0], found[-1] + 1)) if found else False
    usual = all(p.dtype.kind in "iu" and p.ndim and p.size and p.min() >= 0 for p in arrays)
    return found if fits and usual and len({p.shape for p in arrays}) == 1 else None


def _is_each(part: Any, n: int) -> bool:
    """Return True for arange(n) along an axis of length n: each of its entries in turn."""
    return part.ndim == 1 and len(part) == n and bool((part == np.arange(n)).all())


def _selected(
    reader: Selects, parts: Sequence[Any], shape: Sequence[int], taken: Index, source: list[Axis]
) -> tuple[list[Sum], list[Axis]]:
    """One-hot factors between the axes of what is taken and those of where it is taken from; an
    axis of which each entry is taken in turn becomes that of what is taken. Returns also the axes
    that it leaves to be summed over."""
    factors: list[Sum] = []
    for k in _places(parts) or []:
        if _is_each(parts[k], shape[k]):
            source[k] = taken[0]
        else:
            name = reader.one_hot(parts[k], shape[k])
            factors.append(of(Symbol(name, (*taken, source[k]))))
    return factors, [i for i in source if i not in taken]


def read_getitem(reader: Selects, x: Box, index: Index, a: Any, /, **settings: Any) -> Sum | None:
    """Return A[arange(m), y] as Σⱼ Yᵢⱼ Aᵢⱼ; None for another index.

    Example:
        >>> import tinygrad_edu as tg
        >>> from tinygrad_edu.explaining.reading import Reader
        >>> a = tg.Tensor(np.ones((2, 3)), requires_grad=True)
        >>> taken, index = a[np.arange(2), np.array([2, 0])], (np.arange(2), np.array([2, 0]))
        >>> len(read_getitem(Reader({a: "A"}), taken, (Axis(2),), a, index=index).terms)
        1
    """
    array = x.record[3][0]
    parts = _parts(settings["index"], np.ndim(array))
    places = _places(parts) if parts else None
    if not parts or not places or len(places) < 2:
        return None
    if not any(_is_each(parts[k], array.shape[k]) for k in places):
        return None
    taken = index[places[0] : places[0] + parts[places[0]].ndim]
    source = [*index[: places[0]], *(Axis(array.shape[k]) for k in places),
              *index[places[0] + len(taken) :]]  # fmt: skip
    before = {*index}
    factors, own = _selected(reader, parts, array.shape, taken, source)
    inner = multiply(*factors, reader.read(a, tuple(source), array))
    return summed(inner, [i for i in own if i not in before])


def read_scatter(reader: Selects, x: Box, index: Index, a: Any, /, **settings: Any) -> Sum | None:
    """Return what goes back through an index of whole numbers, Σᵢ Tᵢₖ gᵢ, or through a mask.

    Example:
        >>> import tinygrad_edu as tg
        >>> from tinygrad_edu.explaining.reading import Reader
        >>> g = tg.Tensor(np.ones(2), requires_grad=True)
        >>> t = np.array([2, 0])
        >>> reader = Reader({g: "g"}, {id(t): "t"})
        >>> s = read_scatter(reader, tg.scatter(g, t, (3,)), (Axis(3),), g, index=t)
        >>> [factor.name for factor, _ in s.terms[0].factors]
        ['T', 'g']
    """
    shape = x.value.shape
    mask = settings["index"]
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        return _through_mask(reader, x, index, a, mask)
    parts = _parts(mask, len(shape))
    places = _places(parts) if parts else None
    if not parts or not places:
        return None
    taken = tuple(map(Axis, parts[places[0]].shape))
    source = list(index)
    each = [k for k in places if _is_each(parts[k], shape[k])]
    if not each and not all(reader.has_name(parts[k]) for k in places):
        return None
    if each:  # its axis is one of the result
        taken = (index[each[0]],)
    factors, _ = _selected(reader, parts, shape, taken, source)
    if len({*map(id, source)}) < len(source):
        return None  # the same entries along two axes
    inner = (*index[: places[0]], *taken, *index[places[-1] + 1 :])
    s = multiply(*factors, reader.read(a, inner, x.record[3][0]))
    return summed(s, [i for i in taken if i not in index])


def _through_mask(reader: Selects, x: Box, index: Index, a: Any, mask: Any) -> Sum | None:
    """Return mask ⊙ g where the same g arrives at every entry that was taken."""
    array = x.record[3][0]
    arrived = (Axis(len(array)), *index[mask.ndim :])
    s = reader.read(a, arrived, array)
    name = reader.given(mask)
    if arrived[0] in indices_of(s) or not isinstance(name, Given):
        return None
    return multiply(of(Symbol(name.name, index[: mask.ndim])), s)


def read_add_rows(reader: Selects, x: Box, index: Index, a: Any, rows: Any, /, n: int) -> Sum:
    """Return the error that arrives at a table: Σᵢ Tᵢₖ gᵢ with T = one_hot(t).

    Example:
        >>> import tinygrad_edu as tg
        >>> from tinygrad_edu.explaining.reading import Reader
        >>> W = tg.Tensor(np.ones((3, 2)), requires_grad=True)
        >>> back = tg.grad(tg.embedding(np.array([2, 0]), W).sum(), W, create_graph=True)
        >>> back.shape
        (3, 2)
    """
    taken = tuple(map(Axis, np.shape(x.record[3][1])))
    name = reader.one_hot(np.asarray(x.record[3][1]), n)
    factor = of(Symbol(name, (*taken, index[0])))
    s = reader.read(a, (*taken, *index[1:]), x.record[3][0])
    return summed(multiply(factor, s), taken)


# --- what is known of one-hot rows ----------------------------------------------------------------


def one_hot_rules(names: Iterable[str]) -> list[Rule]:
    """Return rules for arrays with a single 1 in each row: f(Σⱼ Yᵢⱼ xⱼ) = Σⱼ Yᵢⱼ f(xⱼ), and
    Yᵢₖ Σⱼ Yᵢⱼ xⱼ = Yᵢₖ xₖ.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> Y, x = Symbol("Y", (i, j)), Symbol("x", (i, j))
        >>> taken = summed(multiply(of(Y), of(x)), [j])
        >>> inside, _ = one_hot_rules(["Y"])
        >>> log = Term(Fraction(1), ((Call("log", ((taken, ()),), (i,)), Fraction(1)),))
        >>> inside(log).bound == {j}
        True
    """
    hot = {*names}

    def taken(s: Any) -> tuple[Symbol, Term] | None:
        """The one-hot array and the term of Σⱼ Yᵢⱼ xⱼ."""
        if not isinstance(s, Sum) or len(s.terms) != 1:
            return None
        (t,) = s.terms
        for b, p in t.factors:
            if isinstance(b, Symbol) and b.name in hot and p == 1 and t.bound == {b.index[-1]}:
                return b, t
        return None

    def rest_of(t: Term, y: Symbol) -> Sum:
        factors = tuple(f for f in t.factors if f[0] is not y)
        return Sum((Term(t.coefficient, factors),))

    def moved_in(b: Base, p: Fraction) -> Sum | None:
        """A power or a function of the one entry that was taken, as the sum of all times Y."""
        if isinstance(b, Sum) and p != 1 and (found := taken(b)):
            y, t = found
            inner = of(rest_of(t, y), p)
        elif isinstance(b, Call) and b.each and len(b.args) == 1 and (found := taken(b.args[0][0])):
            y, t = found
            inner = of(replace(b, args=((rest_of(t, y), ()),), index=(*b.index, y.index[-1])), p)
        else:
            return None
        return summed(multiply(of(y), inner), [y.index[-1]])

    def inside(t: Term) -> Term | None:
        for k, (b, p) in enumerate(t.factors):
            if (new := moved_in(b, p)) is not None:
                others = Sum((Term(t.coefficient, t.factors[:k] + t.factors[k + 1 :]),))
                whole = multiply(others, new).terms[0]
                return replace(whole, bound=whole.bound | t.bound)
        return None

    def both(t: Term) -> Term | None:
        found = [b for b, p in t.factors if isinstance(b, Symbol) and b.name in hot and p == 1]
        for y in found:
            for z in found:
                j, k = y.index[-1], z.index[-1]
                same = y is not z and y.name == z.name and y.index[:-1] == z.index[:-1]
                if same and j is not k and j in t.bound and ONE not in (j, k):
                    left = tuple(f for f in t.factors if f[0] is not y)
                    moved: Term = renamed(Term(t.coefficient, left), {j: k})
                    return replace(moved, bound=t.bound - {j})
        return None

    return [inside, both] if hot else []


def squared(names: Iterable[str]) -> Rule:
    """Return the rule Y² = Y for arrays of 0 and 1.

    Example:
        >>> squared(["Y"])(Term(Fraction(1), ((Symbol("Y"), Fraction(2)),))).factors[0][1]
        Fraction(1, 1)
    """
    hot = {*names}

    def rule(t: Term) -> Term | None:
        if not any(isinstance(b, Symbol) and b.name in hot and p > 1 for b, p in t.factors):
            return None
        one = Fraction(1)
        factors = tuple(
            (b, one if isinstance(b, Symbol) and b.name in hot and p > 1 else p)
            for b, p in t.factors
        )
        return replace(t, factors=factors)

    return rule
