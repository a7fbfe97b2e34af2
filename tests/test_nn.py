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
from tinygrad_edu.arrays import Array
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


def test_linear_says_what_does_not_fit() -> None:
    layer = Linear(2, 8, rng=0)
    with pytest.raises(ValueError, match=r"Linear\(2, 8\) expects X with 2 columns, received"):
        layer(np.ones((5, 3)))
    layer.bias = nn.Parameter(np.ones(3))
    with pytest.raises(ValueError, match=r"b \(k,\), received \(5, 2\), \(2, 8\) and \(3,\)"):
        layer(np.ones((5, 2)))
    X, W = np.ones((5, 2)), np.ones((2, 8))
    for x, w, b in ((X, W, np.ones(1)), (X, W[:, 0], np.ones(5)), (X, W[:, 0], np.ones(()))):
        with pytest.raises(ValueError, match=r"takes X \(…, n\), W \(n, k\) and b \(k,\)"):
            tg.linear(x, w, b)  # of which NumPy would broadcast some
    with pytest.raises(ValueError, match=r"W\.T fits"):
        tg.linear(X, W.T, np.ones(8))


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


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 4, 4), (2, 4, 3, 3)])
def test_batch_norm_of_images_names_the_shapes_it_expects(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"BatchNorm2d\(3, .* expects X \(m, 3, h, w\), received"):
        nn.BatchNorm2d(3)(np.ones(shape))


def test_batch_norm_of_images_is_that_of_all_pixels_as_samples() -> None:
    x = np.random.default_rng(5).normal(size=(2, 3, 4, 5))
    images, rows = nn.BatchNorm2d(3), nn.BatchNorm1d(3)
    y = images(x).data.transpose(0, 2, 3, 1).reshape(-1, 3)
    assert_allclose(y, rows(x.transpose(0, 2, 3, 1).reshape(-1, 3)).data, rtol=1e-12)
    for name, array in rows.state_dict().items():
        assert_allclose(images.state_dict()[name], array, rtol=1e-13)


# --- LayerNorm, Embedding -------------------------------------------------------------------------


@pytest.mark.parametrize("normalized, shape", [(4, (3, 4)), ((2, 4), (3, 2, 4)), (4, (0, 4))])
def test_layer_norm(normalized: Any, shape: Any) -> None:
    layer = nn.LayerNorm(normalized)
    x = np.random.default_rng(0).normal(size=shape)
    axes = (-1,) if normalized == 4 else (-2, -1)
    away = x - x.mean(axis=axes, keepdims=True)
    y = away / np.sqrt((away**2).mean(axis=axes, keepdims=True) + 1e-5)
    assert_allclose(layer(x).data, y, rtol=1e-13, atol=1e-14)
    assert_array_equal(layer(x).data, layer.eval()(x).data)
    assert layer.weight is not None and layer.weight.shape == np.shape(np.ones(normalized))


def test_layer_norm_without_affine_or_bias() -> None:
    assert list(nn.LayerNorm(2, elementwise_affine=False).state_dict()) == []
    assert list(nn.LayerNorm(2, bias=False).state_dict()) == ["weight"]
    with pytest.raises(ValueError, match=r"with the last axes \(2, 3\), received \(4, 3\)"):
        nn.LayerNorm((2, 3))(np.ones((4, 3)))
    with pytest.raises(ValueError, match="normalized_shape must be an integer of at least 1"):
        nn.LayerNorm((2, 0))


def test_embedding_takes_rows_and_adds_up_what_comes_back() -> None:
    layer = nn.Embedding(5, 3, rng=0)
    indices = np.array([[0, 4, 4], [1, 4, 0]])
    y = layer(indices)
    assert_array_equal(y.data, layer.weight.data[indices])
    g = np.random.default_rng(1).normal(size=y.shape)
    y.backward(g)
    want = np.zeros((5, 3))
    np.add.at(want, indices, g)
    assert_allclose(grad_of(layer.weight), want, rtol=1e-14)
    assert layer(np.zeros((0, 2), int)).shape == (0, 2, 3)
    assert layer(3).shape == (3,)


