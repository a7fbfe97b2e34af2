"""Reading a claim: NumPy's spelling, the slides', and index notation, in one grammar.

    A1.T @ (A2 - Y) / m                           NumPy, as in a program
    Xᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m             the slides, as `explain` prints it
    [i,j] Σ_k A[i,k]·B[k,j]/m                     entry by entry, where matrices do not suffice

Python's `eval` and its parser have no part in it: only what is listed here means anything.
From the loosest to the tightest an expression is made of

    a if c else b     not     > < >= <= == !=     |     &     + −     ⊙ and Σ_k     * · / @ // %
    −a     ab, a product by writing side by side     a**b a^b     aᵀ a² a.T a[…] a.sum(…)

and of numbers, names, function calls, (…), |a|, 1ᵀE for the sums of the columns of E, [Z1 > 0] for
the mask of 0 and 1, lists, and comprehensions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from .expressions import SLIDES, SUPERSCRIPTS, Node, Span
from .functions import CONSTANTS, FUNCTIONS, METHODS, check_call, refuse

__all__ = ["parse"]

MAX_LENGTH = 8_000  # letters of a claim
MAX_DEPTH = 100  # operations within operations
MAX_INTEGER = 2**63
MAX_LETTERS = 12  # indices of one formula

_TOKEN = re.compile(
    rf"""(?:\s|\#[^\n]*)*(?:
    (?P<number>\d[\d_]*(?:\.\d*)?(?:[eE][-+−]?\d+)?|\.\d+(?:[eE][-+−]?\d+)?|½)
  | (?P<text>'[^'\\\n]*'|"[^"\\\n]*")
  | (?P<sum>(?:Σ|∑)_?(?P<over>[ᵢⱼₖₗₘₙₚᵣₛₜᵤᵥ]|(?<=_)[^\W\d]\d*))
  | (?P<word>∂\w+/∂\w+|(?:[^\W\dᵀ{SUPERSCRIPTS}]|[Σ∑])[^\Wᵀ{SUPERSCRIPTS}]*′*)
  | (?P<up>ᵀ|\^T\b|[{SUPERSCRIPTS}]+)
  | (?P<sign>\*\*|//|>=|<=|==|!=|:=|\.\.\.|…|[-+−⊙∘*·×/@()\[\]{{}}|,:.=<>≥≤≠&%~^;!])
    )""",
    re.VERBOSE,
)
_LETTER = re.compile(r"1|[^\W\d]\d*")  # an index; 1 is that of an axis of length 1
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₗₘₙₚᵣₛₜᵤᵥ", "0123456789ijklmnprstuv")
_PLAIN = str.maketrans(SUPERSCRIPTS, "-0123456789/")
_WORDS = {"σ": "sigmoid", "ln": "log", "tr": "trace", "Σ": "Σ", "∑": "Σ", "sum": "Σ"}
_MODULES = {"np", "numpy", "tg", "math"}
_ATTRIBUTES = ("T", "mT", "ndim", "shape", "size")
_VALUES = {"None": "none", "True": "bool", "False": "bool", "Ellipsis": "ellipsis"}
_COMPARE = {"≥": ">=", "≤": "<=", "≠": "!=", "=": "==", **{s: s for s in
            (">", "<", ">=", "<=", "==", "!=")}}  # fmt: skip
_BINARY = {
    "|": ("|", 4), "&": ("&", 5), "+": ("+", 6), "-": ("-", 6), "−": ("-", 6), "⊙": ("*", 7),
    "∘": ("*", 7), "*": ("*", 8), "·": ("·", 8), "×": ("·", 8), "/": ("/", 8), "@": ("@", 8),
    "//": ("//", 8), "%": ("%", 8), "**": ("**", 10), "^": ("**", 10),
}  # fmt: skip
_NOT, _COMPARISON, _ABOVE_BAR, _TERM, _BESIDE, _POWER = 2, 3, 5, 7, 9, 10
_PYTHON = {
    "and", "as", "assert", "async", "await", "def", "del", "elif", "else", "except", "exec", "for",
    "from", "if", "import", "in", "is", "lambda", "not", "or", "raise", "return", "while", "with",
    "yield",
}  # fmt: skip


def parse(
    text: str,
    names: Iterable[str] = (),
    functions: Collection[str] = (),
    *,
    slides: bool | None = None,
    span: Span | None = None,
) -> Node:
    """The tree of a claim.

    names      the names that may occur: juxtaposed ones such as `XW1` are told apart by them
    functions  functions of the author's own that may be called
    slides     whether `sum(E)` is the sum of all entries, as on the slides, or Python's, which
               adds up rows (default: as on the slides if a sign of theirs occurs)
    span       the part of the text that is read (default: all)

    `self.w1` reads as `w1`.

    Raises:  ClaimError saying what is not allowed, or where the text cannot be read
    Example:
        >>> parse("Xᵀ(A − Y)/m", names=["X", "A", "Y", "m"])
        <binary Xᵀ(A − Y)/m>
    """
    if not isinstance(text, str):
        raise TypeError(f"a claim is text, received {type(text).__name__}")
    start, end = span or (0, len(text))
    if end - start > MAX_LENGTH:
        refuse("long", letters=end - start, most=MAX_LENGTH)
    if text[start:end].lstrip()[:1] in ("", "#"):  # nothing, or a comment only
        refuse("empty")
    if slides is None:
        slides = bool(SLIDES.search(text, start, end))
    return _Parser(text, (start, end), set(names), functions, slides).whole()


class _Parser:
    def __init__(
        self, text: str, span: Span, known: set[str], functions: Collection[str], slides: bool
    ):
        self.text, self.known, self.functions, self.slides = text, known, functions, slides
        self.tokens: list[tuple[str, str, Span]] = []
        position, end = span
        while text[position:end].strip() and not text[position:end].lstrip().startswith("#"):
            match = _TOKEN.match(text, position, end)
            if match is None:
                refuse("unreadable-at", rest=_rest(text, position, end))
            kind = match.lastgroup or ""
            kind = "sum" if kind == "over" else kind
            token = match["over"] if kind == "sum" else match[kind]
            self.tokens.append((kind, token.translate(_LOWERED), match.span(kind)))
            position = match.end()
        self.tokens.append(("end", "", (end, end)))
        self.i = self.depth = 0
        self.letters: set[str] | None = None  # the indices, in index notation
        words = [t if k == "word" else "" for k, t, _ in self.tokens]
        for i, word in enumerate(words):  # the names of loops
            if word == "for" and "in" in words[i:]:
                self.known |= set(filter(None, words[i + 1 : words.index("in", i)]))

    # --- tokens

    @property
    def here(self) -> int:
        return self.tokens[self.i][2][0]

    def see(self, *tokens: str) -> bool:
        kind, token, _ = self.tokens[self.i]
        return token in tokens and kind in ("sign", "word")

    def take(self, *tokens: str) -> str | None:
        if not self.see(*tokens):
            return None
        self.i += 1
        return self.tokens[self.i - 1][1]

    def expect(self, token: str) -> None:
        if not self.take(token):
            self.stuck(token)

    def stuck(self, missing: str | None = None) -> Any:
        """Refuse what stands here."""
        kind, token, (start, _) = self.tokens[self.i]
        if (kind == "word" and token in _PYTHON) or token in ("{", ":=", ";"):
            refuse("not-allowed", what=token)
        if start >= self.tokens[-1][2][0]:
            refuse("missing-at-end" if missing else "breaks-off", sign=missing)
        rest = _rest(self.text, start, self.tokens[-1][2][0])
        if missing:
            refuse("missing-sign", sign=missing, rest=rest)
        refuse("unreadable-at", rest=rest)

    def make(self, kind: str, value: Any, parts: Iterable[Node], start: int) -> Node:
        node = Node(kind, value, parts, self.text, (start, self.tokens[self.i - 1][2][1]))
        if node.depth > MAX_DEPTH:
            refuse("nested", most=MAX_DEPTH)
        return node

    # --- expressions

    def whole(self) -> Node:
        start, head = self.here, self.header()
        node = self.expression() if head is None else self.indexed(head, start)
        if self.see(","):
            refuse("several")
        if self.tokens[self.i][0] != "end":
            self.stuck()
        return node

    def expression(self, level: int = 0) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            refuse("nested", most=MAX_DEPTH)
        start, node = self.here, self.prefix(level)
        compared = False
        while True:
            kind, token, _ = self.tokens[self.i]
            op, binds = _BINARY.get(token, ("", -1)) if kind == "sign" else ("", -1)
            if binds >= max(level, 0) and op:
                self.i += 1
                right = self.expression(binds if op == "**" else binds + 1)
                if op == "·" and self.letters is not None:
                    op = "*"
                node = self.make("binary", op, (node, right), start)
            elif level <= _COMPARISON and not compared and kind == "sign" and token in _COMPARE:
                if token == "=" and not self.slides:
                    break
                self.i += 1
                right = self.expression(_COMPARISON + 1)
                node = self.make("compare", _COMPARE[token], (node, right), start)
                compared = True
            elif level <= _BESIDE and self.begins():
                right = self.expression(_POWER)
                op = "·" if self.letters is None else "*"
                node = self.make("binary", op, (node, right), start)
            elif level == 0 and self.take("if"):
                test = self.expression(1)
                self.expect("else")
                node = self.make("if", None, (node, test, self.expression()), start)
            else:
                break
        self.depth -= 1
        return node

    def begins(self) -> bool:
        """Whether a factor begins here, beside another."""
        kind, token, _ = self.tokens[self.i]
        return kind == "number" or token == "(" or (kind == "word" and token not in _PYTHON)

    def prefix(self, level: int) -> Node:
        start = self.here
        kind, token, _ = self.tokens[self.i]
        if kind == "sign" and token in ("-", "−", "+", "~"):
            self.i += 1
            value = "-" if token == "−" else token
            return self.make("unary", value, (self.expression(max(level, _BESIDE)),), start)
        if kind == "word" and token == "not" and level <= _NOT:
            self.i += 1
            return self.make("unary", "not", (self.expression(_NOT),), start)
        if kind == "sum" and self.letters is not None:
            self.i += 1
            self.letters.add(token)
            return self.sum_over(token, start)
        if kind == "number" and token == "1" and self.tokens[self.i + 1][1] in ("ᵀ", "^T"):
            self.i += 2
            self.take("·", "@")
            return self.make("call", ("1ᵀ", ()), (self.expression(_BESIDE),), start)
        return self.postfix(self.atom(), start)

    def postfix(self, node: Node, start: int) -> Node:
        while True:
            kind, token, span = self.tokens[self.i]
            if kind == "up":
                self.i += 1
                if token in ("ᵀ", "^T"):
                    node = self.make("attribute", "T", (node,), start)
                else:
                    power = Node("number", self.power(token), (), self.text, span)
                    node = self.make("binary", "**", (node, power), start)
            elif self.take("."):
                node = self.attribute(node, start)
            elif kind == "sign" and token == "[":
                self.i += 1
                read = self.entry if self.letters is not None and self.are_letters() else self.index
                node = read(node, start)
            else:
                return node

    def power(self, token: str) -> int | float:
        top, _, bottom = token.translate(_PLAIN).partition("/")
        try:
            return int(top) / int(bottom) if bottom else int(top)
        except (ValueError, ZeroDivisionError):
            refuse("unreadable-at", rest=token)

    # --- atoms

    def atom(self) -> Node:
        kind, token, span = self.tokens[self.i]
        start = span[0]
        if kind == "word" and token not in _PYTHON:
            return self.word()
        self.i += 1
        if kind == "number":
            return self.make("number", self.number(token), (), start)
        if kind == "text":
            if len(token) > 102:
                refuse("long-text")
            return self.make("text", token[1:-1], (), start)
        if token == "(":
            return self.brackets(start)
        if token == "[":
            return self.list(start)
        if token == "|":
            node = self.expression(_ABOVE_BAR)
            self.expect("|")
            return self.make("call", ("abs", ()), (node,), start)
        if token in ("...", "…"):
            return self.make("ellipsis", None, (), start)
        self.i -= 1
        return self.stuck()  # type: ignore[no-any-return]

    def number(self, token: str) -> int | float:
        if token == "½":
            return 0.5
        if not re.fullmatch(r"[\d_]+", token):
            return float(token.replace("−", "-"))
        if len(token) > 30 or int(token) >= MAX_INTEGER:
            refuse("large-number", number=f"{token[:12]}…")
        return int(token)

    def word(self) -> Node:
        _, token, span = self.tokens[self.i]
        start, after = span[0], self.tokens[self.i + 1][1]
        if token.startswith("__"):
            refuse("forbidden-name", name=token)
        if token == "self" and after == ".":
            self.i += 2
            if self.tokens[self.i][1] in FUNCTIONS and self.tokens[self.i + 1][1] == "(":
                return self.call(f"self.{self.tokens[self.i][1]}", start)
            node = self.word()
            return Node(node.kind, node.value, node.parts, self.text, (start, node.span[1]),
                        node.holes)  # fmt: skip
        if token in _MODULES and token not in self.known and after == ".":
            self.i += 2
            name = self.tokens[self.i][1]
            if self.tokens[self.i + 1][1] == "(":
                return self.call(f"{token}.{name}", start)
            self.i += 1
            if name not in CONSTANTS:
                refuse("no-constant", name=f"{token}.{name}")
            return self.make("constant", name, (), start)
        called = after == "(" and self.tokens[self.i + 1][2][0] == span[1]
        if called and self.callable(token):
            return self.call(token, start)
        self.i += 1
        if token in _VALUES:
            return self.make(_VALUES[token], {"True": True, "False": False}.get(token), (), start)
        if token not in self.known and (split := self.split(token, called)):
            first, rest, middle = token[:split], token[split:], start + split
            self.tokens[self.i - 1 : self.i] = [
                ("word", first, (start, middle)), ("word", rest, (middle, span[1])),
            ]  # fmt: skip
            return self.make("name", first, (), start)
        if called and token not in self.known:
            refuse("no-function", name=token)
        return self.make("name", token, (), start)

    def callable(self, word: str) -> bool:
        return word in FUNCTIONS or word in _WORDS or word in self.functions

    def split(self, word: str, called: bool) -> int:
        """Where the first of several names written side by side ends; 0: it is one name."""
        first, rest = 0, word
        while rest:
            if first and called and self.callable(rest):
                return first
            length = max((len(n) for n in self.known if rest.startswith(n)), default=0)
            if not length:
                return 0
            first, rest = first or length, rest[length:]
        return first

    def attribute(self, node: Node, start: int) -> Node:
        kind, name, _ = self.tokens[self.i]
        if kind != "word":
            self.stuck()
        if self.tokens[self.i + 1][1] == "(":
            return self.call(name, start, node)
        self.i += 1
        if name not in _ATTRIBUTES:
            refuse("no-attribute", name=name, known=", ".join(f".{a}" for a in _ATTRIBUTES))
        return self.make("attribute", name, (node,), start)

    def call(self, spelled: str, start: int, receiver: Node | None = None) -> Node:
        self.i += 2
        own = spelled in self.functions and spelled not in FUNCTIONS
        name = spelled.rpartition(".")[2]
        if spelled in _WORDS and (spelled != "sum" or self.slides):
            name = spelled = _WORDS[spelled]
        table = FUNCTIONS if receiver is None else METHODS
        if name not in table and not own:
            refuse("no-method" if receiver else "no-function", name=spelled)
        parts = [] if receiver is None else [receiver]
        named: list[str] = []
        while not self.see(")"):
            if self.see("*", "**"):
                refuse("unpacking")
            key = self.tokens[self.i]
            if key[0] == "word" and self.tokens[self.i + 1][1] == "=":
                self.i += 2
                named.append(key[1])
            elif named:
                self.stuck()
            start_of_item = self.here
            head = self.header() if self.letters is not None else None
            parts.append(self.item() if head is None else self.indexed(head, start_of_item))
            if self.see("for"):
                parts[-1] = self.comprehension(parts[-1], "generator", parts[-1].span[0])
            if not self.take(","):
                break
        self.expect(")")
        given = len(parts) - len(named) - (receiver is not None)
        check_call(None if own else table[name], spelled, given, named)
        kind = "call" if receiver is None else "method"
        return self.make(kind, (spelled, tuple(named)), parts, start)

    def item(self) -> Node:
        """What may stand between brackets: an expression, or a slice."""
        start, ends = self.here, [Node("none")] * 3
        if not self.see(":"):
            ends[0] = self.expression()
            if not self.see(":"):
                return ends[0]
        for k in (1, 2):
            if self.take(":") and not self.see(":", "]", ",", ")"):
                ends[k] = self.expression()
        return self.make("slice", None, ends, start)

    def items(self, close: str) -> tuple[list[Node], bool]:
        """What is listed up to the closing bracket, and whether there are commas."""
        found, comma = [], False
        while not self.see(close):
            found.append(self.item())
            if self.see("for") or not self.take(","):
                break
            comma = True
        return found, comma

    def brackets(self, start: int) -> Node:
        found, comma = self.items(")")
        if self.see("for") and len(found) == 1:
            node = self.comprehension(found[0], "generator", start)
            self.expect(")")
            return Node(*_parts_of(node), self.text, (start, self.tokens[self.i - 1][2][1]))
        self.expect(")")
        if len(found) == 1 and not comma:
            return found[0]
        return self.make("tuple", None, found, start)

    def list(self, start: int) -> Node:
        found, comma = self.items("]")
        if self.see("for") and len(found) == 1:
            node = self.comprehension(found[0], "list", start)
            self.expect("]")
            return Node(*_parts_of(node), self.text, (start, self.tokens[self.i - 1][2][1]))
        if len(found) == 1 and not comma and found[0].kind == "compare":
            mask = found[0]
            if (sign := self.tokens[self.i][1]) in _COMPARE:  # [a ≤ x ≤ b]
                self.i += 1
                right = self.expression(_COMPARISON + 1)
                middle = mask.parts[1]
                other = self.make("compare", _COMPARE[sign], (middle, right), middle.span[0])
                self.expect("]")
                return self.make("binary", "&", (mask, other), start)
            self.expect("]")
            return self.make("compare", mask.value, mask.parts, start)
        self.expect("]")
        return self.make("list", None, found, start)

    def index(self, node: Node, start: int) -> Node:
        first = self.here
        found, comma = self.items("]")
        if not found:
            self.stuck()
        index = self.make("tuple", None, found, first) if comma else found[0]
        self.expect("]")
        if self.letters is not None:  # (A[p,q]·b[q])[0, :][i]
            node = _as_array(node)
        return self.make("index", None, (node, index), start)

    def comprehension(self, element: Node, kind: str, start: int) -> Node:
        parts, shape = [element], []
        while self.take("for"):
            target = self.target()
            self.expect("in")
            parts.append(self.expression(1))
            tests = 0
            while self.take("if"):
                parts.append(self.expression(1))
                tests += 1
            shape.append((target, tests))
        return self.make("comprehension", (kind, tuple(shape)), parts, start)

    def target(self) -> Any:
        found: list[Any] = []
        while True:
            if self.take("("):
                found.append(self.target())
                self.expect(")")
            else:
                kind, token, _ = self.tokens[self.i]
                if kind != "word" or token.startswith("__") or token in _PYTHON:
                    refuse("loop-names")
                self.i += 1
                found.append(token)
            if not self.take(","):
                return found[0] if len(found) == 1 else tuple(found)

    # --- index notation

    def header(self) -> tuple[str, ...] | None:
        """The indices of the result, if the formula begins with them, as in [i,j] Σ_k …"""
        last = self.tokens[-1][2][0]
        match = re.compile(r"\s*\[([\w,\s]*)\]\s*(?:(?=[^\s.\[*/@⊙·])|(?<=\s)(?=\[))").match(
            self.text, self.here, last
        )
        if match is None:
            return None
        head = tuple(filter(None, re.split(r"[,\s]+", match[1])))
        rest = self.text[match.end() : last]
        used = all(re.search(rf"\[[^\[\]]*\b{x}\b[^\[\]]*\]|[Σ∑]", rest) for x in head)
        if not all(map(_LETTER.fullmatch, head)) or (rest[0] in "-−+([" and not used):
            return None
        while self.take("]") is None:
            self.i += 1
        return head

    def indexed(self, head: tuple[str, ...], start: int) -> Node:
        outer, self.letters = self.letters, {x for x in head if x != "1"}
        sums = [t for k, t, _ in self.tokens if k == "sum"]
        self.letters |= set(sums)
        if len(self.letters) > MAX_LETTERS:
            refuse("letters", most=MAX_LETTERS)
        node = self.make("indexed", head, (self.expression(),), start)
        self.letters = outer
        return node

    def sum_over(self, letter: str, start: int) -> Node:
        body = self.expression(_TERM)
        if letter not in _free(body):
            refuse("sum-over-nothing", letter=letter)
        return self.make("sum over", letter, (body,), start)

    def are_letters(self) -> bool:
        """Whether nothing but indices stands between these brackets."""
        close = next((k for k, t in enumerate(self.tokens[self.i :]) if t[1] == "]"), 0)
        inside = [token for _, token, _ in self.tokens[self.i : self.i + close] if token != ","]
        return bool(inside) and all(_LETTER.fullmatch(token) for token in inside)

    def entry(self, node: Node, start: int) -> Node:
        """A[i,j]; and f(A[p,q])[i,j], where p and q are the function's own."""
        place = []
        while not self.see("]"):
            if self.tokens[self.i][1] != ",":
                place.append(self.tokens[self.i][1])
            self.i += 1
        self.expect("]")
        assert self.letters is not None
        self.letters |= set(place)
        if node.kind == "call":
            node = node.with_parts(_as_array(part) for part in node.parts)
        return self.make("entry", tuple(place), (node,), start)


def _as_array(node: Node) -> Node:
    """An argument of a function as the array of its own indices, as they come."""
    if node.kind == "indexed" or all(part.kind != "entry" for _, part in node.walk()):
        return node
    return Node("indexed", _free(node), (node,), node.source, node.span)


def _free(node: Node) -> tuple[str, ...]:
    """The indices of a part of a formula that are not summed over, as they come."""
    if node.kind == "indexed":
        return ()
    found = [x for part in node.parts for x in _free(part)]
    if node.kind == "entry":
        found = [x for x in node.value if x != "1"]
    return tuple(dict.fromkeys(x for x in found if node.kind != "sum over" or x != node.value))


def _parts_of(node: Node) -> tuple[str, Any, tuple[Node, ...]]:
    return node.kind, node.value, node.parts


def _rest(text: str, start: int, end: int) -> str:
    rest = text[start:end].strip()
    return repr(rest if len(rest) <= 20 else rest[:19] + "…") if rest else "…"
