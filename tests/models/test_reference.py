"""The hand-derived networks: their gradients against central differences of losses that are
written here a second time, and their runs against the chapter's figures."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.datasets import Split, breast_cancer
from models.reference import (
    DualLayer,
    MinibatchNetwork,
    MultiClassNetwork,
    RandomInitNetwork,
    SingleLayer,
    dual_gradients,
    multi_gradients,
    sigmoid,
    single_gradients,
    softmax,
)

Array = npt.NDArray[Any]
Loss = Callable[..., float]

CHAPTERS_SCORE = 0.978021978021978


@pytest.fixture(autouse=True)
def global_random_state_stays() -> Iterator[None]:
    before = np.random.get_state(legacy=False)
    yield
    np.testing.assert_equal(np.random.get_state(legacy=False), before)


# Gradients


def penalty(weights: list[Array], l1: float, l2: float) -> float:
    return sum(float(l1 * np.abs(w).sum() + l2 / 2 * (w * w).sum()) for w in weights)


def binary_loss(z: Array, Y: Array) -> float:
    # −log σ(z) = log(1 + e⁻ᶻ) and −log(1 − σ(z)) = log(1 + eᶻ): no sigmoid in it.
    return float((Y * np.logaddexp(0, -z) + (1 - Y) * np.logaddexp(0, z)).sum())


def multi_loss(z: Array, Y: Array) -> float:
    return float((Y * (np.logaddexp.reduce(z, axis=1, keepdims=True) - z)).sum())


def hidden(X: Array, W1: Array, b1: Array) -> Array:
    return (1 + np.tanh((X @ W1 + b1) / 2)) / 2  # σ(z) by way of tanh


def single_loss(X: Array, Y: Array, W: Array, b: Array, *, l1: float, l2: float) -> float:
    return (binary_loss(X @ W + b, Y) + penalty([W], l1, l2)) / len(X)


def dual_loss(X: Array, Y: Array, *parameters: Array, l1: float, l2: float) -> float:
    W1, b1, W2, b2 = parameters
    z = hidden(X, W1, b1) @ W2 + b2
    return (binary_loss(z, Y) + penalty([W1, W2], l1, l2)) / len(X)


def multi_class_loss(X: Array, Y: Array, *parameters: Array, l1: float, l2: float) -> float:
    W1, b1, W2, b2 = parameters
    z = hidden(X, W1, b1) @ W2 + b2
    return (multi_loss(z, Y) + penalty([W1, W2], l1, l2)) / len(X)


def central_differences(f: Callable[[], float], parameter: Array) -> Array:
    """(f(p + h) − f(p − h))/2h for each entry of `parameter`, which f reads and this restores."""
    h = 1e-5
    gradient = np.empty_like(parameter)
    for place in np.ndindex(parameter.shape):
        kept = parameter[place]
        parameter[place] = kept + h
        above = f()
        parameter[place] = kept - h
        below = f()
        parameter[place] = kept
        gradient[place] = (above - below) / (2 * h)
    return gradient


def away_from_zero(random: np.random.Generator, *shape: int) -> Array:
    """Weights at which |w| has a derivative."""
    return random.choice([-1, 1], shape) * random.uniform(0.1, 2, shape)


sizes = st.lists(st.integers(1, 7), min_size=4, max_size=4, unique=True)
strengths = st.sampled_from([0.0, 0.3])
seeds = st.integers(0, 2**32 - 1)


@given(sizes, seeds, strengths, strengths)
def test_single_gradients(sizes: list[int], seed: int, l1: float, l2: float) -> None:
    m, n, *_ = sizes
    random = np.random.default_rng(seed)
    X, Y = random.normal(size=(m, n)), random.integers(0, 2, (m, 1))
    parameters = [away_from_zero(random, n, 1), random.normal(size=1)]
    W, b = parameters
    grads = single_gradients(X, Y, W, b, l1=l1, l2=l2)
    for parameter, grad in zip(parameters, grads, strict=True):
        expected = central_differences(
            lambda: single_loss(X, Y, *parameters, l1=l1, l2=l2), parameter
        )
        np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("several", [False, True])
@given(sizes, seeds, strengths, strengths)
def test_two_layer_gradients(
    several: bool, sizes: list[int], seed: int, l1: float, l2: float
) -> None:
    m, n, h, k = sizes
    random = np.random.default_rng(seed)
    X = random.normal(size=(m, n))
    loss: Loss
    if several:
        Y = np.eye(k)[random.integers(0, k, m)]
        gradients, loss = multi_gradients, multi_class_loss
    else:
        k = 1
        Y = random.integers(0, 2, (m, 1)).astype(float)
        gradients, loss = dual_gradients, dual_loss
    parameters = [
        away_from_zero(random, n, h),
        random.normal(size=h),
        away_from_zero(random, h, k),
        random.normal(size=k),
    ]
    W1, b1, W2, b2 = parameters
    grads = gradients(X, Y, W1, b1, W2, b2, l1=l1, l2=l2)
    for parameter, grad in zip(parameters, grads, strict=True):
        expected = central_differences(lambda: loss(X, Y, *parameters, l1=l1, l2=l2), parameter)
        assert grad.shape == parameter.shape
        np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-8)


def test_gradients_change_nothing() -> None:
    random = np.random.default_rng(0)
    arguments = [random.normal(size=shape) for shape in ((5, 3), (5, 2), (3, 4), 4, (4, 2), 2)]
    before = [argument.copy() for argument in arguments]
    X, Y, W1, b1, W2, b2 = arguments
    multi_gradients(X, Y, W1, b1, W2, b2, l1=0.1, l2=0.1)
    for argument, kept in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(argument, kept)


def test_the_differences_see_the_slip() -> None:
    """The comparison above would not let the chapter's bias gradient pass."""
    random = np.random.default_rng(0)
    X, Y = random.normal(size=(5, 3)), np.eye(2)[[0, 0, 0, 1, 0]]
    network = MultiClassNetwork(units=4, slip=True)
    network.init_weights(3, 2)
    parameters = network.parameters()
    slipped = network.gradients(X, Y)[1][3]
    expected = central_differences(
        lambda: multi_class_loss(X, Y, *parameters, l1=0, l2=0), network.b2
    )
    assert np.abs(slipped).max() < 1e-15
    assert np.abs(expected).max() > 0.05


