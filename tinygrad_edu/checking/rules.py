"""`check_rule`: check an operation and its rules on inputs of many shapes.

Hypothesis draws the inputs, whose shapes may be broadcast or empty, and reduces a failing input to
a small one. The module `gradients` has the checks for one set of inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..arrays import Array
from .gradients import Check, GradientError, name_of, names_of_inputs, quiet, short

Shape = tuple[int, ...]
__tracebackhide__ = True  # pytest shows the line of the test, not these

# --- many inputs ----------------------------------------------------------------------------------

Domain = tuple[float, float] | Callable[[np.random.Generator, Shape], Array]
DOMAINS: tuple[tuple[float, float], ...] = ((-2.5, 2.5), (0.3, 2.5), (0.1, 0.9))


def check_rule(
    op: Callable[..., Any],
    *,
    shapes: str | None = None,
    domain: Domain | Sequence[Domain] | None = None,
    wrt: Sequence[int] | None = None,
    dtype: Any = np.float32,
    order: int = 2,
    examples: int = 40,
    **settings: Any,
) -> bool:
    """Check an operation and its rules on inputs of many shapes; return True, or raise
    GradientError.

    It checks everything that `gradcheck` does, on inputs that are broadcast against each other,
    empty, all 0 or not contiguous. It also checks that each input can be differentiated alone, that
    the operation gives the same on arrays as on tensors, and that float32 stays float32. The error
    shows the smallest failing inputs and a guess at the mistake.

    shapes     the shape of each input, if not all shapes that broadcast are allowed: "m n, n k" for
               a matrix product, "n n" for a square matrix, "" for a number
    domain     the range of the numbers, (low, high), or a function (rng, shape) → array that draws
               them; one for all inputs, or a list with one for each. Default: the first of ±2.5,
               0.3 … 2.5 and 0.1 … 0.9 on which the operation gives finite numbers
    wrt        the positions of the inputs to differentiate; default: all that have a rule
    dtype      the dtype of the result for inputs of float32; None: any
    order      1 to leave out second derivatives
    examples   how many inputs are drawn
    settings   passed on to the operation

    Raises:  GradientError; ValueError if the operation refuses most of the inputs; ImportError
             without Hypothesis (`pip install tinygrad_edu[testing]`)
    Example:
        >>> import tinygrad_edu as tg
        >>> check_rule(tg.matmul, shapes="m n, n k", examples=5)
        True
        >>> @tg.primitive(lambda g, y, x: 2 * g * x)
        ... def cube(x):
        ...     return x**3
        >>> try:
        ...     check_rule(cube)
        ... except GradientError as error:
        ...     print(error.guess)
        a factor 3/2·x were missing
    """
    patterns = _patterns(op, shapes)
    wanted = list(_wanted(op, len(patterns)) if wrt is None else wrt)
    choices = _shapes(patterns)
    domains = _domains(op, patterns, domain, settings)
    trials = _Trials(op, names_of_inputs(op, len(patterns)), wanted, dtype, order, settings)
    _try_drawn_inputs(trials, choices, domains, examples)
    if trials.failures:
        with quiet():
            _better_guess(trials.failures[-1], op, patterns, domains, wanted, settings)
        raise _smallest(trials.failures) from None
    trials.raise_if_mostly_refused(examples)
    for arrays in _zeros(patterns, domains):
        trials.attempt(arrays)
    return True


class _Trials:
    """The inputs on which an operation was tried: how many, the refusals and the failures."""

    def __init__(
        self,
        op: Callable[..., Any],
        names: Sequence[str],
        wanted: list[int],
        dtype: Any,
        order: int,
        settings: dict[str, Any],
    ):
        self.op, self.names, self.wanted = op, names, wanted
        self.dtype, self.order, self.settings = dtype, order, settings
        self.tried = 0
        self.refusals: list[str] = []
        self.failures: list[Exception] = []

    def attempt(self, arrays: list[Array]) -> None:
        """Check the operation on these inputs, unless it refuses them or its result is not finite.

        Raises:  GradientError, or an error of the operation or its rules
        """
        with quiet():
            try:
                y = self.op(*(x.copy() for x in arrays), **self.settings)
            except (ValueError, IndexError) as refusal:
                self.refusals.append(str(refusal))
                return
            if not np.isfinite(np.asarray(y)).all():
                self.refusals.append(f"the result is not finite: {short(np.asarray(y))}")
                return
            self.tried += 1
            try:
                self._check(arrays, y)
            except GradientError as failure:
                self.failures.append(failure)
                raise
            except Exception as failure:
                pairs = zip(self.names, arrays, strict=True)
                told = "\n".join(f"  {n} = {short(x)}" for n, x in pairs)
                failure.add_note(f"check_rule: {name_of(self.op)} at\n{told}")
                self.failures.append(failure)
                raise

    def _check(self, arrays: list[Array], y: Any) -> None:
        check = Check(self.op, arrays, self.wanted, **self.settings)
        check.all(self.order)
        check.on_arrays(y)
        check.alone()
        check.in_memory()
        if self.dtype is not None:
            check.narrow(np.dtype(self.dtype))

    def raise_if_mostly_refused(self, examples: int) -> None:
        """Raise ValueError if fewer than a fifth of the inputs could be checked."""
        if self.tried < examples / 5:
            reasons = max(set(self.refusals), key=self.refusals.count)
            count = len(self.refusals)
            raise ValueError(
                f"check_rule: {name_of(self.op)} refused {count} of {count + self.tried} drawn "
                f"inputs, most of them with “{reasons}”; say which ones it takes: "
                'check_rule(op, shapes="m n, n k", domain=(0.1, 3))'
            )


def _try_drawn_inputs(
    trials: _Trials, choices: Sequence[Sequence[Any]], domains: Sequence[Domain], examples: int
) -> None:
    """Draw inputs with Hypothesis and try them; failures, shrunk too, are in `trials.failures`.

    Raises:  ImportError without Hypothesis, and its own errors
    """
    try:
        import hypothesis
        from hypothesis import strategies as st
    except ImportError as error:
        raise ImportError(
            "check_rule draws its inputs with Hypothesis: pip install 'tinygrad_edu[testing]'; "
            "gradcheck(f, inputs) needs NumPy only"
        ) from error

    def body(data: Any) -> None:
        chosen = data.draw(st.one_of([st.sampled_from(some) for some in choices]))
        trials.attempt([_draw(data, d, s) for d, s in zip(domains, chosen, strict=True)])

    run = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )(hypothesis.given(st.data())(body))
    try:
        run()
    except Exception:
        if not trials.failures:
            raise


HYPOTHESIS = ("Failing test case", "Falsifying example", "Draw ")  # the notes that it adds begin so


def _smallest(failures: Sequence[Exception]) -> Exception:
    """Return the last failure, which Hypothesis has reduced, without the notes it added."""
    last = failures[-1]
    if isinstance(last, GradientError):
        return GradientError(last.told, last.guess, last.inputs)
    last.__notes__ = [note for note in last.__notes__ if not note.startswith(HYPOTHESIS)]
    return last


def _better_guess(
    failure: Exception,
    op: Any,
    patterns: Sequence[Any],
    domains: Sequence[Domain],
    wanted: Sequence[int],
    settings: Mapping[str, Any],
) -> None:
    """Replace the guess by one from larger inputs, if these show the mistake too."""
    if not isinstance(failure, GradientError) or " is wrong, in " not in failure.told:
        return
    rng = np.random.default_rng(3)
    arrays = []
    for pattern, domain in zip(patterns, domains, strict=True):
        shape = (6,) if pattern is None else tuple(int(c) if c.isdigit() else 3 for c in pattern)
        if callable(domain):
            arrays.append(np.asarray(domain(rng, shape)))
        else:
            arrays.append(rng.uniform(*domain, shape))
    try:
        Check(op, arrays, wanted, **settings).first()
    except GradientError as other:
        if other.told.partition("wrong")[0] == failure.told.partition("wrong")[0]:
            failure.guess = other.guess
    except Exception:  # it refuses these inputs
        return


def _patterns(op: Any, shapes: str | None) -> list[list[str] | None]:
    """Return for each input the letters or numbers of its axes; None: any shape."""
    declared = getattr(op, "op", None)
    if shapes is not None:
        if not isinstance(shapes, str):
            raise TypeError(
                f"check_rule: shapes is text with one shape for each input, such as "
                f'shapes="m n, n k" or "2 3, 3 4", received {shapes!r:.60}'
            )
        patterns: list[list[str] | None] = [part.split() for part in shapes.split(",")]
        if declared is not None and declared.arity not in (None, len(patterns)):
            raise ValueError(
                f"check_rule: {name_of(op)} takes {declared.arity} arrays, shapes={shapes!r} names "
                f"{len(patterns)}; write one for each, with commas between"
            )
        return patterns
    if declared is not None and declared.arity is not None:
        return [None] * declared.arity
    parameters = list(inspect.signature(op).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    n = sum(p.kind in kinds and p.default is p.empty for p in parameters)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or not n:
        raise TypeError(
            f"check_rule: how many arrays does {name_of(op)} take? Say so with their shapes, such "
            'as shapes="m n, m n"'
        )
    return [None] * n


def _wanted(op: Any, n: int) -> list[int]:
    """Return the inputs that have a rule; of a composite function all."""
    declared = getattr(op, "op", None)
    if declared is None or declared.arity is None:
        return list(range(n))
    return [i for i, rule in enumerate(declared.rules) if rule is not None]


def _domains(
    op: Any, patterns: Sequence[Any], domain: Any, settings: Mapping[str, Any]
) -> list[Domain]:
    n = len(patterns)
    if domain is not None:
        several = isinstance(domain, (list, tuple)) and not isinstance(domain[0], (int, float))
        domains = list(domain) if several else [domain] * n
        if len(domains) != n:
            raise ValueError(f"check_rule: {len(domains)} domains for {n} inputs")
        return domains
    rng = np.random.default_rng(0)
    for low, high in DOMAINS:
        arrays = [rng.uniform(low, high, [3] * (2 if p is None else len(p))) for p in patterns]
        with quiet(), suppress(ValueError, IndexError):
            if np.isfinite(np.asarray(op(*arrays, **settings))).all():
                return [(low, high)] * n
    return [DOMAINS[0]] * n


SIDES = (1, 2, 3, 0)
TOGETHER: tuple[Shape, ...] = ((), (1,), (2,), (3,), (2, 2), (2, 3), (3, 1, 2), (0,), (2, 0))


def _shapes(patterns: Sequence[Any]) -> list[list[tuple[Shape, ...]]]:
    """Return lists to draw the shapes of all inputs from, each with the smallest first."""
    if None not in patterns:
        letters = dict.fromkeys(c for pattern in patterns for c in pattern if not c.isdigit())
        found = []
        for sides in product(SIDES, repeat=len(letters)):
            size = dict(zip(letters, sides, strict=True))
            found.append(
                tuple(tuple(int(c) if c.isdigit() else size[c] for c in p) for p in patterns)
            )
        return [found]
    alike = [(shape,) * len(patterns) for shape in TOGETHER]
    broadcast = []
    for whole in TOGETHER:
        ones = [(*whole[:i], 1, *whole[i + 1 :]) for i in range(len(whole))]
        parts = dict.fromkeys([whole, *ones, *(whole[i:] for i in range(1, len(whole) + 1))])
        broadcast += [c for c in product(parts, repeat=len(patterns)) if len(set(c)) > 1]
    return [alike, broadcast] if broadcast else [alike]


# The simplest first, to which what fails is shrunk.
SIMPLE = (1.0, 2.0, 0.5, -1.0, -2.0, 1.5, -0.5, -1.5, 0.25, 0.75, -0.75, 0.0)


def _zeros(patterns: Sequence[Any], domains: Sequence[Domain]) -> list[list[Array]]:
    """Yield inputs that are all 0, of one entry and more: random numbers hardly ever meet 0/0."""
    middles = [0.0 if d[0] < 0 < d[1] else (d[0] + d[1]) / 2 for d in domains if not callable(d)]
    if len(middles) < len(domains) or all(middles):
        return []
    return [
        [
            np.full((side,) if p is None else [int(c) if c.isdigit() else side for c in p], middle)
            for p, middle in zip(patterns, middles, strict=True)
        ]
        for side in (1, 2)
    ]


def _draw(data: Any, domain: Domain, shape: Shape) -> Array:
    from hypothesis import strategies as st

    if callable(domain):
        return np.asarray(domain(np.random.default_rng(data.draw(st.integers(0, 999))), shape))
    low, high = domain
    others = (low + (high - low) * (np.arange(13) + 0.37) / 13).round(3).tolist()
    numbers = st.sampled_from([*(x for x in SIMPLE if low <= x <= high), *others])
    n = prod(shape)
    k = n or 9  # an empty input must not count as the simplest
    drawn = data.draw(st.lists(numbers, min_size=k, max_size=k))
    return np.array(drawn[:n], float).reshape(shape)
