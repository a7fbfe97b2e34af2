"""From index notation back to matrices.

A term is a network of arrays that share indices, and is drawn together piece by piece: pieces with
the same indices stand element by element (⊙); a summed index that two pieces share is a matrix
product, one that closes a ring of them is a trace, and one that a single piece has is a sum over
its rows or columns. Pieces that share nothing summed with the others are numbers apart, as xᵀAx.
Which side is transposed is decided last, when it is known which index has to be the row and which
the column. What matrices cannot say is written with its indices and Σ.

A vector (one axis) is a column, as in textbooks, unless it stands _beside the rows of a matrix,
where NumPy broadcasts it and the slides write it as it is. Arrays of three axes and more are
written by their names alone where they stand element by element, and elsewhere as stacks of
matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from .algebra import (
    ONE,
    Axis,
    Base,
    Index,
    Sum,
    Symbol,
    Term,
    connected,
    content,
    expanded,
    indices_in_order,
    indices_of,
    multiplied_out,
    named_whole,
    scale,
)  # fmt: skip
from .notation import Node, is_negative, kind_of, named, numeral, text, unsigned
from .stacks import NoNotation, as_stack, free_index, one_sample, stack_axes

Place = tuple[Axis | None, ...]  # rows and columns of what is to be written, or more axes
Orient = Callable[[Place], Node]
NUMBER: Place = (None, None)


@dataclass
class Piece:
    """Factors that belong together: their free indices, and how to write them with given rows and
    columns.

    natural  an order of the indices in which they may be written
    inverse  whether it stands below the line
    kind     "vector" for a name with one axis, "product" for a matrix product, or ""

    Example:
        >>> Piece(frozenset(), lambda place: Node("vector", (), "x")).inverse
        False
    """

    labels: frozenset[Axis]
    orient: Orient
    natural: Place = NUMBER
    inverse: bool = False
    kind: str = ""

    def at(self, place: Place) -> Node:
        """Written at those of the places that it has."""
        mine: Place = tuple(i if i in self.labels else None for i in place)
        if len(mine) > 2 and not any(mine[:-2]):
            n = self.orient(mine[-2:])
            if n.kind == "column":
                raise NoNotation
            return _beside(n)
        return self.orient(mine)


@dataclass(frozen=True)
class Writer:
    """Writes formulas as trees.

    sizes     numbers that have a name, such as the number of samples: {101: "m"}
    decimals  whether 3/5 is written 0.6, as where the author has written 0.3

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = Term(Fraction(1), ((Symbol("X", (i, j)), Fraction(1)),))
        >>> text(Writer({}).write(Sum((X,)), (j, i)))
        'Xᵀ'
    """

    sizes: Mapping[int, str]
    decimals: bool = False
    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def write(self, s: Sum, index: Index) -> Node:
        """The tree of a formula whose axes are `index`: of matrices if they can say it, else with
        indices."""
        return next(self.ways(s, index))

    def ways(self, s: Sum, index: Index) -> Iterator[Node]:
        """The trees of a formula: of matrices if they can say it, of stacks of matrices, and with
        indices."""
        with suppress(NoNotation):
            yield self.matrices(s, index)
        with suppress(NoNotation):
            yield self.stacks(s, index)
        yield Indexed(self).write(s, index)

    def stacks(self, s: Sum, index: Index) -> Node:
        """The tree of a formula of stacks of matrices.

        Raises:  NoNotation if they cannot say it
        """
        if len(index) > 2:
            batch = tuple(i for i in index[:-2] if i is not ONE)
            tree = self._sum(one_sample(s, batch), _place(index[-2:]), 2)
            return Node("stack", (as_stack(tree),))
        return _added([self._stack_term(t, index) for t in s.terms])

    def _stack_term(self, t: Term, index: Index) -> Node:
        """A term that may be summed over the matrices of a stack."""
        alone = Sum((t,))
        with suppress(NoNotation):
            return self.matrices(alone, index)
        if not index:
            return self._total_of_stack(t)
        batch = stack_axes(t)
        if not batch or not {*batch} <= t.bound:
            raise NoNotation
        inner = Sum((Term(Fraction(1), t.factors, t.bound - {*batch}),))
        tree = self._sum(one_sample(inner, batch), _place(index), len(index))
        tree = tree.parts[0] if _is_row(tree) else tree
        axes = len(batch)
        if tree.kind == "colsum":  # over the stack and over its rows
            tree, axes = tree.parts[0], axes + 1
        kind = "m" if len(index) > 1 else "c"
        return self.scaled(
            t.coefficient, [], [Node("stacksum", (as_stack(tree),), (axes, kind))], []
        )

    def _total_of_stack(self, t: Term) -> Node:
        """The sum of all entries of a stack."""
        outer = tuple(f for f in t.factors if not indices_of(f[0]))
        body = replace(
            t, coefficient=Fraction(1), factors=tuple(f for f in t.factors if f not in outer)
        )
        index = free_index(body)
        if index is not None and len(index) > 2 and {*index} == body.bound:
            total = Node("total", (self.stacks(Sum((replace(body, bound=frozenset()),)), index),))
        else:
            total = self._total_of_products(body)
        over = [self._sum(Sum((Term(Fraction(1), (f,)),)), NUMBER) for f in outer if f[1] > 0]
        under = [
            self._sum(Sum((Term(Fraction(1), ((b, -p),)),)), NUMBER) for b, p in outer if p < 0
        ]
        return self.scaled(t.coefficient, over, [total], under)

    def _total_of_products(self, t: Term) -> Node:
        """The sum of all entries of products of matrices, sum(AV), over a whole stack."""
        batch = stack_axes(t)
        if not batch or not {*batch} <= t.bound:
            raise NoNotation
        inner = Sum((replace(t, bound=t.bound - {*batch}),))
        tree = self._sum(one_sample(inner, batch), NUMBER)
        if tree.kind != "total":
            raise NoNotation
        return Node("total", (Node("stack", (as_stack(tree.parts[0]),)),))

    def matrices(self, s: Sum, index: Index) -> Node:
        """The tree of a formula of matrices; a vector as is shorter, column or row.

        Raises:  NoNotation if matrices cannot say it
        """
        if len(index) != 1 or index[0] is ONE:
            return self._sum(s, _place(index), len(index))
        trees = []
        for place in ((index[0], None), (None, index[0])):
            try:
                tree = self._sum(s, place, 1)
            except NoNotation:
                continue
            if _is_row(tree):
                tree = tree.parts[0]
            elif place[0] is None:  # vectors in it lie beside 1ᵀE as they are
                tree = _beside(tree)
            trees.append(tree)
        if not trees:
            raise NoNotation
        return min(trees, key=lambda t: (_rows_lying(t), _transposes(t), len(text(t))))

    def _sum(self, s: Sum, place: Place, ndim: int = 0) -> Node:
        key = id(s), place, ndim
        if key not in self._known:
            try:
                self._known[key] = s, self._new_sum(s, place, ndim)
            except NoNotation:
                self._known[key] = s, None
        node: Node | None = self._known[key][1]
        if node is None:
            raise NoNotation
        return node

    def _new_sum(self, s: Sum, place: Place, ndim: int) -> Node:
        if not s.terms:
            return Node("number", (), Fraction(0))
        nodes = [self._term(t, place, ndim) for t in s.terms]
        common = content(s)
        alike = len({t.coefficient.denominator for t in s.terms}) == 1
        alike &= not (self.decimals and common.denominator % 5 == 0)
        if alike and len(nodes) > 1 and abs(common) != 1 and not any(map(_has_product, nodes)):
            over, under = self.number(abs(common))
            inner = self._sum(scale(s, 1 / common), place, ndim)
            return Node("scaled", (*over, inner, *under), (common < 0, len(over), True))
        if sum(i is not None for i in place) > 1:
            nodes = [_beside(n) for n in nodes]
        return _added(nodes)

    def _term(self, t: Term, place: Place, ndim: int) -> Node:
        if place == NUMBER and _is_uneven(t) and (apart := multiplied_out(t)) is not None:
            return self._sum(apart, place, ndim)
        try:
            plain = self._product(t, place, ndim)
            if (divided := _divided(t)) is t:
                return plain
            other = self._product(divided, place, ndim)
            return min(plain, other, key=lambda n: len(text(n)))
        except NoNotation:
            if (apart := multiplied_out(t)) is None:
                raise
            every = [self._sum(s, place, ndim) for s in (apart, expanded(apart))]
            return min(every, key=lambda n: len(text(n)))

    def _product(self, t: Term, place: Place, ndim: int) -> Node:
        pieces = [self._piece(b, q) for b, p in t.factors for q in _split(b, p, t)]
        drawn = [_contracted(group, t.bound, ndim) for group in _connected(pieces, t.bound)]
        numbers = [i for i in drawn if not i.labels]
        rest = [i for i in drawn if i.labels]
        body: list[Node] = []
        if rest:
            every = frozenset[Axis]().union(*(i.labels for i in rest))
            if any(i.labels == every for i in rest):
                body = [_together(rest).at(place)]
            elif len(place) == 2:  # a column and a row
                first, last = ([i for i in rest if i.labels == {k}] for k in place)
                body = [_matmul(_together(first).at(place), _together(last).at(place))]
            else:
                raise NoNotation
        over = [i.orient(NUMBER) for i in numbers if not i.inverse]
        under = [i.orient(NUMBER) for i in numbers if i.inverse]
        if not body and over:  # what is no mere name is the body
            compound = [k for k, n in enumerate(over) if n.kind != "name"]
            body = [over.pop(compound[-1] if compound else -1)]
        return self.scaled(t.coefficient, over, body, under)

    def scaled(self, c: Fraction, over: list[Node], body: list[Node], under: list[Node]) -> Node:
        """A number times factors, over others; the body is what the factors stand before."""
        above, below = self.number(abs(c))
        if len(above) == len(body) == 1 and not over and body[0].kind == "over":
            top, bottom = body[0].parts
            if top.value == 1:  # 2/d rather than 2·(1/d)
                above, body = [], [Node("over", (above[0], bottom))]
        over, under = [*above, *over], [*below, *under]
        if not under and c > 0 and len(over) + len(body) <= 1:
            return (*over, *body, Node("number", (), Fraction(1)))[0]
        return Node("scaled", (*over, *body, *under), (c < 0, len(over), bool(body)))

    def number(self, c: Fraction) -> tuple[list[Node], list[Node]]:
        """The factors above and below the line that make up a number: 2/m for 2/101."""
        sides: tuple[list[Node], list[Node]] = ([], [])
        values = [Fraction(c.numerator), Fraction(c.denominator)]
        for size, name in self.sizes.items():
            for k in (0, 1):
                while values[k] and values[k] % size == 0:
                    values[k] /= size
                    sides[k].append(Node("name", (), (name, True)))
        top, bottom = map(int, values)
        decimal = Fraction(top, bottom)
        if self._is_decimal(decimal):
            values = [decimal, Fraction(1)]
        for side, n in zip(sides, values, strict=True):
            if n != 1:
                side.insert(0, Node("number", (), n))
        return sides

    def _is_decimal(self, x: Fraction) -> bool:
        """Return True for a number that is written 0.03 rather than 3/100."""
        top, bottom = x.numerator, x.denominator
        decimal = numeral(x)
        if bottom == 1 or "/" in decimal:
            return False
        if self.decimals and (top != 1 or bottom % 5 == 0) and len(decimal) <= 8:
            return True
        return len(decimal) < len(f"{top}/{bottom}") + (bottom > 10)

    def _piece(self, base: Base, p: Fraction) -> Piece:
        def orient(place: Place) -> Node:
            n = self._base(base, place)
            if abs(p) == 1:
                return n
            single = (n.parts[0] if n.kind == "T" else n).kind in ("name", "vector")
            if abs(p) == 2 and single and kind_of(n) != "s":
                return _had([n, n])
            return Node("power", (n,), abs(p))

        labels = frozenset(indices_of(base))
        vector = isinstance(base, Symbol) and p > 0 and (
            len(base.index) == 1 or (len(labels) == 1 and ONE not in base.index)
        )  # fmt: skip
        natural = _natural(base)
        if labels <= set(natural):
            natural = tuple(i if i in labels else None for i in natural)
        else:
            natural = indices_in_order(labels)
        return Piece(labels, orient, natural, p < 0, "vector" if vector else "")

    def _base(self, base: Base, place: Place) -> Node:
        if isinstance(base, Sum):
            return _whole(lambda at: self._sum(base, at), place)
        if not isinstance(base, Symbol) and base.each:
            settings = named(base.settings, self.sizes)

            def each(at: Place) -> Node:
                parts = tuple(self._sum(s, at) for s, _ in base.args)
                return Node("call", parts, (base.name, settings, None, ()))

            return _whole(each, place)
        labels = indices_of(base)
        natural = _place(base.index)
        if len(labels) < sum(i is not ONE for i in base.index):  # X[i,i]
            if len(base.index) != 2 or len(place) > 2 or not isinstance(base, Symbol):
                raise NoNotation
            whole = Node("name", (), (base.name, False))
            n = Node("call", (whole,), ("diag", (), "c", (base.index[0].size,)))
            return n if place[-1] is None else Node("T", (n,))
        if isinstance(base, Symbol):
            if len(base.index) == 1 and labels:
                n = Node("vector", (), base.name)
            else:
                n = Node("name", (), (base.name, not labels))
        else:
            parts = tuple(self._argument(s, i) for s, i in base.args)
            kind = "s" if not labels else "c" if len(base.index) == 1 else "m"
            n = Node("call", parts, (base.name, named(base.settings, self.sizes), kind, tuple(
                i.size for i in base.index)))  # fmt: skip
        if len(base.index) > 1 and not labels and None in place:  # (1, 1) beside a vector
            return Node("single", (n,))
        if not labels or natural == place[-len(natural) :]:
            return Node("T", (n,)) if kind_of(n) == "c" else n
        if len(place) == len(natural) == 2 and natural == place[::-1]:
            return n if kind_of(n) == "c" else Node("T", (n,))
        raise NoNotation

    def _argument(self, s: Sum, index: Index) -> Node:
        """The argument of a function as it is handed over: as an array of its own shape."""
        if (whole := named_whole(s, index)) is not None:
            if len(index) == 1 and index[0] is not ONE:
                return Node("vector", (), whole.name)
            return Node("name", (), (whole.name, not indices_of(whole)))
        tree = self._whole_argument(s, index)
        kind = "scm"[min(len(index), 2)]
        full = indices_of(s) == {i for i in index if i is not ONE}
        if full and kind_of(tree) in (kind, "cr"[len(index) != 1 :]) and not _has_ones(s):
            return tree
        if kind_of(tree) == "c" and len(index) > 1:
            tree = Node("column", (tree,))
        shape = tuple(i.size for i in index)
        settings = named((("shape", shape),), self.sizes)
        return Node("call", (tree,), ("reshape" if full else "broadcast_to", settings, kind, shape))

    def _whole_argument(self, s: Sum, index: Index) -> Node:
        try:
            return self.matrices(s, index)
        except NoNotation:
            if len(index) < 3:
                raise
            return self.stacks(s, index)


def _has_ones(s: Sum) -> bool:
    """Whether a number of it is an array of shape (1,) or (1, 1), which would add its axes."""
    inner = [b for t in s.terms for b, _ in t.factors]
    return any(
        _has_ones(b) if isinstance(b, Sum) else bool(b.index) and not indices_of(b) for b in inner
    )


def _whole(orient: Orient, place: Place) -> Node:
    """(A + Aᵀ)ᵀ rather than Aᵀ + (Aᵀ)ᵀ, wherever a single ᵀ at the end saves others within."""
    n = orient(place)
    if len(place) != 2 or None in place or n.kind in ("name", "T", "matmul") or not _turns(n):
        return n
    turned = orient(place[::-1])
    return Node("T", (turned,)) if _turns(turned) + 1 <= _turns(n) and kind_of(n) == "m" else n


def _turns(n: Node) -> int:
    return (n.kind in ("T", "column")) + sum(map(_turns, n.parts))


def _place(index: Index) -> Place:
    """Which index is the row and which the column."""
    named: Place = tuple(None if i is ONE else i for i in index)
    return (None,) * (2 - len(named)) + named


def _natural(base: Base) -> Place:
    """The indices of the first array in it that has them all."""
    if isinstance(base, Symbol) or not (isinstance(base, Sum) or base.each):
        place = _place(base.index)
        return (None, place[0]) if place[0] is place[-1] else place  # the diagonal
    inner = (
        [b for t in base.terms for b, _ in t.factors] if isinstance(base, Sum)
        else [s for s, _ in base.args]
    )  # fmt: skip
    return max(map(_natural, inner), key=lambda p: sum(i is not None for i in p), default=NUMBER)


def _is_uneven(t: Term) -> bool:
    """Return True for (2·a + b)/(2·m), which is a/m + b/(2·m) on the slides."""
    groups = [b for b, p in t.factors if isinstance(b, Sum) and p == 1]
    return (
        t.coefficient.denominator > 1 and not t.bound and len(groups) == 1
        and len({abs(u.coefficient) for u in groups[0].terms}) > 1
    )  # fmt: skip


def _divided(t: Term) -> Term:
    """A + B/2 for (2·A + B)/2."""
    d = t.coefficient.denominator
    for k, (b, p) in enumerate(t.factors):
        whole = isinstance(b, Sum) and p == 1 and any(u.coefficient % d == 0 for u in b.terms)
        if d > 1 and whole and isinstance(b, Sum):
            factors = (*t.factors[:k], (scale(b, Fraction(1, d)), p), *t.factors[k + 1 :])
            return Term(t.coefficient * d, factors, t.bound)
    return t


def _split(base: Base, p: Fraction, t: Term) -> list[Fraction]:
    """xᵀx for the sum of a vector's squares; otherwise a power stays in one piece."""
    alone = (
        isinstance(base, Symbol) and p == 2 and len(base.index) == 1 and base.index[0] in t.bound
        and sum(base.index[0] in indices_of(b) for b, _ in t.factors) == 1
    )  # fmt: skip
    return [Fraction(1), Fraction(1)] if alone else [p]


