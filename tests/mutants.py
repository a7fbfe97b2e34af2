"""Mutants: wrong rules in place of right ones; the checker of `tools.operations` must notice each.

    python -m tests.mutants [operation ...]

A checker proves nothing until it has been seen to fail. Here every rule of every operation is
changed in every way below, one at a time, and the operation's lines of the table are run. A mutant
is

equivalent   if on all of them it computes the same errors as the right rule, with the same graph
             (an argument changed that the rule never reads): there is nothing to be caught;
caught       if it does not, and one of the lines fails;
a survivor   if none fails. Then the checker has a hole, and the exit code is 1.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tests.tools.domains import Shapes
from tests.tools.operations import CASES, Row, check, reference, tensors
from tinygrad_edu import engine, linalg, losses, ops, windows
from tinygrad_edu.checking.layouts import on_memory
from tinygrad_edu.engine import Box, unbroadcast
from tinygrad_edu.operation import Op, Primitive, Rule


@dataclass(frozen=True)
class Site:
    """One call of a rule."""

    rules: tuple[Rule | None, ...]  # of all arguments, the right ones
    i: int  # the argument whose error is asked for
    g: Any
    y: Any
    inputs: tuple[Any, ...]
    settings: dict[str, Any]

    def error(self, rule: Rule | None = None, **changes: Any) -> Any:
        """Call the right rule with something in its call changed."""
        site = replace(self, **changes)
        called = rule or self.rules[self.i]
        assert called is not None
        return called(site.g, site.y, *site.inputs, **site.settings)

    @property
    def recorded(self) -> bool:
        return isinstance(self.g, Box)

    def input(self, k: int) -> Any:
        if k >= len(self.inputs):
            raise Inapplicable
        return self.inputs[k]

    def with_input(self, k: int, x: Any) -> Any:
        return self.error(inputs=(*self.inputs[:k], x, *self.inputs[k + 1 :]))

    @property
    def copies(self) -> float:
        """How many entries of g go into one of the error, where a broadcast made them more."""
        mine = np.size(self.inputs[self.i])
        if not 0 < mine < self.g.size:
            raise Inapplicable
        return float(self.g.size / mine)


Mutation = Callable[[Site], Any]


class Inapplicable(Exception):
    """This mutation says nothing about this call: the right error is used."""


# --- what is done to a rule -----------------------------------------------------------------------


def constant(x: Any) -> Any:
    """The same numbers, cut off from the graph."""
    return x.detach() if isinstance(x, tg.Tensor) else x


def real(x: Any) -> Any:
    """An input that can be computed with: a floating array or tensor, or a Python number."""
    if getattr(x, "dtype", np.dtype(float)).kind != "f":
        raise Inapplicable
    return x


def like(x: Any, number: float) -> Any:
    """An array, or tensor if x is one, of x's shape and dtype."""
    x = real(x)
    if isinstance(x, float):
        return number
    filled = np.full_like(x.value if isinstance(x, Box) else x, number)
    return tg.Tensor(filled) if isinstance(x, Box) else filled


def times(error: Any, factor: Any) -> Any:
    """The error scaled entry by entry, where the factor fits it."""
    try:
        fits = np.broadcast_shapes(error.shape, np.shape(factor)) == error.shape
    except ValueError:
        fits = False
    if not fits:
        raise Inapplicable
    return error * factor


def only_if(wanted: bool, error: Any) -> Any:
    if not wanted:
        raise Inapplicable
    return error


def turned(x: Any) -> Any:
    """The matrix transpose of what is square."""
    square: Any = only_if(np.ndim(x) >= 2 and x.shape[-1] == x.shape[-2], x)
    return square.mT


def backwards(x: Any) -> Any:
    return only_if(np.ndim(x) > 0, x)[..., ::-1]


def shifted(x: Any) -> Any:
    """The entries one place further along the first axis."""
    order = np.roll(np.arange(len(only_if(np.ndim(x) > 0, x))), 1)
    return x[order]


def written(site: Site, x: Any) -> Any:
    """The right error, an argument having been overwritten on the way."""
    error = site.error()
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size:
        error = np.array(error)
        x *= 1.5
        raise Overwritten(error)
    raise Inapplicable


