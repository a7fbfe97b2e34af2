"""`Samples`: inputs, targets and weights as arrays of one length, checked before a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np

from ..arrays import Array, as_array
from ..data import Pixels, minibatches
from ..engine import Box
from ..nn import Module


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs x, targets y and optional weights; row i of each belongs to sample i.

    Example:
        >>> samples = Samples.of((np.zeros((4, 2)), [0, 1, 0, 1]))
        >>> len(samples), [len(part) for part in samples.split(0.25)]
        (4, [3, 1])
    """

    x: Any  # an array, or Pixels
    y: Array
    weights: Array | None = None

    @classmethod
    def of(cls, data: Any, prefix: str = "") -> Samples:
        """Return the samples in (x, y) or (x, y, sample_weight).

        prefix   put before the names in error messages
        Raises:  ValueError for parts of different lengths or without samples, TypeError for data
                 that are no arrays
        """
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(
                f"{prefix}data must be (x, y) or (x, y, sample_weight), received "
                f"{type(data).__name__}"
            )
        names = [f"{prefix}{name}" for name in ("x", "y", "sample_weight")]
        given = list(data) if len(data) == 2 or data[2] is not None else data[:2]
        arrays = [as_rows(part, name) for part, name in zip(given, names, strict=False)]
        for array, name in zip(arrays[1:], names[1:], strict=False):
            if len(array) != len(arrays[0]):
                raise ValueError(
                    f"{names[0]} has {len(arrays[0])} samples and {name} {len(array)}: "
                    f"{arrays[0].shape} and {array.shape}"
                )
        if len(arrays) == 3 and arrays[2].ndim > 1:
            raise ValueError(f"{names[2]} must be (m,), received {arrays[2].shape}")
        return cls(*arrays)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """x and y, and the weights if there are any."""
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    def split(self, share: float) -> tuple[Samples, Samples]:
        """Return the samples without the last share of them, and that share, as Keras cuts them.

        Raises:  ValueError if nothing is left on one side
        """
        if not 0 < share < 1:
            raise ValueError(f"validation_split must be between 0 and 1, received {share!r}")
        m = len(self)
        at = floor(m * (1.0 - share))
        if at in (0, m):
            raise ValueError(
                f"validation_split={share!r} of {m} samples leaves {at} to train on and {m - at} "
                "to validate"
            )
        return self._between(0, at), self._between(at, m)

    def _between(self, start: int, stop: int) -> Samples:
        parts: list[Any] = [
            part.between(start, stop) if isinstance(part, Pixels) else part[start:stop]
            for part in self.arrays
        ]
        return Samples(*parts)

    def with_class_weights(self, factors: Mapping[int, float]) -> Samples:
        """Return the samples with the weight of each sample's class; 1 for a class without one.

        Raises:  ValueError together with weights of samples, and for a class that is not in y
        """
        if self.weights is not None:
            raise ValueError("give sample_weight or class_weight, not both")
        if not isinstance(factors, Mapping):
            raise TypeError(f"class_weight is a dict {{class: factor}}, received {factors!r:.60}")
        y = self.y
        one_hot = y.ndim == 2 and y.shape[1] > 1
        classes = y.argmax(axis=1) if one_hot else y.reshape(len(y), -1)[:, 0]
        if unknown := sorted(set(factors) - set(classes.tolist())):
            raise ValueError(f"class_weight has weights for {unknown}, which are no classes of y")
        weights = np.ones(len(self))
        for kind, factor in factors.items():
            weights[classes == kind] = factor
        return Samples(self.x, y, weights)

    def for_model(self, model: Module) -> Samples:
        """Return the samples with images of bytes as numbers of the model's dtype."""
        return Samples(converted(self.x, dtype_of(model)), *self.arrays[1:])

    def batches(self, dtype: Any, batch_size: int, **settings: Any) -> Iterator[Any]:
        """Yield (x, y) or (x, y, weights) batch by batch, x in the model's dtype (see `dtype_of`);
        the settings are those of `tg.data.minibatches`.
        """
        for x, *rest in minibatches(*self.arrays, batch_size=batch_size, **settings):
            yield as_input(x, dtype), *rest


def as_rows(data: Any, name: str) -> Any:
    """Return the data as an array of at least one row; an array is not copied.

    Raises:  TypeError and ValueError, with the name of the argument
    """
    if isinstance(data, Pixels) and len(data):
        return data
    if isinstance(data, (dict, set, Iterator)) or (data is None):
        raise TypeError(
            f"{name} must be one array with a row for each sample, received "
            f"{type(data).__name__}; for anything else write the loop with minibatches"
        )
    try:
        array = data.value if isinstance(data, Box) else as_array(data)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name}: {error}; of labels that are text np.unique(labels, return_inverse=True)[1] "
            "are the class indices"
        ) from error
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"{name} must have at least one sample, received shape {array.shape}")
    return array


def dtype_of(model: Module) -> Any:
    """Return the dtype of the model's first parameter; None without parameters."""
    return next((p.value.dtype for p in model.parameters()), None)


def converted(x: Any, dtype: Any) -> Any:
    """Return images of bytes as `Pixels` of that dtype, anything else as it is."""
    return x.astype(dtype) if isinstance(x, Pixels) and dtype is not None else x


def as_input(x: Array, dtype: Any) -> Array:
    """Return a batch in the model's dtype; integers of 32 and 64 bits, which may be indices, as
    they are."""
    return x if is_input(x, dtype) else x.astype(dtype)


def is_input(x: Any, dtype: Any) -> bool:
    """Return True if batches of x can be passed to the model without conversion."""
    if dtype is None or x.dtype == dtype:
        return isinstance(x, np.ndarray)
    return x.dtype.kind in "iu" and x.itemsize > 2
