"""Layers: against hand gradients, against definitions, in training and in eval, and refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import init, nn, optim
from tinygrad_edu.engine import Array
from tinygrad_edu.nn import Linear, Module, Sequential


def grad_of(x: tg.Tensor) -> Array:
    assert x.grad is not None
    return x.grad


# --- Linear ---------------------------------------------------------------------------------------

SIZES = st.integers(1, 6)


@given(m=st.integers(0, 6), n=SIZES, k=SIZES, seed=st.integers(0, 2**32 - 1), bias=st.booleans())
def test_linear_against_the_hand_gradients(m: int, n: int, k: int, seed: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    layer = Linear(n, k, rng=rng, bias=bias)
    if layer.bias is not None:
        layer.bias.data = rng.normal(size=k)
    X, E = rng.normal(size=(m, n)), rng.normal(size=(m, k))
    x = tg.Tensor(X, requires_grad=True)
    W, b = layer.weight.data, 0.0 if layer.bias is None else layer.bias.data

    z = layer(x)
    assert_allclose(z.data, X @ W + b, rtol=1e-12, atol=1e-12)
    z.backward(E)

    assert_allclose(grad_of(layer.weight), X.T @ E, rtol=1e-12, atol=1e-12)
    assert_allclose(grad_of(x), E @ W.T, rtol=1e-12, atol=1e-12)
    if layer.bias is not None:
        assert_allclose(grad_of(layer.bias), np.ones(m) @ E, rtol=1e-12, atol=1e-12)


def test_linear_on_stacks_and_on_a_single_sample() -> None:
    rng = np.random.default_rng(0)
    layer = Linear(3, 2, rng=rng)
    X = rng.normal(size=(4, 5, 3))
    layer(X).sum().backward()
    E = np.ones((20, 2))
    assert_allclose(grad_of(layer.weight), X.reshape(20, 3).T @ E, rtol=1e-13)
    assert layer.bias is not None
    assert_array_equal(layer.bias.grad, [20.0, 20.0])
    assert_allclose(layer(X[0, 0]).data, X[0, 0] @ layer.weight.data, rtol=1e-13)


def test_linear_in_float32() -> None:
    layer = Linear(3, 2, rng=0, dtype=np.float32)
    x = np.ones((4, 3), np.float32)
    z = layer(x)
    assert z.dtype == np.float32
    tg.mse_loss(z, np.zeros((4, 2))).backward()  # float64 targets
    for p in layer.parameters():
        assert p.dtype == grad_of(p).dtype == np.float32
    optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01).step()
    assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}


def test_linear_starts_with_glorot_weights_and_a_bias_of_zero() -> None:
    layer = Linear(30, 10, rng=7)
    assert_array_equal(layer.weight.data, init.glorot_uniform((30, 10), np.random.default_rng(7)))
    assert layer.bias is not None
    assert_array_equal(layer.bias.data, np.zeros(10))
    assert Linear(3, 2, bias=False).bias is None
    assert [p.dtype for p in layer.parameters()] == [np.float64, np.float64]


def test_linear_draws_from_the_given_source() -> None:
    first = Linear(2, 3, rng=np.random.RandomState(42), init=init.normal)
    np_seeded = np.random.RandomState(42).normal(0, 1, (2, 3))
    assert_array_equal(first.weight.data, np_seeded)
    rng = np.random.RandomState(42)  # one source for two layers, one after the other
    layers = [Linear(2, 3, rng=rng, init=init.normal), Linear(3, 1, rng=rng, init=init.normal)]
    drawn = np.random.RandomState(42)
    assert_array_equal(layers[0].weight.data, drawn.normal(0, 1, (2, 3)))
    assert_array_equal(layers[1].weight.data, drawn.normal(0, 1, (3, 1)))
    assert_array_equal(Linear(2, 1, init=init.ones).weight.data, np.ones((2, 1)))
    assert_array_equal(Linear(2, 1, init=init.zeros).weight.data, np.zeros((2, 1)))
    small = Linear(2, 1, rng=3, init=partial(init.normal, std=0.1))
    assert_array_equal(small.weight.data, np.random.default_rng(3).normal(0, 0.1, (2, 1)))


def test_linear_without_a_source_differs_each_time() -> None:
    assert not np.array_equal(Linear(3, 3).weight.data, Linear(3, 3).weight.data)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-1, 2)])
def test_linear_refuses_sizes_below_one(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"at least 1, received {sizes[0]} and {sizes[1]}"):
        Linear(*sizes)


@pytest.mark.parametrize("sizes", [(1.5, 2), (2, "3"), (None, 1), ((2,), 1)])
def test_linear_refuses_sizes_that_are_no_integers(sizes: Any) -> None:
    with pytest.raises(TypeError):
        Linear(*sizes)


def test_linear_refuses_initialisers_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"init gave weights \(3, 2\), expected \(2, 3\)"):
        Linear(2, 3, init=lambda shape, rng: np.ones(shape[::-1]))


@pytest.mark.parametrize("shape", [(4, 2), (2,), (), (3, 4)])
def test_linear_names_the_columns_it_expects(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as refused:
        Linear(3, 2, rng=0)(np.ones(shape))
    assert f"Linear(3, 2) expects X with 3 columns, received {shape} float64" in str(refused.value)


# --- Sequential and activations -------------------------------------------------------------------


def test_sequential() -> None:
    layers = [Linear(3, 4, rng=0), nn.Tanh(), Linear(4, 2, rng=1)]
    net = Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[0] is layers[0] and net[-1] is layers[2]
    with pytest.raises(IndexError):
        net[3]
    x = np.ones((5, 3))
    assert_array_equal(net(x).data, layers[2](layers[1](layers[0](x))).data)
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_sequential_of_nothing_and_of_the_same_twice() -> None:
    assert Sequential()(3.0) == 3.0
    layer = Linear(2, 2, rng=0)
    net = Sequential(layer, layer)
    assert len(net) == 2
    assert len(list(net.parameters())) == 2
    x = np.ones((1, 2))
    assert_array_equal(net(x).data, layer(layer(x)).data)


@pytest.mark.parametrize("member", [nn.Sigmoid, np.tanh, tg.sigmoid, None, [nn.Sigmoid()]])
def test_sequential_refuses_what_is_no_module(member: Any) -> None:
    way_out = (
        r"Sequential\(\*layers\)" if isinstance(member, list) else r"nn\.Sigmoid\(\) is a module"
    )
    with pytest.raises(TypeError, match=f"in place 1; .*{way_out}"):
        Sequential(nn.Tanh(), member)


@pytest.mark.parametrize(
    "module, function",
    [
        (nn.Sigmoid(), tg.sigmoid),
        (nn.ReLU(), tg.relu),
        (nn.Tanh(), tg.tanh),
        (nn.Softmax(), tg.softmax),
        (nn.Softmax(axis=0), partial(tg.softmax, axis=0)),
    ],
)
def test_activations(module: Module, function: Callable[[Any], Any]) -> None:
    data = np.random.default_rng(0).normal(size=(3, 4))
    x = tg.Tensor(data, requires_grad=True)
    assert_array_equal(module(x).data, function(data))
    assert_array_equal(tg.grad(module(x), x, data), tg.grad(function(x), x, data))
    assert list(module.parameters()) == []


def test_a_model_learns() -> None:
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    Y = np.array([0, 1, 1, 0])  # exclusive or: no single layer can do it
    net = Sequential(Linear(2, 8, rng=0), nn.Tanh(), Linear(8, 2, rng=1))
    optimizer = optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    for _ in range(200):
        net.zero_grad()
        loss = tg.cross_entropy(net(X), Y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
    assert_array_equal(net(X).argmax(axis=1).data, Y)
    frozen = copy.deepcopy(net)
    assert_array_equal(frozen(X).data, net(X).data)


@pytest.mark.parametrize(
    "module, function",
    [
        (nn.SiLU(), tg.silu),
        (nn.GELU(), tg.gelu),
        (nn.GELU("tanh"), partial(tg.gelu, approximate="tanh")),
        (nn.LeakyReLU(), tg.leaky_relu),
        (nn.LeakyReLU(0.3), partial(tg.leaky_relu, negative_slope=0.3)),
        (nn.Softplus(), tg.softplus),
        (nn.Softplus(beta=2), lambda x: tg.softplus(x * 2) / 2),
    ],
    ids=repr,
)
def test_more_activations(module: Module, function: Callable[[Any], Any]) -> None:
    data = np.random.default_rng(0).normal(size=(3, 4))
    x = tg.Tensor(data, requires_grad=True)
    assert_array_equal(module(x).data, function(data))
    assert_array_equal(tg.grad(module(x), x, data), tg.grad(function(x), x, data))
    assert module(np.ones(2, np.float32)).dtype == np.float32


def test_softplus_with_beta_keeps_what_pytorchs_threshold_cuts_off() -> None:
    assert nn.Softplus()(np.array([25.0]))[0] > 25.0


# --- Flatten --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start, end, shape, expected",
    [
        (1, -1, (2, 3, 4), (2, 12)),
        (1, -1, (0, 3, 4), (0, 12)),
        (0, -1, (2, 3), (6,)),
        (1, 2, (2, 3, 4, 5), (2, 12, 5)),
        (-2, -1, (2, 3, 4), (2, 12)),
        (1, -1, (2, 3), (2, 3)),
    ],
)
def test_flatten(start: int, end: int, shape: Any, expected: Any) -> None:
    x = np.arange(float(np.prod(shape))).reshape(shape)
    t = tg.Tensor(x, requires_grad=True)
    y = nn.Flatten(start, end)(t)
    assert y.shape == expected
    assert_array_equal(y.data.ravel(), x.ravel())
    assert_array_equal(tg.grad(y, t, y.data), x)


@pytest.mark.parametrize("shape", [(3,), ()])
def test_flatten_without_such_axes_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="finds no such axes"):
        nn.Flatten()(np.ones(shape))


# --- Dropout --------------------------------------------------------------------------------------


def test_dropout_drops_a_share_and_scales_the_rest() -> None:
    layer = nn.Dropout(0.2, rng=0)
    x = tg.Tensor(np.full((100, 100), 3.0), requires_grad=True)
    y = layer(x)
    stays = np.random.default_rng(0).random((100, 100)) >= 0.2
    assert_array_equal(y.data, np.where(stays, 3.0 / 0.8, 0.0))
    assert 0.78 < stays.mean() < 0.82
    y.sum().backward()
    assert_allclose(grad_of(x), stays / 0.8, rtol=1e-15)


def test_dropout_draws_anew_and_repeats_from_its_seed() -> None:
    layer, again = nn.Dropout(0.5, rng=3), nn.Dropout(0.5, rng=3)
    x = np.ones((4, 5))
    first, second = layer(x), layer(x)
    assert not np.array_equal(first, second)
    assert_array_equal(first, again(x))
    assert_array_equal(second, again(x))
    shared = np.random.default_rng(3)
    assert_array_equal(nn.Dropout(0.5, rng=shared)(x), first)
    assert_array_equal(nn.Dropout(0.5, rng=shared)(x), second)


def test_dropout_in_eval_is_nothing_at_all() -> None:
    layer = nn.Dropout(0.5, rng=0).eval()
    x = tg.Tensor([1.0], requires_grad=True)
    assert layer(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert_array_equal(nn.Dropout(1.0)(np.ones(3)), np.zeros(3))
    assert nn.Dropout(0.5, rng=0)(np.ones((0, 3))).shape == (0, 3)
    assert isinstance(layer.rng, np.random.Generator)
    state = layer.rng.bit_generator.state
    layer(x)
    assert layer.rng.bit_generator.state == state


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dropout_keeps_the_dtype(dtype: Any) -> None:
    assert nn.Dropout(0.5, rng=0)(np.ones(3, dtype)).dtype == dtype
    assert nn.Dropout(0.5, rng=0)(tg.Tensor(np.ones(3, dtype))).dtype == dtype


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match=r"probability p in \[0, 1\]"):
        nn.Dropout(p)


def test_a_derivation_shows_the_mask_as_an_array() -> None:
    X, y = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 3
    model = Sequential(Linear(4, 5, rng=0), nn.Dropout(0.5, rng=0), Linear(5, 3, rng=1))
    shown = tg.explain(model, tg.cross_entropy, X, y)
    assert shown.formulas["W1"] == "Xᵀ((A2 − Y)W2ᵀ ⊙ C1)/m"


# --- BatchNorm ------------------------------------------------------------------------------------


def test_batch_norm_gives_each_feature_mean_0_and_variance_1() -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(50, 4))
    y = nn.BatchNorm1d(4, eps=0.0)(x).data
    assert_allclose(y.mean(axis=0), 0, atol=1e-14)
    assert_allclose(y.std(axis=0), 1, rtol=1e-14)


def test_batch_norm_keeps_running_statistics_and_uses_them_in_eval() -> None:
    layer = nn.BatchNorm1d(3, momentum=0.25)
    rng = np.random.default_rng(1)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(size=(6, 3))
        layer(x)
        mean = 0.75 * mean + 0.25 * x.mean(axis=0)
        var = 0.75 * var + 0.25 * x.var(axis=0, ddof=1)
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert_allclose(state["running_mean"], mean, rtol=1e-14)
    assert_allclose(state["running_var"], var, rtol=1e-14)
    assert state["num_batches_tracked"] == 3
    layer.eval()
    x = rng.normal(size=(1, 3))
    assert_allclose(layer(x).data, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-13)
    assert layer(np.ones((0, 3))).shape == (0, 3)
    for name, array in layer.state_dict().items():
        assert_array_equal(array, state[name])
    other = nn.BatchNorm1d(3)
    other.load_state_dict(state)
    assert_array_equal(other.eval()(x).data, layer(x).data)


def test_batch_norm_without_momentum_averages_all_batches() -> None:
    layer = nn.BatchNorm1d(2, momentum=None)
    batches = np.random.default_rng(2).normal(size=(5, 4, 2))
    for x in batches:
        layer(x)
    assert layer.running_mean is not None and layer.running_var is not None
    assert_allclose(layer.running_mean.data, batches.mean(axis=(0, 1)), rtol=1e-13)
    assert_allclose(layer.running_var.data, batches.var(axis=1, ddof=1).mean(axis=0), rtol=1e-13)


def test_batch_norm_without_running_statistics_takes_the_batchs_in_eval_too() -> None:
    layer = nn.BatchNorm1d(2, affine=False, track_running_stats=False)
    assert layer.state_dict() == {}
    x = np.random.default_rng(3).normal(size=(4, 2))
    assert_array_equal(layer(x), layer.eval()(x))


def test_batch_norm_without_gradient_tracks_too_and_stays_float32() -> None:
    layer = nn.BatchNorm1d(2, dtype=np.float32)
    x = np.random.default_rng(4).normal(size=(4, 2)).astype(np.float32)
    with tg.no_grad():
        assert layer(x).dtype == np.float32
    layer(x).sum().backward()
    assert layer.num_batches_tracked is not None and layer.num_batches_tracked.item() == 2
    assert {array.dtype.name for array in layer.state_dict().values()} == {"float32", "int64"}
    assert {grad_of(p).dtype.name for p in layer.parameters()} == {"float32"}


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 3, 2), (4, 2, 2, 2), ()])
def test_batch_norm_names_the_shapes_it_expects(shape: Any) -> None:
    with pytest.raises(ValueError) as refused:
        nn.BatchNorm1d(2)(np.ones(shape))
    assert "expects X (m, 2) or (m, 2, length), received " + str(shape) in str(refused.value)


@pytest.mark.parametrize("shape", [(1, 2), (0, 2), (1, 2, 1)])
def test_batch_norm_refuses_to_train_on_one_sample(shape: Any) -> None:
    layer = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="at least two samples to train on, received"):
        layer(np.ones(shape))
    assert layer.state_dict()["num_batches_tracked"] == 0
