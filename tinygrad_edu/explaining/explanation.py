"""Explain: the derivation of a gradient, as it would stand on the board.

`explain` runs a loss, reads its recorded graph and that of its gradients, and writes both with the
author's names. Before a formula is shown it is evaluated, as the NumPy code that belongs to it, and
compared with the gradient: what is printed is right, or an error is raised.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .. import engine, nn, ops
from ..engine import Box, NameMissing, history
from ..naming import Names, activation_name, leaves, parameter_names
from .algebra import (
    Axis,
    Call,
    Definitions,
    Index,
    Sum,
    Symbol,
    contracted,
    evaluate,
    of,
    only,
    resized,
    rows_sum_to_one,
    simplify,
)  # fmt: skip
from .matrices import Writer
from .notation import Node, code, latex, latex_name, shape_arithmetic, text, value
from .reading import Reader
from .tracing import Trace, differentiate, helpers, problem

__all__ = ["Explanation", "Formula", "Step", "explain"]

WIDE = 100  # characters that a gradient may have before errors get names, E1, E2 …
DEEP = 8  # named results on the way, from which on they get names at once


class WrongFormula(AssertionError):
    """A formula that is not worth what it should be: a mistake in this library, never printed.

    Example:
        >>> issubclass(WrongFormula, AssertionError)
        True
    """


@dataclass(frozen=True)
class Formula:
    """A line of a derivation: `str()` is the line; `text`, `latex` and `code` are its right side.

    name    what it is a formula of: "W1" for ∂L/∂W1, "Z1" for a forward line
    left    its left side, "∂L/∂W1"
    shapes  how the shapes come about, "(30, 364)·(364, 10) → (30, 10)"
    value   what it is worth on the example inputs, an array

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> def loss(W, X):
        ...     Z = W * X
        ...     return (Z * Z).sum()
        >>> found = tg.explain(loss, W, np.ones(2))
        >>> print(found["W"])
        ∂L/∂W = 2·Z ⊙ X
    """

    name: str
    left: str
    text: str
    latex: str
    code: str
    shapes: str
    value: Any

    def __str__(self) -> str:
        return f"{self.left} = {self.text}"

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {latex_name(self.left)} = {self.latex}$"


@dataclass(frozen=True)
class Step:
    """One link of the chain: the error at a quantity from the error at those that use it.

    formula  ∂L/∂A1 = ∂L/∂Z2·W2ᵀ
    rule     ∂Z2/∂A1: ·W2ᵀ, the factor of the chain rule and what it comes from
    becomes  the same with everything put in, "(A2 − Y)W2ᵀ/m"

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> def loss(W, X):
        ...     Z = W * X
        ...     return (Z * Z).sum()
        >>> found = tg.explain(loss, W, np.ones(2))
        >>> print(found.steps[1])
        ∂L/∂W = ∂L/∂Z ⊙ X = 2·Z ⊙ X
            ∂Z/∂W: ⊙ X
    """

    formula: Formula
    rule: str
    becomes: Formula

    def __str__(self) -> str:
        lines = [str(self.formula)]
        if self.becomes.text != self.formula.text:
            lines[0] += f" = {self.becomes.text}"
        return "\n".join([*lines, *(f"    {line}" for line in self.rule.splitlines())])

    __repr__ = __str__


class Steps(tuple[Step, ...]):
    """The links of a chain, printed one below the other.

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> def loss(W, X):
        ...     Z = W * X
        ...     return (Z * Z).sum()
        >>> found = tg.explain(loss, W, np.ones(2))
        >>> len(found.steps)
        2
    """

    def __str__(self) -> str:
        return "\n".join(f"{k}. {step}" for k, step in enumerate(self, 1))

    __repr__ = __str__

    @property
    def latex(self) -> str:
        """The links as LaTeX, one below the other."""
        return _aligned([step.formula for step in self])

    def _repr_latex_(self) -> str:
        return self.latex


@dataclass
class Explanation:
    """What `explain` found. It prints as text and shows as LaTeX in a notebook.

    forward    the lines that lead to the loss, each a `Formula`
    errors     E1, E2 … of a long network
    gradients  {"W1": ∂L/∂W1, …}
    notes      what would make it shorter, what m is

    `explanation["W1"]` is the Formula of ∂L/∂W1: its `.text`, `.latex`, `.code`, `.shapes` and
    `.value`.

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> def loss(W, X):
        ...     Z = W * X
        ...     return (Z * Z).sum()
        >>> found = tg.explain(loss, W, np.ones(2))
        >>> found.formulas
        {'W': '2·Z ⊙ X'}
    """

    forward: list[Formula]
    gradients: dict[str, Formula]
    errors: list[Formula] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _make_steps: Callable[[], Steps] = field(default=Steps, repr=False)

    def __getitem__(self, name: str) -> Formula:
        for line in (*self.gradients.values(), *self.errors, *self.forward):
            if name in (line.left, line.name):
                return line
        raise NameMissing(f"no gradient or line {name!r}; there are {', '.join(self.gradients)}")

    @cached_property
    def steps(self) -> Steps:
        """The chain of partial derivatives, from the loss to the parameters."""
        return self._make_steps()

    @property
    def formulas(self) -> dict[str, str]:
        """The text of every gradient."""
        return {name: line.text for name, line in self.gradients.items()}

    def __str__(self) -> str:
        blocks = [self.forward, [*self.errors, *self.gradients.values()]]
        lines: list[str] = []
        for block in filter(None, blocks):
            width = min(72, max(len(str(line)) for line in block))
            lines += [f"{line!s:<{width}}    {line.shapes}" for line in block]
            lines.append("")
        return "\n".join([*lines, *self.notes]).rstrip()

    __repr__ = __str__

    @property
    def latex(self) -> str:
        """All lines as LaTeX, one below the other: for a slide; a notebook shows it by itself."""
        return _aligned([*self.forward, *self.errors, *self.gradients.values()])

    def _repr_latex_(self) -> str:
        return self.latex


def _aligned(lines: Sequence[Formula]) -> str:
    rows = [rf"{latex_name(line.left)} &= {line.latex}" for line in lines]
    return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


def explain(
    f: Any, *inputs: Any, wrt: Any = None, facts: str | Sequence[str] = (), **settings: Any
) -> Explanation:
    """The forward lines and the gradients of a loss as formulas, each checked on the inputs.

        explain(function, *example_inputs)       a function that returns the loss
        explain(model, loss_function, X, Y)      loss_function(model(X), Y)
        explain(loss)                            a loss that has been computed

    Names are those of the author's variables. `wrt` are names or tensors (default: all variables
    that require a gradient); `facts` are what may be relied on, such as "rows of Y sum to 1": each
    is checked on the data. A function is also run on a batch of another size, so that m, the number
    of samples, can be told from other numbers; a finished loss has only its numbers.

    Shapes:  the loss is one number; each gradient has the shape of its parameter
    Raises:  ValueError if the loss is no single number, depends on nothing, or a fact does not
             hold; WrongFormula if a formula fails its check (a mistake in this library)
    Source:  the chapter, D1 to D12
    Example:
        >>> import tinygrad_edu as tg
        >>> X, Y = np.ones((5, 3)), np.zeros((5, 2))
        >>> W = tg.Tensor(np.ones((3, 2)), requires_grad=True)
        >>> print(explain(lambda W: tg.square(X @ W - Y).sum() / len(X), W)["W"])
        ∂L/∂W = 2·Xᵀ(XW − Y)/m
    """
    if isinstance(facts, str):
        facts = (facts,)
    if isinstance(f, Box):
        return _finished(f, inputs, wrt, facts)
    if isinstance(f, nn.Module):
        f, data = _of_model(f, inputs)
        inputs = tuple(data)
    if not callable(f):
        raise TypeError(f"explain: expected a function, a model or a loss, received {f!r:.60}")
    posed = problem(f, inputs, wrt, settings)
    try:
        real = posed.trace()
    except (TypeError, ValueError, AttributeError):
        posed.arguments, posed.variables = dict(posed.arguments), {}
        real = posed.trace(numbers=False)
    for length, prime in posed.batches():
        try:
            other = posed.trace(rows=(length, prime))
        except Exception:  # whatever the function does not like about another length
            continue
        if list(other.names.values()) != list(real.names.values()):
            continue
        try:
            return _derive(other, real, {prime: "m"}, facts, length)
        except WrongFormula:  # right for the one size and not for the other: m is not in it
            _derive(other, other, {}, facts, None)
    return _derive(real, real, {}, facts, None)


def _of_model(model: nn.Module, inputs: Sequence[Any]) -> tuple[Callable[..., Any], Sequence[Any]]:
    if len(inputs) < 2 or not callable(inputs[0]):
        raise TypeError(
            "explain(model, loss_function, X, Y): after the model come the loss function and the "
            f"data, received {', '.join(map(engine.describe, inputs)) or 'nothing'}"
        )
    loss_function, *data = inputs
    labels = len(data) == 2 and np.ndim(getattr(data[1], "value", data[1])) == 1
    names = (
        ["X", "y" if labels else "Y"]
        if len(data) < 3
        else ["X", *(f"Y{k}" for k in range(1, len(data)))]
    )

    def of_data(X: Any, *targets: Any) -> Any:
        return loss_function(model(X), *targets)

    kind = inspect.Parameter.POSITIONAL_ONLY
    parameters = [inspect.Parameter(name, kind) for name, _ in zip(names, data, strict=False)]
    of_data.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return of_data, data


def _finished(loss: Box, inputs: Sequence[Any], wrt: Any, facts: Sequence[str]) -> Explanation:
    """A loss that has been computed: names from the caller's variables, numbers as they are."""
    if inputs:
        wrt = inputs[0] if len(inputs) == 1 else list(inputs)
    if loss.value.size != 1:
        raise ValueError(f"explain: a loss is one number, received {engine.describe(loss)}")
    if loss.record is None or loss.record[1] is engine.RELEASED:
        raise RuntimeError(
            "explain: nothing is recorded of this loss (computed from no variable, or released by "
            "backward()); compute it again, or give the function that computes it"
        )
    names = Names()
    frame = sys._getframe(2)
    variables = {**frame.f_globals, **frame.f_locals}
    nodes = history(loss)
    names.helpers = helpers(nodes)
    involved = {id(x) for n in nodes for x in (*n.record[2], n)}
    used = {id(x): x for n in nodes for x in n.record[2] if isinstance(x, Box)}
    asked = wrt if isinstance(wrt, (list, tuple)) else [wrt]
    for x in [*used.values(), *(x for x in asked if isinstance(x, Box))]:
        if x.name:
            names.give(x, x.name)
    models = [v for v in variables.values() if isinstance(v, nn.Module)]
    from_models = [pair for m in models for pair in parameter_names(m)]
    for parameter, name in from_models:
        if id(parameter) in involved:
            names.give(parameter, name)
    weights = {id(p): n[1:] for p, n in from_models if n.startswith("W")}
    for node in nodes:  # what a layer has computed
        if node.record[1] is ops.linear.op and (weight := id(node.record[2][1])) in weights:
            names.give(node, f"Z{weights[weight]}")
    for name, v in variables.items():
        for own, x in leaves(name, v):
            if id(x) in involved and x is not loss and not own.startswith("_"):
                names.give(x, own)
            elif isinstance(x, np.ndarray) and x.ndim:
                names.constants.append((x, own))
    if wrt is None:
        targets = [
            x for x in used.values() if x.record is not None and x.record[1] is engine.VARIABLE
        ]
    else:
        items = list(wrt) if isinstance(wrt, (list, tuple)) else [wrt]
        by_name = {name: x for x, name in names.of.items()}
        unknown = [x for x in items if not isinstance(x, Box) and x not in by_name]
        if unknown:
            raise ValueError(f"wrt: no variable is called {unknown[0]}; there are {[*by_name]}")
        targets = [x if isinstance(x, Box) else by_name[x] for x in items]
    trace = differentiate(loss, targets, names)
    data = [x.value for x in names.of if x.record is None] + [
        raw for n in nodes for arg, raw in zip(n.record[2], n.record[3], strict=True)
        if id(arg) in names.arrays
    ]  # fmt: skip
    rows = {len(a) for a in data if np.ndim(a) == 2}
    others = {n for a in data for n in a.shape[1:]} | {n for t in targets for n in t.value.shape}
    (m,) = rows if len(rows) == 1 and not rows & others and "m" not in names.of.values() else [None]
    return _derive(trace, trace, {}, facts, m)


