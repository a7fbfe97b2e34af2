"""`check_rule` and `gradcheck`: planted mistakes are caught, and what is right is accepted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.mutants import ALWAYS, SOMETIMES, in_place, primitives, to_input
from tests.tools.domains import Shapes
from tests.tools.long import one_in
from tests.tools.operations import CASES, TABLE, Row, reference
from tinygrad_edu import Tensor, nn
from tinygrad_edu.checking.gradients import GradientError, gradcheck
from tinygrad_edu.checking.rules import check_rule
from tinygrad_edu.checking.slopes import measure

primitive = tg.primitive


def plain(x: Any) -> Any:
    """The numbers alone, as a rule takes them that loses the graph."""
    return x.numpy() if isinstance(x, Tensor) else x


# --- planted mistakes -----------------------------------------------------------------------------

PLANTED: dict[str, tuple[Any, dict[str, Any], str]] = {}


def planted(expected: str, **how: Any) -> Callable[[Any], Any]:
    """A wrong operation, how it is checked, and what must be said of it."""

    def note(op: Any) -> Any:
        PLANTED[op.__name__] = (op, how, expected)
        return op

    return note


@planted("looks as if the sign were wrong")
@primitive(lambda g, y, x: g * np.sin(x))
def sign(x: Any) -> Any:
    return np.cos(x)


@planted("looks as if it were 1/2 times the right one")
@primitive(lambda g, y, x: g * x)
def factor(x: Any) -> Any:
    return x * x


@planted("looks as if it were 1.001 times the right one")
@primitive(lambda g, y, x: 1.001 * g * y)
def one_in_a_thousand(x: Any) -> Any:
    return np.exp(x)


@planted("the gradient were lost on its way: it is 0 everywhere")
@primitive(lambda g, y, x: 0 * g)
def tiny_slope(x: Any) -> Any:
    return 1 + 1e-7 * x


@planted("and only where the input is below")
@primitive(lambda g, y, x: g * (x > 1))
def tiny_slope_on_one_side(x: Any) -> Any:
    return np.where(x > 1, x, 1 + 1e-7 * (x - 1))


@planted("looks as if a factor 1 − y were missing")
@primitive(lambda g, y, x: g * y)
def missing_factor(x: Any) -> Any:
    return tg.sigmoid(x)


@planted("looks as if a factor y.1 − y. were missing")
@primitive(lambda g, y, x: g)
def missing_both_factors(x: Any) -> Any:
    return tg.sigmoid(x)


@planted("looks as if there were a factor y too many")
@primitive(lambda g, y, x: g * y * y * (1 - y))
def factor_too_many(x: Any) -> Any:
    return tg.sigmoid(x)


@planted("looks as if a factor 3/2·x were missing")
@primitive(lambda g, y, x: 2 * g * x)
def wrong_power(x: Any) -> Any:
    return x**3


@planted("looks as if a term g were missing")
@primitive(lambda g, y, x: 2 * g * x)
def missing_term(x: Any) -> Any:
    return x * x + x


@planted("looks as if a term g·y were missing")
@primitive(lambda g, y, x: g * tg.sigmoid(x) * (1 - y))
def missing_term_of_a_product(x: Any) -> Any:
    return x * tg.sigmoid(x)


@planted("gradient by x is wrong", shapes="m n")
@primitive(lambda g, y, x: y * g.sum(0) - y * (g * y).sum(0))
def wrong_axis(x: Any) -> Any:
    return tg.softmax(x, -1)


@planted("looks as if it were 1/3 times the right one", shapes="3 3")
@primitive(lambda g, y, x: np.broadcast_to(g / 3, x.shape))
def mean_for_sum(x: Any) -> Any:
    return np.sum(x, axis=-1, keepdims=True)


@planted("looks as if it were transposed", shapes="n n")
@primitive(lambda g, y, x: g)
def transposed(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


@planted("gradient by b is wrong", shapes="n n, n n")
@primitive(lambda g, y, a, b: g @ b.mT, lambda g, y, a, b: a @ g)
def product_without_transpose(a: Any, b: Any) -> Any:
    return a @ b


@planted("cannot be summed to", shapes="m n, n k")
@primitive(lambda g, y, a, b: g @ b.mT, lambda g, y, a, b: g.mT @ a)
def product_transposed(a: Any, b: Any) -> Any:
    return a @ b


@planted("stood in the wrong places", shapes="n")
@primitive(lambda g, y, x: g)
def backwards(x: Any) -> Any:
    return x[::-1]


@planted("gradient by a is wrong")
@primitive(lambda g, y, a, b: g * a, lambda g, y, a, b: g * b)
def rules_exchanged(a: Any, b: Any) -> Any:
    return a * b


@planted("the gradient by b is wrong")
@primitive(lambda g, y, a, b: g, lambda g, y, a, b: g * (max(b.size, 1) / max(g.size, 1)))
def only_when_broadcast(a: Any, b: Any) -> Any:
    return a + b


@planted("and only where the input is negative")
@primitive(lambda g, y, x: g * np.where(x < 0, -y * y, 1 - y * y))
def only_for_negative_inputs(x: Any) -> Any:
    return np.tanh(x)


@planted("looks as if it were 5/4 times the right one", shapes="n")
@primitive(lambda g, y, x: g * (2.5 if x.shape[0] == 3 else 2.0))
def only_for_some_sizes(x: Any) -> Any:
    return 2 * x


@planted("second-order gradient by x is wrong")
@primitive(lambda g, y, x: g * plain(2 * x))
def second_order_cut_off(x: Any) -> Any:
    return x * x


@planted("second-order gradient by x is wrong")
@primitive(lambda g, y, x: g * (3 * x * plain(x)))
def second_order_half_cut_off(x: Any) -> Any:
    return x**3


@planted("does not change with g")
@primitive(lambda g, y, x: plain(g) * (2 * x))
def error_cut_off(x: Any) -> Any:
    return x * x


@planted("one error on arrays and another on tensors")
@primitive(lambda g, y, x: g * (2.001 if isinstance(g, Tensor) else 2.0) * x)
def another_on_tensors(x: Any) -> Any:
    return x * x


@planted("looks as if a factor g were missing")
@primitive(lambda g, y, x: np.ones(x.shape) * np.cos(x))
def error_not_used(x: Any) -> Any:
    return np.sin(x)


@planted("looks as if there were a factor g too many")
@primitive(lambda g, y, x: g * g * np.cos(x))
def error_used_twice(x: Any) -> Any:
    return np.sin(x)


def _shared(store: dict[Any, Any], x: Any) -> Any:
    kept = store.setdefault((np.shape(x), np.asarray(x).dtype), np.empty_like(x))
    kept[...] = x
    return kept


BUFFERS: dict[Any, Any] = {}


@planted("the gradient by x of one call is overwritten by the next")
@primitive(lambda g, y, x: 2 * g if isinstance(g, Tensor) else _shared(BUFFERS, 2 * g))
def gradient_in_a_shared_buffer(x: Any) -> Any:
    return 2 * x


@planted("the result of one call is overwritten by the next")
@primitive(lambda g, y, x: 2 * g)
def result_in_a_shared_buffer(x: Any) -> Any:
    return _shared(BUFFERS, 2 * np.asarray(x))


def _in_place(x: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(x, np.ndarray) and x.flags.writeable:
        x[...] = change(x)
    return x


@planted("may not overwrite what it was given")
@primitive(lambda g, y, x: g * (x > 0))
def input_changed_by_the_function(x: Any) -> Any:
    x[...] = np.maximum(x, 0)
    return x * 1.0


@planted("the input x was changed in place")
@primitive(lambda g, y, x: g * y + 0 * _in_place(x, lambda x: x * 0.5))
def input_changed_by_the_rule(x: Any) -> Any:
    return np.exp(x)


@planted("a rule changed g, the error at the output, in place")
@primitive(lambda g, y, x: g * y if isinstance(g, Tensor) else _in_place(g, lambda g: g * y))
def error_changed_by_the_rule(x: Any) -> Any:
    return np.exp(x)


@planted("a rule changed y, the output, in place")
@primitive(
    lambda g, y, x: g * y if isinstance(g, Tensor) else g * y + 0 * _in_place(y, np.zeros_like)
)
def output_changed_by_the_rule(x: Any) -> Any:
    return np.exp(x)


LAST: list[Any] = [0.0]


def _remembered(x: Any) -> Any:
    LAST[0] = np.tanh(x)
    return LAST[0]


@planted("depends on what an earlier call left behind")
@primitive(
    lambda g, y, x: g * (1 - LAST[0] ** 2) if np.shape(LAST[0]) == y.shape else g * (1 - y * y)
)
def state_between_calls(x: Any) -> Any:
    return _remembered(x)


RNG = np.random.default_rng(0)


@planted("other numbers when it is called again")
@primitive(lambda g, y, x: g)
def hidden_randomness(x: Any) -> Any:
    return x + RNG.normal()


@planted("float32 inputs give float64, expected float32")
@primitive(lambda g, y, x: g * np.array(2.0))
def another_dtype(x: Any) -> Any:
    return np.asarray(x) * np.array([2.0])[0]


@planted("Fortran-ordered inputs give", shapes="m n")
@primitive(lambda g, y, x: g)
def only_for_odd_layouts(x: Any) -> Any:
    return np.asarray(x).ravel(order="K").reshape(x.shape)


weighted = primitive(lambda g, y, a, b: g, lambda g, y, a, b: 2 * g)(lambda a, b: a + 2 * b)
unweighted = primitive(lambda g, y, a, b: g, lambda g, y, a, b: g)(lambda a, b: a + 2 * b)


@planted("gradient by b is another one if the other inputs are constants")
def only_where_the_other_is_constant(a: Any, b: Any) -> Any:
    return (weighted if isinstance(a, Tensor) else unweighted)(a, b)


@planted("nothing was recorded")
def detached(x: Any) -> Any:
    return np.sin(plain(x))


@planted("no slope at all, but the rule gives one")
@primitive(lambda g, y, x: g)
def slope_of_a_step(x: Any) -> Any:
    return np.floor(x * 0.37)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_caught_and_told(name: str) -> None:
    op, how, expected = PLANTED[name]
    with pytest.raises((GradientError, ValueError)) as caught:
        check_rule(op, **how)
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(expected, told), told


def test_there_are_enough_of_them() -> None:
    assert len(PLANTED) >= 30


def test_the_message_shows_entry_figures_guess_and_smallest_inputs() -> None:
    with pytest.raises(GradientError) as caught:
        check_rule(PLANTED["missing_factor"][0])
    assert re.fullmatch(
        r"""missing_factor: the gradient by x is wrong, in 1 of 1 entries
  the rule gives 0\.82609619, the slope measured is 0\.22217148 ± \de-14, complex step 0\.22217148
  it looks as if a factor 1 − y were missing
  x = 1\.
  g = 1\.13, the error at the output""",
        str(caught.value),
    )


# --- what is right --------------------------------------------------------------------------------

ROWS = [  # of each line two sets of shapes: the first, and one in the middle
    (row, shapes)
    for row in TABLE
    if row.wanted
    for shapes in dict.fromkeys((row.shapes[0], row.shapes[len(row.shapes) // 2]))
]


@pytest.mark.parametrize(("row", "shapes"), ROWS, ids=[f"{row} {s}" for row, s in ROWS])
def test_every_line_of_the_table_of_operations_is_accepted(row: Row, shapes: Shapes) -> None:
    arrays = reference(row, shapes).arrays
    wrt = [i for i in row.wanted if row.domains[i].__name__ != "rows"]  # these keep their sums
    assert gradcheck(row.call, tuple(arrays), wrt=wrt)


def test_there_are_enough_right_ones_and_each_is_tried() -> None:
    assert len(PRIMITIVES.keys() - INTRICATE) >= 30
    assert len(INTRICATE) < 10
    assert {row.name for row, _ in ROWS} >= INTRICATE


def rows_of_probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    x = rng.uniform(0.5, 1.5, shape)
    return x / x.sum(-1, keepdims=True)


HOW: dict[str, dict[str, Any]] = {
    "astype": {"dtype": None},
    "broadcast_to": {"shapes": "3", "shape": (2, 3)},
    "concatenate": {"shapes": "n k, m k", "axis": 0},
    "cross_entropy": {
        "shapes": "m k, m k",
        "domain": [(-2.0, 2.0), rows_of_probabilities],
        "wrt": [0],
        "reduction": "mean",
    },
    "einsum": {"shapes": "m n, n k", "subscripts": "ij,jk->ki"},
    "embedding": {
        "shapes": "m, 4 k",
        "domain": [lambda rng, shape: rng.integers(0, 4, shape), (-2.0, 2.0)],
    },
    "expand_dims": {"axis": 0},
    "getitem": {"shapes": "4 k", "index": np.array([1, 1, 0])},
    "linear": {"shapes": "m n, n k, k"},
    "matmul": {"shapes": "m n, n k"},
    "pad": {"shapes": "2 3", "pad_width": 1},
    "reshape": {"shapes": "2 3", "shape": (3, -1)},
    "linalg.det": {"shapes": "2 2"},
    "linalg.inv": {"shapes": "2 2"},
    "linalg.solve": {"shapes": "2 2, 2 3"},
    "scatter": {"shapes": "3", "index": np.array([1, 1, 0]), "shape": (4,)},
    "stack": {"shapes": "m n, m n", "axis": 1},
    "sum_to": {"shapes": "2 3", "shape": (3,)},
}
PRIMITIVES = primitives()
# Those with settings that must be given and are not given above: the lines of the table do it.
INTRICATE = {
    name
    for name, p in PRIMITIVES.items()
    if name not in HOW and (p.op.arity is None or p.op.settings.keys() - p.op.defaults.keys())
} - {"astype"}


@pytest.mark.parametrize("name", sorted(PRIMITIVES.keys() - INTRICATE))
def test_every_rule_of_the_library_is_accepted(name: str) -> None:
    op = PRIMITIVES[name]
    if name == "astype":
        assert check_rule(lambda x: op(x, np.float64), dtype=np.float64)
    else:
        assert check_rule(op, examples=12, **HOW.get(name, {}))


KINKS: dict[str, tuple[Callable[..., Any], Any]] = {
    "relu at 0": (tg.relu, [0.0, -0.0, 1.0, -1.0]),
    "abs at 0": (tg.abs, [0.0, 2.0]),
    "clip on its bounds": (lambda x: tg.clip(x, 0, 1), [0.0, 1.0, 0.5, 2.0]),
    "the largest of equals": (tg.max, [1.0, 3.0, 3.0, 3.0]),
    "the smallest of equals, in rows": (lambda x: tg.min(x, axis=1), [[1.0, 1.0], [2.0, 1.0]]),
    "maximum of equals": (tg.maximum, ([1.0, 2.0], [1.0, 3.0])),
    "minimum with a number": (lambda x: tg.minimum(x, 0.5), [0.5, 1.0]),
    "near a kink": (tg.relu, [1e-9, -1e-9, 1e-3, -1e-3]),
    "a square that begins at 0": (lambda x: tg.relu(x) ** 2, [0.0, 1.0]),
    "powers of 0": (lambda x: x**2 + x**3, [0.0, 1.0]),
    "steps": (lambda x: x * np.sign(x), [0.5, -2.0]),
    "nothing": (tg.exp, np.zeros((0, 3))),
    "large numbers": (tg.sigmoid, [-1e4, -30.0, 30.0, 1e4]),
    "small slopes": (lambda x: 1 + 1e-7 * x, [1.0, -2.0]),
    "many sizes at once": (lambda x: x * np.array([1e-6, 1.0, 1e6]), [1.0, 2.0, 3.0]),
    "wild": (lambda x: np.sin(30 * x), [0.3, 1.0]),
    "the edge of the domain": (np.sqrt, [1e-3, 1.0]),
    "the same twice": (lambda x: tg.matmul(x, x), [[1.0, 2.0], [0.5, -1.0]]),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_ties_and_other_special_places_are_accepted(name: str) -> None:
    f, inputs = KINKS[name]
    several = isinstance(inputs, tuple)
    assert gradcheck(f, tuple(map(np.array, inputs)) if several else np.array(inputs))


@pytest.mark.parametrize("claimed", [-0.001, 1.001, 2.0])
def test_a_slope_outside_both_sides_of_a_kink_is_not(claimed: float) -> None:
    op = primitive(lambda g, y, x: claimed * g)(lambda x: np.maximum(x, 0))
    with pytest.raises(GradientError, match=r"a kink: .* left, .* right"):
        gradcheck(op, np.array([0.0]))


def test_layers_losses_and_functions_of_ones_own() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))
    model = nn.Sequential(nn.Linear(3, 5, rng=0), nn.Tanh(), nn.Linear(5, 2, rng=1))
    assert gradcheck(model, x)
    assert gradcheck(lambda x, y: tg.cross_entropy(model(x), y), (x, np.array([0, 1, 1, 0])))
    assert check_rule(lambda x: x * tg.sigmoid(x))
    assert check_rule(tg.dot, shapes="m n, n")


# --- the checker on the mutants of the library's own rules ----------------------------------------


@pytest.mark.parametrize("name", one_in(3, ["sigmoid", "multiply", "divide", "softmax", "matmul"]))
def test_mutants_are_caught_here_too(name: str) -> None:
    """Each that computes something else than the right rule on these inputs."""
    op = PRIMITIVES[name].op
    cases = [case for case in CASES if case[0].name == name and np.prod(sum(case[1], ()))][-3:]
    arguments = range(len(op.rules))
    mutations = ALWAYS | SOMETIMES | {k: m for i in arguments for k, m in to_input(i).items()}
    tried = 0
    for i in arguments:
        for what, mutation in mutations.items():
            for row, shapes in cases:
                inputs = tuple(x.copy() for x in reference(row, shapes).arrays)
                with in_place(op, i, mutation) as watch:
                    try:
                        gradcheck(row.call, inputs)
                    except Exception:
                        tried += 1
                        continue
                assert not watch.changed, f"{what} of input {i} survived at {shapes}"
    assert tried > 50


# --- float32, and what cannot be checked ----------------------------------------------------------


def test_float32_inputs_are_checked_in_float64() -> None:
    x = np.array([0.5, 2.0], np.float32)
    assert gradcheck(tg.exp, x)
    with pytest.raises(GradientError, match=r"1\.001 times"):
        gradcheck(PLANTED["one_in_a_thousand"][0], x)


@pytest.mark.parametrize("slope", [1e-7, 1e-4])
def test_where_float32_is_too_coarse_it_says_so(slope: float) -> None:
    def f(x: Any) -> Any:
        return 1 + np.float32(slope) * x.astype(np.float32)

    with pytest.raises(GradientError, match="float32 is too coarse to tell"):
        gradcheck(f, np.array([1.0, 2.0]))
    assert gradcheck(lambda x: 3 * x.astype(np.float32), np.array([1.0, 2.0]))


def test_a_rule_that_loses_digits_in_float32_is_told() -> None:
    @primitive(lambda g, y, x: g * (((1e8 + x) - 1e8) * 2))
    def square(x: Any) -> Any:
        return x * x

    with pytest.raises(GradientError, match="in float32 the gradient by x is"):
        gradcheck(square, np.array([0.5, 1.5], np.float32))


@pytest.mark.parametrize("shapes", [None, "m n, m n"])
def test_all_inputs_zero_are_tried(shapes: str | None) -> None:
    @primitive(lambda g, y, a, b: g * a / y, lambda g, y, a, b: g * b / y)
    def length(a: Any, b: Any) -> Any:
        return np.sqrt(a**2 + b**2)

    with pytest.raises(GradientError, match=r"the rule gives nan(.|\n)* a = .*0\.") as caught:
        check_rule(length, shapes=shapes)
    assert caught.value.told.startswith("length: the gradient by a is wrong, in 1 of 1 entries")
    assert check_rule(length, shapes=shapes, domain=(0.5, 2.0))


def test_an_input_without_a_rule_is_float32_with_the_others() -> None:
    scaled = primitive(lambda g, y, p, t: g * t, None)(lambda p, t: p * t)
    assert check_rule(scaled)
    wide = primitive(lambda g, y, p, t: g * t, None)(lambda p, t: p * t * np.ones(()))
    with pytest.raises(GradientError, match="float32 inputs give float64, expected float32"):
        check_rule(wide)


def test_what_cannot_be_checked() -> None:
    with pytest.raises(TypeError, match=r"needs a floating-point input, received \(2,\) int64; "):
        gradcheck(tg.exp, np.array([1, 2]))
    with pytest.raises(TypeError, match=r"shapes is text .* received \[\(2, 3\), \(3, 4\)\]"):
        check_rule(tg.matmul, shapes=[(2, 3), (3, 4)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes 2 arrays, shapes='m n' names 1; "):
        check_rule(tg.matmul, shapes="m n")
    with pytest.raises(GradientError, match=r"cannot be measured at entry \[0\], where .* is 0"):
        gradcheck(tg.sqrt, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"refused .* drawn inputs, .*inner sizes"):
        check_rule(tg.matmul, shapes="2 3, 4 5")
    with pytest.raises(TypeError, match="how many arrays does concatenate take"):
        check_rule(PRIMITIVES["concatenate"])
    with pytest.raises(ValueError, match="2 domains for 1 inputs"):
        check_rule(tg.exp, domain=[(0, 1), (0, 1)])


def test_an_exception_inside_a_rule_keeps_its_kind_and_names_the_inputs() -> None:
    @primitive(lambda g, y, x: g[5])
    def bad(x: Any) -> Any:
        return 2 * x

    with pytest.raises(IndexError) as caught:
        check_rule(bad, shapes="n")
    notes = "\n".join(caught.value.__notes__)
    assert "in the rule of bad for (1,) float64, with (1,) float64 at its output" in notes
    assert "check_rule: bad at\n  x = [1.]" in notes
    assert "Draw" not in notes and "Failing" not in notes


def test_the_same_answer_each_time() -> None:
    told = set()
    for _ in range(2):
        with pytest.raises(GradientError) as caught:
            check_rule(PLANTED["product_without_transpose"][0], shapes="n n, n n")
        told.add(str(caught.value))
    assert len(told) == 1


def test_gradcheck_needs_numpy_only_and_check_rule_names_the_extra() -> None:
    code = """
