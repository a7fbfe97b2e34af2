"""Hypothesis strategies: shapes, shapes that broadcast, axes, indices and sums of products."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.tools.domains import Shape, Shapes


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> st.SearchStrategy[Shape]:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=3)


@st.composite
def broadcastable(draw: st.DrawFn, n: int) -> Shapes:
    """Shapes of n arrays that NumPy broadcasts together: axes of length 1 or left out at will."""
    together = draw(shapes())
    drawn = []
    for _ in range(n):
        kept = [1 if draw(st.integers(0, 3)) == 0 else side for side in together]
        drawn.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return tuple(drawn)


@st.composite
def axes(draw: st.DrawFn, ndim: int) -> Any:
    """None, one axis, or a tuple of several (or none); counted from either end."""
    one = st.integers(0, ndim - 1).flatmap(lambda i: st.sampled_from([i, i - ndim]))
    several = st.permutations(range(ndim)).flatmap(
        lambda order: st.integers(0, ndim).map(lambda n: tuple(order[:n]))
    )
    return draw(st.one_of(st.none(), several, *([one] if ndim else [])))


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> Any:
    """Any index of an array of that shape: slices, numbers, new axes, lists of places, masks."""
    kinds: list[st.SearchStrategy[Any]] = [
        hnp.basic_indices(shape, allow_newaxis=True, max_dims=5),
        hnp.arrays(bool, shape),
    ]
    if shape and 0 not in shape:
        places = hnp.array_shapes(max_dims=2, max_side=3)
        kinds.append(hnp.integer_array_indices(shape, result_shape=places))
        kinds.append(st.lists(st.integers(-shape[0], shape[0] - 1), max_size=4))
    return draw(st.one_of(kinds))


@st.composite
def matrix_products(draw: st.DrawFn) -> Shapes:
    """Shapes of two factors: vectors, matrices, stacks of matrices that broadcast."""
    m, n, k = (draw(st.integers(0, 3)) for _ in range(3))
    left, right = draw(broadcastable(2))
    a = draw(st.sampled_from([(n,), (*left[:2], m, n)]))
    b = draw(st.sampled_from([(n,), (*right[:2], n, k)]))
    try:
        np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:  # the cut above may have parted them
        b = b[-2:]
    return a, b


@st.composite
def sums_of_products(draw: st.DrawFn) -> tuple[str, Shapes]:
    """Subscripts for einsum and shapes of its operands; letters are repeated and left out freely,
    and a length may be 1 in one operand and not in another."""
    sizes = {c: draw(st.integers(1, 3)) for c in "ijk"}
    terms = draw(st.lists(st.text("ijk", max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(used)))[: draw(st.integers(0, len(used)))]
    drawn = []
    for term in terms:
        short = {c for c in term if draw(st.integers(0, 5)) == 0}
        drawn.append(tuple(1 if c in short else sizes[c] for c in term))
    return f"{','.join(terms)}->{output}", tuple(drawn)
