"""Index notation: formulas of matrices as sums of products of numbers.

In `(XᵀE)ₙₖ = Σₘ Xₘₙ Eₘₖ` every letter with its indices is a plain number, and numbers commute. So a
formula is kept as a `Sum` of `Term`s: a coefficient times factors, each an array with an index for
each of its axes, summed over the term's own (`bound`) indices. Transposes, row sums, broadcasting
and matrix products are no operations any more but ways in which indices are shared, and what is
left to simplify is school algebra: equal factors become powers, equal terms are added, denominators
cancel, what is common is taken out. `notation` finds the matrices again.

No function here changes what a formula is worth; `explain` evaluates every formula that it prints
and compares, so that a mistake in this file cannot come out as a wrong formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import wraps
from itertools import count, permutations
from math import gcd, lcm
from typing import Any, TypeVar

import numpy as np


@dataclass(frozen=True, eq=False)
class Axis:
    """An index: the letter under a Σ. Two are the same only if they are one object.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> i == j, i.size
        (False, 2)
    """

    size: int
    number: int = field(default_factory=count().__next__)

    def __repr__(self) -> str:
        return f"i{self.number}"


ONE = Axis(1)  # of an axis along which an array was broadcast: never summed over, never shared
Index = tuple[Axis, ...]


@dataclass(frozen=True)
class Symbol:
    """A named array.

    Example:
        >>> Symbol("l2").name
        'l2'
    """

    name: str
    index: Index = ()


@dataclass(frozen=True)
class Call:
    """A function that is no school algebra: exp, a comparison, a user's own.

    Element by element (`each`), its arguments have the indices of the result. Otherwise every
    argument comes with the indices that the function uses up, and `index` are those of its result.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> Call("exp", ((X, ()),), (i, j)).each
        True
    """

    name: str
    args: tuple[tuple[Sum, Index], ...]
    index: Index = ()
    settings: tuple[tuple[str, Any], ...] = ()
    each: bool = True


@dataclass(frozen=True)
class Term:
    """coefficient · Π factor^power, summed over the bound indices; factors in the order written.

    Example:
        >>> Term(Fraction(1, 2)).bound
        frozenset()
    """

    coefficient: Fraction
    factors: tuple[tuple[Base, Fraction], ...] = ()
    bound: frozenset[Axis] = frozenset()


@dataclass(frozen=True)
class Sum:
    """Terms to be added; none at all is 0.

    Example:
        >>> Sum().terms
        ()
    """

    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Given:
    """An array in a setting, by its name: the y of A[:, y].

    Example:
        >>> Given("y")
        y
    """

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Arange:
    """0, 1 … stop − 1 in a setting, as in A[np.arange(m), y].

    Example:
        >>> str(Arange(3)), Arange(3)
        ('arange(3)', np.arange(3))
    """

    stop: int

    def __str__(self) -> str:
        return f"arange({self.stop})"

    def __repr__(self) -> str:
        return f"np.{self}"


def parts_changed(x: Any, change: Callable[[Any], Any]) -> Any:
    """Return a setting with every part of it changed: those of tuples, lists, slices and ranges.

    Example:
        >>> parts_changed((2, slice(None, 3)), lambda n: n + 1 if isinstance(n, int) else n)
        (3, slice(None, 4, None))
    """
    if type(x) in (tuple, list):
        return type(x)(parts_changed(part, change) for part in x)
    if isinstance(x, slice):
        return slice(*(parts_changed(v, change) for v in (x.start, x.stop, x.step)))
    if isinstance(x, Arange):
        return Arange(parts_changed(x.stop, change))
    return change(x)


def setting_value(x: Any, arrays: Mapping[str, Any]) -> Any:
    """Return a setting with its arrays in the place of their names.

    Example:
        >>> setting_value((Arange(2), Given("y")), {"y": np.array([1, 0])})
        (array([0, 1]), array([1, 0]))
    """
    if isinstance(x, Given):
        a = np.asarray(arrays[x.name])
        return a.astype(bool) if a.dtype.kind == "f" else a  # a mask that counts as 0 and 1
    if isinstance(x, Arange):
        return np.arange(x.stop)
    if type(x) in (tuple, list):
        return type(x)(setting_value(part, arrays) for part in x)
    return x


Base = Symbol | Call | Sum
Factor = tuple[Base, Fraction]
Rule = Callable[[Term], Term | None]
Part = TypeVar("Part")
Found = TypeVar("Found")

# --- building -------------------------------------------------------------------------------------


CONSTANTS = {"π": np.pi, "∞": np.inf}  # numbers with a name of their own


def number(x: Any) -> Sum:
    """Return a constant as a formula: a short fraction, ∞, a root or a multiple of π, else the
    decimal that the float prints as.

    Example:
        >>> number(0.25).terms[0].coefficient
        Fraction(1, 4)
        >>> number(np.sqrt(3.0)).terms[0].factors[0][1]
        Fraction(1, 2)
    """
    if isinstance(x, float) and not _is_short(x):
        if math.isinf(x):
            return scale(of(Symbol("∞")), 1 if x > 0 else -1)
        if (known := _known_number(x)) is not None:
            return known
    c = fraction(x)
    return Sum((Term(c),)) if c else Sum()


def _is_short(x: float) -> bool:
    """Return True if few digits or a short fraction are exactly this float."""
    if not math.isfinite(x):
        return False
    near = Fraction(x).limit_denominator(10**6)
    return float(near) == x or len(repr(abs(x)).lstrip("0.").replace(".", "")) <= 12


def _known_number(x: float) -> Sum | None:
    """Return x as √r, r·π, r/π, √(r·π) or √(r/π) with a short fraction r, if it is one of these."""
    sign = 1 if x > 0 else -1
    for square in (False, True):
        y = x * x if square else abs(x)
        for exponent in (1, -1, 0) if square else (1, -1):
            r = Fraction(y / math.pi**exponent).limit_denominator(10**5)
            near = float(r) * math.pi**exponent
            if r and math.isclose(math.sqrt(near) if square else near, abs(x), rel_tol=4e-16):
                whole = of(Symbol("π"), exponent) if exponent else number(1)
                root = _root(r, whole) if square else scale(whole, r)
                return scale(root, sign)
    return None


def _root(r: Fraction, rest: Sum) -> Sum:
    """Return √(r·rest), roots of squares drawn."""
    found = []
    for n, sign in ((r.numerator, 1), (r.denominator, -1)):
        root = math.isqrt(n)
        if sign == 1 and rest != number(1):
            found.append(of(multiply(number(n), rest), Fraction(1, 2)))
            continue
        whole = number(Fraction(root) ** sign)
        found.append(whole if root * root == n else of(number(n), Fraction(sign, 2)))
    return multiply(*found)


def fraction(x: Any) -> Fraction:
    """The simplest fraction that is this float exactly: 1/3 for 0.333…, 1/100 for 0.01.

    Example:
        >>> fraction(1 / 3), fraction(0.01)
        (Fraction(1, 3), Fraction(1, 100))
    """
    if not isinstance(x, float):
        return Fraction(x)
    near = Fraction(x).limit_denominator(10**6)
    return near if float(near) == x else Fraction(repr(x))


def of(base: Base, exponent: Any = 1) -> Sum:
    """A single factor as a formula.

    Example:
        >>> of(Symbol("a"), 2).terms[0].factors[0][1]
        Fraction(2, 1)
    """
    return Sum((Term(Fraction(1), ((base, Fraction(exponent)),)),))


def only(s: Sum) -> Base | None:
    """The factor that is all of the formula.

    Example:
        >>> a = Symbol("a")
        >>> only(of(a)) == a, only(of(a, 2))
        (True, None)
    """
    base = s.terms[0].factors[0][0] if len(s.terms) == 1 and s.terms[0].factors else None
    return base if base is not None and s == of(base) else None


def named_whole(s: Sum, index: Index) -> Symbol | None:
    """The named array that is all of the formula, its axes in this order.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> named_whole(X, (i, j)).name, named_whole(X, (j, i))
        ('X', None)
    """
    base = only(s)
    return base if isinstance(base, Symbol) and base.index == index else None


def add(*sums: Sum) -> Sum:
    """The sum, equal terms put together.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> add(X, X).terms[0].coefficient
        Fraction(2, 1)
    """
    terms: dict[Any, Term] = {}
    for term in (t for s in sums for t in s.terms):
        key = _term_key(term)
        if key in terms:
            term = replace(term, coefficient=terms[key].coefficient + term.coefficient)
        terms[key] = term
    return Sum(tuple(t for t in terms.values() if t.coefficient))


def scale(s: Sum, c: Fraction | int) -> Sum:
    """c times the sum.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> scale(X, 3).terms[0].coefficient
        Fraction(3, 1)
    """
    if c == 1:
        return s
    return Sum(tuple(replace(t, coefficient=t.coefficient * c) for t in s.terms)) if c else Sum()


def _as_term(s: Sum) -> Term:
    """The sum as a single term: itself if it is one, else with its common number in front."""
    if len(s.terms) == 1:
        return s.terms[0]
    c = content(s)
    return Term(c, ((scale(s, 1 / c), Fraction(1)),))


MANY = 60


def content(s: Sum) -> Fraction:
    """The number that all coefficients have in common, with the sign that makes a formula nicer.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> content(add(scale(X, 2), number(4)))
        Fraction(2, 1)
    """
    numerators = [abs(t.coefficient.numerator) for t in s.terms]
    denominators = [t.coefficient.denominator for t in s.terms]
    c = Fraction(gcd(*numerators), lcm(*denominators)) if s.terms else Fraction(1)
    if any(abs(t.coefficient / c) > MANY for t in s.terms):
        c = Fraction(1)  # 0.429·A + B is no (429·A + 1000·B)/1000
    return -c if s.terms and all(t.coefficient < 0 for t in s.terms) else c


def _times(*terms: Term, over: frozenset[Axis] = frozenset()) -> Term:
    """The product of terms, summed over more indices; a bound letter that also stands elsewhere is
    renamed."""
    coefficient, bound = Fraction(1), frozenset(over)
    factors: list[Factor] = []
    for k, t in enumerate(terms):
        if t.bound and t.bound & bound.union(*(indices_of(u) for u in terms[:k] + terms[k + 1 :])):
            t = _rebound(t)
        coefficient *= t.coefficient
        factors += t.factors
        bound |= t.bound
    kept = _merged(factors)
    for i in bound - set().union(*(indices_of(b) for b, _ in kept)):
        coefficient *= i.size  # all that had the letter has cancelled: Σⱼ 1 = n
        bound -= {i}
    return Term(coefficient, kept, bound)


def multiply(*sums: Sum) -> Sum:
    """The product, not multiplied out.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> multiply(X, X).terms[0].factors[0][1]
        Fraction(2, 1)
    """
    if any(not s.terms for s in sums):
        return Sum()
    return Sum((_times(*map(_as_term, sums)),))


def _merged(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Equal factors as powers."""
    powers: dict[Any, Factor] = {}
    for base, p in factors:
        key = _base_key(base)
        powers[key] = (powers[key][0], powers[key][1] + p) if key in powers else (base, p)
    return tuple((b, p) for b, p in powers.values() if p)


