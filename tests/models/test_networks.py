"""The networks against the hand-derived ones: the same losses, epoch by epoch, and the scores."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from models import networks, reference
from models.datasets import Split, breast_cancer, digits, fashion_mnist, find_fashion_mnist
from tests.tools.long import long, one_in

CHAPTER_SCORE = 0.978021978021978
Pair = tuple[networks.SingleLayer, reference.SingleLayer]


@cache
def cancer() -> Split:
    return breast_cancer()


def trained(name: str, data: Split, epochs: int, **settings: Any) -> Pair:
    """The network of that name and the hand-derived one, trained alike."""
    pair = getattr(networks, name)(**settings), getattr(reference, name)(**settings)
    for network in pair:
        network.fit(data.x_train, data.y_train, epochs, data.x_val, data.y_val)
    return pair


def assert_same_losses(ours: networks.SingleLayer, theirs: reference.SingleLayer) -> None:
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-9)
    np.testing.assert_allclose(ours.val_losses, theirs.val_losses, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "epochs", "settings", "score"),
    one_in(
        3,
        [
            ("SingleLayer", 10_000, {"l2": 0.01}, CHAPTER_SCORE),
            ("DualLayer", 20_000, {"l2": 0.01}, CHAPTER_SCORE),
            ("RandomInitNetwork", 500, {"l2": 0.01}, None),
            ("MinibatchNetwork", 500, {"l2": 0.01, "batch_size": 32}, CHAPTER_SCORE),
            ("MinibatchNetwork", 500, {"l2": 0.01, "batch_size": 128}, CHAPTER_SCORE),
            ("SingleLayer", 100, {"l1": 0.01, "l2": 0.1}, None),
            ("MinibatchNetwork", 50, {"l1": 0.01, "l2": 0.1, "units": 3, "batch_size": 50}, None),
        ],
    ),
)
def test_every_epoch_equals_the_hand_derived_network(
    name: str, epochs: int, settings: dict[str, Any], score: float | None
) -> None:
    ours, theirs = trained(name, cancer(), epochs, **settings)
    assert len(ours.losses) == epochs
    assert ours.history.compiled is True  # by captured steps
    assert_same_losses(ours, theirs)
    assert ours.score(cancer().x_val, cancer().y_val) == theirs.score(
        cancer().x_val, cancer().y_val
    )
    if score is not None:
        assert ours.score(cancer().x_val, cancer().y_val) == score


def test_multiclass_on_digits_equals_the_hand_derived_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = trained("MultiClassNetwork", digits(), 10, units=20, batch_size=32, l2=0.01)
    assert_same_losses(ours, theirs)
    np.testing.assert_array_equal(ours.predict(digits().x_val), theirs.predict(digits().x_val))
    assert "." in capsys.readouterr().out  # the reference prints the chapter's dots, we do not


@long
@pytest.mark.skipif(find_fashion_mnist() is None, reason="Fashion-MNIST is not on this machine")
def test_multiclass_on_fashion_mnist_gives_the_chapters_result() -> None:
    """All 40 epochs: ours equals the right derivation, and slip 1 explains the slides' score."""
    data = fashion_mnist()
    settings = {"units": 100, "batch_size": 256}
    ours, right = trained("MultiClassNetwork", data, 40, **settings)
    assert_same_losses(ours, right)
    assert ours.score(data.x_val, data.y_val) == 0.81475
    assert round(ours.losses[-1], 5) == 0.49918
    slip = reference.MultiClassNetwork(slip=True, **settings)
    slip.fit(data.x_train, data.y_train, 40)
    assert slip.score(data.x_val, data.y_val) == pytest.approx(0.8150833333333334, abs=1e-15)
    assert round(slip.losses[-1], 5) == 0.50065


