"""Read what somebody claims: expressions, lines of text, functions, arrays.

A line of text is `∂L/∂W1 = XᵀE1` or `E1 = (A2 − Y)W2ᵀ`: a claim, or a name that claims use. One
claim may also use another, as `∂L/∂Z2`. What `explain` has found is read from its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .derivations import Derivation, Function, Program, line_text, number, plain_name
from .evaluation import Evaluator
from .expressions import SLIDES, Node
from .functions import ClaimError, refuse
from .grammar import MAX_LENGTH, parse
from .names import Names
from .problems import CannotCheck, Problem
from .rounding import Disturbed, disturbed_names
from .running import Running
from .spelling import Written, rewrite
from .truth import Truth

__all__ = ["Claim", "Sheet", "is_slides"]


MAX_TOTAL_STEPS = 200_000  # operations of one claim on all problems …
MAX_TOTAL_WORK = 50_000_000  # … and entries
# Refusals that do not depend on the problem: a claim that meets one of them is not tried again.
_LIMITS = {"steps", "work", "total-work", "large-result", "large-array", "large-list", "too-deep"}


@dataclass(eq=False)
class Claim:
    """One claim: whose gradient it is, the text, and what it is worth on a problem.

    Example:
        >>> Claim("W", "X.T @ E").function is None
        True
    """

    name: str  # what it is the gradient of
    text: str
    derivation: Derivation | Program | None = None
    other: Derivation | None = None  # the same text, with `sum` as on the slides
    values: Callable[[Problem], Any] | None = None  # of a function or an array
    function: Function | None = None
    refusal: ClaimError | None = None
    on_example: bool = False  # an array: for the example inputs only
    names: Names | None = None  # with which an expression was read
    steps: float = 0.0  # operations of an expression on all problems …
    work: float = 0.0  # … and entries
    too_much: ClaimError | None = None  # it takes more work than is allowed

    def truth(self, problem: Problem) -> Truth:
        """Return what it should be worth."""
        if self.refusal:
            raise self.refusal
        slides = self.function is None and is_slides(self.text)
        spread = partial(problem.spread, self.name)
        truth = Truth(problem.gradients[self.name], slides, spread, lambda: problem.scale)
        if (unguarded := problem.unguarded.get(self.name)) is not None:
            truth.unguarded = Truth(unguarded, slides, spread, lambda: problem.scale)
        return truth

    def agrees(self, problem: Problem) -> bool:
        """Return True if it is right on a problem, but for the rounding of its own terms.

        Raises:  ClaimError if it cannot be worked out
        """
        truth, value = self.truth(problem), self.value(problem)
        if truth.agrees(value):
            return True
        return not self.on_example and any(
            each.agrees_with_terms(value, self.disturbed(problem))
            for each in (truth, truth.unguarded)
            if each is not None
        )

    def disturbed(self, problem: Problem) -> Iterator[Any]:
        """Yield what it is worth where every array that it uses is changed a little."""
        rng = np.random.default_rng(0)
        while True:
            try:
                if isinstance(self.derivation, Derivation) and self.values is None:
                    yield Disturbed(problem.evaluator, rng)(self.derivation.tree())
                elif self.function is not None:
                    names = disturbed_names(problem.names, rng)
                    found = self.function.outputs(self.function.call(names), problem)
                    yield found.get(self.name)
                else:
                    return
            except Exception:  # of the author's own function
                return

    def value(self, problem: Problem) -> Any:
        """Return what it is worth.

        Raises:  ClaimError if that cannot be worked out
        """
        if self.refusal:
            raise self.refusal
        if self.values is not None:
            return self.values(problem)
        assert self.derivation is not None
        if self.too_much:
            raise self.too_much
        value = self.counted(problem.evaluator)
        if not isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
            raise ClaimError("not-array", kind=type(value).__name__)
        return value

    def counted(self, values: Evaluator) -> Any:
        """The value of an expression; what takes too much work is refused once, for all problems.

        Raises:  ClaimError
        """
        assert self.derivation is not None
        before = values.all_steps, values.all_work
        try:
            return self.derivation.value(values)
        except ClaimError as error:
            if error.what in _LIMITS:
                self.too_much = error
            raise
        finally:
            self.steps += values.all_steps - before[0]
            self.work += values.all_work - before[1]
            if self.steps > MAX_TOTAL_STEPS or self.work > MAX_TOTAL_WORK:
                self.too_much = ClaimError("total-work", most=f"{MAX_TOTAL_STEPS:,}")


class Sheet:
    """Claims in whatever form, read with the names of a problem.

    Example:
        >>> from tinygrad_edu.verifying.problems import solve
        >>> sheet = Sheet(solve(lambda w: (w * w).sum(), {"w": np.ones(2)}))
        >>> [claim.text for claim in sheet.read({"w": "2 * w"})]
        ['2 * w']
    """

    def __init__(
        self, problem: Problem, given: Mapping[str, str] | None = None,
        wrt: Sequence[str] | None = None,
    ):  # fmt: skip
        self.first, self.given, self.wrt = problem, given or {}, wrt
        self.names = self.all_names()
        self.lines: dict[str, Node | ClaimError] = {}  # by name; claims as ∂L/∂name

    def read(self, claims: Any) -> list[Claim]:
        """The claims in a dictionary, a function, lines of text, or an Explanation."""
        if callable(claims):
            return self.read_function(claims)
        if hasattr(claims, "gradients") and hasattr(claims, "errors"):  # an Explanation
            own = [f for f in claims.forward if f.name not in {"L", *self.first.names}]
            sizes = [f"{k} = {x}" for k, x in claims.sizes.items() if k not in self.first.names]
            claims = "\n".join(map(str, [*sizes, *own, *claims.errors, *claims.gradients.values()]))
        if isinstance(claims, str):
            return self.read_sheet(self.lines_of(claims), slides=True)
        if not isinstance(claims, Mapping):
            raise TypeError("claims are a dictionary {name: claim}, a function, or lines of text")
        found = []
        for name, claim in claims.items():
            if callable(claim):
                found += self.read_function(claim, plain_name(str(name), self.first))
            elif not isinstance(claim, str):
                array = np.asarray(number(claim))
                found.append(Claim(plain_name(str(name), self.first), f"array {array.shape}",
                                    on_example=True, values=partial(_always, array)))  # fmt: skip
        texts = [self.line(str(k), x) for k, x in claims.items() if isinstance(x, str)]
        return found + self.read_sheet(texts)

    def lines_of(self, text: str) -> list[Line]:
        """The lines `∂L/∂W = formula    shapes` of a text, each name with its formulas."""
        found: list[Line] = []
        before: list[Line] = []
        for line in _split(text):
            if not line or line.startswith("#"):
                continue
            try:
                written = rewrite(line, known=self.names) if len(line) <= MAX_LENGTH else None
            except ClaimError:
                written = None  # said again where the formula is read
            written = written or Written(line, (0, len(line)), None)
            lefts, start = _lefts(written.text)
            if not lefts and written.text.lstrip()[:1] == "=" and before:
                lefts, start = before, written.text.index("=") + 1
            if lefts:
                before = lefts
                for left in lefts:
                    found += [replace(left, text=t) for t in _pieces(written, start)]
            else:
                found.append(self.without_formula(line))
        if found and all(line.refusal for line in found):
            raise CannotCheck("no-line", line=found[0].text[:60])
        return found

    def without_formula(self, text: str) -> Line:
        """A line that is not `name = formula`, perhaps half typed."""
        name = self.names.target(text[:100]) or text[:40]
        return Line(name, text[:MAX_LENGTH], refusal=ClaimError("no-formula"))

    def line(self, name: str, text: str) -> Line:
        """A claim of a dictionary: its name may have indices, as dW[j,k]."""
        try:
            lefts, _ = _lefts(f"{rewrite(name, known=self.names).text} =")
        except ClaimError:
            lefts = []
        return replace(lefts[0], text=text) if len(lefts) == 1 else Line(name, text)

    def read_sheet(self, lines: Sequence[Line], slides: bool | None = None) -> list[Claim]:
        """Claims, and names of the author's own that they use: E1 = …"""
        problem, refused = self.first, list[Claim]()
        if slides:
            lines, refused = self.without_forward(lines)
        targets = [self.target(line.name) for line in lines]
        own = [line.name for line, target in zip(lines, targets, strict=True)
               if target not in problem.gradients and line.name.isidentifier()]  # fmt: skip
        self.names = self.all_names(own)
        self.lines |= {name: self.tree(Line(name, text), None) for name, text in self.given.items()}
        trees = [line.refusal or self.tree(line, slides) for line in lines]
        for line, target, tree in zip(lines, targets, trees, strict=True):
            self.lines[line.name if line.name in own else f"∂L/∂{target}"] = tree
        used = {n for tree in self.lines.values() if isinstance(tree, Node) for n in tree.names()}
        found = []
        for line, target, tree in zip(lines, targets, trees, strict=True):
            if line.name in own and (line.name in used or slides):
                continue
            claim = Claim(target, line.text.strip(), names=self.names)
            try:
                claim.derivation = self.derivation(tree, target)
                if slides is None and _may_be_slides(tree, line.text):
                    claim.other = self.derivation(self.other_reading(line), target)
            except ClaimError as error:
                claim.refusal = error
            found.append(claim)
        return found + refused

    def without_forward(self, lines: Sequence[Line]) -> tuple[list[Line], list[Claim]]:
        """The lines that are not about a value of forward's own, and those that are and are wrong.

        Raises:  CannotCheck if no other lines are left
        """
        refused, rest = list[Claim](), list[Line]()
        for line in lines:
            name = self.names.resolve(line.name)
            if name not in self.first.names:
                rest.append(line)
            elif not self.is_worth(str(name), line.text):
                refusal = ClaimError("not-forward", name=name)
                refused.append(Claim(str(name), line.text, refusal=refusal))
        if refused and not rest:
            raise CannotCheck("not-forward", name=refused[0].name)
        return rest, refused

    def target(self, name: str) -> str:
        """The name whose gradient a line is about, or the line's own name."""
        return self.names.target(name) or name.removeprefix("∂L/∂")

    def all_names(self, own: Sequence[str] = ()) -> Names:
        """The names that claims may use, with those of the lines."""
        problem = self.first
        scalars = [name for name, x in problem.names.items() if np.ndim(x) == 0]
        known = {*problem.names, *own, *self.given, "I"}
        names = Names(known, problem.gradients, problem.returned, scalars)
        names.losses -= set(own)
        return names

    def tree(self, line: Line, slides: bool | None) -> Node | ClaimError:
        """A line as it is read, or why it cannot be."""
        try:
            if re.match(r"[∂d∇]\w+/|∇", line.name) and not self.names.target(line.name):
                refuse("not-of-loss", text=line.name)
            return parse(line.text, self.names, self.first.operations, slides=slides,
                         head=line.indices)  # fmt: skip
        except ClaimError as error:
            return error

    def other_reading(self, line: Line) -> Node | ClaimError:
        """The claim with the other meaning of a bare `sum`: of all entries, or Python's."""
        return self.tree(line, not is_slides(line.text))

    def is_worth(self, name: str, text: str) -> bool:
        """Return True if a text is worth what forward's own name is."""
        right = Truth(np.asarray(self.first.names[name]), columns=True)
        try:
            tree = parse(text, self.names, self.first.operations, slides=True)
            return right.agrees(self.first.evaluator(tree))
        except ClaimError:
            return False

    def derivation(self, tree: Node | ClaimError, target: str) -> Derivation:
        """A claim below the lines that it uses; I is the identity as large as its target."""
        lines: dict[str, Node] = {}
        if "I" not in self.first.names and isinstance(tree, Node) and "I" in tree.names():
            lines["I"] = parse(f"np.eye(len({target}))")

        def write(tree: Node | ClaimError, above: tuple[str, ...]) -> Node:
            if isinstance(tree, ClaimError):
                raise tree
            if len(above) > MAX_CHAIN:
                refuse("too-deep")
            for name in sorted(tree.names() & self.lines.keys()):
                if name in above:
                    raise ClaimError("goes-round", names=", ".join(above))
                if name not in lines:
                    lines[name] = write(self.lines[name], (*above, name))
            return tree

        last = write(tree, ())
        return Derivation((*lines.items(), ("", last)))

    def read_function(
        self, claimed: Callable[..., Any] | Running, only: str | None = None
    ) -> list[Claim]:
        """A claim for each value that a function returns."""
        function = Function(claimed, [only] if only else self.wrt)
        try:
            targets = list(function.on(self.first))
        except ClaimError as error:
            order = function.wrt or function.returned
            if not function.misfits or not order:
                raise CannotCheck(error.what, **error.about) from None
            targets = [plain_name(name, self.first) for name in order]
        known = [name for name in targets if name in self.first.gradients]
        if not known:
            raise CannotCheck("function-names", function=function.name, names=", ".join(targets),
                              known=", ".join(self.first.gradients))  # fmt: skip
        claims = []
        for target in known:

            def values(problem: Problem, target: str = target) -> Any:
                return function.value(target, problem)

            claim = Claim(target, f"{function.name}()", values=values, function=function)
            claim.derivation = function.derivation(target, self.first)
            if isinstance(claim.derivation, Derivation):
                claim.text = _own_text(claim.derivation)
                if not function.misfits and not self.is_same(claim):  # as a program it is different
                    lines = tuple(function.expressions(target, self.first))
                    claim.derivation = Program(function, target, self.first, lines)
            claims.append(claim)
        return claims

    def is_same(self, claim: Claim) -> bool:
        """Return True if the lines that were read are worth what the function returns."""
        assert claim.derivation is not None
        try:
            value = np.asarray(claim.value(self.first))
            if value.dtype.kind not in "fiubO":
                return False
            returned = Truth(value.astype(float))
            return returned.agrees(claim.derivation.value(self.first.evaluator))
        except (ClaimError, ValueError, TypeError):
            return False


