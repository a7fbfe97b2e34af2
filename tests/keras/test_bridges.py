"""Networks from Keras and to it: the same outputs, in memory and in files; or refused by name."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_edu as tg
from tests.tools import keras_runs
from tinygrad_edu import nn
from tinygrad_edu.keras.layers import ACTIVATIONS

pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")
layers = keras.layers
Dense: Any = layers.Dense
Chained: Any = keras.Sequential

Array = np.ndarray[Any, np.dtype[Any]]


def outputs(keras_model: Any, x: Array) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(keras_model(x, training=False)))


def shaken(keras_model: Any, seed: int = 0) -> Any:
    """The model with all its weights (running values too) away from where they begin."""
    rng = np.random.default_rng(seed)
    keras_model.set_weights(
        [rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) for w in keras_model.get_weights()]
    )
    return keras_model


def sequential(*stack: Any, shape: tuple[int | None, ...] = (4,), dtype: Any = None) -> Any:
    return shaken(keras.Sequential([keras.Input(shape, dtype=dtype), *stack]))


def dense(activation: str) -> Any:
    return sequential(layers.Dense(3, activation))


def images(*stack: Any) -> Any:
    return sequential(*stack, shape=(7, 9, 3))


BROUGHT_OVER: dict[str, Callable[[], Any]] = {
    **{f"Dense {name}": partial(dense, name) for name in ACTIVATIONS},
    "Dense without bias": lambda: sequential(layers.Dense(3, use_bias=False)),
    "Dense float64": lambda: sequential(layers.Dense(3, dtype="float64")),
    "Dense on steps in time": lambda: sequential(layers.Dense(3), shape=(5, 4)),
    "Activation": lambda: sequential(layers.Dense(3), layers.Activation("tanh")),
    "ReLU": lambda: sequential(layers.Dense(3), layers.ReLU()),
    "ReLU with a slope": lambda: sequential(layers.Dense(3), layers.ReLU(negative_slope=0.2)),
    "LeakyReLU": lambda: sequential(layers.Dense(3), layers.LeakyReLU(0.1)),
    "Softmax": lambda: sequential(layers.Dense(3), layers.Softmax()),
    "Softmax over samples' rows": lambda: sequential(layers.Softmax(axis=1), shape=(5, 4)),
    "Flatten": lambda: sequential(layers.Flatten(), layers.Dense(3), shape=(2, 4)),
    "Reshape": lambda: sequential(layers.Reshape((-1,)), layers.Dense(3), shape=(2, 4)),
    "Dropout": lambda: sequential(layers.Dropout(0.5), layers.Dense(3)),
    "BatchNormalization": lambda: sequential(layers.BatchNormalization()),
    "BatchNormalization plain": lambda: sequential(
        layers.BatchNormalization(center=False, scale=False, momentum=0.9, epsilon=0.1)
    ),
    "LayerNormalization": lambda: sequential(layers.LayerNormalization()),
    "LayerNormalization of two axes": lambda: sequential(
        layers.LayerNormalization(axis=[1, 2]), shape=(5, 4)
    ),
    "LayerNormalization without bias": lambda: sequential(layers.LayerNormalization(center=False)),
    "LayerNormalization plain": lambda: sequential(
        layers.LayerNormalization(center=False, scale=False, epsilon=0.1)
    ),
    "Embedding": lambda: sequential(layers.Embedding(9, 2), layers.Flatten(), dtype="int64"),
    "Conv2D": lambda: images(layers.Conv2D(2, 3)),
    "Conv2D same": lambda: images(layers.Conv2D(4, (2, 3), padding="same", activation="relu")),
    "Conv2D with strides": lambda: images(layers.Conv2D(2, 3, strides=(2, 1), use_bias=False)),
    "Conv2D softmax": lambda: images(layers.Conv2D(4, 2, activation="softmax")),
    "MaxPooling2D": lambda: images(layers.MaxPooling2D((2, 3))),
    "MaxPooling2D with strides": lambda: images(layers.MaxPooling2D(3, strides=2)),
    "AveragePooling2D": lambda: images(layers.AveragePooling2D(2)),
    "BatchNormalization of images": lambda: images(layers.BatchNormalization()),
    "a convolutional network": lambda: images(
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Dropout(0.3),
        layers.Conv2D(2, 2, activation="tanh"),
        layers.Flatten(),
        layers.Dense(5, "relu"),
        layers.Dense(3, "softmax"),
    ),
    "Dense on pixels between convolutions": lambda: images(
        layers.Conv2D(4, 3),
        layers.Dense(3),
        layers.Softmax(),
        layers.Conv2D(2, 2),
        layers.LayerNormalization(),
        layers.AveragePooling2D(2),
    ),
    "a Sequential inside": lambda: sequential(
        keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)]),
        layers.Dense(3),
    ),
    "layers that were used before": lambda: sequential(
        layers.Dense(3), layers.Dense(5), layers.BatchNormalization(), layers.Dense(2)
    ),
}


def samples(keras_model: Any) -> Array:
    shape = [n or 4 for n in keras_model.input_shape[1:]]
    rng = np.random.default_rng(1)
    if "int" in str(keras_model.inputs[0].dtype):
        return rng.integers(0, 9, (6, *shape))
    return rng.normal(size=(6, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", BROUGHT_OVER)
class TestFromKeras:
    def test_the_outputs_are_the_same(self, name: str) -> None:
        theirs = BROUGHT_OVER[name]()
        x = samples(theirs)
        model = tg.from_keras(theirs)
        np.testing.assert_allclose(tg.predict(model, x), outputs(theirs, x), rtol=1e-6, atol=5e-6)
        for parameter in model.parameters():
            assert parameter.requires_grad
            parameter.data = parameter.data + 1  # it is a copy
        assert not any(
            np.shares_memory(p.data, w) for p in model.parameters() for w in theirs.get_weights()
        )

    def test_a_file_gives_the_same_network(self, name: str, tmp_path: Path) -> None:
        theirs = BROUGHT_OVER[name]()
        x = samples(theirs)
        theirs.save(tmp_path / "model.keras")
        model = tg.from_keras(tmp_path / "model.keras")
        assert repr(model) == repr(tg.from_keras(theirs))
        np.testing.assert_allclose(tg.predict(model, x), outputs(theirs, x), rtol=1e-6, atol=5e-6)

    def test_a_file_of_weights_fills_a_model(self, name: str, tmp_path: Path) -> None:
        theirs = BROUGHT_OVER[name]()
        if "Sequential" in name:
            pytest.skip("from_keras has opened it, so that the file's places are others")
        x = samples(theirs)
        model = tg.from_keras(theirs)
        for tensor in model.state_dict():
            assert tensor  # there is a name for each
        shaken(theirs, seed=5).save_weights(tmp_path / "model.weights.h5")
        assert tg.from_keras(str(tmp_path / "model.weights.h5"), into=model) is model
        np.testing.assert_allclose(tg.predict(model, x), outputs(theirs, x), rtol=1e-6, atol=5e-6)

    def test_and_back_again(self, name: str) -> None:
        theirs = BROUGHT_OVER[name]()
        x = samples(theirs)
        shape = theirs.input_shape[1:]
        model = tg.from_keras(theirs)
        back = tg.to_keras(model, input_shape=shape)
        assert tg.to_keras(model).input_shape[1:] == shape  # which is known
        if "Conv" in name or "ooling" in name:  # nothing is turned round on the way back
            kinds = [type(layer).__name__ for layer in back.layers]
            assert "Permute" not in kinds
        np.testing.assert_allclose(outputs(back, x), outputs(theirs, x), rtol=1e-6, atol=5e-6)


# --- random models --------------------------------------------------------------------------------


@st.composite
def models(draw: st.DrawFn) -> tuple[nn.Sequential, tuple[int, ...]]:
    """A random chain with random weights, and the shape of its samples."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    shape = draw(st.sampled_from([(3,), (7,), (2, 3)]))
    stack: list[nn.Module] = [nn.Flatten()] if len(shape) > 1 else []
    n = int(np.prod(shape))
    for _ in range(draw(st.integers(1, 4))):
        units = draw(st.integers(1, 9))
        choices: list[Callable[[], nn.Module]] = [
            partial(nn.Linear, n, units, bias=draw(st.booleans()), rng=rng, dtype=dtype),
            partial(nn.BatchNorm1d, n, dtype=dtype),
            partial(nn.LayerNorm, n, bias=draw(st.booleans()), dtype=dtype),
            partial(nn.Dropout, 0.3, rng=0),
            partial(nn.LeakyReLU, 0.05),
            nn.Sigmoid,
            nn.Tanh,
            nn.ReLU,
            nn.SiLU,
            nn.GELU,
            nn.Softplus,
            nn.Softmax,
        ]
        module = draw(st.sampled_from(choices))()
        n = units if isinstance(module, nn.Linear) else n
        stack.append(module)
    if not any(isinstance(m, nn.Linear) for m in stack):
        stack.append(nn.Linear(n, 2, rng=rng, dtype=dtype))
    model = nn.Sequential(*stack)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.dtype == dtype:  # not the count of batches
            tensor.data = rng.uniform(0.5, 1.5, tensor.shape).astype(dtype)
    return model, shape


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # of size 1, at random
@settings(max_examples=25)
@given(models())
def test_random_models_there_and_back(made: tuple[nn.Sequential, tuple[int, ...]]) -> None:
    model, shape = made
    dtype = next(iter(model.parameters())).dtype
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(dtype)
    theirs = tg.to_keras(model, input_shape=shape)
    expected = tg.predict(model, x)
    np.testing.assert_allclose(outputs(theirs, x), expected, rtol=2e-5, atol=1e-6)
    back = tg.from_keras(theirs)
    assert repr(back) == repr(model)
    np.testing.assert_allclose(tg.predict(back, x), expected, rtol=2e-5, atol=1e-6)
    assert {p.dtype for p in back.parameters()} == {dtype}


