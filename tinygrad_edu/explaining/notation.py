"""Formulas of matrices as trees, written as text, as LaTeX, as shapes and as NumPy code.

`matrices` makes the tree, from a formula in index notation. All that is printed of a formula and
the code that checks it are written from that one tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from keyword import iskeyword
from typing import Any

import numpy as np

from .algebra import COMPARISONS, Arange, Given, parts_changed, remembered, setting_value


@dataclass(frozen=True)
class Node:
    """A part of a formula.

    kind     name, vector, row, single, number, T, matmul, had, over, power, rowsum, colsum,
             total, trace, column, call, scaled, add; with indices: indexed, sigma, entry; of
             stacks: stack, stacksum
    parts    what it is made of
    value    name: (its name, whether it is one number); vector: its name; power: the exponent;
             call: name, settings and `kind_of` (None: element by element); scaled: whether it is
             negative, how many parts stand before the body, whether there is a body; the others
             stand below the line; indexed and entry: the indices; sigma: those summed over

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> text(Node("T", (W,)))
        'W1ᵀ'
    """

    kind: str
    parts: tuple[Node, ...] = ()
    value: Any = None


class Length(int):
    """A length in a setting that has a name: shape=(m, 4).

    Example:
        >>> (named(101, {101: "m"}), named(4, {101: "m"}))
        (m, 4)
    """

    name: str

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


def named(x: Any, sizes: Mapping[int, str]) -> Any:
    """A setting whose lengths have their names.

    Example:
        >>> named((101, 4), {101: "m"})
        (m, 4)
    """

    def letter(n: Any) -> Any:
        if type(n) is not int or n not in sizes:
            return n
        length = Length(n)
        length.name = sizes[n]
        return length

    return parts_changed(x, letter)


@remembered
def kind_of(n: Node) -> str:
    """s a number, c a vector standing for a column, r one standing for a row, m a matrix.

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> kind_of(W), kind_of(Node("vector", (), "x"))
        ('m', 'c')
    """
    k = n.kind
    if k == "vector":
        return "c"
    if k == "name":
        return "s" if n.value[1] else "m"
    if k in ("number", "total", "trace", "entry", "sigma", "single"):
        return "s"
    if k in ("column", "stack"):
        return "m"
    if k == "stacksum":
        return str(n.value[1])
    if k == "call" and n.value[2]:
        return str(n.value[2])
    kinds = [kind_of(p) for p in n.parts]
    if k in ("T", "row"):
        return {"c": "r", "r": "c"}.get(kinds[0], kinds[0])
    if k == "rowsum":
        return "m" if kinds[0] == "m" else "s"
    if k == "colsum":
        return "r" if kinds[0] == "m" else "s"
    if k == "matmul":
        if kinds[0] == "r":
            return "s" if kinds[-1] == "c" else "r"
        return "c" if kinds[-1] == "c" else "m"
    if "m" in kinds or {"c", "r"} <= set(kinds):
        return "m"
    return "c" if "c" in kinds else "r" if "r" in kinds else "s"


def names_in(n: Node) -> set[str]:
    """Return the names that a formula uses.

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> names_in(Node("matmul", (Node("T", (W,)), Node("vector", (), "x")))) == {"W1", "x"}
        True
    """
    found = {n.value[0]} if n.kind == "name" else {n.value} if n.kind == "vector" else set()
    if n.kind == "call":
        parts_changed(tuple(v for _, v in n.value[1]), lambda x: found.add(repr(x)))
    return found.union(*map(names_in, n.parts))


# --- text -----------------------------------------------------------------------------------------

SUM, TERM, PRODUCT, ATOM = range(4)  # how tightly a formula holds together
FUNCTIONS = {"rowsum": "rowsum", "total": "sum", "trace": "tr", "column": "col"}
_RAISED = str.maketrans("0123456789/−", "⁰¹²³⁴⁵⁶⁷⁸⁹ᐟ⁻")


def text(n: Node) -> str:
    """The formula as the slides write it.

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> text(Node("matmul", (W, Node("T", (W,)))))
        'W1W1ᵀ'
    """
    return _text(n)[0]


def _at(n: Node, level: int) -> str:
    s, own = _text(n)
    return s if own >= level else f"({s})"


@remembered
def _text(n: Node) -> tuple[str, int]:
    k, parts = n.kind, n.parts
    if k == "name":
        return n.value[0], ATOM
    if k == "vector":
        return n.value, ATOM
    if k == "number":
        return numeral(n.value), ATOM
    if k in ("row", "single", "stack"):
        return _text(parts[0])
    if k == "stacksum":
        return f"sum({text(parts[0])}, axis={_axes(n)})", ATOM
    if k == "T":
        inner = _at(parts[0], ATOM)
        return (f"({inner})ᵀ" if inner[0] == "∂" else f"{inner}ᵀ"), ATOM
    if k == "matmul":
        return _juxtaposed([_at(p, ATOM) for p in parts]), PRODUCT
    if k == "had":
        return " ⊙ ".join(_at(p, PRODUCT) for p in parts), TERM
    if k == "over":
        return _at(parts[0], PRODUCT) + "/" + _at(parts[1], ATOM), TERM
    if k == "power":
        if n.value == Fraction(1, 2):
            inner = text(parts[0])
            return f"√{inner}" if _is_plain_number(parts[0]) else f"sqrt({inner})", ATOM
        if n.value.denominator == 1:
            return _at(parts[0], ATOM) + str(n.value).translate(_RAISED), ATOM
        return f"{_at(parts[0], ATOM)}^({n.value})", ATOM
    if k == "colsum":
        inner = _at(parts[0], ATOM)
        return ("1ᵀ·" if inner[0] in "0123456789∂" else "1ᵀ") + inner, PRODUCT
    if k in FUNCTIONS:
        return f"{FUNCTIONS[k]}({text(parts[0])})", ATOM
    if k == "indexed":
        return f"[{n.value}] {text(parts[0])}", SUM
    if k == "sigma":
        return "".join(f"Σ_{i} " for i in n.value) + _at(parts[0], TERM), SUM
    if k == "entry":
        return f"{_at(parts[0], ATOM)}[{n.value}]", ATOM
    if k == "call":
        return _call_text(n), ATOM
    if k == "add":
        return _signed([(is_negative(p), _text(unsigned(p))[0]) for p in parts]), SUM
    return _scaled_text(n)


def _axes(n: Node) -> str:
    """Return the first axes of a stack: 0, or (0, 1)."""
    axes: int = n.value[0]
    return "0" if axes == 1 else str(tuple(range(axes)))


def _is_plain_number(n: Node) -> bool:
    """Return True for a whole number, or a size that has a letter: √3, √d."""
    if n.kind == "name":
        return bool(n.value[1]) and n.value[0].isidentifier()
    return n.kind == "number" and n.value.denominator == 1 and 0 < n.value < 10**7


def _scaled_text(n: Node) -> tuple[str, int]:
    negative, above, body = n.value
    over, under = n.parts[: above + body], n.parts[above + body :]
    plain = not under or (len(over) == 1 and over[0].kind == "over")  # a/b/m is (a/b)/m
    words = [_at(over[0], TERM if plain else PRODUCT)] if len(over) == 1 else []
    if len(over) > 1:
        words = [
            _at(p, PRODUCT if under or i < len(over) - 1 else TERM) for i, p in enumerate(over)
        ]
        if over[-1].kind == "over":
            words[-1] = _at(over[-1], PRODUCT)
    s = "·".join(words) or "1"
    if under:
        below = "·".join(_at(p, ATOM) for p in under)
        s += f"/({below})" if len(under) > 1 else f"/{below}"
    level = TERM if under or len(over) > 1 else _text(over[0])[1] if over else ATOM
    return (f"−{s}", SUM) if negative else (s, level)


def is_negative(n: Node) -> bool:
    """Whether a minus stands before it.

    Example:
        >>> is_negative(Node("number", (), Fraction(1)))
        False
    """
    return n.kind == "scaled" and bool(n.value[0])


def unsigned(n: Node) -> Node:
    """The same without the minus before it.

    Example:
        >>> text(unsigned(Node("scaled", (Node("vector", (), "x"),), (True, 0, True))))
        'x'
    """
    return Node(n.kind, n.parts, (False, *n.value[1:])) if is_negative(n) else n


def _signed(terms: list[tuple[bool, str]]) -> str:
    """Terms with + and − between them."""
    out = ""
    for negative, s in terms:
        out += (" − " if negative else " + ") + s if out else f"−{s}" if negative else s
    return out


def _juxtaposed(words: list[str]) -> str:
    """A matrix product: names of one letter side by side, longer ones with a dot between."""
    out = words[0]
    for before, word in pairwise(words):
        plain = all(w.startswith("(") or _SHORT.fullmatch(w) for w in (before, word))
        out += word if plain else f"·{word}"
    return out


_SHORT = re.compile(r"[^\W\d_][\d′₀-₉]*ᵀ*|\(.*")


def numeral(x: Fraction) -> str:
    """A number: whole, as a decimal, or as a fraction where the decimal would not end.

    Example:
        >>> numeral(Fraction(1, 4)), numeral(Fraction(1, 3)), numeral(Fraction(10**9))
        ('0.25', '(1/3)', '1e9')
    """
    if x.denominator == 1:
        s = _whole_number(x.numerator)
    else:
        s = repr(float(x))
        s = s if Fraction(s) == x else f"({x.numerator}/{x.denominator})"
    return s.replace("-", "−")


def _whole_number(n: int) -> str:
    """1e9 for 1000000000; a number of many digits as it is."""
    digits = str(abs(n))
    short = digits.rstrip("0")
    if len(digits) > 15 and int(float(n)) == n:  # 1e30 is no power of ten, but prints as one
        return repr(float(n)).replace("e+", "e")
    if len(digits) < 8 or len(short) > 6:
        return str(n)
    sign = "-" * (n < 0)
    return f"{sign}{short[0]}{'.' * (len(short) > 1)}{short[1:]}e{len(digits) - 1}"


def _latex_numeral(x: Fraction) -> str:
    """Return the number as LaTeX, 10^{9} for 1e9."""
    s = numeral(x).replace("−", "-")
    mantissa, e, exponent = s.partition("e")
    if not e:
        return s
    power = rf"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def _call_text(n: Node) -> str:
    name, settings, *_ = n.value
    args = [text(p) for p in n.parts]
    if name == "within":
        bounds = dict(settings)
        low, high = bounds.get("a_min"), bounds.get("a_max")
        left = "" if low is None else f"{_setting(low)} ≤ "
        return f"[{left}{args[0]}{'' if high is None else f' ≤ {_setting(high)}'}]"
    if name in COMPARISONS and len(args) == 2:
        return f"[{args[0]} {COMPARISONS[name]} {args[1]}]"
    if name == "abs":
        return f"|{args[0]}|"
    if name == "getitem":
        return f"{_at(n.parts[0], ATOM)}[{_index(settings)}]"
    more = [f"{k}={_setting(v)}" for k, v in settings if _is_shown(k, v)]
    return f"{name}({', '.join([*args, *more])})"


def _index(settings: Any) -> str:
    """X[:1], X[0, 2] as NumPy has it."""
    (index,) = (v for k, v in settings if k == "index")
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(
        ["…" if p is Ellipsis else "None" if p is None else _setting(p) for p in parts]
    )


def _is_shown(name: str, x: Any) -> bool:
    """Whether a setting tells something: a mean over the samples, a dtype are silent."""
    return name not in ("dtype", "ctx") and (name, str(x)) != ("reduction", "mean")


def _setting(x: Any) -> str:
    if isinstance(x, np.ndarray):
        return f"array{x.shape}" if x.size > 4 else str(x.tolist())
    if isinstance(x, slice):
        ends = ["" if v is None else str(v) for v in (x.start, x.stop, x.step)]
        return ":".join(ends[: 2 if x.step is None else 3])
    if isinstance(x, tuple) and any(isinstance(v, (slice, np.ndarray, Arange, Given)) for v in x):
        return f"({', '.join(map(_setting, x))})"
    return str(x).replace("-", "−") if isinstance(x, (int, float)) else str(x)


# --- LaTeX ----------------------------------------------------------------------------------------

_GREEK = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon",
    "π": r"\pi", "∞": r"\infty",
    "η": r"\eta", "θ": r"\theta", "λ": r"\lambda", "μ": r"\mu", "σ": r"\sigma", "φ": r"\varphi",
}  # fmt: skip
_LATEX_CALLS = {"sigmoid": r"\sigma", "exp": r"\exp", "log": r"\log", "tanh": r"\tanh",
                "sin": r"\sin", "cos": r"\cos", "max": r"\max", "min": r"\min"}  # fmt: skip
_LATEX_SIGNS = {"≥": r"\geq", "≤": r"\leq", "≠": r"\neq"}


def latex(n: Node) -> str:
    """The formula as LaTeX, for a notebook (and for matplotlib's mathtext).

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> latex(W)
        'W_{1}'
    """
    return _latex(n)[0]


def latex_name(name: str) -> str:
    """W1 as W_{1}, l2 as l_{2}, a longer word upright.

    Example:
        >>> latex_name("l2"), latex_name("∂L/∂W")
        ('l_{2}', '\\\\frac{\\\\partial L}{\\\\partial W}')
    """
    if " = " in name:  # E1 = ∂L/∂Z1
        return " = ".join(map(latex_name, name.split(" = ")))
    if "∂" in name:
        top, _, bottom = name.partition("/")
        return rf"\frac{{\partial {latex_name(top[1:])}}}{{\partial {latex_name(bottom[1:])}}}"
    word, number = re.fullmatch(r"(.*?)_?(\d*)", name).groups()  # type: ignore[union-attr]
    escaped = word.replace("_", r"\_")
    letter = _GREEK.get(word, word) if len(word) == 1 else rf"\mathrm{{{escaped}}}"
    return f"{letter}_{{{number}}}" if number else letter


@remembered
def _latex(n: Node) -> tuple[str, int]:
    def at(x: Node, level: int) -> str:
        s, own = _latex(x)
        return s if own >= level else rf"\left({s}\right)"

    k, parts = n.kind, n.parts
    if k == "name":
        return latex_name(n.value[0]), ATOM
    if k == "vector":
        return latex_name(n.value), ATOM
    if k == "number":
        return _latex_numeral(n.value), ATOM
    if k in ("row", "single", "stack"):
        return _latex(parts[0])
    if k == "stacksum":
        return rf"\mathrm{{sum}}\left({latex(parts[0])}, \mathrm{{axis}}={_axes(n)}\right)", ATOM
    if k == "T":
        inner = at(parts[0], ATOM)
        if inner.startswith(r"\frac"):
            inner = rf"\left({inner}\right)"
        return (f"{{{inner}}}" if inner[-1] == "}" and "^" in inner else inner) + r"^{\top}", ATOM
    if k == "matmul":
        return r" \, ".join(at(p, ATOM) for p in parts), PRODUCT
    if k == "had":
        return r" \odot ".join(at(p, PRODUCT) for p in parts), TERM
    if k == "over":
        return rf"\frac{{{latex(parts[0])}}}{{{latex(parts[1])}}}", TERM
    if k == "power":
        if n.value == Fraction(1, 2):
            return rf"\sqrt{{{latex(parts[0])}}}", ATOM
        return f"{{{at(parts[0], ATOM)}}}^{{{n.value}}}", ATOM
    if k == "colsum":
        return r"\mathbf{1}^{\top} " + at(parts[0], ATOM), PRODUCT
    if k in FUNCTIONS:
        return rf"\mathrm{{{FUNCTIONS[k]}}}\left({latex(parts[0])}\right)", ATOM
    if k == "indexed":
        s, level = _latex(parts[0])
        return (rf"\left[{s}\right]_{{{n.value}}}", ATOM) if n.value else (s, level)
    if k == "sigma":
        return "".join(rf"\sum_{{{i}}} " for i in n.value) + at(parts[0], TERM), SUM
    if k == "entry":
        inner = latex(parts[0])
        inner = rf"\left({inner}\right)" if parts[0].kind == "call" else f"{{{inner}}}"
        return f"{inner}_{{{n.value}}}", ATOM
    if k == "add":
        return _signed([(is_negative(p), latex(unsigned(p))) for p in parts]).replace("−", "-"), SUM
    if k == "call":
        return _latex_call(n), ATOM
    negative, above, body = n.value
    over, under = parts[: above + body], parts[above + body :]
    level = SUM if under and len(over) == 1 else TERM
    dot = r" \cdot " if sum(p.kind in ("matmul", "colsum") for p in over) > 1 or any(
        p.kind == "matmul" for p in over[:-1]
    ) else r" \, "  # fmt: skip
    s = dot.join(at(p, level if len(over) == 1 else PRODUCT) for p in over) or "1"
    if under:
        below = latex(under[0]) if len(under) == 1 else dot.join(at(p, ATOM) for p in under)
        s = rf"\frac{{{s}}}{{{below}}}"
    return (f"-{s}", SUM) if negative else (s, TERM)


def _latex_call(n: Node) -> str:
    name, settings, *_ = n.value
    args = [latex(p) for p in n.parts]
    if name == "within" or (name in COMPARISONS and len(args) == 2):
        plain = _call_text(Node("call", tuple(Node("name", (), (f"\0{i}", False)) for i in
                                              range(len(args))), n.value))[1:-1]  # fmt: skip
        for sign, command in _LATEX_SIGNS.items():
            plain = plain.replace(sign, command)
        for i, a in enumerate(args):
            plain = plain.replace(f"\0{i}", a)
        return rf"\left[{plain}\right]".replace("−", "-")
    if name == "abs":
        return rf"\left|{args[0]}\right|"
    if name == "getitem":
        inner, level = _latex(n.parts[0])
        inner = inner if level == ATOM else rf"\left({inner}\right)"
        return rf"{{{inner}}}_{{\left[{_index(settings)}\right]}}"
    more = [
        rf"\mathrm{{{k}}}=" + (rf"\mathrm{{{v}}}" if isinstance(v, str) else _setting(v))
        for k, v in settings if _is_shown(k, v)
    ]  # fmt: skip
    more = [m.replace("_", r"\_").replace("−", "-") for m in more]
    escaped = name.replace("_", r"\_")
    function = _LATEX_CALLS.get(name, rf"\mathrm{{{escaped}}}")
    return rf"{function}\left({', '.join([*args, *more])}\right)"


# --- shapes ---------------------------------------------------------------------------------------

Shape = tuple[Any, ...]


def _shape_of(n: Node, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of a formula, given those of its names."""
    k, parts = n.kind, n.parts
    if k == "name":
        return shapes.get(n.value[0], ())
    if k == "vector":
        return shapes[n.value]
    if k in ("number", "total", "trace", "single"):
        return ()
    inner = [_shape_of(p, shapes) for p in parts]
    if k in ("T", "row"):
        return inner[0][::-1]
    if k == "matmul":
        return _matmul_shape(inner, [kind_of(p) for p in parts])
    if k == "rowsum":
        return (inner[0][0], 1) if len(inner[0]) == 2 else ()
    if k == "colsum":
        return inner[0][1:]
    if k == "column":
        return (*inner[0], 1)
    if k == "call" and n.value[2]:
        lengths = dict(shapes.get("lengths", ()))  # the primes, and the sizes they stood for
        return tuple(lengths.get(length, length) for length in n.value[3])
    kinds = {kind_of(p) for p in parts}
    if {"c", "r"} <= kinds or {"c", "m"} <= kinds:
        inner = [
            (*s, 1) if kind_of(p) == "c" and s else s for s, p in zip(inner, parts, strict=True)
        ]
    return np.broadcast_shapes(*inner)


def _matmul_shape(inner: list[Shape], kinds: list[str]) -> Shape:
    first = () if kinds[0] == "r" else inner[0][:1]
    last = () if kinds[-1] == "c" else inner[-1][-1:]
    return (*first, *last)


def shape_arithmetic(n: Node, shapes: Mapping[str, Shape], result: Shape) -> str:
    """(30, 364)·(364, 1) → (30, 1): what becomes of the shapes; arrays of equal shape once.

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> shape_arithmetic(Node("matmul", (Node("T", (W,)), W)), {"W1": (3, 2)}, (2, 2))
        '(2, 3)·(3, 2) → (2, 2)'
    """
    s, _ = _arithmetic(n, shapes)
    return f"{result}" if s == str(result) else f"{s} → {result}"


def _arithmetic(n: Node, shapes: Mapping[str, Shape]) -> tuple[str, int]:
    k, parts = n.kind, n.parts
    whole = _shape_of(n, shapes)

    def at(x: Node, level: int) -> str:
        s, own = _arithmetic(x, shapes)
        return s if own >= level else f"({s})"

    if k == "T" and parts[0].kind not in ("name", "vector"):
        s, own = _arithmetic(parts[0], shapes)
        return (str(whole), ATOM) if own == ATOM else (f"({s})ᵀ", ATOM)
    if k == "matmul":
        return "·".join(at(p, ATOM) for p in parts), PRODUCT
    if k == "colsum":
        inner = _shape_of(parts[0], shapes)
        rows = f"(1, {inner[0]})" if inner else "()"
        return f"{rows}·{at(parts[0], ATOM)}", PRODUCT
    if k == "scaled":
        body = [p for p in parts if _shape_of(p, shapes)]
        return _arithmetic(body[0], shapes) if len(body) == 1 else (str(whole), ATOM)
    if k in ("had", "add", "over", "call", "power") and not (k == "call" and n.value[2]):
        sign, level = (" + ", SUM) if k == "add" else (" ⊙ ", TERM)
        compound, plain = [], []
        for p in parts:
            s, own = _arithmetic(p, shapes)
            if own == ATOM:
                plain.append(_shape_of(p, shapes))
            else:
                compound.append(s if own > level or own == level == SUM else f"({s})")
        if not compound:
            different = [s for s in dict.fromkeys(plain) if s]
            if k == "add" and len(different) > 1:
                return sign.join(map(str, different)), level
            return str(whole), ATOM
        left = [str(s) for s in dict.fromkeys(plain) if s]
        words = [*compound, *left]
        return (
            (sign.join(words), level)
            if len(words) > 1
            else _arithmetic(next(p for p in parts if _arithmetic(p, shapes)[1] < ATOM), shapes)
        )
    return str(whole), ATOM


# --- NumPy ----------------------------------------------------------------------------------------

_NUMPY = {
    "exp", "log", "sqrt", "abs", "sin", "cos", "tanh", "log1p", "expm1", "sign", "floor", "ceil",
    "rint", "trunc", "maximum", "minimum", "isnan", "isinf", "isfinite", "logical_and",
    "logical_or", "logical_not", "logical_xor", "diag", "broadcast_to", "reshape",
}  # fmt: skip
_OPERATORS = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=",
              "equal": "==", "not_equal": "!="}  # fmt: skip


