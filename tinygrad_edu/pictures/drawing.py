"""Drawing: a graph with groups as SVG, or as text for Graphviz.

    rounded box, thin line       an operation
    cornered box, thick line     a parameter
    oval, dashed line            a constant: data, targets
    cornered box, double line    a module that is not opened
    large box with a title       an opened module

Shapes and line styles distinguish the kinds without colour. Data flow from left to right; a leaf
that only one operation uses is attached to it. A picture too wide for a slide is broken into rows
between two boxes, like text: each row continues the one above.

`layout` computes the positions. networkx and igraph place points, not boxes of given sizes with
boxes inside, and Graphviz is a separate program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from html import escape
from itertools import pairwise
from typing import Any

from .layout import Frame, Node, Point, lay_out, stack

SIZE, LINE, MARGIN = 13.0, 16.0, 10.0  # px of letters, lines and the margin
WIDE = 1580.0  # px that fit on a slide
ARROW = 7.0


class Kind(Enum):
    """The kind of a box: operation, parameter, constant or module.

    Example:
        >>> [kind.value for kind in Kind]
        ['operation', 'parameter', 'constant', 'module']
    """

    OPERATION = "operation"
    PARAMETER = "parameter"
    CONSTANT = "constant"
    MODULE = "module"


@dataclass(eq=False)
class Group(Frame):
    """A box around others: an opened module.

    Example:
        >>> Group(title="Linear(3, 2)").title
        'Linear(3, 2)'
    """

    title: str = ""


@dataclass(eq=False)
class Shape(Node):
    """A box of the picture: its kind, its lines of text, and the group around it.

    named   True if the first line of the text is a name
    plain   the number of lines about the box itself; the others are about its gradient
    more    the tooltip

    Example:
        >>> Shape(text=["W1", "(30, 10)"], named=True).kind
        <Kind.OPERATION: 'operation'>
    """

    kind: Kind = Kind.OPERATION
    text: list[str] = field(default_factory=list)
    group: Frame | None = None
    named: bool = False
    plain: int = 99
    more: str = ""


class Graph:
    """Boxes, groups of boxes, and lines between boxes.

    Example:
        >>> graph = Graph()
        >>> x = graph.shape(Kind.CONSTANT, ["x"], None)
        >>> graph.line(x, graph.shape(Kind.OPERATION, ["exp"], None))
        >>> graph.contents()
        '1 operation, 1 constant'
    """

    def __init__(self) -> None:
        self.root = Group(pad=0.0)
        self.groups: list[Group] = []
        self.shapes: list[Shape] = []
        self.lines: list[tuple[Shape, Shape]] = []

    def group(self, title: str, outer: Group | None) -> Group:
        """Add a group."""
        group = Group(title=title, inside=outer or self.root)
        self.groups.append(group)
        return group

    def shape(self, kind: Kind, text: list[str], group: Group | None, **more: Any) -> Shape:
        """Add a box."""
        shape = Shape(kind=kind, text=text, group=group or self.root, **more)
        self.shapes.append(shape)
        return shape

    def line(self, a: Shape, b: Shape) -> None:
        """Add a line from one box to another; between two modules only one."""
        closed = Kind.MODULE in (a.kind, b.kind)
        if a is not b and not (closed and (a, b) in self.lines):
            self.lines.append((a, b))

    def contents(self) -> str:
        """Return a description of the graph: the number of boxes of each kind."""
        counts = [(kind.value, sum(s.kind is kind for s in self.shapes)) for kind in Kind]
        return ", ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in counts if n)


# --- places ---------------------------------------------------------------------------------------


def _place(graph: Graph) -> list[tuple[Node, Node, list[Point]]]:
    """Set sizes and positions of all boxes; return the pieces of the lines."""
    for group in graph.groups:
        group.width, group.head = _width(group.title) + 24, LINE + 2
    for shape in graph.shapes:
        widths = [_width(line, shape.named and k == 0) for k, line in enumerate(shape.text)]
        shape.width = max(widths) + (24 if shape.kind is Kind.CONSTANT else 12)
        shape.height = LINE * len(shape.text) + 10
    hung = _hung(graph)
    for shape in graph.shapes:
        if shape not in hung and shape.group is not None:
            hanging = [leaf for leaf, host in hung.items() if host is shape]
            pile = [*hanging[1:], shape, *hanging[:1]]  # the first below, the second above
            shape.group.parts.append(stack(pile) if hanging else shape)
    for group in graph.groups:
        if group.inside is not None:
            group.inside.parts.append(group)
    return lay_out(graph.root, graph.lines)


def _hung(graph: Graph) -> dict[Shape, Shape]:
    """Return leaves and the operation of the same group that each is attached to: the first that
    uses it. One operand of an operation stays on its left, up to two others are attached.
    """
    into: dict[Shape, list[Shape]] = {}
    hung: dict[Shape, Shape] = {}
    met: set[Shape] = set()
    for a, b in graph.lines:
        into.setdefault(b, []).append(a)
    for b, sources in into.items():
        free = [
            a
            for a in dict.fromkeys(sources)
            if not (a in into or a in met) and a.group is b.group and sources.count(a) == 1
        ]
        free.sort(key=lambda a: a.kind is not Kind.PARAMETER)
        if len(free) == len(set(sources)):
            free.pop()
        hung |= dict.fromkeys(free[:2], b)
        met |= set(sources)
    return hung


def _width(text: str, bold: bool = False) -> float:
    """Return an upper bound of the width of a text in px, in common sans-serif fonts."""
    widths = [
        0.38 if c in " .,:;'|!()[]ijlftr" else 0.92 if c in "mwMW@⊙∂…" else 0.63 for c in text
    ]
    return SIZE * sum(widths) * (1.08 if bold else 1.0)


# --- SVG ------------------------------------------------------------------------------------------

# The radius of corners (None: half the height), line, fill, width of the line, dashes.
LOOKS: dict[Kind, tuple[float | None, str, str, float, str]] = {
    Kind.OPERATION: (8.0, "#31517e", "#eef3fb", 1.2, ""),
    Kind.PARAMETER: (0.0, "#7a4b00", "#fdf0d2", 2.6, ""),
    Kind.CONSTANT: (None, "#444444", "#ffffff", 1.2, "5 3"),
    Kind.MODULE: (0.0, "#31517e", "#dfe8f5", 1.2, ""),
}


def svg(graph: Graph) -> str:
    """Return the graph as SVG.

    Example:
        >>> graph = Graph()
        >>> _ = graph.shape(Kind.OPERATION, ["exp"], None)
        >>> svg(graph).count("<rect")
        3
    """
    pieces = _place(graph)
    kinds = [kind for kind in Kind if any(shape.kind is kind for shape in graph.shapes)]
    legend, legend_width = _legend(kinds)
    rows = _rows(graph)
    width = max(legend_width, *(right - left for left, right in rows)) + 2 * MARGIN
    row_height = graph.root.height + 2 * MARGIN
    height = len(rows) * row_height + MARGIN + LINE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" role="img" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="{SIZE:g}" fill="#111">',
        f"<title>A graph of {escape(graph.contents())}</title>",
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="#fff"/>',
    ]
    for k, row in enumerate(rows):
        parts += _row(graph, pieces, row, k * row_height, broken=len(rows) > 1)
    parts += [
        f'<g transform="translate({MARGIN:g} {len(rows) * row_height:g})">{legend}</g>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rows(graph: Graph) -> list[tuple[float, float]]:
    """Return the left and right end of each row: one row if the picture is at most WIDE, else the
    number of rows with which it appears largest on a slide of 16 by 9.
    """
    total, height = graph.root.width, graph.root.height + 2 * MARGIN
    gaps, end = [], 0.0
    whole = [node for node in (*graph.shapes, *graph.groups) if node.width < 0.6 * WIDE]
    for node in sorted(whole, key=lambda node: node.x):
        if node.x > end:
            gaps.append((end + node.x) / 2)
        end = max(end, node.x + node.width)

    def broken(widest: float) -> list[tuple[float, float]]:
        ends = [0.0]
        while total - ends[-1] > widest:
            limit = ends[-1] + widest
            ends.append(max((x for x in gaps if ends[-1] < x <= limit), default=limit))
        return list(pairwise([*ends, total]))

    choices = [broken(8 * total / n) for n in range(8, 9 if total <= WIDE else 65)]

    def size(rows: list[tuple[float, float]]) -> float:
        return max(16 * len(rows) * height, 9 * WIDE, *(9 * (b - a) for a, b in rows))

    return min(choices, key=size)


def _row(
    graph: Graph,
    pieces: list[tuple[Node, Node, list[Point]]],
    row: tuple[float, float],
    y: float,
    broken: bool,
) -> list[str]:
    """Return the elements of one row; lines to other rows are cut off at its ends."""
    left, right = row
    height = graph.root.height

    def reaches(start: float, end: float) -> bool:
        return start <= right and end >= left

    parts = [f'<g transform="translate({MARGIN:g} {y + MARGIN:g})">']
    if broken:
        parts = [
            f'<svg x="{MARGIN - 2:g}" y="{y + MARGIN - 2:.1f}" width="{right - left + 4:.1f}" '
            f'height="{height + 4:.1f}" overflow="hidden" '
            f'viewBox="{left - 2:.1f} -2 {right - left + 4:.1f} {height + 4:.1f}">'
        ]
    for group in graph.groups:
        if reaches(group.x, group.x + group.width):
            parts.append(
                f'<rect x="{group.x:.1f}" y="{group.y:.1f}" width="{group.width:.1f}" '
                f'height="{group.height:.1f}" rx="3" fill="#000" fill-opacity="0.035" '
                'stroke="#777" stroke-width="1"/>'
            )
            x = max(group.x, left) + 8
            if x + _width(group.title) <= min(group.x + group.width, right):
                parts.append(
                    f'<text x="{x:.1f}" y="{group.y + LINE:.1f}" fill="#444" '
                    f'font-style="italic">{escape(group.title)}</text>'
                )
    for _, b, points in pieces:
        if reaches(points[0][0], points[-1][0]):
            parts.append(_line(points, isinstance(b, Shape)))
    parts += [_shape(shape) for shape in graph.shapes if reaches(shape.x, shape.x + shape.width)]
    return [*parts, "</svg>" if broken else "</g>"]


def _shape(shape: Shape) -> str:
    parts = [f"<g><title>{escape(shape.more or ', '.join(shape.text))}</title>"]
    parts.append(_outline(shape.kind, shape.x, shape.y, shape.width, shape.height))
    for k, line in enumerate(shape.text):
        style = ' font-weight="bold"' if shape.named and k == 0 else ""
        if k >= shape.plain:
            style = ' fill="#8c1d0e" font-style="italic"'
        y = shape.y + 5 + LINE * (k + 0.76)
        parts.append(
            f'<text x="{shape.x + shape.width / 2:.1f}" y="{y:.1f}" text-anchor="middle"{style}>'
            f"{escape(line)}</text>"
        )
    return "".join([*parts, "</g>"])


def _outline(kind: Kind, x: float, y: float, width: float, height: float) -> str:
    radius, line, fill, thickness, dashes = LOOKS[kind]
    radius = height / 2 if radius is None else radius
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    drawn = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{radius:.1f}" fill="{fill}" stroke="{line}" stroke-width="{thickness:g}"{dashed}/>'
    )
    if kind is Kind.MODULE:
        drawn += (
            f'<rect x="{x + 3:.1f}" y="{y + 3:.1f}" width="{width - 6:.1f}" '
            f'height="{height - 6:.1f}" fill="none" stroke="{line}" stroke-width="{thickness:g}"/>'
        )
    return drawn


def _line(points: list[Point], arrow: bool) -> str:
    """Return a path through the points: horizontal through columns, curved between them."""
    (x0, y0), *_, (x1, y1) = points
    upright = x0 == x1 and len(points) == 2
    head = ""
    if arrow:  # the line ends where the head begins
        dx, dy = (0.0, ARROW if y1 > y0 else -ARROW) if upright else (ARROW, 0.0)
        sides = [(x1 - dx + s * dy / 2, y1 - dy + s * dx / 2) for s in (1, -1)]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(x1, y1), *sides])
        head = f'<polygon points="{corners}" fill="#222"/>'
        points = [*points[:-1], (x1 - dx, y1 - dy)]
    path = f"M{x0:.1f} {y0:.1f}"
    for (x, y), (u, v) in pairwise(points):
        if y == v or upright:
            path += f"L{u:.1f} {v:.1f}"
        else:
            half = (x + u) / 2
            path += f"C{half:.1f} {y:.1f} {half:.1f} {v:.1f} {u:.1f} {v:.1f}"
    return f'<path d="{path}" fill="none" stroke="#222" stroke-width="1.2"/>{head}'


def _legend(kinds: list[Kind]) -> tuple[str, float]:
    """Return the legend of the shapes, and its width."""
    parts, x = [], 0.0
    for kind in kinds:
        parts.append(_outline(kind, x + 1, 0, 26, 14))
        parts.append(f'<text x="{x + 33:.1f}" y="11.5" fill="#444">{kind.value}</text>')
        x += 33 + _width(kind.value) + 18
    return "".join(parts), x - 18


# --- Graphviz -------------------------------------------------------------------------------------

STYLES = {
    Kind.OPERATION: 'shape=box, style="rounded,filled"',
    Kind.PARAMETER: 'shape=box, style="filled,bold"',
    Kind.CONSTANT: 'shape=ellipse, style="filled,dashed"',
    Kind.MODULE: 'shape=box, style="filled", peripheries=2',
}


def dot(graph: Graph) -> str:
    """Return the graph in the language of Graphviz.

    Source:  https://graphviz.org/doc/info/lang.html
    Example:
        >>> graph = Graph()
        >>> _ = graph.shape(Kind.OPERATION, ["exp"], None)
        >>> print(dot(graph).splitlines()[3])
          n0 [label="exp", shape=box, style="rounded,filled", fillcolor="#eef3fb", color="#31517e"];
    """
    number = {shape: f"n{k}" for k, shape in enumerate(graph.shapes)}

    def inside(frame: Frame | None, margin: str) -> list[str]:
        lines = []
        for shape in graph.shapes:
            if shape.group is frame:
                text = _quoted("\n".join(shape.text))
                _, line, fill, *_ = LOOKS[shape.kind]
                lines.append(
                    f"{margin}{number[shape]} [label={text}, {STYLES[shape.kind]}, "
                    f'fillcolor="{fill}", color="{line}"];'
                )
        for k, group in enumerate(graph.groups):
            if outer[group] is frame:
                lines.append(f"{margin}subgraph cluster_{k} {{")
                lines.append(f"{margin}  label={_quoted(group.title)}; labeljust=l; color=gray;")
                lines += [*inside(group, f"{margin}  "), f"{margin}}}"]
        return lines

    outer = {group: group.inside for group in graph.groups}
    lines = ["digraph {", "  rankdir=LR;", '  node [fontname="Helvetica"]; edge [color="#222222"];']
    lines += inside(graph.root, "  ")
    lines += [f"  {number[a]} -> {number[b]};" for a, b in graph.lines]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
