"""Captured steps: bit for bit what the step itself does, or refused by name."""

from __future__ import annotations

import gc
import random
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.fuzz import generate
from tests.fuzz.captured import check_captured
from tests.tools.domains import Shapes
from tests.tools.operations import CASES, Row
from tinygrad_edu import nn, optim
from tinygrad_edu.arrays import Array
from tinygrad_edu.capturing.lowering import _same

Step = Callable[..., Any]


def network(*sizes: int, hidden: type[nn.Module] = nn.Sigmoid, dtype: Any = "float64") -> Any:
    layers: list[nn.Module] = []
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(n_in, n_out, rng=k, dtype=dtype), hidden()]
    return nn.Sequential(*layers[:-1])


def training(model: nn.Module, optimizer: Any, loss: Step) -> Step:
    def step(x: Any, y: Any) -> Any:
        value = loss(model(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value

    return step


def batches(m: int, n: int, k: int, dtype: Any, count: int = 5) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        labels = rng.integers(0, max(2, k), m)
        y = labels.reshape(-1, 1) if k == 1 else np.eye(k)[labels]
        made.append((rng.normal(size=(m, n)).astype(dtype), y.astype(dtype)))
    return made


def left_by(model: nn.Module) -> list[Any]:
    return [a for p in model.parameters() for a in (p.data, p.grad)]


def assert_same(model: nn.Module, other: nn.Module) -> None:
    for a, b in zip(left_by(model), left_by(other), strict=True):
        if a is None or b is None:
            assert a is b
        else:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


# --- exactness ------------------------------------------------------------------------------------

NETWORKS: dict[str, tuple[tuple[int, ...], int, Step]] = {
    "single": ((30, 1), 64, tg.binary_cross_entropy_with_logits),
    "dual": ((30, 10, 1), 64, tg.binary_cross_entropy_with_logits),
    "mini": ((30, 10, 1), 32, tg.binary_cross_entropy_with_logits),
    "multi": ((40, 10, 10), 64, tg.cross_entropy),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_thousand_steps_of_the_chapters_networks(name: str, dtype: str) -> None:
    sizes, m, loss = NETWORKS[name]
    model, other = network(*sizes, dtype=dtype), network(*sizes, dtype=dtype)
    eager = training(model, optim.SGD(model.parameters(), lr=0.1), loss)
    step = tg.compile(training(other, optim.SGD(other.parameters(), lr=0.1), loss), check=True)
    data = batches(m, sizes[0], sizes[-1], dtype)
    for k in range(1000):
        x, y = data[k % len(data)]
        assert eager(x, y).item() == step(x, y).item()
    assert_same(model, other)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_with_a_state_and_a_changing_rate(name: str, dtype: str) -> None:
    model, other = network(6, 5, 3, dtype=dtype), network(6, 5, 3, dtype=dtype)
    mine, theirs = (OPTIMIZERS[name](list(m.parameters())) for m in (model, other))
    eager = training(model, mine, tg.cross_entropy)
    step = tg.compile(training(other, theirs, tg.cross_entropy), check=True)
    for k, (x, y) in enumerate(batches(8, 6, 3, dtype, 20)):
        mine.lr = theirs.lr = 0.1 / (k + 1)
        assert eager(x, y).item() == step(x, y).item()
    assert_same(model, other)
    state, expected = theirs.state_dict()["state"], mine.state_dict()["state"]
    for i in expected:
        for key, array in expected[i].items():
            np.testing.assert_array_equal(state[i][key], array)
    assert len(step.programs) == 1  # the rate is looked up, not frozen


ROWS = {str(row): (row, shapes) for row, shapes in CASES}


@pytest.mark.parametrize("name", ROWS)
def test_every_operation(name: str) -> None:
    row, shapes = ROWS[name]
    _check_row(row, shapes)


def _check_row(row: Row, shapes: Shapes) -> None:
    rng = np.random.default_rng(3)
    inputs = [draw(rng, shape) for draw, shape in zip(row.domains, shapes, strict=True)]
    later = [draw(rng, shape) for draw, shape in zip(row.domains, shapes, strict=True)]
    if any(a.shape != b.shape for a, b in zip(inputs, later, strict=True)):
        later = inputs
    variables = {i: tg.Tensor(inputs[i], requires_grad=True) for i in row.wanted}

    def step(*given: Any) -> Any:
        y = row.call(*[variables.get(i, x) for i, x in enumerate(given)])
        total = (y * y).sum()
        for v in variables.values():
            v.grad = None
        if variables:
            total.backward()
        return y, total

    captured = tg.compile(step, check=True)
    captured(*inputs)
    for i, v in variables.items():
        v.data = later[i]
    found = captured(*later)
    gradients = {i: v.grad for i, v in variables.items()}
    expected = step(*later)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got.value), getattr(want, "value", want))
    for i, v in variables.items():
        np.testing.assert_array_equal(gradients[i], v.grad)


@pytest.mark.parametrize("seed", range(150))
def test_random_programs(seed: int) -> None:
    # 2,000 of them: python -m tests.fuzz --captured --count 2000
    failure = check_captured(generate(seed))
    assert failure is None, failure


def test_the_comparison_of_random_programs_finds_a_frozen_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tg.compile(lambda: None).__class__.__call__

    def frozen(self: Any, *args: Any) -> Any:
        self.first = getattr(self, "first", args)
        return run(self, *self.first)

    monkeypatch.setattr("tinygrad_edu.capturing.compiled.CompiledStep.__call__", frozen)
    assert any(check_captured(generate(seed)) for seed in range(10))


def test_a_custom_operation_is_called_as_it_is() -> None:
    calls = np.zeros(1)  # what an operation does besides, it does at each call

    @tg.primitive(lambda g, y, x: 3 * g * x * x)
    def cube(x: Any) -> Any:
        calls[0] += 1
        return x**3

    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.01)

    @tg.compile(check=False)
    def step(x: Any) -> Any:
        loss = cube(w * x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(np.ones(2))
    assert calls[0] == 3


def test_dropout_draws_anew_at_each_call_and_as_it_would_without_capture() -> None:
    def made() -> tuple[nn.Module, Step]:
        model = nn.Sequential(
            nn.Linear(5, 4, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(4, 2, rng=2)
        )
        return model, training(model, optim.SGD(model.parameters(), lr=0.1), tg.cross_entropy)

    (model, eager), (other, function) = made(), made()
    step = tg.compile(function, check=True)
    losses = []
    x, y = batches(8, 5, 2, float)[0]
    for _ in range(20):
        losses.append(step(x, y).item())
        assert losses[-1] == eager(x, y).item()
    assert_same(model, other)


def test_batch_normalisation_keeps_its_running_means() -> None:
    def made() -> tuple[nn.Module, Step]:
        model = nn.Sequential(nn.Linear(5, 4, rng=0), nn.BatchNorm1d(4), nn.Linear(4, 2, rng=2))
        return model, training(model, optim.SGD(model.parameters(), lr=0.1), tg.cross_entropy)

    (model, eager), (other, function) = made(), made()
    step = tg.compile(function, check=True)
    for x, y in batches(8, 5, 2, float):
        assert step(x, y).item() == eager(x, y).item()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)


# --- ways to trip a capture, each handled right ---------------------------------------------------


@pytest.fixture
def pair() -> tuple[nn.Module, Step, nn.Module, Any, Any]:
    """A model with its step, and a twin whose step is captured, with its optimizer."""
    model, other = network(4, 3, 2), network(4, 3, 2)
    eager = training(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.5), tg.cross_entropy)
    optimizer = optim.SGD(other.parameters(), lr=0.1, momentum=0.5)
    return model, eager, other, tg.compile(training(other, optimizer, tg.cross_entropy)), optimizer


