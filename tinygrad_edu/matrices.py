"""From index notation back to matrices.

A term is a bag of factors with indices. Bound indices are summed away one after the other: an index
that two groups of factors share becomes a matrix product, one that a single group has becomes a sum
over its rows or columns; factors with the same indices stand element by element. Which side is
transposed is decided last, when it is known which index has to be the row and which the column.

A vector (one axis) is a column, as in textbooks, unless it stands beside the rows of a matrix,
where NumPy broadcasts it and the slides write it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .algebra import ONE, Axis, Base, Index, Sum, Symbol, Term, content, indices_of, scale
from .notation import Node, kind_of, signed, text


class NoNotation(Exception):
    """A formula that matrices cannot say: it needs three indices at once.

    Example:
        >>> issubclass(NoNotation, Exception)
        True
    """


Where = Axis | None
Orient = Callable[[Where, Where], Node]


@dataclass
class Item:
    """Factors that belong together: their free indices, and how to write them with given rows and
    columns.

    Example:
        >>> Item(frozenset(), lambda r, c: Node("vector", (), "x")).inverse
        False
    """

    labels: frozenset[Axis]
    orient: Orient
    inverse: bool = False
    vector: bool = False


@dataclass(frozen=True)
class Writer:
    """Writes formulas as trees.

    sizes   numbers that have a name, such as the number of samples: {101: "m"}

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = Term(Fraction(1), ((Symbol("X", (i, j)), Fraction(1)),))
        >>> text(Writer({}).write(Sum((X,)), (j, i)))
        'Xᵀ'
    """

    sizes: Mapping[int, str]

    # --- from indices to a tree -------------------------------------------------------------------

    def write(self, s: Sum, index: Index) -> Node:
        """The tree of a formula whose axes are `index`; a vector as is shorter, column or row.

        Raises:  NoNotation if matrices cannot say it
        """
        if len(index) != 1 or index[0] is ONE:
            return self._sum(s, *_places(index), len(index))
        trees = []
        for r, c in ((index[0], None), (None, index[0])):
            try:
                tree = self._sum(s, r, c, 1)
            except NoNotation:
                continue
            trees.append(tree.parts[0] if _is_row(tree) else tree)
        if not trees:
            raise NoNotation
        return min(trees, key=lambda t: (_turned(t), _transposes(t), len(text(t))))

    def _sum(self, s: Sum, r: Where, c: Where, ndim: int = 2) -> Node:
        if not s.terms:
            return Node("number", (), Fraction(0))
        nodes = [self._term(t, r, c, ndim) for t in s.terms]
        common = content(s)
        alike = len({t.coefficient.denominator for t in s.terms}) == 1
        if alike and len(nodes) > 1 and abs(common) != 1 and not any(map(_has_product, nodes)):
            over, under = self._number(abs(common))
            inner = self._sum(scale(s, 1 / common), r, c, ndim)
            return Node("scaled", (*over, inner, *under), (common < 0, len(over), True))
        if r is not None and c is not None:
            nodes = [_beside(n) for n in nodes]
        if len(nodes) == 1:
            return nodes[0]
        # what is added first, then what is taken away; products before single arrays
        nodes.sort(key=lambda n: (_negative(n), not _has_product(n), n.kind == "T"))
        return Node("add", tuple(_gathered(nodes)))

    def _term(self, t: Term, r: Where, c: Where, ndim: int) -> Node:
        items = [self._item(b, q) for b, p in t.factors for q in _split(b, p, t)]
        _sum_away(items, set(t.bound), ndim)
        _group(items)
        target = frozenset({r, c} - {None})
        scalars = [i for i in items if not i.labels]
        rest = [i for i in items if i.labels]
        if any(i.labels - target for i in rest):
            raise NoNotation
        body: list[Node] = []
        if rest:
            every = frozenset[Axis]().union(*(i.labels for i in rest))
            if any(i.labels == every for i in rest):
                body = [
                    _together(rest).orient(r if r in every else None, c if c in every else None)
                ]
            else:  # a column and a row
                rows = _together([i for i in rest if i.labels == {r}])
                columns = _together([i for i in rest if i.labels == {c}])
                body = [_matmul(rows.orient(r, None), columns.orient(None, c))]
        over = [i.orient(None, None) for i in scalars if not i.inverse]
        under = [i.orient(None, None) for i in scalars if i.inverse]
        if not body:  # what is no mere name is the body
            k = next((k for k, n in reversed([*enumerate(over)]) if n.kind not in ("name",)), None)
            if k is None and over:
                k = len(over) - 1
            body = [over.pop(k)] if k is not None else []
        c_over, c_under = self._number(abs(t.coefficient))
        over, under = [*c_over, *over], [*c_under, *under]
        negative = t.coefficient < 0
        if not over and not under and not negative and body:
            return body[0]
        if not body and not under and not negative and len(over) <= 1:
            return over[0] if over else Node("number", (), Fraction(1))
        return Node("scaled", (*over, *body, *under), (negative, len(over), bool(body)))

    def _number(self, c: Fraction) -> tuple[list[Node], list[Node]]:
        """The factors above and below the line that make up a number."""
        sides: list[list[Node]] = []
        values = [c.numerator, c.denominator]
        for k, n in enumerate(values):
            names = []
            for size, name in self.sizes.items():
                while n and n % size == 0:
                    n //= size
                    names.append(Node("name", (), (name, True)))
            values[k] = n
            sides.append(names)
        top, bottom = values
        if bottom > 10 and not _only_2_and_5(bottom):
            pass
        elif bottom > 10:  # 0.01 rather than 1/100
            sides[0].insert(0, Node("number", (), Fraction(top, bottom)))
            top = bottom = 1
        if top != 1:
            sides[0].insert(0, Node("number", (), Fraction(top)))
        if bottom != 1:
            sides[1].insert(0, Node("number", (), Fraction(bottom)))
        return sides[0], sides[1]

    def _item(self, base: Base, p: Fraction) -> Item:
        labels = frozenset(indices_of(base))
        if len(labels) > 2:
            raise NoNotation

        def orient(r: Where, c: Where) -> Node:
            n = self._base(base, labels, r, c)
            if abs(p) == 1:
                return n
            if abs(p) == 2 and (n.parts[0] if n.kind == "T" else n).kind in ("name", "vector"):
                return _had([n, n])
            return Node("power", (n,), abs(p))

        vector = isinstance(base, Symbol) and len(base.index) == 1
        return Item(labels, orient, p < 0, vector and p > 0)

    def _base(self, base: Base, labels: frozenset[Axis], r: Where, c: Where) -> Node:
        if isinstance(base, Sum):
            n = self._sum(base, r, c)
            if n.kind == "add" and (turned := _transposes(n)) >= 2 and kind_of(n) == "m":
                whole = self._sum(base, c, r)
                if _transposes(whole) + 1 <= turned:
                    return Node("T", (whole,))
            return n
        if isinstance(base, Symbol):
            if len(base.index) > 2 or (len(labels) == 1 and base.index.count(*labels) == 2):
                raise NoNotation
            if len(base.index) == 1 and labels:
                v = Node("vector", (), base.name)
                return v if c is None else Node("T", (v,))
            n = Node("name", (), (base.name, not labels))
        elif base.each:
            parts = tuple(self._sum(s, r, c) for s, _ in base.args)
            return Node("call", parts, (base.name, base.settings, None, ()))
        else:
            if len(base.index) > 2:
                raise NoNotation
            parts = tuple(self._argument(s, i) for s, i in base.args)
            kind = "s" if not labels else "c" if len(base.index) == 1 else "m"
            lengths = tuple(i.size for i in base.index)
            n = Node("call", parts, (base.name, base.settings, kind, lengths))
            if kind == "c":
                return n if c is None else Node("T", (n,))
        return n if not labels or _places(base.index) == (r, c) else _transposed(n)

    def _argument(self, s: Sum, index: Index) -> Node:
        """The argument of a function as it is handed over: as an array of its own shape."""
        if len(s.terms) == 1 and len(s.terms[0].factors) == 1 and s.terms[0].coefficient == 1:
            base, p = s.terms[0].factors[0]
            if isinstance(base, Symbol) and base.index == index and p == 1:
                if len(index) == 1 and index[0] is not ONE:
                    return Node("vector", (), base.name)
                return Node("name", (), (base.name, not indices_of(base)))
        if len(index) > 2 or indices_of(s) != {i for i in index if i is not ONE}:
            raise NoNotation
        tree = self.write(s, index)
        if kind_of(tree) not in ("s", "cr", "m")[len(index)]:
            raise NoNotation  # the function would be given an array with other axes
        return tree


def _places(index: Index) -> tuple[Where, Where]:
    """Which index is the row and which the column."""
    if len(index) > 2:
        raise NoNotation
    named = [None if i is ONE else i for i in index]
    return (None, None) if not named else (None, named[0]) if len(named) == 1 else (*named,)  # type: ignore[return-value]


def _split(base: Base, p: Fraction, t: Term) -> list[Fraction]:
    """xᵀx for the sum of a vector's squares; otherwise a power stays in one piece."""
    alone = (
        isinstance(base, Symbol) and p == 2 and len(base.index) == 1 and base.index[0] in t.bound
        and sum(base.index[0] in indices_of(b) for b, _ in t.factors) == 1
    )  # fmt: skip
    return [Fraction(1), Fraction(1)] if alone else [p]


