"""Looking into running functions: the result is the same, and other profilers are left alone."""

from __future__ import annotations

import cProfile
import gc
import profile
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.frames import local_variables, observe

X = np.arange(6.0).reshape(3, 2)


def mean_square(X: Any, W: Any) -> Any:
    H = X @ W
    return (H * H).mean()


def explained() -> str:
    return str(tg.explain(mean_square, X, tg.Tensor(np.ones((2, 1)), requires_grad=True)))


def pictured() -> str:
    return tg.picture(mean_square, X, tg.Tensor(np.ones((2, 1)), requires_grad=True)).svg


def summarised() -> str:
    return str(tg.summary(tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.ReLU()), (2,)))


def verified() -> bool:
    return tg.verify(mean_square, {"W": "2 X^T H / m"}, inputs={"X": "m n", "W": "n 1"}).right


def verified_function() -> bool:
    def gradients(X: Any, W: Any) -> Any:
        H = X @ W
        dW = X.T @ H * 2 / len(X)
        return {"W": dW}

    return tg.verify(mean_square, gradients, inputs={"X": "m n", "W": "n 1"}).right


def captured() -> float:
    w = tg.Tensor(np.ones((2, 1)), requires_grad=True)

    @tg.compile
    def step(X: Any) -> Any:
        w.grad = None
        loss = mean_square(X, w)
        loss.backward()
        return loss

    return [float(step(X)) for _ in range(3)][-1]


LOOKING = [explained, pictured, summarised, verified, verified_function, captured]


def fail(x: float) -> float:
    return 1 / (x - x)


def events(frames: list[tuple[str, str]]) -> Callable[[FrameType, str, Any], None]:
    return lambda frame, event, _: frames.append((frame.f_code.co_name, event))


@pytest.fixture(autouse=True)
def _no_profiler_is_left() -> Iterator[None]:
    before = sys.getprofile()
    yield
    left = sys.getprofile()
    sys.setprofile(before)
    assert left is before


def test_calls_and_returns_are_reported_in_their_order() -> None:
    def outer(x: int) -> int:
        return inner(x) + len("C functions are not reported")

    def inner(x: int) -> int:
        return x + 1

    seen: list[tuple[str, str]] = []
    assert observe(events(seen), outer, x=1) == 30
    assert seen == [("outer", "call"), ("inner", "call"), ("inner", "return"), ("outer", "return")]


def test_what_raises_is_reported_and_raises() -> None:
    seen: list[tuple[str, str]] = []
    with pytest.raises(ZeroDivisionError):
        observe(events(seen), fail, 1.0)
    assert seen == [("fail", "call"), ("fail", "return")]


def test_an_error_of_the_callback_passes_through() -> None:
    def note(frame: FrameType, event: str, result: Any) -> None:
        raise LookupError("of the callback")

    with pytest.raises(LookupError, match="of the callback"):
        observe(note, fail, 1.0)


@pytest.mark.parametrize("look", LOOKING)
def test_nothing_changes_under_cprofile(look: Callable[[], Any]) -> None:
    expected = look()
    profiler = cProfile.Profile()
    assert profiler.runcall(look) == expected
    names = {entry.code.co_name for entry in profiler.getstats() if hasattr(entry.code, "co_name")}
    assert look.__name__ in names


def test_cprofile_goes_on_afterwards() -> None:
    def later() -> int:
        return 1

    def both() -> None:
        observe(events([]), abs, -1)
        with pytest.raises(ZeroDivisionError):
            observe(events([]), fail, 1.0)
        later()

    profiler = cProfile.Profile()
    profiler.runcall(both)
    names = {entry.code.co_name for entry in profiler.getstats() if hasattr(entry.code, "co_name")}
    assert {"both", "later"} <= names


@pytest.mark.parametrize("look", LOOKING)
def test_nothing_changes_under_a_profiler_in_python(look: Callable[[], Any]) -> None:
    expected = look()
    seen: list[tuple[str, str]] = []
    mine = events(seen)
    sys.setprofile(mine)
    try:
        result, left = look(), sys.getprofile()
    finally:
        sys.setprofile(None)
    assert left is mine
    assert result == expected
    assert (look.__name__, "call") in seen
    if look is not summarised:
        assert ("mean_square", "return") in seen, "the earlier profiler misses what is observed"


