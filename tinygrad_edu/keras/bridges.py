"""`from_keras` and `to_keras`: convert chains of the layers that both libraries have.

A Keras model describes itself in JSON, layer by layer, in memory as in a `.keras` file.
`from_keras` builds each layer from that description by a table of known kinds and settings, then
copies the weights. Anything that is not in the table is refused by name. So no code from a file is
run or imported, Keras is not needed to read one (h5py is enough), and the model may have been
trained on any back end.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..nn import (
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from ..tensor import Tensor
from .files import EXTRA, Weights, opened
from .images import ANYWHERE, OF_IMAGES, ChannelsFirst, ChannelsLast, arranged
from .layers import TURNED, WITH_WEIGHTS, Layer, beside, tensors
from .settings import fit_arguments

__all__ = ["from_keras", "to_keras"]

LARGEST_CONFIG = 2**24  # bytes of the JSON in a .keras file


# --- from Keras -----------------------------------------------------------------------------------


def from_keras(source: Any, *, into: Module | None = None, settings: bool = False) -> Any:
    """Return a `Sequential` that computes what a Keras model computes, with a copy of its weights.

    `source` is a built `keras.Sequential` of any back end, or the path of a `.keras` file. A
    `.weights.h5` file does not describe its layers: pass the model that receives its weights as
    `into`. Layers: Dense, Conv2D, MaxPooling2D, AveragePooling2D, Activation, ReLU, LeakyReLU,
    Softmax, Flatten, Dropout, Embedding, BatchNormalization, LayerNormalization, and nested
    Sequential models, which are flattened. Images keep Keras' order, (m, h, w, c): the network
    moves the channels before its first convolution.

    The model ends as in Keras, with the softmax or sigmoid that gives probabilities, and
    `tg.fit(model, x, y, loss="categorical_crossentropy", …)` takes those as Keras does. With
    `settings=True` the result is (model, settings). `tg.fit(model, x, y, **settings)` continues the
    training of the compiled model step for step: with its loss, metrics, SGD or Adam optimizer and
    its state, and a penalty for kernel_regularizer and bias_regularizer.

    With a loss of logits, "accuracy" compares a single output with 0, Keras with ½.
    BatchNormalization moves its running variance towards the variance of the batch, ours towards
    m/(m − 1) times it, as PyTorch does: further training gives the same weights but other running
    variances.

    Raises:  ValueError, naming the layer and the option, for what has no counterpart here; for a
             file that is damaged, or whose weights do not fit; ImportError for a file without h5py
             (`pip install 'tinygrad_edu[keras]'`)
    Source:  keras.saving; the files are those of Keras 3
    Example:
        model = tg.from_keras("fashion.keras")
        probabilities = tg.predict(model, x)

        >>> from_keras("fashion.h5")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: from_keras reads .keras and .weights.h5 files, received fashion.h5; ...
    """
    if into is not None and not str(source).endswith(".weights.h5"):
        raise ValueError(f"into= is for .weights.h5 files, received {source!r:.80}")
    if not isinstance(source, (str, os.PathLike)):
        config, weights = _described(source)
        return _built(config, weights, settings, state=_optimizer_state(source))
    path = Path(source)
    if path.name.endswith(".weights.h5"):
        if into is None or settings:
            raise ValueError(
                f"{path.name} has weights only: give the model that they belong to, "
                "from_keras(path, into=model)"
            )
        with _file(path), opened(path) as file:
            return _filled(into, file)
    if path.suffix != ".keras":
        raise ValueError(
            f"from_keras reads .keras and .weights.h5 files, received {path.name}; in Keras, "
            "model.save('name.keras') writes one"
        )
    with _file(path), zipfile.ZipFile(path) as archive:
        info = archive.getinfo("config.json")
        if info.file_size > LARGEST_CONFIG:
            raise ValueError(f"config.json has {info.file_size} bytes, more than any model needs")
        config = json.loads(archive.read(info))
        if archive.getinfo("model.weights.h5").compress_type != zipfile.ZIP_STORED:
            raise ValueError("its weights are compressed, which those that Keras saves are not")
        with opened(io.BytesIO(archive.read("model.weights.h5"))) as file:
            places = dict(_places(config))
            arrays = {id(layer): file.take(place) for place, layer in places.items()}
            state = file.take("optimizer")
            return _built(config, lambda layer: arrays[id(layer)], settings, state=state)


@contextmanager
def _file(path: Path) -> Iterator[None]:
    """Raise errors inside of the block with the name of the file that could not be read."""
    try:
        yield
    except (FileNotFoundError, ImportError):
        raise
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (
        OSError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(f"{path} is damaged, or no file that Keras has saved: {error}") from error


def _described(keras_model: Any) -> tuple[dict[str, Any], Callable[[dict[str, Any]], list[Array]]]:
    """Return the description of a model in memory, and the weights of each layer in it."""
    if not hasattr(keras_model, "to_json") or not hasattr(keras_model, "layers"):
        raise ValueError(
            f"from_keras takes a keras.Sequential or a path, received {type(keras_model).__name__}"
        )
    config = json.loads(keras_model.to_json())
    described = [layer for _, layer in _places(config) if layer["class_name"] != "InputLayer"]
    arrays = {
        id(layer): [np.asarray(array) for array in live.get_weights()]
        for layer, live in zip(described, _layers(keras_model), strict=True)
    }
    return config, lambda layer: arrays.get(id(layer), [])


def _layers(keras_model: Any) -> Iterator[Any]:
    for layer in keras_model.layers:
        if type(layer).__name__ == "Sequential":
            yield from _layers(layer)
        else:
            yield layer


def _optimizer_state(keras_model: Any) -> list[Array]:
    """Return the state arrays of the optimizer, in the order of the file."""
    optimizer = getattr(keras_model, "optimizer", None)
    return [np.asarray(v) for v in getattr(optimizer, "variables", ())]


def _places(config: Any, prefix: str = "layers") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each layer of a description with the path of its weights in a file."""
    if not isinstance(config, dict) or config.get("class_name") != "Sequential":
        found = config.get("class_name") if isinstance(config, dict) else config
        raise ValueError(
            f"the model is {found!s:.40}, and only a Sequential is read; make the network as a "
            "module here and copy its weights: linear.weight.data = dense.get_weights()[0]"
        )
    if config.get("module") not in ("keras", "keras.models") or config.get("registered_name"):
        raise ValueError(
            f"the model is a class of its own ({config.get('registered_name')}), which may compute "
            "anything; make it a plain keras.Sequential of the same layers"
        )
    names: Counter[str] = Counter()
    for layer in config["config"]["layers"]:
        kind = layer["class_name"]
        place = f"{prefix}/{_numbered(names, kind)}"
        if kind == "Sequential":
            yield from _places(layer, f"{place}/layers")
        else:
            yield place, layer


