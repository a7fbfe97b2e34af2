"""`fit(compile="auto")` captures what is the library's own, and names what is not."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.training import keras_losses
from tinygrad_edu.training.library import OwnParts

x = np.random.default_rng(0).normal(size=(400, 3))
labels = (x[:, 0] > 0).astype(int)


class Mine(nn.Linear):
    pass


class Descent(optim.SGD):
    pass


def loss(prediction: Any, target: Any) -> Any:
    return tg.cross_entropy(prediction, target)


def network(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4, rng=0), *layers, nn.Linear(4, 2, rng=1))


def fitted(model: nn.Module, **settings: Any) -> tg.History:
    given: Any = {"loss": tg.cross_entropy, "optimizer": "sgd"} | settings
    return tg.fit(model, x, labels, epochs=10, rng=0, **given)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Sigmoid(),
        nn.GELU(),
        nn.LeakyReLU(0.1),
        nn.Dropout(0.1, rng=0),
        nn.BatchNorm1d(4),
        nn.LayerNorm(4),
        nn.Softplus(),
        nn.Sequential(nn.Tanh(), nn.Linear(4, 4, rng=0)),
    ],
    ids=str,
)
def test_layers_of_the_library_are_captured(layer: nn.Module) -> None:
    assert fitted(network(layer), metrics=["accuracy"]).compiled is True


@pytest.mark.parametrize(
    "function",
    [
        tg.cross_entropy,
        nn.CrossEntropyLoss(),
        partial(tg.cross_entropy),
        "sparse_categorical_crossentropy",
    ],
    ids=["a function", "a module", "a partial one", "a name"],
)
def test_losses_of_the_library_are_captured(function: Any) -> None:
    found = keras_losses.as_loss(function)
    adam = optim.Adam(network().parameters())
    assert OwnParts([network(), found, None, adam]).foreign() is None


def shadowed() -> Any:
    model: Any = network()
    model[0].forward = lambda x: x @ np.ones((3, 4))
    return model


def swapped() -> Any:
    model: Any = network()
    model[0].__class__ = Mine
    return model


def updated(model: nn.Module) -> Any:
    sgd = optim.SGD(model.parameters(), lr=0.1)
    sgd.update = lambda w, g, state, lr: (w - lr * g, state)  # type: ignore[method-assign]
    return sgd


class Beside(tg.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        pass


NOT_OURS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a layer": (lambda: network(Mine(4, 4, rng=0)), {}, "Mine is not a class of"),
    "a loss": (network, {"loss": loss}, "loss is not a function of"),
    "a metric": (network, {"metrics": {"one": lambda p, t: 1.0}}, "is not a function of"),
    "a penalty": (network, {"penalty": lambda m: 0.0}, "<lambda> is not a function of"),
    "an optimizer": (
        network,
        {"optimizer": lambda m: Descent(m.parameters(), lr=0.1)},
        "Descent is not a class",
    ),
    "a callback between batches": (network, {"callbacks": [Beside()]}, "on_train_batch_end"),
    "a forward of an instance": (shadowed, {}, "forward of a Linear was replaced"),
    "a class that was swapped": (swapped, {}, "Mine is not a class of"),
    "an update of an instance": (network, {"optimizer": updated}, "update of a SGD was replaced"),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_not_of_the_library_is_trained_eagerly_and_named(name: str) -> None:
    make, settings, message = NOT_OURS[name]
    weights = []
    for compiled in ("auto", False):
        model = make()
        given = dict(settings)
        if callable(given.get("optimizer")):
            given["optimizer"] = given["optimizer"](model)
        history = fitted(model, compile=compiled, **given)
        weights.append([p.value for p in model.parameters()])
        if compiled == "auto":
            assert message in str(history.compiled)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", [(nn.Linear, "forward"), (optim.SGD, "update"), (nn, "linear")])
def test_a_method_of_the_library_that_is_replaced_is_named(
    where: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = where
    if not hasattr(owner, name):
        owner, name = tg.ops, "linear"
    before = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: before(*args, **kwargs))
    assert str(fitted(network()).compiled).endswith(f"{name} was replaced")


def test_each_epoch_is_looked_at_again() -> None:
    def patch(epoch: int, logs: Any) -> None:
        if epoch == 3:
            model[0].forward = lambda x: before(x) * 0.5

    weights = []
    for compiled in ("auto", False):
        model: Any = network()
        before = model[0].forward
        history = fitted(model, compile=compiled, callbacks=[patch])
        weights.append(model[2].weight.value if len(model) > 2 else model[1].weight.value)
        if compiled == "auto":
            assert history.compiled == "forward of a Linear was replaced"
    np.testing.assert_array_equal(*weights)


# --- what looks like a value or a container of the library ----------------------------------------


class Factor(float):
    def __rmul__(self, x: Any) -> Any:
        return super().__mul__(2.0) * x


class Layers(list[Any]):
    def __iter__(self) -> Any:
        return reversed(self[:])


class Other(partial[Any]):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return 2 * super().__call__(*args, **kwargs)


class Names(dict[str, Any]):
    def __getitem__(self, name: str) -> Any:
        return None


class Rows(np.ndarray):
    pass


@pytest.mark.parametrize("kind", [Factor, Layers, Names, partial(np.zeros, 2)])
def test_a_class_that_derives_from_a_value_or_a_container_is_not_the_librarys(kind: Any) -> None:
    layer: Any = nn.LeakyReLU(0.1)
    layer.slope = np.zeros(2).view(Rows) if isinstance(kind, partial) else kind()
    name = type(layer.slope).__name__
    assert OwnParts([layer]).foreign() == f"{name} is not a class of tinygrad_edu"


@pytest.mark.parametrize("value", [np.float32(1), np.dtype("f"), [1, (2, {"a": 3})], np.zeros(2)])
def test_values_and_containers_of_python_and_numpy_hold_no_code(value: Any) -> None:
    layer: Any = nn.LeakyReLU(0.1)
    layer.slope = value
    assert OwnParts([layer]).foreign() is None


def test_a_loss_that_derives_from_partial_is_named() -> None:
    history = fitted(network(), loss=Other(tg.cross_entropy))
    assert history.compiled == "Other is not a class of tinygrad_edu"


def keywords(loss: Any) -> None:
    loss.keywords["reduction"] = "sum"


def another_state(loss: Any) -> None:
    loss.__setstate__((tg.cross_entropy, (), {"reduction": "sum"}, None))


def another_function(loss: Any) -> None:
    loss.__setstate__((partial(tg.cross_entropy, reduction="sum"), (), {}, None))


def foreign_function(loss: Any) -> None:
    loss.__setstate__((lambda p, y: 2 * tg.cross_entropy(p, y), (), {}, None))


@pytest.mark.parametrize("change", [keywords, another_state, another_function, foreign_function])
@pytest.mark.parametrize("compile", ["auto", True])
def test_a_partial_loss_that_is_changed_between_epochs_is_followed(
    change: Any, compile: Any
) -> None:
    weights = []
    for captured in (compile, False):
        model: Any = network()
        loss = partial(tg.cross_entropy, reduction="mean")
        fitted(
            model,
            loss=loss,
            compile=captured,
            callbacks=[lambda epoch, logs, loss=loss: change(loss) if epoch == 4 else None],
        )
        weights.append([p.value for p in model.parameters()])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
