"""Modules: how their parts are found, saved, loaded, converted and printed; errors inside them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.nn import Buffer, Linear, Module, Parameter, Sequential


def notes(error: pytest.ExceptionInfo[BaseException]) -> list[str]:
    return list(getattr(error.value, "__notes__", []))


class Affine(Module):
    """A layer of one's own, as the README has it."""

    def __init__(self, n: int) -> None:
        self.shift = Parameter(np.zeros(n))
        self.factor = Parameter(np.ones(n))

    def forward(self, x: Any) -> Any:
        return x * self.factor + self.shift


class Net(Module):
    """Parameters and modules in every place where they are found."""

    def __init__(self) -> None:
        self.zeta = Parameter([1.0])
        self.layers = [Linear(2, 3, rng=0), nn.ReLU(), Affine(3)]
        self.pair = (Affine(1), Parameter([2.0]))
        self.heads = {"b": Linear(3, 1, bias=False, rng=1), "a": [Parameter(3.0), {"x": Affine(2)}]}
        self.alpha = Parameter([4.0])
        self.nothing = None
        self.number = 3
        self.constant = tg.Tensor([5.0])
        self.variable = tg.Tensor([5.0], requires_grad=True)
        self.text = "weight"

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.heads["b"](x)  # type: ignore[operator]


NAMES = [
    "zeta",
    "layers.0.weight",
    "layers.0.bias",
    "layers.2.shift",
    "layers.2.factor",
    "pair.0.shift",
    "pair.0.factor",
    "pair.1",
    "heads.b.weight",
    "heads.a.0",
    "heads.a.1.x.shift",
    "heads.a.1.x.factor",
    "alpha",
]

# --- finding parameters ---------------------------------------------------------------------------


def test_parameters_are_found_everywhere_in_the_order_written() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert list(net.state_dict()) == NAMES
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert all(type(p) is Parameter for p in net.parameters())


def test_modules_are_found_with_their_paths() -> None:
    net = Net()
    named = dict(net.named_modules())
    assert list(named) == [
        "",
        "layers.0",
        "layers.1",
        "layers.2",
        "pair.0",
        "heads.b",
        "heads.a.1.x",
    ]
    assert named[""] is net
    assert named["layers.1"] is net.layers[1]
    assert list(net.modules()) == list(named.values())


def test_a_shared_parameter_or_module_is_found_once_under_its_first_name() -> None:
    net: Any = Module()
    net.first = Affine(2)
    net.again = [net.first, {"more": net.first.factor}]
    net.other = Affine(2)
    net.other.shift = net.first.shift
    assert [name for name, _ in net.named_parameters()] == [
        "first.shift",
        "first.factor",
        "other.factor",
    ]
    assert [name for name, _ in net.named_modules()] == ["", "first", "other"]


def test_a_shared_parameter_gets_both_errors_and_one_step() -> None:
    net = Sequential(Linear(1, 1, rng=0), Linear(1, 1, rng=1))
    first, second = net[0], net[1]
    assert isinstance(first, Linear) and isinstance(second, Linear)
    second.weight = first.weight
    first.weight.data = np.array([[3.0]])
    net(np.array([[1.0]])).sum().backward()
    assert_array_equal(first.weight.grad, [[6.0]])  # w · w · x
    optim.SGD(net.parameters(), lr=0.5).step()
    assert_array_equal(first.weight.data, [[0.0]])


def test_a_module_that_knows_its_parent() -> None:
    net: Any = Module()
    net.child = Affine(2)
    net.child.parent = net
    assert [name for name, _ in net.named_parameters()] == ["child.shift", "child.factor"]
    assert [name for name, _ in net.named_modules()] == ["", "child"]
    assert "(child): Affine(" in repr(net)


def test_a_module_without_parameters() -> None:
    assert list(nn.ReLU().parameters()) == []
    assert nn.ReLU().state_dict() == {}
    nn.ReLU().load_state_dict({})


def test_a_parameter_may_come_and_go() -> None:
    layer = Linear(2, 1, rng=0)
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer.bias = Parameter([1.0])
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer(np.zeros((1, 2))).item() == 1.0


