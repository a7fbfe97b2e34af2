"""The language of claims: what a student writes down as a gradient, read and worked out safely.

A claim is text, in either of two spellings:

    A1.T @ (A2 - Y) / m                           NumPy, as in a program
    Xᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m             the slides, as `explain` prints it

`parse` turns it into a small tree that never changes (`Node`); `Evaluator` works the tree out over
arrays. Python's `eval` has no part in it: only what is listed below means anything, so a claim can
import nothing, open nothing and reach no attribute, and it can neither compute nor hold more than
the limits allow. Every node knows which letters of the student's text it came from, so that a tree
with one changed place is printed (`render`) as the student's own text with that one change.
"""

from __future__ import annotations

import ast
import contextlib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from . import ops
from .functions import FUNCTIONS, METHODS, PYTHON_SUM, ClaimError, check_call, refuse, total

__all__ = ["ClaimError", "Evaluator", "Node", "parse", "render"]

MAX_LENGTH = 4_000  # letters of a claim
MAX_DEPTH = 100  # operations within operations
MAX_STEPS = 100_000  # operations of one evaluation
MAX_SIZE = 1_000_000  # entries of one array
MAX_WORK = 10_000_000  # entries of all arrays of one evaluation
MAX_INTEGER = 2**63

Span = tuple[int, int]


# --- the tree -------------------------------------------------------------------------------------


class Node:
    """One operation of a claim and its operands; it never changes.

    kind     what it is: "name", "number", "binary", "call" …
    value    which one: the name, the number, the operator, the function
    parts    its operands
    source   the text it was read from and `span`, its place there; None for a node of our own
    holes    the places of the operands in that text

    Two nodes are equal if they mean the same, wherever they stand in the text.

    Example:
        >>> tree = parse("A1.T @ E")
        >>> tree.kind, tree.value, [render(part) for part in tree.parts]
        ('binary', '@', ['A1.T', 'E'])
    """

    __slots__ = ("_hash", "depth", "holes", "kind", "parts", "source", "span", "value")

    def __init__(
        self,
        kind: str,
        value: Any = None,
        parts: Iterable[Node] = (),
        source: str | None = None,
        span: Span = (0, 0),
        holes: tuple[Span, ...] | None = None,
    ):
        self.kind, self.value, self.parts = kind, value, tuple(parts)
        self.source, self.span = source, span
        self.holes = tuple(p.span for p in self.parts) if holes is None else holes
        self.depth: int = 1 + max((part.depth for part in self.parts), default=0)
        self._hash = hash((kind, value, self.parts))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Node)
            and self._hash == other._hash
            and self.kind == other.kind
            and self.value == other.value
            and type(self.value) is type(other.value)
            and self.parts == other.parts
        )

    def __repr__(self) -> str:
        return f"<{self.kind} {render(self)}>"

    def with_parts(self, parts: Iterable[Node]) -> Node:
        """The same operation on other operands, still spelled as it was."""
        return Node(self.kind, self.value, parts, self.source, self.span, self.holes)

    def replaced(self, path: tuple[int, ...], new: Node) -> Node:
        """The tree with `new` in the place that the path leads to."""
        if not path:
            return new
        parts = list(self.parts)
        parts[path[0]] = parts[path[0]].replaced(path[1:], new)
        return self.with_parts(parts)

    def walk(self, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Node]]:
        """Every node of the tree with the path that leads to it, this one first."""
        yield path, self
        for i, part in enumerate(self.parts):
            yield from part.walk((*path, i))

    def names(self) -> set[str]:
        """The names that occur in the tree."""
        return {node.value for _, node in self.walk() if node.kind == "name"}


# --- NumPy's spelling -----------------------------------------------------------------------------