@pytest.mark.parametrize(
    "indices, error, message",
    [
        (np.array([0.0]), TypeError, "indices must be integers, received dtype float64"),
        (np.array([5]), ValueError, "indices must be in 0 … 4, received 5 … 5"),
        (np.array([2, -1]), ValueError, "received -1 … 2"),
    ],
)
def test_embedding_refuses_what_is_not_in_the_table(
    indices: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nn.Embedding(5, 3)(indices)


# --- images ---------------------------------------------------------------------------------------


def test_convolution_of_images() -> None:
    layer = nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, rng=0)
    x = np.random.default_rng(0).normal(size=(4, 2, 5, 6))
    y = layer(x)
    assert y.shape == (4, 3, 3, 4)
    patch = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))[1, :, 2:5, 4:6]
    assert layer.bias is not None
    assert_allclose(y.data[1, 2, 1, 2], (patch * layer.weight.data[2]).sum(), rtol=1e-12)
    assert layer(np.ones((0, 2, 5, 6))).shape == (0, 3, 3, 4)
    layer.float()
    assert layer(x.astype(np.float32)).dtype == np.float32
    limit = (6 / ((2 + 3) * 6)) ** 0.5
    weights = nn.Conv2d(2, 3, (3, 2), rng=np.random.default_rng(7)).weight.data
    drawn = np.random.default_rng(7).uniform(-limit, limit, (3, 2, 3, 2))
    assert_allclose(weights, drawn, rtol=1e-15)


def test_same_padding_keeps_the_size() -> None:
    for size in (1, 2, 3, (4, 5)):
        layer = nn.Conv2d(1, 1, size, padding="same", rng=0)
        assert layer(np.ones((1, 1, 6, 7))).shape == (1, 1, 6, 7)


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (nn.Conv2d(2, 3, 3), (4, 5, 5), r"expects X \(m, 2, h, w\), received \(4, 5, 5\) float64"),
        (nn.Conv2d(2, 3, 3), (4, 3, 5, 5), r"expects X \(m, 2, h, w\), received \(4, 3, 5, 5\)"),
        (nn.Conv2d(2, 3, 3), (4, 2, 2, 5), r"window \(3, 3\) is larger than \(2, 5\)"),
        (nn.Conv2d(2, 3, 3, stride=0), (4, 2, 5, 5), "steps must be at least 1"),
        (nn.Conv2d(2, 3, 3, padding=-1), (4, 2, 5, 5), "pair of them, received -1"),
        (nn.Conv2d(2, 3, 3, padding="full"), (4, 2, 5, 5), 'numbers or "same", received .full'),
        (nn.Conv2d(2, 3, 3, 2, "same"), (4, 2, 5, 5), "with stride 1 only"),
        (
            nn.MaxPool2d(2),
            (4, 5, 5),
            r"takes images \(m, c, h, w\), received \(4, 5, 5\)",
        ),
        (nn.MaxPool2d(6), (4, 1, 5, 5), r"window \(6, 6\) is larger than \(5, 5\)"),
        (nn.AvgPool2d(2, padding=2), (4, 1, 5, 5), "more than half of a window"),
    ],
    ids=str,
)
def test_images_that_do_not_fit_are_refused(layer: Module, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(np.ones(shape))


@pytest.mark.parametrize("sizes", [(0, 1, 3), (1, 0, 3), (1, 1, 0), (1, 1, 2.5), (1, 1, (3, 0))])
def test_a_convolution_refuses_sizes_below_one(sizes: Any) -> None:
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        nn.Conv2d(*sizes)


def test_pooling() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    blocks = x.reshape(2, 3, 2, 2, 3, 2)
    assert_array_equal(nn.MaxPool2d(2)(x), blocks.max(axis=(3, 5)))
    assert_allclose(nn.AvgPool2d(2)(x), blocks.mean(axis=(3, 5)), rtol=1e-13)
    assert nn.MaxPool2d(3, stride=1, padding=1)(x).shape == x.shape
    assert nn.MaxPool2d(2)(np.ones((0, 1, 4, 4), np.float32)).dtype == np.float32
    assert np.isfinite(nn.MaxPool2d(2, padding=1)(x)).all()


def test_equal_entries_of_a_window_share_the_gradient() -> None:
    x = tg.Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    nn.MaxPool2d(2)(x).sum().backward()
    assert_array_equal(grad_of(x), np.full((1, 1, 2, 2), 0.25))


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_as_modules(reduction: str) -> None:
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))
    for module, function, target in (
        (nn.MSELoss, tg.mse_loss, t),
        (nn.BCEWithLogitsLoss, tg.binary_cross_entropy_with_logits, t),
        (nn.CrossEntropyLoss, tg.cross_entropy, np.array([0, 3, 1])),
    ):
        assert_array_equal(module(reduction)(z, target), function(z, target, reduction))
    assert repr(nn.MSELoss()) == "MSELoss(reduction='mean')"


