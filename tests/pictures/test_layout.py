"""Layouts of random graphs: nothing overlaps, and lines go from left to right, around boxes."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_edu.pictures.layout import Frame, Node, Point, lay_out, stack

ALMOST = 1e-6


class Drawn(NamedTuple):
    """A graph that has been laid out."""

    root: Frame
    frames: list[Frame]
    nodes: list[Node]
    lines: list[tuple[Node, Node]]
    pieces: list[tuple[Node, Node, list[Point]]]


@st.composite
def graphs(draw: Any) -> Drawn:
    """A random graph without cycles, with frames as calls of modules are: nested, and each with
    what was made between its beginning and its end."""
    root = Frame(pad=0.0)
    open_frames, frames, nodes = [root], [], []
    for _ in range(draw(st.integers(1, 14))):
        change = draw(st.sampled_from(["", "", "", "in", "out"]))
        if change == "in" and len(open_frames) < 4:
            frames.append(Frame(width=draw(st.integers(0, 200)), head=18.0))
            open_frames[-1].parts.append(frames[-1])
            open_frames.append(frames[-1])
        elif change == "out" and len(open_frames) > 1:
            open_frames.pop()
        width, height = draw(st.integers(20, 120)), draw(st.integers(20, 80))
        node: Node = Node(width, height)
        if draw(st.integers(0, 3)):
            open_frames[-1].parts.append(node)
        else:
            leaf = Node(draw(st.integers(20, 120)), 30.0)
            open_frames[-1].parts.append(stack([node, leaf]))
        nodes.append(node)
    lines = [
        (nodes[i], nodes[j])
        for j in range(1, len(nodes))
        for i in draw(st.lists(st.integers(0, j - 1), max_size=3))
    ]
    return Drawn(root, frames, nodes, lines, lay_out(root, lines))


def corners(node: Node) -> tuple[float, float, float, float]:
    return node.x, node.y, node.x + node.width, node.y + node.height


def apart(a: Node, b: Node) -> bool:
    """Return True if two boxes do not overlap."""
    (west, north, east, south), (left, top, right, bottom) = corners(a), corners(b)
    return (
        east <= left + ALMOST
        or right <= west + ALMOST
        or south <= top + ALMOST
        or bottom <= north + ALMOST
    )


def within(a: Node, b: Node) -> bool:
    (west, north, east, south), (left, top, right, bottom) = corners(a), corners(b)
    return (
        left <= west + ALMOST
        and east <= right + ALMOST
        and top <= north + ALMOST
        and south <= bottom + ALMOST
    )


def around(node: Node) -> list[Node]:
    found = []
    while node.inside is not None:
        node = node.inside
        found.append(node)
    return found


@given(graphs())
def test_nothing_overlaps(drawn: Drawn) -> None:
    everything = [*drawn.nodes, *drawn.frames]
    for a, b in combinations(everything, 2):
        if a in around(b):
            assert within(b, a)
        elif b in around(a):
            assert within(a, b)
        else:
            assert apart(a, b)
    for node in everything:
        assert within(node, drawn.root)
        frames = [frame for frame in around(node) if frame in drawn.frames]
        if frames:  # the title has its place
            assert node.y >= frames[0].y + 18


@given(graphs())
def test_lines_go_from_left_to_right_around_the_boxes(drawn: Drawn) -> None:
    titles = [Node(frame.width, 18.0, frame.x, frame.y) for frame in drawn.frames]
    for a, b, points in drawn.pieces:
        for (x, y), (u, v) in pairwise(points):
            assert x <= u + ALMOST
            strip = Node(u - x, abs(v - y), x, min(y, v))  # a bend stays in there
            for other in [*drawn.nodes, *titles]:
                assert other in (a, b) or apart(strip, other)
        assert points[0][0] == pytest.approx(a.x + a.width)
        assert points[-1][0] == pytest.approx(b.x)
        assert points[0][1] == pytest.approx(a.middle)
        assert abs(points[-1][1] - b.middle) <= b.height / 2 + ALMOST


@given(graphs())
def test_every_line_is_drawn_from_end_to_end(drawn: Drawn) -> None:
    """Following the pieces from a node one comes to those that its lines lead to, and no others."""
    after: dict[Node, list[Node]] = {}
    for a, b, _ in drawn.pieces:
        after.setdefault(a, []).append(b)
    for node in drawn.nodes:
        reached: list[Node] = []
        ahead = [node]
        while ahead:
            for target in after.get(ahead.pop(), []):
                (reached if target in drawn.nodes else ahead).append(target)
        expected = [b for a, b in drawn.lines if a is node]
        assert sorted(map(id, reached)) == sorted(map(id, expected))


def test_a_chain_is_straight() -> None:
    nodes = [Node(40, 20 + 10 * k) for k in range(6)]
    pieces = lay_out(Frame(parts=nodes), list(pairwise(nodes)))
    assert {round(y, 3) for *_, points in pieces for _, y in points} == {round(nodes[0].middle, 3)}


def test_what_can_be_drawn_without_crossings_is() -> None:
    a, b, c, d = (Node(40, 20) for _ in range(4))
    lay_out(Frame(parts=[a, b, c, d]), [(a, d), (b, c)])
    assert (a.y < b.y) == (d.y < c.y)


def test_a_skip_goes_around_what_it_skips() -> None:
    x, first, second, last = (Node(40, 30) for _ in range(4))
    frame = Frame(parts=[first, second], head=18)
    pieces = lay_out(
        Frame(parts=[x, frame, last]), [(x, first), (first, second), (second, last), (x, last)]
    )
    (skip,) = [points for a, b, points in pieces if a is x and b is last]
    level = [y for (_, y), (_, v) in pairwise(skip) if y == v]
    assert max(level) > frame.y + frame.height or min(level) < frame.y


def test_a_cycle_is_refused() -> None:
    a, b = Node(10, 10), Node(10, 10)
    with pytest.raises(ValueError, match="cycle"):
        lay_out(Frame(parts=[a, b]), [(a, b), (b, a)])