def power(s: Sum, n: Fraction) -> Sum:
    """s to the power of n; (ab)ⁿ is aⁿbⁿ only where that holds for negative numbers too.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> power(X, Fraction(3)).terms[0].factors[0][1]
        Fraction(3, 1)
    """
    if n == 0:
        return number(1)
    if n == 1:
        return s
    t = _as_term(s)
    if t.bound or n.denominator != 1:
        return of(s, n)
    return Sum((Term(t.coefficient ** int(n), tuple((b, p * n) for b, p in t.factors)),))


def summed(s: Sum, over: Iterable[Axis]) -> Sum:
    """Σ over the indices; along one that the formula does not have, it is a multiple.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> summed(X, [i]).terms[0].bound == {i}
        True
    """
    over = [i for i in over if i is not ONE]
    if not over or not s.terms:
        return s
    free, t = indices_of(s), _as_term(s)
    c = t.coefficient
    for i in over:
        if i not in free:
            c *= i.size
    return Sum((Term(c, t.factors, t.bound | {i for i in over if i in free}),))


def renamed(x: Any, to: Mapping[Axis, Axis]) -> Any:
    """The same formula with other letters for its free indices.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> indices_of(renamed(X, {i: j})) == {j}
        True
    """
    if isinstance(x, Sum):
        return Sum(tuple(renamed(t, to) for t in x.terms))
    if isinstance(x, Term):
        if x.bound & set(to.values()):
            x = _rebound(x)
        if x.bound & to.keys():
            to = {a: b for a, b in to.items() if a not in x.bound}
        return replace(x, factors=tuple((renamed(b, to), p) for b, p in x.factors))
    index = tuple(to.get(i, i) for i in x.index)
    if isinstance(x, Call) and x.each:
        return replace(x, args=tuple((renamed(s, to), i) for s, i in x.args), index=index)
    return replace(x, index=index)


