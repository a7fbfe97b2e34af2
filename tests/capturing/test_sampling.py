"""Comparisons of captured steps with their functions: when, of what, and what a difference does."""

from __future__ import annotations

import itertools
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.capture_gate import CONTRACT
from tinygrad_edu.capturing.sampling import Calls, Sampler

x = np.random.default_rng(0).normal(size=(6, 4))
y = (x[:, :1] > 0).astype(float)
NAME = "TINYGRAD_EDU_TEST_SCALE"


@pytest.fixture
def scale() -> Iterator[Callable[[float], None]]:
    """A number that a step reads where no guard looks: set it by calling the fixture."""
    os.environ[NAME] = "1.0"
    yield lambda value: os.environ.__setitem__(NAME, str(value))
    del os.environ[NAME]


def made(**settings: Any) -> tuple[nn.Module, Any, Any]:
    """A model with every kind of state, its optimizer, and a step that reads `scale`."""
    model = nn.Sequential(
        nn.Linear(4, 5, rng=0), nn.BatchNorm1d(5), nn.Dropout(0.3, rng=1), nn.Linear(5, 1, rng=2)
    )
    adam = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        loss = tg.binary_cross_entropy_with_logits(model(x), y) * float(os.environ.get(NAME, "1"))
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss

    return model, adam, tg.compile(step, **settings) if settings else step


def arrays(model: nn.Module, optimizer: Any) -> list[Any]:
    """Copies of all that a step leaves."""
    left = [p.value.copy() for p in (*model.parameters(), *model.buffers())]
    left += [np.array(p.grad) for p in model.parameters()]
    return left + [
        np.array(a) for _, s in sorted(optimizer.state.items()) for _, a in sorted(s.items())
    ]