_CONSTANTS = {"π": "np.pi", "∞": "np.inf"}


def _identifier(name: str) -> str:
    """The name as Python can have it."""
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    plain = re.sub(r"\W", "_", name.replace("∂L/∂", "d"))
    if iskeyword(plain) or plain == "np":
        plain += "_"
    return plain if plain.isidentifier() else f"_{plain}"


def code(n: Node) -> str:
    """The formula as NumPy code; functions that NumPy lacks go by their own names.

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> code(Node("matmul", (Node("T", (W,)), W)))
        'W1.T @ W1'
    """
    s, _ = _code(n)
    return s[1:-1] if s.startswith("(") and _closes_at_end(s) else s


def _closes_at_end(s: str) -> bool:
    depth = 0
    for i, c in enumerate(s):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return i == len(s) - 1
    return False


def _code(n: Node) -> tuple[str, str]:
    """The code of a part, in brackets where it needs them, and its `kind_of`."""
    k, parts = n.kind, n.parts
    kind = kind_of(n)
    if k == "name":
        return _identifier(n.value[0]), kind
    if k == "vector":
        return _identifier(n.value), kind
    if k == "number":
        x: Fraction = n.value
        if x.denominator == 1:
            return str(x.numerator), kind
        return (repr(float(x)) if Fraction(repr(float(x))) == x else
                f"({x.numerator}/{x.denominator})"), kind  # fmt: skip
    codes = [_code(p) for p in parts]
    first, first_kind = codes[0] if codes else ("", "s")
    if n.value == "stack":
        return _stack_code(k, first, first_kind), kind
    if k == "stack":
        return first, kind
    if k == "stacksum":
        return f"np.sum({first}, axis={_axes(n)})", kind
    if k in ("T", "row"):
        return (f"{first}.T" if first_kind == "m" else first), kind
    if k == "column":
        return f"{first}[:, None]", kind
    if k == "single":
        return f"np.squeeze({first})", kind
    if k == "matmul":
        for second, second_kind in codes[1:]:
            first, first_kind = _matmul_code(first, first_kind, second, second_kind)
        return first, kind
    if k == "rowsum":
        return (f"{first}.sum(axis=1, keepdims=True)" if first_kind == "m" else
                f"np.sum({first})"), kind  # fmt: skip
    if k == "colsum":
        return (f"{first}.sum(axis=0)" if first_kind == "m" else f"np.sum({first})"), kind
    if k in ("total", "trace"):
        return f"np.{'sum' if k == 'total' else 'trace'}({first})", kind
    if k == "power":
        exponent = n.value if n.value.denominator == 1 else float(n.value)
        return f"({first}**{exponent})" if n.value != Fraction(1, 2) else f"np.sqrt({first})", kind
    if k == "call" and n.value[2]:
        return _call_code(n, [c for c, _ in codes]), kind
    words = [_stretched(c, own, kind) for c, own in codes]
    if k == "call":
        return _call_code(n, words), kind
    if k == "had":
        return f"({' * '.join(words)})", kind
    if k == "over":
        return f"({words[0]} / {words[1]})", kind
    if k == "add":
        out = ""
        for p, w in zip(parts, words, strict=True):
            w = _stretched(*_code(unsigned(p)), kind) if is_negative(p) else w
            out += (" - " if is_negative(p) else " + ") + w if out else ("-" * is_negative(p)) + w
        return f"({out})", kind
    negative, above, body = n.value
    over, under = words[: above + body], words[above + body :]
    if len(over) == 1 and not under and not negative:
        return over[0], kind
    s = " * ".join(over) or "1"
    s += f" / {under[0]}" if len(under) == 1 else f" / ({' * '.join(under)})" if under else ""
    return f"({'-' * negative}{s})", kind