def test_the_products_of_a_batch_decide_about_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("threadpoolctl")
    for variable in tg.threads.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tg.threads, "free_processors", lambda: 2)
    x, y = np.zeros((600, 784)), np.arange(600) % 10

    def told(size: int, threads: str | None) -> int | None:
        network = networks.MultiClassNetwork(units=100, batch_size=size)
        return network.fit(x, y, 1, threads=threads).history.threads

    with tg.threads.blas_threads(2, multiplications=1):  # what there is to take
        assert [told(size, "auto") for size in (2, 600)] == [None, 2]
    assert told(600, None) is None
    network = networks.SingleLayer()
    assert network.fit(x[:, :3], y > 4, 1).history.threads is None
    assert network.fit(x[:, :3], y > 4, 1, threads=1).history.threads == 1


def test_weights_are_followed_as_on_the_slides() -> None:
    ours, theirs = trained("SingleLayer", cancer(), 20, l2=0.01)
    np.testing.assert_array_equal(ours.w_history[0], np.ones((30, 1)))
    np.testing.assert_allclose(ours.w_history, theirs.w_history, rtol=1e-12)
    np.testing.assert_allclose(ours.b, theirs.b, rtol=1e-12)


# --- D3, D5–D8 and D12 against reverse mode, on random problems -----------------------------------


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes, data, penalties: everything that a derivation could be right for by chance."""
    m, n, units, k = (draw(st.integers(1, 7)) for _ in range(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0]))
    penalty = st.sampled_from([0.0, 0.01, 0.7])
    return {
        "X": rng.normal(size=(m, n)) * scale,
        "labels": rng.integers(0, k, m),
        "bits": rng.integers(0, 2, (m, 1)).astype(float),
        "W1": rng.normal(size=(n, units)),
        "b1": rng.normal(size=units),
        "W2": rng.normal(size=(units, k)),
        "b2": rng.normal(size=k),
        "l1": draw(penalty),
        "l2": draw(penalty),
    }


def gradients(
    loss: Callable[..., Any], weights: list[np.ndarray[Any, Any]], l1: float, l2: float, m: int
) -> list[np.ndarray[Any, Any]]:
    """Reverse mode of loss(*variables)/m with the penalty on the weights (the matrices)."""
    variables = [tg.Tensor(w, requires_grad=True) for w in weights]
    penalty = tg.Tensor(0.0)
    for v in variables[::2]:
        penalty = penalty + l1 * abs(v).sum() + l2 / 2 * (v * v).sum()
    ((loss(*variables) + penalty) / m).backward()
    return [np.asarray(v.grad) for v in variables]


def assert_close(ours: list[Any], by_hand: tuple[Any, ...]) -> None:
    for a, b in zip(ours, by_hand, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@given(problems())
def test_single_layer_gradients_are_D3(p: dict[str, Any]) -> None:
    W, b, m = p["W1"][:, :1], p["b1"][:1], len(p["X"])

    def loss(W: Any, b: Any) -> Any:
        return tg.binary_cross_entropy_with_logits(p["X"] @ W + b, p["bits"], "sum")

    assert_close(
        gradients(loss, [W, b], p["l1"], p["l2"], m),
        reference.single_gradients(p["X"], p["bits"], W, b, p["l1"], p["l2"]),
    )


@given(problems())
def test_two_layer_gradients_are_D5_to_D8(p: dict[str, Any]) -> None:
    weights = W1, b1, W2, b2 = [p["W1"], p["b1"], p["W2"][:, :1], p["b2"][:1]]

    def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        # written out, as a student would: the sigmoid's and the logarithm's own rules
        A1 = tg.sigmoid(p["X"] @ W1 + b1)
        A2 = tg.sigmoid(A1 @ W2 + b2)
        return -(p["bits"] * np.log(A2) + (1 - p["bits"]) * np.log(1 - A2)).sum()

    by_hand = reference.dual_gradients(p["X"], p["bits"], W1, b1, W2, b2, p["l1"], p["l2"])
    Z2 = tg.sigmoid(p["X"] @ W1 + b1) @ W2 + b2
    if np.abs(Z2).max() < 8:  # beyond, 1 − A2 itself has lost its digits
        assert_close(gradients(loss, weights, p["l1"], p["l2"], len(p["X"])), by_hand)

    def fused(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        Z2 = tg.sigmoid(p["X"] @ W1 + b1) @ W2 + b2
        return tg.binary_cross_entropy_with_logits(Z2, p["bits"], "sum")

    assert_close(gradients(fused, weights, p["l1"], p["l2"], len(p["X"])), by_hand)


@given(problems())
def test_multi_class_gradients_are_D12(p: dict[str, Any]) -> None:
    weights = W1, b1, W2, b2 = [p["W1"], p["b1"], p["W2"], p["b2"]]
    Y = tg.one_hot(p["labels"], p["W2"].shape[1])

    def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        return tg.cross_entropy(tg.sigmoid(p["X"] @ W1 + b1) @ W2 + b2, p["labels"], "sum")

    assert_close(
        gradients(loss, weights, p["l1"], p["l2"], len(p["X"])),
        reference.multi_gradients(p["X"], Y, W1, b1, W2, b2, p["l1"], p["l2"]),
    )


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 4), st.sampled_from([0.0, 0.3]))
def test_batches_are_cut_as_by_hand(m: int, batch_size: int, epochs: int, l2: float) -> None:
    rng = np.random.default_rng(m)
    x, y = rng.normal(size=(m, 3)), rng.integers(0, 2, m)
    settings: dict[str, Any] = {"units": 2, "batch_size": batch_size, "l1": 0.01, "l2": l2}
    ours, theirs = networks.MinibatchNetwork(**settings), reference.MinibatchNetwork(**settings)
    ours.fit(x, y, epochs)
    theirs.fit(x, y, epochs)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-12)
    np.testing.assert_allclose(ours.w1, theirs.w1, rtol=1e-12, atol=1e-12)


# --- what they refuse and keep --------------------------------------------------------------------

X4, Y4 = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4), Y4), r"\(m, n\).*received \(4,\)"),
        ((np.zeros((0, 1)), []), r"received \(0, 1\)"),
        ((X4, Y4[:3]), r"each of the 4 rows.*\(3,\)"),
        ((X4, [0, 0, 1, 2]), "0 or 1, received"),
        ((X4, Y4, -1), "epochs"),
        ((X4, Y4, 1, X4), "go together"),
        ((X4, Y4, 1, np.zeros((2, 3)), [0, 1]), r"\(2, 3\)"),
    ],
)
def test_bad_data_is_refused_and_the_trained_network_kept(
    arguments: tuple[Any, ...], message: str
) -> None:
    network = networks.DualLayer(units=2).fit(X4, Y4, 5)
    before = network.state_dict()
    with pytest.raises(ValueError, match=message):
        network.fit(*arguments)
    assert len(network.losses) == 5
    np.testing.assert_equal(network.state_dict(), before)


@pytest.mark.parametrize(
    "settings",
    [{"units": 0}, {"units": 2.5}, {"batch_size": 0}, {"learning_rate": -1}, {"l2": float("nan")}],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        networks.MinibatchNetwork(**settings)


def test_before_training_it_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"call fit\(x, y\) first"):
        networks.SingleLayer().predict(X4)


def test_multiclass_takes_indices_and_one_hot_rows_alike() -> None:
    labels = np.array([0, 2, 1, 2])
    by_index = networks.MultiClassNetwork(units=3, batch_size=2).fit(X4, labels, 5)
    by_row = networks.MultiClassNetwork(units=3, batch_size=2).fit(X4, tg.one_hot(labels), 5)
    assert by_index.losses == by_row.losses
    assert by_index.score(X4, labels) == by_row.score(X4, tg.one_hot(labels))
    assert by_index.score(X4[:1], labels[:1]) in (0.0, 1.0)  # fewer classes than the network has
    with pytest.raises(ValueError, match="one-hot rows or class indices"):
        by_row.fit(X4, np.ones((4, 3)))


def test_fit_starts_afresh_and_alike_and_leaves_the_global_random_state() -> None:
    np.random.seed(7)
    network = networks.MinibatchNetwork(units=2, batch_size=3)
    first = list(network.fit(X4, Y4, 5, X4, Y4).losses)
    assert network.fit(X4, Y4, 5).losses == first
    assert network.val_losses == []
    expected = np.random.RandomState(7).rand()
    assert np.random.rand() == expected
