"""Mini-batches and one-hot rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu.data import Pixels, minibatches, one_hot

# --- minibatches ----------------------------------------------------------------------------------


@given(m=st.integers(0, 40), size=st.integers(1, 50), seed=st.none() | st.integers(0, 9))
def test_every_sample_is_taken_once(m: int, size: int, seed: int | None) -> None:
    X, Y = np.arange(2 * m).reshape(m, 2), np.arange(m)
    rng = None if seed is None else np.random.default_rng(seed)
    batches = list(minibatches(X, Y, batch_size=size, rng=rng))
    assert len(batches) == -(-m // size)
    assert all(len(x) == size for x, _ in batches[:-1])
    order = [int(i) for _, y in batches for i in y]
    assert sorted(order) == list(range(m))
    if rng is None:
        assert order == list(range(m))
    for x, y in batches:  # rows stay with their labels
        assert_array_equal(x, X[y])


def test_the_chapters_batches_over_several_epochs() -> None:
    # 364 samples in batches of 32; after seed(42) one permutation of all samples for each epoch
    m, size = 364, 32
    X, Y = np.arange(m) * 1.5, np.arange(m)
    rng, chapter = np.random.RandomState(42), np.random.RandomState(42)
    for _ in range(3):
        order = chapter.permutation(np.arange(m))
        batches = list(minibatches(X, Y, batch_size=size, rng=rng))
        assert len(batches) == 364 // 32 + 1 == 12
        assert len(batches[-1][0]) == 364 - 11 * 32
        for i, (x, y) in enumerate(batches):
            assert_array_equal(y, order[i * size : (i + 1) * size])
            assert_array_equal(x, X[y])


def test_an_epoch_draws_one_permutation_and_no_more() -> None:
    rng, expected = np.random.default_rng(3), np.random.default_rng(3)
    for _ in minibatches(np.ones(10), batch_size=3, rng=rng):
        pass
    expected.permutation(10)
    assert rng.random() == expected.random()


def test_the_batches_are_those_of_the_call() -> None:
    # Two epochs that are under way at the same time do not get into each other's way.
    rng = np.random.default_rng(0)
    epochs = zip(
        minibatches(np.arange(6), batch_size=2, rng=rng),
        minibatches(np.arange(6), batch_size=2, rng=rng),
        strict=True,
    )
    first, second = map(np.concatenate, zip(*((a, b) for (a,), (b,) in epochs), strict=True))
    assert sorted(first) == sorted(second) == list(range(6))


def test_any_number_of_arrays_of_any_number_of_axes() -> None:
    arrays = [np.zeros((5, 2, 3)), np.zeros(5), np.zeros((5, 0)), np.zeros(5, bool)]
    for n in range(1, 5):
        batches = list(minibatches(*arrays[:n], batch_size=4))
        assert [tuple(part.shape for part in batch) for batch in batches] == [
            ((4, 2, 3), (4,), (4, 0), (4,))[:n],
            ((1, 2, 3), (1,), (1, 0), (1,))[:n],
        ]
        assert [part.dtype for part in batches[0]] == [array.dtype for array in arrays[:n]]


def test_without_shuffling_nothing_is_copied() -> None:
    X = np.zeros((5, 2))
    assert all(np.shares_memory(x, X) for (x,) in minibatches(X, batch_size=2))


@pytest.mark.parametrize("seed", [None, 1])
def test_lists_and_tensors(seed: int | None) -> None:
    def rng() -> np.random.Generator | None:
        return None if seed is None else np.random.default_rng(seed)

    expected = list(minibatches(np.arange(5), batch_size=2, rng=rng()))
    for data in ([0, 1, 2, 3, 4], tg.Tensor(np.arange(5))):
        batches = list(minibatches(data, batch_size=2, rng=rng()))
        for (x,), (y,) in zip(batches, expected, strict=True):
            assert np.array(x).tolist() == y.tolist()


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", None, np.float64(2)], ids=repr)
def test_a_batch_size_that_is_no_positive_integer_is_refused_at_once(size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be a positive integer, received"):
        minibatches(np.ones(4), batch_size=size)


def test_a_batch_size_may_be_numpys() -> None:
    assert len(list(minibatches(np.ones(4), batch_size=np.int32(3)))) == 2  # type: ignore[arg-type]


def test_arrays_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"one number of samples, received \[4, 5\]"):
        minibatches(np.ones(4), np.ones((5, 2)), batch_size=2)
    with pytest.raises(ValueError, match="at least one array"):
        minibatches(batch_size=2)
    for data in (1.0, np.array(1.0), tg.Tensor(1.0)):
        with pytest.raises(TypeError):
            minibatches(data, batch_size=2)


@pytest.mark.parametrize("rng", [42, "42", np.random])
def test_what_is_no_source_of_random_numbers_is_refused_at_once(rng: Any) -> None:
    # A seed is refused too: it would give the same order in every epoch.
    with pytest.raises(TypeError, match="Generator"):
        minibatches(np.ones(4), batch_size=2, rng=rng)


def test_the_global_source_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)["state"]["pos"]
    list(minibatches(np.ones(4), batch_size=2, rng=np.random.RandomState(0)))
    list(minibatches(np.ones(4), batch_size=2))
    assert np.random.get_state(legacy=False)["state"]["pos"] == before


# --- one_hot --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), max_size=20), st.integers(7, 9))
def test_one_hot(labels: list[int], n: int) -> None:
    y = np.array(labels, int)
    rows = one_hot(y, n)
    assert rows.shape == (len(labels), n)
    assert rows.dtype == np.float64
    assert_array_equal(rows, np.eye(n)[y])


def test_one_hot_finds_the_number_of_classes() -> None:
    assert one_hot(np.array([0, 2])).shape == (2, 3)
    assert one_hot(np.array([], int)).shape == (0, 0)
    assert one_hot(np.array([], int), 3).shape == (0, 3)


def test_one_hot_of_other_shapes_types_and_kinds() -> None:
    assert one_hot(2, 4).tolist() == [0.0, 0.0, 1.0, 0.0]
    assert one_hot([1, 0], 2).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert one_hot(np.array([[0, 1], [1, 0]]), 2).shape == (2, 2, 2)
    assert one_hot(np.array([1], np.uint8), 3, dtype=np.float32).dtype == np.float32
    row = one_hot(tg.Tensor([1]), 3)
    assert type(row) is tg.Tensor
    assert not row.requires_grad
    assert row.tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("labels, n", [([3], 3), ([-1, 1], 3), ([0], 0), ([5, 9], 6)])
def test_labels_out_of_range_are_refused(labels: list[int], n: int) -> None:
    with pytest.raises(ValueError) as refused:
        one_hot(np.array(labels), n)
    assert f"0 … {n - 1}" in str(refused.value)
    assert f"received {min(labels)} … {max(labels)}" in str(refused.value)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False], ["a"], [None]], ids=repr)
def test_labels_that_are_no_integers_are_refused(labels: Any) -> None:
    with pytest.raises(TypeError, match="class indices must be integers"):
        one_hot(np.array(labels))


def test_one_hot_is_the_same_everywhere() -> None:
    assert one_hot is tg.one_hot is tg.data.one_hot


# --- memory that is used again --------------------------------------------------------------------


def test_what_is_set_on_a_batch_stays_with_it() -> None:
    X = np.arange(40.0).reshape(10, 4)
    rng = np.random.default_rng(0)
    for x, y in minibatches(X, X.astype(np.int64), batch_size=2, rng=rng):
        assert (x.shape, x.flags.writeable, y.dtype.name) == ((2, 4), True, "int64")
        np.testing.assert_array_equal(x, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy advises against it
            x.shape = (4, 2)
            y.dtype = np.dtype(np.uint64)  # type: ignore[misc]
        x.setflags(write=False)


@given(m=st.integers(1, 60), size=st.integers(1, 20), kept=st.sets(st.integers(0, 20)))
def test_who_keeps_a_batch_or_a_view_of_it_keeps_what_it_was(
    m: int, size: int, kept: set[int]
) -> None:
    X = np.arange(3.0 * m).reshape(m, 3)
    order = np.random.RandomState(1).permutation(m)
    held = []
    for i, (x,) in enumerate(minibatches(X, batch_size=size, rng=np.random.RandomState(1))):
        if i in kept:
            held.append((i, x if i % 2 else x[:, 1:]))
    for i, x in held:
        expected = X[order[i * size : (i + 1) * size]]
        assert_array_equal(x, expected if i % 2 else expected[:, 1:])


@pytest.mark.parametrize("seed", [None, 0])
def test_with_keep_false_each_batch_is_written_over_by_the_next(seed: int | None) -> None:
    X, Y = np.arange(22.0).reshape(11, 2), np.arange(11)
    images = Pixels(np.arange(22, dtype=np.uint8).reshape(11, 2))

    def cut(keep: bool) -> Any:
        rng = None if seed is None else np.random.default_rng(seed)
        return minibatches(X, Y, images, batch_size=4, rng=rng, keep=keep)

    seen = []
    for own, expected in zip(cut(False), cut(True), strict=True):
        for array, other in zip(own, expected, strict=True):
            assert array.dtype == other.dtype
            assert_array_equal(array, other)
        seen.append(own[0])
    assert [len(x) for x in seen] == [4, 4, 3]
    assert (seen[0] is seen[1]) is (seed is not None)  # not shuffled, they are parts of the data


def test_batches_that_nobody_keeps_take_turns_in_two_places() -> None:
    X = np.arange(80.0).reshape(40, 2)
    rng = np.random.default_rng(0)
    places = {x.ctypes.data for (x,) in minibatches(X, batch_size=4, rng=rng)}
    assert len(places) == 2
    assert len({id(x) for (x,) in list(minibatches(X, batch_size=4, rng=rng))}) == 10


@pytest.mark.parametrize(
    "X",
    [
        np.asfortranarray(np.arange(12.0).reshape(6, 2)),
        np.arange(24.0).reshape(6, 4)[:, ::2],
        np.array([[1], [2.5], ["a"], [None], [()], [{}]], object),
        np.ma.masked_greater(np.arange(6.0), 3),
        tg.Tensor(np.arange(12.0).reshape(6, 2)),
    ],
    ids=["columns first", "every other", "objects", "masked", "tensor"],
)
def test_arrays_of_other_kinds_are_taken_as_they_are(X: Any) -> None:
    batches = [x for (x,) in minibatches(X, batch_size=4, rng=np.random.RandomState(0))]
    order = np.random.RandomState(0).permutation(6)
    for x, rows in zip(batches, (order[:4], order[4:]), strict=True):
        assert_array_equal(np.asarray(getattr(x, "data", x)), np.asarray(X)[rows])


# --- images of bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize("brightest", [0, -1, np.nan, np.inf, "255", np.full(3, 255), None])
def test_a_brightest_that_is_no_number_above_0_is_refused(brightest: Any) -> None:
    with pytest.raises(ValueError, match="brightest must be a number above 0, received"):
        Pixels(IMAGES, brightest)


IMAGES = np.random.default_rng(0).integers(0, 256, (37, 4, 5), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [None, 1])
def test_pixels_are_the_images_divided(dtype: Any, seed: int | None) -> None:
    x = Pixels(IMAGES, dtype=dtype)
    numbers = np.divide(IMAGES, 255, dtype=dtype)
    assert (x.shape, x.ndim, len(x), x.dtype) == ((37, 4, 5), 3, 37, dtype)
    for got, want in [
        (np.asarray(x), numbers),
        (x[3:5], numbers[3:5]),
        (x[[1, 0]], numbers[:2][::-1]),
    ]:
        assert got.dtype == dtype
        assert_array_equal(got, want)
    assert_array_equal(np.asarray(x.between(2, 9)), numbers[2:9])
    assert np.shares_memory(x.between(2, 9).images, IMAGES)
    first, second = (
        list(
            minibatches(
                source, batch_size=8, rng=None if seed is None else np.random.default_rng(seed)
            )
        )
        for source in (x, numbers)
    )
    for (got,), (want,) in zip(first, second, strict=True):
        assert got.dtype == want.dtype == dtype
        assert_array_equal(got, want)


def test_pixels_of_anything_but_bytes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"uint8, a row for each sample, received \(3,\) float64"):
        Pixels(np.ones(3))
    with pytest.raises(TypeError, match="dtype must be floating, received int64"):
        Pixels(IMAGES, dtype=np.int64)
    with pytest.raises(ValueError, match="always a copy"):
        np.asarray(Pixels(IMAGES), copy=False)
    assert repr(Pixels(IMAGES)) == "Pixels((37, 4, 5) uint8 / 255, float64)"