def _numbered(names: Counter[str], kind: str) -> str:
    """Return the name in a file of the next layer of a kind: dense, dense_1, …, leaky_re_lu."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
    name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
    names[name] += 1
    return name if names[name] == 1 else f"{name}_{names[name] - 1}"


def _built(
    config: dict[str, Any],
    weights: Callable[[dict[str, Any]], list[Array]],
    settings: bool,
    state: Sequence[Array],
) -> Any:
    modules: list[tuple[Module, bool]] = []
    penalties: list[tuple[Tensor, float, float]] = []
    for _, description in _places(config):
        layer = Layer(description, weights(description))
        made = layer.modules()
        if layer.penalties and not settings:
            raise ValueError(
                f"{layer.title} has a regularizer, which is no part of the network here: take it "
                "along with `model, settings = from_keras(…, settings=True)` and "
                "`fit(model, x, y, **settings)`"
            )
        penalties += layer.penalties
        modules += [(module, layer.channels_last) for module in made]
    model: Any = Sequential(*arranged(modules))
    if (shape := _given_shape(config)) is not None:
        model.keras_shape = shape  # read by to_keras
    return (model, fit_arguments(config, model, penalties, state)) if settings else model


def _given_shape(config: dict[str, Any]) -> tuple[int | None, ...] | None:
    """Return the shape of one sample, if the description has it."""
    shape = (config.get("build_config") or {}).get("input_shape")
    return None if not isinstance(shape, (list, tuple)) else tuple(shape[1:])


def _filled(model: Module, file: Weights) -> Module:
    """Load the weights of a .weights.h5 file into the model, all of them or none; return it."""
    values: list[tuple[Tensor, Array]] = []
    modules = model if isinstance(model, Sequential) else [model]
    _check_order(model, file)
    _collect(modules, "layers", file, values)
    if left := file.left():
        raise ValueError(f"the model has no place for the weights of {', '.join(left)}")
    for tensor, array in values:
        tensor.data = array.astype(tensor.dtype)
    return model


def _check_order(model: Module, file: Weights) -> None:
    """Refuse a model that flattens images in another axis order than the model of the file: the
    weights after the Flatten would have the same shape but belong to other entries.
    """
    if hasattr(model, "keras_shape"):  # made by from_keras
        return
    layers = list(_opened_up(model))
    turns = sum(isinstance(module, (ChannelsFirst, ChannelsLast)) for module in _turned(layers))
    if file.count("permute") == turns:  # a file of a model that to_keras built
        return
    images = False
    for module in layers:
        if isinstance(module, (*OF_IMAGES, ChannelsFirst, ChannelsLast)):
            images = not isinstance(module, ChannelsLast)
        elif images and isinstance(module, Flatten):
            raise ValueError(
                "Keras flattens images as (h, w, c), this model as (c, h, w): the weights behind "
                "its Flatten would be in another order; make the model with from_keras(...) of a "
                ".keras file"
            )


def _collect(modules: Any, prefix: str, file: Weights, values: list[tuple[Tensor, Array]]) -> None:
    names: Counter[str] = Counter()
    for module in modules:
        if isinstance(module, Sequential):
            _collect(module, f"{prefix}/{_numbered(names, 'Sequential')}/layers", file, values)
        elif type(module) in WITH_WEIGHTS:
            place = f"{prefix}/{_numbered(names, WITH_WEIGHTS[type(module)][0])}"
            values += beside(place, module, file.take(place))
        elif next(module.parameters(), None) is not None:
            raise ValueError(f"{type(module).__name__} is no layer that Keras has")


# --- to Keras -------------------------------------------------------------------------------------


def to_keras(model: Module, *, input_shape: Sequence[int | None] | None = None) -> Any:
    """Return a `keras.Sequential` that computes what a model computes, with a copy of its weights.

    The model is a `Sequential` of Linear, Conv2d, MaxPool2d, AvgPool2d, the activations, Flatten,
    Dropout, Embedding, BatchNorm1d, BatchNorm2d and LayerNorm. `input_shape` is the shape of one
    sample; it is not needed if the model begins with a layer that determines it, or came from
    Keras. An activation after a Linear or Conv2d becomes a part of it. Images have the order
    (m, c, h, w) as here, unless the model came from Keras: a Permute layer moves the channels.

    Raises:  ValueError, naming the module, for what has no counterpart in Keras, or if the input
             shape is not known; ImportError without Keras (`pip install 'tinygrad_edu[keras]'`)
    Source:  keras.Sequential
    Example:
        tg.to_keras(model).save("fashion.keras")

        >>> to_keras(Sequential(Flatten(), Linear(784, 10)))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: the model begins with Flatten, which takes any shape; ...
    """
    modules = list(_opened_up(model))
    dtype = _common_dtype(modules)
    if input_shape is None:
        input_shape = getattr(model, "keras_shape", None) or _input_shape(modules)
    try:
        import keras
    except ModuleNotFoundError as error:
        raise ImportError(EXTRA.format("keras")) from error
    dtype = dtype or keras.config.floatx()
    indices = isinstance(modules[0], Embedding) if modules else False
    layers = [keras.Input(tuple(input_shape), dtype="int64" if indices else dtype)]
    given: list[tuple[Any, Module]] = []
    for module, activation in _with_activations(_turned(modules)):
        layer = _keras_layer(keras.layers, module, activation, dtype)
        trained = {parameter.requires_grad for parameter in module.parameters()}
        if len(trained) > 1:
            raise ValueError(f"{module!r} is frozen in part, which a Keras layer cannot be")
        layer.trainable = trained != {False}
        given.append((layer, module))
    twin = keras.Sequential([*layers, *(layer for layer, _ in given)])
    for layer, module in given:
        if arrays := [np.asarray(tensor.data) for tensor in tensors(module)]:
            if type(module) is Conv2d:
                arrays[0] = np.transpose(arrays[0], np.argsort(TURNED))
            layer.set_weights(arrays)
    return twin


def _common_dtype(modules: list[Module]) -> str | None:
    """Return the dtype of all parameters and buffers, None without any.

    Raises:  ValueError for several dtypes, or a parameter that several layers share
    """
    all_tensors = [tensor for module in modules for tensor in tensors(module)]
    if len({id(tensor) for tensor in all_tensors}) < len(all_tensors):
        raise ValueError("two layers share a parameter, which a keras.Sequential cannot have")
    dtypes = {str(tensor.dtype) for tensor in all_tensors}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise ValueError(
            f"all layers of Keras need one dtype, float32 or float64, received {sorted(dtypes)}"
        )
    return next(iter(dtypes), None)


def _turned(modules: Iterable[Module]) -> Iterator[Module]:
    """Yield the layers for Keras, whose images have the channels last, with layers that move the
    channels only where both orders meet.
    """
    last = False  # True where Keras' data have the channels last and ours in axis 1
    for module in modules:
        if isinstance(module, ChannelsFirst) and not last:
            last = True  # ours are moved here, Keras' are not
        elif isinstance(module, ChannelsLast) and last:
            last = False
        else:
            if last != isinstance(module, OF_IMAGES) and not isinstance(module, ANYWHERE):
                yield ChannelsFirst() if last else ChannelsLast()
                last = not last
            yield module
    if last:
        yield ChannelsFirst()


def _opened_up(model: Module) -> Iterator[Module]:
    """Yield the layers in order, those of nested Sequential modules too."""
    if type(model) is not Sequential:
        yield model
        return
    for module in model:
        yield from _opened_up(module)


def _input_shape(modules: list[Module]) -> tuple[int | None, ...]:
    match modules:
        case [Linear() as first, *_]:
            return (first.n_in,)
        case [BatchNorm1d() as first, *_]:
            return (first.num_features,)
        case [LayerNorm() as first, *_]:
            return first.normalized_shape
        case [Embedding(), *_]:
            return (None,)
        case _:
            first_name = type(modules[0]).__name__ if modules else "nothing"
            raise ValueError(
                f"the model begins with {first_name}, which takes any shape; Keras needs to know "
                "it: to_keras(model, input_shape=(28, 28))"
            )


def _activation(module: Module) -> str | None:
    """Return Keras' name of an activation; None for other modules, or settings that Keras lacks."""
    names = {Sigmoid: "sigmoid", Tanh: "tanh", ReLU: "relu", SiLU: "silu"}
    match module:
        case Softmax(axis=-1):
            return "softmax"
        case GELU(approximate="none"):
            return "gelu"
        case Softplus(beta=1):
            return "softplus"
        case _:
            return names.get(type(module))


