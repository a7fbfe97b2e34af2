"""Other spellings of a formula, rewritten into the one that `grammar` reads.

    （A2 – Y）⋅ 𝐖₂ᵀ                      signs of Word, MathJax and Korean or Japanese keyboards
    \\frac{1}{m} X^{\\top} (A - Y)        LaTeX, as papers and `explain(…).latex` write it
    x̂, \\hat{x}, Σ_{i=1}^{m}             marks over letters, sums with limits

`rewrite` returns a `Written`: the new text, and for each of its letters the place in the author's
text, so that a repair is shown in the author's own spelling. Which sign or command stands for which
is said by the tables `SIGNS`, `REFUSED_SIGNS`, `COMMANDS`, `WORDS`, `FONTS` and `ACCENTS`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container

from .expressions import Span
from .functions import refuse

__all__ = ["Written", "rewrite"]

Letter = tuple[str, int, int]  # a letter of the new text, and its place in the author's

MAX_GROUPS = 60  # {…} within {…}


def _words(text: str) -> list[str]:
    return text.split()


def _each(signs: str, meaning: str) -> dict[str, str]:
    return dict.fromkeys(signs, meaning)


# --- single signs ---------------------------------------------------------------------------------

SIGNS: dict[str, str] = {
    **_each("–‒‐‑—﹣➖", "−"),
    **_each("⋅∙•‧・･", "·"),
    **_each("✕✖⨯⨉", "×"),
    **_each("∗⁎", "*"),
    **_each("÷∕⁄➗⊘", "/"),
    **_each("◦", "∘"),
    **_each("⨀", "⊙"),
    **_each("⊤⟙┬ᵗ⊺", "ᵀ"),
    **_each("∥", "‖"),
    **_each("⩾≧", "≥"),
    **_each("⩽≦", "≤"),
    **_each("‘’‛´`", "'"),
    **_each("“”„‟", '"'),
    **_each("⟦【", "["),
    **_each("⟧】", "]"),
    **_each("≔", ":="),
    **_each("𝟏𝟙𝟭", "𝟏"),
    **_each("\u00a0\u3000\u205f\u202f\u2002\u2003\u2009\u200a", " "),
    **{chr(code): " " for code in range(0x2000, 0x200B)},
    **{chr(code): "" for code in (*range(0x200B, 0x2010), *range(0x2060, 0x2065), 0xFEFF, 0xAD)},
}
REFUSED_SIGNS: dict[str, str] = {  # and the spelling to use
    **_each("⊗", "np.outer(a, b), np.kron(A, B)"),
    **_each("⊕", "A + B"),
    **_each("⊖", "A − B"),
    **_each("∛∜", "x^(1/3)"),
    **_each("∏", "np.prod(x)"),
    **_each("∫", "Σ_i x[i]"),
    **_each("±∓", "a + b, a − b"),
    **_each("⟨⟩〈〉", "uᵀv"),
    **_each("ⁿᵏⁱʲᵐ", "x^n"),
    **_each("≈≡≅∝∼", "="),
    **_each("∈∉∀∃⊂∪∩", "[Z > 0]"),
    **_each("∧", "&"),
    **_each("∨", "|"),
    **_each("¬", "~"),
    **_each("⌊⌋", "np.floor(x)"),
    **_each("⌈⌉", "np.ceil(x)"),
}
# Letters that have a plain form: full-width, mathematical, letter-like, variants of Greek letters.
_WITH_PLAIN_FORM = re.compile(
    "[\u00b5\u03d0-\u03d6\u03f0-\u03f5\u2100-\u214f\uff01-\uff5e\uffe8-\uffee\U0001d400-\U0001d7ff]"
)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₌ᵢⱼₖₗₘₙₚᵣₛₜᵤᵥ", "0123456789=ijklmnprstuv")
_RAISED = str.maketrans("ᵐⁿᵏʰᵈ", "mnkhd")

# --- LaTeX ----------------------------------------------------------------------------------------

COMMANDS: dict[str, str] = {  # one sign
    "odot": "⊙",
    "circ": "⊙",
    "ast": "*",
    "star": "*",
    "cdot": "·",
    "bullet": "·",
    "times": "×",
    "div": "/",
    "oslash": "/",
    "le": "≤",
    "leq": "≤",
    "leqslant": "≤",
    "ge": "≥",
    "geq": "≥",
    "geqslant": "≥",
    "ne": "≠",
    "neq": "≠",
    "lt": "<",
    "gt": ">",
    "lbrack": "[",
    "rbrack": "]",
    "lparen": "(",
    "rparen": ")",
    "lVert": "‖",
    "rVert": "‖",
    "Vert": "‖",
    "|": "‖",
    "lvert": "(|",
    "rvert": "|)",
    "vert": "|",
    "mid": "|",
    "top": "ᵀ",
    "intercal": "ᵀ",
    "prime": "′",
    "dots": "…",
    "ldots": "…",
    "cdots": "…",
    "partial": "∂",
    "nabla": "∇",
    "infty": "∞",
    "coloneqq": ":=",
    ",": " ",
    ";": " ",
    ":": " ",
    "!": "",
    " ": " ",
    ">": " ",
    "quad": " ",
    "qquad": " ",
    "_": "_",
    "%": "%",
    "&": "&",
    "#": "",
    "$": "",
    "[": "",
    "]": "",
    "(": "",
    ")": "",
    "thinspace": " ",
    "newline": "\n",
    "cr": "\n",
}
_GREEK = _words(
    "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta θ iota ι "
    "kappa κ lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ tau τ phi φ varphi φ chi χ psi ψ omega ω "
    "Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Phi Φ Psi Ψ Omega Ω ell l"
)
WORDS: dict[str, str] = {  # a name or a function
    **dict(zip(_GREEK[::2], _GREEK[1::2], strict=True)),
    **{
        name: name
        for name in _words(
            "exp log ln tanh sinh cosh sin cos tan arctan max min tr diag softmax sigmoid relu "
            "sign abs softplus rowsum trace sum"
        )
    },
    "ReLU": "relu",
    "Softmax": "softmax",
    "Tr": "tr",
    "sgn": "sign",
    "tg": "tan",
}
FONTS = {
    *_words(
        "mathbf boldsymbol bm pmb symbf mathrm text textrm textbf textit textsf texttt mathit "
        "mathsf mathcal mathscr mathbb mathtt mathnormal operatorname mbox hbox bold"
    )
}
_BOLD = {"mathbf", "boldsymbol", "bm", "pmb", "symbf", "mathbb", "textbf", "bold", "vec"}
ACCENTS = {
    "hat": "\u0302",
    "widehat": "\u0302",
    "bar": "\u0304",
    "overline": "\u0304",
    "vec": "",
    "tilde": "\u0303",
    "widetilde": "\u0303",
    "dot": "\u0307",
    "check": "\u030c",
}
_SILENT = {
    *_words(
        "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr "
        "displaystyle textstyle limits nolimits nonumber notag rm bf it sf tt allowbreak hfill "
        "noindent"
    )
}
_WITH_ARGUMENT = {"tag", "label", "hspace", "vspace", "phantom", "color", "textcolor"}
_ENVIRONMENTS = {
    *_words("aligned align equation gather gathered split math displaymath eqnarray"),
}
_TRANSPOSES = {"ᵀ", "T", "'", "′", "tr"}
_WORD = re.compile(r"(?:[^\W]|[\u0300-\u036f\u20d0-\u20ff])+\Z")
_ONE = re.compile(r"(?:[\w½⅓⅔¼¾⅛]|[\u0300-\u036f\u20d0-\u20ff])+|\d*\.\d+")
_INDICES = re.compile(r"[a-z1]\d*(?:,[a-z1]\d*)+|[a-z]{1,4}")


class Written:
    """A text in the grammar's spelling, each of its letters with its place in the author's text.

    Example:
        >>> written = rewrite("A2 – Y")
        >>> written.text, written.span(3, 4)
        ('A2 − Y', (3, 4))
        >>> written = rewrite("X^{\\\\top} E")
        >>> written.text, written.span(1, 2)
        ('Xᵀ E', (1, 8))
    """

    __slots__ = ("_letters", "_start", "source", "text")

    def __init__(self, source: str, span: Span, letters: list[Letter] | None):
        self.source, self._start, self._letters = source, span[0], letters
        self.text = source[slice(*span)] if letters is None else "".join(c for c, _, _ in letters)

    def span(self, start: int, end: int) -> Span:
        """The place in the author's text of the letters from start to end."""
        if self._letters is None:
            return self._start + start, self._start + end
        if start < end:
            return self._letters[start][1], self._letters[end - 1][2]
        if start < len(self._letters):
            return (self._letters[start][1],) * 2
        return (self._letters[-1][2] if self._letters else self._start,) * 2


