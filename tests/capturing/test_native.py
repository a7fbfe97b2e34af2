"""Captured steps as machine code: to rounding what NumPy computes, whole epochs, kept on disk."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.capturing.test_compiled import batches, left_by, network, training
from tests.fuzz import generate
from tests.fuzz.captured import _moved, as_step
from tests.tools.long import one_in
from tinygrad_edu import nn, optim

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Machine code is kept for the run of these tests, and nowhere else."""
    folder = tmp_path_factory.getbasetemp() / "machine-code"
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.mark.parametrize(("dtype", "k", "tolerance"), [("float64", 1, 1e-12), ("float32", 3, 1e-5)])
def test_an_epoch_agrees_with_numpy(dtype: str, k: int, tolerance: float) -> None:
    loss = tg.binary_cross_entropy_with_logits if k == 1 else tg.cross_entropy
    hidden = nn.Sigmoid if k == 1 else nn.ReLU
    model, other = (network(30, 10, k, hidden=hidden, dtype=dtype) for _ in range(2))
    eager = training(model, optim.SGD(model.parameters(), lr=0.1), loss)
    step = tg.compile(training(other, optim.SGD(other.parameters(), lr=0.1), loss), backend="numba")
    x, y = (np.concatenate(parts) for parts in zip(*batches(32, 30, k, dtype, 10), strict=True))
    order = np.random.default_rng(0).permutation(len(x)).reshape(-1, 32)
    losses = step.epoch(x, y, order=order)
    assert step.native == [True]
    np.testing.assert_allclose(losses, [eager(x[i], y[i]).item() for i in order], rtol=tolerance)
    for got, want in zip(left_by(other), left_by(model), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    # One step at a time, and what is seen from outside.
    for m in (model, other):
        m[0].weight.data = np.ones((30, 10))
    kept = other[0].weight.data
    assert step(x[:32], y[:32]).item() == pytest.approx(eager(x[:32], y[:32]).item(), rel=tolerance)
    np.testing.assert_array_equal(kept, 1)
    # A class that is none is the function's own error, in the middle of an epoch too.
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"must be|must have"):
        step.epoch(x, y * 3, order=order)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# The networks of the benchmarks: features and units, batch, activation. The last has a product that
# is left to the BLAS; one of a hundred layers needs no more kernels than one of three.
NETWORKS = {
    "single": ((30, 1), 364, nn.Sigmoid),
    "dual": ((30, 10, 1), 364, nn.Sigmoid),
    "mini": ((30, 10, 1), 32, nn.Sigmoid),
    "multi": ((784, 100, 10), 256, nn.Sigmoid),
    "keras": ((784, 100, 10), 32, nn.Sigmoid),
    "deep": ((64,) * 101, 64, nn.ReLU),
    "wide": ((512, 600, 10), 128, nn.Sigmoid),
}


@pytest.mark.parametrize("name", one_in(3, NETWORKS))
def test_networks_of_all_sizes_agree_with_exact_ones(name: str) -> None:
    sizes, batch, hidden = NETWORKS[name]
    rng = np.random.default_rng(1)
    loss = tg.binary_cross_entropy_with_logits if sizes[-1] == 1 else tg.cross_entropy
    x = rng.random((4 * batch, sizes[0]), np.float32)
    labels = rng.integers(0, max(2, sizes[-1]), 4 * batch)
    y = labels[:, None] if sizes[-1] == 1 else np.eye(sizes[-1])[labels]
    order = rng.permutation(len(x)).reshape(4, batch)
    start: list[Any] = []

    def trained(dtype: str, backend: str | None) -> tuple[Any, list[Any]]:
        modules: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(sizes):
            modules += [nn.Linear(n_in, n_out, dtype=dtype, rng=0), hidden()]
        model = nn.Sequential(*modules[:-1])
        if not start:
            gain = (6 / sizes[0]) ** 0.5
            start.extend(rng.uniform(-gain, gain, p.shape).astype("f4") for p in model.parameters())
        for p, value in zip(model.parameters(), start, strict=True):
            p.data = value.astype(dtype)
        step = training(model, optim.SGD(model.parameters(), lr=1e-2), loss)
        a, b = x.astype(dtype), y.astype(dtype)
        if backend is None:
            return [step(a[i], b[i]).item() for i in order], [p.data for p in model.parameters()]
        captured = tg.compile(step, backend=backend)
        losses = captured.epoch(a, b, order=order)
        assert captured.native == [True]
        assert captured.native_source.count("@kernel") < 45
        return losses, [p.data for p in model.parameters()]

    losses, weights = trained("float64", None)
    for dtype, tolerance in [("float64", 1e-12), ("float32", 1e-5)]:
        found, changed = trained(dtype, "numba")
        np.testing.assert_allclose(found, losses, rtol=tolerance)
        for got, want in zip(changed, weights, strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want, tolerance, tolerance * np.abs(want).max())


