"""Explain: the derivation of a gradient, as it would stand on the board.

`explain` runs a loss, reads its recorded graph and that of its gradients, and writes both with the
author's names. Before a formula is shown it is evaluated, as the NumPy code that belongs to it, and
compared with the gradient. Whatever has no short form with the right value is written operation by
operation, so that what runs is explained.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from .. import engine, nn, ops
from ..arrays import NameMissing, describe
from ..engine import Box, recorded_results
from ..naming import Names, leaves, parameter_names
from .author import Author, Formula
from .steps import Step, Steps, aligned, steps_of
from .tracing import Problem, Sizes, Trace, differentiate, helpers, problem
from .wording import LANGUAGES, Refused, say

__all__ = ["Explanation", "Formula", "Step", "explain"]

WIDE = 100  # characters that a gradient may have before errors get names, E1, E2 …
AXES = {(1, "0"): "entries", (2, "0"): "rows", (2, "1"): "columns"}  # what the notes call them
DEEP = 8  # named results on the way, from which on they get names at once


@dataclass
class Explanation:
    """The derivation that `explain` found. It prints as text and shows as LaTeX in a notebook.

    forward    the lines that lead to the loss, each a `Formula`
    errors     E1, E2 … of a long network
    gradients  {"W1": ∂L/∂W1, …}
    notes      what would make it shorter, what m is
    sizes      the letters of lengths, as NumPy code: {"m": "X.shape[0]"}
    lang       the language of notes and steps, "en" or "ko"

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
    sizes: dict[str, str] = field(default_factory=dict)
    lang: str = "en"
    _make_steps: Callable[[], Steps] = field(default=Steps, repr=False)

    def __getitem__(self, name: str) -> Formula:
        for line in (*self.gradients.values(), *self.errors, *self.forward):
            if name in (line.left, line.name):
                return line
        raise NameMissing(say("no-line", self.lang, name=name, names=", ".join(self.gradients)))

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields for pickle: the steps themselves, not the function that makes them."""
        return {**self.__dict__, "steps": self.steps, "_make_steps": Steps}

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
        return aligned([*self.forward, *self.errors, *self.gradients.values()])

    def _repr_latex_(self) -> str:
        return self.latex


def explain(
    f: Any,
    *inputs: Any,
    wrt: Any = None,
    facts: str | Sequence[str] = (),
    lang: str = "en",
    **settings: Any,
) -> Explanation:
    """The forward lines and the gradients of a loss as formulas, each checked on the inputs.

        explain(function, *example_inputs)       a function that returns the loss
        explain(model, loss_function, X, Y)      loss_function(model(X), Y)
        explain(loss)                            a loss that has been computed

    Names are those of the author's variables. `wrt` are names or tensors (default: all variables
    that require a gradient); `facts` are what may be relied on, such as "rows of Y sum to 1": each
    is checked on the data; `lang` is the language of notes, steps and errors, "en" or "ko". A
    function is also run at other sizes, so that m, the number of samples, and the lengths of other
    axes can be told from other numbers; a finished loss has only its numbers. What has no short
    form is written operation by operation.

    Shapes:  the loss is one number; each gradient has the shape of its parameter
    Raises:  ValueError if the loss is no single number, depends on nothing, or a fact does not
             hold
    Source:  the chapter, D1 to D12
    Example:
        >>> import tinygrad_edu as tg
        >>> X, Y = np.ones((5, 3)), np.zeros((5, 2))
        >>> W = tg.Tensor(np.ones((3, 2)), requires_grad=True)
        >>> print(explain(lambda W: tg.square(X @ W - Y).sum() / len(X), W)["W"])
        ∂L/∂W = 2·Xᵀ(XW − Y)/m
    """
    if lang not in LANGUAGES:
        raise Refused(say("language", languages=", ".join(LANGUAGES), lang=lang))
    if isinstance(facts, str):
        facts = (facts,)
    if isinstance(f, Box):
        return _finished(f, inputs, wrt, facts, lang)
    of_model = isinstance(f, nn.Module)
    if of_model:
        f, data = _of_model(f, inputs, lang)
        inputs = tuple(data)
    if not callable(f):
        raise TypeError(say("not-function", lang, found=f"{f!r:.60}"))
    posed = problem(f, inputs, wrt, settings, lang)
    posed.of_model = of_model
    real = _real_trace(posed)
    known = _facts(facts, real, lang) | real.rows_sum_to_one
    for sizes in posed.sizes():
        with suppress(Exception), warnings.catch_warnings():  # of a function at sizes not its own
            warnings.simplefilter("ignore")
            other = posed.trace(sizes)
            if list(other.names.values()) != list(real.names.values()):
                continue
            letters = _letters(sizes, other, posed)
            author = Author(other, real, letters, sizes.lengths(), {*known}, strict=True)
            author.samples = sizes.rows[1] if sizes.rows else None
            return _derive(author, facts, lang)
    return _derive(Author(real, real, ones=known), facts, lang)


def _real_trace(posed: Problem) -> Trace:
    """Run the function at its own sizes: with tensors in the place of numbers and arrays, which
    then have names; or with less of that, if the function does not take it."""
    try:
        return posed.trace()
    except Refused:
        raise
    except Exception as error:
        posed.arguments, posed.variables = dict(posed.arguments), {}
        for arrays in (True, False):
            try:
                return posed.trace(numbers=False, arrays=arrays)
            except Refused:
                raise
            except Exception:  # the first error is that of the function as it was given
                continue
        raise error


def _letters(sizes: Sizes, trace: Trace, posed: Problem) -> dict[int, str]:
    """A letter for each length: m for the samples, the author's own name of a number, n for the
    columns of the data, k for those of the targets, then h, d, p …"""
    taken = {*trace.names.values(), *trace.arrays.values(), "L", "I"}
    found: dict[int, str] = {}
    if sizes.rows:
        found[sizes.rows[1]] = next(a for a in ("m", "N", "M", "n_samples") if a not in taken)
    primes = {*sizes.others.values()}
    for name, (length, *others) in trace.counted.items():
        usual = name.isidentifier() and name not in taken and not name.startswith("_")
        if usual and not others and length in primes - found.keys():
            found[length] = name
            taken.add(name)
    data = posed.data()
    columns = [sizes.others.get(n, 0) for n in _columns(data, sizes)]
    axes = [n for x in trace.names for n in np.shape(x.value)]
    order = [p for p in dict.fromkeys([*columns[:1], *axes]) if p in primes - found.keys()]
    if not order:
        return found
    last = columns[-1] if len(columns) > 1 else order[-1]
    alone = last == order[0] and next(iter(data), "X")[0] in "Xx"
    return found | _usual_letters(order, 0 if alone else last, taken)


def _columns(data: Mapping[str, Any], sizes: Sizes) -> list[int]:
    """The numbers of columns of the arrays that have the samples as their rows."""
    rows = sizes.rows[0] if sizes.rows else None
    return [a.shape[1] for a in data.values() if a.ndim == 2 and len(a) == rows]


def _usual_letters(primes: Sequence[int], last: int, taken: set[str]) -> dict[int, str]:
    """n, h, d … in this order, and k for the last."""
    found = {}
    free = iter([a for a in "nhdpqrstuvwabcefgxyz" if a not in taken])
    for prime in primes:
        letter = "k" if prime == last and "k" not in taken else next(free, "")
        if letter:
            found[prime] = letter
    return found


def _of_model(
    model: nn.Module, inputs: Sequence[Any], lang: str
) -> tuple[Callable[..., Any], Sequence[Any]]:
    if len(inputs) < 2 or not callable(inputs[0]):
        found = ", ".join(map(describe, inputs)) or say("nothing", lang)
        raise TypeError(say("model-call", lang, found=found))
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


def _finished(
    loss: Box, inputs: Sequence[Any], wrt: Any, facts: Sequence[str], lang: str
) -> Explanation:
    """A loss that has been computed: names from the caller's variables, numbers as they are."""
    if inputs:
        wrt = inputs[0] if len(inputs) == 1 else list(inputs)
    if loss.value.size != 1:
        raise Refused(say("one-number", lang, found=describe(loss)))
    if loss.record is None or loss.record[1] is engine.RELEASED:
        raise RuntimeError(say("released", lang))
    frame = sys._getframe(2)
    variables = {**frame.f_globals, **frame.f_locals}
    asked = wrt if isinstance(wrt, (list, tuple)) else [wrt]
    names, used = _names_of_finished(loss, variables, asked)
    if wrt is None:
        targets = [x for x in used if x.record is not None and x.record[1] is engine.VARIABLE]
    else:
        by_name = {name: x for x, name in names.of.items()}
        unknown = [x for x in asked if not isinstance(x, Box) and x not in by_name]
        if unknown:
            raise Refused(say("no-variable", lang, name=unknown[0], names=[*by_name]))
        targets = [x if isinstance(x, Box) else by_name[x] for x in asked]
    nodes = recorded_results(loss)
    trace = differentiate(loss, targets, names)
    m = _samples_of_finished(names, nodes, targets)
    known = _facts(facts, trace, lang) | trace.rows_sum_to_one
    return _derive(Author(trace, trace, ones=known, m=m), facts, lang)


