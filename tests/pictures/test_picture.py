"""Pictures: what they show of a graph, told from their text, and that all of it can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from models import networks
from tinygrad_edu import nn
from tinygrad_edu.pictures.drawing import _width

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(8, 3)), rng.integers(0, 2, (8, 1)).astype(float)


class Residual(nn.Module):
    """x + f(x): the block of a user's own."""

    def __init__(self, n: int) -> None:
        self.inner, self.outer = nn.Linear(n, n, rng=0), nn.Linear(n, n, rng=1)

    def forward(self, x: Any) -> Any:
        return x + self.outer(tg.relu(self.inner(x)))


def two_layers(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    Z1 = X @ W1 + b1
    A1 = tg.sigmoid(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.sigmoid(Z2)
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / len(X)


SIZES: list[tuple[int, ...]] = [(3, 4), (4,), (4, 1), (1,)]


def variables() -> list[tg.Tensor]:
    return [tg.Tensor(rng.normal(size=s), requires_grad=True) for s in SIZES]


def texts(picture: Any) -> list[list[str]]:
    """The lines of text in each box."""
    root = ElementTree.fromstring(picture.svg)
    boxes = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    return [[line.text or "" for line in box.iter(f"{SVG}text")] for box in boxes]


def titles(picture: Any) -> list[str]:
    """The titles of the modules."""
    root = ElementTree.fromstring(picture.svg)
    return [t.text or "" for t in root.iter(f"{SVG}text") if t.get("font-style") == "italic"]


def arrows(picture: Any) -> set[tuple[str, str]]:
    """The lines, from the first line of a box's text to that of another."""
    names = dict(re.findall(r'(n\d+) \[label="(.*?)(?:\\n|")', picture.dot))
    found = re.findall(r"(n\d+) -> (n\d+);", picture.dot)
    return {(names[a], names[b]) for a, b in found}


# --- what is shown --------------------------------------------------------------------------------


def test_a_function_is_shown_with_its_own_names() -> None:
    picture = tg.picture(two_layers, X, Y, *variables())
    boxes = texts(picture)
    for expected in (
        ["X", "(8, 3)"],
        ["W1", "(3, 4)"],
        ["b1", "(4,)"],
        ["X @ W1", "(8, 4)"],
        ["Z1", "· + b1", "(8, 4)"],
        ["A1", "sigmoid", "(8, 4)"],
        ["Z2", "· + b2", "(8, 1)"],
        ["A2", "sigmoid", "(8, 1)"],
        ["1 − A2", "(8, 1)"],
        ["log", "(8, 1)"],
        ["sum", "()"],
        ["· / 8", "()"],
        ["Y", "(8, 1)"],
    ):
        assert expected in boxes
    assert len(boxes) == 15 + 4 + 3
    assert arrows(picture) >= {("X", "X @ W1"), ("W1", "X @ W1"), ("Z1", "A1"), ("A2", "1 − A2")}
    assert repr(picture).startswith("Picture(15 operations, 4 parameters, 3 constants;")


def test_a_result_is_shown_with_the_names_where_it_is_asked_for() -> None:
    W1, b1, W2, b2 = variables()
    Z1 = X @ W1 + b1
    named = (tg.tanh(Z1) @ W2 + b2).named("Z2")
    loss = tg.mse_loss(named, Y)
    boxes = texts(tg.picture(loss))
    assert ["W1", "(3, 4)"] in boxes
    assert ["Z1", "· + b1", "(8, 4)"] in boxes
    assert ["Z2", "· + b2", "(8, 1)"] in boxes
    assert ["X", "(8, 3)"] in boxes  # of the module, not of this function
    assert any(box[:2] == ["loss", "mse_loss"] for box in boxes)


def test_kinds_differ_in_shape_and_line_not_only_in_colour() -> None:
    frozen = nn.Parameter(np.ones(3), requires_grad=False, name="k")
    w = tg.Tensor(np.ones(3), requires_grad=True, name="w")
    picture = tg.picture(tg.exp(w * X) * frozen)
    looks = {}
    root = ElementTree.fromstring(picture.svg)
    for box in root.iter(f"{SVG}g"):
        if box.find(f"{SVG}title") is not None:
            rect, first = box.find(f"{SVG}rect"), box.find(f"{SVG}text")
            assert rect is not None and first is not None
            looks[first.text] = (
                rect.get("rx"),
                rect.get("stroke-width"),
                rect.get("stroke-dasharray"),
            )
    assert looks["w"] == looks["k"]
    assert ["k", "frozen", "(3,)"] in texts(picture)
    operation, parameter, constant = looks["exp"], looks["w"], looks["X"]
    assert constant[2] and not parameter[2] and not operation[2]
    assert float(parameter[1] or 0) > 2 * float(operation[1] or 9)
    assert float(parameter[0] or 9) == 0 < float(operation[0] or 0)
    assert all(f">{kind}<" in picture.svg for kind in ("operation", "parameter", "constant"))


def test_modules_are_boxes_and_what_they_receive_stands_outside() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), Residual(4), nn.Sigmoid(), nn.Linear(4, 1, rng=1))
    loss = tg.mse_loss(model(X), Y)
    picture = tg.picture(loss)
    assert titles(picture) == [
        "Sequential",
        "0: Linear(3, 4)",
        "1: Residual",
        "inner: Linear(4, 4)",
        "outer: Linear(4, 4)",
        "3: Linear(4, 1)",
    ]
    named = ["X", "Y", "Z1", "Z2", "Z3", "Z4", "A2", "W1", "b1", "W2", "b2", "W3", "b3", "W4", "b4"]
    assert {box[0] for box in texts(picture)} >= set(named)
    depth = 0
    where = {}
    for line in picture.dot.splitlines():
        depth += line.rstrip().endswith("{")
        depth -= line.strip() == "}"
        if found := re.search(r'label="(.*?)\\n', line):
            where[found[1]] = depth
    assert (where["X"], where["W1"], where["Z1 + Z3"], where["W2"], where["Y"]) == (1, 3, 3, 4, 1)


