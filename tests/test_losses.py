"""The losses: PyTorch's and the slides' results, the ends of their range, and what is refused.

Values and gradients against the definitions, to second order, are rows of `tools/operations.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.tools.operations import assert_close
from tinygrad_edu import Tensor

REDUCTIONS = ["mean", "sum", "none"]
FLOATS = [np.float32, np.float64]
PAIRED = [tg.mse_loss, tg.binary_cross_entropy, tg.binary_cross_entropy_with_logits]


def variable(data: Any, dtype: Any = np.float64) -> Tensor:
    return Tensor(data, requires_grad=True, dtype=dtype)


# --- PyTorch --------------------------------------------------------------------------------------


def draw(name: str, rng: np.random.Generator) -> tuple[Any, Any]:
    """Predictions and targets for a loss, the ends of their range among them."""
    if name == "cross_entropy indices":
        return rng.normal(size=(5, 4)) * 3, rng.integers(0, 4, 5)
    if name == "cross_entropy probabilities":
        t = rng.uniform(size=(5, 4))
        t[0] = [0, 0, 1, 0]
        return rng.normal(size=(5, 4)) * 3, t / t.sum(axis=1, keepdims=True)
    predictions, targets = rng.normal(size=(5, 3)) * 3, rng.uniform(size=(5, 3))
    if name != "mse_loss":
        targets[0] = [0, 1, 1]
    if name == "binary_cross_entropy":
        predictions = rng.uniform(size=(5, 3))
        predictions[0], predictions[1] = (0.0, 1.0, 0.0), (1.0, 0.0, 1e-13)
    return predictions, targets


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name",
    [
        "mse_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cross_entropy indices",
        "cross_entropy probabilities",
    ],
)
def test_value_and_gradient_are_pytorchs(name: str, dtype: Any, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    function = name.split()[0]
    predictions, targets = draw(name, np.random.default_rng(7))
    predictions = predictions.astype(dtype)
    if targets.dtype.kind == "f":
        targets = targets.astype(dtype)
    theirs = torch.tensor(predictions, requires_grad=True)
    want = getattr(torch.nn.functional, function)(
        theirs, torch.tensor(targets), reduction=reduction
    )
    seed = np.random.default_rng(8).normal(size=tuple(want.shape)).astype(dtype)
    want.backward(torch.tensor(seed))

    ours = variable(predictions, dtype)
    got = getattr(tg, function)(ours, targets, reduction=reduction)
    got.backward(seed)
    tolerance = 20 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(got.value, want.detach().numpy(), rtol=tolerance, atol=tolerance)
    if name == "binary_cross_entropy":
        tolerance = max(tolerance, 1e-8)  # PyTorch's bound of 10⁻¹² is one in float32
    gradient = np.asarray(ours.grad)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=tolerance, atol=tolerance)


# What PyTorch 2.13 gave in float64 for predictions, targets: the mean and its gradient.
RECORDED: list[tuple[Callable[..., Any], Any, Any, float, Any]] = [
    (
        tg.mse_loss,
        [[0.5, -1.0], [2.0, 0.25]],
        [[1.0, 0.0], [2.0, -0.5]],
        0.453125,
        [[-0.25, -0.5], [0.0, 0.375]],
    ),
    (
        tg.binary_cross_entropy,
        [0.9, 0.2, 0.5],
        [1.0, 0.0, 0.25],
        0.3405504158439938,
        [-0.3703703703703704, 0.4166666666666666, 0.3333333333333333],
    ),
    (
        tg.binary_cross_entropy_with_logits,
        [2.0, -1.5, 0.3],
        [1.0, 0.0, 0.25],
        0.3692321778314174,
        [-0.0397343073407059, 0.060808507935452116, 0.10814750560388635],
    ),
    (
        tg.cross_entropy,
        [[2.2, 1.39, 0.85], [0.0, -1.39, -2.2]],
        [0, 2],
        1.5202157303064519,
        [
            [-0.2065897007723041, 0.13052593832432727, 0.0760637624479769],
            [0.36767991670311884, 0.09157998725977572, -0.4592599039628946],
        ],
    ),
    (
        tg.cross_entropy,
        [[2.2, 1.39, 0.85], [0.0, -1.39, -2.2]],
        [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]],
        1.3852157303064518,
        [
            [0.0434102992276959, 0.0055259383243272675, -0.0489362375520231],
            [0.36767991670311884, -0.40842001274022427, 0.040740096037105406],
        ],
    ),
]


@pytest.mark.parametrize(("loss", "predictions", "targets", "value", "gradient"), RECORDED)
def test_recorded_values(
    loss: Callable[..., Any], predictions: Any, targets: Any, value: float, gradient: Any
) -> None:
    p = variable(predictions)
    y = loss(p, np.array(targets))
    assert_close(y.value, value, loss.__name__, 1e-15)
    assert_close(tg.grad(y, p), gradient, loss.__name__, 1e-15)


# --- the slides -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "error"), [((0.7, 0.2, 0.1), -0.9), ((0.1, 0.4, 0.5), -0.5), ((1e-300, 0.1, 0.9), -0.1)]
)
def test_error_of_cross_entropy_is_a_minus_y(a: tuple[float, ...], error: float) -> None:
    """The slides' three examples, y = (0, 0, 1)."""
    z, y = variable(np.log([a])), np.array([[0.0, 0.0, 1.0]])
    for target in (y, np.array([2])):
        gradient = tg.grad(tg.cross_entropy(z, target), z)
        assert_close(gradient, a - y, "∂L/∂z", 1e-15)
        assert gradient[0, 2] == pytest.approx(error, abs=1e-15)