class Overwritten(Exception):
    """Carries an error that is right while something else is not."""


def other_rule(k: int, site: Site) -> Any:
    """The rule of another argument."""
    if k == site.i or len(site.rules) <= k or site.rules[k] is None:
        raise Inapplicable
    return site.error(site.rules[k])


def other_setting(name: str, site: Site) -> Any:
    if name not in site.settings:
        raise Inapplicable
    value = site.settings[name]
    other: dict[str, Callable[[], Any]] = {
        "axis": lambda: 0 if value is None else None,
        "axes": lambda: None if value is not None else tuple(range(site.y.ndim)),
        "keepdims": lambda: not value,
        "ddof": lambda: value + 1,
        "reduction": lambda: {"mean": "sum", "sum": "mean", "none": "mean"}[value],
        "subscripts": lambda: only_if("->" in value, value.partition("->")[0]),
    }
    return site.error(settings={**site.settings, name: other[name]()})


INPUTS = range(3)  # no operation of the table has more

# Each of these changes the error of every rule there is.
ALWAYS: dict[str, Mutation] = {
    "sign flipped": lambda s: -s.error(),
    "doubled": lambda s: 2 * s.error(),
    "halved": lambda s: s.error() / 2,
    "× 1.001": lambda s: 1.001 * s.error(),
    "× 1.001, arrays only": lambda s: only_if(not s.recorded, s.error()) * 1.001,
    "× 1.001, tensors only": lambda s: only_if(s.recorded, s.error()) * 1.001,
    "nothing": lambda s: 0 * s.error(),
    "1 added": lambda s: s.error() + 1,
    "|error|": lambda s: np.abs(s.error()),
    "error²": lambda s: s.error() ** 2,
    "ones for g": lambda s: s.error(g=like(s.g, 1.0)),
    "g²": lambda s: s.error(g=s.g * s.g),
    "|g|": lambda s: s.error(g=np.abs(s.g)),
    "g · (1 + g/1000)": lambda s: s.error(g=s.g * (1 + 1e-3 * s.g)),
    "g summed": lambda s: s.error(g=like(s.g, 0.0) + only_if(s.g.ndim > 0, s.g).sum()),
    "g averaged": lambda s: s.error(g=like(s.g, 0.0) + np.mean(only_if(s.g.ndim > 0, s.g))),
    "× number of errors": lambda s: s.error() * only_if(s.g.size > 1, s.g).size,
    "cut off": lambda s: constant(only_if(s.recorded, s.error())),
    "g cut off": lambda s: only_if(s.recorded, s).error(g=constant(s.g)),
    "g overwritten": lambda s: written(s, s.g),
}

SOMETIMES: dict[str, Mutation] = {
    "transposed": lambda s: turned(s.error()),
    "backwards": lambda s: backwards(s.error()),
    "shifted": lambda s: shifted(s.error()),
    "g transposed": lambda s: s.error(g=turned(s.g)),
    "g backwards": lambda s: s.error(g=backwards(s.g)),
    "g shifted": lambda s: s.error(g=shifted(s.g)),
    "averaged over copies": lambda s: s.error() / s.copies,
    "· (1 + y/1000)": lambda s: times(s.error(), 1 + 1e-3 * real(s.y)),
    "y · 1.001": lambda s: s.error(y=real(s.y) * 1.001),
    "y + 0.001": lambda s: s.error(y=real(s.y) + 0.001),
    "ones for y": lambda s: s.error(y=like(s.y, 1.0)),
    "zeros for y": lambda s: s.error(y=like(s.y, 0.0)),
    "y cut off": lambda s: only_if(s.recorded, s).error(y=constant(s.y)),
    "y overwritten": lambda s: written(s, s.y),
}


