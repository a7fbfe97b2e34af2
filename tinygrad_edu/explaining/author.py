"""The author of a derivation: writes the formula of a tensor, and checks it before it is shown.

Of each formula there are several forms, the shortest first: simplified and of matrices, then with
indices, then as it was read. The first whose value is that of the tensor is taken. Where none is,
the operations are written one after the other, each with the name of what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Box, recorded_results
from ..naming import activation_name
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
)
from .losses import is_as_on_the_slides, is_loss
from .matrices import Indexed, Writer
from .notation import Node, code, latex, latex_name, named, names_in, shape_arithmetic, text, value
from .reading import Reader
from .selecting import one_hot_rules, squared
from .stacks import has_stack
from .tracing import Trace


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
    uses    the names on its right side

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
    uses: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.left} = {self.text}"

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {latex_name(self.left)} = {self.latex}$"


@dataclass
class Author:
    """Writes down the formulas of one trace and checks each of them, there and on the real inputs.

    trace, real  the loss at sizes that tell the axes apart, and as it was given; or the same twice
    sizes        the letters of lengths of `trace`: {101: "m"}
    lengths      the author's own length for each of these: {101: 200}
    ones         names of arrays whose rows sum to 1
    m            the number of samples of a finished loss
    strict       a formula that fails its check raises, since another pair of traces can be tried

    Example:
        >>> import tinygrad_edu as tg
        >>> from tinygrad_edu.explaining.tracing import problem
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> trace = problem(lambda W: (W * W).sum(), (W,), None, {}).trace()
        >>> author = Author(trace, trace)
        >>> print(author.formula(trace.gradients[W], trace.gradients[W], "W", "∂L/∂W"))
        ∂L/∂W = 2·W
    """

    trace: Trace
    real: Trace
    sizes: dict[int, str] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)
    ones: set[str] = field(default_factory=set)
    m: int | None = None
    strict: bool = False
    samples: int | None = None  # the prime of their number
    names: dict[Box, str] = field(default_factory=dict)
    real_names: dict[Box, str] = field(default_factory=dict)
    known: Definitions = field(default_factory=Definitions)
    invented: list[Formula] | None = None  # A2 = softmax(Z2), once the author's lines are done
    notes: list[tuple[str, str]] = field(default_factory=list)  # sentences, and the line of each

    def __post_init__(self) -> None:
        self.names = self.names or self.trace.names
        self.real_names = self.real_names or self.real.names
        self.alike = self.real is self.trace
        self.reader = Reader(self.names, self.trace.arrays, self.trace.constants, self.m)
        self.real_reader = self.reader
        if not self.alike:
            self.real_reader = Reader(self.real_names, self.real.arrays, self.real.constants)
        self.done: set[str] = set()
        self.steps: list[Formula] = []  # operations, one a line
        self.known.invent = self._invent
        nodes = [n for t in (self.trace, self.real) for n in recorded_results(t.loss)]
        whole = not all(is_as_on_the_slides(n) for n in nodes if is_loss(n.record[1]))
        self.reader.whole_losses = self.real_reader.whole_losses = whole
        exact = all(
            np.asarray(r).dtype.itemsize != 4 or np.asarray(r).dtype.kind != "f"
            for n in nodes for r in (n.value, *n.record[3])
        )  # fmt: skip
        self.tolerance = 1e-9 if exact else 1e-4

    def with_names(self, more: dict[Box, str], real: dict[Box, str]) -> Author:
        """The same with names for more tensors."""
        made = Author(
            self.trace, self.real, self.sizes, self.lengths, self.ones, self.m, self.strict,
            self.samples, {**more, **self.names}, {**real, **self.real_names}, self.known,
            self.invented, self.notes,
        )  # fmt: skip
        for old, new in ((self.reader, made.reader), (self.real_reader, made.real_reader)):
            new.share(old)
        made.done = self.done
        return made

    # --- one formula --------------------------------------------------------------------------

    def formula(self, x: Box, real: Box, name: str, left: str, own: str | None = None) -> Formula:
        """The formula of a tensor, checked against its value.

        Raises:  WrongFormula if `strict` and no form has the right value
        """
        try:
            index, s = self.reader.formula(x, own)
            if not self.alike:
                self.real_reader.formula(real, own)
            return self._written(index, s, x, real, name, left)
        except Exception as error:  # whatever it is: there is a form that cannot fail
            if self.strict:
                raise WrongFormula(f"{left}: {error!r}") from error
        self.notes.append(("by-operations", left))
        return self._by_operations(x, name, left, own)

    def _written(self, index: Index, s: Sum, x: Box, real: Box, name: str, left: str) -> Formula:
        """The first form of a formula that has the right value.

        Raises:  WrongFormula if none has
        """
        failure: WrongFormula | None = None
        for tree, short in self._forms(s, index):
            try:
                worth = self._checked(tree, short, index, x, self.reader, left)
                if not self.alike:
                    worth = self._checked(tree, short, index, real, self.real_reader, left)
            except WrongFormula as error:
                failure = error
                continue
            if failure is not None:
                self.notes.append(("longer", left))
            if name == left:  # a forward line
                self._define(tree, short, index, x, real, name)
            return self._line(tree, real, name, left, worth)
        raise failure or WrongFormula(left)

    def _forms(self, s: Sum, index: Index) -> Iterator[tuple[Node, Sum]]:
        rules = [self.known.rule, rows_sum_to_one(self.ones), contracted(self.reader.identities)]
        if hot := {*self.reader.hot}:
            rules = [*one_hot_rules(hot), squared(hot), *rules, rows_sum_to_one(hot)]
        short = simplify(s, rules)
        writer = Writer(self.sizes, self.reader.decimals)
        for tree in writer.ways(short, index):
            yield tree, short
        if not self.strict:
            yield Indexed(writer).write(s, index), s

    def _define(self, tree: Node, short: Sum, index: Index, x: Box, real: Box, name: str) -> None:
        """Note what a forward line is, for the lines after it."""
        self.known.add(name, index, short)
        self.reader.values.setdefault(name, x.value)
        self.real_reader.values.setdefault(name, real.value)
        written = text(tree)
        if written.startswith(("softmax(", "one_hot(")) and "axis" not in written:
            self.ones.add(name)

    def _line(self, tree: Node, real: Box, name: str, left: str, worth: Any) -> Formula:
        shapes: dict[str, Any] = {k: np.shape(v) for k, v in self.real_reader.values.items()}
        shapes["lengths"] = tuple(self.lengths.items())
        result = real.value.shape
        indexed, stacked = tree.kind == "indexed", has_stack(tree)
        if stacked and ("stack", "") not in self.notes:
            self.notes.append(("stack", ""))
        plain = indexed or stacked
        return Formula(
            name, left, text(tree), latex(tree), "" if indexed else code(tree),
            str(result) if plain else shape_arithmetic(tree, shapes, result), worth,
            frozenset(names_in(tree)),
        )  # fmt: skip

    def _checked(
        self, tree: Node, short: Sum, index: Index, box: Box, reader: Reader, left: str
    ) -> Any:
        """Return the value of the formula on the arrays of a reader, if the tensor holds the same.

        Raises:  WrongFormula if not
        """
        arrays: dict[str, Any] = {
            k: np.asarray(v, np.float64) if np.asarray(v).dtype.kind in "fb" else v
            for k, v in reader.values.items()
        }
        to = {} if self.alike or reader is self.reader else self.lengths
        for prime, letter in self.sizes.items():
            arrays.setdefault(letter, to.get(prime, prime))
        if self.alike and self.m is not None:
            arrays.setdefault("m", self.m)
        try:
            with np.errstate(all="ignore"):
                if tree.kind == "indexed":
                    letters: dict[Axis, Axis] = {}
                    place = resized(index, to, letters)
                    worth = evaluate(resized(short, to, letters), place, arrays, reader.functions)
                else:
                    worth = value(tree, arrays, reader.functions)
        except Exception as error:  # of any function that a formula may hold
            raise WrongFormula(f"{left} = {text(tree)}: {error!r}") from error
        worth = _same_shape(worth, box.value)
        if worth is None or not _equal(worth, box.value, self.tolerance):
            raise WrongFormula(f"{left} = {text(tree)} is not what was computed")
        return worth

    # --- names for what is long, or only in the gradients -----------------------------------------

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
        worth = self.real_reader.values[name]
        shape = str(np.shape(worth))
        self.invented.append(Formula(
            name, name, text(tree), latex(tree), code(tree), shape, worth, frozenset({z.name}),
        ))  # fmt: skip
        return name

    def parts(self) -> list[Formula]:
        """The lines T1 = …, that were too long to be written out, since the last time."""
        lines, self.steps = self.steps, []
        for name in [n for n in self.reader.hot if n not in self.done]:
            self.done.add(name)
            index, s = self.reader.hot[name]
            tree = Writer(self.sizes).write(s, index)
            worth = self.real_reader.values[name]
            shape = str(np.shape(worth))
            uses = frozenset(names_in(tree))
            lines.append(
                Formula(name, name, text(tree), latex(tree), code(tree), shape, worth, uses)
            )
        while new := [n for n in self.reader.parts if n not in self.done]:
            self.done |= {*new}
            for name in new:
                index, s = self.reader.part(name)
                x = self.reader.parts[name]
                real = self.real_reader.parts.get(name)
                if real is None:
                    raise WrongFormula(f"{name} does not occur on the example inputs")
                try:
                    lines.append(self._written(index, s, x, real, name, name))
                except Exception:
                    if self.strict:
                        raise
                    lines.append(self._by_operations(x, name, name, name))
        return lines

    # --- one operation after the other ------------------------------------------------------------

    def _by_operations(self, x: Box, name: str, left: str, own: str | None) -> Formula:
        """The last operation that led to a tensor; a line for each operation before it."""
        reader = self.reader
        nodes = (
            [n for n in recorded_results(x) if n is x or n not in reader.names] if x.record else []
        )
        needed = _reached(x, reader.names)
        for node in nodes:
            if node is not x and node in needed:
                part = reader.name_part(node)
                self.done.add(part)
                self.steps.append(self._operation(node, part, part))
        return self._operation(x, name, left)

    def _operation(self, x: Box, name: str, left: str) -> Formula:
        reader = self.reader
        index = tuple(map(Axis, x.value.shape))
        try:
            s = reader.operation(x, index)
            tree = Writer(self.sizes).write(s, index)
            worth = self._checked(tree, s, index, x, reader, left)
        except Exception:  # an operation that gives something else when it is called again
            op, args, settings = x.record[1], x.record[2], x.record[4]
            parts = tuple(Node("name", (), (reader.label(a), False)) for a in args)
            shown = named(tuple((k, reader.given(v)) for k, v in settings.items()), self.sizes)
            tree = Node("call", parts, (op.name, shown, "m", x.value.shape))
            worth = x.value
        line = self._line(tree, x, name, left, worth)
        if name == left:
            reader.values.setdefault(name, x.value)
        return line


def _reached(x: Box, names: dict[Box, str]) -> set[Box]:
    """Return the results that x needs, down to those that have a name."""
    found, stack = set[Box](), [x]
    while stack:
        for arg in stack.pop().record[2]:
            if isinstance(arg, Box) and arg.record and arg not in names and arg not in found:
                found.add(arg)
                stack.append(arg)
    return found


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