def test_a_module_called_twice_has_two_boxes_and_one_set_of_parameters() -> None:
    layer = nn.Linear(3, 3, rng=0)
    picture = tg.picture(layer(tg.tanh(layer(X))).sum())
    assert titles(picture) == ["Linear(3, 3)"] * 2
    assert sum(box[0] == "W" for box in texts(picture)) == 1


def test_weights_that_are_used_before_their_module_runs_stand_outside_of_it() -> None:
    layer = nn.Linear(3, 3, rng=0)
    picture = tg.picture(layer(X * layer.weight.sum()).sum())  # would be a cycle of boxes
    assert titles(picture) == ["Linear(3, 3)"]


@pytest.mark.parametrize(
    ("depth", "kinds"),
    [
        (0, "1 operation, 2 constants, 1 module"),
        (1, "1 operation, 2 constants, 3 modules"),
        (2, "5 operations, 4 parameters, 2 constants, 2 modules"),
        (None, "7 operations, 8 parameters, 2 constants"),
    ],
)
def test_modules_are_opened_as_far_as_is_asked(depth: int | None, kinds: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), Residual(4), nn.Linear(4, 1, rng=1))
    loss = tg.mse_loss(model(X), Y)
    picture = tg.picture(loss, depth=depth)
    assert repr(picture).startswith(f"Picture({kinds};")
    if depth == 1:
        assert ["1: Residual", "(8, 4)"] in texts(picture)
        assert ("0: Linear(3, 4)", "1: Residual") in arrows(picture)


def test_gradients_are_shown_where_the_error_comes_by() -> None:
    W1, b1, W2, b2 = variables()
    picture = tg.picture(two_layers, X, Y, W1, b1, W2, b2, gradients=True)
    boxes = texts(picture)
    assert ["W1", "(3, 4)", "∂L/∂W1", "(3, 4)"] in boxes
    assert ["Z1", "· + b1", "(8, 4)", "∂L/∂Z1", "(8, 4)"] in boxes
    assert ["X", "(8, 3)"] in boxes
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    found = texts(tg.picture(x * (x > 1), gradients=True))
    assert ["x", "(2,)", "∂L/∂x", "(2,)"] in found
    assert all("∂" not in "".join(box) for box in found if "greater" in box)


def test_settings_and_numbers_stand_in_the_box_of_their_operation() -> None:
    x = tg.Tensor(rng.random((2, 3)), requires_grad=True, name="x")
    y = (2 * tg.sum(x**2, axis=0, keepdims=True)).clip(0.001234567, None)[0, 1:]
    boxes = [" ".join(box[:-1]) for box in texts(tg.picture(y))]
    assert any(box.startswith("x ^ 2") for box in boxes)
    assert any("sum axis=0 keepdims=True" in box for box in boxes)
    assert any("clip" in box and "0.001235" in box for box in boxes)
    assert not any("dtype" in box for box in boxes)  # nothing that was left as it is