def to_input(k: int) -> dict[str, Mutation]:
    """Yield the changes of one of the inputs of a rule."""
    return {
        f"rule of input {k}": partial(other_rule, k),
        f"· (1 + input {k}/1000)": lambda s: times(s.error(), 1 + 1e-3 * real(s.input(k))),
        f"input {k} · 1.001": lambda s: s.with_input(k, real(s.input(k)) * 1.001),
        f"input {k} + 0.001": lambda s: s.with_input(k, real(s.input(k)) + 0.001),
        f"input {k} negated": lambda s: s.with_input(k, -real(s.input(k))),
        f"ones for input {k}": lambda s: s.with_input(k, like(s.input(k), 1.0)),
        f"zeros for input {k}": lambda s: s.with_input(k, like(s.input(k), 0.0)),
        f"input {k} transposed": lambda s: s.with_input(k, turned(real(s.input(k)))),
        f"input {k} backwards": lambda s: s.with_input(k, backwards(real(s.input(k)))),
        f"input {k} cut off": lambda s: only_if(s.recorded, s).with_input(k, constant(s.input(k))),
        f"input {k} overwritten": lambda s: written(s, s.input(k)),
    }


def to_setting(name: str) -> dict[str, Mutation]:
    return {f"another {name}": partial(other_setting, name)}


SETTINGS = ("axis", "axes", "keepdims", "ddof", "reduction", "subscripts")
MUTATIONS: dict[str, Mutation] = ALWAYS | SOMETIMES
for _some in (*map(to_input, INPUTS), *map(to_setting, SETTINGS)):
    MUTATIONS |= _some


# --- putting it in place --------------------------------------------------------------------------


class Watch:
    """Return True if a mutant could be tried, and ever differed from the right rule."""

    applied = False
    changed = False

    def compare(self, site: Site, right: Any, wrong: Any) -> None:
        """Of both errors the numbers, and where they are recorded what they were computed from."""
        x = np.asarray(getattr(site.inputs[site.i], "value", site.inputs[site.i]))
        a, b = unbroadcast(right, x), unbroadcast(wrong, x)
        self.changed = self.changed or _differ(a, b)
        if self.changed or not site.recorded:
            return
        parts = [t for t in (site.g, site.y, *site.inputs) if getattr(t, "record", None)]
        seed = np.cos(np.arange(x.size, dtype=x.dtype)).reshape(x.shape)
        slopes = [
            tg.grad(t, parts, gradient=seed)
            if t.record
            else [np.zeros_like(p.value) for p in parts]
            for t in (a, b)
        ]
        self.changed = any(map(_differ, *slopes))


def _differ(a: Any, b: Any) -> bool:
    """By more than rounding; every mutation changes some digit before the fourth."""
    a, b = (np.asarray(getattr(t, "value", t), float) for t in (a, b))
    return not np.allclose(a, b, rtol=1e-8, atol=1e-11)


def _no_rule(*args: Any, **settings: Any) -> Any:
    raise Inapplicable


def _mutated(op: Op, i: int, mutation: Mutation, watch: Watch) -> Rule:
    """The i-th rule of an operation, changed; for any number of arrays the rule for the i-th."""
    right, for_all = op.rules, op.rules[0] or _no_rule

    def rule(*args: Any, **settings: Any) -> Any:
        rules, asked = right, i
        if op.arity is None:
            asked, *args = args  # type: ignore[assignment]
            rules = tuple(partial(for_all, k) for k in range(len(args) - 2))
        g, y, *inputs = args
        site = Site(rules, asked, g, y, tuple(inputs), settings)
        if asked != i:
            return site.error()
        try:
            wrong = mutation(site)
        except Inapplicable:
            return site.error()
        except Overwritten as overwritten:
            watch.applied = watch.changed = True
            return overwritten.args[0]
        except Exception:
            watch.applied = watch.changed = True
            raise
        watch.applied = True
        if not watch.changed:
            try:
                watch.compare(site, site.error(), wrong)
            except Exception:  # an error that does not fit: the sweep will say so too
                watch.changed = True
        return wrong

    return rule


@contextmanager
def in_place(op: Op, i: int, mutation: Mutation) -> Iterator[Watch]:
    """The operation with one rule changed, until the block ends."""
    right, watch = op.rules, Watch()
    k = 0 if op.arity is None else i
    try:
        op.rules = (*right[:k], _mutated(op, i, mutation, watch), *right[k + 1 :])
        yield watch
    finally:
        op.rules = right