# Activations


def test_sigmoid_and_softmax_never_overflow() -> None:
    z = np.array([-1e4, -745.0, -1.0, 0.0, 1.0, 745.0, 1e4])
    a = sigmoid(z)
    np.testing.assert_allclose(a, 0.5 * (1 + np.tanh(z / 2)), atol=1e-15)
    np.testing.assert_allclose(a + sigmoid(-z), 1, rtol=1e-15)
    np.testing.assert_array_equal(
        softmax(np.array([[800.0, 0.0], [-1e4, -1e4]])), [[1, 0], [0.5] * 2]
    )


def test_activations_keep_float32() -> None:
    z = np.zeros((2, 3), np.float32)
    assert sigmoid(z).dtype == softmax(z).dtype == np.float32


def test_the_slides_numbers() -> None:
    outputs = np.array([[0.9, 0.8, 0.7], [0.5, 0.2, 0.1]])
    z = -np.log(1 / outputs - 1)
    np.testing.assert_allclose(z, [[2.20, 1.39, 0.85], [0.00, -1.39, -2.20]], atol=0.005)
    # The slides go on with the rounded z; from the exact ones the 0.74 would be 0.7347.
    a = softmax(z.round(2))
    np.testing.assert_allclose(a, [[0.59, 0.26, 0.15], [0.74, 0.18, 0.08]], atol=0.005)


# Training, replayed by hand on a few numbers


def small_problem(classes: int = 1) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    x = random.normal(size=(11, 3))
    labels = random.integers(0, max(classes, 2), 11)
    return x, labels if classes == 1 else np.eye(classes)[labels]


def test_first_epoch_of_a_single_layer() -> None:
    """Data loss before the update, penalty after it, both over m."""
    x, y = small_problem()
    network = SingleLayer(learning_rate=0.5, l1=0.2, l2=0.4)
    network.fit(x, y, epochs=1, x_val=x[:4], y_val=y[:4])

    start = np.ones((3, 1))
    dW, db = single_gradients(x, y.reshape(-1, 1), start, np.zeros(1), l1=0.2, l2=0.4)
    w, b = start - 0.5 * dW, -0.5 * db
    np.testing.assert_allclose(network.w, w)
    np.testing.assert_allclose(network.b, b)
    after = penalty([w], 0.2, 0.4)
    before_loss = (binary_loss(x @ start, y.reshape(-1, 1)) + after) / 11
    val_loss = (binary_loss(x[:4] @ w + b, y[:4].reshape(-1, 1)) + after) / 4
    np.testing.assert_allclose(network.losses, [before_loss])
    np.testing.assert_allclose(network.val_losses, [val_loss])


def chapters_draws(n: int, units: int, k: int, *, seed_again: bool) -> tuple[Array, Array, Array]:
    """w1, w2 and three permutations of 11, from the global state as on the slides."""
    state = np.random.get_state()
    try:
        np.random.seed(42)
        w1 = np.random.normal(0, 1, (n, units))
        w2 = np.random.normal(0, 1, (units, k))
        if seed_again:
            np.random.seed(42)
        orders = np.array([np.random.permutation(np.arange(11)) for _ in range(3)])
    finally:
        np.random.set_state(state)
    return w1, w2, orders