def _only_2_and_5(n: int) -> bool:
    for p in (2, 5):
        while n % p == 0:
            n //= p
    return n == 1


# --- putting items together -----------------------------------------------------------------------


def _group(items: list[Item]) -> None:
    groups: dict[frozenset[Axis], list[Item]] = {}
    for i in items:
        if i.labels:
            groups.setdefault(i.labels, []).append(i)
    items[:] = [_together(g) if len(g) > 1 else g[0] for g in groups.values()] + [
        i for i in items if not i.labels
    ]


def _sum_away(items: list[Item], bound: set[Axis], ndim: int) -> None:
    """Turn every bound index into a matrix product or a sum, until none is left."""
    while bound:
        _dot(items, bound)
        if not bound:
            break
        _group(items)
        # the letters that came first belong to the innermost sums
        for s in sorted(bound, key=lambda i: i.number):
            having = [i for i in items if s in i.labels]
            if len(having) == 2 and len(having[0].labels | having[1].labels) <= 3:
                break
            if len(having) == 1 and not (having[0].labels - {s} & bound and len(bound) > 1):
                break
        else:
            single = [s for s in bound if sum(s in i.labels for i in items) == 1]
            if not single:
                _absorb(items, bound)
                continue
            s = min(single, key=lambda i: i.number)
            having = [i for i in items if s in i.labels]
            both = having[0].labels
            if both <= bound and sum(bool(both & i.labels) for i in items) == 1:
                items[items.index(having[0])] = _total(_together(having))
                bound -= both
                continue
        bound.remove(s)
        at = min(items.index(i) for i in having)
        having = [_together([i]) if i.inverse else i for i in having]
        new = (
            _product(having[0], having[1], s) if len(having) == 2 else _reduced(having[0], s, ndim)
        )
        items[:] = [i for i in items if s not in i.labels]
        items.insert(at, new)