# --- writing down what a trace holds --------------------------------------------------------------


@dataclass
class _Author:
    """Writes the formulas of one trace and checks each of them, there and on the real inputs."""

    trace: Trace
    real: Trace
    sizes: dict[int, str]
    ones: set[str]  # names of arrays whose rows sum to 1
    m: int | None
    names: dict[Box, str] = field(default_factory=dict)
    real_names: dict[Box, str] = field(default_factory=dict)
    known: Definitions | None = None
    invented: list[Formula] | None = None  # A2 = softmax(Z2), once the author's lines are done

    def __post_init__(self) -> None:
        self.names = self.names or self.trace.names
        self.real_names = self.real_names or self.real.names
        m = self.m if self.real is self.trace else None
        self.reader = Reader(self.names, self.trace.arrays, self.trace.constants, m)
        self.real_reader = self.reader
        if self.real is not self.trace:
            self.real_reader = Reader(self.real_names, self.real.arrays, self.real.constants)
        self.done: set[str] = set()
        self.known = self.known or Definitions(self._invent)
        nodes = [n for t in (self.trace, self.real) for n in history(t.loss)]
        exact = all(
            np.asarray(r).dtype != np.float32 for n in nodes for r in (n.value, *n.record[3])
        )
        self.tolerance = 1e-9 if exact else 1e-4

    def with_names(self, more: dict[Box, str], real: dict[Box, str]) -> _Author:
        """The same with names for more tensors."""
        made = _Author(
            self.trace, self.real, self.sizes, self.ones, self.m,
            {**more, **self.names}, {**real, **self.real_names}, self.known, self.invented,
        )  # fmt: skip
        for old, new in ((self.reader, made.reader), (self.real_reader, made.real_reader)):
            new.values, new.functions = old.values, old.functions
        return made

    def formula(self, x: Box, real: Box, name: str, left: str, own: str | None = None) -> Formula:
        """The formula of a tensor, checked against its value."""
        index, s = self.reader.formula(x, own)
        if self.real is not self.trace:
            self.real_reader.formula(real, own)
        return self._formula(index, s, x, real, name, left)

    def _invent(self, call: Call) -> str | None:
        """A name for softmax(Z2) or sigmoid(Z2) that only the gradients have."""
        if self.invented is None or call.name not in ("softmax", "sigmoid"):
            return None
        (s, _), *_ = call.args
        index, z = call.index, only(s)
        if not isinstance(z, Symbol) or z.name[0] not in "Zz":
            return None
        taken = {*self.names.values(), *self.reader.values}
        if (name := activation_name(z.name, taken)) in taken or z.index != index:
            return None
        for reader in {id(r): r for r in (self.reader, self.real_reader)}.values():
            array = reader.values[z.name]
            reader.values[name] = reader.functions[call.name](array, **dict(call.settings))
        if call.name == "softmax" and not call.settings:
            self.ones.add(name)
        tree = Writer(self.sizes).write(of(call), index)
        self.invented.append(Formula(
            name, name, text(tree), latex(tree), code(tree),
            str(np.shape(array)), reader.values[name],
        ))  # fmt: skip
        return name

    def parts(self) -> list[Formula]:
        """The lines T1 = …, that were too long to be written out, since the last time."""
        lines = []
        for name in [n for n in self.reader.parts if n not in self.done]:
            self.done.add(name)
            index, s = self.reader.part(name)
            real = self.real_reader.parts.get(name)
            if real is None:
                raise WrongFormula(f"{name} does not occur on the example inputs")
            lines.append(self._formula(index, s, self.reader.parts[name], real, name, name))
        return lines

    def _formula(self, index: Index, s: Sum, x: Box, real: Box, name: str, left: str) -> Formula:
        assert self.known is not None
        rules = [
            self.known.rule, rows_sum_to_one(self.ones), contracted(self.reader.identities)
        ]  # fmt: skip
        short = simplify(s, rules)
        tree = Writer(self.sizes).write(short, index)
        if left == name:  # a forward line
            self.known.add(name, index, short)
            self.reader.values.setdefault(name, x.value)
            self.real_reader.values.setdefault(name, real.value)
            if text(tree).startswith("softmax(") and "axis" not in text(tree):
                self.ones.add(name)
        worth = self._checked(tree, short, index, x, self.reader, left)
        if self.real is not self.trace:
            worth = self._checked(tree, short, index, real, self.real_reader, left)
        shapes = {k: np.shape(v) for k, v in self.real_reader.values.items()}
        if self.m is not None and self.sizes:
            shapes["batch"] = (next(iter(self.sizes)), self.m)
        result = real.value.shape
        indexed = tree.kind == "indexed"
        return Formula(
            name, left, text(tree), latex(tree), "" if indexed else code(tree),
            str(result) if indexed else shape_arithmetic(tree, shapes, result), worth,
        )  # fmt: skip

    def _checked(
        self, tree: Node, short: Sum, index: Index, box: Box, reader: Reader, left: str
    ) -> Any:
        """What the formula is worth on the arrays of a reader, if that is what the tensor holds.

        Raises:  WrongFormula if not
        """
        arrays: dict[str, Any] = {
            k: np.asarray(v, np.float64) if np.asarray(v).dtype.kind in "fb" else v
            for k, v in reader.values.items()
        }
        size = next(iter(self.sizes), None)
        on_real = reader is self.real_reader and self.real is not self.trace
        if (m := self.m if on_real else size) is not None:
            arrays.setdefault("m", m)
        to = {size: m} if on_real and size and m else {}
        written = text(tree)
        try:
            if tree.kind == "indexed":
                letters: dict[Axis, Axis] = {}
                place = resized(index, to, letters)
                worth = evaluate(resized(short, to, letters), place, arrays, reader.functions)
            else:
                worth = value(tree, arrays, reader.functions)
        except (KeyError, NameError, ValueError, TypeError) as error:
            raise WrongFormula(f"{left} = {written}: {error!r}") from error
        worth = _same_shape(worth, box.value)
        if worth is None or not _equal(worth, box.value, self.tolerance):
            raise WrongFormula(f"{left} = {written} is not what was computed; please report this")
        return worth


