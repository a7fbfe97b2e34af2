"""A claim as lines that can be read, changed one at a time, and worked out again.

A `Derivation` is what somebody wrote down: lines `name = expression`, the last of which is the
claim. A function that is no more than such lines reads as one. Any other function, with loops and
branches, is a `Program`: its expressions are read all the same, and when one of them is changed the
function is run again, with a bound on the number of turns that its loops may take.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..engine import Box
from .evaluation import Evaluator
from .expressions import Node, render
from .functions import ClaimError
from .grammar import parse
from .problems import Problem
from .running import Here, Running

__all__ = ["Claimed", "Derivation", "Function", "Program", "line_text", "substitute"]

Line = tuple[str, Node]


@dataclass(frozen=True)
class Derivation:
    """A claim as a sequence of lines `name = tree`, the last of which is the claim itself.

    Example:
        >>> lines = (("E", parse("A - Y")), ("b", parse("np.sum(E, axis=0)")))
        >>> sorted(Derivation(lines).tree().names())
        ['A', 'Y']
    """

    lines: tuple[Line, ...]

    def tree(self) -> Node:
        """The claim with each line put in the place of its name."""
        return substitute(self.lines[-1][1], self.before(len(self.lines) - 1))

    def before(self, i: int) -> dict[str, Node]:
        """What the names of the lines above line i stand for."""
        known: dict[str, Node] = {}
        for name, tree in self.lines[:i]:
            known[name] = substitute(tree, known)
        return known

    def with_line(self, i: int, tree: Node) -> Derivation:
        """The derivation with another tree in line i."""
        return Derivation((*self.lines[:i], (self.lines[i][0], tree), *self.lines[i + 1 :]))

    def relevant(self) -> list[int]:
        """The lines that the last one depends on, itself first."""
        wanted, found = set(self.lines[-1][1].names()), [len(self.lines) - 1]
        for i in range(len(self.lines) - 2, -1, -1):
            name, tree = self.lines[i]
            if name in wanted:
                found.append(i)
                wanted = (wanted - {name}) | tree.names()
        return found

    def value(self, values: Evaluator) -> Any:
        """What the claim is worth."""
        return values.quickly(self.tree())


def substitute(node: Node, known: Mapping[str, Node]) -> Node:
    """The tree with trees in the place of names.

    Example:
        >>> substitute(parse("2 * E"), {"E": parse("A - Y")}) == parse("2 * (A - Y)")
        True
    """
    if node.kind == "name":
        return known.get(node.value, node)
    if not known or not node.parts:
        return node
    parts = [substitute(part, known) for part in node.parts]
    if all(a is b for a, b in zip(parts, node.parts, strict=True)):
        return node
    return node.with_parts(parts)


def line_text(line: Line, slides: bool = False) -> str:
    """A line as it was written, on one line.

    Example:
        >>> line_text(("E", parse("A - Y")))
        'E = A - Y'
    """
    name, tree = line
    text = " ".join(render(tree, slides).split())
    if tree.kind == "binary" and tree.source is None and tree.parts[0] == Node("name", name):
        right = " ".join(render(tree.parts[1], slides).split())
        return f"{name} {tree.value}= {right}"
    if name in _AROUND:
        return _AROUND[name].format(text)
    sign = "" if name.endswith("=") else " ="
    return f"{name}{sign} {text}" if name and not name.startswith("∂") else text


_AROUND = {"return": "return {}", "append": "….append({})", "for": "for … in {}:"}


# --- functions ------------------------------------------------------------------------------------


class Function:
    """A function that claims gradients, run once on each problem; and its source, if there is one.

    Example:
        >>> def backprop(X, E): return {"W": X.T @ E}
        >>> Function(backprop).parameters
        ['X', 'E']
    """

    def __init__(
        self, function: Callable[..., Any] | Running, wrt: Sequence[str] | None = None
    ) -> None:
        self.running = function if isinstance(function, Running) else Here(function)
        self.wrt, self.name = wrt, self.running.name
        self.parameters = list(self.running.signature)
        self.first_line, self.text = self.running.first_line, self.running.text
        self.tree = _definition(self.text)
        self.cache: dict[int, tuple[Problem, Any]] = {}
        self.misfits = False  # whether it has failed because shapes did not fit
        pairs = _returned(self.tree.body[-1]) if self.tree else []
        self.results = [value for _, value in pairs]  # the expressions that are returned
        self.returned = [name for name, _ in pairs]

    def on(self, problem: Problem) -> dict[str, Any]:
        """What it says the gradients are."""
        held = self.cache.get(id(problem))
        if held is None:
            try:
                found: Any = self.outputs(self.call(problem.names), problem)
            except ClaimError as error:
                found = error
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                found = ClaimError("function-fails", function=self.name, error=reason)
                self.misfits |= isinstance(error, (ValueError, IndexError))
            held = self.cache[id(problem)] = (problem, found)
        if isinstance(held[1], ClaimError):
            raise held[1]
        found = held[1]
        assert isinstance(found, dict)
        return found

    def call(self, names: Mapping[str, Any]) -> Any:
        """Run it on copies of the values of these names.

        Raises:  ClaimError if it takes more than there is; whatever the function raises
        """
        if lacking := self.running.lacking(names):
            raise ClaimError("function-takes", function=self.name, names=", ".join(lacking))
        return self.running(names)

    def outputs(self, result: Any, problem: Problem) -> dict[str, Any]:
        """What was returned, by the names that it belongs to."""
        if isinstance(result, Mapping):
            return {plain_name(str(k), problem): number(x) for k, x in result.items()}
        if result is None:
            raise ClaimError("returns-none", function=self.name)
        values = list(result) if isinstance(result, (tuple, list)) else [result]
        order = self.wrt or (self.returned if all(map(str.isidentifier, self.returned)) else [])
        if len(order) != len(values):
            raise ClaimError("function-order", function=self.name, n=len(values))
        return {plain_name(n, problem): number(x) for n, x in zip(order, values, strict=True)}

    def locals_on(self, problem: Problem) -> dict[str, Any]:
        """Its local variables as it returns."""
        return self.running.locals_on(problem.names)

    def spell(self, name: str) -> Node:
        """A name of the problem as the function has to write it: `self.a1`."""
        own = {x.id for x in ast.walk(self.tree or ast.Module([], [])) if isinstance(x, ast.Name)}
        if self.parameters[:1] == ["self"] and name not in {*own, *self.parameters}:
            return Node("name", name, (), f"self.{name}", (0, len(name) + 5))
        return Node("name", name)

    def derivation(self, target: str, problem: Problem) -> Derivation | Program | None:
        """How it comes by one of its results, as far as that can be read."""
        if self.tree is None:
            return None
        place = next((i for i, n in enumerate(self.wrt or self.returned)
                      if plain_name(n, problem) == target), None)  # fmt: skip
        try:
            if place is None or place >= len(self.returned):
                raise ClaimError("no-claim")
            last = self.read(self.results[place])
            lines = [line for s in self.tree.body[:-1] for line in self.statement(s)]
            return Derivation((*lines, ("", last)))
        except ClaimError:
            return Program(self, target, problem, tuple(self.expressions()))

    # --- reading

    def span(self, x: ast.AST) -> tuple[int, int]:
        """The place of a part of the source, in letters."""
        n: Any = x
        lines = self.text.splitlines(keepends=True)

        def place(line: int, column: int) -> int:  # Python counts bytes
            before = lines[line - 1].encode()[:column].decode(errors="ignore")
            return sum(map(len, lines[: line - 1])) + len(before)

        return place(n.lineno, n.col_offset), place(n.end_lineno, n.end_col_offset)

    def read(self, x: ast.expr) -> Node:
        """An expression of the source; `self.w1` is `w1`."""
        return parse(self.text, span=self.span(x), slides=False)

    def statement(self, statement: ast.stmt) -> list[Line]:
        """The lines that a statement stands for.

        Raises:  ClaimError if it is more than an assignment
        """
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                return []
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(
                names
            ) == len(values):
                pairs = zip(names, values, strict=True)
                return [(self.assigned(n), self.read(x)) for n, x in pairs]
            case ast.Assign(targets=[target], value=value):
                return [(self.assigned(target), self.read(value))]
            case ast.AnnAssign(target=target, value=value) if value is not None:
                return [(self.assigned(target), self.read(value))]
            case ast.AugAssign(target=target, op=op, value=value) if type(op) in _SIGNS:
                name, right = self.assigned(target), self.read(value)
                return [(name, Node("binary", _SIGNS[type(op)], (Node("name", name), right)))]
        raise ClaimError("unreadable-at", rest=type(statement).__name__)

    def assigned(self, x: ast.expr) -> str:
        """The name that is assigned to."""
        if isinstance(x, ast.Attribute) and isinstance(x.value, ast.Name) and x.value.id == "self":
            return x.attr
        if not isinstance(x, ast.Name):
            raise ClaimError("unreadable-at", rest=ast.unparse(x))
        return x.id

    def expressions(self) -> Iterator[tuple[str, Node]]:
        """Every expression that a value of the function may depend on, with what it is given to."""
        assert self.tree is not None
        for x in ast.walk(self.tree):
            found: list[tuple[str, ast.expr]] = []
            match x:
                case ast.Assign(targets=[target], value=value):
                    found = [(ast.unparse(target), value)]
                case ast.AugAssign(target=target, op=op, value=value):
                    found = [(f"{ast.unparse(target)} {_SIGNS.get(type(op), '?')}=", value)]
                case ast.Return(value=ast.expr() as value):
                    found = [("return", v) for _, v in _results(value)]
                case ast.Expr(value=ast.Call(args=[value], func=ast.Attribute(attr="append"))):
                    found = [("append", value)]
                case ast.For(iter=value):
                    found = [("for", value)]
            for name, value in found:
                try:
                    yield name, self.read(value)
                except ClaimError:
                    continue


@dataclass(frozen=True)
class Program:
    """One result of a function with loops and branches, and its expressions as lines.

    Example:
        >>> Program.__dataclass_params__.frozen
        True
    """

    function: Function
    target: str
    problem: Problem
    lines: tuple[Line, ...]
    changed: tuple[tuple[int, Node], ...] = ()

    def with_line(self, i: int, tree: Node) -> Program:
        """The same function with another expression in the place of one of its own."""
        lines = (*self.lines[:i], (self.lines[i][0], tree), *self.lines[i + 1 :])
        kept = tuple((k, old) for k, old in self.changed if k != i)
        first = next((old for k, old in self.changed if k == i), self.lines[i][1])
        return replace(self, lines=lines, changed=(*kept, (i, first)))

    def relevant(self) -> list[int]:
        """All of its expressions, the last first."""
        return list(range(len(self.lines)))[::-1]

    def before(self, i: int) -> Mapping[str, Node]:
        """Nothing: its names have the values that they have as it returns."""
        return {}

    def value(self, values: Evaluator) -> Any:
        """What it returns for this result.

        Raises:  ClaimError if it fails, or its loops take too many turns
        """
        text = self.function.text
        for i, old in sorted(self.changed, key=lambda pair: -pair[1].span[0]):
            start, end = old.span
            text = text[:start] + render(self.lines[i][1]) + text[end:]
        try:
            result = self.function.running.changed(text, values.names)
            return self.function.outputs(result, self.problem)[self.target]
        except ClaimError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ClaimError("function-fails", function=self.function.name, error=reason) from None


Claimed = Derivation | Program  # what can be repaired
_SIGNS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _definition(text: str) -> ast.FunctionDef | None:
    """Return Python's tree of a function's source, if the text is no more than that."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return body[0] if body and isinstance(body[0], ast.FunctionDef) else None