def test_error_of_squares_is_twice_y_hat_minus_y() -> None:
    y_hat, y = variable([[1.5], [-2.0]]), np.array([[1.0], [0.5]])
    assert tg.grad(0.5 * tg.mse_loss(y_hat, y, "sum"), y_hat).tolist() == [[0.5], [-2.5]]


def test_error_of_the_logistic_loss_is_a_minus_y_over_m() -> None:
    z, y = variable([[2.0], [-1.0], [0.0]]), np.array([[1.0], [1.0], [0.0]])
    a = 1 / (1 + np.exp(-z.value))
    gradient = tg.grad(tg.binary_cross_entropy_with_logits(z, y), z)
    assert_close(gradient, (a - y) / 3, "∂L/∂z", 1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_each_loss_is_what_it_is_written_out(reduction: str) -> None:
    """With its gradient, from operations that have nothing to do with the short rule."""
    rng = np.random.default_rng(5)
    x, t = rng.normal(size=(4, 3)), rng.uniform(0.1, 0.9, (4, 3))
    p = t / t.sum(axis=1, keepdims=True)
    entries, samples = (12, 4) if reduction == "mean" else (1, 1)

    def logistic(a: Any) -> Any:
        return -(t * tg.log(a) + (1 - t) * tg.log(1 - a)).sum() / entries

    pairs: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
        (lambda z: tg.mse_loss(z, t, reduction), lambda z: ((z - t) ** 2).sum() / entries),
        (
            lambda z: tg.binary_cross_entropy_with_logits(z, t, reduction),
            lambda z: logistic(tg.sigmoid(z)),
        ),
        (
            lambda z: tg.binary_cross_entropy(tg.sigmoid(z), t, reduction),
            lambda z: logistic(tg.sigmoid(z)),
        ),
        (
            lambda z: tg.cross_entropy(z, p, reduction),
            lambda z: -(p * tg.log(tg.softmax(z))).sum() / samples,
        ),
    ]
    for short, long in pairs:
        z = variable(x)
        assert_close(short(z).value, long(z).value, "value", 1e-14)
        assert_close(tg.grad(short(z), z), tg.grad(long(z), z), "gradient", 1e-14)


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_class_indices_of_any_integer_type(dtype: Any) -> None:
    """Fashion-MNIST's labels are uint8."""
    z = variable([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    want = tg.cross_entropy(z, np.eye(3)[[2, 0]])
    got = tg.cross_entropy(z, np.array([2, 0], dtype))
    assert got.item() == want.item()
    assert tg.grad(got, z).tolist() == tg.grad(want, z).tolist()


def test_targets_may_be_lists_and_tensors() -> None:
    z = variable([[1.0, 2.0], [0.0, -1.0]])
    want = tg.cross_entropy(z, np.array([1, 0])).item()
    for target in (
        [1, 0],
        (1, 0),
        Tensor([1, 0]),
        [[0, 1], [1, 0]],
        Tensor([[0.0, 1.0], [1.0, 0.0]]),
    ):
        assert tg.cross_entropy(z, target).item() == want
    for loss in PAIRED:
        assert loss(tg.sigmoid(z), [[1, 0], [0, 1]]).item() == (
            loss(tg.sigmoid(z), Tensor([[1.0, 0.0], [0.0, 1.0]])).item()
        )


def test_one_sample_without_a_row_axis() -> None:
    z = variable([1.0, 2.0, 0.5])
    want = math.log(sum(map(math.exp, z.tolist()))) - 2.0
    for target in (np.array(1), 1, np.array([0.0, 1.0, 0.0])):
        assert_close(tg.cross_entropy(z, target).value, want, "one sample", 1e-15)


@pytest.mark.parametrize("loss", PAIRED)
def test_a_number_may_be_the_prediction_or_the_target(loss: Callable[..., Any]) -> None:
    p, t = variable(0.25), variable(0.75)
    want = tg.grad(loss(p, t), [p, t])
    assert tg.grad(loss(p, 0.75), p) == want[0]
    assert tg.grad(loss(0.25, t), t) == want[1]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", [*PAIRED, tg.cross_entropy])
def test_float32_predictions_stay_float32_beside_float64_targets(
    loss: Callable[..., Any], reduction: str
) -> None:
    p = variable([[0.25, 0.75], [0.5, 0.5]], np.float32)
    for target in (np.eye(2), [[1.0, 0.0], [0.0, 1.0]], np.eye(2, dtype=int), Tensor(np.eye(2))):
        y = loss(p, target, reduction)
        assert y.dtype == np.float32
        assert np.asarray(loss(p.value, np.eye(2), reduction)).dtype == np.float32
        recorded = tg.grad(y, p, gradient=np.ones(y.shape), create_graph=True)
        assert recorded.dtype == np.float32
        y.backward(np.ones(y.shape))
        assert p.grad is not None
        assert p.grad.dtype == np.float32


def test_whole_numbers_as_predictions_give_float64() -> None:
    for loss in (tg.mse_loss, tg.binary_cross_entropy_with_logits, tg.binary_cross_entropy):
        assert loss(np.array([0, 1]), np.array([1.0, 0.0])).dtype == np.float64
    assert tg.cross_entropy(np.zeros((2, 2), int), np.array([0, 1])).dtype == np.float64


def test_an_empty_batch_sums_to_0() -> None:
    for loss in PAIRED:
        assert loss(np.zeros((0, 2)), np.zeros((0, 2)), "sum") == 0
        assert loss(np.zeros((0, 2)), np.zeros((0, 2)), "none").shape == (0, 2)
    assert tg.cross_entropy(np.zeros((0, 3)), np.zeros(0, int), "sum") == 0
    assert tg.cross_entropy(np.zeros((0, 3)), np.zeros((0, 3)), "none").shape == (0,)


# --- the ends of the range ------------------------------------------------------------------------


def finite_to_second_order(y: Tensor, p: Tensor) -> Any:
    """The gradient, after everything about it has been found finite (and no warning was given)."""
    seed = np.ones(y.shape)
    assert np.isfinite(y.value).all()
    gradient = tg.grad(y, p, gradient=seed, create_graph=True)
    assert np.isfinite(gradient.value).all()
    if gradient.requires_grad:
        assert np.isfinite(tg.grad(gradient, p, gradient=np.ones(p.shape))).all()
    return gradient.value


@pytest.mark.parametrize("dtype", FLOATS)
def test_squares_of_large_numbers(dtype: Any) -> None:
    p = variable([1e4, -1e4, 1e4], dtype)
    y = tg.mse_loss(p, np.array([-1e4, 1e4, 1e4]), "none")
    assert y.tolist() == [4e8, 4e8, 0]
    assert finite_to_second_order(y, p).tolist() == [4e4, -4e4, 0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_of_large_logits(dtype: Any) -> None:
    """Right and sure, wrong and sure, undecided between two; indices and probabilities."""
    z = variable([[1e4, -1e4, 0], [1e4, -1e4, 0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], dtype)
    indices = np.array([0, 1, 1, 2])
    want = [0, 2e4, math.log(2), math.log(3)]
    errors: Any = [[0, 0, 0], [1, -1, 0], [0.5, -0.5, 0], [1 / 3, 1 / 3, -2 / 3]]
    for target in (indices, np.eye(3)[indices]):
        y = tg.cross_entropy(z, target, "none")
        np.testing.assert_allclose(y.value, want, rtol=1e-6)
        np.testing.assert_allclose(finite_to_second_order(y, z), errors, atol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_logistic_loss_of_large_logits(dtype: Any) -> None:
    z = variable([1e4, 1e4, -1e4, -1e4, 1e4, -1e4, 0], dtype)
    t = np.array([1, 0, 0, 1, 0.5, 0.25, 1])
    y = tg.binary_cross_entropy_with_logits(z, t, "none")
    np.testing.assert_allclose(y.value, [0, 1e4, 0, 1e4, 5e3, 2.5e3, math.log(2)], rtol=1e-6)
    gradient = finite_to_second_order(y, z)
    np.testing.assert_allclose(gradient, [0, 1, 0, -1, 0.5, -0.25, -0.5], atol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_logistic_loss_of_probabilities_0_and_1(dtype: Any) -> None:
    """As in PyTorch, a logarithm ends at −100 and the denominator a(1 − a) at 10⁻¹²."""
    a = variable([1.0, 1.0, 0.0, 0.0, 1.0], dtype)
    t = np.array([1, 0, 0, 1, 0.5])
    y = tg.binary_cross_entropy(a, t, "none")
    assert y.tolist() == [0, 100, 0, 100, 50]
    gradient = tg.grad(y, a, gradient=np.ones(5))
    np.testing.assert_allclose(gradient, [0, 1e12, 0, -1e12, 5e11], rtol=1e-6)
    assert tg.grad(y, a, gradient=np.ones(5), create_graph=True).tolist() == gradient.tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_logistic_loss_behind_a_saturated_sigmoid(dtype: Any) -> None:
    """The gradient stays finite. It is 0 where σ is flat: the reason for the loss of logits."""
    z = variable([1e4, -1e4, 100.0, -100.0, 0.0], dtype)
    t = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    gradient = tg.grad(tg.binary_cross_entropy(tg.sigmoid(z), t, "sum"), z)
    np.testing.assert_allclose(gradient, [0, 0, 0, 0, -0.5], atol=1e-6)


# --- what is refused ------------------------------------------------------------------------------

Z = np.zeros((2, 3))


@pytest.mark.parametrize("tensor", [False, True], ids=["arrays", "tensors"])
@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ([0, 3], ValueError, r"in 0 … 2, received 0 … 3"),
        ([-1, 0], ValueError, r"in 0 … 2, received -1 … 0"),
        ([0.0, 1.0], ValueError, r"\(2, 3\).*indices \(2,\) \(integers\).*received \(2,\) float64"),
        ([True, False], ValueError, r"received \(2,\) bool"),
        ([0, 1, 2], ValueError, r"logits \(2, 3\).*received \(3,\) int64"),
        ([[0], [1]], ValueError, r"logits \(2, 3\).*received \(2, 1\) int64"),
        ([[0.5, 0.5], [1, 0]], ValueError, r"probabilities \(2, 3\), received \(2, 2\)"),
        (0, ValueError, r"received \(\) int64"),
        ([[1, 1, 0], [1, 0, 0]], ValueError, "row sums 1.0 … 2.0"),
        ([[0.5, 0, 0], [1, 0, 0]], ValueError, "row sums 0.5 … 1.0"),
        ([[1.5, -0.5, 0], [1, 0, 0]], ValueError, "smallest entry of -0.5"),
        ([[math.nan, 1, 0], [1, 0, 0]], ValueError, "nan"),
        (["a", "b"], TypeError, "real numbers"),
        ([[0, 1], [0]], ValueError, "rows of equal length"),
    ],
)
def test_cross_entropy_refuses(
    target: Any, kind: type[Exception], message: str, tensor: bool
) -> None:
    with pytest.raises(kind, match=f"(?s){message}"):
        tg.cross_entropy(variable(Z) if tensor else Z, target)


def test_cross_entropy_refuses_logits_that_are_no_rows() -> None:
    with pytest.raises(ValueError, match=r"one number for each class, received \(\)"):
        tg.cross_entropy(variable(1.0), np.array(0))


@pytest.mark.parametrize("tensor", [False, True], ids=["arrays", "tensors"])
@pytest.mark.parametrize("loss", PAIRED)
@pytest.mark.parametrize(
    ("p", "t"),
    [((3, 1), (3,)), ((3,), (3, 1)), ((3, 1), (1, 3)), ((3, 2), (2,)), ((3,), ()), ((1,), (3,))],
)
def test_targets_of_another_shape_are_never_broadcast(
    loss: Callable[..., Any], p: Any, t: Any, tensor: bool
) -> None:
    predictions: Any = np.full(p, 0.5)
    with pytest.raises(ValueError) as refusal:
        loss(variable(predictions) if tensor else predictions, np.full(t, 0.5))
    assert f"predictions {p} and targets {t} must have the same shape" in str(refusal.value)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, 2])
def test_probabilities_and_targets_outside_0_and_1_are_refused(bad: float) -> None:
    good = variable([0.5, 0.5])
    received = rf"must be in \[0, 1\], received .*{bad}"
    with pytest.raises(ValueError, match=f"targets {received}"):
        tg.binary_cross_entropy(good, np.array([0.5, bad]))
    with pytest.raises(ValueError, match=f"targets {received}"):
        tg.binary_cross_entropy_with_logits(good, np.array([bad, 0.5]))
    with pytest.raises(ValueError, match=f"probabilities {received}"):
        tg.binary_cross_entropy(variable([bad, 0.5]), np.array([0.5, 0.5]))


@pytest.mark.parametrize("loss", [*PAIRED, tg.cross_entropy])
@pytest.mark.parametrize("reduction", ["average", "Mean", None, True])
def test_an_unknown_reduction_is_refused(loss: Callable[..., Any], reduction: Any) -> None:
    for p in (np.full((1, 2), 0.5), variable(np.full((1, 2), 0.5))):
        with pytest.raises(ValueError, match=rf"'mean', 'sum' or 'none', received {reduction!r}"):
            loss(p, np.full((1, 2), 0.5), reduction=reduction)


@pytest.mark.parametrize("loss", [*PAIRED, tg.cross_entropy])
def test_the_mean_over_nothing_is_refused(loss: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="mean over no samples"):
        loss(variable(np.zeros((0, 2))), np.zeros((0, 2)))


def test_the_reduction_is_no_tensor() -> None:
    with pytest.raises(TypeError, match="'reduction' is a setting"):
        tg.mse_loss(variable([1.0]), np.array([1.0]), variable(1.0))


def test_an_impossible_class_is_no_trouble_where_it_is_not_the_target() -> None:
    z = variable([[0.0, -np.inf, 0.0]])
    loss = tg.cross_entropy(z, [0])
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2.0))
    np.testing.assert_allclose(np.asarray(z.grad), [[-0.5, 0.0, 0.5]])


