"""Optimizers: PyTorch's arithmetic, their own arrays, states saved and loaded, refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import nn
from tinygrad_edu.arrays import Array
from tinygrad_edu.optim import SGD, Adam, AdamW, Optimizer
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


@pytest.mark.parametrize(
    "make",
    [
        *(lambda ps, s=settings: SGD(ps, **s) for settings, _ in SETTINGS.values()),
        lambda ps: Adam(ps, lr=0.1, weight_decay=0.1),
        lambda ps: AdamW(ps, lr=0.1, weight_decay=0.1),
    ],
)
def test_nothing_is_written_to(make: Any) -> None:
    parameters = [variable(w) for w in first_values()]
    optimizer = make(parameters)
    kept: list[tuple[Array, Array]] = []
    for step in range(5):
        states = [array for state in optimizer.state.values() for array in state.values()]
        for i, p in enumerate(parameters):
            p.grad = gradient(step, i, p.data)
            for array in (p.data, p.grad, *states):
                if isinstance(array, np.ndarray):
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


# --- an optimizer of one's own --------------------------------------------------------------------


class Rprop(Optimizer):
    """Keeps a step for each entry; wrong things on request."""

    def __init__(self, parameters: Any, lr: float, up: float = 1.2, spoil: str = "") -> None:
        super().__init__(parameters, lr)
        self.up, self.spoil = up, spoil

    def first_state(self, w: Array) -> dict[str, Any]:
        return {"size": np.ones_like(w), "n": 0}

    def update(self, w: Any, g: Any, state: dict[str, Any], lr: Any) -> Any:
        if self.spoil == "shape" and w.ndim == 1:
            return np.ones((7, 7)), state
        if self.spoil == "error" and w.ndim == 1:
            raise ZeroDivisionError("no such luck")
        if self.spoil == "in place":
            w -= lr * g
        if self.spoil == "gradient":
            g += w
        size = state["size"] * self.up
        return w - lr * size * np.sign(g), {"size": size, "n": state["n"] + 1}


def moved(optimizer: Optimizer, steps: range) -> list[Array]:
    for step in steps:
        for i, p in enumerate(optimizer.parameters):
            p.grad = gradient(step, i, p.data)
        optimizer.step()
    return [p.data.copy() for p in optimizer.parameters]


def test_an_optimizer_of_ones_own() -> None:
    p = variable([1.0, 2.0])
    optimizer = Rprop([p], lr=0.1)
    for _ in range(2):
        p.grad = np.array([3.0, -4.0])
        optimizer.step()
    assert_allclose(p.data, [1 - 0.12 - 0.144, 2 + 0.12 + 0.144], rtol=1e-14)
    assert "Rprop(1 parameters, lr=0.1, up=1.2" in repr(optimizer)


def test_an_optimizer_without_update_says_so() -> None:
    p = variable(1.0)
    p.grad = np.ones(())
    with pytest.raises(NotImplementedError, match=r"Optimizer has no update\(\)"):
        Optimizer([p], lr=0.1).step()


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (
            "shape",
            ValueError,
            r"Rprop\.update gave parameter 1 the shape \(7, 7\), expected \(2,\)",
        ),
        ("error", ZeroDivisionError, "no such luck"),
        ("in place", ValueError, "read-only"),
        ("gradient", ValueError, "read-only"),
    ],
)
def test_an_update_that_fails_has_changed_nothing(
    spoil: str, error: type[Exception], message: str
) -> None:
    parameters = [variable(w) for w in first_values()]
    optimizer = Rprop(parameters, lr=0.1, spoil=spoil)
    for p in parameters:
        p.grad = np.ones(p.shape)
    before = [p.value for p in parameters]
    with pytest.raises(error, match=message):
        optimizer.step()
    assert all(p.value is w for p, w in zip(parameters, before, strict=True))
    assert optimizer.state == {}
    for p, w in zip(parameters, first_values(), strict=True):
        assert_array_equal(p.data, w)
        assert_array_equal(p.grad, np.ones(p.shape))


# --- saved and loaded -----------------------------------------------------------------------------

OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda ps: Adam(ps, lr=0.05, weight_decay=0.1),
    "AdamW": lambda ps: AdamW(ps, lr=0.05, betas=(0.8, 0.9)),
    "Rprop": lambda ps: Rprop(ps, lr=0.01),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_saved_and_loaded_goes_on_bit_for_bit(name: str, dtype: Any) -> None:
    def optimizer(values: list[Array]) -> Optimizer:
        made: Optimizer = OPTIMIZERS[name]([variable(w, dtype) for w in values])
        return made

    straight = moved(optimizer(first_values()), range(30))
    first = optimizer(first_values())
    values = moved(first, range(13))
    state = first.state_dict()
    second = optimizer(values)
    second.lr = 77.0  # the settings are part of the state
    second.load_state_dict(state)
    moved(first, range(13, 15))  # what goes on does not touch what was saved
    for i in state["state"]:
        for array in state["state"][i].values():
            assert type(array) is np.ndarray
    for a, b in zip(straight, moved(second, range(13, 30)), strict=True):
        assert a.dtype == dtype
        assert a.tobytes() == b.tobytes()


def test_a_state_that_went_through_json_is_taken_too() -> None:
    first = Adam([variable([1.0, 2.0])], lr=0.1)
    moved(first, range(5))
    told = json.loads(json.dumps(first.state_dict(), default=lambda x: x.tolist()))
    second = Adam([variable(first.parameters[0].data)], lr=0.3)
    second.load_state_dict(told)
    assert second.betas == (0.9, 0.999)
    assert_array_equal(moved(first, range(5, 9))[0], moved(second, range(5, 9))[0])


def change(state: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {**state, "settings": {**state["settings"], **settings}}


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (lambda s: {}, KeyError, r"missing \['settings', 'state'\]"),
        (
            lambda s: change(s, up=2.0),
            KeyError,
            r"^what is given as settings of Adam does not fit: .*unknown \['up'\]",
        ),
        (lambda s: change(s, lr=-1.0), ValueError, "lr must be a number of at least 0"),
        (lambda s: {**s, "state": {5: {}}}, KeyError, "parameters 0 … 1, not 5"),
        (lambda s: {**s, "state": {0: {}}}, KeyError, "parameter 0 in Adam .*missing .'step'"),
        (
            lambda s: {**s, "state": {0: {**s["state"][0], "exp_avg": np.ones(3)}}},
            ValueError,
            r"exp_avg of parameter 0: expected shape \(2,\), received \(3,\)",
        ),
        (
            lambda s: {**s, "state": {0: {**s["state"][0], "exp_avg": [True, "a"]}}},
            TypeError,
            "real numbers",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(
    spoil: Any, error: type[Exception], message: str
) -> None:
    optimizer = Adam([variable([1.0, 2.0]), variable(1.0)], lr=0.1)
    moved(optimizer, range(3))
    before = repr(optimizer.state_dict())
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(spoil(change(optimizer.state_dict(), weight_decay=0.5)))
    assert repr(optimizer.state_dict()) == before


# --- Adam -----------------------------------------------------------------------------------------


def test_the_first_step_of_adam_is_lr_whatever_the_size_of_the_gradient() -> None:
    p = variable([0.0, 0.0, 0.0])
    optimizer = Adam([p], lr=0.1, eps=0.0)
    p.grad = np.array([1e-5, -3.0, 1e8])
    optimizer.step()
    assert_allclose(p.data, [-0.1, 0.1, -0.1], rtol=1e-12)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_adam_in_float32_is_close_to_float64(kind: Any) -> None:
    paths = []
    for dtype in (np.float32, np.float64):
        optimizer = kind([variable(w, dtype) for w in first_values()], np.float64(0.05))
        paths.append(moved(optimizer, range(20)))
        assert all(
            a.dtype == dtype
            for s in optimizer.state.values()
            for a in (s["exp_avg"], s["exp_avg_sq"])
        )
    for a, b in zip(*paths, strict=True):
        assert a.dtype == np.float32
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"lr": -1.0}, "lr must be"),
        ({"betas": (1.0, 0.9)}, "betas must be below 1"),
        ({"betas": (0.9, -0.1)}, r"betas\[1\] must be a number of at least 0"),
        ({"eps": float("nan")}, "eps must be"),
        ({"weight_decay": -0.1}, "weight_decay must be"),
    ],
)
def test_adam_refuses_settings_that_make_no_sense(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adam([variable(1.0)], **settings)


def test_a_learning_rate_is_looked_at_whenever_it_is_set() -> None:
    optimizer = SGD([variable(1.0)], lr=0.1)
    for wrong in (-0.1, float("nan"), "0.1"):
        with pytest.raises((TypeError, ValueError), match="lr must be a number"):
            optimizer.lr = wrong  # type: ignore[assignment]
    assert optimizer.lr == 0.1


def test_momentum_may_be_given_to_an_optimizer_that_had_none() -> None:
    p = variable([1.0])
    optimizer = SGD([p], lr=0.1)
    for momentum, expected in ((0.0, 0.9), (0.5, 0.8), (0.5, 0.65)):
        optimizer.momentum = momentum
        p.grad = np.ones(1)
        optimizer.step()
        assert_allclose(p.data, [expected], rtol=1e-14)


def test_mistakes_in_an_update_are_told_with_what_it_is_for() -> None:
    class InPlace(Optimizer):
        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            w -= lr * g
            return w, state

    class Forgetful(Optimizer):
        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            return w - lr * g

    for kind in (InPlace, Forgetful):
        w = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
        (w**2).sum().backward()
        with pytest.raises((ValueError, TypeError)) as failed:
            kind([w], lr=0.1).step()
        assert failed.value.__notes__ == [
            f"in {kind.__name__}.update of parameter 0; it returns the new value and the new "
            "state, and changes nothing that it is given"
        ]
        assert w.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"a module's are the nn\.Parameter among its attributes"):
        SGD([], lr=0.1)


def test_an_update_may_be_asked_for_by_itself() -> None:
    update = SGD([variable([1.0])], lr=0.1).update
    ones = np.ones((2, 3))
    for w, g in [(1.0, ones), ([1.0, 2.0, 3.0], ones), (ones, np.ones(3)), (np.ones(3), ones)]:
        value, _ = update(w, g, {}, 0.1)
        np.testing.assert_array_equal(value, np.asarray(w) - 0.1 * g)
    assert update(Tensor(ones), ones, {}, 0.1)[0].shape == (2, 3)
    assert ones.tolist() == np.ones((2, 3)).tolist()
    by_columns = np.asfortranarray(ones)  # the parameter's layout stays, in which others add up
    assert update(ones, by_columns, {}, 0.1)[0].flags.c_contiguous
