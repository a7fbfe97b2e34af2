"""The examples of docs/custom-layers.md: PyTorch's numbers, in no more lines than PyTorch takes.

That the page's code runs and prints what it says is tested with the other pages in test_docs.
"""

from __future__ import annotations

import ast
import copy
import pickle
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg
from tests.test_docs import ROOT
from tinygrad_edu import nn, optim

PAGE = (ROOT / "docs" / "custom-layers.md").read_text(encoding="utf-8")
EXAMPLES = PAGE.partition("## With everything else")[0]
BLOCKS = re.findall(r"^```python\n(.*?)^```\n", EXAMPLES, re.MULTILINE | re.DOTALL)
THEIRS = (ROOT / "tests" / "tools" / "pytorch_layers.py").read_text(encoding="utf-8")

NAMES = {
    "Swish, with its rule": ("swish", "Swish"),
    "dense with weight normalisation": ("WeightNorm",) * 2,
    "Dropout": ("Dropout",) * 2,
    "BatchNorm1d": ("BatchNorm1d",) * 2,
    "LayerNorm": ("LayerNorm",) * 2,
    "Embedding": ("Embedding",) * 2,
    "Conv2d": ("Conv2d",) * 2,
    "MaxPool2d": ("MaxPool2d",) * 2,
    "recurrent cell": ("Recurrent",) * 2,
    "loss (Huber)": ("huber",) * 2,
    "initial weights (He)": ("he_normal",) * 2,
    "optimizer (RMSprop)": ("RMSprop",) * 2,
    "schedule (warm-up)": ("Warmup",) * 2,
}


def definitions(source: str) -> dict[str, ast.stmt]:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name: node for node in ast.parse(source).body if isinstance(node, kinds)}