def _samples_of_finished(names: Names, nodes: Sequence[Box], targets: Sequence[Box]) -> int | None:
    """The number of samples: the length of all data of two axes that no other axis has."""
    data = [x.value for x in names.of if x.record is None]
    for n in nodes:
        pairs = zip(n.record[2], n.record[3], strict=True)
        data += [raw for arg, raw in pairs if id(arg) in names.arrays]
    rows = {len(a) for a in data if np.ndim(a) == 2}
    others = {n for a in data for n in a.shape[1:]} | {n for t in targets for n in t.value.shape}
    alone = len(rows) == 1 and not rows & others and "m" not in names.of.values()
    return next(iter(rows)) if alone else None


def _names_of_finished(
    loss: Box, variables: Mapping[str, Any], asked: Sequence[Any]
) -> tuple[Names, list[Box]]:
    """Names from the caller's variables, and the tensors that the loss was computed from."""
    names = Names()
    nodes = recorded_results(loss)
    names.helpers = helpers(nodes)
    involved = {id(x) for n in nodes for x in (*n.record[2], n)}
    used = {id(x): x for n in nodes for x in n.record[2] if isinstance(x, Box)}
    for x in [*used.values(), *(x for x in asked if isinstance(x, Box))]:
        if x.name:
            names.give(x, x.name)
    _name_models(names, variables, nodes, involved)
    for name, v in variables.items():
        for own, x in leaves(name, v):
            if id(x) in involved and x is not loss and not own.startswith("_"):
                names.give(x, own)
            elif isinstance(x, np.ndarray) and x.ndim:
                names.constants.append((x, own))
    return names, [*used.values()]