def resized(x: Any, to: Mapping[int, int], letters: dict[Axis, Axis]) -> Any:
    """The same formula for a batch of another length: {101: 12} where there were 101 samples.
    `letters` remembers the new indices.

    Example:
        >>> i = Axis(101)
        >>> X = scale(of(Symbol("x", (i,))), Fraction(1, 101))
        >>> resized(X, {101: 12}, {}).terms[0].coefficient
        Fraction(1, 12)
    """
    if isinstance(x, Axis):
        return letters.setdefault(x, Axis(to[x.size])) if x.size in to else x
    if isinstance(x, Fraction):
        for old, new in to.items():
            while x and x.numerator % old == 0:
                x = x / old * new
            while x.denominator % old == 0:
                x = x * old / new
        return x
    if isinstance(x, (tuple, slice, Arange)):
        return parts_changed(x, lambda part: resized(part, to, letters))
    if isinstance(x, int) and not isinstance(x, bool):
        return to.get(x, x)
    if isinstance(x, Sum):
        return Sum(resized(x.terms, to, letters))
    if isinstance(x, Term):
        factors = tuple((resized(b, to, letters), p) for b, p in x.factors)
        bound = frozenset(resized(i, to, letters) for i in x.bound)
        return Term(resized(x.coefficient, to, letters), factors, bound)
    if isinstance(x, Symbol):
        return Symbol(x.name, resized(x.index, to, letters))
    if isinstance(x, Call):
        inner, index, settings = (resized(y, to, letters) for y in (x.args, x.index, x.settings))
        return Call(x.name, inner, index, settings, x.each)
    return x


def _rebound(t: Term) -> Term:
    """The term with new letters under its Σ."""
    to = {i: Axis(i.size) for i in indices_in_order(t.bound)}
    factors = tuple((renamed(b, to), p) for b, p in t.factors)
    return Term(t.coefficient, factors, frozenset(to.values()))


# --- looking --------------------------------------------------------------------------------------


def remembered(function: Callable[[Any], Found]) -> Callable[[Any], Found]:
    """Keep what a function finds of a formula with the formula, which never changes.

    Example:
        >>> remembered(lambda x: x.name).__name__
        '<lambda>'
    """
    name = f"_{function.__name__}"

    @wraps(function)
    def recall(x: Any) -> Found:
        known: Found | None = x.__dict__.get(name)
        if known is None:
            known = x.__dict__[name] = function(x)
        return known

    return recall


@remembered
def indices_of(x: Any) -> frozenset[Axis]:
    """The free indices of a sum, term or base.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> indices_of(X) == {i, j}
        True
    """
    none = frozenset[Axis]()
    if isinstance(x, Sum):
        return none.union(*map(indices_of, x.terms))
    if isinstance(x, Term):
        return none.union(*(indices_of(b) for b, _ in x.factors)) - x.bound
    if isinstance(x, Call) and x.each:
        return none.union(*(indices_of(s) for s, _ in x.args))
    return frozenset(i for i in x.index if i is not ONE)


def indices_in_order(letters: Iterable[Axis]) -> Index:
    """Indices, the oldest first.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> indices_in_order({j, i}) == (i, j)
        True
    """
    return tuple(sorted(letters, key=lambda i: i.number))


Names = Mapping[Axis, str]


def _term_key(t: Term, names: Names | None = None) -> str:
    """The same for terms that differ only in their coefficient, in the order of their factors and
    in the letters of their bound indices. (Two such terms may be missed, but keys that are equal
    are those of equal terms: every letter has one name in the whole key.)"""
    names = names or {}
    if not t.bound:
        return "·".join(sorted(f"{_base_key(b, names)}^{p}" for b, p in t.factors))
    vague = {**names, **dict.fromkeys(t.bound, "?")}
    order = sorted(t.factors, key=lambda f: (_base_key(f[0], vague), f[1]))
    exact = dict(names)
    for base, _ in order:
        for i in _letters(base):
            if i in t.bound and not exact.get(i, "").startswith(f"b{len(names)}."):
                exact[i] = f"b{len(names)}.{len(exact)}"
    return "·".join(sorted(f"{_base_key(b, exact)}^{p}" for b, p in t.factors))


