"""The mark of tests that take long: `pytest` leaves them out, `.ci/run` runs them too.

pytest -m "long or not long"     all of them
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["long", "one_in"]

long = pytest.mark.long


def one_in(n: int, cases: Iterable[Any]) -> list[Any]:
    """Return cases for `parametrize`, all but every n-th of them marked as long."""
    found: list[Any] = []
    for i, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        found.append(case if i % n == 0 else pytest.param(*values, marks=long))
    return found