# --- drawing a network together -------------------------------------------------------------------


def _connected(pieces: list[Piece], bound: frozenset[Axis]) -> list[list[Piece]]:
    """The pieces in groups that share summed indices, in the order of their first ones."""
    order = {id(p): k for k, p in enumerate(pieces)}
    groups = connected(pieces, lambda p: p.labels & bound)
    found = [sorted(g, key=lambda p: order[id(p)]) for _, g in groups]
    return sorted(found, key=lambda g: order[id(g[0])])


def _contracted(pieces: list[Piece], bound: frozenset[Axis], ndim: int = 0) -> Piece:
    """One piece, with all that is summed over gone.

    Raises:  NoNotation if that cannot be said"""
    letters = frozenset[Axis]().union(*(p.labels for p in pieces))
    if not letters & bound:
        return pieces[0] if len(pieces) == 1 else _together(pieces)
    ways: list[Piece] = []
    whole = [p for p in pieces if p.labels == letters]
    if letters <= bound and whole and not (len(letters) == 1 and _are_two_vectors(pieces)):
        ways.append(_total(_together(pieces), whole[0].natural))
    if len(ways) == 0 or any(p.labels != letters for p in pieces):
        found = _drawn(pieces, letters & bound, ndim, [200])
        ways = [found, *ways] if found is not None else ways
    if not ways:
        raise NoNotation
    if len(ways) == 1:
        return ways[0]

    def orient(place: Place) -> Node:
        return _shortest(way.orient for way in ways)(place)

    return Piece(letters - bound, orient, ways[0].natural, kind=ways[0].kind)