def _stack_code(kind: str, inner: str, inner_kind: str) -> str:
    """Return ᵀ, rowsum or 1ᵀ of a stack: on its last two axes."""
    if kind == "T":
        return f"{inner}.mT" if inner_kind == "m" else inner
    if inner_kind != "m":
        return f"np.sum({inner})"
    return f"{inner}.sum(axis={-1 if kind == 'rowsum' else -2}, keepdims=True)"


def _stretched(c: str, own: str, kind: str) -> str:
    """A column beside a matrix."""
    return f"{c}[:, None]" if own == "c" and kind == "m" else c


def _matmul_code(a: str, ka: str, b: str, kb: str) -> tuple[str, str]:
    if ka == "c" and kb == "r":
        return f"np.outer({a}, {b})", "m"
    if ka == "c":
        a, ka = f"{a}[:, None]", "m"
    if kb == "r":
        b, kb = f"{b}[None, :]", "m"
    kind = {"mm": "m", "mc": "c", "rm": "r", "rc": "s"}[ka + kb]
    return f"({a} @ {b})", kind


def _call_code(n: Node, args: list[str]) -> str:
    name, settings, *_ = n.value
    if name in _OPERATORS and len(args) == 2:
        return f"(({args[0]} {_OPERATORS[name]} {args[1]}) * 1.0)"  # bool + bool is no sum
    if name == "within":
        bounds = dict(settings)
        low, high = bounds.get("a_min"), bounds.get("a_max")
        tests = [f"({low} <= {args[0]})"] * (low is not None)
        tests += [f"({args[0]} <= {high})"] * (high is not None)
        return f"(({' & '.join(tests)}) * 1.0)"
    more = [f"{k}={v!r}" for k, v in settings]
    written = f"{'np.' if name in _NUMPY else ''}{name}({', '.join([*args, *more])})"
    return f"({written} * 1.0)" if name.startswith(("logical", "is")) else written