def _always(value: Any, problem: Problem) -> Any:
    return value


@dataclass(frozen=True)
class Line:
    """A line `name = formula` of a text; `indices`: those of dW[j,k] = …

    Example:
        >>> Line("W", "XᵀE").indices is None
        True
    """

    name: str
    text: str
    indices: tuple[str, ...] | None = None
    refusal: ClaimError | None = None


_INDEXED = re.compile(r"\s*\[(\w\d*(,\w\d*)*)?\] ")
_PYTHON = re.compile(r"@|\bnp\.|\.T\b|\baxis|\bfor\b|\]")
_MARK = r"(?:[^\Wᵀ]|[\u0300-\u036f])"
_LEFT = re.compile(
    rf"""\s*(?P<name>
        [∂d]\s*{_MARK}+\s*/\s*[∂d]\s*{_MARK}+ | ∇\s*_?{_MARK}+(?:\s+{_MARK}+)?
      | [^\W\dᵀ]{_MARK}*(?:\.grad)?
    )
    (?:\[(?P<indices>\w\d*(?:,\s*\w\d*)*)\])?
    \s*(?::=|=(?!=)|←)\s*""",
    re.VERBOSE,
)
_BREAK = re.compile(r"(\\begin\{\w+\*?\}|\\end\{\w+\*?\}|\n|\\\\(?:\[[^\]\n]*\])?|\\newline\b)")
_SHAPES = re.compile(r"(?<! ) {4}\s*+(?:\(|→)")  # of a line of `explain`
_END = re.compile(r"(?:[\s$&,.;]|\\[)\]]|\\(?:nonumber|notag|q?quad)\b)+\Z")
_BEGIN = re.compile(r"(?:[\s$&•]|\\[(\[])+")
_LONGEST_END = 80
MAX_TEXT = 200_000  # letters of a text of lines
MAX_LINES = 2_000
MAX_CHAIN = 150  # lines that refer to the next
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def _split(text: str) -> Iterator[str]:
    """The lines of a text, without what LaTeX puts around them."""
    if len(text) > MAX_TEXT:
        raise CannotCheck("long", letters=len(text), most=MAX_TEXT)
    pieces, depth, rows = [""], 0, "\\\\" in text
    for i, piece in enumerate(_BREAK.split(text)):
        if i % 2 == 0:
            pieces[-1] += piece
            continue
        depth += piece.startswith("\\begin") - piece.startswith("\\end")
        if piece == "\n" and depth > 0 and rows:  # in LaTeX no more than a space
            pieces[-1] += " "
        else:
            pieces.append("")
    if len(pieces) > MAX_LINES:
        raise CannotCheck("long", letters=len(text), most=MAX_TEXT)
    for line in pieces:
        if shapes := _SHAPES.search(line):
            line = line[: shapes.start()]
        if begin := _BEGIN.match(line):
            line = line[begin.end() :]
        cut = max(0, len(line) - _LONGEST_END)
        if end := _END.search(line, cut):
            line = line[: end.start()]
        yield line.strip()