def _drawn(
    pieces: list[Piece], bound: frozenset[Axis], ndim: int, steps: list[int]
) -> Piece | None:
    """Sum one index away after the other: products first, then sums; back where it is stuck."""
    if not bound:
        return pieces[0] if len(pieces) == 1 else _together(pieces)
    steps[0] -= 1

    def order(s: Axis) -> tuple[bool, int]:
        return sum(s in p.labels for p in pieces) == 1, s.number

    for s in sorted(bound, key=order):
        if steps[0] < 0:
            return None
        new = _without(pieces, s, bound, ndim)
        if new is not None:
            left = frozenset[Axis]().union(*(p.labels for p in new)) & bound
            found = _drawn(new, left, ndim, steps)
            if found is not None:
                return found
    return None


def _without(pieces: list[Piece], s: Axis, bound: frozenset[Axis], ndim: int) -> list[Piece] | None:
    """The pieces after s has been summed away; None if that cannot be said now."""
    having = [p for p in pieces if s in p.labels]
    if any(len(p.labels) > 2 for p in having):
        return None
    at = pieces.index(having[0])
    rest = [p for p in pieces if s not in p.labels]
    groups: dict[frozenset[Axis], list[Piece]] = {}
    for p in having:
        groups.setdefault(p.labels, []).append(p)
    vectors = groups.pop(frozenset({s}), [])
    matrices = list(groups.values())
    others = [next(iter(labels - {s})) for labels in groups]
    if len(matrices) > 2:
        return None
    if not matrices:
        new = (
            _product(vectors[0], vectors[1], s) if _are_two_vectors(vectors)
            else _reduced(_together(vectors), s, ndim)
        )  # fmt: skip
    elif len(matrices) == 1 and not vectors:
        t = others[0]
        ring = t in bound and not any(t in p.labels for p in rest)
        if ring and len(having) == 2 and any(p.kind == "product" for p in having):
            new = _trace(having[0], having[1], s, t)
        elif ring:
            new = _total(_together(having), having[0].natural)
        elif len(having) == 1 and t in bound and any(t in p.labels for p in rest):
            return None  # first the products
        else:
            new = _reduced(_together(having), s, ndim)
    elif len(matrices) == 1:
        first, last = sorted((matrices[0], vectors), key=lambda g: having.index(g[0]))
        new = _product(_together(first), _together(last), s)
    else:
        a, b = matrices
        ways = [_product(_together(a), _together(b), s)]
        if vectors:  # between two matrices: beside either
            ways = [
                _product(_together(a), _together(b + vectors), s),
                _product(_together(a + vectors), _together(b), s),
            ]
        new = ways[0]
        if len(ways) > 1:
            new = Piece(
                new.labels, lambda place: _shortest(w.orient for w in ways)(place),
                new.natural, kind="product",
            )  # fmt: skip
    return [*rest[:at], new, *rest[at:]]


