"""The weights in an HDF5 file that Keras saved, read by h5py. No code in a file is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import Array

EXTRA = "{} is needed here and not installed: pip install 'tinygrad_edu[keras]'"


@contextmanager
def opened(source: Any) -> Iterator[Weights]:
    """Open the weights in a file or file-like object, until the block ends.

    Raises:  ImportError without h5py, OSError for what is no HDF5 file
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ImportError(EXTRA.format("h5py")) from error
    with h5py.File(source, "r") as file:
        yield Weights(file)


class Weights:
    """The arrays of a file. Only datasets stored in the file itself are read: HDF5 can also refer
    to other files, and declare an array far larger than the file.
    """

    def __init__(self, file: Any) -> None:
        self.file = file
        self.taken: set[str] = set()

    def take(self, place: str) -> list[Array]:
        """Return the arrays of a layer, in order."""
        self.taken.add(place)
        group = self._at(f"{place}/vars")
        return (
            [] if group is None else [self._array(f"{place}/vars/{i}") for i in range(len(group))]
        )

    def left(self) -> list[str]:
        """Return the paths of arrays that were not taken."""
        places: list[str] = []

        def look(name: str, item: Any) -> None:
            place, _, last = name.rpartition("/vars/")
            if last.isdigit() and place.startswith("layers/") and place not in self.taken:
                places.append(place)

        self.file.visititems(look)
        return sorted(set(places))

    def count(self, kind: str) -> int:
        """Return how many layers of a kind are numbered consecutively in the file, with weights or
        not.
        """
        names = self._at("layers") or ()
        return sum(name == kind or name.startswith(f"{kind}_") for name in names)

    def _at(self, name: str) -> Any:
        """Return the object at a path in the file. Refuse links out of the file."""
        item = self.file
        for part in name.split("/"):
            link = item.get(part, getlink=True) if hasattr(item, "get") else None
            if link is None:
                return None
            if type(link).__name__ != "HardLink":
                raise ValueError(f"{name} is a link to elsewhere, which is not followed")
            item = item[part]
        return item

    def _array(self, name: str) -> Array:
        data = self._at(name)
        if data is None or not hasattr(data, "dtype"):
            raise ValueError(f"{name} is missing in the file")
        size = data.dtype.itemsize * int(np.prod(data.shape, dtype=object))
        plain = data.external is None and not data.is_virtual and data.dtype.kind in "fiu"
        if not plain or data.id.get_storage_size() != size:
            raise ValueError(f"{name} is no plain array in the file")
        return np.asarray(data[()])
