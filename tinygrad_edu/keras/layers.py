"""The table of Keras' layers: which module and options each becomes.

A layer is built from its Keras description, a dict, and its weights. Every option that is read is
removed from the description. An option that remains is refused by name, unless it is known to have
no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from ..tensor import Tensor
from .images import ChannelsFirst, ChannelsLast

ACTIVATIONS: dict[str, Callable[[], Module] | None] = {
    "gelu": GELU,
    "leaky_relu": lambda: LeakyReLU(0.2),  # the slope of the function; the layer's is 0.3
    "linear": None,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "softmax": Softmax,
    "softplus": Softplus,
    "swish": SiLU,
    "tanh": Tanh,
}
# Keras' layers with weights, and the attributes that hold their arrays here, in Keras' order.
WITH_WEIGHTS: dict[type[Module], tuple[str, tuple[str, ...]]] = {
    Linear: ("Dense", ("weight", "bias")),
    BatchNorm1d: ("BatchNormalization", ("weight", "bias", "running_mean", "running_var")),
    BatchNorm2d: ("BatchNormalization", ("weight", "bias", "running_mean", "running_var")),
    Conv2d: ("Conv2D", ("weight", "bias")),
    LayerNorm: ("LayerNormalization", ("weight", "bias")),
    Embedding: ("Embedding", ("weight",)),
}


TURNED = (3, 2, 0, 1)  # Keras' kernels (rows, columns, in, out) as ours, (out, in, rows, columns)


class Layer:
    """A layer as Keras describes it. Options are removed as they are read; those that remain are
    refused.

    Example:
        >>> config = {"name": "re_lu", "negative_slope": 0.2}
        >>> Layer({"module": "keras.layers", "class_name": "ReLU", "config": config}, []).modules()
        [LeakyReLU(negative_slope=0.2)]
    """

    # Options without effect on what a trained layer computes.
    FREE = ("name", "trainable", "dtype", "seed", "batch_shape", "build_config", "synchronized")

    def __init__(self, description: Mapping[str, Any], weights: list[Array]) -> None:
        self.kind = str(description["class_name"])
        config = description["config"]
        name = config.get("name", "") if isinstance(config, dict) else ""
        self.title = f"{self.kind} {str(name)!r}"
        known = description.get("module") == "keras.layers" and not description.get(
            "registered_name"
        )
        if not known or self.kind not in MAKERS:
            raise ValueError(
                f"{self.title} has no counterpart here; there are {', '.join(MAKERS)}. Write a "
                "Module of your own for it, or take it out of the Keras model"
            )
        self.config: dict[str, Any] = dict(config)
        self.weights = weights
        self.penalties: list[tuple[Tensor, float, float]] = []
        self.input_shape = (description.get("build_config") or {}).get("input_shape")
        dtype = self.config.get("dtype", "float32")
        name = dtype["config"].get("name") if isinstance(dtype, dict) else dtype
        if self.kind != "InputLayer" and name not in ("float32", "float64"):
            self.refuse(f"dtype {name!r}", "float32 and float64 are read")
        self.frozen = self.config.get("trainable") is False
        self.channels_last = True  # for layers that work on images

    def modules(self) -> list[Module]:
        """Return the modules that compute what the layer computes."""
        made = MAKERS[self.kind](self)
        for module in made:
            for attribute in ("weight", "bias"):
                regularizer = self.config.pop(REGULARIZERS.get((self.kind, attribute), ""), None)
                if regularizer is not None:
                    l1, l2 = self._regularizer(regularizer)
                    if (l1 or l2) and not self.frozen:  # Keras does not penalise frozen weights
                        self.penalties.append((getattr(module, attribute), l1, l2))
            if self.frozen:
                for parameter in module.parameters():
                    parameter.requires_grad = False
        for option, value in self.config.items():
            free = option in self.FREE or option.endswith("_initializer")
            if not free and value not in (None, False):
                self.refuse(f"{option}={value!r:.80}", "make the layer without it")
        return made

    def take(self, option: str, default: Any, *accepted: Any) -> Any:
        """Remove an option and return its value, which must be one of those accepted, if any are
        given.
        """
        value = self.config.pop(option, default)
        if accepted and value not in accepted:
            told = " or ".join(map(repr, accepted))
            self.refuse(f"{option}={value!r:.80}", f"here it can be {told}")
        return value

    def number(self, option: str, default: Any, kind: type = float) -> Any:
        """Remove an option and return its value, which must be a number."""
        value = self.take(option, default)
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            self.refuse(f"{option}={value!r:.80}", "here it is a number")
        return value

    def activation(self) -> list[Module]:
        """Return the modules for the option `activation`."""
        name = self.take("activation", "linear") or "linear"
        if not isinstance(name, str) or name not in ACTIVATIONS:
            self.refuse(f"activation={name!r:.80}", f"there are {', '.join(ACTIVATIONS)}")
        make = ACTIVATIONS[name]
        return [] if make is None else [make()]

    def array(self, i: int, shape: tuple[int | None, ...]) -> Array:
        """Return the i-th array of the layer's weights."""
        if i >= len(self.weights):
            raise ValueError(
                f"{self.title} has no weights yet; let the Keras model begin with "
                "keras.Input(shape), or call it once"
            )
        found = self.weights[i]
        fits = len(shape) == found.ndim and all(
            n in (None, m) for n, m in zip(shape, found.shape, strict=True)
        )
        if not fits or found.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"{self.title}: array {i} of its weights is {found.shape} {found.dtype}, expected "
                f"{shape} float32 or float64"
            )
        return found

    def filled(self, module: Module) -> list[Module]:
        """Set all weights of the module to the layer's; return it."""
        _fill(self.title, module, self.weights)
        return [module]

    def _regularizer(self, regularizer: Any) -> tuple[float, float]:
        config = dict(regularizer.get("config", {}))
        l1, l2 = config.pop("l1", 0.0), config.pop("l2", 0.0)
        known = regularizer.get("module") == "keras.regularizers"
        if not known or regularizer.get("class_name") not in ("L1", "L2", "L1L2") or config:
            self.refuse(
                f"regularizer {regularizer.get('class_name')!r}", "L1, L2 and L1L2 are read"
            )
        return float(l1 or 0.0), float(l2 or 0.0)

    def refuse(self, what: str, way_out: str) -> None:
        """Raise ValueError: an option of this layer has no counterpart."""
        raise ValueError(f"{self.title}: {what} has no counterpart here; {way_out}")


