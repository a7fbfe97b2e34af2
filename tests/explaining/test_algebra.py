"""Index notation: simplification keeps the value, and does what school algebra does."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_edu.explaining.algebra import (
    Axis,
    Sum,
    Symbol,
    add,
    evaluate,
    fraction,
    multiply,
    number,
    of,
    power,
    rows_sum_to_one,
    scale,
    simplify,
    sum_key,
    summed,
)
from tinygrad_edu.explaining.matrices import Writer
from tinygrad_edu.explaining.notation import code, text, value

i, j, k = Axis(3), Axis(4), Axis(2)
SYMBOLS = {
    "a": (i,),
    "b": (i,),
    "x": (j,),
    "M": (i, j),
    "N": (i, j),
    "P": (j, k),
}
RNG = np.random.default_rng(0)
ARRAYS = {n: RNG.uniform(0.5, 2, [axis.size for axis in index]) for n, index in SYMBOLS.items()}


def symbol(name: str) -> Sum:
    return of(Symbol(name, SYMBOLS[name]))


@st.composite
def formulas(draw: Any, depth: int = 4) -> Sum:
    """Random formulas over the indices i and j (k is always summed over)."""
    kind = draw(st.sampled_from(["symbol", "number", "add", "times", "power", "sum", "over"]))
    if depth == 0 or kind == "symbol":
        name = draw(st.sampled_from(sorted(SYMBOLS)))
        s = symbol(name)
        return summed(s, [k]) if name == "P" else s
    if kind == "number":
        return number(draw(st.sampled_from([1, 2, -1, 0.5, -0.25])))
    a = draw(formulas(depth=depth - 1))
    if kind == "power":
        return power(a, Fraction(draw(st.sampled_from([1, 2, 3])))) if a.terms else a
    if kind == "sum":
        return summed(a, [draw(st.sampled_from([i, j]))])
    b = draw(formulas(depth=depth - 1))
    if kind == "add":
        return add(a, scale(b, draw(st.sampled_from([1, -1, 2]))))
    if kind == "over":
        return multiply(a, power(symbol(draw(st.sampled_from(["a", "M"]))), Fraction(-1)))
    return multiply(a, b)


@given(formulas())
def test_simplifying_keeps_the_value(s: Sum) -> None:
    before = evaluate(s, (i, j), ARRAYS, {})
    after = evaluate(simplify(s), (i, j), ARRAYS, {})
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9 * np.abs(before).max() + 1e-12)


@given(formulas(), formulas())
def test_equal_keys_mean_equal_values(a: Sum, b: Sum) -> None:
    if sum_key(a) == sum_key(b):
        np.testing.assert_allclose(
            evaluate(a, (i, j), ARRAYS, {}), evaluate(b, (i, j), ARRAYS, {}), rtol=1e-9
        )


def test_sums_over_different_letters_are_not_mixed_up() -> None:
    """Σᵢⱼ aᵢbᵢxⱼ and Σᵢⱼ aᵢbᵢMᵢⱼ differ, (Σa)² is not Σa²."""
    a = symbol("a")
    square = multiply(summed(a, [i]), summed(a, [i]))
    assert sum_key(square) != sum_key(summed(power(a, Fraction(2)), [i]))
    total = ARRAYS["a"].sum()
    np.testing.assert_allclose(evaluate(square, (), ARRAYS, {}), total**2)


def test_school_algebra() -> None:
    a, b = symbol("a"), symbol("b")
    assert simplify(add(a, scale(a, -1))) == Sum()
    assert sum_key(simplify(multiply(a, power(a, Fraction(-1))))) == sum_key(number(1))
    assert sum_key(simplify(add(multiply(a, b), multiply(b, a)))) == sum_key(
        scale(multiply(a, b), 2)
    )


def test_a_cancelled_letter_counts() -> None:
    """Σᵢ aᵢ/aᵢ = 3."""
    a = symbol("a")
    assert evaluate(summed(multiply(a, power(a, Fraction(-1))), [i]), (), ARRAYS, {}) == 3
    one = summed(multiply(symbol("a"), power(symbol("a"), Fraction(-1))), [i])
    assert sum_key(simplify(one)) == sum_key(number(3))


def test_a_fact_is_used_only_where_it_says_something() -> None:
    rule = [rows_sum_to_one({"M"})]
    assert sum_key(simplify(summed(symbol("M"), [j]), rule)) == sum_key(number(1))
    weighted = summed(multiply(symbol("M"), symbol("x")), [j])
    assert sum_key(simplify(weighted, rule)) == sum_key(weighted)
    columns = summed(symbol("M"), [i])
    assert sum_key(simplify(columns, rule)) == sum_key(columns)


def test_numbers_are_the_fractions_they_were_written_as() -> None:
    assert fraction(0.01) == Fraction(1, 100)
    assert fraction(1 / 101) == Fraction(1, 101)
    assert float(fraction(0.1 + 0.2)) == 0.1 + 0.2
    assert float(fraction(1e-10)) == 1e-10


def test_matrices_are_found_again() -> None:
    """Σᵢ Mᵢⱼ aᵢ is Mᵀa, Σⱼ Mᵢⱼ Pⱼₖ is MP; the code of the tree gives the value."""
    cases = {
        "Mᵀa": (summed(multiply(symbol("M"), symbol("a")), [i]), (j,)),
        "MP": (summed(multiply(symbol("M"), symbol("P")), [j]), (i, k)),
        "PᵀMᵀ": (summed(multiply(symbol("M"), symbol("P")), [j]), (k, i)),
        "axᵀ": (multiply(symbol("a"), symbol("x")), (i, j)),
        "sum(M)": (summed(symbol("M"), [i, j]), ()),
        "aᵀb": (summed(multiply(symbol("a"), symbol("b")), [i]), ()),
        "col(a) ⊙ M": (multiply(symbol("a"), symbol("M")), (i, j)),
        "x ⊙ M": (multiply(symbol("x"), symbol("M")), (i, j)),
    }
    for written, (s, index) in cases.items():
        tree = Writer({}).write(s, index)
        assert text(tree) == written
        got = np.reshape(value(tree, ARRAYS, {}), [axis.size for axis in index])
        np.testing.assert_allclose(got, evaluate(s, index, ARRAYS, {}), err_msg=code(tree))