def _dot(items: list[Item], bound: set[Axis]) -> None:
    """xᵀy for two vectors that share nothing but their bound index."""
    for s in list(bound):
        having = [i for i in items if s in i.labels]
        if len(having) == 2 and all(i.vector for i in having):
            a, b = having
            items[items.index(a)] = _product(a, b, s)
            items.remove(b)
            bound.remove(s)


def _absorb(items: list[Item], bound: set[Axis]) -> None:
    """A factor with one index joins one that has it and another."""
    for small in items:
        for big in reversed(items):
            if small is not big and small.labels < big.labels and small.labels & bound:
                pair = sorted((big, small), key=items.index)
                items[items.index(big)] = _together(pair)
                items.remove(small)
                return
    raise NoNotation


def _together(items: list[Item]) -> Item:
    """Factors element by element, the smaller ones broadcast."""
    if len(items) == 1 and not items[0].inverse:
        return items[0]
    labels = frozenset[Axis]().union(*(i.labels for i in items))

    def orient(r: Where, c: Where) -> Node:
        def part(i: Item) -> Node:
            n = i.orient(r if r in i.labels else None, c if c in i.labels else None)
            return _beside(n) if len(labels) == 2 else n

        over = [part(i) for i in items if not i.inverse]
        under = [part(i) for i in items if i.inverse]
        top = _had(over)
        return Node("over", (top, _had(under))) if under else top

    return Item(labels, orient)


def _product(a: Item, b: Item, s: Axis) -> Item:
    """Σ over the index that both have: a matrix product, in the order that is asked for."""
    t = next(iter(a.labels - {s}), None)
    u = next(iter(b.labels - {s}), None)
    if t is u and t is not None:
        raise NoNotation

    def orient(r: Where, c: Where) -> Node:
        if (r, c) == (t, u):
            return _matmul(a.orient(t, s), b.orient(s, u))
        return _matmul(b.orient(u, s), a.orient(s, t))

    labels = (a.labels | b.labels) - {s}
    return Item(labels, orient, vector=len(labels) == 1 and (a.vector or b.vector))


def _reduced(a: Item, s: Axis, ndim: int) -> Item:
    """Σ over an index that a single item has."""
    t = next(iter(a.labels - {s}), None)

    def orient(r: Where, c: Where) -> Node:
        if s.size == 1 and t is not None:  # nothing to add up
            return a.orient(t, s) if r is t else a.orient(s, t)
        if t is None:  # the slides' 1ᵀE also where E has a single column
            inner = a.orient(s, None)
            plain = not ndim or kind_of(inner) == "c"
            return Node("total" if plain else "colsum", (inner,))
        if r is t:
            return Node("rowsum", (a.orient(t, s),))
        return Node("colsum", (a.orient(s, t),))

    return Item(a.labels - {s}, orient)