def _are_two_vectors(pieces: Sequence[Piece]) -> bool:
    return len(pieces) == 2 and all(p.kind == "vector" for p in pieces)


def _shortest(ways: Iterable[Orient]) -> Orient:
    def orient(place: Place) -> Node:
        found = []
        for way in ways:
            try:
                found.append(way(place))
            except NoNotation:
                continue
        if not found:
            raise NoNotation
        return min(found, key=lambda n: len(text(n)) + _transposes(n))

    return orient


def _together(pieces: list[Piece]) -> Piece:
    """Factors element by element, the smaller ones broadcast."""
    if len(pieces) == 1 and not pieces[0].inverse:
        return pieces[0]
    labels = frozenset[Axis]().union(*(p.labels for p in pieces))

    def beside_each_other(place: Place) -> Node:
        def part(p: Piece) -> Node:
            return _beside(p.at(place)) if len(labels) > 1 else p.at(place)

        standing = [p for p in pieces if p.labels == {place[-2]}] if len(labels) > 1 else []
        if len(standing) > 1 and not all(p.inverse for p in standing):  # col(x/y) in one
            first = next(p for p in standing if not p.inverse)
            fewer = [p for p in pieces if p is first or p not in standing]
            return _together([_together(standing) if p is first else p for p in fewer]).orient(
                place
            )
        over = [part(p) for p in pieces if not p.inverse]
        under = [part(p) for p in pieces if p.inverse]
        top = _had(over)
        return Node("over", (top, _had(under))) if under else top

    natural = next((p.natural for p in pieces if p.labels == labels), NUMBER)
    return Piece(labels, lambda place: _whole(beside_each_other, place), natural)


