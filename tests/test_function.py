"""The bridge for those who know torch.autograd.Function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Function, Tensor, check_rule, gradcheck


class Exp(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y


class Scaled(Function):
    """k · x ⊙ w, the number k being a setting."""

    @staticmethod
    def forward(ctx: Any, x: Any, k: Any, w: Any) -> Any:
        ctx.save_for_backward(x, w)
        ctx.k = k
        return k * x * w

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, w = ctx.saved_tensors
        return g * ctx.k * w, None, g * ctx.k * x


def variable(data: Any) -> Tensor:
    return Tensor(data, requires_grad=True)


def scaled(x: Any, w: Any) -> Any:
    return Scaled.apply(x, 3.0, w)


def test_it_is_an_operation_like_any_other() -> None:
    x, w = variable([1.0, 2.0]), variable([[3.0, 4.0]])
    y = Scaled.apply(x, 2, w)
    assert repr(y) == "Tensor([[ 6., 16.]], from Scaled)"
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [6.0, 8.0]
    assert w.grad is not None and w.grad.tolist() == [[2.0, 4.0]]
    assert type(Exp.apply(np.zeros(2))) is np.ndarray
    assert not Exp.apply(Tensor([0.0])).requires_grad


def test_values_and_derivatives_of_both_orders() -> None:
    assert check_rule(Exp.apply, shapes="m n", examples=10)
    assert check_rule(scaled, examples=10)
    assert gradcheck(scaled, (np.array([1.0, 2.0]), np.array([[3.0], [4.0]])))


def test_backward_runs_once_for_all_arguments() -> None:
    calls = []

    class Product(Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            calls.append(g)
            a, b = ctx.saved_tensors
            return g * b, g * a

    a, b = variable(2.0), variable(3.0)
    y = Product.apply(a, b)
    for times in (1, 2):
        assert [float(g) for g in tg.grad(y, [a, b])] == [3.0, 2.0]
        assert len(calls) == times


def test_two_arguments_given_one_gradient_get_arrays_of_their_own() -> None:
    class Sum(Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            return a + b

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g

    a, b = variable([1.0]), variable([2.0])
    Sum.apply(a, b).backward()
    assert a.grad is not None and b.grad is not None
    a.grad[:] = 7
    assert b.grad.tolist() == [1.0]


def test_the_context_tells_which_gradients_are_wanted() -> None:
    seen = []

    class Look(Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            seen.append(ctx.needs_input_grad)
            assert all(not x.requires_grad for x in args if isinstance(x, Tensor))
            return args[0] * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g, None, None, None

    x = variable([1.0])
    assert tg.grad(Look.apply(x, np.ones(1), "text", None), x) == 2
    assert seen == [(True, False, False, False)]


@pytest.mark.parametrize("given", [lambda g: (g,), lambda g: g, lambda g: (g, None, g, g)])
def test_a_wrong_number_of_gradients_is_told(given: Any) -> None:
    class Wrong(Scaled):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return given(g)

    x = variable([1.0])
    with pytest.raises(TypeError, match=r"Wrong.backward gave \d gradients, expected 3: one for"):
        Wrong.apply(x, 2.0, x).backward()


def test_a_gradient_of_another_shape_is_told() -> None:
    class Wrong(Exp):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return np.ones(3)

    x = variable([1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(3,\) cannot be summed to \(2,\)") as caught:
        Wrong.apply(x).sum().backward()
    assert "in the rule of Wrong for (2,) float64" in caught.value.__notes__[0]


def test_several_results_are_refused() -> None:
    class Two(Exp):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x, x

    with pytest.raises(TypeError, match=r"Two.forward gave 2 results, expected one; .* tg.stack"):
        Two.apply(variable(1.0))


def test_what_is_not_written_is_told() -> None:
    class Half(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1.0

    with pytest.raises(NotImplementedError, match="backward"):
        Half.apply(variable(1.0)).backward()
    with pytest.raises(NotImplementedError, match="forward"):
        type("Empty", (Function,), {}).apply(variable(1.0))  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["saved", "attribute"])
def test_a_tensor_made_on_the_way_gives_first_derivatives_and_refuses_second(how: str) -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            twice = 2 * x
            if how == "saved":
                ctx.save_for_backward(twice)
            else:
                ctx.twice = twice
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * (ctx.saved_tensors[0] if how == "saved" else ctx.twice)

    x = variable([1.0, 3.0])
    y = Square.apply(x).sum()
    assert tg.grad(y, x).tolist() == [2.0, 6.0]
    with pytest.raises(RuntimeError, match="second derivative would be wrong"):
        tg.grad(y, x, create_graph=True)


def test_masks_may_be_kept_for_second_derivatives_too() -> None:
    class Ramp(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, x > 0)
            return tg.relu(x) ** 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, mask = ctx.saved_tensors
            return 2 * g * x * mask

    assert gradcheck(Ramp.apply, np.array([1.0, -2.0, 0.5]))


def test_an_instance_is_refused_with_the_way_to_call_it() -> None:
    class Twice(tg.Function):
        pass

    with pytest.raises(TypeError, match=r"called as Twice\.apply\(…\), not as Twice\(…\)"):
        Twice(tg.Tensor(1.0))