def _dense(layer: Layer) -> list[Module]:
    units = layer.number("units", None, int)
    bias = layer.take("use_bias", True, True, False)
    kernel = layer.array(0, (None, units))
    made = Linear(*kernel.shape, bias=bias, init=lambda *_: kernel, dtype=kernel.dtype)
    return layer.filled(made) + layer.activation()


def _conv2d(layer: Layer) -> list[Module]:
    _channels(layer)
    filters, size = layer.number("filters", None, int), _pair(layer, "kernel_size")
    bias = layer.take("use_bias", True, True, False)
    if (dilation := _pair(layer, "dilation_rate")) != 1:
        layer.refuse(f"dilation_rate={dilation}", "here it is 1")
    if (groups := layer.number("groups", 1, int)) != 1:
        layer.refuse(f"groups={groups}", "here it is 1")
    kernel = layer.array(0, (*(size if isinstance(size, tuple) else (size, size)), None, filters))
    stride = _pair(layer, "strides")
    padding = layer.take("padding", "valid", "valid", "same")
    if padding == "same" and stride != 1:
        layer.refuse(f"padding='same' with strides={stride}", "here it has strides of 1")
    made = Conv2d(
        kernel.shape[2],
        filters,
        size,
        stride,
        0 if padding == "valid" else "same",
        bias=bias,
        init=lambda *_: np.transpose(kernel, TURNED),
        dtype=kernel.dtype,
    )
    return layer.filled(made) + layer.activation()


def _pooling(kind: type[MaxPool2d] | type[AvgPool2d]) -> Callable[[Layer], list[Module]]:
    def make(layer: Layer) -> list[Module]:
        _channels(layer)
        layer.take("padding", "valid", "valid")
        size = _pair(layer, "pool_size")
        return [kind(size, _pair(layer, "strides", size))]

    return make


def _channels(layer: Layer) -> None:
    """Set whether the layer has the channels last."""
    found = layer.take("data_format", "channels_last", "channels_last", "channels_first")
    layer.channels_last = found == "channels_last"


def _pair(layer: Layer, option: str, default: Any = None) -> int | tuple[int, int]:
    """Return the numbers for rows and columns, or one number if they are equal."""
    found = layer.take(option, default) or default or (1, 1)
    pair = (found, found) if isinstance(found, int) else tuple(found)
    if len(pair) != 2 or not all(type(n) is int for n in pair):
        layer.refuse(f"{option}={found!r:.80}", "here it is two numbers")
    return pair[0] if pair[0] == pair[1] else (pair[0], pair[1])


def _permute(layer: Layer) -> list[Module]:
    order = tuple(layer.take("dims", None))
    for kind, known in ((ChannelsFirst, (3, 1, 2)), (ChannelsLast, (2, 3, 1))):
        if order == known:
            return [kind()]
    layer.refuse(f"dims={order}", "here it is (3, 1, 2) or (2, 3, 1), of images")
    return []


def _flatten(layer: Layer) -> list[Module]:
    layer.take("data_format", None, None, "channels_last")
    return [Flatten()]


def _reshape(layer: Layer) -> list[Module]:
    shape = layer.take("target_shape", None)
    if len(shape) != 1:
        layer.refuse(f"target_shape={shape}", "only rows (-1,) are made; reshape the data instead")
    return [Flatten()]


def _dropout(layer: Layer) -> list[Module]:
    return [Dropout(layer.number("rate", None))]


def _relu(layer: Layer) -> list[Module]:
    layer.take("max_value", None, None)
    layer.take("threshold", 0.0, 0.0, None)
    slope = layer.number("negative_slope", 0.0)
    return [LeakyReLU(slope) if slope else ReLU()]