def _product(a: Piece, b: Piece, s: Axis) -> Piece:
    """Σ over the index that both have: a matrix product, in the order that is asked for."""
    t, u = (next(iter(p.labels - {s}), None) for p in (a, b))

    def orient(place: Place) -> Node:
        if len(place) > 2:
            raise NoNotation
        if place == (t, u):
            return _matmul(a.orient((t, s)), b.orient((s, u)))
        return _matmul(b.orient((u, s)), a.orient((s, t)))

    labels = (a.labels | b.labels) - {s}
    vector = len(labels) == 1 and "vector" in (a.kind, b.kind)
    return Piece(labels, orient, (t, u), kind="vector" if vector else "product")


def _reduced(a: Piece, s: Axis, ndim: int) -> Piece:
    """Σ over an index that a single piece has."""
    t = next(iter(a.labels - {s}), None)

    def orient(place: Place) -> Node:
        if s.size == 1 and t is not None and len(place) == 2:  # nothing to add up
            return a.orient((t, s) if place[0] is t else (s, t))
        if t is None:  # the slides' 1ᵀE also where E has a single column
            inner = a.orient((s, None))
            return _sum_of(inner) if not ndim or kind_of(inner) == "c" else Node("colsum", (inner,))
        if len(place) > 2:
            raise NoNotation
        if place[0] is t:
            return Node("rowsum", (a.orient((t, s)),))
        return Node("colsum", (a.orient((s, t)),))

    return Piece(a.labels - {s}, orient, (None, t))