def test_the_logistic_loss_of_confident_answers_keeps_its_digits() -> None:
    z = np.linspace(-80, 80, 41)
    right = (z > 0) * 1.0
    exact = np.log1p(np.exp(-np.abs(z)))
    for dtype, rtol in ((np.float32, 3e-6), (np.float64, 1e-13)):
        loss = tg.binary_cross_entropy_with_logits(z.astype(dtype), right, reduction="none")
        np.testing.assert_allclose(loss, exact, rtol=rtol)


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 5e-7), (np.float64, 2e-15)])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (409, 10), (410, 10), (64, 64), (65, 64)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_of_few_and_of_many_terms_keep_their_digits(
    shape: tuple[int, int], dtype: Any, digits: float, order: Any
) -> None:
    # Up to 4,096 entries products of vectors add them up.
    rng = np.random.default_rng(0)
    z = np.asarray(rng.normal(size=shape) * 5, dtype, order)
    t = np.asarray(rng.dirichlet(np.ones(shape[1]), shape[0]), dtype, order)
    exact, targets = z.astype(np.longdouble), t.astype(np.longdouble)
    of_rows = np.log(np.exp(exact).sum(axis=1)) - (targets * exact).sum(axis=1)
    for reduction, expected in (("mean", of_rows.mean()), ("sum", of_rows.sum())):
        found = tg.cross_entropy(z, t, reduction=reduction)
        assert found.dtype == dtype
        assert abs(found - expected) <= digits * abs(expected) + shape[1] * np.finfo(dtype).eps
    none = tg.cross_entropy(z, t, reduction="none")
    np.testing.assert_allclose(none, of_rows.astype(dtype), 20 * digits, 20 * digits)
    column, zeros_and_ones = z[:, :1], t[:, :1] > 0.5
    exact = column.astype(np.longdouble)
    expected = (np.logaddexp(exact, 0) - zeros_and_ones * exact).mean()
    found = tg.binary_cross_entropy_with_logits(column, zeros_and_ones)
    assert abs(found - expected) <= digits * expected