def _total(a: Item) -> Item:
    r, c = sorted(a.labels, key=lambda i: i.number)

    def orient(_: Where, __: Where) -> Node:
        trees = (a.orient(r, c), a.orient(c, r))
        return Node("total", (min(trees, key=lambda tree: (_transposes(tree), len(text(tree)))),))

    return Item(frozenset(), orient)


def _transposed(n: Node) -> Node:
    return n.parts[0] if n.kind == "T" else Node("T", (n,))


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
        return Node("row", n.parts) if n.parts[0].kind == "vector" else n
    if kind_of(n) == "c":
        return Node("column", (n,))
    return n


def _turned(n: Node) -> int:
    """How many vectors lie on their side."""
    return (n.kind == "T" and kind_of(n.parts[0]) == "c") + sum(map(_turned, n.parts))


def _transposes(n: Node) -> int:
    return (n.kind == "T") + sum(map(_transposes, n.parts))


def _negative(n: Node) -> bool:
    return n.kind == "scaled" and bool(n.value[0])


def _has_product(n: Node) -> bool:
    return n.kind in ("matmul", "colsum") or (
        n.kind in ("scaled", "had", "over", "T") and any(map(_has_product, n.parts))
    )


def _gathered(nodes: list[Node]) -> list[Node]:
    """Single arrays over one denominator: (l1·sign(W) + l2·W)/m after Xᵀ(…)/m."""
    groups: list[tuple[Any, list[Node]]] = []
    for n in nodes:
        key = None
        if n.kind == "scaled" and n.value[2] and not _has_product(n) and not n.value[0]:
            key = n.parts[n.value[1] + 1 :]
        if key and groups and groups[-1][0] == key:
            groups[-1][1].append(n)
        else:
            groups.append((key, [n]))
    result = []
    for key, group in groups:
        if len(group) == 1 or (len(groups) == 1 and len(group) == len(nodes) == 1):
            result += group
            continue
        inner = []
        for n in group:
            over = n.parts[: n.value[1] + 1]
            inner.append(
                over[-1] if len(over) == 1 else Node("scaled", over, (False, len(over) - 1, True))
            )
        inner.sort(key=text)
        result.append(Node("scaled", (Node("add", tuple(inner)), *key), (False, 0, True)))
    return result


# --- where matrices cannot say it -----------------------------------------------------------------


def indexed_text(s: Sum, index: Index, sizes: Mapping[int, str]) -> str:
    """The formula with its indices: [i,j] Σₖ A[i,j,k]·B[k].

    Example:
        >>> indexed_text(Sum(), (), {})
        '[] 0'
    """
    letters: dict[Axis, str] = {}
    _letter_all(index, letters)
    writer = Writer(sizes)
    head = ",".join(letters[i] if i is not ONE else "1" for i in index)
    return f"[{head}] {_indexed(s, letters, writer)}"


def _letter_all(index: Index, letters: dict[Axis, str]) -> None:
    for i in index:
        if i is not ONE and i not in letters:
            k = len(letters)
            letters[i] = "ijklnpqrstuvw"[k] if k < 13 else f"i{k}"


def _indexed(s: Sum, letters: dict[Axis, str], writer: Writer) -> str:
    if not s.terms:
        return "0"
    terms = []
    for t in s.terms:
        inner = dict(letters)
        _letter_all(tuple(sorted(t.bound, key=lambda i: i.number)), inner)
        over, under = writer._number(abs(t.coefficient))
        above, below = [text(n) for n in over], [text(n) for n in under]
        for b, p in t.factors:
            word = _indexed_base(b, inner, writer)
            if abs(p) != 1:
                word += f"^{abs(p)}" if p.denominator == 1 else f"^({abs(p)})"
            (above if p > 0 else below).append(word)
        sign = "".join(f"Σ_{inner[i]} " for i in sorted(t.bound, key=lambda i: i.number))
        word = sign + ("·".join(above) or "1")
        if below:
            word += f"/{below[0]}" if len(below) == 1 else f"/({'·'.join(below)})"
        terms.append((t.coefficient < 0, word))
    return signed(terms)


def _indexed_base(b: Base, letters: dict[Axis, str], writer: Writer) -> str:
    if isinstance(b, Sum):
        return f"({_indexed(b, letters, writer)})"
    place = ",".join("1" if i is ONE else letters.get(i, "?") for i in b.index)
    if isinstance(b, Symbol):
        return f"{b.name}[{place}]" if b.index else b.name
    words = []
    for s, index in b.args:
        inner = dict(letters)
        _letter_all(index, inner)
        words.append(_indexed(s, inner, writer))
    call = text(
        Node(
            "call",
            tuple(Node("name", (), (w, True)) for w in words),
            (b.name, b.settings, None, ()),
        )
    )
    return call if b.each else f"{call}[{place}]"
