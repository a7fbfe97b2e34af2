"""Messages between processes: a header in JSON, then the bytes of the arrays. Never pickle.

A message is made of None, bool, int, float, str, bytes, list, tuple, dict, NumPy numbers and arrays
of numbers. On the wire each value is a list whose first entry tells its type; an array is its dtype
and its shape, and its bytes follow the header. Reading one runs nothing and makes nothing else:
what is not of this form is a `ValueError`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

__all__ = ["Opaque", "pack", "receive", "send", "unpack"]

MOST = 64 << 20  # bytes of a message
_LENGTHS = struct.Struct("<QQ")


class Opaque:
    """An object that is not sent: only the name of its type is known.

    Example:
        >>> unpack(pack({"W": object()}))["W"].kind
        'object'
    """

    def __init__(self, kind: str):
        self.kind = kind


def pack(message: Any) -> bytes:
    """Return the bytes of a message; an object of another type becomes an `Opaque`.

    Example:
        >>> unpack(pack({"W": np.eye(2), "m": 3}))
        {'W': array([[1., 0.],
               [0., 1.]]), 'm': 3}
    """
    blobs: list[bytes] = []
    header = json.dumps(_written(message, blobs)).encode()
    body = b"".join(blobs)
    return _LENGTHS.pack(len(header), len(body)) + header + body


def _written(x: Any, blobs: list[bytes]) -> list[Any]:
    if x is None or isinstance(x, (bool, str)):
        return ["v", x]
    if isinstance(x, int):
        return ["i", int(x)] if -(2**63) <= x < 2**63 else ["o", "a large int"]
    if isinstance(x, (np.ndarray, np.generic)):
        return _written_array(x, blobs)
    if isinstance(x, float):
        return ["f", float(x).hex()]
    if isinstance(x, bytes):
        blobs.append(bytes(x))
        return ["y", len(x)]
    if isinstance(x, (list, tuple)):
        return ["t" if isinstance(x, tuple) else "l", [_written(y, blobs) for y in x]]
    if isinstance(x, Mapping):
        return ["d", [[str(k), _written(y, blobs)] for k, y in x.items()]]
    return ["o", type(x).__name__]


def _written_array(x: Any, blobs: list[bytes]) -> list[Any]:
    array = np.asarray(x)
    if array.dtype.kind == "O":
        try:
            array = array.astype(float)
        except (TypeError, ValueError):
            return ["o", "array of objects"]
    if array.dtype.kind not in "fiubc":
        return ["o", f"array of {array.dtype}"]
    blobs.append(array.tobytes())
    return ["a", array.dtype.str, list(array.shape), isinstance(x, np.generic)]


def unpack(data: bytes) -> Any:
    """Return the message that these bytes hold.

    Raises:  ValueError if they hold none
    Example:
        >>> unpack(pack((1, [2.5, None])))
        (1, [2.5, None])
    """
    if len(data) < _LENGTHS.size:
        raise ValueError("a message is cut off")
    header, body = _LENGTHS.unpack_from(data)
    if len(data) != _LENGTHS.size + header + body:
        raise ValueError("a message is cut off")
    try:
        tree = json.loads(data[_LENGTHS.size : _LENGTHS.size + header])
        return _Reader(data[_LENGTHS.size + header :]).read(tree)
    except (LookupError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise ValueError(f"this is no message: {error}") from None


class _Reader:
    """Reads the values of a header, taking the bytes of arrays from the front of the body."""

    def __init__(self, body: bytes):
        self.body, self.at = body, 0

    def read(self, tree: Any) -> Any:
        kind, x = tree[0], tree[1]
        if kind == "v" and (x is None or isinstance(x, (bool, str))):
            return _clean(x) if isinstance(x, str) else x
        if kind == "i" and type(x) is int:
            return x
        if kind == "f":
            return float.fromhex(x)
        if kind == "y" and type(x) is int:
            return self.take(x)
        if kind in ("l", "t") and isinstance(x, list):
            values = [self.read(y) for y in x]
            return values if kind == "l" else tuple(values)
        if kind == "d" and isinstance(x, list):
            return {_clean(str(k)): self.read(y) for k, y in x}
        if kind == "o" and isinstance(x, str):
            return Opaque(_clean(x)[:100])
        if kind == "a":
            return self.array(x, *tree[2:])
        raise ValueError("a message holds an unknown kind of value")

    def take(self, n: int) -> bytes:
        if not 0 <= n <= len(self.body) - self.at:
            raise ValueError("a message is cut off")
        self.at += n
        return self.body[self.at - n : self.at]

    def array(self, name: Any, shape: Any, single: Any) -> Any:
        dtype = np.dtype(str(name))
        if dtype.kind not in "fiubc" or len(shape) > 32:
            raise ValueError("a message holds an array that is not of numbers")
        if not all(type(n) is int and 0 <= n <= MOST for n in shape):
            raise ValueError("a message holds an array without a shape")
        data = self.take(math.prod(shape) * dtype.itemsize)
        array = np.frombuffer(data, dtype).reshape(shape).copy()
        return array[()] if single is True and not shape else array


def _clean(text: str) -> str:
    """Return a text without halves of surrogate pairs, which no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message to a stream.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> send(stream, {"m": 3})
        >>> receive(io.BytesIO(stream.getvalue()))
        {'m': 3}
    """
    stream.write(pack(message))
    stream.flush()


def receive(stream: IO[bytes], most: int = MOST) -> Any:
    """Return the next message of a stream.

    Raises:  EOFError if the stream ends before it does; ValueError if it is none, or too long
    Example:
        >>> import io
        >>> receive(io.BytesIO(b""))
        Traceback (most recent call last):
        ...
        EOFError: the stream has ended
    """
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise EOFError("the stream has ended")
    header, body = _LENGTHS.unpack(lengths)
    if header + body > most:
        raise ValueError("a message is too long")
    data = stream.read(header + body)
    if len(data) < header + body:
        raise EOFError("the stream has ended")
    return unpack(lengths + data)
