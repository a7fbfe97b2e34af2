"""verify: hold gradients that somebody derived against the engine's, and say what is wrong.

    verify(forward, claims, inputs=…)

`forward` is the author's own function, which computes the loss in tensor operations or in plain
NumPy. A claim is what somebody says ∂L/∂(name) is: an expression in NumPy's spelling or in the
slides', the function `backprop` of a program, or an array. The truth is `grad` on what `forward`
records, on random problems of many sizes (`problems`). A wrong claim gets a diagnosis: the smallest
change of its own text that makes it right (`repair`), and a counterexample of the smallest sizes
and roundest numbers.

An expression is worked out by an interpreter that allows nothing else (`expressions`). A function
is a program, and it is *run* as one: do not verify functions of people you do not trust outside
`python -m tinygrad_edu verify`, which gives each file a process of its own.
"""

from __future__ import annotations

import ast
import html
import inspect
import itertools
import json
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np

from .engine import Array, Box
from .expressions import ClaimError, Evaluator, Node, parse, read_python, render
from .problems import (
    TARGETS,
    CannotCheck,
    Problem,
    choose_sizes,
    make_problem,
    read_specs,
    size_letters,
    solve,
)  # fmt: skip
from .repair import Derivation, Repair, Truth, factor_between, find_repair
from .wording import LANGUAGES, describe_edit, say

__all__ = ["Report", "Verdict", "assert_right", "verify"]

GENERAL = 12  # problems whose sizes all differ
TRIES = 60_000  # changes tried in one verification, to find what makes wrong claims right
LEAST_TRIES = 3_000  # … for each claim at least
_SOFTMAX = {"softmax", "log_softmax", "logsumexp", "cross_entropy", "log"}


@dataclass
class Counterexample:
    """The smallest sizes and roundest numbers on which a claim fails.

    Example:
        >>> f = lambda w: (w * w).sum()
        >>> report = verify(f, {"w": "w"}, inputs={"w": "n"})
        >>> example = report["w"].counterexample
        >>> example.sizes, example.claimed.tolist(), example.true.tolist()
        ({'n': 1}, [2.0], [4.0])
    """

    sizes: dict[str, int]
    inputs: dict[str, Any]
    claimed: Any
    true: Array