def _total(a: Piece, natural: Place) -> Piece:
    def orient(_: Place) -> Node:
        return _sum_of(_shortest([a.orient])(natural) if len(natural) > 2 else _either(a, natural))

    return Piece(frozenset(), orient)


def _either(a: Piece, natural: Place) -> Node:
    turned = natural[::-1]
    return min((a.orient(natural), a.orient(turned)), key=lambda n: (_transposes(n), len(text(n))))


def _sum_of(n: Node) -> Node:
    n = n.parts[0] if _is_row(n) else n
    diagonal = n.kind == "call" and n.value[0] == "diag"
    return Node("trace", n.parts) if diagonal else Node("total", (n,))


def _trace(a: Piece, b: Piece, s: Axis, t: Axis) -> Piece:
    """tr(AB), which may begin with any of its factors: as it was written, or with fewest ᵀ."""

    def orient(_: Place) -> Node:
        products = []
        for x, y in ((s, t), (t, s)):
            ring = _matmul(a.orient((x, y)), b.orient((y, x))).parts
            products += [ring[k:] + ring[:k] for k in range(len(ring))]
        best = min(products, key=lambda p: sum(map(_transposes, p)))
        names = [p for p in products if sum(map(_transposes, p)) == sum(map(_transposes, best))]
        best = min(names, key=lambda p: text(p[0]))
        return Node("trace", (Node("matmul", best),))

    return Piece(frozenset(), orient)