def value(n: Node, arrays: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """What the formula is worth: its NumPy code, run on these arrays. A function may have the name
    of an array.

    Example:
        >>> W = Node("name", (), ("W1", False))
        >>> value(Node("total", (W,)), {"W1": np.ones((3, 2))}, {})
        np.float64(6.0)
    """
    scope: dict[str, Any] = {"np": np, **functions}
    scope |= {f"_call_{name}": function for name, function in functions.items()}
    scope |= {_identifier(name): array for name, array in arrays.items()}
    plain, settings = _compiled(n, frozenset(arrays.keys() & functions.keys()))

    def lengths(x: Any) -> Any:
        sized = parts_changed(x, lambda n: int(scope[n.name]) if isinstance(n, Length) else n)
        return setting_value(sized, arrays)

    scope |= {name: lengths(x) for name, x in settings.items()}
    return eval(plain, scope)  # code that was written here, from a tree


def _compiled(n: Node, both: frozenset[str]) -> tuple[Any, dict[str, Any]]:
    """Return a formula as compiled code, and its settings by the names that they have there, since
    not every setting can be written as code. `both`: names of functions that arrays have too.

    It is kept with the formula, which is evaluated at two sizes.
    """
    kept: dict[frozenset[str], Any] = n.__dict__.setdefault("_compiled", {})
    if both in kept:
        return kept[both]  # type: ignore[no-any-return]
    settings: dict[str, Any] = {}

    def bare(x: Node) -> Node:
        new = x.value
        if x.kind == "call" and new[0] in both and new[0] not in _NUMPY:
            new = (f"_call_{new[0]}", *new[1:])
        if x.kind == "call" and x.value[0] != "within" and x.value[1]:
            named = []
            for k, v in x.value[1]:
                name = f"_setting{len(settings)}"
                settings[name] = v
                named.append((k, _Written(name)))
            new = (new[0], tuple(named), *new[2:])
        return Node(x.kind, tuple(map(bare, x.parts)), new)

    kept[both] = compile(code(bare(n)), "<formula>", "eval"), settings
    return kept[both]  # type: ignore[no-any-return]


class _Written:
    """A piece of code that `repr` gives as it is."""

    def __init__(self, name: str):
        self._name = name

    def __repr__(self) -> str:
        return self._name