@pytest.mark.parametrize(
    "value", [np.zeros((2, 1)), [[1.0], [1.0]], tg.Tensor(np.zeros((2, 1))), 1.0], ids=repr
)
def test_only_a_parameter_takes_the_place_of_a_parameter(value: Any) -> None:
    layer = Linear(2, 1, rng=0)
    weight = layer.weight
    with pytest.raises(TypeError, match=r"Linear\.weight is a Parameter, .*weight\.data = array"):
        layer.weight = value
    with pytest.raises(TypeError, match="received Tensor"):
        layer.weight -= 0.1 * weight.data
    assert layer.weight is weight
    layer.weight = Parameter(np.ones((2, 1)))
    assert next(iter(layer.parameters())) is layer.weight


# --- what is done to all of it --------------------------------------------------------------------


def test_train_and_eval_reach_every_module() -> None:
    net, other = Net(), Net()
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert all(module.training for module in other.modules())  # this network, not its class
    assert net.train() is net
    assert all(module.training for module in net.modules())
    net.train(False)
    assert not any(module.training for module in net.modules())


def test_zero_grad() -> None:
    net = Net()
    net(np.ones((4, 2))).sum().backward()
    assert any(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_state_dict_is_a_copy() -> None:
    layer = Linear(2, 1, rng=0)
    before = layer.weight.data.copy()
    state = layer.state_dict()
    state["weight"][:] = 7.0
    assert_array_equal(layer.weight.data, before)
    layer.load_state_dict(state)
    state["weight"][:] = 8.0
    assert_array_equal(layer.weight.data, [[7.0], [7.0]])
    assert layer.weight.grad is None


def test_load_state_dict_restores() -> None:
    net, other = Net(), Net()
    for p in net.parameters():
        p.data = np.full(p.shape, 0.5)
    tensors = list(other.parameters())
    other.load_state_dict(net.state_dict())
    assert all((p.data == 0.5).all() for p in other.parameters())
    assert all(a is b for a, b in zip(tensors, other.parameters(), strict=True))
    x = np.ones((1, 2))
    assert_array_equal(net(x).data, other(x).data)


def test_load_state_dict_keeps_the_dtype_and_takes_lists_and_tensors() -> None:
    layer = Linear(2, 1, rng=0, dtype=np.float32)
    layer.load_state_dict({"bias": tg.Tensor([2.0], requires_grad=True), "weight": [[1], [2]]})
    assert layer.weight.dtype == layer.bias.dtype == np.float32  # type: ignore[union-attr]
    assert layer.weight.data.tolist() == [[1.0], [2.0]]
    assert isinstance(layer.weight, Parameter)


GOOD = {"shift": np.full(2, 9.0), "factor": np.full(2, 9.0)}


def test_the_message_of_a_missing_name_is_printed_as_it_is() -> None:
    with pytest.raises(KeyError) as failed:
        nn.Linear(2, 1).load_state_dict({})
    assert str(failed.value) == (
        "the state does not fit Linear: missing ['weight', 'bias'], unknown []"
    )


@pytest.mark.parametrize(
    "state, error, messages",
    [
        ({"shift": np.ones(2)}, KeyError, ["Affine", "missing ['factor']", "unknown []"]),
        ({}, KeyError, ["missing ['shift', 'factor']"]),
        ({**GOOD, "more": 1.0}, KeyError, ["missing []", "unknown ['more']"]),
        ({"shift": GOOD["shift"], "fact": 1}, KeyError, ["missing ['factor']", "unknown ['fact']"]),
        (
            {**GOOD, "factor": np.ones(3)},
            ValueError,
            ["Affine", "factor: expected data of shape (2,), received (3,)"],
        ),
        (
            {"shift": 1.0, "factor": np.ones((2, 1))},
            ValueError,
            [
                "shift: expected data of shape (2,), received ()",
                "factor: expected data of shape (2,), received (2, 1)",
            ],
        ),
        ({**GOOD, "factor": ["a", "b"]}, TypeError, ["factor", "expected real numbers"]),
        ({**GOOD, "factor": [1j, 1.0]}, TypeError, ["factor", "expected real numbers"]),
        ({**GOOD, "factor": None}, TypeError, ["factor", "expected real numbers"]),
        ({**GOOD, "factor": [[1.0], [1.0, 2.0]]}, ValueError, ["factor", "rows of equal length"]),
        (
            {**GOOD, "factor": np.ma.masked_array([1.0, 2.0], [True, False])},
            TypeError,
            ["factor", "masked array"],
        ),
    ],
)
def test_load_state_dict_loads_all_or_nothing(
    state: Any, error: type[Exception], messages: list[str]
) -> None:
    layer = Affine(2)
    before = layer.state_dict()
    with pytest.raises(error) as refused:
        layer.load_state_dict(state)
    told = "\n".join([str(refused.value), *notes(refused)])
    for message in messages:
        assert message in told
    for name, array in layer.state_dict().items():
        assert_array_equal(array, before[name])


def test_load_state_dict_loads_nothing_if_a_cast_fails() -> None:
    net = Sequential(Linear(1, 1, rng=0, dtype=np.float32), Linear(1, 1, rng=0, dtype=np.float32))
    before = net.state_dict()
    state: dict[str, Any] = {name: np.ones(array.shape) for name, array in before.items()}
    state["1.weight"] = np.array([[1e300]])  # too much for float32
    with pytest.raises(RuntimeWarning, match="overflow"):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        assert_array_equal(array, before[name])


def test_every_parameter_has_a_name_of_its_own_in_the_state() -> None:
    net: Any = Module()
    net.heads = {1: Affine(1), "1": Affine(1)}  # both would be "heads.1"
    names = [name for name, _ in net.named_parameters()]
    try:
        state = net.state_dict()
    except (KeyError, TypeError, ValueError):
        return  # refused: as good
    assert len(state) == len(names) == 4


# --- in print -------------------------------------------------------------------------------------


def test_repr() -> None:
    assert repr(Linear(3, 2, rng=0)) == "Linear(3, 2)"
    assert repr(Linear(3, 2, bias=False, rng=0)) == "Linear(3, 2, bias=False)"
    assert repr(nn.Sigmoid()) == "Sigmoid()"
    assert repr(nn.Softmax(axis=0)) == "Softmax(axis=0)"
    assert repr(Affine(2)) == "Affine()"
    assert repr(Module()) == "Module()"
    assert repr(Sequential()) == "Sequential()"


def test_repr_of_modules_in_modules() -> None:
    assert repr(Net()) == "\n".join(
        [
            "Net(",
            "  (layers.0): Linear(2, 3)",
            "  (layers.1): ReLU()",
            "  (layers.2): Affine()",
            "  (pair.0): Affine()",
            "  (heads.b): Linear(3, 1, bias=False)",
            "  (heads.a.1.x): Affine()",
            ")",
        ]
    )
    inner = Sequential(nn.Tanh(), Sequential(nn.ReLU()))
    assert repr(inner) == (
        "Sequential(\n  (0): Tanh()\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )


# --- errors ---------------------------------------------------------------------------------------


def test_an_error_names_the_module_by_its_path_and_what_it_received() -> None:
    class Outer(Module):
        def __init__(self) -> None:
            self.net = Sequential(nn.Tanh(), Linear(3, 2, rng=0), Linear(4, 1, rng=0))

        def forward(self, x: Any) -> Any:
            return self.net(x)

    with pytest.raises(ValueError, match=r"Linear\(4, 1\) expects X with 4 columns") as failed:
        Outer()(np.ones((5, 3)))
    assert "received (5, 2) float64" in str(failed.value)
    assert notes(failed) == [
        "in Linear(4, 1), which received (5, 2) float64",
        "that is module '2' of Sequential",
        "that is module 'net.2' of Outer",
    ]


def test_an_error_of_the_outer_module_itself_is_its_own() -> None:
    class Outer(Module):
        def __init__(self) -> None:
            self.inner = Affine(2)

        def forward(self, x: Any, *, scale: float) -> Any:
            return self.inner(x) / {}

    with pytest.raises(TypeError) as failed:
        Outer()(np.ones((5, 2)), scale=3.0)
    (note,) = notes(failed)
    assert note == "in Outer(), which received (5, 2) float64, 3.0"


def test_an_error_that_was_dealt_with_leaves_no_trace() -> None:
    class Forgiving(Module):
        def __init__(self) -> None:
            self.layer = Linear(3, 1, rng=0)

        def forward(self, x: Any) -> Any:
            try:
                return self.layer(x)
            except ValueError:
                return self.layer(np.ones((1, 3)))

    net = Forgiving()
    assert net(np.ones((1, 9))).shape == (1, 1)
    with pytest.raises(TypeError) as failed:
        net(None)
    assert notes(failed)[-1] == "that is module 'layer' of Forgiving"


def test_a_module_without_forward_says_so() -> None:
    class Empty(Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(\)"):
        Empty()(1.0)


# --- buffers --------------------------------------------------------------------------------------


class Counting(Module):
    """Keeps a mean and a count, in every place where buffers are found."""

    def __init__(self) -> None:
        self.scale = Parameter([2.0])
        self.mean = Buffer([0.0])
        self.inside = [Linear(1, 1, rng=0), {"count": Buffer(0)}]

    def forward(self, x: Any) -> Any:
        self.mean.data = x.mean(axis=0)
        return x * self.scale - self.mean


def test_buffers_are_found_saved_and_loaded_but_are_no_parameters() -> None:
    net = Counting()
    assert [name for name, _ in net.named_buffers()] == ["mean", "inside.1.count"]
    assert [id(b) for b in net.buffers()] == [id(net.mean), id(net.inside[1]["count"])]  # type: ignore[index]
    assert [name for name, _ in net.named_parameters()] == [
        "scale",
        "inside.0.weight",
        "inside.0.bias",
    ]
    net(tg.Tensor([[1.0], [5.0]], requires_grad=True))
    state = net.state_dict()
    assert list(state) == ["scale", "mean", "inside.0.weight", "inside.0.bias", "inside.1.count"]
    assert state["mean"].tolist() == [3.0]
    other = Counting()
    other.load_state_dict(state)
    assert other.mean.data.tolist() == [3.0]
    state["mean"][:] = 7.0
    assert other.mean.data.tolist() == [3.0]
    with pytest.raises(ValueError, match=r"mean: expected data of shape \(1,\), received \(2,\)"):
        other.load_state_dict({**state, "mean": np.ones(2)})
    with pytest.raises(TypeError, match="count: expected data of dtype int64, received float64"):
        other.load_state_dict({**state, "inside.1.count": 1.5})


def test_a_buffer_is_not_trained_and_takes_only_the_numbers_of_a_tensor() -> None:
    net = Counting()
    x = tg.Tensor([[1.0], [5.0]], requires_grad=True)
    y = net(x)
    assert not net.mean.requires_grad
    assert net.mean.is_leaf
    y.backward(np.ones((2, 1)))
    assert net.mean.grad is None
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0], [2.0]]  # nothing came back through the mean


def test_a_buffer_has_its_own_memory_shape_and_dtype() -> None:
    data = np.array([1.0, 2.0], np.float32)
    buffer = Buffer(data)
    data[:] = 9.0
    assert buffer.data.tolist() == [1.0, 2.0]
    buffer.data = np.array([3.0, 4.0])
    assert buffer.dtype == np.float32
    with pytest.raises(ValueError, match="shape"):
        buffer.data = np.ones(3)
    with pytest.raises(TypeError, match="detach"):
        Buffer(tg.Tensor([1.0], requires_grad=True))
    for twin in (copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))):
        assert type(twin) is Buffer
        assert twin.data.tolist() == [3.0, 4.0]
        assert not twin.requires_grad