# --- trees ----------------------------------------------------------------------------------------


def _had(nodes: Sequence[Node]) -> Node:
    flat = [p for n in nodes for p in (n.parts if n.kind == "had" else (n,))]
    if not flat:
        return Node("number", (), Fraction(1))
    return flat[0] if len(flat) == 1 else Node("had", tuple(flat))


def _matmul(a: Node, b: Node) -> Node:
    return Node(
        "matmul", tuple(p for n in (a, b) for p in (n.parts if n.kind == "matmul" else (n,)))
    )


def _is_row(n: Node) -> bool:
    """A vector lying on its side."""
    return n.kind == "T" and kind_of(n.parts[0]) == "c"


def _beside(n: Node) -> Node:
    """A vector beside a matrix: as a row it is written as it is, as a column it is marked."""
    if _is_row(n):
        return Node("row", n.parts)
    kind = kind_of(n)
    if kind == "c" and is_negative(n):
        return Node("scaled", (_beside(unsigned(n)),), (True, 0, True))
    if kind == "c":
        return Node("column", (n,))
    each = n.kind in ("had", "over", "add", "scaled", "power") or (
        n.kind == "call" and not n.value[2]
    )
    return Node(n.kind, tuple(map(_beside, n.parts)), n.value) if kind == "r" and each else n


def _rows_lying(n: Node) -> int:
    return _is_row(n) + sum(map(_rows_lying, n.parts))


def _transposes(n: Node) -> int:
    return (n.kind == "T") + sum(map(_transposes, n.parts))


def _has_product(n: Node) -> bool:
    return n.kind in ("matmul", "colsum") or (
        n.kind in ("scaled", "had", "over", "T") and any(map(_has_product, n.parts))
    )


