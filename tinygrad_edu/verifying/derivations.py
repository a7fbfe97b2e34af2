"""A claim as lines that can be read, changed one at a time, and worked out again.

A `Derivation` is what somebody wrote down: lines `name = expression`, the last of which is the
claim. A function that is no more than such lines reads as one. Any other function, with loops and
branches, is a `Program`: its expressions are read all the same, and when one of them is changed the
function is run again, with a bound on the number of turns that its loops may take.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..engine import Box
from .evaluation import Evaluator
from .expressions import Node, render
from .functions import ClaimError
from .grammar import parse
from .names import Names
from .problems import Problem
from .running import Changed, Here, Running, stored_by
from .wording import error_text

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
    _first: tuple[Node, ...] = field(default=(), compare=False, repr=False)  # lines as expanded

    def expanded(self) -> tuple[Node, ...]:
        """Each line with the lines above it put in the place of their names. Lines that two
        derivations share from the top on are expanded once: their trees are the same objects."""
        if len(self._first) < len(self.lines):
            found = list(self._first)
            known = {name: tree for (name, _), tree in zip(self.lines, found, strict=False)}
            for name, tree in self.lines[len(found) :]:
                found.append(substitute(tree, known))
                known[name] = found[-1]
            object.__setattr__(self, "_first", tuple(found))
        return self._first

    def tree(self) -> Node:
        """The claim with each line put in the place of its name."""
        return self.expanded()[-1]

    def before(self, i: int) -> dict[str, Node]:
        """What the names of the lines above line i stand for."""
        return {
            name: tree for (name, _), tree in zip(self.lines[:i], self.expanded(), strict=False)
        }

    def with_line(self, i: int, tree: Node) -> Derivation:
        """The derivation with another tree in line i."""
        lines = (*self.lines[:i], (self.lines[i][0], tree), *self.lines[i + 1 :])
        return Derivation(lines, self.expanded()[:i])

    def relevant(self) -> list[int]:
        """The lines that the last one depends on, itself first."""
        if len(self.lines) == 1:
            return [0]
        wanted, found = set(self.lines[-1][1].names()), [len(self.lines) - 1]
        for i in range(len(self.lines) - 2, -1, -1):
            name, tree = self.lines[i]
            if name in wanted:
                found.append(i)
                wanted = (wanted - {name}) | tree.names()
        return found

    def value(self, values: Evaluator) -> Any:
        """What the claim is worth."""
        trees = self.expanded()
        return values.quickly(*(trees[i] for i in reversed(self.relevant())))


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
    sign = "" if name.endswith(("=", ":")) else " ="
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
        self.cache: dict[int, tuple[Problem, dict[str, Any], ClaimError | None]] = {}
        self.misfits = False  # whether it has failed because shapes did not fit
        pairs = _returned(self.tree.body[-1]) if self.tree else []
        self.stores = not pairs  # its gradients, in self
        pairs = pairs or (stored_by(self.tree) if self.tree else [])
        self.results = [value for _, value in pairs]  # the expressions that are returned
        self.returned = [name for name, _ in pairs]

    def on(self, problem: Problem) -> dict[str, Any]:
        """Return what it says the gradients are, by name.

        Raises:  ClaimError if it fails
        """
        found, failure = self._result(problem)
        if failure is not None:
            raise failure
        return found

    def value(self, target: str, problem: Problem) -> Any:
        """Return one gradient, also where the function fails after it has computed it.

        Raises:  ClaimError if it fails before, or returns nothing for this name
        """
        found, failure = self._result(problem)
        if target in found:
            return found[target]
        raise failure or ClaimError("missing", function=self.name)

    def _result(self, problem: Problem) -> tuple[dict[str, Any], ClaimError | None]:
        """Return the gradients that were computed, and how the function failed, if it did."""
        held = self.cache.get(id(problem))
        if held is None:
            found: dict[str, Any] = {}
            failure: ClaimError | None = None
            try:
                found = self.outputs(self.call(problem.names), problem)
            except ClaimError as error:
                failure = error
            except Exception as error:
                found, failure = self._half_way(error, problem)
                self.misfits |= bool(found) or isinstance(error, (ValueError, IndexError))
            held = self.cache[id(problem)] = (problem, found, failure)
        return held[1], held[2]

    def _half_way(
        self, error: Exception, problem: Problem
    ) -> tuple[dict[str, Any], ClaimError | None]:
        """Return what was computed before a line failed, and the line with the shapes in it."""
        reason = error_text(error)
        line = self.running.line_of(error)
        if line is None or self.tree is None:
            return {}, ClaimError("function-fails", function=self.name, error=reason)
        local = self.locals_on(problem)
        unfinished = {
            x.id
            for statement in self.tree.body if (statement.end_lineno or 0) >= line
            for x in ast.walk(statement)
            if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
        }  # fmt: skip
        values, found = Evaluator(local), {}
        names = self.wrt if self.wrt and len(self.wrt) == len(self.results) else self.returned
        for name, x in zip(names, self.results, strict=True):
            try:
                tree = self.read(x)
                if tree.names() <= local.keys() - unfinished:
                    found[plain_name(name, problem)] = number(values(tree))
            except ClaimError:
                continue
        return found, self._failure(line, reason, values)

    def _failure(self, line: int, reason: str, values: Evaluator) -> ClaimError:
        """Return the error of a line: the operands that do not fit, else what Python says."""
        text = self.text.splitlines()[line - 1].strip()
        about = {"line": self.first_line + line - 1, "text": text}
        for x in ast.walk(self.tree or ast.Module([], [])):
            inside = isinstance(x, ast.stmt) and x.lineno <= line <= (x.end_lineno or x.lineno)
            if inside and isinstance(value := getattr(x, "value", None), ast.expr):
                try:
                    misfit = misfit_in(self.read(value), values)
                except ClaimError:
                    continue
                if misfit is not None:
                    (left, a), (right, b) = misfit
                    return ClaimError("line-misfits", **about, left=left, left_shape=a,
                                      right=right, right_shape=b)  # fmt: skip
        return ClaimError("line-fails", **about, error=reason)

    def changed(self, changes: Sequence[tuple[Node, Node]], problem: Problem) -> Function | None:
        """Return the function with other expressions in the place of its own; None if an
        expression has no place in its text that could be written over."""
        places = [_text_of_change(old, new) for old, new in changes]
        if self.tree is None or any(place is None for place in places):
            return None
        text = self.text
        for (start, end), piece in sorted(filter(None, places), reverse=True):
            text = text[:start] + piece + text[end:]
        try:
            return Function(Changed(self.running, text), self.wrt)
        except (SyntaxError, ValueError):
            return None

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
        """Return its local variables as it returns or fails."""
        return self.running.locals_on(problem.names)

    @cached_property
    def own(self) -> set[str]:
        """The names that its text uses as variables."""
        tree = self.tree or ast.Module([], [])
        return {x.id for x in ast.walk(tree) if isinstance(x, ast.Name)} | {*self.parameters}

    def spell(self, name: str, problem: Problem) -> Node | None:
        """Return a name of the problem as the function has to write it: `self.a1`, `len(x)`.

        None if the function cannot reach it: it is no parameter and no variable of its own.
        """
        if name in self.own or self.tree is None:
            return Node("name", name)
        if self.parameters[:1] == ["self"] and name in problem.names and name not in problem.sizes:
            return Node("name", name, (), f"self.{name}", (0, len(name) + 5))
        if name == "m" or name in problem.sizes:
            return self._size(problem.names[name], problem)
        return None

    def _size(self, n: int, problem: Problem) -> Node | None:
        """Return a size by a parameter that has an axis as long: len(X), X.shape[1]."""
        for k in self.parameters:
            shape = np.shape(problem.names.get(k, 0))
            if n in shape:
                i = shape.index(n)
                if i == 0:
                    return Node("call", ("len", ()), (Node("name", k),))
                index = (Node("attribute", "shape", (Node("name", k),)), Node("number", i))
                return Node("index", None, index)
        return None

    def derivation(self, target: str, problem: Problem) -> Derivation | Program | None:
        """Return how it computes one of its results, as far as that can be read."""
        if self.tree is None:
            return None
        place = next((i for i, n in enumerate(self.wrt or self.returned)
                      if plain_name(n, problem) == target), None)  # fmt: skip
        try:
            if place is None or place >= len(self.returned) or self.stores:
                raise ClaimError("no-claim")
            last = self.read(self.results[place])
            lines = [line for s in self.tree.body[:-1] for line in self.statement(s)]
            return Derivation((*lines, ("", last)))
        except ClaimError:
            return Program(self, target, problem, tuple(self.expressions(target, problem)))

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

    def expressions(self, target: str, problem: Problem) -> Iterator[tuple[str, Node]]:
        """Yield every expression that a result may depend on, with what it is given to."""
        assert self.tree is not None
        for x in ast.walk(self.tree):
            found: list[tuple[str, ast.expr]] = []
            match x:
                case ast.Assign(targets=[left], value=value):
                    found = [(ast.unparse(left), value)]
                case ast.AugAssign(target=left, op=op, value=value):
                    found = [(f"{ast.unparse(left)} {_SIGNS.get(type(op), '?')}=", value)]
                case ast.Return(value=ast.expr() as value):
                    found = list(self.results_of(value, target, problem))
                case ast.Expr(value=ast.Call(args=[value], func=ast.Attribute(attr="append"))):
                    found = [("append", value)]
                case ast.For(iter=value):
                    found = [("for", value)]
            for name, value in found:
                try:
                    yield name, self.read(value)
                except ClaimError:
                    continue

    def results_of(
        self, value: ast.expr, target: str, problem: Problem
    ) -> Iterator[tuple[str, ast.expr]]:
        """Yield the expression that is returned for a target, of several with the key of its own;
        all that are returned if none can be told."""
        results = _results(value)
        names = [name for name, _ in results]
        if self.wrt and len(self.wrt) == len(names):
            names = list(self.wrt)
        mine = [i for i, name in enumerate(names) if plain_name(name, problem) == target]
        for i in mine or range(len(results)):
            x, label = results[i][1], "return"
            if isinstance(value, ast.Dict) and (key := value.keys[i]) is not None:
                start, end = self.span(key)
                label = f"{self.text[start:end]}:"
            elif value is not x:
                label = ""
            yield label, x


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

    def is_result(self, i: int) -> bool:
        """Return True if a line is the expression that is returned."""
        name = self.lines[i][0]
        return name in ("return", "") or name.endswith(":")

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
            reason = error_text(error)
            raise ClaimError("function-fails", function=self.function.name, error=reason) from None


def misfit_in(node: Node, values: Evaluator) -> tuple[tuple[str, Any], tuple[str, Any]] | None:
    """Return the two operands, each with its shape, of the operation that fails first.

    Example:
        >>> import numpy as np
        >>> misfit_in(parse("A @ B"), Evaluator({"A": np.ones((2, 3)), "B": np.ones((2, 3))}))
        (('A', (2, 3)), ('B', (2, 3)))
    """
    for part in node.parts:
        if (found := misfit_in(part, values)) is not None:
            return found
    if len(node.parts) != 2 or node.kind not in ("binary", "call", "method"):
        return None
    try:
        a, b = (values(part) for part in node.parts)
    except ClaimError:
        return None
    try:
        values(node)
    except ClaimError:
        left, right = (" ".join(render(part).split()) for part in node.parts)
        return (left, np.shape(a)), (right, np.shape(b))
    return None


def _text_of_change(old: Node, new: Node) -> tuple[tuple[int, int], str] | None:
    """Return the place in the text of an expression that is changed, and what to write there."""
    if old.source is None and old.kind == "binary":  # name += right
        if new.kind != "binary" or new.value != old.value or new.parts[0] != old.parts[0]:
            return None
        old, new = old.parts[1], new.parts[1]
    return None if old.source is None else (old.span, render(new))


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
    """Return the plain array of a tensor, of this library or another; anything else as it is.

    An array of another library is what has `__array__`; `detach` and `cpu` are called where it
    refuses (PyTorch's tensors that require a gradient, or lie on a device).

    Example:
        >>> number(2.0)
        2.0
    """
    if isinstance(x, Box):
        return x.value
    if isinstance(x, (np.ndarray, np.generic)) or not hasattr(x, "__array__"):
        return x
    for methods in ((), ("detach",), ("detach", "cpu")):
        with contextlib.suppress(Exception):  # of a class of anybody's
            plain = x
            for method in methods:
                plain = getattr(plain, method)()
            array = np.asarray(plain)
            if array.dtype.kind in "fiub":
                return array
    return x


def plain_name(name: str, problem: Problem) -> str:
    """`W1` for w1_grad, dW1, grad_W1, ∂L/∂W1 …

    Example:
        >>> from tinygrad_edu.verifying.problems import solve
        >>> plain_name("dw", solve(lambda w: (w * w).sum(), {"w": np.ones(2)}))
        'w'
    """
    return _plain_name(name, tuple(problem.gradients), tuple(problem.returned))


@lru_cache(maxsize=256)  # a function's results have the same names on every problem
def _plain_name(name: str, gradients: tuple[str, ...], losses: tuple[str, ...]) -> str:
    return _names(gradients, losses).target(name) or name.removeprefix("∂L/∂")


@lru_cache(maxsize=16)
def _names(gradients: tuple[str, ...], losses: tuple[str, ...]) -> Names:
    return Names(gradients=gradients, losses=losses)