def rewrite(text: str, span: Span | None = None, known: Container[str] = ()) -> Written:
    """Return a formula in the grammar's spelling.

    span    the part of the text that is read (default: all)
    known   the names that may occur: they tell W^{(1)}, the name W1, from a power

    Raises:  ClaimError for a sign or a command that is not read, with the spelling to use
    Example:
        >>> rewrite(r"\\frac{1}{m} X^\\top \\left(A_2 - Y\\right)").text
        '((1)/(m)) Xᵀ (A2 - Y)'
    """
    start, end = span or (0, len(text))
    piece = text[start:end]
    if piece.isascii() and not _UNUSUAL.search(piece):
        return Written(text, (start, end), None)
    letters = _signs(text, start, end)
    if any(c in "\\{$" or c in "Σ∑" for c, _, _ in letters):
        letters = _Latex(letters, known).all()
    return Written(text, (start, end), letters)


_UNUSUAL = re.compile(r"[\\{$#`]")


def _signs(text: str, start: int, end: int) -> list[Letter]:
    """The letters of a text in their plain form, without comments."""
    letters: list[Letter] = []
    position = start
    while position < end:
        c, first = text[position], position
        position += 1
        while position < end and unicodedata.combining(text[position]):
            position += 1
        if c == "#" and (first == start or text[first - 1] != "\\"):  # a comment
            newline = text.find("\n", position, end)
            position = end if newline < 0 else newline
            continue
        if position - first > 1:
            new = unicodedata.normalize("NFKC", text[first:position])
        else:
            new = SIGNS.get(c, c)
            if c not in SIGNS and _WITH_PLAIN_FORM.match(c):
                new = unicodedata.normalize("NFKC", c)
        if c in REFUSED_SIGNS and not (c in "ᵐⁿᵏ" and _is_limit(letters)):
            refuse("sign-not-read", sign=c, instead=REFUSED_SIGNS[c])
        letters += [(x, first, position) for x in new]
    return letters