IMAGES: dict[str, Callable[[], list[nn.Module]]] = {
    "a network": lambda: [
        nn.Conv2d(2, 4, 3, padding="same", rng=0),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2, rng=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(12, 5, rng=2),
    ],
    "convolutions only": lambda: [nn.Conv2d(2, 4, (3, 2), (2, 1), rng=0), nn.Dropout(0.2)],
    "pooling": lambda: [nn.AvgPool2d(2), nn.Conv2d(2, 1, 1, bias=False, rng=0), nn.MaxPool2d(2)],
    "flattened at once": lambda: [nn.Flatten(), nn.Linear(84, 3, rng=0)],
}


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images_there_and_back(name: str, tmp_path: Path) -> None:
    model = nn.Sequential(*IMAGES[name]()).float()
    x = np.random.default_rng(0).normal(size=(5, 2, 6, 7)).astype(np.float32)
    theirs = tg.to_keras(model, input_shape=(2, 6, 7))
    expected = tg.predict(model, x)
    np.testing.assert_allclose(outputs(theirs, x), expected, rtol=1e-6, atol=5e-6)
    theirs.save(tmp_path / "model.keras")
    for source in (theirs, tmp_path / "model.keras"):
        back = tg.from_keras(source)
        assert repr(back) == repr(model)  # nothing is turned round that need not be
        np.testing.assert_array_equal(tg.predict(back, x), expected)


