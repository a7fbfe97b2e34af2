"""`gradcheck`: compare a gradient with measured slopes.

A wrong rule still computes something, and a network may even learn with it. So each entry of a
gradient is compared with the slope of the function itself (see `slopes`), and each entry of the
gradient's gradient with the slope of the gradient. A rule is also checked for side effects: that
it does not change its arguments, return memory that it writes to later, or depend on earlier
calls.

`gradcheck` takes one set of inputs and any function; `check_rule` (in `rules`) draws many
inputs.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ..arrays import Array, as_array
from ..engine import Box, recorded_results
from ..gradients import grad
from ..recording import no_grad
from ..tensor import Tensor
from .guessing import guess
from .layouts import LAYOUTS, memory, on_memory
from .slopes import Slope, measure

Shape = tuple[int, ...]
__tracebackhide__ = True  # pytest shows the line of the test, not these


class GradientError(AssertionError):
    """Raised for a gradient that is wrong, or that cannot be checked.

    told     what is wrong, with the entry and both figures
    guess    what the mistake may be, or ""
    inputs   the inputs at which it was found

    Example:
        >>> print(GradientError("swish: the gradient by x is wrong", "the sign were wrong"))
        swish: the gradient by x is wrong
          it looks as if the sign were wrong
    """

    def __init__(self, told: str, guess: str = "", inputs: str = "") -> None:
        self.told, self.guess, self.inputs = told, guess, inputs
        guessed = f"  it looks as if {guess}" if guess else ""
        super().__init__("\n".join(filter(None, [told, guessed, inputs])))


# --- one set of inputs ----------------------------------------------------------------------------


def gradcheck(
    f: Callable[..., Any], inputs: Any, *, wrt: Sequence[int] | None = None, order: int = 2
) -> bool:
    """Compare the gradient of f at these inputs with the slopes of f; return True, or raise
    GradientError.

    `inputs` are the arguments of f, arrays or tensors: one, or a tuple of several. Floating ones
    are differentiated (or those at the positions `wrt`), the others are constants. f may have
    parameters of its own (`gradcheck(layer, X)`); it must return the same at every call.

    It checks gradients of first order, entry by entry, and of second order (not with `order=1`); at
    a kink the gradient must lie between the slopes of both sides. It also checks that arguments and
    earlier results are not changed, and that recorded and unrecorded gradients are equal. float32
    inputs are checked in float64, then the float32 gradients are compared with those.

    Raises:  GradientError with the entry, both figures and a guess at the mistake; also if the
             function computes in float32, too coarsely to measure its slopes to 0.1 %
    Source:  torch.autograd.gradcheck
    Example:
        >>> import tinygrad_edu as tg
        >>> gradcheck(tg.tanh, np.array([0.5, -1.0]))
        True
        >>> @tg.primitive(lambda g, y, x: g * y)
        ... def squash(x):
        ...     return tg.sigmoid(x)
        >>> try:
        ...     gradcheck(squash, np.array([0.5, -1.0]))
        ... except GradientError as error:
        ...     print(error.guess)
        a factor 1 − y were missing
    """
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    arrays = [np.array(x.value if isinstance(x, Box) else as_array(x)) for x in given]
    wanted = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    wanted = [i for i in wanted if wrt is None or i in wrt]
    if not wanted:
        raise TypeError(
            "gradcheck needs a floating-point input, received "
            f"{', '.join(f'{x.shape} {x.dtype}' for x in arrays) or 'none'}; give np.array([1.0]), "
            "a list being several inputs"
        )
    wide = [x.astype(np.float64) if i in wanted else x for i, x in enumerate(arrays)]
    with quiet():
        Check(f, wide, wanted).all(order)
        if any(x.dtype.itemsize < 8 for x in arrays):
            Check(f, wide, wanted).beside(arrays)
    return True


def checked_gradients(f: Callable[..., Any], arrays: Sequence[Array], names: Sequence[str]) -> None:
    """Do what `gradcheck` does, with names for the inputs; floating ones are differentiated.

    Example:
        >>> checked_gradients(np.multiply, [np.ones(2), np.array([1, 2])], ["weight", "k"])
    """
    with quiet():
        check = Check(f, arrays, [i for i, x in enumerate(arrays) if x.dtype.kind == "f"])
        check.names = list(names)
        check.all(order=1)


class Check:
    """One function at one set of inputs; each method checks one property.

    Example:
        >>> check = Check(np.exp, [np.zeros(2)], [0])
        >>> check.first()
        >>> check.y
        array([1., 1.])
    """

    def __init__(
        self, f: Callable[..., Any], arrays: Sequence[Array], wanted: Sequence[int], **settings: Any
    ) -> None:
        self.f, self.arrays, self.wanted, self.settings = f, list(arrays), list(wanted), settings
        self.name = name_of(f)
        self.names = names_of_inputs(f, len(self.arrays))
        self.y = self.value([x.copy() for x in self.arrays])
        rng = np.random.default_rng(7)

        def numbers(shape: Shape) -> Array:
            return np.asarray((rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)).round(2))

        self.g = numbers(
            self.y.shape
        )  # the error at the output: random, so that mistakes do not cancel
        self.u = {i: numbers(self.arrays[i].shape) for i in self.wanted}
        self.v = {i: numbers(self.arrays[i].shape) for i in self.wanted}
        self.kinked = False

    # --- calling it -------------------------------------------------------------------------------

    def value(self, arrays: Sequence[Any]) -> Array:
        """Return f of constants, or of complex arrays as they are."""
        if any(np.iscomplexobj(x) for x in arrays):
            return np.asarray(self.f(*arrays, **self.settings))
        tensors = [Tensor(x) if i in self.wanted else x for i, x in enumerate(arrays)]
        with no_grad():
            y = self.f(*tensors, **self.settings)
        return y.value if isinstance(y, Box) else as_array(y)

    def recorded(self, arrays: Sequence[Array]) -> tuple[list[Tensor], Tensor]:
        """Return variables with these arrays, and f of them."""
        inputs: list[Any] = [on_memory(x) if i in self.wanted else x for i, x in enumerate(arrays)]
        y = self.f(*inputs, **self.settings)
        if not isinstance(y, Tensor) or y.record is None:
            self.fail(
                "nothing was recorded: what it gives does not depend on its inputs; does it turn "
                "them into arrays (.numpy(), .detach())?"
            )
        return [inputs[i] for i in self.wanted], y

    def gradients(self, arrays: Sequence[Array], times: float = 1.0) -> list[Array]:
        """Return the gradients at these arrays, given the error g at the output times `times`."""
        variables, y = self.recorded(arrays)
        found: list[Array] = grad(y, variables, gradient=times * self.g)
        return found

    def moved(self, steps: Mapping[int, Any]) -> list[Any]:
        """Return the inputs with a step added to some of them."""
        return [x + steps[i] if i in steps else x for i, x in enumerate(self.arrays)]

    # --- what must hold ---------------------------------------------------------------------------

    def all(self, order: int) -> None:
        """Check everything that must hold for any function."""
        self.untouched(self.arrays)
        self.repeatable()
        self.first()
        if order > 1 and not self.kinked:
            self.second()

    def untouched(self, arrays: Sequence[Array]) -> list[Array]:
        """Check that neither arguments nor earlier results are changed."""
        before = [memory(x) for x in arrays]
        variables, y = self.recorded(arrays)
        result = y.value.copy()
        error, *found = grad(y, [y, *variables], gradient=self.g)
        for name, x, was in zip(self.names, arrays, before, strict=True):
            if memory(x) != was:
                self.fail(f"the input {name} was changed in place; make a new array instead")
        if error.tobytes() != self.g.astype(error.dtype).tobytes():
            self.fail("a rule changed g, the error at the output, in place; make a new array")
        if y.value.tobytes() != result.tobytes():
            self.fail("a rule changed y, the output, in place; make a new array instead")
        again = grad(y, variables, gradient=self.g, create_graph=True)
        for i, a, b in zip(self.wanted, found, again, strict=True):
            if not near(a, b.value, 1e-6 if self.eps(y) > 1e-9 else 1e-10):
                self.fail(
                    f"the rule for {self.names[i]} gives one error on arrays and another on "
                    f"tensors (create_graph=True)\n  on arrays {short(a)}, on tensors "
                    f"{short(b.value)}"
                )
        return list(found)

    def repeatable(self) -> None:
        """Check that a call does not depend on the calls before it."""
        if self.value(self.arrays).tobytes() != self.y.tobytes():
            self.fail("it gives other numbers when it is called again; give it a seed of its own")
        first = self.gradients(self.arrays)
        variables, y = self.recorded(self.arrays)
        kept = [y.value.copy(), *(x.copy() for x in first)]
        others = [x * 0.75 if i in self.wanted else x for i, x in enumerate(self.arrays)]
        try:
            self.gradients(others, 0.5)
        except (ValueError, IndexError):  # it refuses these inputs; use the same ones
            self.gradients(self.arrays, 0.5)
        for was, now, what in zip(
            kept,
            [y.value, *first],
            ["result", *(f"gradient by {self.names[i]}" for i in self.wanted)],
            strict=True,
        ):
            if was.tobytes() != now.tobytes():
                self.fail(
                    f"the {what} of one call is overwritten by the next: it returns memory that "
                    "it uses again; give a new array each time"
                )
        for i, a, b in zip(self.wanted, grad(y, variables, gradient=self.g), first, strict=True):
            if not near(a, b, 1e-10):
                self.fail(
                    f"the gradient by {self.names[i]} is another one if something else is computed "
                    "between forward and backward: it depends on what an earlier call left behind"
                )

    def first(self) -> None:
        """Compare each entry of the gradients with its slope."""
        variables, y = self.recorded(self.arrays)
        eps = self.eps(y)
        for i, claimed in zip(self.wanted, grad(y, variables, gradient=self.g), strict=True):
            slopes = {place: self.slope(i, place, eps) for place in np.ndindex(claimed.shape)}
            self.kinked |= any(slope.sides is not None for slope in slopes.values())
            scale = max((abs(s.value) for s in slopes.values() if np.isfinite(s.value)), default=0)
            wrong = [
                place
                for place, slope in slopes.items()
                if not slope.allows(float(claimed[place]))
                and not abs(claimed[place] - slope.value) <= 1e-12 * scale
            ]
            if wrong:
                self.wrong(i, claimed, slopes, wrong)
            for place, slope in slopes.items():
                doubt, size = 10 * slope.error, max(abs(slope.value), abs(claimed[place]))
                if eps > 1e-9 and doubt > 1e-3 * size:
                    self.fail(
                        f"float32 is too coarse to tell whether the gradient by {self.names[i]} is "
                        f"right\n  entry {list(place)}: the slope is {slope.value:.3g} ± "
                        f"{doubt:.1g}, the rule gives {claimed[place]:.3g}\n  let it compute in "
                        "float64: no astype(float32) inside, parameters with dtype=float64"
                    )

    def slope(self, i: int, place: tuple[int, ...], eps: float) -> Slope:
        """Return the slope with respect to one entry of one input."""
        there = np.zeros(self.arrays[i].shape)
        there[place] = 1
        size = float(max(1.0, abs(self.arrays[i][place])))
        return measure(lambda t: self.g * self.value(self.moved({i: t * there})), eps, size)

    def second(self) -> None:
        """Check the second derivatives: those of ⟨u, gradient⟩ by the inputs and by the error at
        the output.
        """
        variables, _ = self.recorded(self.arrays)
        inputs: list[Any] = list(self.arrays)
        for i, variable in zip(self.wanted, variables, strict=True):
            inputs[i] = variable
        g = Tensor(self.g, requires_grad=True)
        y = self.f(*inputs, **self.settings)
        eps = self.eps(y)
        total = [np.zeros(x.shape) for x in (*variables, g)]
        for i, first in zip(
            self.wanted, grad(y, variables, gradient=g, create_graph=True), strict=True
        ):
            if first.record is not None:
                parts = grad(first, [*variables, g], gradient=self.u[i])
                total = [a + b for a, b in zip(total, parts, strict=True)]
        by_g = total.pop()

        def along(directions: Mapping[int, Array]) -> Slope:
            def terms(t: Any) -> Array:
                found = self.gradients(self.moved({i: t * d for i, d in directions.items()}))
                pairs = zip(self.wanted, found, strict=True)
                return np.concatenate([(self.u[i] * g).ravel() for i, g in pairs])

            return measure(terms, eps)

        slope = along(self.v)
        claimed = sum(float((self.v[i] * s).sum()) for i, s in zip(self.wanted, total, strict=True))
        if not slope.allows(claimed):
            for i, second in zip(self.wanted, total, strict=True):
                slopes = {}
                for place in np.ndindex(second.shape):
                    there = np.zeros(second.shape)
                    there[place] = 1
                    slopes[place] = along({i: there})
                wrong = [p for p, s in slopes.items() if not s.allows(float(second[p]))]
                if wrong:
                    self.wrong(i, second, slopes, wrong, "second-order ")
        r = np.cos(np.arange(self.g.size)).reshape(self.g.shape)
        slope = measure(
            lambda t: r * self.value(self.moved({i: t * u for i, u in self.u.items()})), eps
        )
        if not slope.allows(float((r * by_g).sum())):
            self.fail(
                "second order: the gradient does not change with g, the error at the output, as "
                "it should; is g cut off in a rule (.numpy(), .detach()) or used twice?"
            )

    def eps(self, y: Tensor) -> float:
        """The coarsest precision among the intermediate results."""
        kinds = {x.dtype for x in (y.value, *(node.value for node in recorded_results(y)))}
        return float(max(np.finfo(kind).eps for kind in kinds if kind.kind == "f"))

    # --- more than one function of one set of inputs ----------------------------------------------

    def on_arrays(self, y: Any) -> None:
        """Check that the operation on arrays gives the same array as on tensors."""
        if isinstance(y, Box):
            self.fail("called with arrays it gives a tensor; it should give an array")
        if not near(np.asarray(y), self.y, 1e-12):
            self.fail(f"on arrays it gives {short(y)}, on tensors {short(self.y)}")

    def alone(self) -> None:
        """Check that the gradient of one input does not depend on which others are
        differentiated.
        """
        together = self.gradients(self.arrays)
        for i, both in zip(self.wanted, together, strict=True):
            inputs: list[Any] = list(self.arrays)
            inputs[i] = on_memory(self.arrays[i])
            y = self.f(*inputs, **self.settings)
            single = grad(y, inputs[i], gradient=self.g)
            if not near(single, both, 1e-10):
                self.fail(
                    f"the gradient by {self.names[i]} is another one if the other inputs are "
                    f"constants: {short(single)}, not {short(both)}"
                )

    def in_memory(self) -> None:
        """Check that the memory layout of the inputs makes no difference."""
        wanted = [self.y, *self.gradients(self.arrays)]
        for layout, lay in LAYOUTS.items():
            laid = [lay(x) for x in self.arrays]
            for a, b in zip([self.value(laid), *self.untouched(laid)], wanted, strict=True):
                if not near(a, b, 1e-10):
                    self.fail(f"{layout} inputs give {short(a)}, contiguous ones {short(b)}")

    def narrow(self, dtype: Any) -> None:
        """Check that float32 stays float32, with the same values up to its precision."""
        arrays = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in self.arrays]
        y = self.value(arrays)
        if y.dtype != dtype:
            self.fail(
                f"float32 inputs give {y.dtype}, expected {dtype}; is an array of float64 "
                "in the function? (a Python number keeps float32, np.float64 and np.ones do not)"
            )
        self.beside(arrays)

    def beside(self, arrays: Sequence[Array]) -> None:
        """Compare gradients of lower precision with these."""
        for i, a, b in zip(
            self.wanted, self.gradients(arrays), self.gradients(self.arrays), strict=True
        ):
            if not near(a, b, 1e-3):
                self.fail(
                    f"in {arrays[i].dtype} the gradient by {self.names[i]} is {short(a)}, in "
                    f"float64 {short(b)}: too coarse to tell, or the rule loses digits"
                )

    # --- what was wrong ---------------------------------------------------------------------------

    def wrong(
        self,
        i: int,
        claimed: Array,
        slopes: Mapping[tuple[int, ...], Slope],
        wrong: list[tuple[int, ...]],
        order: str = "",
    ) -> None:
        """Raise GradientError with the wrong entry and a guess at the mistake."""
        place = wrong[0]
        slope, name = slopes[place], self.names[i]
        if not np.isfinite(slope.value):
            self.fail(
                f"the {order}slope by {name} cannot be measured at entry {list(place)}, where "
                f"{name} is {self.arrays[i][place]:g}: the function is not finite near it"
            )
        true = np.array([slopes[p].value for p in np.ndindex(claimed.shape)])
        true = true.reshape(claimed.shape)
        entry = f"entry {list(place)}: " if place else ""
        exact = "" if slope.complex_step is None else f", complex step {slope.complex_step:.8g}"
        lines = [
            f"the {order}gradient by {name} is wrong, in {len(wrong)} of {claimed.size} entries",
            f"  {entry}the rule gives {claimed[place]:.8g}, the slope measured is "
            f"{slope.value:.8g} ± {max(slope.error, 1e-16):.0e}{exact}",
        ]
        if slope.sides is not None:
            lines[-1] += f", a kink: {slope.sides[0]:.6g} on the left, {slope.sides[1]:.6g} right"
        guessed = guess(claimed, true, self.arrays[i], self.y, self.g if not order else None)
        self.fail("\n".join(lines), guessed)

    def fail(self, told: str, guessed: str = "") -> NoReturn:
        """Raise GradientError with the inputs."""
        pairs = zip(self.names, self.arrays, strict=True)
        lines = [f"  {name} = {short(x)}" for name, x in pairs]
        inputs = "\n".join([*lines, f"  g = {short(self.g)}, the error at the output"])
        raise GradientError(f"{self.name}: {told}", guessed, inputs)


# --- small things ---------------------------------------------------------------------------------


@contextmanager
def quiet() -> Iterator[None]:
    """Silence NumPy's warnings while the block runs.

    Example:
        >>> with quiet():
        ...     np.log(np.zeros(1))
        array([-inf])
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def near(a: Array, b: Array, tolerance: float) -> bool:
    """Return True if two arrays are equal up to rounding.

    Example:
        >>> near(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-12]), 1e-10)
        True
    """
    scale = tolerance * (1 + float(np.abs(b).max(initial=0)))
    return bool(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=scale, equal_nan=True))


