"""Reading what somebody claims: expressions, lines of text, functions, arrays.

A line of text is `∂L/∂W1 = XᵀE1` or `E1 = (A2 − Y)W2ᵀ`: a claim, or a name that claims use. One
claim may also use another, as `∂L/∂Z2`. What `explain` has found is read from its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .derivations import Derivation, Function, Program, line_text, number, plain_name
from .expressions import SLIDES, Node
from .functions import ClaimError
from .grammar import parse
from .problems import CannotCheck, Problem
from .rounding import Disturbed, disturbed_names
from .running import Running
from .truth import Truth

__all__ = ["Claim", "Sheet", "is_slides"]


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

    def truth(self, problem: Problem) -> Truth:
        """Return what it should be worth."""
        slides = self.function is None and is_slides(self.text)
        spread = partial(problem.spread, self.name)
        return Truth(problem.gradients[self.name], slides, spread, lambda: problem.scale)

    def agrees(self, problem: Problem) -> bool:
        """Return True if it is right on a problem, but for the rounding of its own terms.

        Raises:  ClaimError if it cannot be worked out
        """
        truth, value = self.truth(problem), self.value(problem)
        return truth.agrees(value) or (
            not self.on_example and truth.agrees_with_terms(value, self.disturbed(problem))
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
        """What it is worth.

        Raises:  ClaimError if that cannot be worked out
        """
        if self.refusal:
            raise self.refusal
        if self.values is not None:
            return self.values(problem)
        assert self.derivation is not None
        value = self.derivation.value(problem.evaluator)
        if not isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
            raise ClaimError("not-array", kind=type(value).__name__)
        return value


class Sheet:
    """What somebody claims, in whatever form, read with the names of a problem.

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
            return self.read_sheet(_lines(claims), slides=True)
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
        texts = [(str(k), x) for k, x in claims.items() if isinstance(x, str)]
        return found + self.read_sheet(texts)

    def read_sheet(
        self, lines: Sequence[tuple[str, str]], slides: bool | None = None
    ) -> list[Claim]:
        """Claims, and names of the author's own that they use: E1 = …"""
        problem, functions = self.first, self.first.operations
        if slides:  # a line about a value of forward's own has to be what forward has
            for name, text in lines:
                if name in problem.names and not self.is_worth(name, text):
                    raise CannotCheck("not-forward", name=name)
            lines = [line for line in lines if line[0] not in problem.names]
        targets = [plain_name(name, problem) for name, _ in lines]
        own = [name for (name, _), t in zip(lines, targets, strict=True)
               if t not in problem.gradients and name.isidentifier()]  # fmt: skip
        names = {*problem.names, *own, *self.given, "I"}

        def read(text: str, slides: bool | None) -> Node | ClaimError:
            try:
                return parse(text, names, functions, slides=slides)
            except ClaimError as error:
                return error

        trees = [read(text, slides) for _, text in lines]
        self.lines |= {name: read(text, None) for name, text in self.given.items()}
        for (name, _), target, tree in zip(lines, targets, trees, strict=True):
            self.lines[name if name in own else f"∂L/∂{target}"] = tree
        used = {n for tree in self.lines.values() if isinstance(tree, Node) for n in tree.names()}
        found = []
        for (name, text), target, tree in zip(lines, targets, trees, strict=True):
            if name in own and (name in used or slides):
                continue
            claim = Claim(target, text.strip())
            try:
                claim.derivation = self.derivation(tree, target)
                if slides is None and _may_be_slides(tree, text):
                    claim.other = self.derivation(read(text, True), target)
            except ClaimError as error:
                claim.refusal = error
            found.append(claim)
        return found

    def is_worth(self, name: str, text: str) -> bool:
        """Whether a text is worth what forward's own name is."""
        names, right = self.first.names, Truth(np.asarray(self.first.names[name]))
        try:
            tree = parse(text, names, self.first.operations, slides=True)
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
                    lines = tuple(function.expressions())
                    claim.derivation = Program(function, target, self.first, lines)
            claims.append(claim)
        return claims

    def is_same(self, claim: Claim) -> bool:
        """Whether the lines that were read are worth what the function returns."""
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


_INDEXED = re.compile(r"\s*\[(\w\d*(,\w\d*)*)?\] ")
_PYTHON = re.compile(r"@|\bnp\.|\.T\b|\baxis|\bfor\b|\]")
_LEFT = re.compile(r"\s*((?:∂L/∂)?[^\W\d]\w*)\s*=(?!=)\s*")


def _lines(text: str) -> list[tuple[str, str]]:
    """The lines `∂L/∂W = formula    shapes` of a text, each name with its formulas."""
    found = []
    for line in text.splitlines():
        rest, names = re.split(r"\s{4,}(?=\(|→)", line)[0].strip(), []
        while match := _LEFT.match(rest):
            names.append(match[1])
            rest = rest[match.end() :]
        if not rest:
            continue
        if not names:
            raise CannotCheck("no-line", line=line.strip()[:60])
        pieces, depth = [""], 0
        for piece in re.split(r"([(\[\])]| = )", rest):
            depth += (piece in ("(", "[")) - (piece in (")", "]"))
            if piece == " = " and not depth:
                pieces.append("")
            else:
                pieces[-1] += piece
        found += [(name, formula) for name in names for formula in pieces]
    return found


def _may_be_slides(tree: Node | ClaimError, text: str) -> bool:
    """Whether a bare `sum` may be the slides' sum of all entries: not where a text is Python's."""
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


def is_slides(text: str) -> bool:
    """Whether a text is in the slides' spelling.

    Example:
        >>> is_slides("XᵀE"), is_slides("X.T @ E")
        (True, False)
    """
    return bool(SLIDES.search(text) or "rowsum" in text or _INDEXED.match(text))