# Numbers that float32 has exactly, to which Keras rounds them on the way to float64.
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.875),
    "Adam": lambda: keras.optimizers.Adam(0.0625, beta_1=0.875, beta_2=0.96875, epsilon=2**-10),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_network_of_images_goes_on_as_it_was_compiled(
    channels_last: bool, optimizer: str
) -> None:
    order: Any = {"data_format": "channels_last" if channels_last else "channels_first"}
    penalty = keras.regularizers.L2(2**-7)
    with keras_runs.floatx("float64"):
        theirs = keras.Sequential(
            [
                keras.Input((6, 6, 2) if channels_last else (2, 6, 6)),
                layers.Conv2D(3, 3, activation="tanh", kernel_regularizer=penalty, **order),
                layers.MaxPooling2D(2, **order),
                layers.Flatten(),
                layers.Dense(4, "softmax"),
            ]
        )
        theirs.compile(OPTIMIZERS[optimizer](), "categorical_crossentropy")
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(40, *theirs.input_shape[1:])), np.eye(4)[rng.integers(0, 4, 40)]
        how: dict[str, Any] = {"batch_size": 8, "shuffle": False, "verbose": 0}
        try:
            theirs.fit(x, y, **how)
        except Exception:  # TensorFlow's own convolution knows one order only on some machines
            assert not channels_last
            pytest.skip("this TensorFlow does not train with the channels first")
        model, compiled = tg.from_keras(theirs, settings=True)
        history = theirs.fit(x, y, epochs=3, **how).history
        probabilities = theirs.predict(x, verbose=0)
    ours = tg.fit(model, x, y, epochs=3, **compiled, **how).history
    # On PyTorch the figures of Keras, asked for float64, have the digits of float32.
    rtol, atol = (1e-10, 1e-12) if keras.backend.backend() == "tensorflow" else (1e-6, 1e-6)
    np.testing.assert_allclose(ours["loss"], history["loss"], rtol=rtol)
    np.testing.assert_allclose(tg.predict(model, x), probabilities, rtol=10 * rtol, atol=atol)