def _name_models(
    names: Names, variables: Mapping[str, Any], nodes: Sequence[Box], involved: set[int]
) -> None:
    """Names for the parameters of the caller's models, and for what their layers have computed."""
    models = [v for v in variables.values() if isinstance(v, nn.Module)]
    from_models = [pair for m in models for pair in parameter_names(m)]
    for parameter, name in from_models:
        if id(parameter) in involved:
            names.give(parameter, name)
    weights = {id(p): n[1:] for p, n in from_models if n.startswith("W")}
    for node in nodes:
        if node.record[1] is ops.linear.op and (weight := id(node.record[2][1])) in weights:
            names.give(node, f"Z{weights[weight]}")


def _derive(author: Author, facts: Sequence[str], lang: str) -> Explanation:
    """Forward lines, gradients, and the steps between them."""
    trace, real = author.trace, author.real
    forward: list[Formula] = []
    for x, y in zip(trace.forward, real.forward, strict=True):
        name = trace.names[x]
        line = author.formula(x, y, name, name, own=name)
        forward += [*author.parts(), line]
    if trace.loss.record is not None:
        line = author.formula(trace.loss, real.loss, "L", "L", own="L")
        forward += [*author.parts(), line]
    author.invented = []
    lines, errors = _gradients(author)
    long = any(len(line.text) > WIDE for line in lines.values())
    if _stops(trace) and (not lines or errors or long):
        lines, errors = _abbreviated(author)
    forward = _in_order([*forward[:-1], *author.invented, *forward[-1:]])
    every = [*forward, *errors, *lines.values()]
    sizes = _sizes_used(author, every)
    notes = _notes(author, every, sizes, lang)
    make = partial(steps_of, author, facts, bool(errors), lang)
    codes = {letter: code for letter, (code, _) in sizes.items()}
    return Explanation(forward, lines, _in_order(errors), notes, codes, lang, make)


def _gradients(by: Author, always: bool = False) -> tuple[dict[str, Formula], list[Formula]]:
    """The gradients at what was asked for, and the lines T1 = … that they need; nothing if there
    are so many results on the way that their errors need names."""
    trace, lines = by.trace, dict[str, Formula]()
    if not always and len(trace.between) > DEEP and _stops(trace):
        return {}, []
    for x, y in zip(trace.wrt, by.real.wrt, strict=True):
        name = trace.names.get(x) or by.reader.names.setdefault(x, f"V{len(lines) + 1}")
        by.real_reader.names.setdefault(y, name)
        gradients = trace.gradients[x], by.real.gradients[y]
        lines[name] = by.formula(*gradients, name, f"∂L/∂{name}", own=None)
    return lines, by.parts()


