"""Reading a claim: NumPy's spelling, the slides', LaTeX and index notation, in one grammar.

    A1.T @ (A2 - Y) / m                           NumPy, as in a program
    Xᵀ((A2 − Y)W2ᵀ ⊙ A1 ⊙ (1 − A1))/m             the slides, as `explain` prints it
    \\frac{1}{m} X^{\\top} (A_2 - Y)               LaTeX, rewritten by `spelling` beforehand
    [i,j] Σ_k A[i,k]·B[k,j]/m                     entry by entry, where matrices do not suffice

Python's `eval` and its parser have no part in it: only what is listed here means anything.
From the loosest to the tightest:

    claim      = [ "[" letters "]" ] expression
    expression = test [ "if" test "else" expression ]
    test       = "not" test | compared
    compared   = either [ ( ">" | "<" | ">=" | "<=" | "==" | "!=" ) either ]
    either     = both { "|" both }                both = sum { "&" sum }
    sum        = term { ( "+" | "−" ) term }      term = product { "⊙" product }
    product    = factor { ( "*" | "·" | "/" | "@" | "//" | "%" ) factor }
    factor     = [ "−" | "+" | "~" ] power { power }        side by side: a matrix product
    power      = entry [ ( "**" | "^" ) factor ]
    entry      = atom { "ᵀ" | "²" | "." name | "[" index "]" | "." name "(" arguments ")" }
    atom       = number | name | gradient | function "(" arguments ")" | function power
               | "(" expression ")" | "|" sum "|" | "‖" sum "‖" | "√" power | "1ᵀ" factor
               | "[" compared "]" | "𝟏" "[" compared "]" | list | comprehension
               | "Σ_i" [ "⟨" expression "⟩" ] term             in index notation
    gradient   = ( "∂L/∂" | "dL/d" | "∇" | "d" ) name | name ".grad"

A factor after `/` stands below the line if it is a number or a name of one and follows without a
space: `XᵀE/2m`. An array does not: `1/m XᵀE` is (1/m)XᵀE.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from .expressions import SLIDES, SUPERSCRIPTS, Node, Span
from .functions import CONSTANTS, FUNCTIONS, METHODS, check_call, refuse
from .names import Names
from .spelling import rewrite

__all__ = ["parse"]

MAX_LENGTH = 8_000  # letters of a claim
MAX_DEPTH = 100  # operations within operations
MAX_INTEGER = 2**63
MAX_LETTERS = 12  # indices of one formula
MAX_WORD = 200  # letters of one name, or of names side by side

_MARK = "\u0300-\u036f\u20d0-\u20ff"
_NAME = rf"(?:[^\W\dᵀ{SUPERSCRIPTS}𝟏]|[Σ∑])(?:[^\Wᵀ{SUPERSCRIPTS}𝟏]|[{_MARK}])*′*"
_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<number>[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?(?:[eE][-+−]?[0-9]+)?
              |\.[0-9]+(?:[eE][-+−]?[0-9]+)?|[½⅓⅔¼¾⅛])
  | (?P<text>'[^'\\\n]*'|"[^"\\\n]*")
  | (?P<sum>(?:Σ|∑)_?(?P<over>[ᵢⱼₖₗₘₙₚᵣₛₜᵤᵥ]|(?<=_)[^\W\d]\d*))
  | (?P<gradient>∂\s*{_NAME}\s*/\s*∂\s*{_NAME}|∇\s*{_NAME})
  | (?P<word>{_NAME})
  | (?P<ones>𝟏)
  | (?P<up>ᵀ|\^\s*ᵀ|\^\s*T(?!\w)|\^\s*'|[{SUPERSCRIPTS}]+)
  | (?P<sign>\*\*|//|>=|<=|==|!=|:=|\.\.\.|…|\|\||[-+−⊙∘*·×/@()\[\]{{}}|,:.=<>≥≤≠&%~^;!‖√⟨⟩∞'])
    )""",
    re.VERBOSE,
)
_LETTER = re.compile(r"1|[^\W\d]\d*")  # an index; 1 is that of an axis of length 1
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₗₘₙₚᵣₛₜᵤᵥ", "0123456789ijklmnprstuv")
_PLAIN = str.maketrans(SUPERSCRIPTS, "-0123456789/")
_WORDS = {"σ": "sigmoid", "ln": "log", "tr": "trace", "Σ": "Σ", "∑": "Σ", "sum": "Σ"}
_SLOPES = {"σ": "sigmoid′", "sigmoid": "sigmoid′", "tanh": "tanh′", "relu": "relu′"}  # σ′(Z)
_EXTREMES = {"max": "maximum", "min": "minimum"}  # of two: max(0, Z)
_MODULES = {"np", "numpy", "tg", "math", "jnp"}
_INNER = {"linalg", "special"}  # np.linalg.norm
_BARE = {"π": "pi", "e": "e"}  # constants without np.
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
_NEVER_BARE = {"Σ", "sum", "max", "min", "mean", "prod"}  # their arguments need brackets
_FRACTIONS = {"½": 1 / 2, "⅓": 1 / 3, "⅔": 2 / 3, "¼": 1 / 4, "¾": 3 / 4, "⅛": 1 / 8}
_TRANSPOSES = ("ᵀ", "T", "'")
_PYTHON = {
    "and", "as", "assert", "async", "await", "def", "del", "elif", "else", "except", "exec", "for",
    "from", "if", "import", "in", "is", "lambda", "not", "or", "raise", "return", "while", "with",
    "yield",
}  # fmt: skip