def _with_activations(layers: Iterable[Module]) -> Iterator[tuple[Module, str | None]]:
    """Yield each layer with the activation that Keras merges into it, or that it is itself."""
    modules, i = list(layers), 0
    while i < len(modules):
        module, name = modules[i], _activation(modules[i])
        if type(module) in (Linear, Conv2d) and i + 1 < len(modules):
            name = _activation(modules[i + 1])
            i += name is not None
        yield module, name
        i += 1


def _permute(layers: Any, module: Any, dtype: str) -> Any:
    order = (3, 1, 2) if isinstance(module, ChannelsFirst) else (2, 3, 1)
    return layers.Permute(order, dtype=dtype)


def _dense(layers: Any, module: Any, activation: str | None, dtype: str) -> Any:
    bias = module.bias is not None
    return layers.Dense(module.n_out, activation, use_bias=bias, dtype=dtype)


def _convolution(layers: Any, module: Any, activation: str | None, dtype: str) -> Any:
    if module.padding not in (0, (0, 0), "same"):
        return None
    return layers.Conv2D(
        module.out_channels,
        module.kernel_size,
        module.stride,
        "same" if module.padding == "same" else "valid",
        data_format="channels_last",
        activation=activation,
        use_bias=module.bias is not None,
        dtype=dtype,
    )