# The parts of the rule of det: with them it has two derivatives, and refuses a third.
PARTS = {linalg._cofactors.op, linalg._cofactors_error.op}


def primitives() -> dict[str, Primitive]:
    """Every operation that has a rule, by its public name, without `PARTS`."""
    found: dict[int, tuple[str, Primitive]] = {}
    for module in (engine, ops, linalg, losses, windows):
        for name, value in vars(module).items():
            op = getattr(value, "op", None)
            if isinstance(op, Op) and any(op.rules) and op not in PARTS:
                prefix = "linalg." * (module is linalg)
                found.setdefault(id(op), (prefix + name.lstrip("_"), value))
    return dict(sorted(found.values(), key=lambda pair: pair[0]))


@dataclass
class Tally:
    """Return the outcome for the mutants of one operation."""

    caught: int = 0  # by a comparison, or by a warning of NumPy
    crashed: int = 0  # caught too, but any test would have noticed
    equivalent: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)


def try_all(name: str, op: Op) -> Tally:
    """All mutants of an operation on all its lines of the table."""
    cases = [(row, shapes) for row, shapes in CASES if row.name == name]
    for row, shapes in cases:
        check(row, shapes)  # where the right rule fails, a wrong one that fails proves nothing
    tally = Tally()
    arguments: Sequence[int] = [i for i, rule in enumerate(op.rules) if rule]
    if op.arity is None:
        arguments = INPUTS[: max(len(shapes) for _, shapes in cases)]
    for i in arguments:
        for what, mutation in MUTATIONS.items():
            with in_place(op, i, mutation) as watch:
                for row, shapes in cases:
                    if not watch.changed:
                        provoke(row, shapes)
                if not watch.applied and what not in ALWAYS:
                    continue
                mutant = f"input {i}: {what}"
                if not watch.changed and what not in ALWAYS:
                    tally.equivalent.append(mutant)
                elif (failure := first_failure(cases)) is None:
                    tally.survivors.append(mutant)
                elif isinstance(failure, (AssertionError, Warning)):
                    tally.caught += 1
                else:
                    tally.crashed += 1
    return tally


def provoke(row: Row, shapes: Shapes) -> None:
    """Have the rules of a line called, on arrays and on tensors, whatever comes of it."""
    ref = reference(row, shapes)
    inputs = tensors(row, [x.copy() for x in ref.arrays])
    wanted = [inputs[i] for i in row.wanted]
    with suppress(Exception):
        output = row.call(*inputs)
        tg.grad(output, wanted, gradient=ref.w)
        tg.grad(output, wanted, gradient=on_memory(ref.w), create_graph=True)


def first_failure(cases: Sequence[tuple[Row, Shapes]]) -> Exception | None:
    for row, shapes in cases:
        try:
            check(row, shapes)
        except Exception as failure:
            return failure
    return None


def main(names: Sequence[str]) -> int:
    """Print what became of every mutant; 1 if any survived, 2 for an unknown operation."""
    warnings.simplefilter("error")
    known = primitives()
    if unknown := set(names) - set(known):
        print(f"no such operation: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    total = Tally()
    print(
        f"{'operation':34}{'mutants':>9}{'caught':>9}{'crashed':>9}{'equivalent':>12}{'survivors':>11}"
    )
    for name in names or known:
        tally = try_all(name, known[name].op)
        _print_line(name, tally)
        total.caught += tally.caught
        total.crashed += tally.crashed
        total.equivalent += tally.equivalent
        total.survivors += [f"{name}, {what}" for what in tally.survivors]
    _print_line("in all", total)
    for survivor in total.survivors:
        print(f"survived: {survivor}")
    return 1 if total.survivors else 0


def _print_line(name: str, tally: Tally) -> None:
    counts = tally.caught, tally.crashed, len(tally.equivalent), len(tally.survivors)
    caught, crashed, equivalent, survivors = counts
    print(f"{name:34}{sum(counts):9}{caught:9}{crashed:9}{equivalent:12}{survivors:11}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