def _letters(b: Base) -> Iterator[Axis]:
    if isinstance(b, Sum):
        for t in b.terms:
            for f, _ in t.factors:
                yield from _letters(f)
    elif isinstance(b, Call) and b.each:
        for s, _ in b.args:
            yield from _letters(s)
    else:
        yield from b.index


def _base_key(b: Base, names: Names | None = None) -> str:
    """The same for bases that are equal."""
    return _written_key(b, names) if names else _plain_key(b)


@remembered
def _plain_key(b: Base) -> str:
    return _written_key(b, {})


def _written_key(b: Base, names: Names) -> str:
    if isinstance(b, Sum):
        terms = sorted(f"{t.coefficient}·{_term_key(t, names)}" for t in b.terms)
        return f"({' + '.join(terms)})"  # repr would escape what is deep inside again and again
    index = ",".join(names.get(i, repr(i)) for i in b.index)
    if isinstance(b, Symbol):
        return f"{b.name}[{index}]"
    args = []
    for s, inner in b.args:
        own = {} if b.each else {i: f"a{len(names)}.{k}" for k, i in enumerate(inner)}
        args.append(sum_key(s, {**names, **own}))
    return f"{b.name}{b.settings}({';'.join(args)})[{'' if b.each else index}]"


def sum_key(s: Sum, names: Names | None = None) -> str:
    """The same for sums that are equal.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> sum_key(X) == sum_key(scale(X, 2))
        False
    """
    return _base_key(s, names)


# --- simplifying ----------------------------------------------------------------------------------


def simplify(s: Sum, rules: Sequence[Rule] = ()) -> Sum:
    """A shorter formula of the same value. Each rule gives a shorter term, or None.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> simplify(add(X, scale(X, -1)))
        Sum(terms=())
    """
    return _simplified(s, (*RULES, *rules))


def _simplified(s: Sum, rules: Sequence[Rule]) -> Sum:
    """Term by term until nothing changes; a formula that these very rules have been through is
    left alone, or those deep inside would be gone through again for every level above."""
    for _ in range(20):
        if s.__dict__.get("_done") is rules:
            break
        new = add(*(_simplify_term(t, rules) for t in s.terms))
        new = _factored(_shorter_of(new, expanded(new)))
        if sum_key(new) == sum_key(s):
            new.__dict__["_done"] = rules
        s = new
    return s


def _simplify_term(t: Term, rules: Sequence[Rule]) -> Sum:
    parts = [Term(t.coefficient)]
    for b, p in t.factors:
        if isinstance(b, Sum):
            inner = _simplified(b, rules)
            if not inner.terms:
                return Sum() if p > 0 else Sum((t,))
            parts.append(_as_term(power(inner, p)))
        else:
            if isinstance(b, Call):
                b = replace(b, args=tuple((_simplified(a, rules), i) for a, i in b.args))
            parts.append(Term(Fraction(1), ((b, p),)))
    t = _times(*parts, over=t.bound)
    for rule in rules:
        if (known := rule(t)) is not None:
            return _simplify_term(known, rules) if known.coefficient else Sum()
    return _cancelled(t, rules)


def _cancelled(t: Term, rules: Sequence[Rule]) -> Sum:
    """A group whose terms have denominators that other factors cancel is multiplied by these."""
    for k, (group, p) in enumerate(t.factors):
        if not isinstance(group, Sum) or p != 1:
            continue
        others = t.factors[:k] + t.factors[k + 1 :]
        helpers = [f for f in others if _cancels(group, f)]
        if not helpers:
            continue
        multiplied = (
            _simplify_term(_times(u, Term(Fraction(1), tuple(helpers))), rules) for u in group.terms
        )
        inner = add(*multiplied)
        inner = _shorter_of(inner, expanded(inner))
        if not inner.terms:
            return Sum()
        before = [f for f in t.factors[:k] if f not in helpers]
        after = [f for f in t.factors[k + 1 :] if f not in helpers]
        parts = Term(t.coefficient, tuple(before)), _as_term(inner), Term(Fraction(1), tuple(after))
        return _simplify_term(_times(*parts, over=t.bound), rules)
    return Sum((t,))


def _cancels(group: Sum, factor: Factor) -> bool:
    """Whether a term of the group has this factor with a power of the other sign."""
    key = _base_key(factor[0])
    return any(
        (p < 0) != (factor[1] < 0) and _base_key(b) == key
        for u in group.terms
        for b, p in u.factors
    )


def expanded(s: Sum) -> Sum:
    """All groups of positive whole power multiplied out, unless that becomes too long.

    Example:
        >>> X = of(Symbol("X"))
        >>> len(expanded(multiply(X, add(X, number(1)))).terms)
        2
    """
    result: list[Term] = []
    todo = list(s.terms)
    while todo:
        t = todo.pop(0)
        if (apart := multiplied_out(t)) is None:
            result.append(t)
        else:
            todo[:0] = apart.terms
        if len(result) + len(todo) > 40:
            return s
    return add(*(Sum((t,)) for t in result))


def multiplied_out(t: Term) -> Sum | None:
    """The term with its first group of several terms multiplied out; None if it has none.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> len(multiplied_out(multiply(X, add(X, number(1))).terms[0]).terms)
        2
    """
    for k, (b, p) in enumerate(t.factors):
        if isinstance(b, Sum) and p.denominator == 1 and 0 < p <= 3:
            left = ((b, p - 1),) if p > 1 else ()
            before = Term(t.coefficient, t.factors[:k])
            after = Term(Fraction(1), (*left, *t.factors[k + 1 :]))
            return Sum(tuple(_times(before, u, after, over=t.bound) for u in b.terms))
    return None


