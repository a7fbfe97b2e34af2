"""User-defined operations and layers work with everything else without registration: the examples
of docs/custom-layers.md under explain, verify, check_rule and check_layer, in pictures, states,
captured steps and fit.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg
from tests.capturing.test_compiled import training
from tests.test_custom_layers import Swish, examples
from tinygrad_edu import nn, optim

OWN = examples()
RNG = np.random.default_rng(0)
ROWS, GRID = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 1, 6, 6))
SERIES, WORDS = RNG.normal(size=(12, 3, 2)), RNG.integers(0, 7, (12, 2))
LABELS = np.arange(12) % 3
TARGETS = 2 * RNG.normal(size=(12, 3))


def around(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A network of 4 columns and 3 classes with the layer in the middle."""
    return lambda: nn.Sequential(nn.Linear(4, 5, rng=0), layer(), nn.Linear(5, 3, rng=1))


def conv() -> nn.Module:
    pool = OWN["MaxPool2d"](2)
    return nn.Sequential(
        OWN["Conv2d"](1, 2, 3, rng=0), nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, 3, rng=1)
    )


def drawn() -> nn.Module:
    """With the first weights of the page."""
    return nn.Sequential(nn.Linear(4, 5, init=OWN["he_normal"], rng=0), nn.Linear(5, 3, rng=1))


# What is built, on what it is trained, and with which loss and optimizer.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any, Any, Any, Any]] = {
    "Swish": (around(lambda: Swish(OWN["swish"])), ROWS, LABELS, tg.cross_entropy, optim.Adam),
    "WeightNorm": (
        lambda: nn.Sequential(OWN["WeightNorm"](4, 5, rng=0), nn.Tanh(), nn.Linear(5, 3, rng=1)),
        ROWS,
        LABELS,
        tg.cross_entropy,
        optim.Adam,
    ),
    "Dropout": (around(lambda: OWN["Dropout"](rng=0)), ROWS, LABELS, tg.cross_entropy, optim.Adam),
    "BatchNorm1d": (
        around(lambda: OWN["BatchNorm1d"](5)),
        ROWS,
        LABELS,
        tg.cross_entropy,
        optim.SGD,
    ),
    "LayerNorm": (around(lambda: OWN["LayerNorm"](5)), ROWS, LABELS, tg.cross_entropy, optim.Adam),
    "Embedding": (
        lambda: nn.Sequential(OWN["Embedding"](7, 3, rng=0), nn.Flatten(), nn.Linear(6, 3, rng=1)),
        WORDS,
        LABELS,
        tg.cross_entropy,
        optim.Adam,
    ),
    "Conv2d, MaxPool2d": (conv, GRID, LABELS, tg.cross_entropy, optim.Adam),
    "Recurrent": (
        lambda: nn.Sequential(OWN["Recurrent"](2, 4, rng=0), nn.Linear(4, 3, rng=1)),
        SERIES,
        LABELS,
        tg.cross_entropy,
        optim.Adam,
    ),
    "huber": (around(nn.Tanh), ROWS, TARGETS, OWN["huber"], optim.Adam),
    "he_normal": (drawn, ROWS, LABELS, tg.cross_entropy, optim.Adam),
    "RMSprop": (around(nn.Tanh), ROWS, LABELS, tg.cross_entropy, OWN["RMSprop"]),
}
RANDOM = {"Dropout"}  # which cannot be captured: the program would drop the same at every call
every = pytest.mark.parametrize("name", NETWORKS)


def moved(model: nn.Module) -> nn.Module:
    """With other values in all parameters and buffers."""
    rng = np.random.default_rng(3)
    for part in (*model.parameters(), *model.buffers()):
        part.data = part.data + 0.1 * rng.random(part.shape)
    return model