def test_adam_on_numba() -> None:
    model, other = network(5, 4, 1), network(5, 4, 1)
    eager = training(model, optim.Adam(model.parameters(), lr=0.1), tg.mse_loss)
    step = tg.compile(
        training(other, optim.Adam(other.parameters(), lr=0.1), tg.mse_loss), backend="numba"
    )
    for x, y in batches(8, 5, 1, float):
        assert step(x, y).item() == pytest.approx(eager(x, y).item(), rel=1e-10)
    assert step.native == [True], [
        r.surroundings.changed() for p in step.programs.values() for r in p
    ]


@pytest.mark.parametrize("seed", one_in(3, range(6)))
def test_random_programs(seed: int) -> None:
    # 1,000 of them, in an hour: python -m tests.fuzz --captured --backend numba
    program = generate(seed)
    plain, other = as_step(program), as_step(program)
    step = tg.compile(other.function, backend="numba")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for k in range(3):
            data = [_moved(x, k) for x in program.inputs if x.kind in ("constant", "array")]
            want = plain.function(*data)
            try:
                found = step(*data)
            except tg.CannotCapture:
                pytest.skip("not to be captured")
            tolerance = 1e-3 if found.dtype.itemsize < 8 else 1e-7
            for got, exact in [
                (found.value, want.value),
                *(
                    (x.value, y.value)
                    for x, y in zip(other.variables, plain.variables, strict=True)
                ),
                *((x.grad, y.grad) for x, y in zip(other.variables, plain.variables, strict=True)),
            ]:
                if exact is None:  # what no operation reaches has no gradient
                    assert got is None
                    continue
                scale = np.abs(np.nan_to_num(exact)).max(initial=0)
                np.testing.assert_allclose(got, exact, tolerance, tolerance * (scale + 1e-30))


