"""How many threads: what is decided, and that the library under NumPy hears of it."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import threads
from tinygrad_edu.threads import blas_threads, free_processors

MANY = 10**12


@pytest.fixture(autouse=True)
def nobody_has_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in threads.VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def of_blas() -> int:
    """The number of threads that NumPy's library says it takes."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    np.ones((2, 2)) @ np.ones((2, 2))
    found = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return max(int(pool["num_threads"]) for pool in found)


@pytest.mark.parametrize("number", [1, 2])
def test_a_number_is_what_the_library_takes_inside_and_no_longer(number: int) -> None:
    before = of_blas()
    with blas_threads(number, multiplications=1) as told:
        assert (told, of_blas()) == (number, number)
    assert of_blas() == before


def test_it_is_given_back_after_an_error() -> None:
    before = of_blas()
    with pytest.raises(KeyError), blas_threads(2, multiplications=1):
        raise KeyError
    assert of_blas() == before


@pytest.mark.parametrize(
    ("free", "multiplications", "expected"),
    [
        (1, MANY, 1),
        (2, MANY, 2),
        (8, 3 * threads.PRODUCT_PER_THREAD, 3),
        (8, threads.SINGLE_THREAD_PRODUCT + 1, 1),
    ],
)
def test_auto_goes_by_free_processors_and_size(
    monkeypatch: pytest.MonkeyPatch, free: int, multiplications: int, expected: int
) -> None:
    pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "free_processors", lambda: free)
    with (
        blas_threads(8, multiplications=1),
        blas_threads("auto", multiplications=multiplications) as told,
    ):
        assert told == of_blas() == expected


def test_auto_keeps_a_limit_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "free_processors", lambda: 8)
    with (
        threadpoolctl.threadpool_limits(1, user_api="blas"),
        blas_threads("auto", multiplications=MANY) as told,
    ):
        assert told == of_blas() == 1


def test_overlapping_blocks_of_auto_leave_the_number_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "free_processors", lambda: 1)
    with blas_threads(2, multiplications=1):
        first = blas_threads("auto", multiplications=MANY)
        second = blas_threads("auto", multiplications=MANY)
        assert (first.__enter__(), second.__enter__()) == (1, None)
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert of_blas() == 2
        with blas_threads("auto", multiplications=MANY) as told:
            assert told == 1  # the lock is free again


def test_small_products_and_decisions_that_were_taken_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never() -> int:
        raise AssertionError("asked")

    monkeypatch.setattr(threads, "free_processors", never)
    for settings, size in [("auto", threads.SINGLE_THREAD_PRODUCT), (None, MANY)]:
        with blas_threads(settings, multiplications=size) as told:
            assert told is None
    for variable in threads.VARIABLES:
        monkeypatch.setenv(variable, "1")
        with blas_threads("auto", multiplications=MANY) as told:
            assert told is None
        monkeypatch.delenv(variable)


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="the system does not tell")
@pytest.mark.parametrize(
    ("load", "cpu", "lived", "expected"),
    [
        (0.0, 1, 100, 4),
        (0.2, 1, 100, 4),  # a little is always going on
        (1.0, 1, 100, 3),  # another process keeps one busy
        (1.0, 100, 100, 4),  # it was us
        (4.0, 100, 100, 1),
        (9.0, 1, 100, 1),
        (2.5, 0.5, 0.5, 1),  # we have hardly begun
    ],
)
def test_processors_that_others_keep_busy_are_not_free(
    monkeypatch: pytest.MonkeyPatch, load: float, cpu: float, lived: float, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(threads, "process_time", lambda: cpu)
    monkeypatch.setattr(threads, "perf_counter", lambda: threads._imported + lived)
    assert free_processors() == expected


def test_where_the_system_does_not_tell_all_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Any:
        raise OSError

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(os, "getloadavg", unknown, raising=False)
    assert free_processors() == 3


def test_without_the_extra_auto_leaves_all_and_a_number_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with blas_threads("auto", multiplications=MANY) as told:
        assert told is None
    with (
        pytest.raises(ImportError, match=r"tinygrad_edu\[threads\].*OMP_NUM_THREADS=2"),
        blas_threads(2, multiplications=1),
    ):
        pass


@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, "all"])
def test_what_is_no_number_of_threads_is_refused(wrong: Any) -> None:
    message = "at least 1, 'auto' or None, received"
    with pytest.raises(ValueError, match=message), blas_threads(wrong, multiplications=1):
        pass


@pytest.mark.parametrize("number", [1, 2])
def test_training_takes_the_number_and_tells_it(number: int) -> None:
    pytest.importorskip("threadpoolctl")
    seen = []
    model = tg.nn.Linear(3, 2, rng=0)
    callback = tg.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(of_blas())
    )
    history = tg.fit(
        model,
        np.ones((6, 3)),
        np.zeros(6, int),
        loss=tg.cross_entropy,
        batch_size=3,
        optimizer=tg.optim.SGD(model.parameters(), lr=0.1),
        threads=number,
        callbacks=[callback],
    )
    assert history.threads == number
    assert seen == [number] * 2


def test_training_counts_the_multiplications_of_its_largest_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "free_processors", lambda: 2)
    told = {}
    for rows in (64, 4096):
        model = tg.nn.Linear(64, 64, rng=0)
        with blas_threads(2, multiplications=1):  # what there is to take
            told[rows] = tg.fit(
                model,
                np.ones((4096, 64)),
                np.ones((4096, 64)),
                loss="mse",
                batch_size=rows,
                optimizer=tg.optim.SGD(model.parameters(), lr=0.1),
                threads="auto",
            ).threads
    assert told == {64: None, 4096: 2}


def test_the_load_of_the_machine_decides_nothing_unless_it_is_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never() -> int:
        raise AssertionError("asked")

    monkeypatch.setattr(threads, "free_processors", never)
    model = tg.nn.Linear(64, 64, rng=0)
    x = np.ones((4096, 64))
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    assert tg.fit(model, x, x, loss="mse", batch_size=4096, optimizer=sgd).threads is None