import sys
sys.modules["hypothesis"] = None
import numpy as np
import tinygrad_edu as tg
print(tg.gradcheck(tg.tanh, np.ones(3)))
try:
    tg.check_rule(tg.tanh)
except ImportError as error:
    print(error)
"""
    told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told.startswith("True\n") and "pip install 'tinygrad_edu[testing]'" in told


# --- slopes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [-3.0, 0.0, 0.7, 40.0])
def test_slopes_are_measured_to_ten_digits(x: float) -> None:
    slope = measure(lambda t: np.array([np.sin((x + t).real)]))  # real: differences only
    assert slope.complex_step is None
    assert abs(slope.value - np.cos(x)) <= 10 * slope.error <= 1e-9
    exact = measure(lambda t: np.array([np.sin(x + t)]))
    assert exact.complex_step == pytest.approx(np.cos(x), rel=1e-15)


def test_a_complex_step_that_the_differences_contradict_is_not_believed() -> None:
    slope = measure(
        lambda t: np.abs(np.array([1.0 + t])).astype(type(t))
    )  # drops what is imaginary
    assert slope.complex_step is None
    assert slope.value == pytest.approx(1.0)


def test_a_kink_has_two_sides() -> None:
    slope = measure(lambda t: np.abs(np.array([t])))
    assert slope.sides == pytest.approx((-1.0, 1.0))
    assert slope.allows(0.3) and not slope.allows(1.01)