def test_an_operation_of_ones_own_and_names_with_odd_letters() -> None:
    @tg.primitive(lambda g, y, x: 3 * g * x * x)
    def cube(x: Any) -> Any:
        return x**3

    x = tg.Tensor([1.0], requires_grad=True, name='<a & "b">')
    picture = tg.picture(cube(x))
    assert ["cube", "(1,)"] in [box[-2:] for box in texts(picture)]
    assert ['<a & "b">', "(1,)"] in texts(picture) or ["a_b", "(1,)"] in texts(picture)


class Middle(nn.Module):
    """A module around whatever a program does."""

    def __init__(self, act: Any) -> None:
        self.act, self.weight = act, nn.Parameter(np.ones(2))

    def forward(self, *tensors: Any) -> Any:
        return self.act(self.weight, *tensors)


@given(st.data())
def test_random_programs_have_pictures(data: st.DataObject) -> None:
    leaves = [tg.Tensor(np.ones(2), requires_grad=True) for _ in range(3)]
    pool: list[Any] = [*leaves, np.ones(2), 2.0]
    modules: list[Any] = [Middle(lambda w, x, y: tg.tanh(w * x) + y), Middle(lambda w, x, y: x * y)]
    pool += [module.weight for module in modules]
    modules.append(Middle(lambda w, x, y: modules[0](x * w, y) - modules[1](y, x)))
    for _ in range(data.draw(st.integers(1, 8))):
        act = data.draw(st.sampled_from([tg.add, tg.multiply, *modules]))
        pool.append(act(*(data.draw(st.sampled_from(pool)) for _ in range(2))))
    output = next((x for x in pool[::-1] if isinstance(x, tg.Tensor) and not x.is_leaf), None)
    if output is not None:
        for depth in (None, 0, 1):
            picture = tg.picture(output, depth=depth, gradients=depth is None)
            ElementTree.fromstring(picture.svg)
            assert picture.dot.count("{") == picture.dot.count("}")


def test_the_same_graph_gives_the_same_picture() -> None:
    W1, b1, W2, b2 = variables()
    assert len({tg.picture(two_layers, X, Y, W1, b1, W2, b2).svg for _ in range(2)}) == 1


def test_a_model_is_left_as_it_was() -> None:
    dropout = nn.Dropout(0.5, rng=1)
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), dropout)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    tg.picture(model, X)
    after = model.state_dict()
    assert all((after[name] == before[name]).all() for name in before)
    assert dropout.rng.random() == np.random.default_rng(1).random()


# --- that it can be read --------------------------------------------------------------------------


ALIVE: list[Any] = []  # a picture frames the modules that there are


def chapter(kind: str) -> Any:
    """The chapter's networks as they are trained, and a block of a user's own."""
    if kind == "S2":
        net: Any = networks.DualLayer(l2=0.01)
        ALIVE.append(net)
        net.fit(X, Y, epochs=1)
        return (net.criterion(net(X), Y, reduction="sum") + net.penalty()) / len(X)
    if kind == "S2 by hand":
        return two_layers(X, Y, *variables())
    if kind == "S5":
        images, targets = rng.random((6, 784)), np.eye(10)[:6]
        net = networks.MultiClassNetwork(units=100, batch_size=6)
        ALIVE.append(net)
        net.fit(images, targets, epochs=1)
        return net.criterion(net(images), targets)
    model = nn.Sequential(nn.Linear(3, 16, rng=0), Residual(16), nn.Linear(16, 1, rng=2))
    ALIVE.append(model)
    return tg.mse_loss(model(X), Y)


