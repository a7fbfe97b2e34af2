"""Choose the problems that claims are held against: their sizes, kinds, scales and branches.

- Sizes that all differ, so that nothing fits by accident, and special ones (m = 1, n = k), to tell
  what holds only there. Sizes at which `forward` fails are left out, and said.
- Kinds: targets of which nothing is said are tried as real, one-hot and binary; the axis of the
  classes is the one along which `forward` normalises.
- Unlike scales: entries between 10⁻³ and 30, and one input after the other 10⁻⁴ times as large, so
  that no term stays small beside another.
- Branches: where a side of a threshold is reached by fewer than three problems, inputs are
  stretched and shrunk until it is, but not so far that exp, tanh or softmax saturate, where a
  gradient says little: a clip at −100 before an exponential guards against overflow and is not met.
  What stays unreached is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Array
from .branches import Branch, count_reached
from .evaluation import Evaluator
from .functions import ClaimError
from .grammar import parse
from .inputs import (
    ALONG_CLASSES,
    TARGETS,
    CannotCheck,
    Kind,
    Spec,
    choose_sizes,
    general_sizes,
    size_letters,
    special_sizes,
)
from .problems import Problem, axes_of_classes, make_problem, solve, usual_kind
from .wording import Told

__all__ = ["Drawn", "Sampler"]

GENERAL = 8  # problems whose sizes all differ
LEAST = 3  # problems that a verdict needs, and that a side of a threshold should be reached by
UNLIKE = 4  # problems with entries of unlike scales
MOST_SHRUNK = 8  # … and inputs that are made small, one in each problem
SATURATED = 8.0  # no stretched problem gives more than this to exp, tanh, softmax …
BISECTIONS = 6  # to reach a threshold by about 4 %
LARGER, SMALLER = (4.0, 16.0, 64.0, 256.0), (1 / 16, 1 / 256)

Stretch = Mapping[str, Callable[[Array], Array]]
Kinds = Mapping[str, Kind]


@dataclass
class Drawn:
    """Problems for one choice of kinds, with what is special about each.

    problems   ("" or "k = 1" …, problem)
    unreached  sides of thresholds that no problem reaches
    left_out   sizes at which there is no problem, with the reason

    Example:
        >>> Drawn([]).unreached
        []
    """

    problems: list[tuple[str, Problem]]
    unreached: list[Branch] = field(default_factory=list)
    left_out: dict[str, Told] = field(default_factory=dict)


class Sampler:
    """Draws problems for a `forward`; the same ones for the same seed.

    Example:
        >>> from tinygrad_edu.verifying.inputs import read_specs
        >>> sampler = Sampler(lambda w: (w * w).sum(), read_specs({"w": "n"}))
        >>> drawn = sampler.draw(next(sampler.choices()))
        >>> drawn.problems[0][1].sizes
        {'n': 5}
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        specs: Mapping[str, Spec],
        given: Mapping[str, str] | None = None,
        seed: int = 0,
    ):
        self.forward, self.specs, self.given, self.seed = forward, specs, given or {}, seed
        self.letters = size_letters(specs)

    def complete(self, problem: Problem) -> Problem:
        """Add the names that were given as expressions to a problem.

        Raises:  CannotCheck if one of them cannot be worked out
        """
        try:
            for name, text in self.given.items():
                tree = parse(text, problem.names, problem.operations)
                problem.names[name] = problem.evaluator(tree)
                problem.evaluator = Evaluator(problem.names, problem.evaluator.functions)
        except ClaimError as error:
            raise CannotCheck(error.what, **error.about) from None
        return problem

    # --- kinds

    def choices(self) -> Iterator[dict[str, Kind]]:
        """Yield each choice of what the inputs hold that may be meant, the likeliest first."""
        open_ = [name for name, spec in self.specs.items() if self.is_open(name, spec)]
        axes = axes_of_classes(self.forward, self.specs, open_) if open_ else {}
        options = {name: self.options(name, self.specs[name], axes.get(name)) for name in open_}
        for choice in itertools.product(*options.values()):
            yield dict(zip(options, choice, strict=True))

    @staticmethod
    def is_open(name: str, spec: Spec) -> bool:
        """Return True if it is not said what a target holds, or where its classes lie."""
        if not spec.class_axes:
            return name in TARGETS and spec.kind is None and bool(spec.axes)
        if spec.kind in ALONG_CLASSES:
            return spec.axis is None
        if spec.kind == "binary":  # a vector with one 1: binary, or one sample's class
            return isinstance(spec.example, np.ndarray) and spec.example.sum() == 1
        return name in TARGETS and spec.kind is None

    @staticmethod
    def options(name: str, spec: Spec, axis: int | None) -> list[Kind]:
        """Return what an input may hold; `axis` is where `forward` has its classes, if known."""
        axes = [axis] if axis is not None else spec.class_axes
        if spec.kind == "probability" and axis is None and spec.axes[-1] == 1:
            return [usual_kind(spec)]
        if spec.kind == "binary":
            return [*([Kind("onehot", axis)] if axis is not None else []), Kind("binary")]
        if spec.kind is not None:
            return [Kind(spec.kind, axis) for axis in axes]
        if axis is None and (len(spec.axes) < 2 or spec.axes[-1] == 1):
            return [Kind("real"), Kind("binary")]
        return [Kind("real"), *(Kind("onehot", axis) for axis in axes), Kind("binary")]

    # --- problems

    def draw(self, kinds: Kinds) -> Drawn:
        """Return problems for a choice of kinds.

        Raises:  CannotCheck if there are fewer than three whose sizes all differ
        """
        rng = np.random.default_rng(self.seed)
        positive = {n: Kind("positive") for n, s in self.specs.items() if s.kind is None}
        tried = [kinds, {**positive, **kinds}]  # as they are; else positive, for a logarithm
        drawn, failures = Drawn([]), 0
        for what, sizes in choose_sizes(self.letters, GENERAL if self.letters else 4):
            problem, why = self.first_of(tried, sizes, rng)
            if problem is not None:
                drawn.problems.append((what, problem))
                continue
            failures += not what
            drawn.left_out.setdefault(what or _said(sizes), why)
            if failures >= LEAST and not drawn.problems:
                raise why
        if sum(not what for what, _ in drawn.problems) < LEAST:
            raise next(iter(drawn.left_out.values()))
        there = {what for what, _ in drawn.problems if what}
        drawn.left_out = {k: why for k, why in drawn.left_out.items() if k not in there}
        self.add_scales(drawn, tried)
        return drawn

    def first_of(
        self, tried: Sequence[Kinds], sizes: Mapping[str, int], rng: Any
    ) -> tuple[Problem | None, CannotCheck]:
        """The first problem that is finite, or why there is none."""
        why = CannotCheck("not-finite")
        for kinds in tried:
            try:
                problem = make_problem(self.forward, self.specs, sizes, kinds, rng)
                if problem.is_finite:
                    return self.complete(problem), why
            except CannotCheck as error:
                why = error
        return None, why

    def stretched(
        self, tried: Sequence[Kinds], sizes: Mapping[str, int], rng: Any, stretch: Stretch
    ) -> Problem | None:
        """A problem on another scale; None if it is not finite, or saturates."""
        for kinds in tried:
            try:
                problem = make_problem(self.forward, self.specs, sizes, kinds, rng, stretch=stretch)
                if problem.is_finite and problem.saturated <= SATURATED:
                    return self.complete(problem)
            except CannotCheck:
                continue
        return None

    def add_scales(self, drawn: Drawn, tried: Sequence[Kinds]) -> None:
        """Add problems with unlike scales, and those that reach what no other has reached."""
        rng = np.random.default_rng([self.seed, 1])
        names = [name for name in self.specs if self.has_scale(name, tried[0])]
        if names:
            drawn.problems += [("", p) for p in self.unlike(tried, names, rng)]
            drawn.problems += [("", p) for p in self.beyond(drawn, tried, names, rng)]
        reached = count_reached(p.branches for _, p in drawn.problems)
        drawn.unreached = [branch for branch, times in reached.items() if not times]

    def has_scale(self, name: str, kinds: Kinds) -> bool:
        """Return True if an input is of real numbers that `forward` may get in any scale."""
        kind = kinds.get(name) or usual_kind(self.specs[name])
        is_number = isinstance(self.specs[name].example, (bool, int, float))
        return kind.name in ("real", "positive") and not is_number

    def unlike(self, tried: Sequence[Kinds], names: Sequence[str], rng: Any) -> Iterator[Problem]:
        """Problems in which each entry has a scale of its own, or one input has another scale."""
        for sizes in general_sizes(self.letters, UNLIKE, 13):
            for top in (1.5, 0.5, -0.5):

                def scaled(x: Array, top: float = top) -> Array:
                    return np.asarray(x * 10 ** rng.uniform(-3, top, x.shape))

                problem = self.stretched(tried, sizes, rng, dict.fromkeys(names, scaled))
                if problem is not None:
                    yield problem
                    break
        sizes = general_sizes(self.letters, 1)[0]
        for name in names[:MOST_SHRUNK] if len(names) > 1 else ():
            problem = self.stretched(tried, sizes, rng, {name: _shrunk})
            if problem is not None:
                yield problem

    def beyond(
        self, drawn: Drawn, tried: Sequence[Kinds], names: Sequence[str], rng: Any
    ) -> list[Problem]:
        """Problems that reach sides of thresholds that fewer than three have reached."""
        found: list[Problem] = []
        problems = [p for _, p in drawn.problems]
        groups = [list(names), *([name] for name in names if len(names) > 1)]
        for group, factors in itertools.product(groups, (LARGER, SMALLER)):
            reached = count_reached(p.branches for p in [*problems, *found])
            missing = {branch for branch, times in reached.items() if times < LEAST}
            if not missing:
                break
            found += self.reaching(missing, tried, group, factors, rng)
        return found

    def reaching(
        self,
        missing: set[Branch],
        tried: Sequence[Kinds],
        names: Sequence[str],
        factors: Sequence[float],
        rng: Any,
    ) -> list[Problem]:
        """Problems with inputs multiplied by the first factor that reaches what is missing."""
        sizes = general_sizes(self.letters, LEAST + 1, 17)
        before = 1.0
        for factor in factors:
            problem = self.scaled_by(factor, tried, sizes[0], names, rng)
            if problem is None:
                break
            if any(problem.branches.get(branch) for branch in missing):
                more = [self.scaled_by(factor, tried, other, names, rng) for other in sizes[1:]]
                seeds = rng.integers(0, 2**32, (len(sizes), 2)).tolist()
                just = [
                    self.just_beyond(missing, tried, other, names, (before, factor), seed)
                    for other, seed in zip(sizes, seeds, strict=True)
                ]
                return [p for p in (problem, *more, *just) if p is not None]
            before = factor
        return []

    def scaled_by(
        self,
        factor: float,
        tried: Sequence[Kinds],
        sizes: Mapping[str, int],
        names: Sequence[str],
        rng: Any,
    ) -> Problem | None:
        """A problem with some of the inputs multiplied by a factor, if there is one."""
        return self.stretched(tried, sizes, rng, dict.fromkeys(names, lambda x: x * factor))

    def just_beyond(
        self,
        missing: set[Branch],
        tried: Sequence[Kinds],
        sizes: Mapping[str, int],
        names: Sequence[str],
        factors: tuple[float, float],
        seed: Sequence[int],
    ) -> Problem | None:
        """A problem that reaches what is missing by little, found by bisecting its scale: a claim
        with another threshold is right far from both."""
        found: Problem | None = None
        near, far = factors
        for _ in range(BISECTIONS):
            factor = far if found is None else (near * far) ** 0.5
            rng = np.random.default_rng(seed)  # the same numbers, in another scale
            problem = self.scaled_by(factor, tried, sizes, names, rng)
            if problem is not None and any(problem.branches.get(branch) for branch in missing):
                found, far = problem, factor
            elif found is None:
                break
            else:
                near = factor
        return found

    # --- special sizes

    def special(self, what: str, kinds: Kinds, name: str) -> list[Problem]:
        """Return problems of a special size, "k = 1", on which the gradient depends on the data.

        Behind a softmax of one class every gradient is that of the penalty, whatever the data are,
        and any claim with the right penalty is right: such a size says nothing.
        """
        rng = np.random.default_rng([self.seed, 2])
        general = self.informative(general_sizes(self.letters, 1)[0], kinds, name, rng, True)
        sizes = special_sizes(what, self.letters, 2 * LEAST)
        found = (self.informative(s, kinds, name, rng, general is not None) for s in sizes)
        return list(itertools.islice(filter(None, found), LEAST))

    def informative(
        self, sizes: Mapping[str, int], kinds: Kinds, name: str, rng: Any, responds: bool
    ) -> Problem | None:
        """A problem whose gradient is another with other data; `responds=False`: is not 0."""
        try:
            first, second = (
                make_problem(self.forward, self.specs, sizes, kinds, rng) for _ in range(2)
            )
            own = {k for k, s in self.specs.items() if k == name or not s.axes}
            others = {k: (first if k in own else second).inputs[k] for k in self.specs}
            changed = solve(self.forward, others, sizes)
            if not (first.is_finite and changed.is_finite):
                return None
            g, other = first.gradients[name], changed.gradients[name]
            if not responds:
                other = np.zeros_like(g)
            difference = float(np.abs(g - other).max(initial=0.0))
            largest = float(np.abs(g).max(initial=0.0))
            if difference > 1e-6 * largest or difference > 1e-10 * first.spread(name).max():
                return self.complete(first)
        except (CannotCheck, KeyError):
            pass
        return None


def _shrunk(x: Array) -> Array:
    return x * 1e-4


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{letter} = {n}" for letter, n in sizes.items())