def arrays(model: nn.Module, optimizer: Any) -> dict[str, Any]:
    """Everything that a step moves."""
    kept = {
        f"{name} of {i}": value
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return {**model.state_dict(), **kept}


def assert_bits(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert_array_equal(value, other[name], err_msg=name, strict=True)


# --- explain, verify ------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_explain(name: str, training: bool) -> None:
    make, x, y, loss, _ = NETWORKS[name]
    model = make().train(training)
    state = model.state_dict()
    shown = tg.explain(model, loss, x, y)
    assert_bits(state, model.state_dict())
    twin = make().train(training)
    loss(twin(x), y).backward()
    gradients = [p.grad for p in twin.parameters()]
    assert len(shown.gradients) == len(gradients)
    if name in RANDOM and training:
        return  # each run draws another mask; every line has been held against its own
    for line in shown.gradients.values():
        assert any(
            g.shape == line.value.shape and np.allclose(g, line.value, rtol=1e-9, atol=1e-12)
            for g in gradients
            if g is not None
        ), line


def test_a_variable_may_have_the_name_of_a_function() -> None:
    def loss(x: Any) -> Any:
        var = np.var(x, axis=0)
        max = np.max(x)
        return (var * max).sum()

    x = tg.Tensor(ROWS, requires_grad=True)
    shown = tg.explain(loss, x)
    assert [line.left for line in shown.forward] == ["var2", "max2", "L"]
    assert shown["var2"].text == "var(x, axis=0)"
    loss(x).backward()
    assert x.grad is not None
    assert_allclose(shown["x"].value, x.grad)


INPUTS = {"X": "m n", "Y": "m k onehot", "W1": "n h", "b1": "h", "W2": "h k", "b2": "k"}


def network(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    Z1 = X @ W1 + b1
    A1 = OWN["swish"](Z1)
    return tg.cross_entropy(A1 @ W2 + b2, Y)


def test_verify_with_an_operation_of_ones_own() -> None:
    claims = {
        "W2": "swish(Z1)ᵀE/m",
        "W1": "X.T @ (E @ W2.T * (A1 + sigmoid(Z1) * (1 - A1))) / m",
        "b1": "1ᵀ(EW2ᵀ ⊙ (A1 + sigmoid(Z1)))/m",
    }
    found = tg.verify(network, claims, inputs=INPUTS, given={"E": "softmax(A1 @ W2 + b2) - Y"})
    assert [found[name].right for name in claims] == [True, True, False]
    sizes: list[Any] = [(4, 5), 5, (5, 3), 3]
    W = [tg.Tensor(RNG.normal(size=size), requires_grad=True) for size in sizes]
    shown = tg.explain(network, ROWS, tg.one_hot(LABELS), *W)
    assert tg.verify(network, shown, inputs=INPUTS).right  # A2, of the loss's rule, included


# --- check_rule, check_layer ----------------------------------------------------------------------

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "Swish": (lambda: Swish(OWN["swish"]), (4, 3), {}),
    "WeightNorm": (lambda: OWN["WeightNorm"](3, 2, rng=0), (4, 3), {}),
    "Dropout": (lambda: OWN["Dropout"](rng=0), (4, 3), {}),
    "BatchNorm1d": (lambda: OWN["BatchNorm1d"](3), (4, 3), {"samples": False}),
    "LayerNorm": (lambda: OWN["LayerNorm"](3), (4, 3), {}),
    "Embedding": (
        lambda: OWN["Embedding"](5, 3, rng=0),
        (4, 2),
        {"domain": lambda rng, shape: rng.integers(0, 5, shape)},
    ),
    "Conv2d": (lambda: OWN["Conv2d"](2, 2, 2, rng=0), (2, 2, 4, 4), {}),
    "MaxPool2d": (lambda: OWN["MaxPool2d"](2), (2, 2, 4, 4), {}),
    "Recurrent": (lambda: OWN["Recurrent"](2, 3, rng=0), (3, 4, 2), {}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_check_layer(name: str) -> None:
    make, shape, settings = LAYERS[name]
    tg.testing.check_layer(make(), shape, **settings)


def test_check_rule_and_gradcheck() -> None:
    assert tg.check_rule(OWN["swish"])
    assert tg.gradcheck(lambda p: OWN["huber"](p, TARGETS), TARGETS + RNG.normal(size=(12, 3)))


# --- pictures, states -----------------------------------------------------------------------------


@every
def test_picture_and_summary(name: str) -> None:
    make, x, y, loss, _ = NETWORKS[name]
    model: Any = make()
    whole, closed = (tg.picture(loss(model(x), y), depth=depth) for depth in (None, 1))
    for picture in (whole, closed):
        *_, width, height = map(float, ET.fromstring(picture.svg).attrib["viewBox"].split())
        assert width < 1600 and height < 900  # a slide, with letters of 13 to 15
    for module in model:
        if next(module.parameters(), None) is not None:  # a box each, without what is inside
            assert type(module).__name__ in closed.svg
    table = tg.summary(model, x.shape[1:], dtype=x.dtype)
    assert table.parameters == sum(p.size for p in (*model.parameters(), *model.buffers()))
    assert table.rows[0].shape == "(m, 3)"


@every
def test_states_go_through_a_file(name: str, tmp_path: Path) -> None:
    make, x, y, loss, kind = NETWORKS[name]

    def trained(model: Any) -> tuple[Any, Any]:
        optimizer = kind(model.parameters(), lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        return model, optimizer

    model, optimizer = trained(make())
    tg.save_checkpoint(tmp_path / "state.npz", model=model, optimizer=optimizer)
    twin = moved(make())
    other = kind(twin.parameters(), lr=0.5)
    tg.load_checkpoint(tmp_path / "state.npz", model=twin, optimizer=other)
    assert_bits(arrays(model, optimizer), arrays(twin, other))
    for net, steps in ((model, optimizer), (twin, other)):  # and on they go, bit for bit
        steps.zero_grad()
        loss(net(x), y).backward()
        steps.step()
    assert_bits(arrays(model, optimizer), arrays(twin, other))
    assert_array_equal(tg.predict(model, x), tg.predict(twin, x))


# --- captured steps, fit --------------------------------------------------------------------------


@every
@pytest.mark.parametrize("check", [False, True], ids=["", "check"])
def test_captured_steps_give_the_same_bits(name: str, check: bool) -> None:
    make, x, y, loss, kind = NETWORKS[name]
    models = make(), make()
    optimizers = [kind(model.parameters(), lr=0.05) for model in models]
    eager, step = (training(m, o, loss) for m, o in zip(models, optimizers, strict=True))
    step = tg.compile(step, check=check)
    if name in RANDOM:
        before = arrays(models[1], optimizers[1])
        with pytest.raises(tg.CannotCapture, match="draws random numbers"):
            step(x, y)
        assert_bits(before, arrays(models[1], optimizers[1]))
        assert_array_equal(models[0](x).data, models[1](x).data)  # its generator is where it was
        models[1].eval()
        step(x, y)  # without randomness it can be
        return
    for rows in (x, x, x[:5], x):
        assert_array_equal(eager(rows, y[: len(rows)]).data, step(rows, y[: len(rows)]).data)
    assert_bits(arrays(models[0], optimizers[0]), arrays(models[1], optimizers[1]))
    assert "2 captured" in repr(step)


@every
def test_fit_is_the_same_captured_and_says_where_it_is_not(name: str) -> None:
    make, x, y, loss, kind = NETWORKS[name]
    histories, states, seen = [], [], []
    captures = (True, False) if name not in RANDOM else ("auto", False)
    for compile in captures:
        model = make()
        optimizer = kind(model.parameters(), lr=0.02)
        history = tg.fit(
            model,
            x,
            y,
            loss=loss,
            optimizer=optimizer,
            epochs=40,
            batch_size=4,
            rng=0,
            validation_data=(x, y),
            compile=compile,
            callbacks=[lambda e, logs: seen.append(logs)],
        )
        histories.append(history)
        states.append(arrays(model, optimizer))
    assert histories[0].history == histories[1].history
    assert_bits(*states)
    assert len(seen) == 80
    assert histories[0].history["val_loss"][-1] < 0.8 * histories[0].history["val_loss"][0]
    if name in RANDOM:
        optimizer = kind((model := make()).parameters(), lr=0.02)
        with pytest.raises(tg.CannotCapture, match="draws random numbers"):
            tg.fit(model, x, y, loss=loss, optimizer=optimizer, compile=True)
    else:
        assert histories[0].compiled is True
        optimizer = kind((model := make()).parameters(), lr=0.02)
        history = tg.fit(model, x, y, loss=loss, optimizer=optimizer, epochs=40, batch_size=4)
        own = name == "he_normal"  # an initialiser, which is not a part of a step
        assert own or str(history.compiled).endswith(" of tinygrad_edu")  # says what is not
