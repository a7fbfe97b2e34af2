"""What claims about one `forward` are held against: each part is made once, and kept.

A class's submissions share it: the task's problems are made before the first of them is judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from .claims import Sheet
from .derivations import Function, number
from .functions import ClaimError
from .inputs import CannotCheck, Kind, is_shape, read_specs, size_letters
from .names import Names
from .problems import Problem, make_problem, separate, solve
from .sampling import Drawn, Sampler

__all__ = ["Prepared", "with_numbers"]

Kinds = Mapping[str, Kind]
ATTEMPTS = 3  # small problems of the same sizes
MOST_SMALL = 150  # sizes of small problems


class Prepared:
    """The problems for a `forward`, made when they are first asked for.

    forward, inputs, given, seed   as for `verify`
    specs       what is said of each input; `separated`: the axes were told apart by running it
    unclear     letters of axes that could not be told apart
    letters     of the sizes

    Raises:  CannotCheck for inputs that are not understood
    Example:
        >>> prepared = Prepared(lambda w: (w * w).sum(), {"w": "n"})
        >>> kinds, drawn = next(prepared.choices())
        >>> drawn.problems[0][1].sizes
        {'n': 5}
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        inputs: Mapping[str, Any],
        given: Mapping[str, str] | None = None,
        seed: int = 0,
    ):
        self.forward, self.inputs, self.given = forward, dict(inputs), dict(given or {})
        as_said = read_specs(inputs)
        self.specs, self.unclear = separate(forward, as_said)
        self.separated = self.specs != as_said
        self.letters = size_letters(self.specs)
        self.sampler = Sampler(forward, self.specs, self.given, seed)
        self._kinds = list(self.sampler.choices())
        self._drawn: list[Drawn | CannotCheck] = []  # for each of these kinds
        self._special: dict[Any, list[Problem]] = {}
        self._small: dict[Any, Problem | None] = {}

    def choices(self) -> Iterator[tuple[Kinds, Drawn]]:
        """Yield problems for each choice of what targets hold that `forward` takes.

        Raises:  CannotCheck if it takes none
        """
        for i, kinds in enumerate(self._kinds):
            if i == len(self._drawn):
                try:
                    self._drawn.append(self.sampler.draw(kinds))
                except CannotCheck as error:
                    self._drawn.append(error)
            drawn = self._drawn[i]
            if isinstance(drawn, Drawn):
                yield kinds, drawn
        first = self._drawn[0]
        if isinstance(first, CannotCheck) and not any(isinstance(x, Drawn) for x in self._drawn):
            raise first

    def begin(self) -> None:
        """Forget what earlier claims were worth: the work on these claims is counted anew."""
        drawn = [p for x in self._drawn if isinstance(x, Drawn) for _, p in x.problems]
        special = [p for problems in self._special.values() for p in problems]
        for problem in [*drawn, *special, *filter(None, self._small.values())]:
            problem.forget()

    def special(self, what: str, kinds: Kinds, name: str) -> list[Problem]:
        """Return problems of a special size, "k = 1", on which ∂L/∂name depends on the data."""
        key = (what, _key(kinds), name)
        if key not in self._special:
            self._special[key] = self.sampler.special(what, kinds, name)
        return self._special[key]

    def small_sizes(self) -> Iterator[dict[str, int]]:
        """Yield the sizes of small problems in the order of their sum."""
        n = len(self.letters)
        lengths = range(1, (3 if n <= 4 else 2) + 1)
        grid = sorted(product(lengths, repeat=min(n, 8)), key=lambda s: (sum(s), s))
        for sizes in grid[:MOST_SMALL]:
            yield dict.fromkeys(self.letters, 1) | dict(zip(self.letters, sizes, strict=False))

    def small(self, sizes: Mapping[str, int], kinds: Kinds, attempt: int) -> Problem | None:
        """Return a problem of small whole numbers; None if it is not finite."""
        key = (tuple(sizes.items()), _key(kinds), attempt)
        if key not in self._small:
            self._small[key] = self._made(sizes, kinds, attempt)
        return self._small[key]

    def _made(self, sizes: Mapping[str, int], kinds: Kinds, attempt: int) -> Problem | None:
        rng = np.random.default_rng(attempt)
        try:
            problem = make_problem(self.forward, self.specs, sizes, kinds, rng, whole=True)
            return self.sampler.complete(problem) if problem.is_finite else None
        except CannotCheck:
            return None

    def example(self) -> Problem | None:
        """Return the problem of the example inputs themselves, if arrays were given."""
        if any(isinstance(x, str) or is_shape(x) for x in self.inputs.values()):
            return None
        inputs = {}
        for name, x in self.inputs.items():
            x = number(x)
            x = np.asarray(x) if isinstance(x, list) else x
            real = isinstance(x, np.ndarray) and x.dtype.kind == "f"
            inputs[name] = x.astype(float) if real else x
        return self.sampler.complete(solve(self.forward, inputs))

    def make_ahead(self, seconds: float) -> None:
        """Make small problems, for as long as that, of which counterexamples are chosen.

        They are the same whether they are made ahead or when they are asked for.
        """
        end = time.monotonic() + seconds
        kinds = next(self.choices())[0]
        for attempt, sizes in product(range(ATTEMPTS), self.small_sizes()):
            if time.monotonic() > end:
                return
            self.small(sizes, kinds, attempt)


def _key(kinds: Kinds) -> Sequence[tuple[str, Kind]]:
    return tuple(kinds.items())


def with_numbers(prepared: Prepared, claims: Any, wrt: Sequence[str] | None) -> Prepared:
    """Return problems in which an input that is a plain number has a gradient if one is claimed.

    A number that nothing is claimed about stays a number for `forward`, which may branch on it.

    Example:
        >>> prepared = Prepared(lambda x, b: ((x + b) * (x + b)).sum(), {"x": "n", "b": 0.5})
        >>> [with_numbers(prepared, {n: "x"}, None).inputs["b"] for n in ("dx", "db")]
        [0.5, array(0.5)]
    """
    numbers = [
        name
        for name, x in prepared.inputs.items()
        if isinstance(x, (int, float)) and not isinstance(x, (bool, np.generic))
    ]
    if not numbers:
        return prepared
    first = next(prepared.choices())[1].problems[0][1]
    names = Names(gradients=numbers, losses=first.returned)
    claimed: set[str | None] = set()
    for text in _claimed_names(claims, wrt, Sheet(first, prepared.given, None)):
        with contextlib.suppress(ClaimError):
            claimed.add(names.target(text))
    claimed &= {*numbers}
    if not claimed:
        return prepared
    inputs = {k: np.array(float(x)) if k in claimed else x for k, x in prepared.inputs.items()}
    return Prepared(prepared.forward, inputs, prepared.given, prepared.sampler.seed)


def _claimed_names(claims: Any, wrt: Sequence[str] | None, sheet: Sheet) -> Iterator[str]:
    """Yield what may name a gradient in claims, whatever form they have."""
    yield from wrt or ()
    if isinstance(claims, str):
        with contextlib.suppress(CannotCheck):  # said when they are read as claims
            yield from (line.name for line in sheet.lines_of(claims))
    elif hasattr(claims, "gradients"):  # an Explanation
        yield from claims.gradients
    elif isinstance(claims, Mapping):
        yield from map(str, claims)
    elif callable(claims):
        yield from Function(claims).returned