def _same_shape(worth: Any, like: Any) -> Any:
    worth = np.asarray(worth, dtype=np.float64)
    if worth.size == like.size:
        return worth.reshape(like.shape)
    try:
        return np.broadcast_to(worth, like.shape)
    except ValueError:
        return None


def _equal(worth: Any, gradient: Any, tolerance: float) -> bool:
    gradient = np.asarray(gradient, np.float64)
    finite = np.abs(gradient[np.isfinite(gradient)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(
        np.allclose(
            worth, gradient, rtol=tolerance, atol=tolerance * scale + tolerance**1.4, equal_nan=True
        )
    )


def _derive(
    trace: Trace, real: Trace, sizes: dict[int, str], facts: Sequence[str], m: int | None
) -> Explanation:
    """Forward lines, gradients, and the steps between them."""
    author = _Author(trace, real, sizes, _facts(facts, real) | trace.rows_sum_to_one, m)
    forward = []
    for x, y in zip(trace.forward, real.forward, strict=True):
        name = trace.names[x]
        forward.append(author.formula(x, y, name, name, own=name))
    if trace.loss.record is not None:
        forward.append(author.formula(trace.loss, real.loss, "L", "L", own="L"))
    forward = [*author.parts(), *forward]
    pairs = list(zip(trace.wrt, real.wrt, strict=True))
    author.invented = []

    def gradients(by: _Author) -> tuple[dict[str, Formula], list[Formula]]:
        lines: dict[str, Formula] = {}
        for x, y in pairs:
            name = trace.names.get(x) or by.reader.names.setdefault(x, f"V{len(lines) + 1}")
            by.real_reader.names.setdefault(y, name)
            lines[name] = by.formula(
                trace.gradients[x], real.gradients[y], name, f"∂L/∂{name}", own=None
            )
        return lines, by.parts()

    errors: list[Formula] = []
    lines: dict[str, Formula] = {}
    stops = _stops(trace)
    if len(trace.between) <= DEEP or not stops:
        lines, errors = gradients(author)
    if stops and (not lines or errors or any(len(line.text) > WIDE for line in lines.values())):
        marks = _marks([trace.names[x] for x in stops], set(trace.names.values()))
        more = {trace.gradients[x]: mark for x, mark in zip(stops, marks, strict=True)}
        twins = _stops(real)
        also = {real.gradients[x]: mark for x, mark in zip(twins, marks, strict=True)}
        abbreviated = author.with_names(more, also)
        errors = []
        for x, y, mark in reversed(list(zip(stops, twins, marks, strict=True))):
            name = trace.names[x]
            line = abbreviated.formula(
                trace.gradients[x], real.gradients[y], mark, f"{mark} = ∂L/∂{name}", own=mark
            )
            errors += [*abbreviated.parts(), line]
        lines, more_parts = gradients(abbreviated)
        errors += more_parts
    forward[-1:-1] = author.invented
    notes = [f"m = {m}, the number of samples"] if m and _mentions_m(forward, lines, errors) else []
    notes += author.reader.notes
    for line in lines.values():
        for name in re.findall(r"rowsum\((\w+)\)", line.text):
            array = next((x.value for x, n in real.names.items() if n == name), None)
            hint = f"with facts='rows of {name} sum to 1' it is shorter: they do"
            if array is not None and np.allclose(array.sum(axis=-1), 1) and hint not in notes:
                notes.append(hint)
    return Explanation(forward, lines, errors, notes, lambda: _steps(author, facts, bool(errors)))


def _mentions_m(*groups: Any) -> bool:
    lines = [x for g in groups for x in (g.values() if isinstance(g, Mapping) else g)]
    return any(re.search(r"(?<!\w)m(?!\w)", line.text) for line in lines)


def _stops(trace: Trace) -> list[Box]:
    """The results whose errors are worth a name: Z1, Z2 …, or whatever is linear in a parameter."""
    large = [x for x in trace.between if x.value.ndim]
    linear = [
        x for x in large
        if trace.names[x][0] in "Zz" or x.record[1] in (ops.add.op, ops.linear.op, ops.matmul.op)
    ]  # fmt: skip
    return linear or large


def _marks(names: list[str], taken: set[str]) -> list[str]:
    """E1, E2 … with the numbers of the names that they belong to, if all have one."""
    numbers = [m[0] if (m := re.search(r"\d+$", name)) else "" for name in names]
    if not all(numbers) or len(set(numbers)) < len(numbers):
        numbers = [str(k) for k in range(1, len(names) + 1)]
    letter = next(a for a in ("E", "D", "Err") if not {f"{a}{n}" for n in numbers} & taken)
    return [f"{letter}{n}" for n in numbers]


_FACT = re.compile(r"(?:the )?rows of (\w+) (?:sum|add up) to 1", re.IGNORECASE)


def _facts(facts: Sequence[str], real: Trace) -> set[str]:
    """The names of arrays whose rows sum to 1, each checked on the data.

    Raises:  ValueError for a fact that is not understood or does not hold
    """
    known = set()
    values = {name: x.value for x, name in real.names.items()}
    for fact in facts:
        match = _FACT.fullmatch(fact.strip())
        if not match or match[1] not in values:
            raise ValueError(
                f"facts: expected 'rows of NAME sum to 1' with a NAME out of {', '.join(values)}; "
                f"received {fact!r}"
            )
        sums = values[match[1]].sum(axis=-1)
        if not np.allclose(sums, 1):
            raise ValueError(
                f"facts: {fact!r} does not hold: the rows sum to {sums.min():g} … {sums.max():g}"
            )
        known.add(match[1])
    return known


# --- steps ----------------------------------------------------------------------------------------

JACOBIANS = {
    "softmax": "∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ)",
    "log_softmax": "∂ log aᵢ/∂zⱼ = δᵢⱼ − aⱼ",
    "sigmoid": "σ′(z) = σ(z)(1 − σ(z))",
    "tanh": "tanh′(z) = 1 − tanh(z)²",
    "relu": "relu′(z) = [z > 0]",
    "exp": "(eˣ)′ = eˣ",
    "log": "(log x)′ = 1/x",
    "cross_entropy": "L = −Σ y log a with a = softmax(z): ∂L/∂aᵢ = −yᵢ/aᵢ, "
    "∂aᵢ/∂zⱼ = aᵢ(δᵢⱼ − aⱼ);\nsummed, −yⱼ + aⱼ Σ yᵢ = aⱼ − yⱼ, because Σ y = 1",
    "binary_cross_entropy_with_logits": "L = −y log a − (1 − y) log(1 − a) with a = σ(z): "
    "∂L/∂a = (a − y)/(a(1 − a)),\n∂a/∂z = a(1 − a); their product is a − y",
    "mse_loss": "(a − t)² has the slope 2(a − t)",
}


def _steps(author: _Author, facts: Sequence[str], long: bool) -> Steps:
    """For each quantity on the way, from the loss inwards: its error from those after it."""
    trace, real = author.trace, author.real
    own = {trace.gradients[x]: f"∂L/∂{trace.names[x]}" for x in reversed(trace.between)}
    also = {real.gradients[x]: f"∂L/∂{real.names[x]}" for x in reversed(real.between)}
    links = author.with_names(own, also)
    users = _users(trace)
    steps = []
    order = list(zip(reversed(trace.between), reversed(real.between), strict=True))
    for x, y in [*order, *zip(trace.wrt, real.wrt, strict=True)]:
        name = trace.names.get(x) or author.reader.names[x]
        left = f"∂L/∂{name}"
        gx, gy = trace.gradients[x], real.gradients[y]
        link = links.formula(gx, gy, name, left, own=left if own.get(gx) == left else None)
        rule = _ways(link.text, name, [f"∂L/∂{trace.names[u]}" for u in trace.between])
        jacobians = [JACOBIANS[op] for op in users.get(x, []) if op in JACOBIANS]
        if jacobians:
            rule = [line for line in rule if line.count("…") < 2]
        rule += jacobians
        used = [f for f in facts if name != f and "softmax" in users.get(x, [])]
        if used:
            rule.append(f"because {', '.join(used)}")
        full = link if long else author.formula(gx, gy, name, left)
        steps.append(Step(link, "\n".join(filter(None, rule)), full))
    return Steps(steps)


def _users(trace: Trace) -> dict[Box, list[str]]:
    """For each named tensor the operations that were applied to it, or to what was made of it
    without a name."""
    users: dict[Box, list[str]] = {}
    for node in history(trace.loss):
        for arg in node.record[2]:
            if isinstance(arg, Box):
                users.setdefault(arg, []).append(node.record[1].name)
    return users


def _ways(written: str, name: str, errors: Sequence[str]) -> list[str]:
    """The rule of each way from the quantity to the loss."""
    terms = _terms(written)
    found = [_factor(term, name, errors) for term in terms]
    if len(terms) > 1 and all(found) and any(error in written for error in errors):
        return ["the errors on all ways, added:", *(f"  {line}" for line in found)]
    whole = _factor(written, name, errors)
    whole = "" if whole.startswith("L itself") else whole
    several = sum(e in written for e in errors) > 1
    return [whole or "the errors on all ways, added" * several]


def _terms(written: str) -> list[str]:
    """What is added and taken away, at the top of a formula."""
    parts, depth = [""], 0
    for word in re.split(r"( [+−] )", written):
        if word in (" + ", " − ") and depth == 0:
            parts.append("−" * (word == " − "))
        else:
            parts[-1] += word
            depth += sum(word.count(c) for c in "([") - sum(word.count(c) for c in ")]")
    return parts


def _factor(written: str, name: str, errors: Sequence[str]) -> str:
    """∂Z2/∂A1: ·W2ᵀ, if the formula is an error with a factor; what L itself has of it."""
    inside = [e for e in errors if re.search(re.escape(e) + r"(?!\w)", written)]
    if not inside:
        return f"L itself: {written}"
    if len(inside) > 1:
        return ""
    rest = written.replace(inside[0], "∎").replace("(∎)", "∎")
    after = inside[0].removeprefix("∂L/∂")
    if rest == "∎":
        rest = "1"
    else:
        rest = rest.replace("·∎", "∎").replace("∎·", "∎")
        rest = rest.removeprefix("∎ ⊙ ").removesuffix(" ⊙ ∎") if " ⊙ " in rest else rest
        edge = (rest[0] == "∎" or rest[-1] == "∎") and rest.count("∎") == 1
        rest = rest.replace("∎", "·" if edge else "…")
    sign = " ⊙ " if " ⊙ " in written and not {"·", "…"} & {*rest} else " "
    return f"∂{after}/∂{name}:{sign}{rest}"