def test_changing_shapes_and_dtypes_get_programs_of_their_own(pair: Any) -> None:
    model, eager, other, step, _ = pair
    for m, dtype in [(8, float), (5, float), (8, "float32"), (8, float), (1, float)]:
        x, y = batches(m, 4, 2, dtype)[0]
        assert eager(x, y).item() == step(x, y).item()
    assert_same(model, other)
    assert len(step.programs) == 4


def test_arrays_laid_out_otherwise(pair: Any) -> None:
    model, eager, other, step, _ = pair
    x, y = batches(8, 4, 2, float)[0]
    for view in (x, np.asfortranarray(x), x[::-1], np.repeat(x, 2, axis=0)[::2]):
        assert eager(view, y).item() == step(view, y).item()
    assert_same(model, other)


def test_labels_as_class_indices_and_tensors_as_arguments(pair: Any) -> None:
    model, eager, other, step, _ = pair
    for x, y in batches(8, 4, 2, float):
        args = tg.Tensor(x), y.argmax(axis=1)
        assert eager(*args).item() == step(*args).item()
    assert_same(model, other)


def test_a_wrong_target_is_an_error_and_changes_nothing(pair: Any) -> None:
    _, _, other, step, _ = pair
    x, y = batches(8, 4, 2, float)[0]
    step(x, y.argmax(axis=1))
    before = [p.data.copy() for p in other.parameters()]
    with pytest.raises(ValueError, match=r"class indices must be in 0 … 1, received 0 … 7"):
        step(x, np.arange(8))
    with pytest.raises(ValueError, match="probabilities"):
        step(x, y)
        step(x, y * 2)
    step(x, y)
    assert all(p.grad is not None for p in other.parameters())
    assert len(before) == 4


