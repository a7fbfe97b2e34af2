"""Freeing a long graph without recursion, for Python 3.13.

A result refers to its arguments, so dropping the last result of a long chain drops them one inside
the other. Python limits how deep this goes on the C stack: to 50 objects up to 3.12, by the size
of the stack from 3.14 on. 3.13 allows some 10,000 objects whatever the size, which overflows the
512 kB of a small thread at some 3,000 operations.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

NEEDED = sys.version_info[:2] == (3, 13)


class _Waiting(threading.local):
    """The records that this thread is about to free; None while it frees none."""

    records: list[Any] | None = None


def release(tensor: Any, _waiting: _Waiting = _Waiting()) -> None:  # noqa: B008  (at exit too)
    """Free the record of a tensor that is being dropped; as `__del__` it is never nested deeply.

    Freeing a record drops its arguments, whose `__del__` calls this function again. That call only
    adds a record to the list; the outermost call frees one after the other.

    Example:
        >>> import tinygrad_edu as tg
        >>> y = tg.Tensor(1.0, requires_grad=True) * 2.0
        >>> release(y)
        >>> y.requires_grad
        False
    """
    record, tensor.record = getattr(tensor, "record", None), None  # none if its constructor raised
    if record is None or not record[2]:  # a constant or a leaf variable
        return
    records = _waiting.records
    if records is not None:
        records.append(record)
        return
    records = _waiting.records = [record]
    del record
    try:
        while records:
            records.pop()
    finally:
        _waiting.records = None