Token = tuple[str, str, Span]


def parse(
    text: str,
    names: Iterable[str] | Names = (),
    functions: Collection[str] = (),
    *,
    slides: bool | None = None,
    span: Span | None = None,
    head: Sequence[str] | None = None,
) -> Node:
    """Return the tree of a claim.

    names      the names that may occur: juxtaposed ones such as `XW1` are told apart by them
    functions  functions of the author's own that may be called
    slides     whether `sum(E)` is the sum of all entries, as on the slides, or Python's, which
               adds up rows (default: as on the slides if a sign of theirs occurs)
    span       the part of the text that is read (default: all)
    head       the indices of the result, in index notation, if they are not named in the text

    `self.w1` reads as `w1`.

    Raises:  ClaimError saying what is not allowed, or where the text cannot be read
    Example:
        >>> parse("Xᵀ(A − Y)/m", names=["X", "A", "Y", "m"])
        <binary Xᵀ(A − Y)/m>
        >>> parse(r"\\frac{1}{m} X^\\top E", names=["X", "E", "m"])
        <binary \\frac{1}{m} X^\\top E>
    """
    if not isinstance(text, str):
        raise TypeError(f"a claim is text, received {type(text).__name__}")
    start, end = span or (0, len(text))
    if end - start > MAX_LENGTH:
        refuse("long", letters=end - start, most=MAX_LENGTH)
    known = names if isinstance(names, Names) else Names(names)
    return _Parser(text, (start, end), known, functions, slides).whole(head)


