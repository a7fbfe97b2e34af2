"""Layout: positions of boxes from left to right, and of the lines between them.

The method is Sugiyama's. The column of a node is the length of the longest path to it; a line over
several columns gets a position in each of them. Within a column, nodes are ordered by the mean
position of their neighbours, as long as that reduces crossings; heights are chosen so that lines
bend least. A frame, a box with nodes inside, is laid out first and is then a node of the frame
around it, with a port on its border for each line that crosses the border.

Source:  K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system
         structures", 1981
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

COLUMN_GAP, ROW_GAP, LINE_GAP, HANG_GAP, PAD = 24.0, 16.0, 9.0, 16.0, 10.0
SWEEPS = 12
Point = tuple[float, float]


@dataclass(eq=False)
class Node:
    """A box of a given size; after the layout `x`, `y` is its upper left corner.

    parts   the nodes inside, at positions relative to this one until the layout is complete

    Example:
        >>> Node(width=40, height=20, y=100).middle
        110.0
    """

    width: float = 0.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0
    parts: list[Node] = field(default_factory=list)
    inside: Node | None = field(default=None, repr=False)  # its repr would contain all others

    @property
    def middle(self) -> float:
        """The height of its centre, from the top of the picture."""
        return self.y + self.height / 2


@dataclass(eq=False)
class Frame(Node):
    """A box around nodes, with room for a title of height `head`, at least as wide as `width`.

    entries, exits   a port for each outer node from which lines enter, and for each inner node
                     from which lines leave
    lines            pairs to connect in this frame: nodes, ports, and ports of frames inside
    routes           the drawn lines: from, to, and the points between

    Example:
        >>> lay_out(frame := Frame(parts=[Node(40, 20)], head=18, pad=10), [])
        []
        >>> frame.width, frame.height
        (60, 58.0)
    """

    head: float = 0.0
    pad: float = PAD
    entries: dict[Node, Node] = field(default_factory=dict, repr=False)
    exits: dict[Node, Node] = field(default_factory=dict, repr=False)
    lines: list[tuple[Node, Node]] = field(default_factory=list, repr=False)
    routes: list[tuple[Node, Node, list[Point]]] = field(default_factory=list, repr=False)


def stack(nodes: Sequence[Node]) -> Node:
    """Return a node that contains nodes above one another: an operation and the leaves attached to
    it.

    Example:
        >>> stack([Node(10, 20), Node(30, 20)]).height - HANG_GAP
        40.0
    """
    whole = Node(max(node.width for node in nodes), parts=list(nodes))
    y = 0.0
    for node in nodes:
        node.x, node.y, node.inside = (whole.width - node.width) / 2, y, whole
        y += node.height + HANG_GAP
    whole.height = y - HANG_GAP
    return whole


def lay_out(
    root: Frame, lines: Iterable[tuple[Node, Node]]
) -> list[tuple[Node, Node, list[Point]]]:
    """Set the positions of everything inside `root`; return the pieces of the lines, each from one
    node or port to the next.

    Example:
        >>> a, b = Node(40, 20), Node(40, 20)
        >>> lay_out(frame := Frame(parts=[a, b], pad=0), [(a, b)])[0][2]
        [(40.0, 10.0), (64.0, 10.0)]
        >>> a.x, b.x, frame.width
        (0.0, 64.0, 104.0)
    """
    frames = [node for node in _descendants(root) if isinstance(node, Frame)]
    for source, target in lines:
        _cut_into_pieces(source, target)
    for frame in reversed(frames):  # inner frames first
        _Level(frame).place()
    pieces = []
    for node in _descendants(root):
        for part in _held_by(node):
            part.x, part.y = part.x + node.x, part.y + node.y
        if isinstance(node, Frame):
            for a, b, points in node.routes:
                pieces.append((a, b, [(x + node.x, y + node.y) for x, y in points]))
    return pieces


def _held_by(node: Node) -> Iterator[Node]:
    yield from node.parts
    if isinstance(node, Frame):
        yield from node.entries.values()
        yield from node.exits.values()


def _descendants(root: Node) -> list[Node]:
    """Return the node and all nodes inside, outer ones first; set for each the node around it."""
    found = [root]
    for node in found:  # grows on the way
        for part in node.parts:
            part.inside = node
            found.append(part)
    return found


def _frames_around(node: Node) -> list[Frame]:
    """Return the frames around a node, outermost first."""
    around, outer = [], node.inside
    while outer is not None:
        if isinstance(outer, Frame):
            around.append(outer)
        outer = outer.inside
    return around[::-1]


def _cut_into_pieces(source: Node, target: Node) -> None:
    """Cut a line into one piece for each frame that it passes, from port to port."""
    left, right = _frames_around(source), _frames_around(target)
    shared = sum(a is b for a, b in zip(left, right, strict=False))
    at = source
    for frame in reversed(left[shared:]):
        new = source not in frame.exits
        port = frame.exits.setdefault(source, Node(inside=frame))
        if new:
            frame.lines.append((at, port))
        at = port
    outer = left[shared - 1]
    for frame in right[shared:]:
        new = source not in frame.entries
        port = frame.entries.setdefault(source, Node(inside=frame))
        if new:
            outer.lines.append((at, port))
        outer, at = frame, port
    outer.lines.append((at, target))


class _Level:
    """The direct content of one frame: its items, which are nodes, frames, stacks and ports."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.entries, self.exits = list(frame.entries.values()), list(frame.exits.values())
        items = [*self.entries, *frame.parts, *self.exits]
        self.lines = [
            (a, b) for a, b in frame.lines if self.item(a) is not self.item(b)
        ]  # the others are inside of a stack
        self.hung = [(a, b) for a, b in frame.lines if self.item(a) is self.item(b)]
        self.column = self._columns(items)
        self.columns: list[list[Node]] = [
            [] for _ in range(max(self.column.values(), default=0) + 1)
        ]
        for item in items:
            self.columns[self.column[item]].append(item)
        # Each line as a chain of nodes. Its position in a column that it passes is a node too,
        # shared by all lines from the same source.
        self.chains: list[list[Node]] = []
        places: dict[tuple[Node, int], Node] = {}
        for a, b in self.lines:
            chain = [a]
            for k in range(self.column[self.item(a)] + 1, self.column[self.item(b)]):
                if (a, k) not in places:
                    places[a, k] = Node(inside=frame)
                    self.columns[k].append(places[a, k])
                    self.column[places[a, k]] = k
                chain.append(places[a, k])
            self.chains.append([*chain, b])
        self.places = set(places.values())
        self.before: dict[Node, list[tuple[Node, Node, float]]] = defaultdict(list)
        self.after: dict[Node, list[tuple[Node, Node, float]]] = defaultdict(list)
        targets = {b for _, b in frame.lines}
        for a, b in dict.fromkeys(step for chain in self.chains for step in pairwise(chain)):
            i, j = self.item(a), self.item(b)
            # Straight lines matter most between operations, and for long lines.
            passed = len({i, j} & self.places)
            leaf = a not in targets and a.inside is not None and a in a.inside.parts
            weight = 4.0 if passed == 2 else 0.05 if leaf or passed else 1.0
            self.after[i].append((a, b, weight))
            self.before[j].append((b, a, weight))

    def item(self, node: Node) -> Node:
        """Return the item of the frame that a node is, or is inside of."""
        while node.inside is not None and node.inside is not self.frame:
            node = node.inside
        return node

    def _columns(self, items: list[Node]) -> dict[Node, int]:
        """Return the column of each item: the length of the longest path to it. An item without
        incoming lines goes to the column before its first target.
        """
        after, missing = defaultdict(list), dict.fromkeys(items, 0)
        for a, b in self.lines:
            after[self.item(a)].append(self.item(b))
            missing[self.item(b)] += 1
        sources = [item for item in items if not missing[item]]
        column, ready = dict.fromkeys(items, 1 if self.entries else 0), list(sources)
        for item in self.entries:
            column[item] = 0
        for item in ready:  # grows on the way
            for target in after[item]:
                column[target] = max(column[target], column[item] + 1)
                missing[target] -= 1
                if not missing[target]:
                    ready.append(target)
        if len(ready) < len(items):
            raise ValueError("a graph with a cycle has no layout from left to right")
        for item in sources:
            if item not in self.entries and after[item]:
                column[item] = min(column[target] for target in after[item]) - 1
        last = max((column[item] for item in items if item not in self.exits), default=0) + 1
        return column | dict.fromkeys(self.exits, last)

    # --- the order in each column -----------------------------------------------------------------

    def _sort(self) -> None:
        self.number = {item: k for column in self.columns for k, item in enumerate(column)}
        best, fewest = [list(column) for column in self.columns], self._crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            forward = sweep % 2 == 0
            neighbours = self.before if forward else self.after
            for column in self.columns if forward else self.columns[::-1]:
                wanted = {}
                for k, item in enumerate(column):
                    near = [self._rank(b) for _, b, _ in neighbours[item]]
                    wanted[item] = sum(near) / len(near) if near else float(k)
                column.sort(key=wanted.__getitem__)
                self.number |= {item: k for k, item in enumerate(column)}
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(column) for column in self.columns], crossings
        self.columns = best

    def _rank(self, node: Node) -> float:
        """Return the position in the column; of two nodes in one item the upper one comes first."""
        item = self.item(node)
        return self.number[item] + self._down(node) / (item.height + 1)

    def _down(self, node: Node) -> float:
        """Return how far below the top of its item a line leaves or arrives."""
        item, y = self.item(node), node.height / 2
        while node is not item and node.inside is not None:
            y, node = y + node.y, node.inside
        return y

    def _crossings(self) -> int:
        """Return how many pairs of lines cross."""
        ends: dict[int, list[Point]] = defaultdict(list)
        for i, found in self.after.items():
            ends[self.column[i]] += [(self._rank(a), self._rank(b)) for a, b, _ in found]
        crossings = 0
        for pairs in ends.values():
            above: list[float] = []
            for _, end in sorted(pairs):
                crossings += len(above) - bisect_right(above, end)
                insort(above, end)
        return crossings

    # --- coordinates ------------------------------------------------------------------------------

    def place(self) -> None:
        """Set the coordinates of all items and ports, and the size of the frame."""
        self._sort()
        self._set_heights()
        left, right = self._set_columns()
        for port in self.entries:
            port.x = 0.0
        for port in self.exits:
            port.x = self.frame.width
        self._draw(left, right)

    def _set_heights(self) -> None:
        """Move each item towards the weighted mean height of its neighbours, in several sweeps."""
        for column in self.columns:
            self._spread(column, dict.fromkeys(column, 0.0), dict.fromkeys(column, 1.0))
        for sweep in range(5 * SWEEPS):
            forward = sweep % 2 == 0
            for column in self.columns if forward else self.columns[::-1]:
                wanted, weights = {}, {}
                for item in column:
                    near = self.before[item] + self.after[item]
                    weights[item] = sum(weight for *_, weight in near) or 0.01
                    total = sum(
                        weight * (self.item(b).y + self._down(b) - self._down(a))
                        for a, b, weight in near
                    )
                    wanted[item] = total / weights[item] if near else item.y
                self._spread(column, wanted, weights)

    def _set_columns(self) -> tuple[list[float], list[float]]:
        """Set x of all items, y within the frame, and the frame's size.

        Returns the left and the right edge of each column.
        """
        frame = self.frame
        items = [item for column in self.columns for item in column]
        top = min((item.y for item in items), default=0.0)
        x = frame.pad
        left: list[float] = []
        right: list[float] = []
        for k, column in enumerate(self.columns):
            width = max((item.width for item in column), default=0.0)
            ports = bool(self.entries) and k == 0 and not width
            left.append(x)
            right.append(x + width)
            for item in column:
                item.x = x + (width - item.width) / 2
                item.y += frame.pad + frame.head - top
            x += width + (PAD if ports else COLUMN_GAP)
        frame.width = max(frame.width, right[-1] + frame.pad if items else 0.0)
        bottom = max((item.y + item.height for item in items), default=frame.head + frame.pad)
        frame.height = bottom + frame.pad
        return left, right

    def _spread(
        self, column: list[Node], wanted: dict[Node, float], weights: dict[Node, float]
    ) -> None:
        """Set heights as near to the wanted ones as the order and the gaps allow: least squares, by
        pooling neighbours that would overlap.
        """
        blocks: list[list[float]] = []  # weight, weighted sum, members
        shift, shifts = 0.0, []
        for k, item in enumerate(column):
            if k:
                both = {column[k - 1], item} <= self.places
                shift += column[k - 1].height + (LINE_GAP if both else ROW_GAP)
            shifts.append(shift)
            blocks.append([weights[item], weights[item] * (wanted[item] - shift), 1])
            while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
                last = blocks.pop()
                blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
        heights = [_mean(block) for block in blocks for _ in range(int(block[2]))]
        for item, y, shift in zip(column, heights, shifts, strict=True):
            item.y = y + shift

    def _draw(self, left: list[float], right: list[float]) -> None:
        """Set the points of each line. It may bend between columns and is horizontal through
        them.
        """
        arriving = defaultdict(list)
        for n, chain in enumerate(self.chains):
            arriving[chain[-1]].append((self._y(chain[-2]), n))
        shift = {}
        for target, found in arriving.items():  # side by side where they arrive
            step = min(9.0, 0.7 * target.height / len(found))
            for k, (_, n) in enumerate(sorted(found)):
                shift[n] = (k - (len(found) - 1) / 2) * step
        for n, chain in enumerate(self.chains):
            a, b = chain[0], chain[-1]
            start, end = self._y(a), self._y(b) + shift[n]
            first, last = self.column[self.item(a)], self.column[self.item(b)]
            points = [(self._x(a) + a.width, start), (max(right[first], self._x(a)), start)]
            for k, place in enumerate(chain[1:-1], first + 1):
                points += [(left[k], place.y), (right[k], place.y)]
            points += [(min(left[last], self._x(b)), end), (self._x(b), end)]
            self.frame.routes.append((a, b, _without_needless(points)))
        for a, b in self.hung:
            x = self._x(a) + a.width / 2
            above = self._y(a) < self._y(b)
            ends = [self._y(a), self._y(b)]
            ends = (
                [ends[0] + a.height / 2, ends[1] - b.height / 2]
                if above
                else [ends[0] - a.height / 2, ends[1] + b.height / 2]
            )
            self.frame.routes.append((a, b, [(x, y) for y in ends]))

    def _y(self, node: Node) -> float:
        return self.item(node).y + self._down(node)

    def _x(self, node: Node) -> float:
        item, x = self.item(node), 0.0
        while node is not item and node.inside is not None:
            x, node = x + node.x, node.inside
        return item.x + x


def _without_needless(points: list[Point]) -> list[Point]:
    """Return the points of a line without those in the middle of a horizontal piece."""
    kept: list[Point] = []
    for point in points:
        if len(kept) > 1 and kept[-2][1] == kept[-1][1] == point[1]:
            kept.pop()
        if point not in kept[-1:]:
            kept.append(point)
    return kept


def _mean(block: list[float]) -> float:
    return block[1] / block[0]