@pytest.mark.parametrize("classes", [1, 4])
def test_three_epochs_of_mini_batches(classes: int) -> None:
    x, y = small_problem(classes)
    kind: type[MinibatchNetwork]
    if classes == 1:
        kind, gradients, data_loss = MinibatchNetwork, dual_gradients, binary_loss
    else:
        kind, gradients, data_loss = MultiClassNetwork, multi_gradients, multi_loss
    network = kind(units=5, batch_size=4, learning_rate=0.3, l1=0.01, l2=0.02)
    network.fit(x, y, epochs=3, x_val=x[:4], y_val=y[:4])

    w1, w2, orders = chapters_draws(3, 5, classes, seed_again=classes == 1)
    parameters = [w1, np.zeros(5), w2, np.zeros(classes)]
    y = y.reshape(11, classes)
    for epoch, order in enumerate(orders):
        loss = 0.0
        for rows in (order[:4], order[4:8], order[8:]):
            W1, b1, W2, b2 = parameters
            loss += data_loss(hidden(x[rows], W1, b1) @ W2 + b2, y[rows])
            grads = gradients(x[rows], y[rows], W1, b1, W2, b2, l1=0.01, l2=0.02)
            parameters = [p - 0.3 * g for p, g in zip(parameters, grads, strict=True)]
        W1, b1, W2, b2 = parameters
        after = penalty([W1, W2], 0.01, 0.02)
        val_loss = data_loss(hidden(x[:4], W1, b1) @ W2 + b2, y[:4])
        np.testing.assert_allclose(network.losses[epoch], (loss + after) / 11)
        np.testing.assert_allclose(network.val_losses[epoch], (val_loss + after) / 4)
    for got, expected in zip(network.parameters(), parameters, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_history_of_a_single_layer() -> None:
    x, y = small_problem()
    network = SingleLayer()
    network.fit(x, y, epochs=6)
    assert len(network.losses) == 6
    assert len(network.w_history) == 7
    np.testing.assert_array_equal(network.w_history[0], np.ones((3, 1)))
    np.testing.assert_array_equal(network.w_history[-1], network.w)
    assert all((one != other).any() for one, other in pairwise(network.w_history))


@pytest.mark.parametrize(
    "network",
    [
        SingleLayer(),
        DualLayer(),
        RandomInitNetwork(),
        MinibatchNetwork(batch_size=4),
        MultiClassNetwork(batch_size=4),
    ],
    ids=lambda network: type(network).__name__,
)
def test_two_fits_are_identical(network: SingleLayer) -> None:
    x, y = small_problem(4 if isinstance(network, MultiClassNetwork) else 1)
    network.fit(x, y, epochs=5)
    assert network.val_losses == []
    once = [parameter.copy() for parameter in network.parameters()]
    network.fit(x, y, epochs=5, x_val=x, y_val=y)  # a validation set changes no weight
    assert len(network.val_losses) == 5
    assert network.losses[:5] == network.losses[5:]
    for parameter, kept in zip(network.parameters(), once, strict=True):
        np.testing.assert_array_equal(parameter, kept)


def test_targets_may_be_a_column() -> None:
    x, y = small_problem()
    flat, column = MinibatchNetwork(batch_size=4), MinibatchNetwork(batch_size=4)
    flat.fit(x, y, epochs=2, x_val=x, y_val=y)
    column.fit(x, y.reshape(-1, 1), epochs=2, x_val=x, y_val=y.reshape(-1, 1))
    assert flat.val_losses == column.val_losses
    assert flat.score(x, y) == column.score(x, y.reshape(-1, 1))


def test_predict_and_score() -> None:
    z = np.array([[-2.0], [0.5], [3.0], [-0.1]])
    single = SingleLayer()
    single.w, single.b = np.ones((1, 1)), np.zeros(1)
    assert single.predict(z).tolist() == [[False], [True], [True], [False]]
    assert single.score(z, np.array([0, 1, 0, 0])) == 0.75

    multi = MultiClassNetwork(units=3)
    multi.w1, multi.b1 = 10 * np.eye(3), np.zeros(3)
    multi.w2, multi.b2 = np.eye(3), np.zeros(3)
    rows = np.eye(3)[[2, 0, 1, 1]]
    assert multi.predict(rows).tolist() == [2, 0, 1, 1]
    assert multi.score(rows, np.eye(3)[[2, 0, 1, 0]]) == 0.75


def test_loss_of_a_certain_mistake_is_finite() -> None:
    """Probabilities are kept in [1e-10, 1 − 1e-10] before the logarithm."""
    certain, wrong = np.array([[0.0], [1.0]]), np.array([[1], [0]])
    np.testing.assert_allclose(SingleLayer().data_loss(certain, wrong), -2 * np.log(1e-10))
    classes = MultiClassNetwork().data_loss(np.eye(2), np.eye(2)[::-1])
    np.testing.assert_allclose(classes, -2 * np.log(1e-10))


def test_batches_of_an_epoch() -> None:
    x = np.arange(364.0).reshape(-1, 1)
    network = MinibatchNetwork(batch_size=32)
    batches = list(network.gen_batch(x, x[:, 0]))
    assert [len(rows) for rows, _ in batches] == [32] * 11 + [12]
    assert sorted(np.concatenate([targets for _, targets in batches])) == list(range(364))
    for rows, targets in batches:
        np.testing.assert_array_equal(rows[:, 0], targets)


def test_constructors_and_attributes() -> None:
    network = MultiClassNetwork(20, 64, 0.2, 0.3, 0.4)
    assert (network.units, network.batch_size, network.l1, network.l2) == (20, 64, 0.3, 0.4)
    assert network.lr == network.learning_rate == 0.2
    network.init_weights(7, 3)
    assert [p.shape for p in network.parameters()] == [(7, 20), (20,), (20, 3), (3,)]
    z = network.forpass(np.zeros((2, 7)))
    assert network.a1.shape == (2, 20)
    np.testing.assert_array_equal(network.activation(z), network.sigmoid(z))
    np.testing.assert_array_equal(network.output(z), network.softmax(z))
    default = MinibatchNetwork()
    assert (default.units, default.batch_size, default.lr) == (10, 32, 0.1)
    assert (default.l1, default.l2) == (0, 0)


def test_a_dot_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = small_problem(4)
    MultiClassNetwork().fit(x, y, epochs=7)
    assert capsys.readouterr().out == "." * 7


def test_errors_name_what_was_expected() -> None:
    x, y = small_problem()
    with pytest.raises(RuntimeError, match="DualLayer has no weights yet: call fit"):
        DualLayer().predict(x)
    with pytest.raises(ValueError, match=r"one target for each of the 11 rows of x, .*\(9,\)"):
        SingleLayer().fit(x, y[:9])
    with pytest.raises(ValueError, match=r"y_val must hold one target for each of the 4 rows"):
        SingleLayer().fit(x, y, x_val=x[:4], y_val=y)
    with pytest.raises(ValueError, match="x_val was given without y_val"):
        SingleLayer().fit(x, y, x_val=x)
    with pytest.raises(ValueError, match=r"x must have shape \(m, n\).*\(3,\)"):
        SingleLayer().fit(x[0], y)
    with pytest.raises(ValueError, match=r"at least one row, got \(0, 3\)"):
        SingleLayer().fit(x[:0], y[:0])
    with pytest.raises(ValueError, match=r"one-hot.*got \(11,\); np.eye"):
        MultiClassNetwork().fit(x, y)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        MinibatchNetwork(batch_size=0)


# The slip of the chapter's code


def test_slip_never_moves_the_output_bias() -> None:
    x, y = small_problem(4)
    right, slipped = MultiClassNetwork(batch_size=4), MultiClassNetwork(batch_size=4, slip=True)
    for network in (right, slipped):
        network.fit(x, y, epochs=50)
    assert np.abs(slipped.b2).max() < 1e-14
    assert np.abs(right.b2).max() > 0.01


# The chapter's runs


@pytest.fixture(scope="module")
def cancer() -> Split:
    return breast_cancer()


@pytest.mark.parametrize(
    ("network", "epochs"),
    [
        pytest.param(SingleLayer(l2=0.01), 10_000, id="S1"),
        pytest.param(DualLayer(l2=0.01), 20_000, id="S2"),
        pytest.param(RandomInitNetwork(l2=0.01), 500, id="S3"),
        pytest.param(MinibatchNetwork(l2=0.01, batch_size=32), 500, id="S4, batch 32"),
        pytest.param(MinibatchNetwork(l2=0.01, batch_size=128), 500, id="S4, batch 128"),
    ],
)
def test_chapters_score(network: SingleLayer, epochs: int, cancer: Split) -> None:
    network.fit(cancer.x_train, cancer.y_train, epochs, cancer.x_val, cancer.y_val)
    assert network.score(cancer.x_val, cancer.y_val) == CHAPTERS_SCORE
    assert len(network.losses) == len(network.val_losses) == epochs
    assert network.losses[-1] < network.losses[0]
