"""Messages between processes: what goes in comes out, and nothing else is made of bytes."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_edu.verifying.wire import Opaque, pack, receive, send, unpack

ARRAYS = hnp.arrays(
    hnp.scalar_dtypes().filter(lambda d: d.kind in "fiubc"), hnp.array_shapes(min_dims=0)
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(),
    st.text(st.characters(exclude_categories=["Cs"])),
    ARRAYS,
)
MESSAGES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    ),
    max_leaves=10,
)


def same(a: Any, b: Any) -> bool:
    """Return True if two messages are the same, types, dtypes and not-a-numbers included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, dict):
        return [*a] == [*b] and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))


@given(MESSAGES)
def test_what_goes_in_comes_out(message: Any) -> None:
    assert same(unpack(pack(message)), message)
    stream = io.BytesIO()
    send(stream, message)
    send(stream, 1)
    again = io.BytesIO(stream.getvalue())
    assert same(receive(again), message) and receive(again) == 1


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        receive(io.BytesIO(data), most=10_000)


@given(MESSAGES, st.data())
def test_damaged_messages_are_refused_or_read(message: Any, data: st.DataObject) -> None:
    whole = bytearray(pack(message))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        unpack(bytes(whole))


def framed(header: str, body: bytes = b"") -> bytes:
    """Return a message with a header of one's own."""
    return struct.pack("<QQ", len(header), len(body)) + header.encode() + body


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        "1e999",
        '["i", 1e999]',
        '["i", "1"]',
        '["v", 3]',
        '["f", 3]',
        '["a", "O", [1], false]',
        '["a", "<U5", [1], false]',
        '["a", "<f8", [-1], false]',
        '["a", "<f8", [1000000000], false]',
        '["a", "<f8", [true], false]',
        '["a", "nonsense", [], false]',
        '["a", "<f8", 3, false]',
        '["y", 5]',
        '["z", 5]',
        '["d", {"a": 1}]',
        '["d", [["a"]]]',
        "{}",
        "[]",
        "",
    ],
)
def test_headers_that_are_none(header: str) -> None:
    with pytest.raises(ValueError):
        unpack(framed(header))


def test_a_pickle_is_not_read() -> None:
    with pytest.raises((ValueError, EOFError)):
        receive(io.BytesIO(pickle.dumps({"a": 1}) * 10))


def test_what_cannot_be_sent_is_told_by_its_type() -> None:
    for thing, kind in ((object(), "object"), (10**30, "a large int"), ({1, 2}, "set")):
        found = unpack(pack([thing]))[0]
        assert isinstance(found, Opaque) and found.kind == kind
    objects = np.array([object()], dtype=object)
    assert unpack(pack(objects)).kind == "array of objects"
    assert unpack(pack(np.array([1, 2.5], dtype=object))).tolist() == [1.0, 2.5]


def test_a_list_that_contains_itself_cannot_be_packed() -> None:
    x: list[Any] = []
    x.append(x)
    with pytest.raises(RecursionError):
        pack(x)


def test_halves_of_surrogate_pairs_are_escaped() -> None:
    assert unpack(pack("\ud800")) == "\\ud800"


def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="too long"):
        receive(io.BytesIO(struct.pack("<QQ", 2**40, 0)))