def of_images() -> nn.Sequential:
    """A network with the channels first, as ours have them."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4, rng=0)
    )


def test_weights_behind_a_flatten_of_the_other_order_are_refused(tmp_path: Path) -> None:
    stack = [layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(4)]
    for turns in ([], [layers.Permute((2, 3, 1))]):
        theirs = sequential(*turns, *stack, shape=(2, 6, 6) if turns else (6, 6, 2))
        theirs.save_weights(tmp_path / "model.weights.h5")
        model = of_images()
        before = {name: np.array(x) for name, x in model.state_dict().items()}
        with pytest.raises(ValueError, match=r"\(h, w, c\).*\(c, h, w\).*from_keras"):
            tg.from_keras(tmp_path / "model.weights.h5", into=model)
        for name, x in model.state_dict().items():
            np.testing.assert_array_equal(x, before[name])


def test_weights_of_the_own_order_come_back(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2, 6, 6))
    model, other = of_images(), of_images()
    shaken(tg.to_keras(model, input_shape=(2, 6, 6))).save_weights(tmp_path / "a.weights.h5")
    theirs = tg.to_keras(model, input_shape=(2, 6, 6))
    theirs.load_weights(tmp_path / "a.weights.h5")
    tg.from_keras(tmp_path / "a.weights.h5", into=other)
    np.testing.assert_allclose(tg.predict(other, x), outputs(theirs, x), rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_the_names_of_optimizers_are_those_of_keras(name: str) -> None:
    with keras_runs.floatx("float64"):
        theirs = sequential(Dense(3, "tanh"), Dense(2))
        model = tg.from_keras(theirs)
        theirs.compile(name, "mse")
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
        how: dict[str, Any] = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": 3}
        theirs.fit(x, y, **how)
    start = [np.array(p.data) for p in model.parameters()]
    tg.fit(model, x, y, loss="mse", optimizer=name, **how)
    # Keras keeps its settings in float32, and has epsilon in another place.
    for before, p, theirs_ in zip(start, model.parameters(), theirs.get_weights(), strict=True):
        moved = np.abs(p.data - before).max()
        np.testing.assert_allclose(p.data, theirs_, rtol=0, atol=1e-4 * moved)


# --- what is refused ------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("mine")
class Mine(Dense):
    pass


def doubled(x: Any) -> Any:
    return 2 * x


class Chain(Chained):
    pass


def functional() -> Any:
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(2)(x))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "Lambda": (lambda: sequential(layers.Lambda(lambda x: x)), "Lambda 'lambda.*no counterpart"),
    "a class of one's own": (lambda: sequential(Mine(2)), "Mine 'mine.*no counterpart"),
    "Conv1D": (lambda: sequential(layers.Conv1D(2, 3), shape=(5, 1)), "Conv1D 'conv1d"),
    "holes": (lambda: images(layers.Conv2D(2, 3, dilation_rate=2)), "Conv2D.*dilation_rate="),
    "groups": (lambda: images(layers.Conv2D(3, 3, groups=3)), "Conv2D.*groups=3"),
    "same with strides": (
        lambda: images(layers.Conv2D(2, 3, strides=2, padding="same")),
        "padding='same' with",
    ),
    "pooling same": (
        lambda: images(layers.MaxPooling2D(2, padding="same")),
        "MaxPooling2D.*padding='same'",
    ),
    "another Permute": (lambda: images(layers.Permute((1, 3, 2))), r"Permute.*dims=\(1, 3, 2\)"),
    "Normalization": (lambda: sequential(layers.Normalization()), "Normalization 'norm"),
    "elu": (lambda: sequential(layers.Dense(2, "elu")), "Dense.*activation='elu'.*there are"),
    "an activation of one's own": (
        lambda: sequential(layers.Dense(2, doubled)),
        "Dense.*activation=",
    ),
    "a constraint": (
        lambda: sequential(layers.Dense(2, kernel_constraint="non_neg")),
        "kernel_constraint",
    ),
    "activity": (
        lambda: sequential(layers.Dense(2, activity_regularizer="l2")),
        "activity_regularizer",
    ),
    "a regularizer, unasked": (
        lambda: sequential(layers.Dense(2, kernel_regularizer="l2")),
        "settings=True",
    ),
    "float16": (lambda: sequential(layers.Dense(2, dtype="float16")), "dtype 'float16'"),
    "mixed": (lambda: sequential(layers.Dense(2, dtype="mixed_float16")), "dtype 'mixed_float16'"),
    "masks": (
        lambda: sequential(layers.Embedding(9, 2, mask_zero=True), dtype="int64"),
        "Embedding.*mask_zero=True",
    ),
    "noise_shape": (lambda: sequential(layers.Dropout(0.5, noise_shape=(1, 4))), "noise_shape"),
    "max_value": (lambda: sequential(layers.ReLU(6.0)), "ReLU 're_lu.*max_value=6.0"),
    "threshold": (lambda: sequential(layers.ReLU(threshold=1.0)), "threshold=1.0"),
    "channels_first": (
        lambda: sequential(layers.Flatten("channels_first"), shape=(2, 2, 1)),
        "channels_first",
    ),
    "Reshape to images": (lambda: sequential(layers.Reshape((2, 2))), "Reshape.*target_shape"),
    "Softmax of two axes": (
        lambda: sequential(layers.Softmax([1, 2]), shape=(2, 2)),
        r"Softmax.*axis=\[1, 2\]",
    ),
    "BatchNormalization in time": (
        lambda: sequential(layers.BatchNormalization(), shape=(5, 4)),
        "input of 3 axes",
    ),
    "BatchNormalization frozen": (
        lambda: sequential(layers.BatchNormalization(trainable=False)),
        "trainable=False",
    ),
    "BatchNormalization in half": (
        lambda: sequential(layers.BatchNormalization(scale=False)),
        "scale=False with center=True",
    ),
    "LayerNormalization of the first": (
        lambda: sequential(layers.LayerNormalization(axis=1), shape=(5, 4)),
        r"axis=.*1",
    ),
    "rms": (lambda: sequential(layers.RMSNormalization()), "RMSNormalization"),
    "no weights yet": (lambda: keras.Sequential([layers.Dense(2)]), r"keras.Input\(shape\)"),
    "a graph": (functional, "Functional.*only a Sequential"),
    "a chain of one's own": (lambda: Chain([keras.Input((4,)), layers.Dense(2)]), "Chain"),
    "no model": (lambda: 42, "received int"),
    "another ending": (lambda: "model.h5", ".keras and .weights.h5"),
    "weights without a model": (lambda: "model.weights.h5", "into=model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_here_is_named(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        tg.from_keras(make())


class Twice(nn.Linear):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class TwiceAsFlat(nn.Flatten):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


shared = nn.Linear(3, 3)
half = nn.Linear(3, 3)
assert half.bias is not None
half.bias.requires_grad = False
REFUSED_THERE: dict[str, tuple[nn.Module, str]] = {
    "a subclass": (nn.Sequential(Twice(2, 2)), "Twice"),
    "a subclass without settings": (nn.Sequential(nn.Linear(2, 2), TwiceAsFlat()), "TwiceAsFlat"),
    "a loss": (nn.Sequential(nn.Linear(2, 2), nn.MSELoss()), "MSELoss"),
    "GELU with tanh": (nn.Sequential(nn.Linear(2, 2), nn.GELU("tanh")), "GELU.approximate='tanh'"),
    "Softplus with beta": (nn.Sequential(nn.Linear(2, 2), nn.Softplus(2.0)), "Softplus.beta=2.0"),
    "Flatten of some axes": (nn.Sequential(nn.Linear(2, 2), nn.Flatten(2)), "Flatten.start_dim=2"),
    "BatchNorm1d over all": (nn.BatchNorm1d(2, momentum=None), "BatchNorm1d.*momentum=None"),
    "a parameter twice": (nn.Sequential(shared, shared), "two layers share a parameter"),
    "two dtypes": (
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype=np.float32)),
        "float32.*float64",
    ),
    "float16": (nn.Linear(2, 2, dtype=np.float16), "float16"),
    "an unknown input": (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "input_shape="),
    "frozen in part": (half, "frozen in part"),
}


@pytest.mark.parametrize("name", REFUSED_THERE)
def test_what_keras_does_not_have_is_named(name: str) -> None:
    model, message = REFUSED_THERE[name]
    with pytest.raises(ValueError, match=message):
        tg.to_keras(model)


@pytest.mark.parametrize("padding", [1, (1, 0), (1, 1), 2])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Softmax])
def test_a_convolution_with_a_margin_is_named(padding: Any, activation: Any) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=padding), activation())
    with pytest.raises(ValueError, match=r"Conv2d\(.*has no counterpart"):
        tg.to_keras(model, input_shape=(1, 6, 6))


def test_into_is_for_files_of_weights(tmp_path: Path) -> None:
    for source in (sequential(layers.Dense(2)), "model.keras", tmp_path):
        with pytest.raises(ValueError, match=r"into= is for \.weights\.h5 files"):
            tg.from_keras(source, into=nn.Linear(4, 2))


def test_the_penalty_of_a_frozen_layer_is_not_counted() -> None:
    with keras_runs.floatx("float64"):
        regularizer = keras.regularizers.L2(0.25)
        theirs = sequential(
            Dense(3, kernel_regularizer=regularizer, trainable=False),
            Dense(2, kernel_regularizer=regularizer),
        )
        theirs.compile("sgd", "mse")
        x, y = np.ones((6, 4)), np.ones((6, 2))
        model, compiled = tg.from_keras(theirs, settings=True)
        expected = theirs.evaluate(x, y, verbose=0)
    del compiled["optimizer"]
    assert tg.evaluate(model, x, y, **compiled) == pytest.approx(expected, rel=1e-6)
    only_frozen = sequential(Dense(3, kernel_regularizer=regularizer, trainable=False))
    assert len(tg.from_keras(only_frozen)) == 1  # nothing to be taken along


def test_what_is_frozen_stays_so() -> None:
    theirs = sequential(layers.Dense(3, trainable=False), layers.Dense(2))
    model = tg.from_keras(theirs)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert [layer.trainable for layer in tg.to_keras(model).layers] == [False, True]


@pytest.mark.parametrize(
    ("compiled", "message"),
    [
        ({}, "not compiled"),
        ({"optimizer": "rmsprop", "loss": "mse"}, "optimizer RMSprop"),
        (
            {"optimizer": keras.optimizers.Adam(amsgrad=True), "loss": "mse"},
            "amsgrad.*has no counterpart",
        ),
        ({"optimizer": keras.optimizers.SGD(0.1, clipnorm=1.0), "loss": "mse"}, "clipnorm"),
        ({"optimizer": keras.optimizers.SGD(0.1, weight_decay=0.1), "loss": "mse"}, "weight_decay"),
        (
            {
                "optimizer": keras.optimizers.SGD(
                    keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
                ),
                "loss": "mse",
            },
            "learning_rate.*ExponentialDecay",
        ),
        ({"optimizer": "sgd", "loss": "hinge"}, "loss hinge"),
        (
            {"optimizer": "sgd", "loss": keras.losses.BinaryCrossentropy(label_smoothing=0.1)},
            "label_smoothing",
        ),
        ({"optimizer": "sgd", "loss": "mse", "metrics": ["auc"]}, "metric 'auc'"),
        (
            {
                "optimizer": "sgd",
                "loss": "mse",
                "metrics": [keras.metrics.BinaryAccuracy(threshold=0.7)],
            },
            "metric.*BinaryAccuracy",
        ),
        ({"optimizer": "sgd", "loss": "mse", "loss_weights": [2.0]}, "loss_weights"),
    ],
)
def test_what_fit_cannot_be_told_is_named(compiled: dict[str, Any], message: str) -> None:
    theirs = sequential(layers.Dense(2))
    if compiled:
        theirs.compile(**compiled)
    with pytest.raises(ValueError, match=message):
        tg.from_keras(theirs, settings=True)


@pytest.mark.parametrize(
    ("activation", "loss", "fits"),
    [
        ("softmax", "binary_crossentropy", False),
        ("sigmoid", "categorical_crossentropy", False),
        ("sigmoid", "sparse_categorical_crossentropy", False),
        ("sigmoid", "binary_crossentropy", True),
        ("softmax", "categorical_crossentropy", True),
        ("softmax", "mse", True),
    ],
)
def test_a_loss_that_keras_feeds_with_logits_of_another_kind_is_named(
    activation: str, loss: str, fits: bool
) -> None:
    theirs = sequential(layers.Dense(3, activation))
    theirs.compile("sgd", loss)
    if fits:
        assert tg.from_keras(theirs, settings=True)[1]["loss"] == loss
    else:
        with pytest.raises(ValueError, match=f"loss {loss} after a {activation.capitalize()}"):
            tg.from_keras(theirs, settings=True)


def test_how_it_was_compiled_comes_with_a_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    y = np.arange(20) % 3
    theirs = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02)),
        ]
    )
    theirs.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=5, name="top")],
    )
    once: dict[str, Any] = {"batch_size": 8, "shuffle": False, "verbose": 0}
    theirs.fit(x, y, **once)
    theirs.save(tmp_path / "model.keras")
    model, compiled = tg.from_keras(tmp_path / "model.keras", settings=True)
    assert compiled["loss"] is tg.cross_entropy
    assert list(compiled["metrics"]) == ["accuracy", "top"]
    ours = tg.fit(model, x, y, **compiled, **once).history
    history = theirs.fit(x, y, **once).history
    assert ours.keys() == history.keys()
    for key in ours:
        np.testing.assert_allclose(ours[key], history[key], atol=1e-5, err_msg=key)
    for own, weight in zip(model.parameters(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own.data, weight, atol=1e-6)


# --- files that are not what they should be -------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    sequential(layers.Dense(3, "sigmoid"), layers.Dense(2)).save(path)
    return path


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The archive with its description changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "was_run"
    path = tmp_path / "model.keras"
    code = f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]"
    hostile = keras.Sequential([keras.Input((4,)), layers.Lambda(eval(code)), layers.Dense(2)])
    hostile.save(path)
    trace.unlink()  # building the model has run it
    keras.saving.load_model(path, safe_mode=False).predict(np.ones((1, 4)), verbose=0)
    assert trace.exists()  # the file is a real attack
    trace.unlink()
    with pytest.raises(ValueError, match="Lambda"):
        tg.from_keras(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"module": "os", "class_name": "system", "config": "touch was_run"},
        {"module": "builtins", "class_name": "exec", "config": {"object": "1"}},
        {"module": "tests.keras.test_bridges", "class_name": "Dense", "config": {"units": 2}},
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "registered_name": "os>system",
            "config": {"units": 2},
        },
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp"}},
        {
            "module": "keras.layers",
            "class_name": "StringLookup",
            "config": {"vocabulary": "/etc/passwd"},
        },
        {"module": "keras.layers", "class_name": "__class__", "config": {}},
    ],
)
def test_a_name_in_a_file_is_looked_up_in_the_table_and_nowhere_else(
    saved: Path, change: dict[str, Any]
) -> None:
    rewritten(saved, lambda config: config["config"]["layers"].insert(1, change))
    with pytest.raises(ValueError, match=r"has no counterpart|damaged"):
        tg.from_keras(saved)


@pytest.mark.parametrize(
    "activation",
    [
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "f"},
        {"class_name": "__lambda__", "config": {"code": "4wEA"}},
        "os.system",
        ["relu"],
        7,
    ],
)
def test_an_activation_in_a_file_is_one_of_the_known_names(saved: Path, activation: Any) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"]["activation"] = activation

    with pytest.raises(ValueError, match="activation"):
        tg.from_keras(rewritten(saved, change))


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("class_name"),
        lambda config: config.update(config=[]),
        lambda config: config["config"].update(layers=None),
        lambda config: config["config"].update(layers=[None]),
        lambda config: config["config"]["layers"][1].pop("config"),
        lambda config: config["config"]["layers"][1]["config"].update(units="3"),
        lambda config: config["config"]["layers"][1]["config"].update(units=10**12),
        lambda config: config["config"]["layers"][1]["config"].update(use_bias=False),
        lambda config: config["config"]["layers"][1]["config"].update(dtype={}),
        lambda config: config["config"]["layers"].pop(1),
        lambda config: config["config"]["layers"].append(config["config"]["layers"][1]),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    with pytest.raises(ValueError, match=r"model\.keras"):
        tg.from_keras(rewritten(saved, change))


@pytest.mark.parametrize("length", [0, 10, 3000, -1])
def test_a_file_that_was_cut_off_is_refused(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model\.keras"):
        tg.from_keras(saved)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tg.from_keras(tmp_path / "none.keras")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.weights.h5"
    sequential(layers.Dense(3)).save_weights(path)
    return path


def to_elsewhere(file: Any, name: str) -> None:
    file[name] = h5py.ExternalLink("/etc/hostname", "/")


def to_a_file_of_bytes(file: Any, name: str) -> None:
    external = [("/etc/hostname", 0, 48)]
    file.create_dataset(name, (4, 3), "f4", external=external)


def to_a_claim(file: Any, name: str) -> None:
    file.create_dataset(name, (10**6, 10**6), "f4", chunks=(1000, 1000))


def to_something_packed(file: Any, name: str) -> None:
    file.create_dataset(name, data=np.zeros((4, 3), "f4"), compression="gzip")


def to_a_link_inside(file: Any, name: str) -> None:
    file[name] = h5py.SoftLink("/layers/dense/vars/1")


def to_words(file: Any, name: str) -> None:
    file.create_dataset(name, data=np.full((4, 3), b"abcd"))


def to_a_group(file: Any, name: str) -> None:
    file.create_group(name)


@pytest.mark.parametrize(
    "turn",
    [
        to_elsewhere,
        to_a_file_of_bytes,
        to_a_claim,
        to_something_packed,
        to_a_link_inside,
        to_words,
        to_a_group,
    ],
)
def test_weights_are_plain_arrays_in_the_file_itself(
    weights: Path, turn: Callable[[Any, str], None]
) -> None:
    with h5py.File(weights, "r+") as file:
        del file["layers/dense/vars/0"]
        turn(file, "layers/dense/vars/0")
    model = nn.Sequential(nn.Linear(4, 3, rng=0))
    before = model.state_dict()
    with pytest.raises(ValueError, match="layers/dense/vars/0"):
        tg.from_keras(weights, into=model)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3)), "shapes"),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), "dense_1"),
        (nn.Sequential(nn.Sigmoid()), "no place for the weights of layers/dense"),
        (nn.Sequential(Twice(4, 3)), "Twice"),
    ],
)
def test_weights_that_do_not_fit_leave_the_model_as_it_was(
    weights: Path, model: nn.Module, message: str
) -> None:
    before = model.state_dict()
    with pytest.raises(ValueError, match=message):
        tg.from_keras(weights, into=model)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# --- other processes ------------------------------------------------------------------------------

THERE_AND_BACK = """
import numpy as np, keras, tinygrad_edu as tg
print(keras.backend.backend())
theirs = keras.Sequential([
    keras.Input((4,)), keras.layers.Dense(5, "sigmoid"), keras.layers.BatchNormalization(),
    keras.layers.Dropout(0.5), keras.layers.Dense(3, "softmax"),
])
x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
expected = theirs.predict(x, verbose=0)
model = tg.from_keras(theirs)
print(np.abs(tg.predict(model, x) - expected).max() < 1e-6)
print(np.abs(tg.to_keras(model).predict(x, verbose=0) - expected).max() < 1e-6)
theirs.save("model.keras")
print(np.abs(tg.predict(tg.from_keras("model.keras"), x) - expected).max() < 1e-6)
"""


def in_a_process(code: str, folder: Path, **environment: str) -> str:
    import os

    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": root} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_other_back_ends(backend: str, tmp_path: Path) -> None:
    needed = "jax" if backend == "numpy" else backend  # Keras' NumPy back end borrows from JAX's
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    told = in_a_process(THERE_AND_BACK, tmp_path, KERAS_BACKEND=backend)
    assert told.split() == [backend, "True", "True", "True"]


def test_a_file_is_read_without_keras(saved: Path) -> None:
    x = np.ones((2, 4), np.float32)
    expected = tg.predict(tg.from_keras(saved), x).tolist()
    code = """
import sys
sys.modules["keras"] = sys.modules["tensorflow"] = None
import numpy as np, tinygrad_edu as tg
print(tg.predict(tg.from_keras("model.keras"), np.ones((2, 4), np.float32)).tolist())
"""
    assert json.loads(in_a_process(code, saved.parent)) == expected


def test_without_the_extra_its_name_is_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match=r"h5py.*tinygrad_edu\[keras\]"):
        tg.from_keras(saved)
    with pytest.raises(ImportError, match=r"keras.*tinygrad_edu\[keras\]"):
        tg.to_keras(nn.Linear(2, 2))