_BINARY: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.MatMult: "@",
    ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|",
}  # fmt: skip
_UNARY: dict[type, str] = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Not: "not"}
_COMPARE: dict[type, str] = {
    ast.Gt: ">", ast.Lt: "<", ast.GtE: ">=", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_ATTRIBUTES = {"T", "mT", "shape", "size", "ndim"}
_MODULES = {"np", "numpy", "tg", "math"}
_CONSTANTS = {"pi": math.pi, "e": math.e, "newaxis": None, "float64": "float", "inf": math.inf}


class _Reader:
    """Python's own syntax tree, as far as it is allowed, turned into nodes."""

    def __init__(self, text: str, strip_self: bool = False):
        self.text, self.strip_self = text, strip_self
        starts, position = [0], 0
        for line in text.splitlines(keepends=True):
            position += len(line)
            starts.append(position)
        self.starts = starts
        self.plain = text.isascii()
        self.lines = text.splitlines(keepends=True)

    def span(self, node: ast.AST) -> Span:
        n: Any = node
        return self.place(n.lineno, n.col_offset), self.place(n.end_lineno, n.end_col_offset)

    def place(self, line: int, column: int) -> int:
        if not self.plain:  # Python counts bytes here
            column = len(self.lines[line - 1].encode()[:column].decode(errors="ignore"))
        return self.starts[line - 1] + column

    def node(self, kind: str, value: Any, parts: Iterable[Node], at: ast.AST) -> Node:
        return Node(kind, value, parts, self.text, self.span(at))

    def read(self, x: ast.AST, depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            refuse(f"the claim is nested more than {MAX_DEPTH} levels deep")

        def sub(y: ast.AST | None) -> Node:
            return Node("none") if y is None else self.read(y, depth + 1)

        match x:
            case ast.Name(id=name):
                if name.startswith("__"):
                    refuse(f"{name} is not a name that a claim may use")
                return self.node("name", name, (), x)
            case ast.Constant(value=value):
                return self.constant(value, x)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self.node("binary", _BINARY[type(op)], (sub(left), sub(right)), x)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return self.node("unary", _UNARY[type(op)], (sub(operand),), x)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                return self.node("compare", _COMPARE[type(op)], (sub(left), sub(right)), x)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.node("if", None, (sub(body), sub(test), sub(other)), x)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                kind = "tuple" if isinstance(x, ast.Tuple) else "list"
                return self.node(kind, None, [sub(item) for item in items], x)
            case ast.Slice(lower=lower, upper=upper, step=step):
                return self.node("slice", None, (sub(lower), sub(upper), sub(step)), x)
            case ast.Subscript(value=value, slice=index):
                return self.node("index", None, (sub(value), sub(index)), x)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self.strip_self:
                if name.startswith("__"):
                    refuse(f"self.{name} is not a name that a claim may use")
                return self.node("name", name, (), x)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
                if name not in _CONSTANTS:
                    refuse(f"{module}.{name} is not a value that a claim may use")
                return self.node("constant", name, (), x)
            case ast.Attribute(value=value, attr=name):
                if name not in _ATTRIBUTES:
                    refuse(
                        f".{name} is not allowed in a claim; of an array there are "
                        f"{', '.join('.' + a for a in sorted(_ATTRIBUTES))} and methods such as "
                        ".sum(axis=0)"
                    )
                return self.node("attribute", name, (sub(value),), x)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self.call(x, function, args, keywords, sub)
            case (
                ast.ListComp(elt=element, generators=loops)
                | ast.GeneratorExp(elt=element, generators=loops)
            ):
                return self.comprehension(x, element, loops, sub)
        what = type(x).__name__
        refuse(f"{_KINDS.get(what, what)} is not allowed in a claim")

    def constant(self, value: Any, at: ast.AST) -> Node:
        if value is None:
            return self.node("none", None, (), at)
        if value is Ellipsis:
            return self.node("ellipsis", None, (), at)
        if isinstance(value, bool):
            return self.node("bool", value, (), at)
        if isinstance(value, str):
            if len(value) > 100:
                refuse("a text in a claim can only be the subscripts of np.einsum")
            return self.node("text", value, (), at)
        if isinstance(value, (int, float)):
            if isinstance(value, int) and abs(value) >= MAX_INTEGER:
                refuse(f"the number {str(value)[:12]}… is too large")
            return self.node("number", value, (), at)
        refuse(f"{value!r:.40} is not a real number")

    def call(self, x: ast.Call, function: ast.expr, args: Any, keywords: Any, sub: Any) -> Node:
        for arg in args:
            if isinstance(arg, ast.Starred):
                refuse("f(*arguments) is not allowed in a claim")
        for keyword in keywords:
            if keyword.arg is None:
                refuse("f(**arguments) is not allowed in a claim")
        named = tuple(keyword.arg for keyword in keywords)
        values = [sub(y) for y in [*args, *(keyword.value for keyword in keywords)]]
        if isinstance(function, ast.Name):
            if self.strip_self and function.id == "self":
                refuse("self cannot be called in a claim")
            table, spelled = FUNCTIONS, function.id
        elif (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and (function.value.id in _MODULES or (self.strip_self and function.value.id == "self"))
        ):
            table, spelled = FUNCTIONS, f"{function.value.id}.{function.attr}"
        elif isinstance(function, ast.Attribute):
            table, spelled = METHODS, function.attr
            values = [sub(function.value), *values]
        else:
            refuse("only functions that have a name can be called in a claim")
        name = spelled.rpartition(".")[2]
        if name not in table:
            what = "a method" if table is METHODS else "a function"
            refuse(f"{spelled} is not {what} of this language")
        kind = "method" if table is METHODS else "call"
        check_call(table[name], spelled, len(args), named)
        return Node(kind, (spelled, named), values, self.text, self.span(x))

    def comprehension(self, x: ast.AST, element: ast.expr, loops: Any, sub: Any) -> Node:
        parts, shape = [sub(element)], []
        for loop in loops:
            if loop.is_async:
                refuse("async is not allowed in a claim")
            shape.append((self.target(loop.target), len(loop.ifs)))
            parts += [sub(loop.iter), *(sub(test) for test in loop.ifs)]
        kind = "list" if isinstance(x, ast.ListComp) else "generator"
        return self.node("comprehension", (kind, tuple(shape)), parts, x)

    def target(self, x: ast.expr) -> Any:
        if isinstance(x, ast.Name) and not x.id.startswith("__"):
            return x.id
        if isinstance(x, (ast.Tuple, ast.List)):
            return tuple(self.target(item) for item in x.elts)
        refuse("a comprehension runs over names, such as `for i in range(m)`")


_KINDS = {
    "Lambda": "lambda", "NamedExpr": "an assignment (:=)", "JoinedStr": "an f-string",
    "Dict": "a dictionary", "Set": "a set", "DictComp": "a dictionary", "SetComp": "a set",
    "Await": "await", "Yield": "yield", "YieldFrom": "yield", "Starred": "an unpacking (*)",
    "BoolOp": "and/or (for arrays there are & and |)",
    "Compare": "this comparison (there are > < >= <= == !=, two sides each)",
    "BinOp": "this operator", "UnaryOp": "this operator",
}  # fmt: skip


def parse(text: str, names: Iterable[str] = (), *, strip_self: bool = False) -> Node:
    """The tree of a claim in NumPy's or in the slides' spelling.

    `names` are the names that may occur: juxtaposed ones such as `XW1` are told apart by them.
    With `strip_self`, `self.w1` reads as `w1`.

    Raises:  ClaimError saying what is not allowed, or where the text cannot be read
    Example:
        >>> parse("Xᵀ(A − Y)/m", names=["X", "A", "Y", "m"])
        <binary Xᵀ(A − Y)/m>
    """
    if not isinstance(text, str):
        raise TypeError(f"a claim is text, received {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        refuse(f"the claim has {len(text)} letters, at most {MAX_LENGTH} are read")
    if not text.strip():
        refuse("the claim is empty")
    known = set(names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # In brackets, so that a line may be broken anywhere; one more letter in front.
            tree = ast.parse(f"({text}\n)", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if _SLIDES.search(text) or (known and not re.search(r"\bnp\.|[\[\]{}:=;'\"\\]", text)):
            return _Slides(text, known).parse()
        message = getattr(error, "msg", None) or "it is nested too deep"
        refuse(f"the claim cannot be read: {message}")
    if isinstance(tree.body, ast.Tuple) and not text.strip().startswith("("):
        refuse("the claim is several expressions with commas between; give one for each name")
    if _SLIDES.search(text):
        return _Slides(text, known).parse()
    return _shifted(_Reader(f"({text}\n)", strip_self).read(tree.body), text)


def _shifted(node: Node, text: str) -> Node:
    """The node as read from `text` instead of from `(text)`."""
    start, end = node.span
    parts = [_shifted(part, text) if part.source else part for part in node.parts]
    return Node(node.kind, node.value, parts, text, (start - 1, end - 1))


def read_python(x: ast.expr, text: str) -> Node:
    """The tree of an expression of a function whose source is `text`; `self.w1` is `w1`.

    Example:
        >>> text = "self.a1.T @ err"
        >>> sorted(read_python(ast.parse(text).body[0].value, text).names())
        ['a1', 'err']
    """
    return _Reader(text, strip_self=True).read(x)


# --- the slides' spelling -------------------------------------------------------------------------

_SLIDES = re.compile(r"[ᵀ⊙−·×∘²³½σ₀-₉⁻≥≤≠√Σ′]|\^T")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:e[+-]?\d+)?|½)"
    r"|(?P<word>[^\W\dᵀ²³⁻¹₀-₉][^\Wᵀ²³⁻¹]*)"
    r"|(?P<up>ᵀ|\^T|²|³|⁻¹|\^\d+|\*\*\s*\d+)"
    r"|(?P<sign>[-+−⊙*·×∘/@()\[\]|,]|>=|<=|==|!=|[><≥≤≠=]))"
)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_WORDS = {
    "σ": "sigmoid", "ln": "log", "tr": "trace", "diag": "diag", "rowsum": "rowsum",
    "colsum": "colsum", "Σ": "sum",
}  # fmt: skip


class _Slides:
    """The slides' spelling: ⊙ entry by entry, a product by writing side by side, ᵀ, 1ᵀE, [Z > 0].

    expression   term (± term)*
    term         product ((⊙ | · | /) product)*
    product      factor factor …                side by side binds tighter than ⊙ and /
    factor       atom (ᵀ | ² | …)*
    """

    def __init__(self, text: str, known: set[str]):
        self.text, self.known = text, known
        self.tokens: list[tuple[str, str, Span]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                refuse(f"the claim cannot be read at {text[position:].strip()[:12]!r}")
            kind = match.lastgroup or ""
            start, end = match.span(kind)
            if kind == "word":
                self.words(match[kind], start)
            else:
                self.tokens.append((kind, match[kind], (start, end)))
            position = end
        self.tokens.append(("end", "", (len(text), len(text))))
        self.i = self.depth = 0

    def words(self, run: str, start: int) -> None:
        """Names written side by side, split by the longest known ones."""
        plain, i = run.translate(_SUBSCRIPTS), 0
        while i < len(plain):
            rest = plain[i:]
            called = self.text[start + len(run) :].lstrip().startswith("(")
            if called and (rest in _WORDS or rest in FUNCTIONS) and rest not in self.known:
                self.tokens.append(("function", rest, (start + i, start + len(plain))))
                return
            fits = [name for name in self.known if rest.startswith(name)]
            if fits:
                name = max(fits, key=len)
                self.tokens.append(("name", name, (start + i, start + i + len(name))))
                i += len(name)
            elif rest[0].isdigit():
                digits = re.match(r"\d+", rest)
                assert digits is not None
                j = i + digits.end()
                self.tokens.append(("number", rest[: digits.end()], (start + i, start + j)))
                i = j
            else:
                names = ", ".join(sorted(self.known)) or "none"
                refuse(f"the name {rest!r} is not known; known are {names}")

    def parse(self) -> Node:
        node = self.expression()
        if self.tokens[self.i][0] != "end":
            refuse(f"the claim cannot be read from {self.text[self.tokens[self.i][2][0] :]!r:.20}")
        return node

    def take(self, *signs: str) -> str | None:
        kind, token, _ = self.tokens[self.i]
        if kind == "sign" and token in signs:
            self.i += 1
            return token
        return None

    def expect(self, sign: str) -> Span:
        span = self.tokens[self.i][2]
        if not self.take(sign):
            refuse(f"the claim cannot be read: {sign!r} is missing before "
                    f"{self.text[span[0] :]!r:.20}")  # fmt: skip
        return span

    def make(self, kind: str, value: Any, parts: tuple[Node, ...], start: int) -> Node:
        if max(part.depth for part in parts) > MAX_DEPTH:
            refuse(f"the claim is nested more than {MAX_DEPTH} levels deep")
        return Node(kind, value, parts, self.text, (start, self.tokens[self.i - 1][2][1]))

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            refuse(f"the claim is nested more than {MAX_DEPTH} levels deep")
        start = self.tokens[self.i][2][0]
        if self.take("-", "−"):
            node = self.term()
            node = self.make("unary", "-", (node,), start)
        else:
            node = self.term()
        while sign := self.take("+", "-", "−"):
            right = self.term()
            node = self.make("binary", "+" if sign == "+" else "-", (node, right), start)
        self.depth -= 1
        return node

    def term(self) -> Node:
        start = self.tokens[self.i][2][0]
        node = self.product()
        while sign := self.take("⊙", "∘", "*", "/", "·", "×", "@"):
            right = self.product()
            op = {"/": "/", "@": "@", "·": "·", "×": "·"}.get(sign, "*")
            node = self.make("binary", op, (node, right), start)
        return node

    def product(self) -> Node:
        start = self.tokens[self.i][2][0]
        if self.take("-", "−"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                refuse(f"the claim is nested more than {MAX_DEPTH} levels deep")
            return self.make("unary", "-", (self.product(),), start)
        if self.ones():
            self.i += 2
            if self.take("·", "@"):
                pass
            if not self.begins():
                refuse("1ᵀ must stand before what it sums over its rows")
            return self.make("call", ("1ᵀ", ()), (self.product(),), start)
        node = self.factor()
        while self.begins() and not self.ones():
            right = self.factor()
            node = self.make("binary", "·", (node, right), start)
        return node

    def ones(self) -> bool:
        """Whether 1ᵀ comes next."""
        return self.tokens[self.i][:2] == ("number", "1") and self.tokens[self.i + 1][1] == "ᵀ"

    def begins(self) -> bool:
        """Whether a factor begins here."""
        kind, token, _ = self.tokens[self.i]
        return kind in ("number", "name", "function") or (kind == "sign" and token in "([")

    def factor(self) -> Node:
        start = self.tokens[self.i][2][0]
        node = self.atom()
        while self.tokens[self.i][0] == "up":
            up = self.tokens[self.i][1].replace("**", "^").replace(" ", "")
            self.i += 1
            if up in ("ᵀ", "^T"):
                node = self.make("attribute", "T", (node,), start)
            else:
                power = {"²": 2, "³": 3, "⁻¹": -1}.get(up) or int(up[1:])
                node = Node("binary", "**", (node, Node("number", power)), self.text,
                            (start, self.tokens[self.i - 1][2][1]),
                            (node.span, (self.tokens[self.i - 1][2][1],) * 2))  # fmt: skip
                node = _superscript(node)
        return node

    def atom(self) -> Node:
        kind, token, span = self.tokens[self.i]
        self.i += 1
        if kind == "number":
            value = 0.5 if token == "½" else float(token)
            value = int(value) if value == int(value) and abs(value) < 2**53 else value
            return Node("number", value, (), self.text, span)
        if kind == "name":
            return Node("name", token, (), self.text, span)
        if kind == "function":
            self.expect("(")
            parts = [self.expression()]
            while self.take(","):
                parts.append(self.expression())
            self.expect(")")
            name = _WORDS.get(token, token)
            check_call(FUNCTIONS[name], token, len(parts), ())
            return self.make("call", (name, ()), tuple(parts), span[0])
        if token == "(":
            node = self.expression()
            self.expect(")")
            return node
        if token == "[":
            left = self.expression()
            signs = {"≥": ">=", "≤": "<=", "≠": "!=", "=": "=="}
            sign = self.take(">", "<", ">=", "<=", "≥", "≤", "≠", "=", "==", "!=")
            if sign is None:
                refuse("brackets hold a condition, as in [Z1 > 0]")
            right = self.expression()
            node = self.make("compare", signs.get(sign, sign), (left, right), span[0])
            if sign := self.take("<", "<=", "≤", ">", ">=", "≥"):  # [a ≤ x ≤ b]
                last = self.expression()
                other = self.make("compare", signs.get(sign, sign), (right, last), right.span[0])
                self.expect("]")
                return Node("binary", "*", (node, other))
            self.expect("]")
            return self.make("compare", node.value, (left, right), span[0])
        refuse(f"the claim cannot be read at {self.text[span[0] :]!r:.20}")


def _superscript(node: Node) -> Node:
    """A power whose exponent has no hole of its own: spelled anew when it is changed."""
    return Node(node.kind, node.value, node.parts, node.source, node.span, (node.holes[0],))


# --- printing -------------------------------------------------------------------------------------

_LEVEL = {"+": 4, "-": 4, "*": 5, "/": 5, "@": 5, "//": 5, "%": 5, "·": 6, "**": 8, "&": 3, "|": 2}
_SIGN = {"-": "−", "*": "⊙", "@": "", "·": "", "**": "^"}


def render(node: Node, slides: bool = False) -> str:
    """The text of a tree: the student's own wherever it came from there.

    Example:
        >>> tree = parse("A1.T@(A2-Y) / m")
        >>> render(tree.replaced((0, 1, 1), Node("name", "X")))
        'A1.T@(A2-X) / m'
    """
    if node.source is None or len(node.holes) != len(node.parts):
        if node.source is not None and node.kind == "binary" and node.value == "**":
            base, end = render(node.parts[0], slides), node.span[1]
            if node.parts[0].span != node.holes[0]:
                base = _bracketed(base, node.parts[0], node, 0)
            if node.parts[1] == _read_power(node):
                start = node.span[0]
                hole = node.holes[0]
                return node.source[start : hole[0]] + base + node.source[hole[1] : end]
        return _spelled(node, slides)
    start, end = node.span
    pieces, position, text = [], start, node.source
    for i, (part, hole) in enumerate(zip(node.parts, node.holes, strict=True)):
        if hole == (0, 0):  # what is not written: the missing ends of a slice
            continue
        lead, piece = text[position : hole[0]], render(part, slides)
        position = hole[1]
        if part.span != hole:
            operand = node.kind in ("binary", "unary") or (
                node.kind in ("attribute", "method", "index") and i == 0
            )
            if operand and lead.endswith("(") and text.startswith(")", hole[1]):
                lead, position = lead[:-1], hole[1] + 1  # brackets of what stood there before
            piece = _bracketed(piece, part, node, i)
        pieces += [lead, piece]
    return "".join(pieces) + text[position:end]


def _read_power(node: Node) -> Node | None:
    text = (node.source or "")[node.holes[0][1] : node.span[1]].lstrip(") ")
    power = {"²": 2, "³": 3, "⁻¹": -1}.get(text)
    return None if power is None else Node("number", power)


def _level(node: Node) -> int:
    if node.kind == "binary":
        return _LEVEL[node.value]
    if node.kind == "unary":
        return 7 if node.source is None or "−" not in node.source else 4
    if node.kind == "call" and node.value[0] == "1ᵀ":
        return 6
    return {"compare": 1, "if": 0, "slice": 0}.get(node.kind, 10)


def _bracketed(piece: str, part: Node, parent: Node, i: int) -> str:
    """The piece, in brackets if it would be read differently without them."""
    if parent.kind in ("binary", "unary"):
        need = _LEVEL[parent.value] if parent.kind == "binary" else 7
        tight = (parent.value in ("-", "/", "@", "//", "%") and i == 1) or (
            parent.value == "**" and i == 0
        )
        if parent.value in ("*", "@", "·") and part.kind == "binary" and i == 1:
            tight = True
        if parent.value == "/" and i == 1 and "·" in piece:
            tight, need = True, max(need, _level(part))
        level = _level(part)
        if level < need or (level == need and tight):
            return f"({piece})"
    elif (parent.kind in ("attribute", "method", "index") and i == 0 and _level(part) < 10) or (
        parent.kind == "call" and parent.value[0] == "1ᵀ" and _level(part) < 6
    ):
        return f"({piece})"
    return piece


def _spelled(node: Node, slides: bool) -> str:
    """The text of a node that was not in the student's own."""
    parts = [_bracketed(render(part, slides), part, node, i) for i, part in enumerate(node.parts)]
    kind, value = node.kind, node.value
    if kind == "name":
        return str(value)
    if kind in ("number", "bool"):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if kind == "none":
        return "None"
    if kind == "ellipsis":
        return "..."
    if kind == "text":
        return repr(value)
    if kind == "constant":
        return f"np.{value}"
    if kind == "unary":
        return f"{'−' if slides and value == '-' else value}{parts[0]}"
    if kind == "binary":
        if slides and value in ("@", "·"):
            return f"{parts[0]}·{parts[1]}" if parts[0][-1:].isdigit() else "".join(parts)
        if slides and value == "/":
            return "/".join(parts)
        if slides and value == "**":
            return parts[0] + {"2": "²", "3": "³"}.get(parts[1], f"^{parts[1]}")
        if value == "**":
            return "**".join(parts)
        return f" {_SIGN.get(value, value) if slides else value.replace('·', '@')} ".join(parts)
    if kind == "compare":
        text = f" {value} ".join(parts)
        return f"[{text}]" if slides else text
    if kind == "attribute":
        return f"{parts[0]}ᵀ" if slides and value == "T" else f"{parts[0]}.{value}"
    if kind == "index":
        return f"{parts[0]}[{parts[1].strip('()') if node.parts[1].kind == 'tuple' else parts[1]}]"
    if kind == "slice":
        ends = ["" if p.kind == "none" else t for p, t in zip(node.parts, parts, strict=True)]
        return ":".join(ends[: 3 if ends[2] else 2])
    if kind in ("tuple", "list"):
        inside = ", ".join(parts) + ("," if kind == "tuple" and len(parts) == 1 else "")
        return f"({inside})" if kind == "tuple" else f"[{inside}]"
    if kind == "if":
        return f"{parts[0]} if {parts[1]} else {parts[2]}"
    if kind in ("call", "method"):
        name, named = value
        if name == "1ᵀ":
            return f"1ᵀ{parts[0]}"
        receiver = f"{parts.pop(0)}." if kind == "method" else ""
        first = len(parts) - len(named)
        args = parts[:first] + [f"{k}={v}" for k, v in zip(named, parts[first:], strict=True)]
        if slides:
            name = name.removeprefix("np.")
        return f"{receiver}{name}({', '.join(args)})"
    shape, text, rest = value[1], parts[0], parts[1:]
    for target, tests in shape:
        text += f" for {_target_text(target)} in {rest[0]}"
        text += "".join(f" if {test}" for test in rest[1 : 1 + tests])
        rest = rest[1 + tests :]
    return f"[{text}]" if value[0] == "list" else f"({text})"


def _target_text(target: Any) -> str:
    return target if isinstance(target, str) else ", ".join(map(_target_text, target))


_NOT_FUNCTIONS = {"float", "int"}  # words that may also stand for a dtype

# --- working it out -------------------------------------------------------------------------------


class Evaluator:
    """Works trees out over named arrays; what was worked out once is remembered.

    Raises:  ClaimError for a name that is not known, for shapes that do not fit, and for a claim
             that would compute or hold too much
    Example:
        >>> Evaluator({"E": np.ones((3, 2))})(parse("np.sum(E, axis=0)"))
        array([3., 3.])
    """

    def __init__(self, names: Mapping[str, Any]):
        self.names = dict(names)
        self.cache: dict[Node, Any] = {}
        self.keep = True  # whether new results are remembered
        self.scopes: list[dict[str, Any]] = []
        self.steps = self.work = 0.0

    def __call__(self, node: Node) -> Any:
        self.steps = self.work = 0.0
        self.scopes.clear()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._value(node)
        except RecursionError:
            raise ClaimError("the claim is nested too deep") from None

    def quickly(self, node: Node) -> Any:
        """The value without the guard against NumPy's warnings: for callers that have it."""
        self.steps = self.work = 0.0
        self.scopes.clear()
        return self._value(node)

    def _value(self, node: Node) -> Any:
        known = self.cache.get(node) if not self.scopes else None
        if known is not None:
            if isinstance(known, ClaimError):
                raise known.with_traceback(None)
            return known
        self.steps += 1
        if self.steps > MAX_STEPS:
            refuse(f"the claim takes more than {MAX_STEPS:,} steps")
        try:
            value = _EVALUATE[node.kind](self, node)
            if isinstance(value, np.ndarray):
                self.work += value.size
                if self.work > MAX_WORK:
                    refuse(f"the claim computes more than {MAX_WORK:,} entries")
                if value.dtype.kind not in "fiub":
                    refuse(f"{render(node)} is not an array of real numbers")
            elif isinstance(value, int) and abs(value) >= MAX_INTEGER:
                refuse(f"{_short(node)} is too large a number")
            elif isinstance(value, complex):
                refuse(f"{_short(node)} is not a real number")
        except ClaimError as error:
            if self.keep and not self.scopes:
                self.cache[node] = error
            raise
        except RecursionError:
            raise
        except Exception as error:
            refusal = ClaimError(f"{_short(node)}: {_reason(error)}")
            if self.keep and not self.scopes:
                self.cache[node] = refusal
            raise refusal from None
        if (
            self.keep
            and not self.scopes
            and value is not None
            and not isinstance(value, (zip, enumerate))
        ):
            self.cache[node] = value
        return value

    def _grow(self, size: float, node: Node) -> None:
        """Refuse what would be too large before it is made."""
        if not size <= MAX_SIZE:
            refuse(
                f"{_short(node)} would have {size:.3g} entries or more; at most {MAX_SIZE:,} are "
                "computed"
            )

    def _name(self, node: Node) -> Any:
        for scope in reversed(self.scopes):
            if node.value in scope:
                return scope[node.value]
        try:
            return self.names[node.value]
        except KeyError:
            if node.value in _NOT_FUNCTIONS:
                return "float"
            known = ", ".join(sorted(self.names, key=str.casefold))
            refuse(f"the name {node.value!r} is not known; known are {known}")

    def _binary(self, node: Node) -> Any:
        a, b = self._value(node.parts[0]), self._value(node.parts[1])
        op = node.value
        for x in (a, b):
            if not isinstance(x, (np.ndarray, int, float, np.generic)):
                if isinstance(x, (list, tuple)) and isinstance(
                    b if x is a else a, (np.ndarray, np.generic)
                ):
                    continue
                refuse(f"{_short(node)}: {op} is for numbers and arrays, not {_describe(x)}")
        self._grow(_either_product(a, b), node)
        if op == "·":
            if np.ndim(a) == np.ndim(b) == 1 and node.parts[1].value == "T":
                return np.outer(a, b)  # abᵀ of two columns
            op = "*" if (np.size(a) == 1 and np.ndim(a) == 0) or np.ndim(b) == 0 else "@"
        if op == "@":
            return ops.matmul.op.forward(a, b)
        if op == "**":
            return _power(a, b, node)
        return _OPERATORS[op](a, b)

    def _unary(self, node: Node) -> Any:
        x: Any = self._value(node.parts[0])
        if not _is_numeric(x):
            refuse(f"{_short(node)}: {node.value} is for numbers and arrays, not {_describe(x)}")
        if node.value == "-":
            return np.negative(x, dtype=float) if _is_mask(x) else -x
        if node.value == "~":
            return np.logical_not(x) if _is_mask(x) else ~np.asarray(x)
        return (not x) if node.value == "not" else +x

    def _compare(self, node: Node) -> Any:
        a, b = self._value(node.parts[0]), self._value(node.parts[1])
        for x in (a, b):
            if not isinstance(x, (np.ndarray, int, float, np.generic)):
                refuse(f"{_short(node)}: only numbers and arrays can be compared")
        self._grow(_either_product(a, b), node)
        return _OPERATORS[node.value](a, b)

    def _condition(self, node: Node) -> Any:
        return self._value(node.parts[0 if self._value(node.parts[1]) else 2])

    def _attribute(self, node: Node) -> Any:
        x = self._value(node.parts[0])
        if node.value in ("T", "mT"):
            if not isinstance(x, (np.ndarray, np.generic, int, float)):
                refuse(f"{_short(node)}: only an array has a transpose")
            x = np.asarray(x)
            return x.T if node.value == "T" else np.matrix_transpose(x)
        if not isinstance(x, (np.ndarray, np.generic)):
            refuse(f"{_short(node)}: only an array has .{node.value}")
        return getattr(x, node.value)

    def _call(self, node: Node) -> Any:
        spelled, named = node.value
        name = spelled.rpartition(".")[2]
        if node.kind == "method":
            function = METHODS[name]
        elif spelled == "sum" and not named and self._iterates(node):
            function = PYTHON_SUM
        else:
            function = FUNCTIONS[name]
        parts = [self._value(part) for part in node.parts]
        if node.kind == "method":
            parts[0] = np.asarray(parts[0])
        for i, part in enumerate(parts):
            if isinstance(part, range) or (name in _ITERATES and _is_iterable(part)):
                parts[i] = self._items(part)
            elif isinstance(part, (list, tuple)) and total(part) > MAX_SIZE:
                refuse(f"{_short(node)} holds more than {MAX_SIZE:,} entries")
        first = len(parts) - len(named)
        settings = dict(zip(named, parts[first:], strict=True))
        if function.grows is not None:
            self._grow(function.grows(*parts[:first], **settings), node)
        value = function.run(*parts[:first], **settings)
        if name in ("zip", "enumerate"):
            return self._items(value)
        return value

    def _iterates(self, node: Node) -> bool:
        """Whether the bare `sum` is of something that Python would go through item by item."""
        return node.parts[0].kind in ("comprehension", "list", "tuple") or (
            node.source is not None and not _SLIDES.search(node.source)
        )

    def _items(self, x: Any) -> list[Any]:
        """The items of something iterable, counted."""
        items = list(islice(iter(x), MAX_STEPS + 1))
        self.steps += len(items)
        if self.steps > MAX_STEPS:
            refuse(f"the claim takes more than {MAX_STEPS:,} steps")
        return items

    def _index(self, node: Node) -> Any:
        x, index = (self._value(part) for part in node.parts)
        if isinstance(x, str):
            refuse("a text has no entries in a claim")
        if isinstance(x, (tuple, list, range)):
            if not isinstance(index, (int, slice)):
                refuse(f"{_short(node)}: the index of a list is a whole number")
            return x[index]
        picks = [i for i in (index if isinstance(index, tuple) else (index,)) if _is_iterable(i)]
        rows = x.size // max(1, x.shape[0]) if isinstance(x, np.ndarray) and x.ndim else 1
        if picks:
            self._grow(math.prod(float(np.size(i)) for i in picks) * rows, node)
        return np.asarray(x)[index]

    def _comprehension(self, node: Node) -> Any:
        """All loops, innermost last; the names of a loop live as long as the loop does."""
        _, shape = node.value
        element, results = node.parts[0], []

        def loop(level: int, place: int) -> None:
            if level == len(shape):
                results.append(self._value(element))
                return
            target, tests = shape[level]
            iterable = self._value(node.parts[place])
            if not _is_iterable(iterable) or isinstance(iterable, str):
                refuse(f"{_short(node)}: a loop runs over range, zip, enumerate or an array")
            if isinstance(iterable, range) and len(iterable) > MAX_STEPS:
                refuse(f"{_short(node)} would take {len(iterable):,} steps; at most "
                        f"{MAX_STEPS:,} are taken")  # fmt: skip
            for item in iterable:
                self.steps += 1
                if self.steps > MAX_STEPS:
                    refuse(f"the claim takes more than {MAX_STEPS:,} steps")
                self.scopes.append({})
                _bind(target, item, self.scopes[-1])
                if all(self._value(node.parts[place + 1 + t]) for t in range(tests)):
                    loop(level + 1, place + 1 + tests)
                self.scopes.pop()

        loop(0, 1)
        return results


_ITERATES = {"zip", "enumerate"}


def _bind(target: Any, item: Any, scope: dict[str, Any]) -> None:
    if isinstance(target, str):
        scope[target] = item
        return
    items = list(item)
    if len(items) != len(target):
        refuse(f"{len(items)} values do not fit the names ({_target_text(target)})")
    for name, part in zip(target, items, strict=True):
        _bind(name, part, scope)


def _is_numeric(x: Any) -> bool:
    return isinstance(x, (np.ndarray, int, float, np.generic))


def _is_mask(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "b"


def _is_iterable(x: Any) -> bool:
    return isinstance(x, (list, tuple, range)) or (isinstance(x, np.ndarray) and x.ndim > 0)


def _either_product(a: Any, b: Any) -> float:
    """A bound on the entries of a result of a and b: exact where the quick one is too high."""
    quick = float(np.size(a)) * float(np.size(b))
    if quick <= MAX_SIZE:
        return quick
    left, right = np.shape(a), np.shape(b)
    most = 0.0  # where neither fits, the operation itself will say so
    if left and right and left[-1] == right[-2:][0]:  # as a product of matrices
        most = quick / left[-1] / left[-1]
    with contextlib.suppress(ValueError):  # entry by entry
        most = max(most, float(math.prod(np.broadcast_shapes(left, right))))
    return most


def _power(a: Any, b: Any, node: Node) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        if b > 0 and abs(a) > 1 and b * math.log2(abs(a)) > 63:
            refuse(f"{_short(node)} is too large a number")
        return a**b
    if isinstance(a, np.ndarray) and a.dtype.kind in "iub":
        a = a.astype(float)
    return a**b


def _plus(a: Any, b: Any) -> Any:
    return a + b


def _minus(a: Any, b: Any) -> Any:
    if _is_mask(a) and _is_mask(b):
        a = a.astype(float)
    return a - b


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _plus, "-": _minus, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: a // b, "%": lambda a, b: a % b,
    "&": lambda a, b: np.logical_and(a, b), "|": lambda a, b: np.logical_or(a, b),
    ">": lambda a, b: a > b, "<": lambda a, b: a < b, ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip
_EVALUATE: dict[str, Callable[[Evaluator, Node], Any]] = {
    "name": Evaluator._name,
    "number": lambda _, node: node.value,
    "bool": lambda _, node: node.value,
    "none": lambda _, node: None,
    "ellipsis": lambda _, node: Ellipsis,
    "text": lambda _, node: node.value,
    "constant": lambda _, node: _CONSTANTS[node.value],
    "binary": Evaluator._binary,
    "unary": Evaluator._unary,
    "compare": Evaluator._compare,
    "if": Evaluator._condition,
    "attribute": Evaluator._attribute,
    "call": Evaluator._call,
    "method": Evaluator._call,
    "index": Evaluator._index,
    "slice": lambda ev, node: slice(*(ev._value(part) for part in node.parts)),
    "tuple": lambda ev, node: tuple(ev._value(part) for part in node.parts),
    "list": lambda ev, node: [ev._value(part) for part in node.parts],
    "comprehension": Evaluator._comprehension,
}


def _short(node: Node) -> str:
    text = " ".join(render(node).split())
    return text if len(text) <= 60 else text[:57] + "…"


def _describe(x: Any) -> str:
    return {"str": "a text", "list": "a list", "tuple": "a tuple", "NoneType": "None"}.get(
        type(x).__name__, f"a {type(x).__name__}"
    )


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