def _factored(s: Sum) -> Sum:
    """What two terms have in common taken out, where that is shorter: Ax + Bx = (A + B)x."""
    if not 2 <= len(s.terms) <= 8:
        return s
    for new in _with_products_taken_out(s):
        if cost(new) < cost(s):
            return _factored(new)
    for j, a in enumerate(s.terms):
        for k in range(j + 1, len(s.terms)):
            for shared in _common(a, s.terms[k]):
                rest = (*s.terms[:j], shared, *s.terms[j + 1 : k], *s.terms[k + 1 :])
                new = Sum(rest)
                if cost(new) < cost(s):
                    return _factored(new)
    return s


def _with_products_taken_out(s: Sum) -> Iterator[Sum]:
    """For each whole product, or factor of three terms and more, what they have of it in one: of
    MEWᵀ + NEWᵀ element by element the EWᵀ, which no factor alone can be."""
    apart = [_products(t) for t in s.terms]
    for key, product in ((k, p) for products in apart[:-1] for k, p in products.items()):
        having = [t for t, products in zip(s.terms, apart, strict=True) if key in products]
        if len(having) < 2 or len({*map(tuple, map(_denominator, having))}) > 1:
            continue
        rests = []
        for t, products in zip(s.terms, apart, strict=True):
            if key in products:
                gone = {id(f) for f in products[key].factors}
                left = tuple(f for f in t.factors if id(f) not in gone)
                rests.append(Sum((Term(t.coefficient, left, t.bound - products[key].bound),)))
        both = add(*rests)
        if both.terms and len(indices_of(both)) <= max(2, len(indices_of(having[0]))):
            c = content(both)
            factors = ((scale(both, 1 / c), Fraction(1)), *product.factors)
            first = s.terms.index(having[0])
            others = [t for t in s.terms if not any(t is h for h in having)]
            others.insert(first, Term(c, factors, product.bound))
            yield Sum(tuple(others))


def _products(t: Term) -> dict[str, Term]:
    """The factors of a term in groups that share a Σ, each with its key."""
    groups = connected(t.factors, lambda f: indices_of(f[0]) & t.bound)
    found = [Term(Fraction(1), tuple(group), letters) for letters, group in groups]
    return {_term_key(p): p for p in found}


def connected(
    parts: Iterable[Part], letters_of: Callable[[Part], frozenset[Axis]]
) -> list[tuple[frozenset[Axis], list[Part]]]:
    """The parts in groups that share letters, directly or through others; each with its letters.

    Example:
        >>> i, j, k = Axis(2), Axis(2), Axis(2)
        >>> [len(group) for _, group in connected([{i}, {j}, {i, k}], frozenset)]
        [1, 2]
    """
    groups: list[tuple[frozenset[Axis], list[Part]]] = []
    for part in parts:
        letters, group = letters_of(part), [part]
        for other in [g for g in groups if g[0] & letters]:
            groups.remove(other)
            letters, group = letters | other[0], other[1] + group
        groups.append((letters, group))
    return groups


def _common(a: Term, b: Term) -> Iterator[Term]:
    """The two terms as one, for each factor that they can be made to share. Fractions are put
    together only over what both have below the line."""
    alike = _denominator(a) == _denominator(b)
    keys = [_base_key(g) for g, _ in b.factors]
    for j, (f, p) in enumerate(a.factors):
        key = _base_key(f)
        for k, (g, q) in enumerate(b.factors):
            if p != q or (key != keys[k] and not _is_same_array(f, g)) or not (alike or p < 0):
                continue
            pairs = {} if key == keys[k] else dict(zip(g.index, f.index, strict=True))  # type: ignore[union-attr]
            to = {v: u for v, u in pairs.items() if u is not v}
            letters = indices_of(f)
            kept = letters & a.bound
            if not (to.keys() <= b.bound and set(to.values()) <= a.bound):
                continue
            if len(set(to.values())) < len(to) or set(to.values()) & b.bound:
                continue
            if any((i in b.bound) != (i in kept) for i in letters - set(to.values())):
                continue
            left = Term(a.coefficient, a.factors[:j] + a.factors[j + 1 :], a.bound - kept)
            others = b.factors[:k] + b.factors[k + 1 :]
            moved: Term = renamed(Term(b.coefficient, others, b.bound - to.keys() - kept), to)
            if moved.bound & kept or not (left.factors or moved.factors):
                continue
            if not all(i in indices_of(left) and i in indices_of(moved) for i in kept):
                continue  # Σ over an index that a part has not would be a multiple
            within = letters <= kept
            if within and not (_reaches_out(left, kept) and _reaches_out(moved, kept)):
                continue
            both = add(Sum((left,)), Sum((moved,)))
            axes = max(2, len(indices_of(a) | indices_of(b)))
            if both.terms and len(indices_of(both)) <= axes:  # no group that no matrix can be
                c = content(both)
                yield Term(c, ((scale(both, 1 / c), Fraction(1)), (f, p)), frozenset(kept))


def _denominator(t: Term) -> list[str]:
    return sorted(_base_key(b) for b, p in t.factors if p < 0)


def _is_same_array(f: Base, g: Base) -> bool:
    return (
        isinstance(f, Symbol) and isinstance(g, Symbol)
        and f.name == g.name and len(f.index) == len(g.index)
    )  # fmt: skip


def _reaches_out(t: Term, kept: Iterable[Axis]) -> bool:
    """Whether these indices of the term lead to one that is not summed over, if it has any: of
    xᵀAx·x only the last x may be taken out."""
    kept = set(kept)
    if not kept or not indices_of(t) - kept:
        return True
    reached, before = set(kept), set[Axis]()
    while reached != before:
        before = set(reached)
        for b, _ in t.factors:
            letters = indices_of(b)
            if letters & reached & (t.bound | kept):
                reached |= letters
    return not reached <= t.bound | kept