def test_a_wrong_shape_is_the_functions_own_error_and_changes_nothing(pair: Any) -> None:
    _, _, other, step, optimizer = pair
    x, y = batches(8, 4, 2, float)[0]
    step(x, y)
    before, state = other.state_dict(), optimizer.state_dict()["state"]
    with pytest.raises(ValueError, match=r"Linear\(4, 3\) expects X with 4 columns"):
        step(x[:, :3], y)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    for i, entries in optimizer.state_dict()["state"].items():
        for name, array in entries.items():
            np.testing.assert_array_equal(array, state[i][name])


def test_an_exception_in_the_middle_of_a_run_leaves_the_parameters() -> None:
    fail = False

    @tg.primitive(lambda g, y, x: moody(g))
    def moody(x: Any) -> Any:
        if fail:
            raise RuntimeError("not now")
        return x * 2

    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    @tg.compile
    def step() -> Any:
        loss = moody(w * w).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step()
    step()
    before = w.data.copy()
    fail = True
    with pytest.raises(RuntimeError, match="not now"):
        step()
    np.testing.assert_array_equal(w.data, before)
    fail = False
    assert step().item() == (before**2).sum() * 2


def test_new_data_and_a_loaded_state_are_seen(pair: Any) -> None:
    model, eager, other, step, _ = pair
    (x, y), *_ = batches(8, 4, 2, float)
    eager(x, y), step(x, y)
    start = network(4, 3, 2).state_dict()
    for m in (model, other):
        m[0].weight.data = np.ones((4, 3))
    assert eager(x, y).item() == step(x, y).item()
    for m in (model, other):
        m.load_state_dict(start)
    assert eager(x, y).item() == step(x, y).item()
    assert_same(model, other)


def test_a_loaded_optimizer_state_and_new_settings_are_seen() -> None:
    model, other = network(4, 3, 2), network(4, 3, 2)
    mine, theirs = (optim.Adam(m.parameters(), lr=0.1) for m in (model, other))
    eager = training(model, mine, tg.cross_entropy)
    step = tg.compile(training(other, theirs, tg.cross_entropy))
    (x, y), *_ = batches(8, 4, 2, float)
    eager(x, y), step(x, y)
    saved = mine.state_dict()
    for _ in range(3):
        eager(x, y), step(x, y)
    for o in (mine, theirs):
        o.load_state_dict(saved)
    assert eager(x, y).item() == step(x, y).item()
    for o in (mine, theirs):
        o.betas = (0.5, 0.6)
    assert eager(x, y).item() == step(x, y).item()
    for o in (mine, theirs):
        o.state = {}
    assert eager(x, y).item() == step(x, y).item()
    assert_same(model, other)


def test_a_replaced_parameter_and_a_replaced_layer_are_seen(pair: Any) -> None:
    model, _, other, step, _ = pair
    x, y = batches(8, 4, 2, float)[0]
    step(x, y)
    other[0].weight = nn.Parameter(np.zeros((4, 3)))
    zeroed = step(x, y).item()
    with tg.no_grad():
        assert zeroed != tg.cross_entropy(model(x), y).item()
    layers = [nn.Linear(2, 2, rng=0)]
    head = tg.compile(lambda x: layers[0](x))
    assert head(np.ones((1, 2))).tolist() == layers[0](np.ones((1, 2))).tolist()
    layers[0] = nn.Linear(2, 2, rng=1)
    assert head(np.ones((1, 2))).tolist() == layers[0](np.ones((1, 2))).tolist()