@dataclass
class Verdict:
    """What was found out about one claim.

    name            what it is the gradient of
    status          "right"; "wrong"; "special": right for some sizes only; "error": it cannot be
                    worked out
    text            the claim, as it was written
    conditions      where it is right ("special"), or where it is not although right elsewhere
    kinds, reason   what is wrong: of what kind, and in a sentence
    before, after   the student's own text, and the same with the change that makes it right
    counterexample  None if the claim is right or cannot be worked out

    Example:
        >>> verdict = verify(lambda w: (w * w).sum(), {"w": "w"}, inputs={"w": "n"})["w"]
        >>> verdict.status, verdict.kinds, verdict.after
        ('wrong', ('number-missing',), '2 * w')
    """

    name: str
    status: str
    text: str
    conditions: list[str] = field(default_factory=list)
    kinds: tuple[str, ...] = ()
    reason: str = ""
    before: str = ""
    after: str = ""
    line: int | None = None
    counterexample: Counterexample | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether the claim is right for all sizes."""
        return self.status == "right"


class Report:
    """The verdicts of all claims, from the loss inwards.

    `print(report)` gives them as text, with colour on a terminal; `report[name]` gives one;
    `table()`, `json()`, `markdown()` other forms.

    Example:
        >>> report = verify(lambda w: (w * w).sum(), {"w": "2 * w"}, inputs={"w": "n"})
        >>> report.right
        True
        >>> print(report.table())
        claim  verdict  text
        w      right    2 * w
    """

    def __init__(self, verdicts: Sequence[Verdict], notes: Sequence[str], lang: str):
        self.verdicts, self.notes, self.lang = list(verdicts), list(notes), lang

    @property
    def right(self) -> bool:
        """Whether every claim is right."""
        return all(verdict.right for verdict in self.verdicts)

    @property
    def first_wrong(self) -> Verdict | None:
        """The wrong claim that is nearest to the loss."""
        return next((verdict for verdict in self.verdicts if not verdict.right), None)

    def __getitem__(self, name: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        names = ", ".join(verdict.name for verdict in self.verdicts)
        raise KeyError(f"no claim about {name!r}; there are claims about {names}")

    def __str__(self) -> str:
        return self.text(colour=_is_terminal(sys.stdout))

    def __repr__(self) -> str:
        return f"<Report: {self._summary()}>"

    def text(self, colour: bool = False) -> str:
        """The report for people."""
        lines = [self._summary()]
        for v in self.verdicts:
            mark = "✓" if v.right else "✗"
            head = f"{mark} ∂L/∂{v.name}  {say(v.status, self.lang)}"
            lines.append(_paint(head, "32" if v.right else "31", colour))
            lines += [f"    {line}" for line in self._details(v, colour)]
        lines += self.notes
        return "\n".join(lines)

    def _details(self, v: Verdict, colour: bool = False) -> list[str]:
        lines = []
        if v.reason:
            lines.append(v.reason)
        if v.after:
            place = f" ({say('line', self.lang, line=v.line)})" if v.line else ""
            words = [say("change", self.lang), say("to", self.lang)]
            width = max(map(len, words))
            lines.append(f"{words[0]:<{width}}  {_paint(v.before, '31', colour)}{place}")
            lines.append(f"{words[1]:<{width}}  {_paint(v.after, '32', colour)}")
        lines += v.remarks
        if v.counterexample is not None:
            lines += self._example(v.counterexample)
        return lines

    def _example(self, example: Counterexample) -> list[str]:
        sizes = ", ".join(f"{k} = {n}" for k, n in example.sizes.items())
        lines = [f"{say('counterexample', self.lang)}{': ' if sizes else ''}{sizes}"]
        lines += [f"  {name} = {_numbers(x)}" for name, x in example.inputs.items()]
        words = [say("claimed", self.lang), say("true", self.lang)]
        lines.append(f"  {words[0]}: {_numbers(example.claimed)}")
        lines.append(f"  {words[1]}: {_numbers(example.true)}")
        return lines

    def _summary(self) -> str:
        n, wrong = len(self.verdicts), sum(not v.right for v in self.verdicts)
        if not wrong:
            return say("all-right", self.lang, n=n)
        return say("some-wrong", self.lang, n=n, wrong=wrong)

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, verdict and text of each claim; a wrong one with what makes it right."""
        return [
            (v.name, say(v.status, self.lang), f"{v.before} → {v.after}" if v.after else v.text)
            for v in self.verdicts
        ]

    def table(self) -> str:
        """One line a claim."""
        rows = [("claim", "verdict", "text"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in dictionaries and lists."""
        return {
            "right": self.right,
            "claims": [
                {
                    "name": v.name, "status": v.status, "text": v.text,
                    "conditions": v.conditions, "kinds": list(v.kinds), "reason": v.reason,
                    "before": v.before, "after": v.after, "line": v.line, "remarks": v.remarks,
                    "counterexample": None if (c := v.counterexample) is None else {
                        "sizes": c.sizes,
                        "inputs": {name: _plain(x) for name, x in c.inputs.items()},
                        "claimed": _plain(c.claimed), "true": _plain(c.true),
                    },
                }
                for v in self.verdicts
            ],
            "notes": self.notes,
        }  # fmt: skip

    def json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def markdown(self) -> str:
        """A table in Markdown."""
        rows = [
            tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in r) for r in self.rows()
        ]
        lines = ["| ∂L/∂ | | |", "|---|---|---|"]
        return "\n".join(lines + [f"| {a} | {b} | `{c}` |" for a, b, c in rows])

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        rows = []
        for v in self.verdicts:
            colour = "#1a7f37" if v.right else "#cf222e"
            cells = [f"∂L/∂{v.name}", say(v.status, self.lang), v.text]
            row = "".join(
                f'<td style="text-align:left;color:{colour}">{html.escape(c)}</td>' for c in cells
            )
            details = html.escape("\n".join(self._details(v)))
            more = f'<tr><td colspan="3"><pre>{details}</pre></td></tr>' if details else ""
            rows.append(f"<tr>{row}</tr>{more}")
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(self._summary())}</p><table>{''.join(rows)}</table>{notes}"

    def raise_if_wrong(self) -> None:
        """Do nothing if all is right.

        Raises:  AssertionError with the report
        """
        if not self.right:
            raise AssertionError(self.text())


def assert_right(forward: Callable[..., Any], claims: Any, **settings: Any) -> Report:
    """`verify` for a test: an AssertionError with the report if a claim is wrong.

    Raises:  AssertionError
    Example:
        >>> assert_right(lambda w: (w * w).sum(), {"w": "2 * w"}, inputs={"w": "n"}).right
        True
    """
    report = verify(forward, claims, **settings)
    report.raise_if_wrong()
    return report


def verify(
    forward: Callable[..., Any],
    claims: Any,
    *,
    inputs: Mapping[str, Any],
    wrt: Sequence[str] | None = None,
    given: Mapping[str, str] | None = None,
    lang: str = "en",
    repair: bool = True,
    seed: int = 0,
) -> Report:
    """Hold claims about ∂L/∂(name) against the gradients of what `forward` computes.

    forward   computes the loss from named arrays, in tensor operations or in plain NumPy
    claims    {name: claim}, a claim being an expression (text), an array (for example inputs) or a
              function; or one function such as the chapter's `backprop`, whose arguments are known
              names (`self` gives all of them) and which returns a dictionary or a tuple
    inputs    for each argument of `forward` an example array, a number, or its sizes as letters
              with, if need be, what its entries are: "m n", "m k onehot", "m 1 binary",
              "m k labels"
    wrt       the names that the values of a returned tuple belong to, in order
    given     more names for claims to use, as expressions: {"err": "A2 - Y"}
    lang      "en" or "ko"

    A name in a claim is an argument of `forward`, a local variable of it, a letter of a size, or m,
    the number of rows. Claims may be about any of the first two (`Z2`, `A1`).

    Raises:  CannotCheck, which is a ValueError, if there is nothing to hold claims against
    Source:  the verdict on what `forward` computes is `grad`'s
    Example:
        >>> def forward(X, Y, W):
        ...     E = X @ W - Y
        ...     return (E * E).sum() / 2
        >>> sizes = {"X": "m n", "Y": "m k", "W": "n k"}
        >>> print(verify(forward, {"W": "X @ E", "E": "E"}, inputs=sizes).table())
        claim  verdict  text
        E      right    E
        W      WRONG    X @ E → X.T @ E
    """
    if lang not in LANGUAGES:
        raise ValueError(f"lang must be one of {', '.join(LANGUAGES)}, received {lang!r}")
    return _Verification(forward, claims, inputs, wrt, given or {}, lang, repair, seed).report()


# --- claims ---------------------------------------------------------------------------------------


@dataclass
class _Claim:
    name: str  # as the student calls it
    target: str  # the name whose gradient it is
    text: str
    derivation: Derivation | None = None
    values: Callable[[Problem], Any] | None = None  # of a function or an array
    refusal: str | None = None
    on_example: bool = False  # an array: for the example inputs only
    starts: int | None = None  # the line in its file that a function begins in

    def value(self, problem: Problem) -> Any:
        if self.refusal:
            raise ClaimError(self.refusal)
        if self.values is not None:
            return self.values(problem)
        assert self.derivation is not None
        value = problem.evaluator.quickly(self.derivation.tree())
        if not isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
            raise ClaimError(f"it is a {type(value).__name__}, not an array")
        return value


class _Returned:
    """What a function returned on each problem, run once for all claims that it makes."""

    def __init__(
        self, function: Callable[..., Any], wrt: Sequence[str] | None, read: _Source | None
    ):
        self.function, self.wrt, self.read = function, wrt, read
        self.cache: dict[int, tuple[Problem, Any]] = {}

    def on(self, problem: Problem) -> dict[str, Any]:
        held = self.cache.get(id(problem))
        if held is None:
            try:
                found: Any = self.run(problem)
            except Exception as error:
                found = ClaimError(
                    f"{self.function.__name__} fails: {type(error).__name__}: {error}"
                )
            held = self.cache[id(problem)] = (problem, found)
        if isinstance(held[1], ClaimError):
            raise held[1]
        found = held[1]
        assert isinstance(found, dict)
        return found

    def run(self, problem: Problem) -> dict[str, Any]:
        names = {k: x.copy() if isinstance(x, np.ndarray) else x for k, x in problem.names.items()}
        parameters = inspect.signature(self.function).parameters
        holder = SimpleNamespace(**names)
        values = {"self": holder, **names}
        lacking = [n for n, p in parameters.items() if n not in values and p.default is p.empty]
        if lacking:
            raise ClaimError(
                f"{self.function.__name__} takes {', '.join(lacking)}, which forward knows nothing "
                "of; compute it in forward, or say what it is with given={'err': 'A2 - Y'}"
            )
        result = self.function(**{n: values[n] for n in parameters if n in values})
        if isinstance(result, Mapping):
            return {_plain_name(str(k), problem): _number(x) for k, x in result.items()}
        values_ = list(result) if isinstance(result, (tuple, list)) else [result]
        order = self.wrt or (self.read.returned if self.read else None)
        if order is None or len(order) != len(values_):
            raise ClaimError(
                f"{self.function.__name__} returns {len(values_)} values whose names are not "
                "known; return a dictionary, or say wrt=['W1', 'b1', …]"
            )
        return {_plain_name(n, problem): _number(x) for n, x in zip(order, values_, strict=True)}


def _number(x: Any) -> Any:
    return x.value if isinstance(x, Box) else x


def _plain_name(name: str, problem: Problem) -> str:
    """`W1` for w1_grad, dW1, grad_W1, ∂L/∂W1 …"""
    known = {k.lower(): k for k in reversed(list(problem.gradients))}
    known.update({k: k for k in problem.gradients})
    rest = name.removeprefix("∂L/∂")
    for form in (
        rest, rest.removesuffix("_grad"), rest.removeprefix("grad_"), rest.removeprefix("d_"),
        rest.removeprefix("d"), rest.removesuffix("_gradient"), rest.removesuffix("grad"),
        rest.removeprefix("dL_d"), rest.removeprefix("dL"), rest.removeprefix("g"),
    ):  # fmt: skip
        if form in known:
            return known[form]
        if form.lower() in known:
            return known[form.lower()]
    return rest


@dataclass
class _Source:
    """A function read as lines `name = expression`, as far as it is no more than that."""

    returned: list[str] | None
    lines: tuple[tuple[str, Node], ...] | None
    results: dict[str, Node]
    first_line: int
    text: str


def _read_function(function: Callable[..., Any]) -> _Source | None:
    try:
        source, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return None
    text = textwrap.dedent("".join(source))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if not tree.body or not isinstance(tree.body[0], ast.FunctionDef):
        return None
    body = tree.body[0].body
    returned, results = _read_return(body[-1], text)
    lines: tuple[tuple[str, Node], ...] | None
    try:
        lines = tuple(line for s in body[:-1] for line in _read_statement(s, text))
    except ClaimError:
        lines = None
    return _Source(returned, lines, results, first, text)


def _read_return(statement: ast.stmt, text: str) -> tuple[list[str] | None, dict[str, Node]]:
    if not isinstance(statement, ast.Return) or statement.value is None:
        return None, {}
    value = statement.value
    pairs: list[tuple[str, ast.expr]] = []
    if isinstance(value, ast.Dict):
        for key, x in zip(value.keys, value.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return None, {}
            pairs.append((key.value, x))
    else:
        for i, x in enumerate(value.elts if isinstance(value, ast.Tuple) else [value]):
            named = (
                x.id if isinstance(x, ast.Name) else x.attr if isinstance(x, ast.Attribute) else ""
            )
            pairs.append((named or f"{i}", x))
    results = {}
    for name, x in pairs:
        try:
            results[name] = read_python(x, text)
        except ClaimError:
            continue
    names = [name for name, _ in pairs]
    return (names if all(not name.isdigit() for name in names) else None), results


def _read_statement(statement: ast.stmt, text: str) -> list[tuple[str, Node]]:
    def name_of(x: ast.expr) -> str:
        if isinstance(x, ast.Name):
            return x.id
        if isinstance(x, ast.Attribute) and isinstance(x.value, ast.Name) and x.value.id == "self":
            return x.attr
        raise ClaimError("only names are assigned to")

    match statement:
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return []
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(
            names
        ) == len(values):
            return [(name_of(n), read_python(x, text)) for n, x in zip(names, values, strict=True)]
        case ast.Assign(targets=[target], value=value):
            return [(name_of(target), read_python(value, text))]
        case ast.AnnAssign(target=target, value=value) if value is not None:
            return [(name_of(target), read_python(value, text))]
        case ast.AugAssign(target=target, op=op, value=value):
            signs = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
            if type(op) in signs:
                name, right = name_of(target), read_python(value, text)
                return [(name, Node("binary", signs[type(op)], (Node("name", name), right)))]
    raise ClaimError("not an assignment")


# --- the verification -----------------------------------------------------------------------------


@dataclass
class _Tried:
    """The problems of one choice for what targets are, and how the claims fare on them."""

    kinds: dict[str, str]
    problems: list[tuple[str, Problem]]
    outcomes: dict[str, list[bool]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def right(self, name: str) -> bool:
        return all(self.outcomes[name])


class _Verification:
    def __init__(
        self,
        forward: Callable[..., Any],
        claims: Any,
        inputs: Mapping[str, Any],
        wrt: Sequence[str] | None,
        given: Mapping[str, str],
        lang: str,
        repair: bool,
        seed: int,
    ):
        self.forward, self.given, self.lang, self.repair = forward, given, lang, repair
        self.seed, self.wrt = seed, wrt
        self.inputs = dict(inputs)
        self.specs = read_specs(inputs)
        self.letters = size_letters(self.specs)
        self.tried = self.choose()[0]
        self.claims = self.read(claims)
        if not self.claims:
            raise CannotCheck("there is no claim to check")

    # the problems

    def choose(self) -> list[_Tried]:
        """Problems for each choice of what targets hold; the first that `forward` takes leads."""
        options: list[list[tuple[str, str]]] = []
        for name, spec in self.specs.items():
            if name in TARGETS and spec.kind is None and spec.axes:
                kinds = ["real", "binary"]
                if len(spec.axes) > 1 and spec.axes[-1] != 1:
                    kinds.insert(1, "onehot")
                options.append([(name, kind) for kind in kinds])
        found, failure = [], None
        for choice in itertools.product(*options):
            try:
                found.append(_Tried(dict(choice), self.problems(dict(choice))))
            except CannotCheck as error:
                failure = failure or error
        if not found:
            assert failure is not None
            raise failure
        self.choices = found
        return found

    def problems(self, kinds: Mapping[str, str]) -> list[tuple[str, Problem]]:
        rng = np.random.default_rng(self.seed)
        found = []
        for what, sizes in choose_sizes(self.letters, GENERAL if self.letters else 4):
            for kind in ({}, {n: "positive" for n in self.specs if n not in kinds}):
                chosen = {n: k for n, k in kind.items() if self.specs[n].kind is None} | dict(kinds)
                problem = make_problem(self.forward, self.specs, sizes, chosen, rng)
                if self.finite(problem):
                    found.append((what, self.complete(problem)))
                    break
        if sum(not what for what, _ in found) < 3:
            raise CannotCheck("the loss or its gradients are not finite on random inputs")
        return found

    @staticmethod
    def finite(problem: Problem) -> bool:
        return bool(
            np.isfinite(problem.loss)
            and all(np.isfinite(g).all() for g in problem.gradients.values())
        )

    def complete(self, problem: Problem) -> Problem:
        """The problem with the names that were given as expressions."""
        for name, text in self.given.items():
            problem.names[name] = problem.evaluator(parse(text, problem.names, strip_self=True))
            problem.evaluator = Evaluator(problem.names)
        return problem

    # the claims

    def read(self, claims: Any) -> list[_Claim]:
        problem = self.tried.problems[0][1]
        found: list[_Claim] = []
        if callable(claims):
            return self.read_backprop(claims, problem)
        if not isinstance(claims, Mapping):
            raise TypeError("claims are a dictionary {name: claim} or a function")
        for name, claim in claims.items():
            target = _plain_name(str(name), problem)
            if isinstance(claim, str):
                found.append(self.read_text(target, claim, problem))
            elif callable(claim):
                found.append(self.read_backprop(claim, problem, target)[0])
            else:
                array = np.asarray(_number(claim))
                found.append(
                    _Claim(
                        target,
                        target,
                        f"array {array.shape}",
                        on_example=True,
                        values=partial(_always, array),
                    )
                )
        for claim in found:
            if claim.target not in problem.gradients:
                known = ", ".join(problem.gradients)
                raise CannotCheck(
                    f"there is a claim about {claim.name!r}, which the loss does not depend on or "
                    f"forward does not have; there are {known}"
                )
        rank = {name: i for i, name in enumerate(problem.order)}
        return sorted(found, key=lambda claim: rank[claim.target])

    def read_text(self, target: str, text: str, problem: Problem) -> _Claim:
        claim = _Claim(target, target, text.strip())
        try:
            claim.derivation = Derivation((("", parse(text, problem.names, strip_self=True)),))
        except ClaimError as error:
            claim.refusal = str(error)
        return claim

    def read_backprop(
        self, function: Callable[..., Any], problem: Problem, only: str | None = None
    ) -> list[_Claim]:
        read = _read_function(function)
        wrt = [only] if only else self.wrt
        returned = _Returned(function, wrt, read)
        try:
            targets = list(returned.on(problem))
        except ClaimError as error:
            raise CannotCheck(str(error)) from None
        unknown = [name for name in targets if name not in problem.gradients]
        if unknown and len(unknown) < len(targets):
            targets = [name for name in targets if name not in unknown]
        elif unknown:
            raise CannotCheck(
                f"{function.__name__} returns {', '.join(unknown)}, which are no names of forward; "
                f"there are {', '.join(problem.gradients)}; say wrt=['W1', 'b1', …]"
            )
        rank = {name: i for i, name in enumerate(problem.order)}
        claims = []
        for target in sorted(targets, key=lambda name: rank[name]):

            def values(problem: Problem, target: str = target) -> Any:
                found = returned.on(problem)
                if target not in found:
                    raise ClaimError(say("missing", self.lang))
                return found[target]

            claim = _Claim(target, target, f"{function.__name__}()", values=values)
            if read is not None and read.lines is not None:
                names = list(read.results)
                for i, name in enumerate(names):
                    by_order = self.wrt[i] if self.wrt and i < len(self.wrt) else name
                    if _plain_name(only or by_order, problem) == target:
                        claim.derivation = Derivation((*read.lines, ("", read.results[name])))
                        claim.starts = read.first_line
                        claim.text = _own_text(claim.derivation)
            claims.append(claim)
        return claims

    # the verdicts

    def report(self) -> Report:
        with np.errstate(all="ignore"):
            for tried in self.choices:
                for claim in self.claims:
                    self.try_on(claim, tried)
                if all(tried.right(c.target) for c in self.claims):
                    break
        done = [t for t in self.choices if t.outcomes]
        # What the targets hold is taken to be what makes most claims right; else, for a loss with
        # a softmax, rows that add up to 1; else anything.
        classes = bool(_SOFTMAX & done[0].problems[0][1].operations)
        self.tried = max(
            done,
            key=lambda t: (
                sum(t.right(c.target) for c in self.claims),
                classes and "onehot" in t.kinds.values(),
            ),
        )
        verdicts: list[Verdict] = []
        self.found: list[tuple[Verdict, Repair]] = []
        self.tries = TRIES
        for claim in self.claims:
            verdicts.append(self.judge(claim))
        return Report(verdicts, self.notes(verdicts), self.lang)

    def example(self) -> Problem | None:
        """The example inputs themselves, if arrays were given."""
        if any(isinstance(x, str) for x in self.inputs.values()):
            return None
        inputs = {k: _number(x) for k, x in self.inputs.items()}
        inputs = {k: np.asarray(x) if isinstance(x, list) else x for k, x in inputs.items()}
        inputs = {
            k: x.astype(float) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
            for k, x in inputs.items()
        }
        return self.complete(solve(self.forward, inputs))

    def try_on(self, claim: _Claim, tried: _Tried) -> None:
        outcomes = []
        problems = tried.problems
        if claim.on_example:
            example = self.example()
            if example is None:
                tried.outcomes[claim.target] = [False]
                tried.errors[claim.target] = (
                    "an array can only be held against example inputs: give arrays for all inputs"
                )
                return
            problems = [("", example)]
        for _, problem in problems:
            try:
                value = claim.value(problem)
                outcomes.append(Truth(problem.gradients[claim.target]).agrees(value))
            except ClaimError as error:
                tried.errors.setdefault(claim.target, str(error))
                outcomes.append(False)
            except RecursionError:
                tried.errors.setdefault(claim.target, "it is nested too deep")
                outcomes.append(False)
        tried.outcomes[claim.target] = outcomes

    def judge(self, claim: _Claim) -> Verdict:
        outcomes = self.tried.outcomes[claim.target]
        if all(outcomes):
            return Verdict(claim.name, "right", claim.text)
        if claim.on_example:
            return self.judge_array(claim)
        kinds = [what for what, _ in self.tried.problems]
        general = [ok for ok, what in zip(outcomes, kinds, strict=True) if not what]
        special: dict[str, list[bool]] = {}
        for ok, what in zip(outcomes, kinds, strict=True):
            if what:
                special.setdefault(what, []).append(ok)
        verdict = Verdict(claim.name, "wrong", claim.text)
        error = self.tried.errors.get(claim.target)
        if all(general):
            verdict.conditions = [what for what, oks in special.items() if not all(oks)]
            where = say("or", self.lang).join(verdict.conditions)
            verdict.status = "special"
            verdict.remarks.append(say("except", self.lang, conditions=where))
        else:
            verdict.conditions = [what for what, oks in special.items() if all(oks)]
            if verdict.conditions:
                verdict.status = "special"
                verdict.remarks += self.only_for(verdict.conditions)
            elif error and not any(outcomes):
                verdict.status = "error"
        self.explain(claim, verdict, error)
        if verdict.status != "error" or claim.derivation is not None:
            verdict.counterexample = self.counterexample(claim)
        return verdict

    def only_for(self, conditions: list[str]) -> list[str]:
        remarks = [say("only-for", self.lang, conditions=say("or", self.lang).join(conditions))]
        outputs = self.output_letters()
        for condition in conditions:
            letter, _, one = condition.partition(" = ")
            if one == "1" and letter in outputs:
                remarks.append(say("one-output", self.lang, condition=condition))
        return remarks

    def output_letters(self) -> set[str]:
        """The letters that count outputs: the columns of the targets."""
        return {
            spec.axes[-1]
            for name, spec in self.specs.items()
            if (name in TARGETS or spec.kind in ("onehot", "labels"))
            and len(spec.axes) > 1
            and isinstance(spec.axes[-1], str)
        }

    def explain(self, claim: _Claim, verdict: Verdict, error: str | None) -> None:
        """What is wrong: the change that makes it right, or else where it begins to differ."""
        if claim.refusal:
            verdict.status, verdict.reason = "error", say("cannot", self.lang, reason=claim.refusal)
            return
        derivation = claim.derivation
        if derivation is not None and self.repair:
            found = self.repaired(claim, derivation)
            if found is not None:
                self.tell(claim, verdict, found)
                return
        if error:
            verdict.reason = say("cannot", self.lang, reason=error)
            return
        self.differ(claim, verdict)

    def general(self) -> list[Problem]:
        problems = [p for what, p in self.tried.problems if not what]
        special = [p for what, p in self.tried.problems if what]
        return problems + special

    def repaired(self, claim: _Claim, derivation: Derivation) -> Repair | None:
        problems = self.general()
        pairs = [(p.evaluator, Truth(p.gradients[claim.target])) for p in problems]
        for _, before in self.found:  # the same change of the same line may do it here too
            changed = derivation
            for _edit, i in zip(before.edits, before.lines, strict=True):
                if i >= len(derivation.lines) - 1 or i not in derivation.relevant():
                    break
                changed = changed.with_line(i, before.derivation.lines[i][1])
            else:
                if self.right_everywhere(changed, pairs):
                    return Repair(before.edits, before.lines, changed, 0)
        repair, tries = find_repair(
            derivation, pairs, problems[0].names, max(LEAST_TRIES, self.tries)
        )
        self.tries -= tries
        return repair

    @staticmethod
    def right_everywhere(changed: Derivation, pairs: list[tuple[Evaluator, Truth]]) -> bool:
        tree = changed.tree()
        try:
            return all(truth.agrees(evaluator.quickly(tree)) for evaluator, truth in pairs)
        except ClaimError:
            return False

    def tell(self, claim: _Claim, verdict: Verdict, found: Repair) -> None:
        assert claim.derivation is not None
        slides = _is_slides(claim.text) and claim.starts is None
        verdict.kinds = found.kinds
        reasons = [describe_edit(edit, self.lang, slides) for edit in found.edits]
        verdict.reason = say("and", self.lang).join(dict.fromkeys(reasons))
        lines = sorted(set(found.lines))
        before, after = claim.derivation.lines, found.derivation.lines
        show = [_line_text(before[i], slides) for i in lines]
        verdict.before = "; ".join(show)
        verdict.after = "; ".join(_line_text(after[i], slides) for i in lines)
        if claim.starts is not None:
            node = claim.derivation.lines[lines[0]][1]
            while node.source is None and node.parts:
                node = node.parts[-1]
            if node.source is not None:
                verdict.line = claim.starts + node.source.count("\n", 0, node.span[0])
        if "axis-missing" in found.kinds and (outputs := sorted(self.output_letters())):
            verdict.remarks.insert(0, say("also-classes", self.lang, columns=outputs[0]))
        for other, repair in self.found:
            if repair.edits == found.edits and repair.lines == found.lines and claim.starts:
                verdict.remarks.append(say("same", self.lang, other=other.name))
                break
        self.found.append((verdict, found))

    def judge_array(self, claim: _Claim) -> Verdict:
        verdict = Verdict(claim.name, "wrong", claim.text)
        if error := self.tried.errors.get(claim.target):
            verdict.status, verdict.reason = "error", say("cannot", self.lang, reason=error)
            return verdict
        example = self.example()
        assert example is not None
        self.compare(claim.value(example), example, claim, verdict)
        return verdict

    def differ(self, claim: _Claim, verdict: Verdict) -> None:
        for problem in self.general():
            try:
                value = claim.value(problem)
            except ClaimError:
                continue
            if not Truth(problem.gradients[claim.target]).agrees(value):
                self.compare(value, problem, claim, verdict)
                return

    def compare(self, value: Any, problem: Problem, claim: _Claim, verdict: Verdict) -> None:
        """In what way a value differs from the truth."""
        true = problem.gradients[claim.target]
        try:
            x = np.asarray(value, dtype=float)
        except (ValueError, TypeError):
            verdict.reason = say("cannot", self.lang, reason=f"a {type(value).__name__}")
            return
        if x.shape != true.shape:
            if x.ndim == 2 and x.T.shape == true.shape and Truth(true).agrees(x.T):
                verdict.kinds, verdict.reason = ("transposed",), say("transposed", self.lang)
            else:
                verdict.kinds = ("shape",)
                verdict.reason = say("shape", self.lang, got=x.shape, expected=true.shape)
            return
        if x.ndim == 2 and x.T.shape == true.shape and Truth(true).agrees(x.T):
            verdict.kinds, verdict.reason = ("transposed",), say("transposed", self.lang)
            return
        c = factor_between(x, true)
        if c is not None:
            m = problem.names.get("m")
            word = f"{c:.6g}"
            if m and m > 1 and not isinstance(m, np.ndarray):
                word = "m" if abs(c - m) < 1e-8 else "1/m" if abs(c * m - 1) < 1e-8 else word
            verdict.kinds = ("sign",) if abs(c + 1) < 1e-8 else ("factor",)
            what = "negative" if abs(c + 1) < 1e-8 else "factor"
            verdict.reason = say(what, self.lang, c=word)
            return
        verdict.kinds = ("differs",)
        wrong = ~(np.abs(x - true) <= Truth(true).tolerance)
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        verdict.reason = say(
            "entry", self.lang, place=list(place), got=f"{x[place]:.6g}",
            expected=f"{true[place]:.6g}",
        )  # fmt: skip

    def counterexample(self, claim: _Claim) -> Counterexample | None:
        """Sizes in the order of their sum, a few draws of small whole numbers for each."""
        n = len(self.letters)
        most = 3 if n <= 4 else 2
        grid = sorted(
            itertools.product(range(1, most + 1), repeat=min(n, 8)), key=lambda s: (sum(s), s)
        )
        for sizes_ in grid[:150]:
            sizes = dict(zip(self.letters, sizes_, strict=False))
            sizes.update(dict.fromkeys(self.letters[8:], 1))
            for attempt in range(3):
                try:
                    problem = self.complete(
                        make_problem(
                            self.forward,
                            self.specs,
                            sizes,
                            self.tried.kinds,
                            np.random.default_rng(attempt),
                            whole=True,
                        )
                    )
                    if not self.finite(problem):
                        continue
                    with np.errstate(all="ignore"):
                        value = claim.value(problem)
                except (CannotCheck, ClaimError):
                    continue
                true = problem.gradients[claim.target]
                if not Truth(true).agrees(value):
                    return Counterexample(sizes, problem.inputs, value, true)
        return None

    def notes(self, verdicts: list[Verdict]) -> list[str]:
        notes = []
        for name, kind in self.tried.kinds.items():
            if kind in ("onehot", "binary"):
                fact = say(kind, self.lang, name=name)
                notes.append(say("given", self.lang, fact=fact))
        wrong = [v for v in verdicts if not v.right]
        if wrong and len(verdicts) > 1:
            notes.append(say("first", self.lang, name=wrong[0].name))
        sizes = ", ".join(f"{k}={n}" for k, n in self.tried.problems[0][1].sizes.items())
        notes.append(
            say("checked", self.lang, problems=len(self.tried.problems), sizes=sizes or "–")
        )
        return notes


def _always(value: Any, problem: Problem) -> Any:
    return value


def _own_text(derivation: Derivation) -> str:
    """The line of a function that a claim is computed in."""
    name, tree = derivation.lines[-1]
    if tree.kind == "name":
        for other, line in reversed(derivation.lines[:-1]):
            if other == tree.value:
                return _line_text((other, line), False)
    return _line_text((name, tree), False)


def _line_text(line: tuple[str, Node], slides: bool) -> str:
    name, tree = line
    text = " ".join(render(tree, slides).split())
    if tree.kind == "binary" and tree.source is None and tree.parts[0] == Node("name", name):
        right = " ".join(render(tree.parts[1], slides).split())
        return f"{name} {tree.value}= {right}"
    return f"{name} = {text}" if name else text


def _is_slides(text: str) -> bool:
    return any(c in text for c in "ᵀ⊙−·×²σ") or "[" in text[:1]


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _numbers(x: Any) -> str:
    if isinstance(x, (np.ndarray, list, tuple)):
        array = np.asarray(x)
        array = array.round(12) + 0.0 if array.dtype.kind == "f" else array  # no −0, no 1e-17
        return np.array2string(
            array, separator=", ", precision=4, suppress_small=True, threshold=60
        ).replace("\n", "\n" + " " * 10)
    return f"{round(float(x), 12):.6g}" if isinstance(x, (float, np.floating)) else str(x)


def _plain(x: Any) -> Any:
    """As JSON knows it."""
    if isinstance(x, (np.ndarray, np.generic)):
        return _plain(x.tolist())
    if isinstance(x, (list, tuple)):
        return [_plain(y) for y in x]
    if isinstance(x, float) and not np.isfinite(x):
        return str(x)
    return x