def _shorter_of(a: Sum, b: Sum) -> Sum:
    """The one that takes fewer signs to write."""
    return b if cost(b) < cost(a) else a


@remembered
def cost(s: Sum) -> int:
    """About how many signs it takes to write the formula.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> cost(X), cost(add(X, number(1)))
        (1, 3)
    """
    total = max(0, len(s.terms) - 1)
    for t in s.terms:
        total += ((abs(t.coefficient.numerator) != 1) or not t.factors) + len(t.bound)
        for b, p in t.factors:
            total += 1 + 2 * (p != 1)
            if isinstance(b, Sum):
                total += cost(b)
            elif isinstance(b, Call):
                total += 1 + sum(cost(a) for a, _ in b.args)
    return total


# --- what is known of single functions ------------------------------------------------------------

COMPARISONS = {
    "greater": ">", "greater_equal": "≥", "less": "<", "less_equal": "≤", "equal": "=",
    "not_equal": "≠",
}  # fmt: skip
OPPOSITE = {
    "greater": "less_equal", "less_equal": "greater", "less": "greater_equal",
    "greater_equal": "less", "equal": "not_equal", "not_equal": "equal",
}  # fmt: skip
MASKS = {*COMPARISONS, "within"}


def _cleared(t: Term) -> Term | None:
    """1/((1/a − 1)a²) = 1/((1 − a)a)."""
    for k, (group, p) in enumerate(t.factors):
        if p != -1 or not isinstance(group, Sum):
            continue
        under = {_base_key(b) for j, (b, q) in enumerate(t.factors) if q < 0 and j != k}
        for b, q in (f for u in group.terms for f in u.factors):
            if q < 0 and _base_key(b) in under:
                up = Term(Fraction(1), ((b, -q),))
                inner = add(*(Sum((_times(u, up),)) for u in group.terms))
                rest = t.factors[:k] + t.factors[k + 1 :]
                factors = _merged([*rest, (b, -q), (inner, Fraction(-1))])
                return replace(t, factors=factors)
    return None


def _mask_power(t: Term) -> Term | None:
    """[a > b]² = [a > b], since it is 0 or 1."""
    if not any(isinstance(b, Call) and b.name in MASKS and p > 1 for b, p in t.factors):
        return None
    factors = tuple(
        (b, Fraction(1) if isinstance(b, Call) and b.name in MASKS and p > 1 else p)
        for b, p in t.factors
    )
    return replace(t, factors=factors)


def _mask_both(t: Term) -> Term | None:
    """[a ≥ b][a ≤ b] = [a = b]."""
    for j, (f, p) in enumerate(t.factors):
        for k, (g, q) in enumerate(t.factors):
            if (
                isinstance(f, Call) and isinstance(g, Call) and p == q == 1
                and (f.name, g.name) == ("greater_equal", "less_equal")
                and _base_key(replace(f, name="")) == _base_key(replace(g, name=""))
            ):  # fmt: skip
                rest = tuple(x for i, x in enumerate(t.factors) if i not in (j, k))
                return replace(t, factors=(*rest, (replace(f, name="equal"), Fraction(1))))
    return None


def _equal_sides(t: Term) -> Term | None:
    """[a > a] = 0, [a = a] = 1."""
    for k, (b, p) in enumerate(t.factors):
        if isinstance(b, Call) and b.name in COMPARISONS and p > 0:
            left, right = (sum_key(s) for s, _ in b.args)
            if left == right:
                holds = b.name in ("equal", "greater_equal", "less_equal")
                rest = t.factors[:k] + t.factors[k + 1 :]
                return _times(Term(t.coefficient * holds, rest), over=t.bound)
    return None


def _sigmoid_of_exp(t: Term) -> Term | None:
    """eᶻ/(1 + eᶻ) = σ(z), and 1/(1 + eᶻ) = σ(−z)."""
    for j, (group, p) in enumerate(t.factors):
        if not isinstance(group, Sum) or p >= 0 or p.denominator != 1 or len(group.terms) != 2:
            continue
        one = [u for u in group.terms if not u.factors and u.coefficient == 1]
        e = [
            u.factors[0][0] for u in group.terms
            if u.coefficient == 1 and not u.bound and len(u.factors) == 1 and u.factors[0][1] == 1
        ]  # fmt: skip
        if not (one and e and isinstance(e[0], Call) and e[0].name == "exp"):
            continue
        key = _base_key(e[0])
        at = next((k for k, (b, q) in enumerate(t.factors) if q >= 1 and _base_key(b) == key), None)
        z = e[0].args[0][0] if at is not None else scale(e[0].args[0][0], -1)
        sigma = Call("sigmoid", ((z, ()),), e[0].index)
        factors = list(t.factors)
        factors[j] = (group, p + 1)
        if at is not None:
            factors[at] = (factors[at][0], factors[at][1] - 1)
        factors.insert(j, (sigma, Fraction(1)))
        return replace(t, factors=_merged(f for f in factors if f[1]))
    return None


def _softmax_of_exp(t: Term) -> Term | None:
    """eᶻʲ/Σₖ eᶻᵏ = softmax(z)ⱼ, and what is the same for all k makes no difference to it."""
    for j, (group, p) in enumerate(t.factors):
        if not isinstance(group, Sum) or p >= 0 or p.denominator != 1 or len(group.terms) != 1:
            continue
        u = group.terms[0]
        if len(u.bound) != 1 or len(u.factors) != 1 or u.coefficient != 1:
            continue
        (summand, q), (k,) = u.factors[0], u.bound
        if not (isinstance(summand, Call) and summand.name == "exp" and q == 1):
            continue
        for at, (b, q) in enumerate(t.factors):
            if not (isinstance(b, Call) and b.name == "exp" and q >= 1):
                continue
            others = indices_of(b) - indices_of(group)
            if len(others) != 1:
                continue
            (i,) = others
            if _base_key(renamed(summand, {k: i})) != _base_key(b):
                continue
            own = (*indices_in_order(indices_of(b) - others), i)
            z = Sum(tuple(v for v in b.args[0][0].terms if i in indices_of(v)))
            new = Call("softmax", ((z, own),), own, each=False)
            factors = list(t.factors)
            factors[j], factors[at] = (group, p + 1), (b, q - 1)
            return replace(t, factors=_merged([*factors[:at], (new, Fraction(1)), *factors[at:]]))
    return None


