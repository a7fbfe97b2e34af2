"""Freeing long graphs: no depth of a graph overflows the stack of a small thread."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.releasing import release

LONG = 20_000


def chain(x: Tensor, n: int) -> Tensor:
    for _ in range(n):
        x = x + 1.0
    return x


def branches(x: Tensor, n: int) -> Tensor:
    for _ in range(n // 2):
        x = tg.maximum(x * 1.0, x)
    return x


def joined(x: Tensor, n: int) -> Tensor:
    total: Tensor = x * 0.0
    for _ in range(n // 2):
        total = tg.stack([total, x * 2.0]).sum()
    return total


@pytest.mark.parametrize("make", [chain, branches, joined])
def test_a_small_thread_frees_a_long_graph(make: Callable[[Tensor, int], Tensor]) -> None:
    program = f"""
import threading
import tinygrad_edu as tg
from tests.test_releasing import {make.__name__} as make

def work():
    make(tg.Tensor(1.0, requires_grad=True), {LONG})
    print("freed")

threading.stack_size(512 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=root
    )
    assert (done.returncode, done.stdout) == (0, "freed\n"), done.stderr


@pytest.mark.parametrize("make", [chain, branches, joined])
def test_release_is_never_nested_deeply(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[Tensor, int], Tensor]
) -> None:
    depth, deepest, calls = 0, 0, 0

    def counted(tensor: Any) -> None:
        nonlocal depth, deepest, calls
        depth, calls = depth + 1, calls + 1
        deepest = max(deepest, depth)
        release(tensor)
        depth -= 1

    y = make(Tensor(1.0, requires_grad=True), 1000)
    monkeypatch.setattr(Tensor, "__del__", counted, raising=False)
    del y
    assert calls >= 1000
    assert deepest <= 3  # the result, an argument of it, and what only that refers to


def test_what_is_used_elsewhere_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "__del__", release, raising=False)
    x = Tensor(3.0, requires_grad=True)
    middle = x * x
    y = chain(middle, 100)
    gone = weakref.ref(y)
    del y
    assert gone() is None
    middle.backward()
    assert x.grad == 6.0


def test_leaves_and_constants_have_nothing_to_release() -> None:
    for x in (Tensor(1.0), Tensor(1.0, requires_grad=True)):
        release(x)
        assert x.record is None


def test_finalizers_run_when_the_last_reference_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "__del__", release, raising=False)
    kept = Tensor(1.0, requires_grad=True)
    freed: list[str] = []
    y = chain(kept, 10)
    z = chain(y, 10)
    weakref.finalize(y, freed.append, "y")
    del y
    assert freed == []  # z refers to it
    del z
    assert freed == ["y"]


@pytest.mark.parametrize("kind", [Tensor, tg.nn.Parameter, tg.nn.Buffer])
def test_a_tensor_whose_constructor_raised_is_freed(kind: type[Tensor]) -> None:
    release(kind.__new__(kind))