def _pooling(layers: Any, module: Any, dtype: str) -> Any:
    if module.padding not in (0, (0, 0)):
        return None
    pool = layers.AveragePooling2D if type(module) is AvgPool2d else layers.MaxPooling2D
    return pool(module.kernel_size, module.stride, data_format="channels_last", dtype=dtype)


def _flatten(layers: Any, module: Any, dtype: str) -> Any:
    whole = (module.start_dim, module.end_dim) == (1, -1)
    return layers.Flatten(dtype=dtype) if whole else None


def _batch_normalization(layers: Any, module: Any, dtype: str) -> Any:
    if module.momentum is None or module.running_mean is None:
        return None
    affine = module.weight is not None
    return layers.BatchNormalization(
        momentum=round(1 - module.momentum, 12),
        epsilon=module.eps,
        center=affine,
        scale=affine,
        dtype=dtype,
    )


def _layer_normalization(layers: Any, module: Any, dtype: str) -> Any:
    return layers.LayerNormalization(
        list(range(-len(module.normalized_shape), 0)),
        module.eps,
        center=module.bias is not None,
        scale=module.weight is not None,
        dtype=dtype,
    )


# How each layer is built in Keras: from keras.layers, the module, the activation that becomes a
# part of it, and the dtype. A builder returns None for settings that Keras does not have.
_WITH_ACTIVATION: dict[type[Module], Callable[[Any, Any, str | None, str], Any]] = {
    Linear: _dense,
    Conv2d: _convolution,
}
_OTHERS: dict[type[Module], Callable[[Any, Any, str], Any]] = {
    ChannelsFirst: _permute,
    ChannelsLast: _permute,
    MaxPool2d: _pooling,
    AvgPool2d: _pooling,
    LeakyReLU: lambda layers, m, dtype: layers.LeakyReLU(m.negative_slope, dtype=dtype),
    Softmax: lambda layers, m, dtype: layers.Softmax(m.axis, dtype=dtype),
    Flatten: _flatten,
    Dropout: lambda layers, m, dtype: layers.Dropout(m.p, dtype=dtype),
    Embedding: lambda layers, m, dtype: layers.Embedding(
        m.num_embeddings, m.embedding_dim, dtype=dtype
    ),
    BatchNorm1d: _batch_normalization,
    BatchNorm2d: _batch_normalization,
    LayerNorm: _layer_normalization,
}


def _keras_layer(layers: Any, module: Module, activation: str | None, dtype: str) -> Any:
    """Return the Keras layer that computes what a module does, followed by the activation.

    Raises:  ValueError if Keras has no such layer
    """
    kind, layer = type(module), None
    if kind in _WITH_ACTIVATION:
        layer = _WITH_ACTIVATION[kind](layers, module, activation, dtype)
    elif activation is not None:
        layer = layers.Activation(activation, dtype=dtype)
    elif kind in _OTHERS:
        layer = _OTHERS[kind](layers, module, dtype)
    if layer is None:
        raise ValueError(
            f"{module!r} has no counterpart in Keras; supported are Linear, Conv2d, MaxPool2d, "
            "AvgPool2d, Sigmoid, Tanh, ReLU, LeakyReLU, SiLU, GELU, Softplus, Softmax, Flatten, "
            "Dropout, Embedding, BatchNorm1d, BatchNorm2d and LayerNorm with settings that Keras "
            "has, one after the other in a Sequential"
        )
    return layer