def _softmax_of_logarithm(t: Term) -> Term | None:
    """exp(log softmax(z)) = softmax(z), and so is exp(z − logsumexp(z))."""
    for k, (b, p) in enumerate(t.factors):
        if isinstance(b, Call) and b.name == "exp" and (new := _softmax(b.args[0][0])) is not None:
            return replace(t, factors=_merged([*t.factors[:k], (new, p), *t.factors[k + 1 :]]))
    return None


def _softmax(s: Sum) -> Call | None:
    """The softmax whose logarithm this is."""
    for k, u in enumerate(s.terms):
        base = u.factors[0][0] if len(u.factors) == 1 and not u.bound else None
        if not isinstance(base, Call) or u.factors[0][1] != 1:
            continue
        if base.name == "log_softmax" and u.coefficient == 1 and len(s.terms) == 1:
            return replace(base, name="softmax")
        rest = Sum(s.terms[:k] + s.terms[k + 1 :])
        gone = indices_of(rest) - set(base.index)
        if base.name != "logsumexp" or u.coefficient != -1 or len(gone) != 1:
            continue
        z, own = base.args[0]
        axis = dict(base.settings).get("axis", 0 if len(own) == 1 else None)
        if axis is None:
            continue
        kept = [i for i in base.index if i is not ONE]
        axis %= len(own)
        index = (*kept[:axis], *gone, *kept[axis:])
        if len(index) != len(own):
            continue
        if sum_key(renamed(z, dict(zip(own, index, strict=True)))) == sum_key(rest):
            settings = () if axis == len(own) - 1 else (("axis", axis),)
            return Call("softmax", ((z, own),), index, settings, each=False)
    return None


def _opposite_sigmoids(t: Term) -> Term | None:
    """σ(z)σ(−z) = σ(z)(1 − σ(z))."""
    found = [(k, b) for k, (b, _) in enumerate(t.factors)
             if isinstance(b, Call) and b.name == "sigmoid"]  # fmt: skip
    for k, b in found:
        z = b.args[0][0]
        opposite = sum_key(scale(z, -1))
        if content(z) < 0 and any(sum_key(c.args[0][0]) == opposite for _, c in found):
            other = of(replace(b, args=((scale(z, -1), ()),)))
            factors = list(t.factors)
            factors[k] = (add(number(1), scale(other, -1)), factors[k][1])
            return replace(t, factors=tuple(factors))
    return None


def _sign_inside(t: Term) -> Term | None:
    """−(Y − A) = A − Y."""
    if t.coefficient > 0:
        return None
    for k, (b, p) in enumerate(t.factors):
        if isinstance(b, Sum) and p in (1, -1) and all(u.factors for u in b.terms):
            signs = {u.coefficient > 0 for u in b.terms}
            if len(signs) == 2 and len(b.terms) == 2:
                factors = list(t.factors)
                factors[k] = (scale(b, -1), p)
                return replace(t, coefficient=-t.coefficient, factors=tuple(factors))
    return None


RULES: list[Rule] = [
    _sign_inside, _cleared, _mask_power, _mask_both, _equal_sides,
    _sigmoid_of_exp, _softmax_of_exp, _softmax_of_logarithm, _opposite_sigmoids,
]  # fmt: skip


class Definitions:
    """Calls that have a name: A1 for σ(Z1), and so 1 − A1 for σ(−Z1).

    Example:
        >>> i = Axis(3)
        >>> sigma = of(Call("sigmoid", ((of(Symbol("Z", (i,))), ()),), (i,)))
        >>> known = Definitions()
        >>> known.add("A", (i,), sigma)
        >>> known.rule(sigma.terms[0]).factors[0][0].name
        'A'
    """

    def __init__(self, invent: Callable[[Call], str | None] = lambda call: None) -> None:
        self._calls: dict[str, tuple[Index, Call]] = {}
        self.invent = invent  # a name for a call that has none

    def add(self, name: str, index: Index, s: Sum) -> None:
        """Note that the array of this name is that formula, if it is a single call."""
        if isinstance(base := only(s), Call):
            self._calls[name] = index, base

    def rule(self, t: Term) -> Term | None:
        """The term with names for all calls that have one."""
        for k, (b, p) in enumerate(t.factors):
            if isinstance(b, Call) and (new := self._named(b)) is not None:
                if isinstance(new, Sum) and p != 1:
                    continue
                return replace(t, factors=_merged([*t.factors[:k], (new, p), *t.factors[k + 1 :]]))
        return None

    def _named(self, call: Call) -> Base | None:
        for name, (index, known) in self._calls.items():
            if known.name != call.name or repr(known.settings) != repr(call.settings):
                continue
            own, letters = [i for i in index if i is not ONE], indices_of(call)
            if len(own) != len(letters) or len(own) > 3:
                continue
            key = _base_key(call)
            for order in permutations(letters):
                to = dict(zip(own, order, strict=True))
                if any(i.size != j.size for i, j in to.items()):
                    continue
                symbol = Symbol(name, tuple(to.get(i, i) for i in index))
                if _base_key(renamed(known, to)) == key:
                    return symbol
                if call.name == "sigmoid":
                    opposite = replace(call, args=((scale(call.args[0][0], -1), ()),))
                    if _base_key(renamed(known, to)) == _base_key(opposite):
                        return add(number(1), scale(of(symbol), -1))
        if (new := self.invent(call)) is None:
            return None
        index = call.index
        self._calls[new] = index, call
        return Symbol(new, index)