def _returned(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    if not isinstance(statement, ast.Return) or statement.value is None:
        return []
    return _results(statement.value)


def _results(value: ast.expr) -> list[tuple[str, ast.expr]]:
    """The expressions of what is returned, by the names that they can be told by, or numbers."""
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return [(str(k.value) if isinstance(k, ast.Constant) else "", x) for k, x in pairs]
    items = value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value]
    names = [
        x.id if isinstance(x, ast.Name) else x.attr if isinstance(x, ast.Attribute) else str(i)
        for i, x in enumerate(items)
    ]
    return list(zip(names, items, strict=True))


def number(x: Any) -> Any:
    """The plain array of a tensor.

    Example:
        >>> number(2.0)
        2.0
    """
    return x.value if isinstance(x, Box) else x


def plain_name(name: str, problem: Problem) -> str:
    """`W1` for w1_grad, dW1, grad_W1, ∂L/∂W1 …

    Example:
        >>> from tinygrad_edu.verifying.problems import solve
        >>> plain_name("dw", solve(lambda w: (w * w).sum(), {"w": np.ones(2)}))
        'w'
    """
    known = {k.lower(): k for k in reversed(list(problem.gradients))}
    known.update({k: k for k in problem.gradients})
    rest = name.removeprefix("∂L/∂")
    for form in (
        rest, rest.removesuffix("_grad"), rest.removeprefix("grad_"), rest.removeprefix("d_"),
        rest.removeprefix("d"), rest.removesuffix("_gradient"), rest.removesuffix("grad"),
        rest.removeprefix("dL_d"), rest.removeprefix("dL"), rest.removeprefix("g"),
    ):  # fmt: skip
        if form in known or form.lower() in known:
            return known.get(form) or known[form.lower()]
    return rest