# --- what holds for every layer -------------------------------------------------------------------

LAYERS: dict[str, tuple[Callable[[], Module], tuple[int, ...]]] = {
    "Linear": (lambda: Linear(3, 2, rng=0), (4, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (4, 3)),
    "BatchNorm1d of sequences": (lambda: nn.BatchNorm1d(3), (4, 3, 2)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), (2, 2, 3, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(3), (4, 3)),
    "Dropout": (lambda: nn.Dropout(0.5, rng=0), (4, 3)),
    "Flatten": (nn.Flatten, (2, 2, 3)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 2, padding=1, rng=0), (2, 2, 3, 3)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 2, 4, 4)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 2, 4, 4)),
    "GELU": (nn.GELU, (4, 3)),
    "SiLU": (nn.SiLU, (4, 3)),
    "LeakyReLU": (nn.LeakyReLU, (4, 3)),
    "Softplus": (lambda: nn.Softplus(2.0), (4, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_first_and_second_derivatives_of_every_layer(name: str, training: bool) -> None:
    """Against central differences, of the parameters and the input; nothing given is changed."""
    make, shape = LAYERS[name]
    rng = np.random.default_rng(3)
    X, V = rng.normal(size=shape), rng.normal(size=shape)
    layer = make().train(training)
    for p in layer.parameters():
        p.data = rng.normal(size=p.shape)
    starts = [p.data.copy() for p in layer.parameters()]
    ways = [rng.normal(size=w.shape) for w in starts]

    def at(step: float) -> tuple[float, float, float]:
        """The loss along a line, its slope, and the slope's slope."""
        fresh = make().train(training)  # a generator of its own, at the same place
        for p, w, v in zip(fresh.parameters(), starts, ways, strict=True):
            p.data = w + step * v
        x = tg.Tensor(X + step * V, requires_grad=True)
        wrt = [x, *fresh.parameters()]
        loss = (fresh(x) ** 3).sum()
        slopes = tg.grad(loss, wrt, create_graph=True)
        slope = sum((g * v).sum() for g, v in zip(slopes, [V, *ways], strict=True))
        seconds = tg.grad(slope, wrt)
        second = sum((g * v).sum() for g, v in zip(seconds, [V, *ways], strict=True))
        return loss.item(), slope.item(), float(second)

    h = 1e-4
    (_, slope, second), up, down = at(0.0), at(h), at(-h)
    assert slope == pytest.approx((up[0] - down[0]) / (2 * h), rel=1e-5, abs=1e-5)
    assert second == pytest.approx((up[1] - down[1]) / (2 * h), rel=1e-5, abs=1e-4)

    before = X.copy()
    X.flags.writeable = False
    layer(X)
    assert_array_equal(X, before)
    assert all(np.array_equal(p.data, w) for p, w in zip(layer.parameters(), starts, strict=True))


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_stays_float32_and_says_what_it_is(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make().float()
    x = tg.Tensor(np.ones(shape, np.float32), requires_grad=True)
    y = layer(x)
    assert y.dtype == np.float32
    y.sum().backward()
    for t in (x, *layer.parameters()):
        assert grad_of(t).dtype == np.float32
    assert repr(layer).startswith(type(layer).__name__ + "(")


def test_a_derivation_leaves_running_statistics_as_they_are() -> None:
    X, y = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 3
    model = Sequential(Linear(4, 5, rng=0), nn.BatchNorm1d(5), Linear(5, 3, rng=1))
    before = model.state_dict()
    assert tg.explain(model, tg.cross_entropy, X, y).formulas["b2"]
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_takes_no_samples_at_all(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make().eval()
    some, none = layer(np.ones(shape)), layer(np.ones((0, *shape[1:])))
    assert none.shape == (0, *some.shape[1:])
    x = tg.Tensor(np.ones((0, *shape[1:])), requires_grad=True)
    layer(x).sum().backward()
    for t in (x, *layer.parameters()):
        assert not grad_of(t).any()


@pytest.mark.parametrize("layer", [nn.Dropout(0.5, rng=0), nn.LayerNorm(2), nn.BatchNorm1d(2)])
def test_lists_are_taken_too(layer: Module) -> None:
    assert layer([[1.0, 2.0], [3.0, 5.0]]).shape == (2, 2)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_whole_numbers_are_taken_in_the_dtype_of_the_weights(dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 2, (4, 1, 3, 3)).astype(dtype)
    layers = nn.Sequential(nn.Conv2d(1, 2, 2, rng=0), nn.Flatten(), nn.Linear(8, 3, rng=0))
    expected = layers(images.astype(np.float64))
    for x in (images, tg.Tensor(images)):
        assert_array_equal(layers(x).data, expected.data)
    layers.float()
    for x in (images, tg.Tensor(images)):
        assert layers(x).dtype == np.float32
        assert layers[2](x[0, 0].reshape(1, -1)[:, [0] * 8]).dtype == np.float32
    step = tg.compile(lambda x: layers(x).sum())
    assert step(images).dtype == np.float32
    other = 1 - images.astype(int)
    assert_array_equal(step(other.astype(dtype)).data, layers(other).sum().data)


@pytest.mark.parametrize("dtype", ["int64", "uint32", "uint16"])
@pytest.mark.parametrize("layer", [nn.Linear(3, 2, rng=0), nn.Conv2d(1, 2, (1, 3), rng=0)])
def test_whole_numbers_that_the_weights_cannot_hold_are_refused(layer: Module, dtype: str) -> None:
    layer.to(np.float16)
    x = np.array([[1, 2, 65535]], dtype)
    x = x.reshape(1, 1, 1, 3) if isinstance(layer, nn.Conv2d) else x
    step = tg.compile(lambda x: layer(x).sum())
    for good in (x // 100, x // 50):
        assert np.isfinite(step(good).data)
    for call in (layer, step, tg.compile(lambda x: layer(x).sum())):
        for bad in (x, tg.Tensor(x)):
            with pytest.raises(ValueError, match=r"float16, whose largest number is 65504.*65535"):
                call(bad)
    with pytest.raises(ValueError, match=r"received -70000 in X .*scale X"):
        layer(-x.astype(np.int64) // 65535 * 70000)
    assert layer.to(np.float32)(x).dtype == np.float32


def test_whole_numbers_are_taken_in_the_dtype_of_the_weights_before_the_product() -> None:
    layer = nn.Linear(1, 1, init=init.ones, dtype=np.float32)
    assert layer(np.array([[2**24 + 1]])).item() == 2**24
    assert layer(np.array([[2**62]])).item() == 2.0**62


def test_what_gives_no_first_weights_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"init is a function of \(shape, rng\).*received 'he'"):
        nn.Linear(3, 2, init="he")  # type: ignore[arg-type]

    def forgetful(shape: Any, rng: Any) -> None:
        np.zeros(shape)

    with pytest.raises(TypeError, match="init forgetful returned nothing"):
        nn.Linear(3, 2, init=forgetful)