def test_who_kept_an_array_keeps_what_it_held(pair: Any) -> None:
    _, _, other, step, _ = pair
    weight = other[0].weight
    kept, copies, gradients = [], [], []
    for x, y in batches(8, 4, 2, float):
        step(x, y)
        kept.append(weight.data)
        copies.append(weight.data.copy())
        gradients.append((weight.grad, weight.grad.copy()))
    for held, copy in [*zip(kept, copies, strict=True), *gradients]:
        np.testing.assert_array_equal(held, copy)
    detached, before = weight.detach(), weight.data.copy()
    step(x, y)
    np.testing.assert_array_equal(detached.numpy(), before)


def test_results_have_memory_of_their_own(pair: Any) -> None:
    _, _, _, step, _ = pair
    first, second, *_ = batches(8, 4, 2, float)
    losses = [step(*first), step(*first), step(*second)]
    values = [loss.item() for loss in losses]
    step(*second)
    assert [loss.item() for loss in losses] == values
    assert not losses[1].requires_grad


def test_values_around_the_step_that_change_are_seen() -> None:
    factor, mask, table = 2.0, np.ones(3), {"shift": 1.0}

    @tg.compile
    def scaled(x: Any) -> Any:
        return x * factor * mask + table["shift"]

    x = np.arange(3.0)
    assert scaled(x).tolist() == [1.0, 3.0, 5.0]
    factor = 3.0
    assert scaled(x).tolist() == [1.0, 4.0, 7.0]
    mask[0] = 0  # in place
    mask[1] = 0
    assert scaled(x).tolist() == [1.0, 1.0, 7.0]
    mask = np.zeros(3)
    assert scaled(x).tolist() == [1.0, 1.0, 1.0]
    table["shift"] = 5.0
    assert scaled(x).tolist() == [5.0, 5.0, 5.0]


def test_train_and_eval_are_told_apart() -> None:
    layer = nn.Dropout(0.5, rng=0)
    captured = tg.compile(lambda x: layer(x))
    x = np.ones(50)
    assert 0.0 in captured(x).tolist()
    layer.eval()
    assert captured(x).tolist() == x.tolist()
    layer.train()
    assert 0.0 in captured(x).tolist()


def test_a_closure_over_the_data_is_not_the_argument() -> None:
    x = np.arange(3.0)
    added = tg.compile(lambda a: a + x)
    assert added(x).tolist() == [0.0, 2.0, 4.0]
    assert added(np.ones(3)).tolist() == [1.0, 2.0, 3.0]


