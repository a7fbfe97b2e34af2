"""`python -m tests.bombs` measures time and memory, and finds what goes beyond its bounds."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from tests import bombs
from tests.bombs import Cost, is_within, measured

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the command forks")


def busy() -> str:
    """Use 0.3 seconds of the processor."""
    while time.process_time() < 0.3:
        pass
    return "right"


def failing() -> str:
    raise RecursionError("too deep")


def test_the_processors_seconds_are_counted() -> None:
    cost = measured(busy)
    assert cost.processor >= 0.2
    assert not is_within(cost, bombs.SECONDS + cost.processor)


def test_memory_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = measured(lambda: str(np.ones(30_000_000).sum()))
    assert cost.megabytes > 240
    monkeypatch.setattr(bombs, "MEGABYTES", 240.0)
    assert not is_within(cost, 0.0)


def test_an_error_and_an_end_of_the_process_are_no_refusals() -> None:
    assert measured(failing).result == "NOT REFUSED: RecursionError: too deep"
    ended = measured(lambda: os._exit(3))
    assert ended.result == "NOT REFUSED: the process was ended"
    assert not is_within(measured(failing), 0.0) and not is_within(ended, 0.0)


def test_the_bounds_are_five_seconds_and_a_gigabyte() -> None:
    assert is_within(Cost(5.0, 5.0, 1024.0, "refused: too deep"), 5.0)
    assert not is_within(Cost(5.0, 5.1, 1024.0, "right"), 5.1)
    assert not is_within(Cost(5.0, 5.0, 1025.0, "right"), 5.0)