def rows_sum_to_one(names: set[str]) -> Rule:
    """Σⱼ Yᵢⱼ = 1 for the arrays of these names.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> rows_sum_to_one({"X"})(summed(X, [j]).terms[0]).factors
        ()
    """

    def one(b: Base, p: Fraction, bound: frozenset[Axis]) -> Axis | None:
        """The index that makes this factor 1 if it alone is summed over it."""
        if isinstance(b, Symbol) and b.name in names and p == 1 and {*b.index[-1:]} & bound:
            return b.index[-1] if b.index[-1] not in b.index[:-1] else None
        return None

    def rule(t: Term) -> Term | None:
        for k, (b, p) in enumerate(t.factors):
            others = t.factors[:k] + t.factors[k + 1 :]
            elsewhere = set().union(*(indices_of(f) for f, _ in others))
            j = one(b, p, t.bound)
            if j is not None and j not in elsewhere:
                if t.bound - {j} <= elsewhere:  # otherwise another Σ would count to its length
                    return Term(t.coefficient, others, t.bound - {j})
            elif isinstance(b, Sum) and p == 1:  # Σ(Y − A)x = (ΣY − ΣA)x
                for u in b.terms:
                    j = one(*u.factors[0], t.bound - elsewhere) if len(u.factors) == 1 else None
                    if j is None:
                        continue
                    apart = add(*(summed(Sum((u,)), [j]) for u in b.terms))
                    rest = t.bound - {j}
                    if rest <= elsewhere | indices_of(apart):
                        return Term(t.coefficient, (*others[:k], (apart, p), *others[k:]), rest)
        return None

    return rule


def contracted(names: set[str]) -> Rule:
    """Σⱼ δᵢⱼ xⱼ = xᵢ for identity matrices δ of these names.

    Example:
        >>> i, j = Axis(3), Axis(3)
        >>> t = summed(multiply(of(Symbol("I", (i, j))), of(Symbol("x", (j,)))), [j]).terms[0]
        >>> contracted({"I"})(t).factors[0][0].name
        'x'
    """

    def rule(t: Term) -> Term | None:
        for b, p in t.factors:
            if not (isinstance(b, Symbol) and b.name in names and p == 1):
                continue
            i, j = b.index
            if j not in t.bound:
                i, j = j, i
            if j not in t.bound or i is j or ONE in (i, j):
                continue
            others = tuple(f for f in t.factors if f[0] is not b)
            bound = t.bound - {j}
            new: Term = renamed(Term(t.coefficient, others, bound - {i}), {j: i})
            if i in indices_of(new):  # otherwise Σ over i would count to its length
                return replace(new, bound=new.bound | (bound & {i}))
        return None

    return rule


# --- evaluating -----------------------------------------------------------------------------------

Functions = Mapping[str, Callable[..., Any]]


def evaluate(s: Sum, index: Index, arrays: Mapping[str, Any], functions: Functions) -> Any:
    """The array that the formula is worth, its axes in the order of `index`.

    Example:
        >>> i, j = Axis(2), Axis(3)
        >>> X = of(Symbol("X", (i, j)))
        >>> evaluate(summed(X, [j]), (i,), {"X": np.ones((2, 3))}, {})
        array([3., 3.])
    """
    total: Any = np.zeros(tuple(i.size for i in index))
    for t in s.terms:
        value, axes = _product(t, arrays, functions)
        places = [axes.index(i) for i in index if i is not ONE and i in axes]
        value = np.transpose(value, places)
        shape = [i.size if i in axes else 1 for i in index]
        total = total + float(t.coefficient) * value.reshape(shape)
    return total


def _product(t: Term, arrays: Mapping[str, Any], functions: Functions) -> tuple[Any, list[Axis]]:
    operands: list[Any] = [1.0, []]
    letters: dict[Axis, int] = {}
    for b, p in t.factors:
        value, axes = _base(b, arrays, functions)
        value = np.asarray(value, dtype=np.float64)
        operands += [
            value if p == 1 else value ** (int(p) if p.denominator == 1 else float(p)),
            [letters.setdefault(i, len(letters)) for i in axes],
        ]
    free = [i for i in letters if i not in t.bound]
    return np.einsum(*operands, [letters[i] for i in free], optimize="greedy"), free


def _base(b: Base, arrays: Mapping[str, Any], functions: Functions) -> tuple[Any, list[Axis]]:
    if isinstance(b, Sum):
        axes = list(indices_in_order(indices_of(b)))
        return evaluate(b, tuple(axes), arrays, functions), axes
    if isinstance(b, Call) and b.each:
        axes = list(indices_in_order(indices_of(b)))
        args = [evaluate(s, tuple(axes), arrays, functions) for s, _ in b.args]
        return functions[b.name](*args, **dict(b.settings)), axes
    if isinstance(b, Call):
        args = [_argument(s, i, arrays, functions) for s, i in b.args]
        settings = {k: setting_value(v, arrays) for k, v in b.settings}
        value = functions[b.name](*args, **settings)
    else:
        value = arrays[b.name] if b.name in arrays else CONSTANTS[b.name]
    ones = tuple(k for k, i in enumerate(b.index) if i is ONE)
    return np.squeeze(value, axis=ones) if ones else value, [i for i in b.index if i is not ONE]


def _argument(s: Sum, index: Index, arrays: Mapping[str, Any], functions: Functions) -> Any:
    """What a function is given: an array as it is (it may hold integers), or a formula's value."""
    whole = named_whole(s, index)
    return evaluate(s, index, arrays, functions) if whole is None else arrays[whole.name]