class _Parser:
    def __init__(
        self, text: str, span: Span, names: Names, functions: Collection[str], slides: bool | None
    ):
        self.source, self.functions, self.names = text, functions, names
        self.written = rewrite(text, span, names)
        self.text = self.written.text
        if not self.text.strip():
            refuse("empty")
        self.tokens: list[Token] = []
        self.read_tokens()
        ups = any(kind == "up" for kind, _, _ in self.tokens)
        self.slides = (
            slides
            if slides is not None
            else (ups or bool(SLIDES.search(self.text) or "\\" in text[slice(*span)]))
        )
        self.i = self.depth = self.norms = 0  # norms: how many |…| and ‖…‖ are open
        self.letters: set[str] | None = None  # the indices, in index notation
        self.names = names.with_loops(self.names_of_loops())

    def read_tokens(self) -> None:
        position, end = 0, len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position, end)
            if match is None:
                refuse("unreadable-at", rest=self.rest(position))
            kind = match.lastgroup or ""
            kind = "sum" if kind == "over" else kind
            token = match["over"] if kind == "sum" else match[kind]
            first, position = match.span(kind)
            if token[:1] == "'" and self.follows_operand(first):
                position = first + 1
                if self.is_slope(position):
                    continue
                kind, token = "up", "ᵀ"
            elif token == "^" and (after := self.transposed(position)):
                kind, token, position = "up", "ᵀ", after
            self.tokens.append((kind, token.translate(_LOWERED), (first, position)))
        self.tokens.append(("end", "", (end, end)))

    def follows_operand(self, position: int) -> bool:
        """Return True if an operand ends here, so that ' after it is no quotation mark."""
        if not self.tokens or self.tokens[-1][2][1] != position:
            return False
        kind, token, _ = self.tokens[-1]
        return kind in ("word", "up", "gradient") or token in (")", "]")

    def is_slope(self, position: int) -> bool:
        """Read σ'(Z) as the slope of σ: True if that is what ends here."""
        _, word, (first, _) = self.tokens[-1]
        found = word in _SLOPES and word not in self.names and self.text[position:][:1] == "("
        if found:
            self.tokens[-1] = ("word", f"{word}′", (first, position))
        return found

    def transposed(self, position: int) -> int:
        """Return the end of T in X^TE, where TE is no name; 0 if that is not what stands here."""
        match = re.compile(rf"T({_NAME})?").match(self.text, position)
        if match is None or match[0] in self.names:
            return 0
        return position + 1

    def names_of_loops(self) -> set[str]:
        found: set[str] = set()
        inside = False
        for kind, word, _ in self.tokens:
            inside = word == "for" or (inside and word != "in")
            if inside and kind == "word":
                found.add(word)
        return found - {"for"}

    def rest(self, start: int) -> str:
        """Return what stands from here on in the author's text, for a message."""
        text = self.source[slice(*self.written.span(start, len(self.text)))].strip()
        return repr(text if len(text) <= 20 else text[:19] + "…") if text else "…"

    # --- tokens

    @property
    def here(self) -> int:
        return self.tokens[self.i][2][0]

    def token(self, ahead: int = 0) -> Token:
        """A token from here on; the last one is that of the end."""
        return self.tokens[min(self.i + ahead, len(self.tokens) - 1)]

    def see(self, *tokens: str) -> bool:
        kind, token, _ = self.token()
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
        rest = self.rest(start)
        if missing:
            refuse("missing-sign", sign=missing, rest=rest)
        refuse("unreadable-at", rest=rest)

    def make(self, kind: str, value: Any, parts: Iterable[Node], start: int) -> Node:
        place = self.written.span(start, self.tokens[self.i - 1][2][1])
        node = Node(kind, value, parts, self.source, place)
        if node.depth > MAX_DEPTH:
            refuse("nested", most=MAX_DEPTH)
        return node

    # --- expressions

    def whole(self, given: Sequence[str] | None = None) -> Node:
        start, head = self.here, self.header()
        if head is None:
            head = tuple(given) if given else None
        if head is None and any(kind == "sum" for kind, _, _ in self.tokens):
            node = self.without_header(start)
        else:
            node = self.expression() if head is None else self.indexed(head, start)
        if self.see(","):
            refuse("several")
        if self.token()[0] != "end":
            self.stuck()
        return node

    def without_header(self, start: int) -> Node:
        """Read a formula in index notation that does not name the indices of its result."""
        self.begin_letters(())
        body = self.expression()
        self.letters, free = None, _free(body)
        if len(free) > 1:
            refuse("name-indices", letters=",".join(free))
        return self.make("indexed", free, (body,), start)

    def expression(self, level: int = 0) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            refuse("nested", most=MAX_DEPTH)
        start, node = self.here, self.prefix(level)
        compared = False
        while True:
            kind, token, _ = self.token()
            op, binds = _BINARY.get(token, ("", -1)) if kind == "sign" else ("", -1)
            if binds >= max(level, 0) and op:
                self.i += 1
                node = self.binary(node, op, binds, start)
            elif level <= _COMPARISON and not compared and kind == "sign" and token in _COMPARE:
                if token == "=" and not self.slides:
                    break
                self.i += 1
                right = self.expression(_COMPARISON + 1)
                node = self.make("compare", _COMPARE[token], (node, right), start)
                compared = True
            elif level <= _BESIDE and (self.begins() or (token == "[" and node.kind == "number")):
                node = self.beside(node, start)
            elif level == 0 and self.take("if"):
                test = self.expression(1)
                self.expect("else")
                node = self.make("if", None, (node, test, self.expression()), start)
            else:
                break
        self.depth -= 1
        return node

    def binary(self, left: Node, op: str, binds: int, start: int) -> Node:
        """Read what stands after an operator."""
        if op in ("·", "@") and self.is_ones():
            return self.beside(left, start)
        if op == "/":
            right = self.denominator(start)
        else:
            right = self.expression(binds if op == "**" else binds + 1)
        if op == "·" and self.letters is not None:
            op = "*"
        return self.make("binary", op, (left, right), start)

    def beside(self, left: Node, start: int) -> Node:
        """Read the factor beside another: a matrix product, or E𝟏, the sums of the rows of E."""
        if self.is_ones():
            self.i += 1
            return self.make("call", ("rowsum", ()), (left,), start)
        right = self.expression(_POWER)
        return self.make("binary", "·" if self.letters is None else "*", (left, right), start)

    def is_ones(self) -> bool:
        """Return True if a column of ones stands here, and not 1ᵀ or a mask 𝟏[…]."""
        after = self.token(1)
        return self.token()[0] == "ones" and not _is_transpose(after) and after[1] not in ("[", "(")

    def denominator(self, start: int) -> Node:
        """Read what stands below the line: one factor, and numbers that touch it, as in /2m."""
        first, scalars = self.here, self.names.scalars
        node = self.expression(_POWER)
        while self.begins():
            begin = self.here
            if scalars is not None and self.is_array(scalars):
                break
            spaced = self.text[begin - 1].isspace()
            if scalars is not None and (spaced or self.see("(")):
                text = self.source[slice(*self.written.span(start, len(self.text)))]
                refuse("denominator", text=text[:40])
            node = self.beside(node, first)
        return node

    def is_array(self, scalars: Collection[str]) -> bool:
        """Return True if the factor that begins here has an array in it."""
        kind, token, _ = self.token()
        if kind == "number":
            return _is_transpose(self.token(1))
        if kind != "sign":
            return kind != "word" or any(name not in scalars for name in self.names_in(token))
        depth = 0
        for kind, token, _ in self.tokens[self.i :]:
            depth += (token in ("(", "[")) - (token in (")", "]"))
            if kind == "word" and any(name not in scalars for name in self.names_in(token)):
                return True
            if not depth:
                break
        return False

    def names_in(self, word: str) -> list[str]:
        """The names that are written side by side in a word."""
        found: list[str] = []
        while word and len(word) <= MAX_WORD:
            length = self.names.longest(word) or len(word)
            found.append(self.names.resolve(word[:length]) or word)
            word = word[length:]
        return found

    def begins(self) -> bool:
        """Return True if a factor begins here, beside another."""
        kind, token, _ = self.token()
        if token in ("‖", "||"):
            return not self.norms
        if kind == "sum":
            return self.letters is not None
        return (
            kind in ("number", "ones", "gradient")
            or token in ("(", "√")
            or (kind == "word" and token not in _PYTHON)
        )

    def prefix(self, level: int) -> Node:
        start = self.here
        kind, token, _ = self.token()
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
        if kind == "ones" or (kind == "number" and token == "1"):
            after = self.token(1)
            if _is_transpose(after):
                self.i += 2
                self.take("·", "@")
                return self.make("call", ("1ᵀ", ()), (self.expression(_BESIDE),), start)
            if after[1] == "[" or (kind == "ones" and after[1] == "("):
                return self.indicator(start)
        return self.postfix(self.atom(), start)

    def indicator(self, start: int) -> Node:
        """Read 𝟏[Z > 0] and 𝟏(Z > 0) as the mask [Z > 0]."""
        self.i += 1
        if self.see("("):
            node = self.atom()
        else:
            self.i += 1
            node = self.list(start)
        if node.kind not in ("compare", "binary"):
            self.stuck()
        return node

    def postfix(self, node: Node, start: int) -> Node:
        while True:
            kind, token, span = self.token()
            if kind == "up":
                self.i += 1
                if token[-1:] in _TRANSPOSES:
                    node = self.make("attribute", "T", (node,), start)
                else:
                    place = self.written.span(*span)
                    power = Node("number", self.power(token), (), self.source, place)
                    node = self.make("binary", "**", (node, power), start)
            elif self.take("."):
                node = self.attribute(node, start)
            elif kind == "sign" and token == "[" and node.kind != "number":
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
        kind, token, span = self.token()
        start = span[0]
        if kind == "word" and token not in _PYTHON:
            return self.word()
        if kind == "end":
            return self.stuck()  # type: ignore[no-any-return]
        self.i += 1
        if kind == "gradient":
            return self.gradient(token, start)
        if kind == "number":
            return self.make("number", self.number(token), (), start)
        if kind == "text":
            if len(token) > 102:
                refuse("long-text")
            return self.make("text", token[1:-1], (), start)
        if kind == "sign" and token in _ATOMS:
            return _ATOMS[token](self, start)
        self.i -= 1
        return self.stuck()  # type: ignore[no-any-return]

    def absolute(self, start: int) -> Node:
        self.norms += 1
        node = self.expression(_ABOVE_BAR)
        self.norms -= 1
        if self.see("||"):
            refuse("bars")
        self.expect("|")
        return self.make("call", ("abs", ()), (node,), start)

    def norm(self, start: int) -> Node:
        """Read ‖x‖, the square root of the sum of all squares; ‖x‖₁ and others are refused."""
        bar = self.tokens[self.i - 1][1]
        if self.norms and bar == "||":
            refuse("bars")
        self.norms += 1
        node = self.expression(_ABOVE_BAR)
        self.norms -= 1
        self.expect(bar)
        kind, token, span = self.token()
        which = token.removeprefix("_")
        if kind == "word" and token[:1] == "_" and span[0] == self.tokens[self.i - 1][2][1]:
            if which not in ("2", "F"):
                refuse("norm-which", which=which)
            self.i += 1
        elif token in ("2", "1") and self.text[span[0]] in "₁₂":
            if token == "1":
                refuse("norm-which", which=which)
            self.i += 1
        return self.make("call", ("norm", ()), (node,), start)

    def root(self, start: int) -> Node:
        node = self.expression(_POWER)
        if self.begins() and not self.text[self.here - 1].isspace():
            refuse("argument-brackets", name="√")
        return self.make("call", ("sqrt", ()), (node,), start)

    def ellipsis(self, start: int) -> Node:
        return self.make("ellipsis", None, (), start)

    def infinity(self, start: int) -> Node:
        return self.make("constant", "inf", (), start)

    def number(self, token: str) -> int | float:
        if token in _FRACTIONS:
            return _FRACTIONS[token]
        if not re.fullmatch(r"[\d_]+", token):
            return float(token.replace("−", "-").replace("_", ""))
        if len(token) > 30 or int(token) >= MAX_INTEGER:
            refuse("large-number", number=f"{token[:12]}…")
        return int(token)

    # --- names

    def word(self) -> Node:
        _, token, span = self.token()
        start, after = span[0], self.token(1)[1]
        if token.startswith("__"):
            refuse("forbidden-name", name=token)
        if token == "self" and after == ".":
            return self.of_self(start)
        if token in _MODULES and token not in self.names.known and after == ".":
            return self.of_module(token, start)
        called = after == "(" and self.token(1)[2][0] == span[1]
        if called and self.callable(token):
            return self.call(token, start)
        if (name := self.leibniz()) is not None:
            return self.make("name", name, (), start)
        name = self.names.resolve(token)
        if name is None and (variance := self.names.squared(token)) and self.is_squared():
            self.i += 2 if after == "²" else 3
            return self.make("name", variance, (), start)
        self.i += 1
        if token in _VALUES:
            return self.make(_VALUES[token], {"True": True, "False": False}.get(token), (), start)
        if name is None:
            return self.unknown(token, span, called)
        return self.make("name", name, (), start)

    def is_squared(self) -> bool:
        """Return True if ², ^2 or **2 stands after the word that is read."""
        after = self.token(1)[1]
        return after == "²" or (after in ("^", "**") and self.token(2)[1] == "2")

    def unknown(self, token: str, span: Span, called: bool) -> Node:
        """Read a word that is no name: an entry, names side by side, a function of what follows."""
        start = span[0]
        if len(token) > MAX_WORD:
            refuse("unreadable-at", rest=self.rest(start))
        if (node := self.subscripted(token, start)) is not None:
            return node
        if split := self.split(token, called):
            first, rest, middle = token[:split], token[split:], start + split
            self.tokens[self.i - 1 : self.i] = [
                ("word", first, (start, middle)), ("word", rest, (middle, span[1])),
            ]  # fmt: skip
            return self.make("name", self.names.resolve(first) or first, (), start)
        if token in _BARE and self.names.known:  # in a program e is a variable
            return self.make("constant", _BARE[token], (), start)
        if self.callable(token) and token not in _NEVER_BARE and self.begins():
            node = self.expression(_POWER)
            if self.begins():
                refuse("argument-brackets", name=token)
            return self.make("call", (_WORDS.get(token, token), ()), (node,), start)
        if called:
            refuse("no-function", name=token)
        return self.make("name", token, (), start)

    def of_self(self, start: int) -> Node:
        """Read self.w1 as w1."""
        self.i += 2
        kind, word, _ = self.token()
        if kind != "word":
            return self.stuck()  # type: ignore[no-any-return]
        if word in FUNCTIONS and self.token(1)[1] == "(":
            return self.call(f"self.{word}", start)
        node = self.word()
        place = (self.written.span(start, start + 1)[0], node.span[1])
        return Node(node.kind, node.value, node.parts, self.source, place, node.holes)

    def of_module(self, module: str, start: int) -> Node:
        """Read np.exp(…), np.linalg.norm(…) and np.pi."""
        self.i += 2
        if self.token()[1] in _INNER and self.token(1)[1] == ".":
            module = f"{module}.{self.token()[1]}"
            self.i += 2
        kind, name, _ = self.token()
        if kind != "word":
            return self.stuck()  # type: ignore[no-any-return]
        if self.token(1)[1] == "(":
            return self.call(f"{module}.{name}", start)
        self.i += 1
        if name not in CONSTANTS:
            refuse("no-constant", name=f"{module}.{name}")
        return self.make("constant", name, (), start)

    def callable(self, word: str) -> bool:
        return (
            word in FUNCTIONS
            or word in _WORDS
            or word in self.functions
            or (word[-1:] == "′" and word[:-1] in _SLOPES)
        )

    def split(self, word: str, called: bool) -> int:
        """Return where the first of several names side by side ends; 0: it is one name."""
        first, rest = 0, word
        if len(word) > MAX_WORD:
            return 0
        while rest:
            if first and called and self.callable(rest):
                return first
            length = self.names.longest(rest)
            if not length:
                return 0
            first, rest = first or length, rest[length:]
        return first if first < len(word) else 0

    def subscripted(self, word: str, start: int) -> Node | None:
        """Read X_ij and Xᵢⱼ as the entry X[i,j], in index notation."""
        if self.letters is None:
            return None
        length = self.names.longest(word)
        letters = word[length:].removeprefix("_")
        if not length or not letters or not re.fullmatch("[a-z]{1,4}", letters):
            return None
        self.letters |= set(letters)
        name = self.names.resolve(word[:length])
        place = self.written.span(start, start + length)
        base = Node("name", name, (), self.source, place)
        return self.make("entry", tuple(letters), (base,), start)

    def leibniz(self) -> str | None:
        """Read dL/dW, if its parts are no names of their own."""
        (_, above, _), (_, line, _), (kind, below, span) = (self.token(k) for k in range(3))
        if line != "/" or above[:1] != "d" or kind != "word" or below[:1] != "d":
            return None
        if above in self.names.known or above[1:] not in self.names.losses:
            return None
        found = self.names.differentiated(below[1:])
        if found is None or below in self.names.known:
            return None
        self.i += 3
        self.push_back(found[1], span[1])
        return f"∂L/∂{found[0]}"

    def push_back(self, rest: str, end: int) -> None:
        """Read later what is written beside a gradient, as W in ∂L/∂ZW."""
        if rest:
            kind, token, (first, _) = self.tokens[self.i - 1]
            self.tokens[self.i - 1] = (kind, token, (first, end - len(rest)))
            self.tokens.insert(self.i, ("word", rest, (end - len(rest), end)))

    def gradient(self, token: str, start: int) -> Node:
        """Read ∂L/∂W, ∇W and ∇_W L."""
        plain = re.sub(r"\s+", "", token)
        loss, _, word = plain[1:].rpartition("/∂")
        end = self.tokens[self.i - 1][2][1]
        if plain[0] == "∇":
            loss, word = "L", plain[1:].removeprefix("_")
        found = self.names.differentiated(word)
        if found is None and not self.names.gradients:
            return self.make("name", f"∂L/∂{word}", (), start)
        if found is None or loss not in self.names.losses:
            refuse("not-of-loss", text=self.source[slice(*self.written.span(start, end))])
        self.push_back(found[1], end)
        if plain.startswith("∇_") and self.token()[1] in self.names.losses:
            self.i += 1
        return self.make("name", f"∂L/∂{found[0]}", (), start)

    def attribute(self, node: Node, start: int) -> Node:
        kind, name, _ = self.token()
        if kind != "word":
            self.stuck()
        if self.token(1)[1] == "(":
            return self.call(name, start, node)
        self.i += 1
        if name == "grad" and node.kind == "name" and node.value in self.names.gradients:
            return self.make("name", f"∂L/∂{node.value}", (), start)
        if name not in _ATTRIBUTES:
            refuse("no-attribute", name=name, known=", ".join(f".{a}" for a in _ATTRIBUTES))
        return self.make("attribute", name, (node,), start)

    # --- calls and lists

    def call(self, spelled: str, start: int, receiver: Node | None = None) -> Node:
        self.i += 2
        own = spelled in self.functions and spelled not in FUNCTIONS
        parts, named = self.arguments([] if receiver is None else [receiver])
        self.expect(")")
        given = len(parts) - len(named) - (receiver is not None)
        if receiver is None:
            spelled = self.meant(spelled, parts, given, named)
        name = spelled.rpartition(".")[2]
        table = FUNCTIONS if receiver is None else METHODS
        if name not in table and not own:
            refuse("no-method" if receiver else "no-function", name=spelled)
        check_call(None if own else table[name], spelled, given, named)
        kind = "call" if receiver is None else "method"
        return self.make(kind, (spelled, tuple(named)), parts, start)

    def arguments(self, parts: list[Node]) -> tuple[list[Node], list[str]]:
        """Read what stands between the brackets of a call: its arguments, and names of the last."""
        named: list[str] = []
        while not self.see(")"):
            if self.see("*", "**"):
                refuse("unpacking")
            key = self.token()
            if key[0] == "word" and self.token(1)[1] == "=":
                self.i += 2
                named.append(key[1])
            elif named:
                self.stuck()
            start_of_item = self.here
            head = self.header() if self.letters is not None else None
            parts.append(self.item() if head is None else self.indexed(head, start_of_item))
            if self.see("for"):
                parts[-1] = self.comprehension(parts[-1], "generator", start_of_item)
            if not self.take(","):
                break
        return parts, named

    def meant(self, spelled: str, parts: Sequence[Node], given: int, named: Sequence[str]) -> str:
        """The function that a word stands for: σ is sigmoid, sum on the slides adds up all."""
        if spelled in self.functions and spelled not in FUNCTIONS:
            return spelled
        if spelled[-1:] == "′":
            return _SLOPES[spelled[:-1]]
        if spelled in _EXTREMES and given == 2 and not named:
            if parts[1].kind == "number" and parts[0].kind != "number":
                axis = parts[1].value
                refuse("two-maxima", name=spelled, axis=axis)
            return _EXTREMES[spelled]
        if spelled == "sum":
            pythons = not self.slides or given != 1 or parts[0].kind in ("comprehension", "list")
            return "sum" if pythons else "Σ"
        return _WORDS.get(spelled, spelled)

    def item(self) -> Node:
        """Read what may stand between brackets: an expression, or a slice."""
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
        """Read a list up to the closing bracket; the second is True if there are commas."""
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
            return self.around(node, start)
        self.expect(")")
        if len(found) == 1 and not comma:
            return found[0]
        return self.make("tuple", None, found, start)

    def around(self, node: Node, start: int) -> Node:
        """The node with the brackets around it as a part of its text."""
        place = self.written.span(start, self.tokens[self.i - 1][2][1])
        return Node(node.kind, node.value, node.parts, self.source, place)

    def list(self, start: int) -> Node:
        found, comma = self.items("]")
        if self.see("for") and len(found) == 1:
            node = self.comprehension(found[0], "list", start)
            self.expect("]")
            return self.around(node, start)
        if len(found) == 1 and not comma and found[0].kind == "compare":
            mask = found[0]
            if (sign := self.token()[1]) in _COMPARE:  # [a ≤ x ≤ b]
                self.i += 1
                right = self.expression(_COMPARISON + 1)
                middle = mask.parts[1]
                place = (middle.span[0], right.span[1])
                other = Node("compare", _COMPARE[sign], (middle, right), self.source, place)
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
                kind, token, _ = self.token()
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
        if not all(map(_LETTER.fullmatch, head)):
            return None
        used = [bool(re.search(rf"\[[^\[\]]*\b{x}\b[^\[\]]*\]|[Σ∑]", rest)) for x in head]
        if (rest[0] in "-−+[" and not all(used)) or (rest[0] == "(" and used and not any(used)):
            return None
        while self.take("]") is None:
            self.i += 1
        return head

    def indexed(self, head: Sequence[str], start: int) -> Node:
        outer = self.letters
        self.begin_letters(head)
        node = self.make("indexed", tuple(head), (self.expression(),), start)
        self.letters = outer
        return node

    def begin_letters(self, head: Iterable[str]) -> None:
        """From here on indices may occur."""
        self.letters = {x for x in head if x != "1"} | {t for k, t, _ in self.tokens if k == "sum"}
        if len(self.letters) > MAX_LETTERS:
            refuse("letters", most=MAX_LETTERS)

    def sum_over(self, letter: str, start: int) -> Node:
        limit, first = None, self.here
        if self.take("⟨"):
            letters, self.letters = self.letters, None
            limit = self.expression()
            self.letters = letters
            self.expect("⟩")
        body = self.expression(_TERM)
        if limit is not None:
            body = self.make("up to", letter, (limit, body), first)
        if letter not in _free(body):
            refuse("sum-over-nothing", letter=letter)
        return self.make("sum over", letter, (body,), start)

    def are_letters(self) -> bool:
        """Return True if nothing but indices stands between these brackets."""
        close = next((k for k, t in enumerate(self.tokens[self.i :]) if t[1] == "]"), 0)
        inside = [token for _, token, _ in self.tokens[self.i : self.i + close] if token != ","]
        return bool(inside) and all(_LETTER.fullmatch(t) and self.is_free(t) for t in inside)

    def is_free(self, letter: str) -> bool:
        """Return True if a letter is no array: a size, as k, may have the name of an index."""
        if letter in (self.letters or ()) or letter not in self.names.known:
            return True
        scalars = self.names.scalars
        return letter.islower() if scalars is None else letter in scalars

    def entry(self, node: Node, start: int) -> Node:
        """A[i,j]; and f(A[p,q])[i,j], where p and q are the function's own."""
        place = []
        while not self.see("]"):
            if self.token()[1] != ",":
                place.append(self.token()[1])
            self.i += 1
        self.expect("]")
        assert self.letters is not None
        self.letters |= set(place)
        if node.kind == "call":
            node = node.with_parts(_as_array(part) for part in node.parts)
        return self.make("entry", tuple(place), (node,), start)


def _is_transpose(token: Token) -> bool:
    return token[0] == "up" and token[1][-1:] in _TRANSPOSES


def _as_array(node: Node) -> Node:
    """An argument of a function as the array of its own indices, in the order of the alphabet."""
    if node.kind == "indexed" or all(part.kind != "entry" for part in node.nodes()):
        return node
    return Node("indexed", tuple(sorted(_free(node))), (node,), node.source, node.span)


def _free(node: Node) -> tuple[str, ...]:
    """The indices of a part of a formula that are not summed over, as they come."""
    if node.kind == "indexed":
        return ()
    found = [x for part in node.parts for x in _free(part)]
    if node.kind == "entry":
        found = [x for x in node.value if x != "1"]
    return tuple(dict.fromkeys(x for x in found if node.kind != "sum over" or x != node.value))


_ATOMS: dict[str, Callable[[_Parser, int], Node]] = {
    "(": _Parser.brackets, "[": _Parser.list, "|": _Parser.absolute, "‖": _Parser.norm,
    "||": _Parser.norm, "√": _Parser.root, "...": _Parser.ellipsis, "…": _Parser.ellipsis,
    "∞": _Parser.infinity,
}  # fmt: skip
