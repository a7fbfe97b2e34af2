"""The order of axes of images: rows, columns, channels in Keras; channels, rows, columns here.

A network from Keras takes images in Keras' order. `ChannelsFirst` is inserted before its first
convolution, and `ChannelsLast` before layers that depend on the order of all axes, such as Flatten.
So each layer has its own order, the weights after a Flatten need not be permuted, and `to_keras`
can remove these modules again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .. import ops
from ..nn import (
    GELU,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    LeakyReLU,
    MaxPool2d,
    Module,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)


class ChannelsFirst(Module):
    """Move the channels of images from the last axis, where Keras has them, to axis 1.

    Shapes:  (m, h, w, c) → (m, c, h, w)
    Example:
        >>> ChannelsFirst()(np.ones((5, 28, 20, 3))).shape
        (5, 3, 28, 20)
    """

    def forward(self, x: Any) -> Any:
        return ops.transpose(x, (0, 3, 1, 2))


class ChannelsLast(Module):
    """Move the channels of images from axis 1 to the last axis, where Keras has them.

    Shapes:  (m, c, h, w) → (m, h, w, c)
    Example:
        >>> ChannelsLast()(np.ones((5, 3, 28, 20))).shape
        (5, 28, 20, 3)
    """

    def forward(self, x: Any) -> Any:
        return ops.transpose(x, (0, 2, 3, 1))


OF_IMAGES = (Conv2d, MaxPool2d, AvgPool2d, BatchNorm2d)  # they expect the channels in axis 1
ANYWHERE = (Dropout, ReLU, LeakyReLU, Sigmoid, Tanh, SiLU, GELU, Softplus)  # entry-wise: any order


def arranged(layers: Iterable[tuple[Module, bool]]) -> list[Module]:
    """Return the layers with the modules that move channels between them; each layer comes with a
    flag that says if Keras has the channels last there.

    Example:
        >>> [type(m).__name__ for m in arranged([(MaxPool2d(2), True), (ReLU(), True)])]
        ['ChannelsFirst', 'MaxPool2d', 'ReLU', 'ChannelsLast']
    """
    found: list[Module] = []
    for module in _arranged(layers):
        pair = {type(m) for m in (*found[-1:], module)}
        if pair == {ChannelsFirst, ChannelsLast}:  # there and back
            found.pop()
        else:
            found.append(module)
    return found


def _arranged(layers: Iterable[tuple[Module, bool]]) -> Iterator[Module]:
    turned = False
    for module, last in layers:
        wanted = last and isinstance(module, OF_IMAGES)
        if turned != wanted and not isinstance(module, ANYWHERE):
            yield ChannelsFirst() if wanted else ChannelsLast()
            turned = wanted
        yield module
    if turned:
        yield ChannelsLast()