def test_threads_take_turns(pair: Any) -> None:
    model, eager, other, step, _ = pair
    x, y = batches(8, 4, 2, float)[0]
    threads = [threading.Thread(target=lambda: [step(x, y) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(200):
        eager(x, y)
    assert_same(model, other)


def test_two_steps_on_the_same_parameters(pair: Any) -> None:
    model, eager, other, step, _ = pair
    predict = tg.compile(lambda x: other(x))
    for x, y in batches(8, 4, 2, float):
        assert eager(x, y).item() == step(x, y).item()
        np.testing.assert_array_equal(predict(x).numpy(), model(x).numpy())
    assert_same(model, other)


def test_a_step_in_a_step_and_no_backward_at_all() -> None:
    half = tg.compile(lambda x: x / 2)
    quarter = tg.compile(lambda x: (half(half(x)), {"same": x}))
    found, more = quarter(np.array([4.0]))
    assert found.tolist() == [1.0] and more["same"].tolist() == [4.0]


def test_while_anomalies_are_looked_for_the_function_itself_runs(pair: Any) -> None:
    _, _, _, step, _ = pair
    x, y = batches(8, 4, 2, float)[0]
    step(x, y)
    with tg.detect_anomaly(), pytest.raises(FloatingPointError):
        step(x * np.nan, y)


def test_weights_that_are_no_longer_used_get_no_gradient() -> None:
    w, v = (tg.Tensor(1.0, requires_grad=True) for _ in range(2))
    both = True

    @tg.compile
    def step(x: Any) -> Any:
        w.grad = v.grad = None
        loss = w * x + v if both else w * x
        loss.backward()
        return loss

    step(np.array(3.0))
    assert [np.asarray(x.grad).tolist() for x in (w, v)] == [3.0, 1.0]
    both = False
    step(np.array(3.0))
    assert w.grad == 3.0 and v.grad is None


def test_what_the_step_does_not_name_may_change() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = nn.Linear(2, 1, rng=0)
            self.history: list[float] = []

        def step(self, x: Any) -> Any:
            return self.model(x).sum()

    trainer = Trainer()
    step = tg.compile(trainer.step)
    for _ in range(20):
        trainer.history.append(step(np.ones((1, 2))).item())
    assert [len(found) for found in step.programs.values()] == [1]


def test_what_python_does_meanwhile_is_none_of_the_step(tmp_path: Path) -> None:
    """Clearing up memory calls functions too, such as those that measure how long it takes."""
    file = tmp_path / "site-packages" / "meter.py"
    file.parent.mkdir()
    file.write_text("count = 0\ndef meter(*_):\n    global count\n    count += 1\n")
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    gc.callbacks.append(space["meter"])
    try:
        collected = tg.compile(_collects)
        for _ in range(12):
            collected(np.ones(2))
            gc.collect()
    finally:
        gc.callbacks.remove(space["meter"])
    assert [len(found) for found in collected.programs.values()] == [1]


def _collects(x: Any) -> Any:
    gc.collect()
    return x * 2


# --- and refused by name --------------------------------------------------------------------------

W = tg.Tensor([1.0, 2.0], requires_grad=True, name="W")
OUTSIDE = W * 2
losses: list[Any] = []
numbers = np.random.default_rng(0)


class Counter:
    calls = 0


counter = Counter()


def branches(x: Any) -> Any:
    return x if (W * x).sum() > 1 else -x


def takes_item(x: Any) -> Any:
    return x * (W * x).sum().item()


def becomes_a_float(x: Any) -> Any:
    return x * float(x.sum())


def becomes_an_array(x: Any) -> Any:
    return W * np.asarray(x)


def asks_numpy(x: Any) -> Any:
    return W * x if np.allclose(x, 1) else W


def prints(x: Any) -> Any:
    return W * x + len(f"{x.sum():.3f}")


def makes_a_mask(x: Any) -> Any:
    return W * x * (np.arange(2) > 0)


def writes_into_zeros(x: Any) -> Any:
    mask = np.zeros_like(x)
    mask[0] = time.perf_counter()
    return W * x * mask


def draws_from_numpy(x: Any) -> Any:
    return W * x * numbers.random()


def draws_from_python(x: Any) -> Any:
    return W * x * random.random()


def makes_a_generator(x: Any) -> Any:
    return W * x * np.random.default_rng().normal(size=2)


def appends(x: Any) -> Any:
    losses.append((W * x).sum())
    return losses[-1]


def counts(x: Any) -> Any:
    counter.calls += 1
    return W * x * counter.calls


def assigns(x: Any) -> Any:
    W.data = np.ones(2)
    return W * x


def accumulates(x: Any) -> Any:
    loss = (W * x).sum()
    loss.backward()
    return loss


def goes_on_outside(x: Any) -> Any:
    return OUTSIDE * x


def records_nothing(x: Any) -> Any:
    with tg.no_grad():
        y = W * x
    return y * x


def gives_an_array(x: Any) -> Any:
    return np.ones(2)


def reads_a_gradient(x: Any) -> Any:
    return x * tg.grad((W * x).sum(), W)


def takes_a_loop_of(x: Any) -> Any:
    while (W * x).sum() < 10:
        x = x * 2
    return x


def loads(x: Any) -> Any:
    return W * x * np.full(2, time.perf_counter())


REFUSED: dict[Step, str] = {
    branches: "a truth value takes numbers out of",
    takes_item: r"item\(\) takes numbers out of",
    becomes_a_float: r"a plain number takes numbers out of",
    becomes_an_array: r"np\.asarray takes numbers out of",
    asks_numpy: "allclose takes numbers out of",
    prints: r"item\(\) takes numbers out of",
    makes_a_mask: r"multiply received \(2,\) bool, an array that was made in the step",
    writes_into_zeros: "an array that was made in the step",
    draws_from_numpy: "draws random numbers",
    draws_from_python: "draws random numbers",
    makes_a_generator: "an array that was made in the step",
    appends: "the step changed losses",
    counts: r"the step changed counter\.calls",
    assigns: r"W \(2,\) float64 is given data that are not computed",
    accumulates: "has a .grad from before the step",
    goes_on_outside: "was computed by multiply before the step",
    records_nothing: "an array that was made in the step",
    gives_an_array: "an array that was made in the step",
    reads_a_gradient: "an array that was made in the step",
    takes_a_loop_of: "a truth value takes numbers out of",
    loads: "an array that was made in the step",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_refused_by_name(function: Step) -> None:
    W.grad = np.ones(2)
    before, length = W.data, len(losses)
    with pytest.raises(tg.CannotCapture, match=REFUSED[function]):
        tg.compile(function)(np.ones(2))
    np.testing.assert_array_equal(W.data, before)
    np.testing.assert_array_equal(W.grad, np.ones(2))
    del losses[length:]
    counter.calls = 0


def test_zeros_in_the_shape_of_a_tensor_are_known() -> None:
    def step(x: Any) -> Any:
        h = np.zeros_like(x)
        for _ in range(2):
            h = np.tanh(h * W + x)
        return (h + np.ones_like(h)).sum(axis=0)

    for backend in ("numpy", *(["numba"] if find_spec("numba") else [])):
        captured = tg.compile(step, check=backend == "numpy", backend=backend)
        for k in range(3):
            x = np.random.default_rng(k).normal(size=(3, 2))
            np.testing.assert_allclose(captured(x).data, step(tg.Tensor(x)).data, rtol=1e-12)


def test_a_hook_is_refused_also_when_it_comes_later(pair: Any) -> None:
    _, _, other, step, _ = pair
    x, y = batches(8, 4, 2, float)[0]
    step(x, y)
    with other[0].weight.register_hook(lambda g: g * 2):
        other.zero_grad()
        with pytest.raises(tg.CannotCapture, match="hook"):
            step(x, y)
    step(x, y)


def test_what_changes_at_each_call_is_refused_in_the_end() -> None:
    scaled = tg.compile(lambda x: x * counter.calls)
    with pytest.raises(tg.CannotCapture, match="counter"):
        for k in range(20):
            counter.calls = k
            assert scaled(np.ones(1)).item() == k
    counter.calls = 0


def test_the_check_finds_what_was_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(x: Any) -> Any:
        return W * x * np.full(2, time.perf_counter())

    monkeypatch.setattr("tinygrad_edu.capturing.capture.Capture._is_ours", lambda self: True)
    with pytest.raises(tg.CannotCapture, match=r"step and step itself differ in result 0|differ"):
        tg.compile(step, check=True)(np.ones(2))


def test_only_functions_are_compiled() -> None:
    with pytest.raises(TypeError, match="compile takes a function"):
        tg.compile(3)  # type: ignore[arg-type]


# --- the program ----------------------------------------------------------------------------------


def test_the_source_is_what_a_student_would_write() -> None:
    model = network(30, 10, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = tg.compile(training(model, optimizer, tg.binary_cross_entropy_with_logits))
    step(*batches(32, 30, 1, float)[0])
    assert step.source.splitlines() == [
        "Z1 = x @ W1 + b1",
        "A1 = sigmoid(Z1)",
        "Z2 = A1 @ W2 + b2",
        "loss = binary_cross_entropy_with_logits(Z2, y)",
        "E2 = (sigmoid(Z2) - y) * (1 / 32)",
        "dA1 = E2 @ W2.T",
        "dW2 = A1.T @ E2",
        "db2 = E2.sum(axis=0)",
        "E1 = dA1 * A1 * (1 - A1)",
        "dW1 = x.T @ E1",
        "db1 = E1.sum(axis=0)",
        "W1 -= lr * dW1",
        "b1 -= lr * db1",
        "W2 -= lr * dW2",
        "b2 -= lr * db2",
        "return loss",
    ]


def test_what_is_computed_twice_is_computed_once_and_memory_is_used_again() -> None:
    model = network(30, 10, 10)
    step = tg.compile(training(model, optim.SGD(model.parameters(), lr=0.1), tg.cross_entropy))
    step(*batches(32, 30, 10, float)[0])
    ((replay,),) = step.programs.values()
    functions = [call.function for call in replay.program.calls]
    assert functions.count(np.exp) == 2  # of the sigmoid, and one for the loss and its error
    results = [call.out for call in replay.program.calls if call.out is not None]
    assert len(replay.program.blocks) < len(results) / 2


def test_a_run_makes_hardly_any_memory() -> None:
    model = network(200, 100, 10)
    step = tg.compile(training(model, optim.SGD(model.parameters(), lr=0.1), tg.cross_entropy))
    x, y = batches(256, 200, 10, float)[0]
    for _ in range(4):  # the second and third are compared with the function
        step(x, y)
    with warnings.catch_warnings():
        warnings.resetwarnings()  # an update that cannot raise needs no copy of the weights
        tracemalloc.start()
        for _ in range(5):
            step(x, y)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 100_000  # NumPy's own buffers; each activation takes 200,000 bytes


def test_the_memory_of_epochs_is_constant_and_a_capture_takes_little() -> None:
    model = network(784, 100, 10, dtype="float32")
    sgd = optim.SGD(model.parameters(), lr=0.1)
    step = tg.compile(training(model, sgd, tg.cross_entropy), check=False)
    data = batches(256, 784, 10, "float32", count=3)
    peaks = []
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(5):
            tracemalloc.reset_peak()
            for x, y in data:
                step(x, y)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    weights = sum(p.data.nbytes for p in model.parameters())
    assert peaks[0] < 8 * weights  # the trace has all results of the step at once
    assert abs(peaks[4] - peaks[1]) < 10_000
    assert peaks[4] < 4 * weights + 300_000  # moved weights, gradients, and room for activations


def test_equal_bits_are_told_from_equal_numbers() -> None:
    for dtype in ("float32", "float64", "longdouble", "complex128", "bool", "int8"):
        a = np.arange(6).reshape(2, 3).astype(dtype)
        assert _same(a, a.copy()) and _same(a.T, np.ascontiguousarray(a.T))
        assert not _same(a, a[:, :2]) and not _same(a, a[::-1])
    assert _same(np.array(np.nan), np.array(np.nan))
    assert not _same(np.array(0.0), np.array(-0.0))
    assert not _same(np.zeros(2, "float32"), np.zeros(2, "int32"))


def test_what_is_computed_in_place_keeps_its_layout() -> None:
    """Sums add in the order of memory, and so differ in the last bit for another layout."""
    rng = np.random.default_rng(0)

    def step(z: Any, t: Any) -> Any:
        return tg.binary_cross_entropy_with_logits(z, t, reduction="sum")

    captured = tg.compile(step)
    for _ in range(40):
        z, t = tg.Tensor(rng.normal(size=(4, 4)).T), rng.random((4, 4))
        assert np.array_equal(captured(z, t).value, step(z, t).value)


def test_a_tensor_made_of_an_argument_follows_it() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    step = tg.compile(lambda x: (tg.tensor(x) * w).sum())
    for x in (np.ones(2), np.array([3.0, 4.0]), np.array([-1.0, 0.5])):
        assert step(x).item() == x @ w.data
        x[:] = 7  # of the caller
    assert w.grad is None


@pytest.mark.parametrize("with_lr", [True, False])
def test_an_update_by_constants_is_the_same_each_time(with_lr: bool) -> None:
    class Plain(optim.Optimizer):
        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            return w - (lr if with_lr else 0.5) * g, state

    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    optimizer = Plain([w], lr=0.5)

    @tg.compile
    def step(x: Any) -> Any:
        loss = (w * 1.0).sum() + tg.Tensor(x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for k in range(1, 5):
        step(np.zeros(1))
        assert w.value.tolist() == [1.0 - 0.5 * k, 2.0 - 0.5 * k]
    assert w.grad is not None and w.grad.tolist() == [1.0, 1.0]