KINDS = ["S2", "S2 by hand", "S5", "a residual block"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradients", [False, True])
def test_the_chapters_networks_fit_a_slide(kind: str, gradients: bool) -> None:
    """1280 by 720, on which letters of 13 px should stay as large as 10."""
    root = ElementTree.fromstring(tg.picture(chapter(kind), gradients=gradients).svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert 13 * min(1280 / width, 720 / height) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_texts_stand_within_their_boxes(kind: str) -> None:
    font_manager = pytest.importorskip("matplotlib.font_manager")
    textpath = pytest.importorskip("matplotlib.textpath")
    measure = textpath.TextPath
    picture = tg.picture(chapter(kind), gradients=True)
    assert len(titles(picture)) > 3 or kind == "S2 by hand"
    lines = [(line, False) for box in texts(picture) for line in box]
    lines += [(box[0], True) for box in texts(picture)] + [(t, False) for t in titles(picture)]
    for text, bold in lines:  # in the widest of the usual fonts
        font = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else None)
        extents = measure((0, 0), text, size=13, prop=font).get_extents()
        assert extents.width <= _width(text, bold) + 10, text
    root = ElementTree.fromstring(picture.svg)
    for box in root.iter(f"{SVG}g"):
        rect = box.find(f"{SVG}rect")
        if box.find(f"{SVG}title") is not None and rect is not None:
            top, height = float(rect.get("y", 0)), float(rect.get("height", 0))
            for line in box.iter(f"{SVG}text"):
                assert top + 10 <= float(line.get("y", 0)) <= top + height - 3


def test_the_picture_in_the_documentation_is_what_its_code_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / "saving-and-pictures.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[:2]
    monkeypatch.chdir(tmp_path)
    exec(first + second, {"__name__": "page"})
    drawn = (tmp_path / "residual.svg").read_text(encoding="utf-8")
    assert drawn == (DOCS / "residual.svg").read_text(encoding="utf-8")


# --- files and mistakes ---------------------------------------------------------------------------


def test_it_shows_itself_in_a_notebook_and_saves_itself(tmp_path: Path) -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    picture = tg.picture(x * x)
    assert picture._repr_svg_() == picture.svg
    picture.save(tmp_path / "graph.svg")
    picture.save(str(tmp_path / "graph.dot"))
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == picture.svg
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8").startswith("digraph {")
    with pytest.raises(ValueError, match=r"graph\.png should end in \.svg, \.dot or \.gv"):
        picture.save(tmp_path / "graph.png")


def test_mistakes_are_named() -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    loss = x * x
    loss.backward()
    with pytest.raises(RuntimeError, match="released this graph; ask for the picture before"):
        tg.picture(loss)
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        tg.picture(tg.Tensor(3.0))
    with tg.no_grad(), pytest.raises(RuntimeError, match="nothing was recorded"):
        tg.picture(x * 2)
    with pytest.raises(TypeError, match="takes a tensor, a function or a model, received 3"):
        tg.picture(3)
    with pytest.raises(TypeError, match="the function gave None"):
        tg.picture(lambda x: None, x)
    with pytest.raises(TypeError, match="takes no inputs"):
        tg.picture(x * 2, X)


def test_a_variable_alone_is_a_picture_too() -> None:
    x = tg.Tensor([3.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        tg.picture(x)


def test_it_needs_nothing_but_numpy() -> None:
    code = """
import sys, numpy
before = set(sys.modules)
import tinygrad_edu as tg
x = tg.Tensor(3.0, requires_grad=True)
tg.picture(x * x)
print({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in (
        "{'tinygrad_edu'}",
        "{'numpy', 'tinygrad_edu'}",
        "{'tinygrad_edu', 'numpy'}",
    )


def test_calls_in_another_thread_frame_nothing_here() -> None:
    begun, go_on = Event(), Event()

    class Waiting(nn.Module):
        def forward(self, x: Any) -> Any:
            begun.set()
            assert go_on.wait(10)
            return x * 2

    thread = Thread(target=Waiting(), args=(np.ones(1),))
    thread.start()
    assert begun.wait(10)
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * 3).sum()  # while that module runs
    go_on.set()
    thread.join()
    assert "Waiting" not in tg.picture(y).svg


def test_a_model_that_the_graph_knows_nothing_of_takes_no_names() -> None:
    other = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=1))
    W = tg.Tensor(np.ones((3, 2)), requires_grad=True)
    picture = tg.picture((X @ W).sum())
    assert ">W</text>" in picture.svg and other is not None


def test_an_index_is_written_as_in_the_program() -> None:
    x = tg.Tensor(np.ones((3, 4, 2)), requires_grad=True)
    assert "index=(:, 1:3, …, None)" in tg.picture(x[:, 1:3, ..., None].sum()).svg


def test_a_deep_network_is_broken_into_rows_that_fit_a_slide() -> None:
    layers = [layer for k in range(18) for layer in (nn.Linear(8, 8, rng=k), nn.Tanh())]
    text = tg.picture(nn.Sequential(*layers), np.ones((4, 8))).svg
    root = ElementTree.fromstring(text)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert width < 1700 and 1.2 < width / height < 2.6
    rows = root.findall(f"{SVG}svg")
    assert len(rows) > 1
    boxes = 0
    for row in rows:
        left, _, wide, _ = map(float, row.attrib["viewBox"].split())
        for box in row.findall(f"{SVG}g/{SVG}rect"):  # none is cut
            assert left <= float(box.attrib["x"])
            assert float(box.attrib["x"]) + float(box.attrib["width"]) <= left + wide
            boxes += 1
    assert boxes == 18 * 4 + 1