def _is_limit(letters: list[Letter]) -> bool:
    """Return True if what comes next is the upper limit of a sum, as in Σᵢ₌₁ᵐ."""
    return "₌" in [c for c, _, _ in letters[-3:]]


def _text(letters: list[Letter]) -> str:
    return "".join(c for c, _, _ in letters)


class _Latex:
    """A reader of LaTeX: letters go in at `letters`, and come out in `out`."""

    def __init__(self, letters: list[Letter], known: Container[str]):
        self.letters, self.known = letters, known
        self.i = self.depth = 0
        self.out: list[Letter] = []
        self.is_latex = any(c in "\\$" for c, _, _ in letters)
        self.lead: int | None = None  # where a \left before the next sign begins
        self.gap = False  # whether a letter that follows begins another name
        self.open: list[int] = []  # the places of [ in `out`

    def all(self) -> list[Letter]:
        while self.i < len(self.letters):
            self.piece()
        return self.out

    # --- reading and writing

    def at(self, ahead: int = 0) -> str:
        """The letter that is read next, "" at the end."""
        i = self.i + ahead
        return self.letters[i][0] if i < len(self.letters) else ""

    @property
    def here(self) -> int:
        if self.i < len(self.letters):
            return self.letters[self.i][1]
        return self.letters[-1][2] if self.letters else 0

    @property
    def before(self) -> int:
        return self.letters[self.i - 1][2] if self.i else 0

    def skip_spaces(self) -> None:
        while self.at().isspace():
            self.i += 1

    def write(self, text: str, start: int, end: int) -> None:
        if not text:
            return
        if self.lead is not None and not text.isspace():
            start, self.lead = self.lead, None
        if self.gap and (_is_of_name(text[0]) or text[0] in "_𝟏"):
            self.out.append((" ", start, start))
        self.gap = False
        self.out += [(c, start, end) for c in text]

    def write_word(self, word: str, start: int, end: int) -> None:
        """Write a name or a function, apart from the names beside it."""
        self.gap = bool(self.out) and _is_of_name(self.out[-1][0])
        self.write(word, start, end)
        self.gap = word != "d"  # of \mathrm{d}W

    def captured(self, read: Callable[[], None]) -> list[Letter]:
        """Return what `read` writes, kept out of the text."""
        self.depth += 1
        if self.depth > MAX_GROUPS:
            refuse("nested", most=MAX_GROUPS)
        outer = self.out, self.gap, self.open, self.lead
        self.out, self.gap, self.open, self.lead = [], False, [], None
        read()
        inner, (self.out, self.gap, self.open, self.lead) = self.out, outer
        self.depth -= 1
        return inner

    def group(self) -> None:
        """Read {…}, without the braces."""
        start = self.here
        self.i += 1
        while self.at() != "}":
            if not self.at():
                refuse("missing-at-end", sign="}")
            self.piece()
        self.i += 1
        if self.out:
            self.out[0] = (self.out[0][0], min(start, self.out[0][1]), self.out[0][2])

    def argument(self, whole_words: bool = False) -> list[Letter]:
        """Read what a command is applied to: {…}, or the next letter or command."""
        self.skip_spaces()
        if self.at() == "{":
            return self.captured(self.group)
        if not self.at() or self.at() == "}":
            refuse("breaks-off")
        if whole_words:  # Σ_k1, which is no LaTeX
            start = self.i
            while self.at().isalnum():
                self.i += 1
            if self.i > start:
                return self.letters[start : self.i]
        return self.captured(self.piece)

    def place(self, content: list[Letter], start: int) -> None:
        """Write what braces hold: a name as it is, anything longer in brackets."""
        word, end = _text(content).strip(), self.before
        if not word:
            return
        if _ONE.fullmatch(word) or word.startswith("∂"):
            self.write_word(word, start, end)
        else:
            self.write("(", start, min(content[0][1], end))
            self.out += content
            self.write(")", content[-1][2], end)

    # --- pieces

    def piece(self) -> None:
        """Read one letter, group, script or command."""
        c, start, end = self.letters[self.i]
        if c == "\\":
            self.command()
        elif c in "^_" and self.out and (self.is_latex or self.at(1) == "{"):
            self.i += 1
            self.subscript(start) if c == "_" else self.superscript(start)
        elif c in "Σ∑" and (self.is_latex or self.at(1) in ("_", "^") or self.at(1) in _LOWERED):
            self.i += 1
            self.sum(start)
        elif self.is_latex and c in _READ:
            _READ[c](self, start)
        else:
            self.i += 1
            self.write(c, start, end)

    def braces(self, start: int) -> None:
        content = self.captured(self.group)
        if _text(self.out[-1:]) == "𝟏" and re.search("[<>≤≥=≠]", _text(content)):
            self.indicator(content, start)
        else:
            self.place(content, start)

    def indicator(self, content: list[Letter], start: int) -> None:
        """Write 1_{Z>0} as the mask [Z>0]."""
        first = self.out.pop()[1]
        self.write("[", first, start)
        self.out += content
        self.write("]", content[-1][2], self.before)

    def silent(self, start: int) -> None:
        self.i += 1

    def percent(self, start: int) -> None:
        while self.at() not in ("", "\n"):
            self.i += 1

    def tilde(self, start: int) -> None:
        self.i += 1
        self.write(" ", start, start + 1)

    def opening(self, start: int) -> None:
        self.i += 1
        self.open.append(len(self.out))
        self.write("[", start, self.before)

    def closing(self, start: int) -> None:
        """Read ], and the indices of a whole formula after it, as in [Σ_k A_{i,k}]_{i,j}."""
        self.i += 1
        opened = self.open.pop() if self.open else None
        spaces = self.i
        self.skip_spaces()
        before = _text(self.out[:opened]).rstrip()[-1:] if opened is not None else ""
        if self.at() == "_" and opened is not None and not _ends_operand(before):
            self.i += 1
            indices = _indices_of(_text(self.argument()))
            if indices is not None:
                first = self.out[opened]
                head = [(c, first[1], first[1]) for c in f"[{indices}] "]
                self.out[opened : opened + 1] = [*head, ("(", first[1], first[2])]
                self.lead = None
                self.write(")", start, self.before)
                return
        self.i = spaces
        self.write("]", start, start + 1)
        if opened is not None and _ends_operand(before) and self.is_mask(opened):
            place = self.out[opened][1]  # beside a factor, and no index of it
            self.out.insert(opened, ("(", place, place))
            self.write(")", start + 1, start + 1)

    def is_mask(self, opened: int) -> bool:
        """Return True if [ there begins a comparison, as in [Z > 0]."""
        depth = 0
        for c, _, _ in self.out[opened:]:
            depth += (c in "([") - (c in ")]")
            if depth == 1 and c in "<>≤≥=≠":
                return True
        return False

    # --- scripts

    def word_before(self) -> str:
        found = _WORD.search(_text(self.out[-60:]))
        return found[0] if found else ""

    def subscript(self, start: int) -> None:
        content = self.argument()
        text, base, last = _text(content).replace(" ", ""), self.word_before(), self.out[-1][0]
        suffix = _suffix(base, text, self.known)
        if re.search("[<>≤≥=≠]", text) and base in ("1", "𝟏"):
            self.indicator(content, start)
        elif text.startswith("[") or not text:
            self.out += content
        elif last in "‖∇":
            self.write(f"_{text}", start, self.before)
            self.gap = True
        elif suffix is not None:
            self.gap = False
            self.write(suffix, start, self.before)
            self.gap = True
        elif (indices := _indices_of(text)) is not None:
            self.write(f"[{indices}]", start, self.before)
        else:
            self.gap = False
            self.write(f"_{text}", start, self.before)
            self.gap = True

    def superscript(self, start: int) -> None:
        self.skip_spaces()
        braces = self.at() == "{"
        content = self.argument()
        text, base = _text(content).replace(" ", ""), self.word_before()
        layer = re.fullmatch(r"[\[(](\d+)[\])]([ᵀT]?)", text)
        if text in _TRANSPOSES:
            self.write("ᵀ", start, self.before)
        elif layer and base + layer[1] in self.known:
            self.gap = False
            self.write(layer[1] + "ᵀ" * bool(layer[2]), start, self.before)
            self.gap = not layer[2]
        elif re.fullmatch(r"\(?[a-z]\)|\[(?:[a-z]|\d+)\]", text):
            refuse("sample-index", text=f"{base}^{{{text}}}")
        elif not braces and text.isdigit() and self.at().isdigit():
            refuse("latex-power", text=f"^{text}{self.at()}", instead=f"^{{{text}{self.at()}}}")
        else:
            self.write("^", start, start + 1)
            self.gap = False
            self.place(content, start + 1)

    def limits(self) -> tuple[str, list[Letter]]:
        """Read what stands below and above a Σ."""
        lower, upper = "", list[Letter]()
        while True:
            c = self.at()
            if c in ("_", "^"):
                self.i += 1
                found = self.argument(whole_words=not self.is_latex)
                lower, upper = (_text(found), upper) if c == "_" else (lower, found)
            elif c and c in _LOWERED:
                lower += c.translate(_SUBSCRIPTS)
                self.i += 1
            elif c and c in "ᵐⁿᵏ":
                upper = [(c.translate(_RAISED), *self.letters[self.i][1:])]
                self.i += 1
            elif c.isspace() and self.at(1) in ("_", "^"):
                self.i += 1
            else:
                break
        return lower, upper

    def sum(self, start: int) -> None:
        """Read a sum with its limits: Σ_i, Σ_{i=1}^{m}, Σᵢ₌₁ᵐ."""
        lower, upper = self.limits()
        end = self.before
        bound = re.fullmatch(r"([a-z]\d*)=([01])", lower.replace(" ", ""))
        letters = [bound[1]] if bound else re.findall(r"[a-z]\d*", lower)
        if "".join(letters) != re.sub(r"[,\s]", "", lower) and not bound:
            refuse("sum-limits", limits=lower.strip())
        if not letters or (upper and len(letters) > 1):
            if lower or upper:
                refuse("sum-limits", limits=(lower + _text(upper)).strip())
            self.write_word("Σ", start, end)
            self.gap = False
            return
        for letter in letters:
            self.write_word(f"Σ_{letter}", start, end)
        if upper:
            whole = f"{_text(upper)}+1" if bound and bound[2] == "0" else _text(upper)
            self.gap = False
            self.write(f"⟨{whole}⟩", end, end)
        self.gap = False
        self.write(" ", end, end)

    # --- commands

    def command(self) -> None:
        start = self.here
        self.i += 1
        name = self.at()
        if not name:
            refuse("breaks-off")
        self.i += 1
        if name.isascii() and name.isalpha():
            while self.at().isascii() and self.at().isalpha():
                name += self.at()
                self.i += 1
        end = self.before
        if name in _READ_COMMAND:
            _READ_COMMAND[name](self, name, start)
        elif name in WORDS:
            self.write_word(WORDS[name], start, end)
            if name in ("exp", "log", "sigma") or WORDS[name] == name:
                spaces = self.i
                self.skip_spaces()
                after = _text(self.letters[self.i : self.i + 6])
                if not after.startswith(("(", "\\left(")):
                    self.i = spaces
                self.gap = self.at() != "("
        elif name in COMMANDS:
            self.write(COMMANDS[name], start, end)
        elif name in FONTS:
            self.font(name, start)
        elif name in ACCENTS:
            self.accent(name, start)
        elif name in _SILENT:
            self.delimiter(name, start)
        elif name in _WITH_ARGUMENT:
            self.argument()
        else:
            refuse("latex-command", command=f"\\{name}")

    def delimiter(self, name: str, start: int) -> None:
        self.skip_spaces()
        if name in ("left", "right") and self.at() == ".":
            self.i += 1
        elif self.at() == "|" and name[-1] in "lrt" and name not in ("it", "tt"):
            self.i += 1  # which of the two bars it is
            opens = name[-1] == "l" or name == "left"
            self.write("(|" if opens else "|)", start, self.before)
        elif name.lower().startswith(("left", "right", "big", "middle")):
            self.lead = start if self.lead is None else self.lead

    def line_break(self, name: str, start: int) -> None:
        if self.at() == "[":  # \\[4pt]
            while self.at() not in ("", "]"):
                self.i += 1
            self.i += 1
        self.write("\n", start, self.before)

    def curly(self, name: str, start: int) -> None:
        """Read the braces of 𝟏\\{Z > 0\\}; a set means nothing here."""
        if name == "{" and not _text(self.out).rstrip().endswith(("𝟏", "1")):
            refuse("sign-not-read", sign="\\{", instead="[Z > 0]")
        self.write("[" if name == "{" else "]", start, self.before)

    def environment(self, name: str, start: int) -> None:
        kind = _text(self.argument()).strip().rstrip("*")
        if kind not in _ENVIRONMENTS:
            refuse("latex-command", command=f"\\begin{{{kind}}}")

    def font(self, name: str, start: int) -> None:
        if self.at() == "*":
            self.i += 1
        content = self.argument()
        word = _text(content).strip()
        if word == "1" and name in _BOLD:
            self.write_word("𝟏", start, self.before)
        else:
            self.place(content, start)
            if word in WORDS.values():
                self.skip_spaces()
                self.gap = self.at() not in ("(", "\\")

    def accent(self, name: str, start: int) -> None:
        word = _text(self.argument()).strip()
        if not _ONE.fullmatch(word):
            refuse("latex-command", command=f"\\{name}{{{word}}}")
        marked = unicodedata.normalize("NFC", word[0] + ACCENTS[name] + word[1:])
        self.write_word(marked, start, self.before)

    def root(self, name: str, start: int) -> None:
        self.skip_spaces()
        if self.at() == "[":
            refuse("sign-not-read", sign="\\sqrt[n]", instead="x^{1/n}")
        content = self.argument()
        if not content:
            refuse("breaks-off")
        self.write_word("sqrt", start, content[0][1])
        self.gap = False
        self.write("(", content[0][1], content[0][1])
        self.out += content
        self.write(")", content[-1][2], self.before)

    def fraction(self, name: str, start: int) -> None:
        above, below = self.argument(), self.argument()
        top, bottom = _text(above).replace(" ", ""), _text(below).replace(" ", "")
        if not top or not bottom:
            refuse("breaks-off")
        signs = {top[0], bottom[0]} & {"∂", "d"}
        if len(signs) == 1 and top[0] == bottom[0] and len(bottom) > 1:
            if top[1:] and ("∂" in signs or top[1:] in LOSSES):
                self.write_word(f"∂{top[1:]}/∂{bottom[1:]}", start, self.before)
                return
            if not top[1:]:
                refuse("sign-not-read", sign=f"\\frac{{{top}}}{{{bottom}}} L", instead="dL/dW")
        self.gap = False
        self.write("(", start, start)
        self.write("(", start, above[0][1])
        self.out += above
        self.write(")", above[-1][2], above[-1][2])
        self.write("/", above[-1][2], above[-1][2])
        self.write("(", above[-1][2], below[0][1])
        self.out += below
        self.write(")", below[-1][2], self.before)
        self.write(")", self.before, self.before)

    def summation(self, name: str, start: int) -> None:
        self.skip_silent()
        self.sum(start)

    def skip_silent(self) -> None:
        """Skip \\limits after \\sum."""
        self.skip_spaces()
        for word in ("\\limits", "\\nolimits"):
            if _text(self.letters[self.i : self.i + len(word)]) == word:
                self.i += len(word)


