"""SGD: PyTorch's arithmetic, its own arrays, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import nn
from tinygrad_edu.engine import Array
from tinygrad_edu.optim import SGD
from tinygrad_edu.tensor import Parameter, Tensor


def variable(data: Any, dtype: Any = np.float64) -> Tensor:
    return Tensor(np.array(data, dtype), requires_grad=True)


# --- against PyTorch ------------------------------------------------------------------------------

STEPS = 50
SHAPES: list[tuple[int, ...]] = [(3, 2), (2,), ()]
# settings, and the last entry of each parameter after 50 steps of torch.optim.SGD in float64
SETTINGS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "plain": (
        {"lr": 0.1},
        [-0.049883655133479005, -0.032162920146852556, 0.1317443034575752],
    ),
    "decay": (
        {"lr": 0.1, "weight_decay": 0.3},
        [-0.09773304381976079, 0.04008755097591813, 0.05557784492846469],
    ),
    "momentum": (
        {"lr": 0.05, "momentum": 0.9},
        [-0.27272331836524033, -0.07081731431533747, -0.04687001249681921],
    ),
    "nesterov": (
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        [-0.27148852215741376, 0.027624614790520172, -0.06917078785509206],
    ),
    "momentum and decay": (
        {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1},
        [-0.10848943199166117, -0.045619230556373305, 0.06147984544813148],
    ),
    "nesterov and decay": (
        {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2},
        [-0.14805469870378443, -0.06484141552202209, 0.06477020113728779],
    ),
    "standing still": (
        {"lr": 0.0, "momentum": 0.9},
        [0.960170286650366, -0.4161468365471424, 0.5403023058681398],
    ),
}
# PyTorch multiplies and adds in one rounding where the processor can: not bit by bit the same
CLOSE: Any = {"rtol": 1e-13, "atol": 1e-14}


def first_values() -> list[Array]:
    return [np.cos(np.arange(np.prod(shape, dtype=int)) + 1.0).reshape(shape) for shape in SHAPES]


def gradient(step: int, i: int, w: Array) -> Array | None:
    """A gradient that depends on the weights and the step; missing now and then."""
    if (step + 2 * i) % 7 == 3 or (step < 3 and i == 1):
        return None
    return np.asarray(0.5 * w + np.sin(step + np.arange(w.size)).reshape(w.shape))


def ours(settings: dict[str, Any]) -> list[list[Array]]:
    """The parameters after each step."""
    parameters = [variable(w) for w in first_values()]
    optimizer = SGD(parameters, **settings)
    path = []
    for step in range(STEPS):
        for i, p in enumerate(parameters):
            p.grad = gradient(step, i, p.data)
        optimizer.step()
        path.append([p.data for p in parameters])
    return path


def pytorchs(torch: Any, settings: dict[str, Any]) -> list[list[Array]]:
    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in first_values()]
    optimizer = torch.optim.SGD(parameters, **settings)
    path = []
    for step in range(STEPS):
        for i, p in enumerate(parameters):
            g = gradient(step, i, p.detach().numpy())
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()
        path.append([p.detach().numpy().copy() for p in parameters])
    return path


@pytest.mark.parametrize("name", SETTINGS)
def test_every_step_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    settings, recorded = SETTINGS[name]
    theirs = pytorchs(torch, settings)
    for step, (mine, other) in enumerate(zip(ours(settings), theirs, strict=True)):
        for a, b in zip(mine, other, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            assert_allclose(a, b, **CLOSE, err_msg=f"after step {step}")
    assert_allclose([w.flat[-1] for w in theirs[-1]], recorded, **CLOSE)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_last_step_is_the_one_recorded_from_pytorch(name: str) -> None:
    settings, recorded = SETTINGS[name]
    assert_allclose([w.flat[-1] for w in ours(settings)[-1]], recorded, **CLOSE)


def test_training_is_pytorchs() -> None:
    # The whole of it, the gradients too: two layers, momentum, 50 steps.
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(8, 4)), rng.integers(3, size=8)
    model = nn.Sequential(nn.Linear(4, 5, rng=rng), nn.Sigmoid(), nn.Linear(5, 3, rng=rng))
    twin = [torch.tensor(p.data, requires_grad=True) for p in model.parameters()]
    settings: dict[str, Any] = {"lr": 0.5, "momentum": 0.9, "weight_decay": 1e-3}
    mine, theirs = SGD(model.parameters(), **settings), torch.optim.SGD(twin, **settings)
    W1, b1, W2, b2 = twin
    for _ in range(STEPS):
        mine.zero_grad()
        tg.cross_entropy(model(X), Y).backward()
        mine.step()
        theirs.zero_grad()
        z = torch.sigmoid(torch.tensor(X) @ W1 + b1) @ W2 + b2
        torch.nn.functional.cross_entropy(z, torch.tensor(Y)).backward()
        theirs.step()
    for p, q in zip(model.parameters(), twin, strict=True):
        assert_allclose(p.data, q.detach().numpy(), rtol=1e-10, atol=1e-12)


# --- by hand --------------------------------------------------------------------------------------


@given(
    lr=st.floats(0, 1),
    momentum=st.floats(0.01, 0.99),
    nesterov=st.booleans(),
    decay=st.floats(0, 1),
    gradients=st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=6),
)
def test_the_formulas_of_the_docstring(
    lr: float, momentum: float, nesterov: bool, decay: float, gradients: list[float | None]
) -> None:
    w, v = 1.5, None
    p = variable(w)
    optimizer = SGD([p], lr, momentum, nesterov, decay)
    for given_gradient in gradients:
        p.grad = None if given_gradient is None else np.array(given_gradient)
        optimizer.step()
        if given_gradient is not None:
            g = given_gradient + decay * w
            v = g if v is None else momentum * v + g
            w = w - lr * (g + momentum * v if nesterov else v)
        assert p.data == pytest.approx(w, rel=1e-12, abs=1e-12)
        assert type(p.data) is np.ndarray
        assert p.data.shape == ()


def test_a_parameter_without_gradient_stays_where_it_is() -> None:
    moved, still = variable([1.0, 2.0]), variable([3.0])
    optimizer = SGD([moved, still], lr=0.1, momentum=0.9, weight_decay=0.5)
    before = still.value
    for _ in range(3):
        moved.grad = np.ones(2)
        optimizer.step()
    assert still.value is before
    assert moved.data[0] < 1.0


def test_a_frozen_parameter_may_be_among_them() -> None:
    layer = nn.Linear(2, 1, rng=0)
    layer.weight.requires_grad = False
    before = layer.weight.value
    optimizer = SGD(layer.parameters(), lr=0.1)
    layer(np.ones((3, 2))).sum().backward()
    optimizer.step()
    assert layer.weight.value is before
    assert layer.bias is not None
    assert_allclose(layer.bias.data, [-0.3], rtol=1e-15)


def test_settings_may_change_on_the_way() -> None:
    p = variable([1.0])
    optimizer = SGD([p], lr=0.1)
    for lr, expected in ((0.1, 0.9), (0.5, 0.4)):
        optimizer.lr = lr
        p.grad = np.ones(1)
        optimizer.step()
        assert_allclose(p.data, [expected], rtol=1e-15)


# --- its own arrays -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_is_written_to(name: str) -> None:
    settings, _ = SETTINGS[name]
    parameters = [variable(w) for w in first_values()]
    optimizer = SGD(parameters, **settings)
    kept: list[tuple[Array, Array]] = []
    for step in range(5):
        for i, p in enumerate(parameters):
            p.grad = gradient(step, i, p.data)
            for array in (p.data, p.grad):
                if array is not None:
                    array.flags.writeable = False
                    kept.append((array, array.copy()))
        optimizer.step()
        for p in parameters:
            assert p.grad is None or not np.shares_memory(p.grad, p.data)
    for array, before in kept:
        assert_array_equal(array, before)


def test_a_gradient_changed_after_the_step_does_not_change_the_velocity() -> None:
    paths = []
    for spoil in (False, True):
        p = variable([1.0])
        optimizer = SGD([p], lr=0.1, momentum=0.9)
        for _ in range(3):
            p.grad = np.ones(1)
            optimizer.step()
            if spoil:
                p.grad *= 100.0
        paths.append(p.data.tolist())
    assert paths[0] == paths[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("number", [float, np.float64, np.float32, lambda x: np.array(x)])
@pytest.mark.parametrize("data", [[1.0, 2.0], 1.0])
def test_the_dtype_stays(dtype: Any, number: Any, data: Any) -> None:
    # Learning rates out of np.logspace are np.float64, and must not make float32 weights float64.
    p = variable(data, dtype)
    optimizer = SGD([p], number(0.1), number(0.9), weight_decay=number(0.01))
    for _ in range(3):
        p.grad = np.ones(p.shape, dtype)
        optimizer.step()
        assert p.data.dtype == dtype


def test_the_dtype_stays_when_settings_change_on_the_way() -> None:
    p = variable([1.0, 2.0], np.float32)
    optimizer = SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1)
    for name in ("lr", "momentum", "weight_decay"):
        setattr(optimizer, name, np.float64(0.2))
        p.grad = np.ones(2, np.float32)
        optimizer.step()
        assert p.data.dtype == np.float32, name


def test_a_gradient_of_another_dtype_does_not_change_the_dtype() -> None:
    p = variable([1.0, 2.0], np.float32)
    p.grad = np.ones(2)
    SGD([p], lr=0.1).step()
    assert p.data.dtype == np.float32


def test_zero_grad() -> None:
    p, q = variable([1.0]), variable(2.0)
    optimizer = SGD([p, q], lr=0.1)
    (p * q).sum().backward()
    optimizer.zero_grad()
    assert p.grad is None
    assert q.grad is None
    before = p.value
    optimizer.step()
    assert p.value is before


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), -float("inf"), -1])
@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
def test_settings_below_zero_or_without_end_are_refused(name: str, value: float) -> None:
    settings: dict[str, Any] = {"lr": 0.1, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a number of at least 0, received"):
        SGD([variable(1.0)], **settings)


@pytest.mark.parametrize("value", ["0.1", None, [0.1], 1j], ids=repr)
@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
def test_settings_that_are_no_numbers_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        SGD([variable(1.0)], **{"lr": 0.1, name: value})


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        SGD([variable(1.0)], lr=0.1, nesterov=True)


@pytest.mark.parametrize("parameters", [variable([1.0]), Parameter([1.0]), 3.0, None], ids=repr)
def test_what_is_not_several_tensors_is_refused(parameters: Any) -> None:
    with pytest.raises(TypeError, match=r"several tensors, such as model\.parameters\(\)"):
        SGD(parameters, lr=0.1)


@pytest.mark.parametrize("parameters", [[], iter([]), nn.ReLU().parameters()])
def test_no_parameters_at_all_are_refused(parameters: Any) -> None:
    with pytest.raises(ValueError, match="at least one parameter"):
        SGD(parameters, lr=0.1)


@pytest.mark.parametrize("wrong", [np.ones(2), 1.0, "weight", None, nn.Linear(1, 1)], ids=repr)
def test_what_is_no_tensor_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"parameter 1 must be a tensor, .* {type(wrong).__name__}"):
        SGD([variable(1.0), wrong], lr=0.1)


@pytest.mark.parametrize("wrong", [variable([1.0]) * 2.0, Tensor([1, 2])], ids=repr)
def test_what_is_no_variable_is_refused(wrong: Tensor) -> None:
    with pytest.raises(TypeError, match="parameter 1 must be a variable"):
        SGD([variable(1.0), wrong], lr=0.1)


def test_a_dict_of_names_is_refused() -> None:
    state: Any = nn.Linear(1, 1).state_dict()
    with pytest.raises(TypeError, match="must be a tensor, received str"):
        SGD(state, lr=0.1)


def test_a_parameter_given_twice_is_refused() -> None:
    p, twin = variable([1.0]), variable([1.0])
    SGD([p, twin], lr=0.1)  # equal, not the same
    with pytest.raises(ValueError, match="given twice"):
        SGD([p, twin, p], lr=0.1)


def test_a_gradient_of_another_shape_is_refused_before_anything_moves() -> None:
    p, q = variable([1.0]), variable([1.0, 2.0])
    optimizer = SGD([p, q], lr=0.1)
    p.grad, q.grad = np.ones(1), np.ones((2, 1))
    with pytest.raises(ValueError, match=r"parameter 1 has shape \(2,\), its gradient \(2, 1\)"):
        optimizer.step()
    assert p.data.tolist() == [1.0]
    assert q.data.tolist() == [1.0, 2.0]


def test_repr() -> None:
    optimizer = SGD([variable(1.0), variable(2.0)], lr=0.1, momentum=0.9)
    text = repr(optimizer)
    for part in ("SGD(", "2 parameters", "lr=0.1", "momentum=0.9", "nesterov=False"):
        assert part in text