def _leaky_relu(layer: Layer) -> list[Module]:
    return [LeakyReLU(layer.number("negative_slope", 0.3))]


def _softmax(layer: Layer) -> list[Module]:
    return [Softmax(layer.number("axis", -1, int))]


def _embedding(layer: Layer) -> list[Module]:
    shape = layer.number("input_dim", None, int), layer.number("output_dim", None, int)
    table = layer.array(0, shape)
    return layer.filled(Embedding(*shape, init=lambda *_: table, dtype=table.dtype))


def _batch_normalization(layer: Layer) -> list[Module]:
    if layer.frozen:
        layer.refuse("trainable=False", "Keras then uses the running values in training too")
    rank, axis = len(layer.input_shape or ()), layer.take("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if rank not in (2, 4) or axis not in (-1, 1, rank - 1):
        layer.refuse(
            f"an input of {rank} axes with axis={axis}",
            "here it takes (m, n), or images by channel",
        )
    layer.channels_last = axis != 1
    scale, center = layer.take("scale", True, True, False), layer.take("center", True, True, False)
    if scale != center:
        layer.refuse(f"scale={scale} with center={center}", "here it has both or neither")
    layer.take("renorm_momentum", None)  # no effect without renorm
    n = len(layer.array(0, (None,)))
    momentum, eps = round(1 - layer.number("momentum", 0.99), 12), layer.number("epsilon", 1e-3)
    kind = BatchNorm1d if rank == 2 else BatchNorm2d
    return layer.filled(kind(n, eps, momentum, affine=scale, dtype=layer.weights[0].dtype))


def _layer_normalization(layer: Layer) -> list[Module]:
    axis = layer.take("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    rank = len(layer.input_shape or ())
    count = len(axes)
    if [a - rank if a > 0 else a for a in axes] != list(range(-count, 0)):
        layer.refuse(f"axis={axis}", "here the last axes are normalised")
    scale, center = layer.take("scale", True, True, False), layer.take("center", True, True, False)
    if center and not scale:
        layer.refuse("center=True without scale", "here the bias comes with a weight")
    if scale:
        array = layer.array(0, (None,) * count)
        shape, dtype = array.shape, array.dtype
    else:
        shape, dtype = tuple((layer.input_shape or ())[-count:]), np.dtype(np.float32)
    eps = layer.number("epsilon", 1e-3)
    return layer.filled(LayerNorm(shape, eps, scale, center, dtype=dtype))


MAKERS: dict[str, Callable[[Layer], list[Module]]] = {
    "InputLayer": lambda layer: [],
    "Dense": _dense,
    "Activation": Layer.activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "Softmax": _softmax,
    "Conv2D": _conv2d,
    "MaxPooling2D": _pooling(MaxPool2d),
    "AveragePooling2D": _pooling(AvgPool2d),
    "Permute": _permute,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
}
REGULARIZERS = {
    ("Dense", "weight"): "kernel_regularizer",
    ("Dense", "bias"): "bias_regularizer",
    ("Conv2D", "weight"): "kernel_regularizer",
    ("Conv2D", "bias"): "bias_regularizer",
    ("BatchNormalization", "weight"): "gamma_regularizer",
    ("BatchNormalization", "bias"): "beta_regularizer",
    ("LayerNormalization", "weight"): "gamma_regularizer",
    ("LayerNormalization", "bias"): "beta_regularizer",
    ("Embedding", "weight"): "embeddings_regularizer",
}


def tensors(module: Module) -> list[Tensor]:
    """Return the tensors of a module that are weights in Keras, in Keras' order.

    Example:
        >>> [tensor.shape for tensor in tensors(Linear(3, 2, rng=0))]
        [(3, 2), (2,)]
    """
    _, names = WITH_WEIGHTS.get(type(module), ("", ()))
    return [tensor for name in names if (tensor := getattr(module, name)) is not None]


def beside(title: str, module: Module, arrays: Sequence[Array]) -> list[tuple[Tensor, Array]]:
    """Return pairs of a module's tensors and the arrays from Keras. Raise ValueError if the shapes
    differ.

    Example:
        >>> beside("dense", Linear(3, 2, rng=0), [np.ones((2, 3))])
        Traceback (most recent call last):
        ValueError: dense: the weights have the shapes [(2, 3)], expected [(3, 2), (2,)]
    """
    own = tensors(module)
    if isinstance(module, Conv2d):
        arrays = [np.transpose(a, TURNED) if a.ndim == 4 else a for a in arrays]
    expected, found = [t.shape for t in own], [a.shape for a in arrays]
    if expected != found:
        raise ValueError(f"{title}: the weights have the shapes {found}, expected {expected}")
    return list(zip(own, arrays, strict=True))


def _fill(title: str, module: Module, arrays: Sequence[Array]) -> None:
    for tensor, array in beside(title, module, arrays):
        tensor.data = array.astype(tensor.dtype)