LOSSES = {"L", "J", "C", "E", "l", "loss", "Loss", "cost", "Cost"}
_LOWERED = "ᵢⱼₖₗₘₙₚᵣₛₜᵤᵥ₌₀₁"
_READ: dict[str, Callable[[_Latex, int], None]] = {
    "{": _Latex.braces,
    "$": _Latex.silent,
    "&": _Latex.silent,
    "%": _Latex.percent,
    "~": _Latex.tilde,
    "[": _Latex.opening,
    "]": _Latex.closing,
}
_READ_COMMAND: dict[str, Callable[[_Latex, str, int], None]] = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), _Latex.fraction),
    **dict.fromkeys(("begin", "end"), _Latex.environment),
    **dict.fromkeys(("{", "}"), _Latex.curly),
    "sqrt": _Latex.root,
    "sum": _Latex.summation,
    "\\": _Latex.line_break,
}


def _is_of_name(c: str) -> bool:
    return c.isalnum() and c not in "ᵀ⁻⁰¹²³⁴⁵⁶⁷⁸⁹"


def _ends_operand(c: str) -> bool:
    """Return True if an operand may end with this sign, so that [ after it is an index."""
    return c != "" and (c.isalnum() or c in ")]")


def _indices_of(text: str) -> str | None:
    """Return the indices that a subscript lists, with commas; None if it is a name's."""
    text = re.sub(r"\s", "", text)
    if not _INDICES.fullmatch(text):
        return None
    return text if "," in text else ",".join(text)


def _suffix(base: str, text: str, known: Container[str]) -> str | None:
    """Return a subscript that belongs to a name: W_{1} is W1, Z_{out} is Z_out if that is known."""
    if not base:
        return None
    if text.isdigit():
        return text
    return next((s for s in (f"_{text}", text) if base + s in known), None)