def lines_of(source: str, name: str) -> int:
    """The lines of a class or function with its decorators, without empty ones and comments."""
    node: Any = definitions(source)[name]
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    lines = source.splitlines()[first - 1 : node.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@cache
def examples() -> dict[str, Any]:
    """Return the definitions of the page, without the code that uses them."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in BLOCKS:
        kept = (ast.ClassDef, ast.FunctionDef, ast.Import, ast.ImportFrom)
        tree = ast.parse(block)
        tree.body = [n for n in tree.body if isinstance(n, kept) and "sklearn" not in ast.dump(n)]
        exec(compile(tree, "custom-layers.md", "exec"), names)
    return names


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", NAMES)
def test_no_example_takes_more_lines_than_in_pytorch(what: str) -> None:
    ours, theirs = NAMES[what]
    here, there = lines_of("".join(BLOCKS), ours), lines_of(THEIRS, theirs)
    assert here <= there
    assert f"| {what} | {here} | {there} |" in PAGE


def test_the_table_has_every_example_and_nothing_else() -> None:
    rows = re.findall(r"^\| (.+?) \| \d+ \| \d+ \|$", PAGE, re.MULTILINE)
    assert rows == [*NAMES]
    theirs = {name for _, name in NAMES.values()}
    assert theirs == set(definitions(THEIRS))
    assert {name for name, _ in NAMES.values()} == set(definitions("".join(BLOCKS)))


def test_lines_are_counted_without_empty_ones_and_comments() -> None:
    source = "@a\ndef f():\n\n    # why\n    x = 1\n    return x\n\n\ny = 2\n"
    assert lines_of(source, "f") == 4


# --- numbers --------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
LAYERS: dict[str, tuple[tuple[Any, ...], Any, Callable[[], nn.Module] | None]] = {
    "WeightNorm": ((4, 3), RNG.normal(size=(6, 4)), None),
    "BatchNorm1d": ((4,), RNG.normal(size=(6, 4)), lambda: nn.BatchNorm1d(4)),
    "LayerNorm": ((4,), RNG.normal(size=(6, 4)), lambda: nn.LayerNorm(4)),
    "Embedding": ((5, 3), RNG.integers(0, 5, (6, 2)), lambda: nn.Embedding(5, 3)),
    "Conv2d": ((2, 3, 3), RNG.normal(size=(2, 2, 6, 6)), lambda: nn.Conv2d(2, 3, 3)),
    "MaxPool2d": ((2,), RNG.normal(size=(2, 2, 6, 6)), lambda: nn.MaxPool2d(2)),
    "Recurrent": ((2, 3), RNG.normal(size=(4, 5, 2)), None),
}


def filled(name: str) -> Any:
    layer = examples()[name](*LAYERS[name][0])
    rng = np.random.default_rng(1)
    for p in layer.parameters():
        p.data = rng.normal(size=p.shape)
    return layer


def passes(layer: Any, x: Any) -> tuple[Any, dict[str, Any], Any]:
    """Output, gradients and state after two passes in training, and the output in eval."""
    layer(x)
    y = layer(x)
    if y.requires_grad:
        (y * np.cos(np.arange(y.size)).reshape(y.shape)).sum().backward()
    found = {name: p.grad for name, p in layer.named_parameters()}
    return y.data, {**layer.state_dict(), **found}, layer.eval()(x).data


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_the_page_gives_pytorchs_numbers(name: str) -> None:
    torch = pytest.importorskip("torch")
    import tests.tools.pytorch_layers as theirs

    arguments, x, _ = LAYERS[name]
    layer = filled(name)
    twin = getattr(theirs, name)(*arguments).double()
    twin.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    data: Any = tg.Tensor(x, requires_grad=x.dtype.kind == "f")
    mine, state, evaluated = passes(layer, data)

    twin(torch.tensor(x))
    given = torch.tensor(x, requires_grad=x.dtype.kind == "f")
    y = twin(given)
    (y * torch.cos(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)).sum().backward()
    assert_allclose(mine, y.detach(), rtol=1e-10, atol=1e-12)
    want = dict(twin.state_dict()) | {k: p.grad for k, p in twin.named_parameters()}
    assert state.keys() == want.keys()
    for key, array in state.items():
        assert_allclose(array, want[key].detach(), rtol=1e-10, atol=1e-12, err_msg=key)
    if data.requires_grad:
        assert_allclose(data.grad, given.grad, rtol=1e-10, atol=1e-12)
    assert_allclose(evaluated, twin.eval()(torch.tensor(x)).detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, (*_, ready) in LAYERS.items() if ready])
def test_a_layer_of_the_page_gives_the_numbers_of_the_ready_made_one(name: str) -> None:
    _, x, make = LAYERS[name]
    assert make
    layer, ready = filled(name), make()
    data: list[Any] = [tg.Tensor(x, requires_grad=x.dtype.kind == "f") for _ in range(2)]
    for p, q in zip(ready.parameters(), layer.parameters(), strict=True):
        p.data = q.data.reshape(p.shape)
    mine, state, evaluated = passes(layer, data[0])
    other, other_state, other_evaluated = passes(ready, data[1])
    assert_allclose(mine, other, rtol=1e-12, atol=1e-13)
    assert_allclose(evaluated, other_evaluated, rtol=1e-12, atol=1e-13)
    for key, array in state.items():
        if array is not None:
            assert_allclose(np.ravel(array), np.ravel(other_state[key]), rtol=1e-11, atol=1e-13)
    if data[0].requires_grad:
        assert_allclose(data[0].grad, data[1].grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_the_page_is_saved_copied_and_stays_float32(name: str) -> None:
    _, x, _ = LAYERS[name]
    layer = filled(name)
    layer(tg.Tensor(x))
    twin = examples()[name](*LAYERS[name][0])
    twin.load_state_dict(layer.state_dict())
    given = tg.Tensor(x)
    assert_array_equal(twin.eval()(given).data, layer.eval()(given).data)
    assert_array_equal(copy.deepcopy(layer)(given).data, layer(given).data)
    assert layer.float()(x if x.dtype.kind == "i" else x.astype(np.float32)).dtype == np.float32


def test_swish_is_silu_to_second_order_and_its_rule_is_right() -> None:
    swish, x = examples()["swish"], np.linspace(-3, 3, 7)
    t = tg.Tensor(x, requires_grad=True)
    for f in (swish, tg.silu):
        first = tg.grad(f(t), t, np.ones(7), create_graph=True)
        second = tg.grad(first, t, np.ones(7))
        h = 1e-5
        assert_allclose(first.data, (f(x + h) - f(x - h)) / (2 * h), rtol=1e-8, atol=1e-9)
        assert_allclose(second, (f(x + h) - 2 * f(x) + f(x - h)) / h**2, rtol=1e-4, atol=1e-5)
        assert f(x.astype(np.float32)).dtype == np.float32
    model = nn.Sequential(nn.Linear(4, 5, rng=0), Swish(swish), nn.Linear(5, 3, rng=1))
    shown = tg.explain(model, tg.cross_entropy, RNG.normal(size=(8, 4)), np.arange(8) % 3)
    assert shown.formulas["W2"] == "swish(Z1)ᵀ·(A2 − Y)/m"


class Swish(nn.Module):
    def __init__(self, f: Callable[[Any], Any]) -> None:
        self.f = f

    def forward(self, x: Any) -> Any:
        return self.f(x)


def test_dropout_of_the_page_is_the_ready_made_one() -> None:
    x = RNG.normal(size=(5, 4))
    mine, ready = examples()["Dropout"](0.3, rng=2), nn.Dropout(0.3, rng=2)
    for _ in range(3):
        assert_allclose(mine(x), ready(x), rtol=1e-15)
    assert mine.eval()(x) is x


def test_loss_and_first_weights_of_the_page() -> None:
    torch = pytest.importorskip("torch")
    import tests.tools.pytorch_layers as theirs

    a, t = RNG.normal(size=(20,)) * 2, RNG.normal(size=(20,))
    x: Any = tg.Tensor(a, requires_grad=True)
    given = torch.tensor(a, requires_grad=True)
    loss, other = examples()["huber"](x, t), theirs.huber(given, torch.tensor(t))
    loss.backward()
    other.backward()
    assert_allclose(loss.data, other.detach(), rtol=1e-12)
    assert_allclose(x.grad, given.grad, rtol=1e-12)
    assert_allclose(loss.data, torch.nn.functional.huber_loss(given, torch.tensor(t)).detach())
    drawn = examples()["he_normal"]((50, 60), np.random.default_rng(0))
    other = theirs.he_normal(torch.empty(60, 50, dtype=torch.float64))
    assert drawn.std() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert float(other.std()) == pytest.approx((2 / 50) ** 0.5, rel=0.05)


def test_optimizer_and_schedule_of_the_page_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    import tests.tools.pytorch_layers as theirs

    w = tg.Tensor([1.0, -2.0], requires_grad=True)
    v, u = (torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64)) for _ in range(2))
    mine = examples()["RMSprop"]([w], lr=0.1)
    twin = theirs.RMSprop([v], lr=0.1)
    ready = torch.optim.RMSprop([u], lr=0.1)
    schedules = [examples()["Warmup"](mine), theirs.Warmup(twin), theirs.Warmup(ready)]
    for _ in range(50):
        for optimizer, p in ((mine, w), (twin, v), (ready, u)):
            optimizer.zero_grad()
            ((p - 0.5) ** 4).sum().backward()
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        assert mine.lr == pytest.approx(twin.param_groups[0]["lr"], rel=1e-14)
        assert_allclose(w.data, v.detach(), rtol=1e-10)
        assert_allclose(w.data, u.detach(), rtol=1e-10)


def test_optimizer_and_schedule_of_the_page_go_on_where_they_had_stood() -> None:
    def start() -> tuple[tg.Tensor, optim.Optimizer, Any]:
        w = tg.Tensor([1.0, -2.0], requires_grad=True)
        optimizer = examples()["RMSprop"]([w], lr=0.1)
        return w, optimizer, examples()["Warmup"](optimizer)

    def go(w: Any, optimizer: Any, schedule: Any, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            ((w - 0.5) ** 4).sum().backward()
            optimizer.step()
            schedule.step()

    straight, first, second = start(), start(), start()
    go(*straight, 20)
    go(*first, 8)
    state = pickle.loads(pickle.dumps([first[0].data, *(part.state_dict() for part in first[1:])]))
    second[0].data = state[0]
    second[1].load_state_dict(state[1])
    second[2].load_state_dict(state[2])
    go(*second, 12)
    assert straight[0].data.tobytes() == second[0].data.tobytes()
    assert straight[1].lr == second[1].lr