def test_the_profiler_of_the_standard_library_keeps_its_books() -> None:
    # It checks that each return belongs to the call before, and so fails if it misses events.
    # Without collections of garbage, since callbacks of these (as Hypothesis has) break it anyway.
    profiler = profile.Profile()
    gc.disable()
    try:
        assert profiler.runcall(explained) == explained()
    finally:
        gc.enable()
    profiler.create_stats()
    assert any(name == "mean_square" for _, _, name in profiler.stats)


@pytest.mark.parametrize("look", LOOKING)
def test_the_profiler_of_a_thread_is_set_again(look: Callable[[], Any]) -> None:
    seen: list[tuple[str, str]] = []
    mine, results = events(seen), []
    threading.setprofile(mine)
    try:
        thread = threading.Thread(target=lambda: results.append((look(), sys.getprofile())))
        thread.start()
        thread.join()
    finally:
        threading.setprofile(None)
    assert results == [(look(), mine)]
    assert (look.__name__, "return") in seen


def test_a_profiler_that_cannot_be_set_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getprofile", lambda: 3.5)
    try:
        with pytest.raises(RuntimeError, match=r"a profiler is active \(float\).*stop it first"):
            observe(events([]), abs, -1)
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize("inner", LOOKING)
def test_one_look_inside_another(inner: Callable[[], Any]) -> None:
    results: list[Any] = []
    expected = inner()
    keep = results.append

    def loss(w: Any) -> Any:
        keep(inner())
        Z = w * 3.0
        return (Z * Z).sum()

    w = tg.Tensor(np.ones(2), requires_grad=True)
    assert str(tg.explain(loss, w)).startswith("Z = 3·w")
    assert ">Z<" in tg.picture(loss, w).svg
    assert len(results) >= 2
    assert set(results) == {expected}


def test_verify_runs_what_looks_at_functions() -> None:
    def loss(w: Any) -> Any:
        assert summarised()
        Z = w * 3.0
        return (Z * Z).sum()

    assert tg.verify(loss, {"w": "6 Z"}, inputs={"w": "n 1"}, repair=False).right


def test_a_captured_step_may_look_at_functions() -> None:
    texts: list[str] = []
    keep = texts.append

    @tg.compile
    def step(x: Any) -> Any:
        keep(summarised())
        y = x * 3.0
        return y.sum()

    assert float(step(np.ones(2))) == 6.0
    assert set(texts) == {summarised()}


def test_an_inner_observer_reports_alone() -> None:
    earlier: list[tuple[str, str]] = []
    outer: list[tuple[str, str]] = []
    inner: list[tuple[str, str]] = []

    def nested() -> None:
        with pytest.raises(ZeroDivisionError):
            observe(events(inner), fail, 1.0)

    sys.setprofile(events(earlier))
    try:
        observe(events(outer), nested)
    finally:
        sys.setprofile(None)
    assert inner == [("fail", "call"), ("fail", "return")]
    assert not any(name == "fail" for name, _ in outer)
    assert [event for name, event in earlier if name == "fail"] == ["call", "return"]
    assert outer[0] == ("nested", "call")
    assert outer[-1] == ("nested", "return")


def test_local_variables_know_their_depth() -> None:
    def outer(x: Any) -> Any:
        doubled = x * 2.0
        return inner(doubled)

    def inner(y: Any) -> Any:
        count = 7
        squared = y * y
        return squared.sum() * count

    seen = local_variables()
    x = np.ones(2)
    assert seen.run(outer, x) == 56.0
    assert [(depth, name) for depth, name, _ in seen.found] == [
        (0, "x"),
        (0, "doubled"),
        (1, "y"),
        (1, "squared"),
    ]
    assert seen.numbers == {"count": {7}}
    assert {code.co_name for code in seen.codes} >= {"outer", "inner"}


def test_local_variables_of_what_raises_are_noted() -> None:
    def broken(x: Any) -> Any:
        halves = x / 2
        raise ValueError(halves)

    seen = local_variables()
    with pytest.raises(ValueError, match="5"):
        seen.run(broken, np.ones(1))
    assert [name for _, name, _ in seen.found] == ["x", "halves"]