def _abbreviated(author: Author) -> tuple[dict[str, Formula], list[Formula]]:
    """The gradients by the errors E1, E2 …, and these."""
    trace, real = author.trace, author.real
    stops, twins = _stops(trace), _stops(real)
    marks = _marks([trace.names[x] for x in stops], set(trace.names.values()))
    more = {trace.gradients[x]: mark for x, mark in zip(stops, marks, strict=True)}
    also = {real.gradients[x]: mark for x, mark in zip(twins, marks, strict=True)}
    by = author.with_names(more, also)
    errors: list[Formula] = []
    for x, y, mark in reversed(list(zip(stops, twins, marks, strict=True))):
        left = f"{mark} = ∂L/∂{trace.names[x]}"
        line = by.formula(trace.gradients[x], real.gradients[y], mark, left, own=mark)
        errors += [*by.parts(), line]
    lines, parts = _gradients(by, always=True)
    return lines, [*errors, *parts]


def _in_order(lines: Sequence[Formula]) -> list[Formula]:
    """The lines, each after those whose names it uses, otherwise as they are."""
    by_name = {line.name: line for line in lines}
    placed: dict[str, Formula] = {}

    def place(line: Formula, above: frozenset[str]) -> None:
        for name in sorted(line.uses & by_name.keys() - above):
            if name not in placed:
                place(by_name[name], above | {name})
        placed.setdefault(line.name, line)

    for line in lines:
        place(line, frozenset({line.name}))
    return list(placed.values())


def _sizes_used(author: Author, lines: Sequence[Formula]) -> dict[str, tuple[str, int]]:
    """For each letter in the formulas the axis whose length it is, as code, and that length."""
    letters = {letter: prime for prime, letter in author.sizes.items()}
    if author.alike and author.m:
        letters["m"] = author.m
    written = "\n".join(line.text for line in lines)
    arrays = {name: np.shape(x.value) for x, name in author.trace.names.items() if name}
    found = {}
    for letter, prime in letters.items():
        if re.search(rf"(?<!\w){re.escape(letter)}(?!\w)", written):
            axes = ((name, k) for name, shape in arrays.items()
                    for k, n in enumerate(shape) if n == prime)  # fmt: skip
            name, axis = next(axes, ("", 0))
            found[letter] = f"{name}.shape[{axis}]", author.lengths.get(prime, prime)
    return found


def _notes(
    author: Author, lines: Sequence[Formula], sizes: Mapping[str, tuple[str, int]], lang: str
) -> list[str]:
    """Sentences on letters, on what was left out, and on what would make it shorter."""
    samples = {"m"} if author.alike else {author.sizes.get(author.samples or 0)}
    values = {name: np.asarray(x.value) for x, name in author.real.names.items()}
    notes = []
    for letter, (code, n) in sizes.items():
        name, axis = code[:-1].split(".shape[")
        told = {"letter": letter, "n": n, "name": name, "axis": axis}
        ndim = values[name].ndim if name in values else 2
        kind = "samples" if letter in samples else AXES.get((ndim, axis), "axis")
        notes.append(say(kind, lang, **told))
    for name in author.reader.idle:
        notes.append(say("idle-clip", lang, name=name or say("what-it-guards", lang)))
    for what, left in dict.fromkeys(author.notes):
        notes.append(say(what, lang, left=left))
    for name in (n for line in lines for n in re.findall(r"rowsum\((\w+)\)", line.text)):
        hint = say("fact", lang, name=name)
        if name in values and hint not in notes and np.allclose(values[name].sum(axis=-1), 1):
            notes.append(hint)
    return notes


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


def _facts(facts: Sequence[str], real: Trace, lang: str) -> set[str]:
    """The names of arrays whose rows sum to 1, each checked on the data.

    Raises:  ValueError for a fact that is not understood or does not hold
    """
    known = set()
    values = {name: x.value for x, name in real.names.items()}
    for fact in facts:
        match = _FACT.fullmatch(fact.strip())
        if not match or match[1] not in values:
            raise Refused(say("fact-form", lang, names=", ".join(values), fact=fact))
        sums = values[match[1]].sum(axis=-1)
        if not np.allclose(sums, 1):
            low, high = sums.min(), sums.max()
            raise Refused(say("fact-false", lang, fact=fact, low=low, high=high))
        known.add(match[1])
    return known