def test_one_operation_of_each_kind() -> None:
    # What kernels compute is seen in `test_kernels`, without a compiler; here, that Numba takes it.
    rng = np.random.default_rng(0)
    images, table = rng.normal(size=(2, 1, 6, 6)), rng.normal(size=(5, 3))
    mask = np.array([True, False, True, True, False])

    def made() -> tuple[Any, Any]:
        v = [tg.Tensor(a, requires_grad=True) for a in (table, rng.normal(size=(2, 1, 3, 3)))]
        v[1].data = np.linspace(-1, 1, 18).reshape(2, 1, 3, 3)
        optimizer = optim.SGD(v, lr=1e-6)

        def step(x: Any, rows: Any, columns: Any, whole: Any) -> Any:
            w, kernels = v
            taken = tg.concatenate([tg.embedding(rows, w), w[mask]])
            parts = [
                tg.conv2d(x, kernels),
                tg.erf(taken),
                tg.einsum("ij,kj,k->i", taken, w, w[:, 0]),
                w[rows, columns],
                np.argmax(taken, axis=1) * 1.0,
                np.maximum(whole, 3) * w.max(),
            ]
            loss = sum((part * part).mean() for part in parts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return v, step

    (mine, eager), (theirs, function) = made(), made()
    step = tg.compile(function, backend="numba")
    for shift in range(3):
        rows = (np.array([4, 0, 0, 2]) + shift) % 5
        whole = np.array([0, 199, 127, 128], np.uint8)
        data = images + shift, rows, rows % 3, whole
        want = eager(*data).item()
        assert step(*data).item() == pytest.approx(want, rel=1e-12)
    assert step.native == [True]
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(b.data, a.data, 1e-12, 1e-12)
        np.testing.assert_allclose(b.grad, a.grad, 1e-12, 1e-12 * np.abs(a.grad).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_all_widths(dtype: str) -> None:
    """Rows that end at any place in a register, and numbers of rows that come out even or not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 5)).astype(dtype)
    factors = [tg.Tensor(rng.normal(size=(5, n)).astype(dtype)) for n in range(1, 18)]
    step = tg.compile(lambda x: [tg.Tensor(x) @ w for w in factors], backend="numba")
    step(x)
    assert step.native == [True]
    for found, w in zip(step(x), factors, strict=True):
        np.testing.assert_allclose(found.data, x @ w.data, rtol=1e-4, atol=1e-5)


def test_orders_and_sources_of_all_kinds_are_the_same_epoch() -> None:
    model = network(5, 4, 1)
    step = tg.compile(
        training(model, optim.SGD(model.parameters(), lr=0.0), tg.mse_loss), backend="numba"
    )
    x, y = (np.concatenate(parts) for parts in zip(*batches(8, 5, 1, float, 4), strict=True))
    order = np.random.default_rng(0).permutation(len(x)).reshape(-1, 8)
    want = step.epoch(x, y, order=order)
    assert step.native == [True]
    kept = want.copy()
    for other in (order.tolist(), order.astype("i4"), order.astype("u8"), np.asfortranarray(order)):
        np.testing.assert_array_equal(step.epoch(x, y, order=other), want)
    np.testing.assert_array_equal(step.epoch(np.asfortranarray(x), y, order=order), want)
    for number, as_type in ((-1, "i8"), (len(x), "i8"), (2**64 - 1, "u8"), (-1, "i2")):
        bad = order.astype(as_type)
        bad[-1, -1] = number
        with pytest.raises(IndexError, match=f"{len(x)} rows"):
            step.epoch(x, y, order=bad)
    for size in (4, 8):  # batches of one kind after the other
        rows = order.reshape(-1, size)
        assert step.epoch(x, y, order=rows).shape == (len(rows),)
    assert step.epoch(x.astype("f4"), y.astype("f4"), order=order).shape == (len(order),)
    np.testing.assert_array_equal(want, kept)  # must not be overwritten


def test_what_has_no_loop_runs_on_numpy_and_says_so() -> None:
    @tg.primitive(lambda g, y, x: 2 * g * x)
    def own(x: Any) -> Any:
        return x * x

    step = tg.compile(lambda x: own(x).sum(), backend="numba")
    assert step(np.arange(3.0)).item() == 5.0
    assert step.native == ["there is no loop for own of (3,)"]
    np.testing.assert_array_equal(step.epoch(np.arange(4.0), order=[[0, 1], [2, 3]]), [1.0, 13.0])


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r"tinygrad_edu\[native\]"):
        tg.compile(lambda x: x + 1, backend="numba")(np.ones(2))


@pytest.mark.parametrize(
    ("order", "error"),
    [([0, 1], TypeError), ([[0.0]], TypeError), ([[4]], IndexError), ([[-1]], IndexError)],
)
def test_orders_that_name_no_rows_are_refused(order: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        tg.compile(lambda x: x.sum()).epoch(np.arange(4.0), order=order)


def test_only_steps_that_give_numbers_have_epochs() -> None:
    with pytest.raises(TypeError, match="numbers"):
        tg.compile(lambda x: x * 2).epoch(np.arange(4.0), order=[[0, 1]])


def test_backends_have_names() -> None:
    with pytest.raises(ValueError, match="'numpy' or 'numba'"):
        tg.compile(lambda x: x, backend="jax")


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh"])
def test_mathematics_is_exact_to_the_last_digits_and_at_all_ends(name: str, bits: int) -> None:
    import numba

    from tinygrad_edu.capturing import mathematics

    function = getattr(mathematics, f"{name}{'_' * (name == 'expm1')}{bits}")

    @numba.njit
    def each(x: Any, out: Any) -> None:
        for i in range(len(x)):
            out[i] = function(x[i])

    dtype = np.dtype(f"float{bits}")
    limits = np.finfo(dtype)
    largest = float(np.log(limits.max))
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        x = np.concatenate(
            [
                np.linspace(-1.2 * largest, 1.2 * largest, 4001),
                rng.normal(size=4000),
                10 ** rng.uniform(np.log10(limits.smallest_subnormal), np.log10(limits.max), 4000),
                -(10 ** rng.uniform(-30, 2, 4000)),
                [limits.tiny, limits.tiny / 8, limits.max],
                [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1.0, 1e6, -1e6],
            ]
        ).astype(dtype)
        exact = getattr(np, name)(x.astype(np.longdouble))
        want = exact.astype(dtype)
        found = np.empty_like(x)
        each(x, found)
        same = (found == want) | (np.isnan(found) & np.isnan(want))
        away = np.abs(found - exact) / np.spacing(np.abs(want))
    assert (same | (away < 3)).all(), x[~(same | (away < 3))]
