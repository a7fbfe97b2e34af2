"""Images: Keras has rows, columns, channels, and our layers channels, rows, columns.

A network from Keras takes images as Keras does. Before its first convolution stands
`ChannelsFirst`, and before what looks at axes in another way, such as Flatten, `ChannelsLast`. So
each layer sees its own order, the weights behind a Flatten stay where they are, and the way back to
Keras finds the places where nothing has to be turned round.
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
    """Images as our layers have them, from images as Keras has them.

    Shapes:  (m, h, w, c) → (m, c, h, w)
    Example:
        >>> ChannelsFirst()(np.ones((5, 28, 20, 3))).shape
        (5, 3, 28, 20)
    """

    def forward(self, x: Any) -> Any:
        return ops.transpose(x, (0, 3, 1, 2))


class ChannelsLast(Module):
    """Images as Keras has them, from images as our layers have them.

    Shapes:  (m, c, h, w) → (m, h, w, c)
    Example:
        >>> ChannelsLast()(np.ones((5, 3, 28, 20))).shape
        (5, 28, 20, 3)
    """

    def forward(self, x: Any) -> Any:
        return ops.transpose(x, (0, 2, 3, 1))


OF_IMAGES = (Conv2d, MaxPool2d, AvgPool2d, BatchNorm2d)  # they look for channels in axis 1
ANYWHERE = (Dropout, ReLU, LeakyReLU, Sigmoid, Tanh, SiLU, GELU, Softplus)  # each entry by itself


def arranged(layers: Iterable[tuple[Module, bool]]) -> list[Module]:
    """The layers with what turns images round between them; of each it is told whether Keras has
    the channels last there.

    Example:
        >>> [type(m).__name__ for m in arranged([(MaxPool2d(2), True), (ReLU(), True)])]
        ['ChannelsFirst', 'MaxPool2d', 'ReLU', 'ChannelsLast']
    """
    found: list[Module] = []
    for module in _arranged(layers):
        pair = {type(m) for m in (*found[-1:], module)}
        if pair == {ChannelsFirst, ChannelsLast}:  # to and fro
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