def _added(nodes: list[Node]) -> Node:
    """What is added first, then what is taken away; products before single arrays, and these over
    one denominator: Xᵀ(…)/m + (l1·sign(W) + l2·W)/m."""
    if len(nodes) == 1:
        return nodes[0]
    nodes = [p for n in nodes for p in (n.parts if n.kind == "add" else (n,))]
    if all(kind_of(n) == "s" for n in nodes):  # a loss and its penalty, as the author has them
        return Node("add", tuple(nodes))
    nodes.sort(key=lambda n: (is_negative(n), not _has_product(n), n.kind == "T"))
    groups: list[tuple[Any, list[Node]]] = []
    for n in nodes:
        single = n.kind == "scaled" and n.value[2] and not _has_product(n) and not n.value[0]
        key = n.parts[n.value[1] + 1 :] if single else None
        if key and groups and groups[-1][0] == key:
            groups[-1][1].append(n)
        else:
            groups.append((key, [n]))
    result = []
    for key, group in groups:
        if len(group) == 1:
            result += group
            continue
        over = [n.parts[: n.value[1] + 1] for n in group]
        inner = [
            p[-1] if len(p) == 1 else Node("scaled", p, (False, len(p) - 1, True)) for p in over
        ]
        whole = Node("add", tuple(sorted(inner, key=text)))
        result.append(Node("scaled", (whole, *key), (False, 0, True)))
    return result[0] if len(result) == 1 else Node("add", tuple(result))


# --- where matrices cannot say it -----------------------------------------------------------------


@dataclass(frozen=True)
class Indexed:
    """Writes formulas with their indices: [i,j] Σ_k A[i,j,k]·B[k], every factor a number.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = Term(Fraction(1), ((Symbol("X", (i, j)), Fraction(1)),), frozenset({j}))
        >>> text(Indexed(Writer({})).write(Sum((X,)), (i,)))
        '[i] Σ_j X[i,j]'
    """

    writer: Writer

    def write(self, s: Sum, index: Index) -> Node:
        """The tree, under the letters of its axes."""
        letters = _lettered(index, {})
        return Node("indexed", (self._sum(s, letters),), _subscript(index, letters))

    def _sum(self, s: Sum, letters: Mapping[Axis, str]) -> Node:
        if not s.terms:
            return Node("number", (), Fraction(0))
        nodes = [self._term(t, letters) for t in s.terms]
        return nodes[0] if len(nodes) == 1 else Node("add", tuple(nodes))

    def _term(self, t: Term, letters: Mapping[Axis, str]) -> Node:
        bound = indices_in_order(t.bound)
        inner = _lettered(bound, letters)
        over: list[Node] = []
        under: list[Node] = []
        for b, p in t.factors:
            n = self._base(b, inner)
            (over if p > 0 else under).append(n if abs(p) == 1 else Node("power", (n,), abs(p)))
        body = [over.pop()] if over else []
        n = self.writer.scaled(abs(t.coefficient) if bound else t.coefficient, over, body, under)
        if not bound:
            return n
        n = Node("sigma", (n,), tuple(inner[i] for i in bound))
        return n if t.coefficient > 0 else Node("scaled", (n,), (True, 0, True))

    def _base(self, b: Base, letters: Mapping[Axis, str]) -> Node:
        if isinstance(b, Sum):
            return self._sum(b, letters)
        if isinstance(b, Symbol):
            whole = Node("name", (), (b.name, True))
        else:
            parts = tuple(
                Node("name", (), (array.name, False)) if (array := named_whole(s, i)) and i
                else self._sum(s, _lettered(i, letters))
                for s, i in b.args
            )  # fmt: skip
            whole = Node("call", parts, (b.name, named(b.settings, self.writer.sizes), None, ()))
            if b.each:
                return whole
        return Node("entry", (whole,), _subscript(b.index, letters)) if b.index else whole


def _lettered(index: Index, letters: Mapping[Axis, str]) -> dict[Axis, str]:
    """The letters with more of them for these axes."""
    more = dict(letters)
    for i in index:
        if i is not ONE and i not in more:
            k = len(more)
            more[i] = "ijklnpqrstuvw"[k] if k < 13 else f"i{k}"
    return more


def _subscript(index: Index, letters: Mapping[Axis, str]) -> str:
    return ",".join("1" if i is ONE else letters.get(i, "?") for i in index)