def test_only_a_buffer_takes_the_place_of_a_buffer() -> None:
    net = Counting()
    for value in (np.zeros(1), tg.Tensor([0.0]), Parameter([0.0])):
        with pytest.raises(TypeError, match=r"Counting\.mean is a Buffer, .*mean\.data = array"):
            net.mean = value  # type: ignore[assignment]
    net.mean = Buffer([4.0])
    assert net.state_dict()["mean"].tolist() == [4.0]


# --- other dtypes ---------------------------------------------------------------------------------


def test_to_converts_everything_that_is_floating() -> None:
    net = Counting()
    net(np.ones((2, 1))).sum().backward()
    tensors = [*net.parameters(), *net.buffers()]
    assert net.float() is net
    assert [t.dtype.name for t in (*net.parameters(), *net.buffers())] == ["float32"] * 4 + [
        "int64"
    ]
    assert net.scale.grad is not None
    assert net.scale.grad.dtype == np.float32
    assert all(a is b for a, b in zip(tensors, [*net.parameters(), *net.buffers()], strict=True))
    assert net(np.ones((2, 1), np.float32)).dtype == np.float32
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    optimizer.step()
    net.double()
    net(np.ones((2, 1))).sum().backward()
    optimizer.step()
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    with pytest.raises(TypeError, match="floating, received int64"):
        net.to(int)
    assert net.to("cpu") is net
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    for wrong in ("cuda", "cuda:0", object()):
        with pytest.raises(TypeError, match='there is one device, "cpu"'):
            net.to(wrong)


def test_a_forward_without_return_is_named() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Any) -> Any:
            x * 2

    with pytest.raises(TypeError, match=r"Doubled\.forward gave None") as failed:
        nn.Sequential(Doubled(), nn.Linear(2, 1, rng=0))(np.ones((3, 2)))
    assert "that is module '0' of Sequential" in failed.value.__notes__