def _lefts(text: str) -> tuple[list[Line], int]:
    """The names on the left of a line, and where its formula begins."""
    found, position = [], 0
    while match := _LEFT.match(text, position):
        indices = match["indices"]
        letters = tuple(re.split(r",\s*", indices)) if indices else None
        found.append(Line(match["name"].strip().translate(_LOWERED), "", letters))
        position = match.end()
    return found, position


def _pieces(written: Written, start: int) -> Iterator[str]:
    """The formulas of a = b = c from a place on, in the author's spelling."""
    text, depth, first = written.text, 0, start
    for i in range(start, len(text)):
        depth += (text[i] in "([") - (text[i] in ")]")
        if depth <= 0 and text[i - 1 : i + 2] == " = ":
            yield written.source[slice(*written.span(first, i))]
            first = i + 1
    yield written.source[slice(*written.span(first, len(text)))]


def _may_be_slides(tree: Node | ClaimError, text: str) -> bool:
    """Return True if a bare `sum` may be that of all entries: not where a text is Python's."""
    return (
        isinstance(tree, Node)
        and not _PYTHON.search(text)
        and any(node.kind == "call" and node.value[0] == "sum" for _, node in tree.walk())
    )


def _own_text(derivation: Derivation) -> str:
    """The line of a function that a claim is computed in."""
    name, tree = derivation.lines[-1]
    for other in reversed(derivation.lines[:-1]):
        if tree.kind == "name" and other[0] == tree.value:
            return line_text(other)
    return line_text((name, tree))


@lru_cache(maxsize=256)
def is_slides(text: str) -> bool:
    """Return True if a text is in the slides' spelling.

    Example:
        >>> is_slides("XᵀE"), is_slides("X.T @ E")
        (True, False)
    """
    try:
        plain = rewrite(text).text if len(text) <= MAX_LENGTH else text
    except ClaimError:
        plain = text
    found = SLIDES.search(text) or SLIDES.search(plain)
    return bool(found or "rowsum" in text or _INDEXED.match(text))