def short(x: Any) -> str:
    """Return an array as text of one or a few lines.

    Example:
        >>> short(np.ones((2, 1)))
        '[[1.], [1.]]'
    """
    text = np.array2string(np.asarray(x), separator=", ", precision=6, threshold=40)
    one_line = " ".join(text.split())
    shape = f", shape {np.shape(x)}" if np.size(x) == 0 else ""
    return (one_line if len(one_line) < 90 else text.replace("\n", "\n    ")) + shape


def name_of(f: Any) -> str:
    """Return the name of a function, an operation or a layer, for messages.

    Example:
        >>> name_of(np.exp)
        'exp'
    """
    declared = getattr(f, "op", None)
    name = str(declared or getattr(f, "__name__", type(f).__name__))
    owner = getattr(f, "__self__", None)
    return f"{owner.__name__}.{name}" if isinstance(owner, type) else name


def names_of_inputs(f: Any, n: int) -> list[str]:
    """Return the names of the first n arguments of a function.

    Example:
        >>> names_of_inputs(lambda X, W: X @ W, 2)
        ['X', 'W']
    """
    declared = getattr(f, "op", None)
    if declared is not None and declared.arity == n:
        return list(declared.arrays)
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    return names[:n] if len(names) >= n else [f"input {i}" for i in range(n)]