def assert_bits(a: list[Any], b: list[Any]) -> None:
    for first, second in zip(a, b, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("check", [True, None, False])
def test_a_comparison_leaves_everything_as_the_step_does(check: bool | None) -> None:
    (model, adam, eager), (other, own, step) = made(), made(check=check)
    for _ in range(30):
        assert eager(x, y).item() == step(x, y).item()
        assert_bits(arrays(other, own), arrays(model, adam))


def test_epochs_and_runs_are_compared_too(scale: Any) -> None:
    order = np.arange(6).reshape(3, 2)
    _, _, step = made(check=True)
    step.epoch(x, y, order=order)
    scale(2.0)
    with pytest.raises(tg.StaleStep):
        step.epoch(x, y, order=order)
    model = nn.Linear(4, 1, rng=0)
    settings: Any = {"loss": lambda p, t: tg.mse_loss(p, t) * float(os.environ[NAME])}
    settings |= {"optimizer": optim.SGD(model.parameters(), lr=0.01), "compile": True}
    scale(1.0)
    with pytest.raises(tg.StaleStep):
        tg.fit(model, x, y, epochs=2000, callbacks=[lambda e, logs: scale(2.0)], **settings)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_difference_names_itself_and_leaves_the_weights_before(backend: str, scale: Any) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    model, adam, step = made(backend=backend)
    for _ in range(2):
        step(x, y)
    before = arrays(model, adam)
    scale(1.5)
    with pytest.raises(tg.StaleStep) as caught:
        step(x, y)
    message = str(caught.value)
    assert message.startswith("result 0 is ") and " captured and " in message
    assert "No earlier call is affected" in message and CONTRACT in message
    after = arrays(model, adam)
    gradients = len([*model.parameters()])
    weights = len([*model.parameters(), *model.buffers()])
    assert_bits(after[:weights], before[:weights])
    assert_bits(after[weights + gradients :], before[weights + gradients :])


def test_after_a_difference_the_step_is_traced_anew(scale: Any) -> None:
    (model, adam, eager), (other, own, step) = made(), made(check=True)
    for k in range(9):
        scale(1.0 + k // 3)
        try:
            captured = step(x, y)
        except tg.StaleStep:
            captured = step(x, y)
        assert captured.item() == eager(x, y).item()
    assert_bits(arrays(other, own), arrays(model, adam))


def test_a_change_is_found_within_a_thousand_calls(scale: Any) -> None:
    step = tg.compile(lambda x: x * float(os.environ[NAME]))
    given = np.ones(2)
    for _ in range(1000):
        step(given)
    scale(2.0)
    with pytest.raises(tg.StaleStep, match=r"Calls [0-9]+ to [0-9]+ may have been"):
        for _ in range(1000):
            step(given)


def test_without_a_check_the_function_runs_once(scale: Any) -> None:
    calls = np.zeros(1)

    @tg.primitive(lambda g, y, x: g)
    def counted(x: Any) -> Any:
        calls[0] += 1
        return x + 0.0

    w = tg.Tensor([1.0], requires_grad=True)
    step = tg.compile(lambda: counted(w), check=False)
    step()
    assert calls[0] == 1
    tg.compile(lambda: counted(w))()
    assert calls[0] == 3  # traced twice


@pytest.mark.parametrize("check", [None, True])
def test_an_error_of_the_function_goes_through(check: Any, scale: Any) -> None:
    """And leaves the step undone, as without capture."""
    (model, adam, eager), (other, own, step) = made(), made(check=check)
    eager(x, y), step(x, y)
    os.environ[NAME] = "no number"
    with pytest.raises(ValueError, match="no number") as caught:
        step(x, y)
    assert "compared" in caught.value.__notes__[-1]
    scale(1.0)
    for _ in range(3):
        assert step(x, y).item() == eager(x, y).item()
    assert_bits(arrays(other, own), arrays(model, adam))


def test_what_is_detached_is_followed() -> None:
    """The two steps of a generator and its critic, of which one must not move the other."""

    def made() -> tuple[Any, Any]:
        maker, critic = nn.Linear(2, 4, rng=0), nn.Linear(4, 1, rng=1)
        moves = [optim.SGD(m.parameters(), lr=0.1) for m in (maker, critic)]

        def step(z: Any, real: Any) -> Any:
            fake = maker(z)
            loss = (critic(fake.detach()) ** 2).mean() + ((critic(real) - 1) ** 2).mean()
            moves[1].zero_grad()
            loss.backward()
            moves[1].step()
            cheated = ((critic(fake) - 1) ** 2).mean()
            moves[0].zero_grad()
            cheated.backward()
            moves[0].step()
            return loss, cheated

        return nn.Sequential(maker, critic), step

    (model, eager), (other, function) = made(), made()
    step = tg.compile(function, check=True)
    rng = np.random.default_rng(0)
    for _ in range(6):
        z, real = rng.normal(size=(5, 2)), rng.normal(size=(5, 4))
        assert [a.item() for a in eager(z, real)] == [a.item() for a in step(z, real)]
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)


scores: list[float] = []


class Scored(nn.Module):
    """A layer with an attribute that has the name of a variable of this module."""

    def __init__(self) -> None:
        self.scores = nn.Linear(4, 1, rng=0)
        self.dice = random.SystemRandom()

    def forward(self, x: Any) -> Any:
        return self.scores(x)


def test_an_attribute_is_not_the_variable_of_its_name() -> None:
    model = Scored()
    step = tg.compile(lambda x: model(x).sum())
    for _ in range(30):
        scores.append(step(x).item())
    assert [len(found) for found in step.programs.values()] == [1]


last: Any = None


def test_a_global_variable_that_is_only_assigned_is_refused() -> None:
    def step(x: Any) -> Any:
        global last
        last = x.shape
        return x * 2

    with pytest.raises(tg.CannotCapture, match=r"the step changed step\.last"):
        tg.compile(step)(np.ones(2))


def test_a_step_may_log_and_print(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("tinygrad_edu.test")

    def step(x: Any) -> Any:
        log.debug("a step")
        print("a step")
        return x * 2

    captured = tg.compile(step)
    assert captured(np.ones(1)).tolist() == captured(np.ones(1)).tolist() == [2.0]
    assert "a step" in capsys.readouterr().out


# --- two traces from one state --------------------------------------------------------------------

counter = itertools.count(1)
BY_ITSELF: dict[str, Callable[[], float]] = {
    "a clock": time.perf_counter,
    "an iterator": lambda: float(next(counter)),
    "the system's random numbers": lambda: float(os.urandom(4)[0]) + time.perf_counter(),
    "a count of objects": lambda: float(id(object()) % 7) + time.perf_counter_ns() % 1000,
}


@pytest.mark.parametrize("name", BY_ITSELF)
def test_what_changes_by_itself_is_refused_before_a_weight_moves(name: str) -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    sgd = optim.SGD([w], lr=0.1)

    def step() -> Any:
        loss = (w * w).sum() * BY_ITSELF[name]()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    with pytest.raises(tg.CannotCapture, match=r"two runs of the step|the step changed"):
        tg.compile(step)()
    assert w.value.tolist() == [1.0, 2.0]


def test_in_place_changes_of_arrays_around_the_step_are_refused() -> None:
    seen = np.zeros(2)

    def step(x: Any) -> Any:
        seen[0] += 1
        return x * 2

    with pytest.raises(tg.CannotCapture, match="the step changed the entries of seen"):
        tg.compile(step)(np.ones(2))


def test_inside_no_grad_the_function_itself_runs() -> None:
    w = tg.Tensor([1.0], requires_grad=True)

    def step() -> Any:
        loss = (w * 2).sum()
        w.grad = None
        loss.backward()
        return loss

    captured = tg.compile(step)
    captured()
    with tg.no_grad():
        with pytest.raises(RuntimeError) as expected:
            step()
        with pytest.raises(RuntimeError) as found:
            captured()
    assert str(found.value) == str(expected.value)


# --- how often ------------------------------------------------------------------------------------


def calls_of(sampler: Sampler, program: float, comparison: float, count: int) -> list[int]:
    found = []
    for call in range(count):
        if sampler.due():
            found.append(call)
            sampler.compared(program, comparison)
    return found


def test_the_first_two_calls_are_compared_and_then_a_share_of_the_time() -> None:
    assert calls_of(Sampler(None, 1000), 1.0, 2.0, 500) == [0, 1, 202, 403]
    assert calls_of(Sampler(None, 1000), 1.0, 900.0, 3000) == [0, 1, 1001, 2001]
    assert calls_of(Sampler(True, 1000), 1.0, 900.0, 5) == [0, 1, 2, 3, 4]
    assert calls_of(Sampler(False, 1000), 1.0, 1.0, 5) == []


def test_the_share_is_of_steps_in_a_row_which_take_less_time_than_one_alone() -> None:
    sampler = Sampler(None, 10_000)
    assert calls_of(sampler, 1.0, 2.0, 203) == [0, 1, 202]
    sampler.timed(100, 10.0)  # 0.1 s each
    sampler.timed(0, 5.0)  # tells nothing
    assert calls_of(sampler, 1.0, 2.0, 202 + 2001 + 1) == [200, 200 + 2001]


def test_the_calls_in_doubt_are_those_since_the_last_comparison() -> None:
    sampler = Sampler(None, 10)
    for _ in range(2):
        assert sampler.due()
        assert sampler.unverified() == "No earlier call is affected"
        sampler.compared(1.0, 5.0)
    assert not sampler.due() and not sampler.due()
    assert sampler.unverified() == "Call 4 may have been computed with the old value"
    sampler.skip(sampler.left)
    assert sampler.due()
    assert sampler.unverified() == "Calls 4 to 12 may have been computed with the old value"


@pytest.mark.parametrize("shapes", [1, 2, 8])
@pytest.mark.parametrize("cost", [0.5, 20.0, 1e6])
def test_the_limit_between_comparisons_is_one_of_the_step(shapes: int, cost: float) -> None:
    calls = Calls()
    samplers: list[Sampler] = []
    for _ in range(shapes):
        calls.made += 1  # which traces
        samplers.append(Sampler(None, 100, calls))
    compared: list[list[int]] = [[] for _ in samplers]
    for _ in range(2_000):
        which = calls.made % shapes
        if samplers[which].due():
            compared[which].append(calls.made)
            samplers[which].compared(1.0, cost)
    gaps = np.diff(sorted(sum(compared, [shapes])))
    assert gaps.max() <= 100
    for own in compared:  # each program has its turn within so many calls of its own
        assert np.diff([*own, calls.made]).max() <= 100 * shapes


def test_eight_shapes_find_a_change_within_the_limit_of_one(scale: Any) -> None:
    _, _, step = made(check=None)
    rows, targets = np.concatenate([x, x]), np.concatenate([y, y])
    sizes = itertools.cycle(range(2, 10))
    for m in itertools.islice(sizes, 4_000):
        step(rows[:m], targets[:m])
    scale(2.0)
    calls = 4_000
    with pytest.raises(tg.StaleStep) as found:
        for m in itertools.islice(sizes, 1_001):
            calls += 1
            step(rows[:m], targets[:m])
    first, last = re.findall(r"Calls? (\d+)(?: to (\d+))? may", str(found.value))[0]
    assert int(first) <= 4_001 <= int(last or first) == calls - 1


def test_a_call_of_another_shape_is_in_doubt_too(scale: Any) -> None:
    _, _, step = made(check=None)
    for _ in range(3):  # traced and compared twice, for both shapes
        step(x, y)
        step(x[:2], y[:2])
    step(x, y)
    scale(2.0)
    step(x[:2], y[:2])  # call 8, which nothing compares
    first, _ = step.programs.values()
    first[0].sampler._left = 0  # a comparison is due
    with pytest.raises(tg.StaleStep, match="Calls 6 to 8 may have been computed"):
        step(x, y)


def test_rounding_is_no_difference_on_numba() -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        model = nn.Sequential(
            nn.Linear(20, 8, rng=0, dtype=dtype),
            nn.BatchNorm1d(8, dtype=dtype),
            nn.ReLU(),
            nn.Linear(8, 3, rng=1, dtype=dtype),
        )
        adam = optim.Adam(model.parameters(), lr=0.01)

        def step(x: Any, labels: Any, model: Any = model, adam: Any = adam) -> Any:
            loss = tg.cross_entropy(model(x), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss

        captured = tg.compile(step, backend="numba", check=True)
        for _ in range(300):
            data = rng.normal(size=(16, 20)).astype(dtype)
            captured(data, rng.integers(0, 3, 16))
        assert captured.native == [True]


@pytest.mark.parametrize("by", [1.01, 0.99])
def test_one_percent_is_found_on_numba(by: float, scale: Any) -> None:
    """A penalty that reads a stale number changes the loss and the gradients a little."""
    pytest.importorskip("numba")
    model = nn.Linear(4, 1, rng=0)
    sgd = optim.SGD(model.parameters(), lr=0.01)

    def function(x: Any, y: Any) -> Any:
        loss = tg.mse_loss(model(x), y) + float(os.environ[NAME]) * (model.weight**2).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    step = tg.compile(function, backend="numba", check=True)
    for _ in range(3):
        step(x, y)
    assert step.native == [True]
    scale(by)
    with pytest.raises(tg.StaleStep):
        step(x, y)


def test_names_that_stand_twice_hide_nothing(scale: Any) -> None:
    """Two tensors of one name, of which the first agrees."""
    a, b = (tg.Tensor([1.0], requires_grad=True, name="w") for _ in range(2))

    def step() -> None:
        loss = (a * 2.0).sum() + (b * float(os.environ[NAME])).sum()
        a.grad = b.grad = None
        loss.backward()

    captured = tg.compile(step, check=True)
    captured(), captured()
    scale(3.0)
    with pytest.raises(tg.StaleStep, match="the gradient of w"):
        captured()
