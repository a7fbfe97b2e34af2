"""Epochs of which a batch fails, single samples, and steps that have no source yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.capturing.test_interruptions import Training, same
from tests.tools.interpreted import interpreted
from tinygrad_edu import nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5))


@pytest.fixture(params=["numpy", "numba"])
def backend(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("tinygrad_edu.capturing.native.compiled", interpreted)
    return str(request.param)


# --- a batch that fails ---------------------------------------------------------------------------


def one_hot_rows() -> Any:
    return np.eye(3)[np.arange(12) % 3]


WRONG: dict[str, tuple[Any, str]] = {
    "a label": (7, r"cross_entropy: class indices must be in 0 … 2, received 0 … 7; 7 at \[1\]"),
    "a negative label": (-1, r"cross_entropy: class indices .* received -1 … 2; -1 at \[1\]"),
    "NaN": (np.nan, r"cross_entropy: .* row sums nan … nan; nan at \[1, 0\]"),
    "a negative share": (-1.0, r"cross_entropy: .* smallest entry of -1.0 .*; -1.0 at \[1, 0\]"),
    "a sum": (0.25, r"cross_entropy: .* row sums 1.0 … 1.25; 1.25 at \[1\]"),
}


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("name", WRONG)
def test_the_batch_is_named_and_the_losses_before_it_are_kept(
    name: str, batch: int, backend: str
) -> None:
    value, message = WRONG[name]
    y: Any = np.arange(12) % 3 if isinstance(value, int) else one_hot_rows()
    order = np.arange(12).reshape(4, 3)
    mine, twin = Training("momentum"), Training("momentum")
    step = tg.compile(mine.step, backend=backend)
    step.epoch(X, y, order=order)
    twin.load(mine)
    bad = y.copy()
    bad[3 * batch + 1, ...] = y[1] if isinstance(value, float) else value
    if isinstance(value, float):
        bad[3 * batch + 1, 0] = value
    with pytest.raises(ValueError, match=message) as caught:
        step.epoch(X, bad, order=order)
    before = [twin.step(X[rows], bad[rows]).item() for rows in order[:batch]]
    error: Any = caught.value
    assert error.batch == batch and any(f"in batch {batch} of" in x for x in error.__notes__)
    np.testing.assert_allclose(error.losses, before, 1e-12)
    assert same(mine.state(), twin.state(), backend == "numpy")
    want = [twin.step(X[rows], y[rows]).item() for rows in order]  # and it goes on
    np.testing.assert_allclose(step.epoch(X, y, order=order), want, 1e-12)


def test_a_first_epoch_that_fails_names_its_batch_too(backend: str) -> None:
    y = np.arange(12) % 3
    y[8] = 3
    step = tg.compile(Training("sgd").step, backend=backend)
    with pytest.raises(ValueError, match="received 0 … 3") as caught:
        step.epoch(X, y, order=np.arange(12).reshape(4, 3))
    error: Any = caught.value
    assert error.batch == 2 and error.losses.shape == (2,)


def test_several_numbers_of_each_step_are_kept(backend: str) -> None:
    table = tg.Tensor(np.arange(4.0), requires_grad=True)
    step = tg.compile(lambda i: (tg.embedding(i, table).sum(), table.sum()), backend=backend)
    rows = np.array([0, 1, 2, 9])
    with pytest.raises(ValueError, match=r"received 2 … 9; 9 at \[1\]") as caught:
        step.epoch(rows, order=[[0, 1], [1, 2], [2, 3], [0, 1]])
    np.testing.assert_array_equal(caught.value.losses, [[1, 6], [3, 6]])  # type: ignore[attr-defined]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("value", [np.nan, 1.5, -0.5, np.inf])
def test_a_target_that_is_none_is_named_with_its_place(loss: str, value: float) -> None:
    target = np.full((3, 1), 0.5)
    target[2] = value
    message = rf"{loss}: targets must be in \[0, 1\], received .*; {value} at \[2, 0\]"
    with pytest.raises(ValueError, match=message):
        getattr(tg, loss)(tg.Tensor(np.full((3, 1), 0.5)), target)


# --- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([[0, 1], [2]], "received 2 in row 0 and 1 in row 1"),
        ([[0], [1], [2, 3]], "received 1 in row 0 and 2 in row 2"),
        ([[0, 1], 2], "received 2 in row 0 and 1 in row 1"),
        ((np.arange(2), np.arange(3)), "received 2 in row 0 and 3 in row 1"),
    ],
)
def test_a_ragged_order_is_refused_by_name(order: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"order must be \(steps, batch\).* {message}"):
        tg.compile(lambda x: x.sum()).epoch(np.arange(4.0), order=order)


# --- one sample -----------------------------------------------------------------------------------

W = tg.Tensor(RNG.normal(size=(5, 3)), requires_grad=True)
SINGLE: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": lambda x, y: tg.cross_entropy(x @ W, y),
    "a sum": lambda x, y: tg.cross_entropy(x @ W, y, reduction="sum"),
    "no reduction": lambda x, y: tg.cross_entropy(x @ W, y, reduction="none"),
    "a module": lambda x, y: nn.CrossEntropyLoss()(x @ W, y),
    "one_hot": lambda x, y: (tg.one_hot(y, 3) * (x @ W)).sum(),
    "the class's logit": lambda x, y: -tg.log_softmax(x @ W)[y],
    "embedding": lambda x, y: (tg.embedding(y, W) * x[:3]).sum(),
    "a number as target": lambda x, y: tg.mse_loss((x @ W)[0], y),
    "a yes or no": lambda x, y: tg.binary_cross_entropy_with_logits((x @ W)[0], y * 0.5),
}
KINDS: list[Callable[[int], Any]] = [int, np.int64, np.int32, np.array]


@pytest.mark.parametrize("name", SINGLE)
def test_one_sample_and_a_class_index(name: str, backend: str) -> None:
    function = SINGLE[name]
    for kind in KINDS:
        step = tg.compile(function, backend=backend)
        for x, label in zip(X[:6], (2, 0, 2, 1, 0, 2), strict=False):
            want = function(x, kind(label))
            np.testing.assert_allclose(step(x, kind(label)).data, want.data, 1e-12)


def test_one_sample_with_a_class_that_is_none(backend: str) -> None:
    step = tg.compile(SINGLE["cross_entropy"], backend=backend)
    step(X[0], 2)
    for label in (3, np.int64(3), np.array(3)):
        with pytest.raises(ValueError, match="cross_entropy: class indices must be in 0 … 2"):
            step(X[0], label)
    assert step(X[0], 1).item() == pytest.approx(tg.cross_entropy(X[0] @ W.data, 1), rel=1e-12)


def test_an_array_in_a_closure_is_no_number() -> None:
    # It may be changed in place, and its one-hot row would be the same at every call.
    label = np.array(1)
    step = tg.compile(lambda x: tg.cross_entropy(x @ W, label))
    with pytest.raises(tg.CannotCapture):
        step(X[0])


# --- sources --------------------------------------------------------------------------------------


def test_a_step_says_that_it_has_no_source_yet(backend: str) -> None:
    def double(x: Any) -> Any:
        return (x * 2).sum()

    step = tg.compile(double, backend=backend)
    told = "# double has no source yet: it is traced when it is first called"
    assert step.source == step.native_source == told
    step(np.ones(3))
    assert "2" in step.source and told not in step.source
    if backend == "numba":
        assert "def run(" in step.native_source
    else:
        assert step.native_source == "# there is no machine code: the backend is 'numpy'"


def test_a_native_source_says_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_edu.capturing.native.compiled", interpreted)
    primitive: Any = tg.primitive(lambda g, y, x: g * x)
    own = primitive(lambda x, /: x * x)
    step = tg.compile(lambda x: own(x).sum(), backend="numba")
    step(np.ones(3))
    assert step.native_source.startswith("# on NumPy: there is no loop for")
