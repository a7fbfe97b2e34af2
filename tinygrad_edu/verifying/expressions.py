"""What a claim is once it has been read: a small tree that never changes, and its text.

Every node knows which letters of the student's text it came from, so that a tree with one changed
place is printed (`render`) as the student's own text with that one change. `grammar` makes the
trees, `evaluation` works them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Node", "render", "shorten"]

Span = tuple[int, int]

_MOST = 2**62  # a size; lines that use another twice make trees of any size
_SHOWN = 500  # parts of a tree that is printed for a message


class Node:
    """One operation of a claim and its operands; it never changes.

    kind     what it is: "name", "number", "binary", "call" …
    value    which one: the name, the number, the operator, the function
    parts    its operands
    source   the text it was read from and `span`, its place there; None for a node of our own
    holes    the places of the operands in that text

    Two nodes are equal if they mean the same, wherever they stand in the text.

    Example:
        >>> tree = Node("binary", "@", (Node("name", "X"), Node("name", "W")))
        >>> tree.kind, tree.value, [render(part) for part in tree.parts]
        ('binary', '@', ['X', 'W'])
    """

    __slots__ = ("_hash", "depth", "holes", "kind", "parts", "size", "source", "span", "value")

    def __init__(
        self,
        kind: str,
        value: Any = None,
        parts: Iterable[Node] = (),
        source: str | None = None,
        span: Span = (0, 0),
        holes: tuple[Span, ...] | None = None,
    ):
        self.kind, self.value, self.parts = kind, value, tuple(parts)
        self.source, self.span = source, span
        self.holes = tuple(p.span for p in self.parts) if holes is None else holes
        depth, size = 0, 1
        for part in self.parts:
            size += part.size
            if part.depth > depth:
                depth = part.depth
        self.depth: int = depth + 1
        self.size: int = min(size, _MOST)  # as a tree
        self._hash = hash((kind, value, self.parts))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Node) and _same(self, other))

    def __repr__(self) -> str:
        return f"<{self.kind} {render(self)}>"

    def with_parts(self, parts: Iterable[Node]) -> Node:
        """The same operation on other operands, still spelled as it was."""
        return Node(self.kind, self.value, parts, self.source, self.span, self.holes)

    def replaced(self, path: tuple[int, ...], new: Node) -> Node:
        """The tree with `new` in the place that the path leads to."""
        if not path:
            return new
        parts = list(self.parts)
        parts[path[0]] = parts[path[0]].replaced(path[1:], new)
        return self.with_parts(parts)

    def walk(self, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Node]]:
        """Every node of the tree with the path that leads to it, this one first."""
        left = [(path, self)]
        while left:
            path, node = left.pop()
            yield path, node
            left += [((*path, i), part) for i, part in enumerate(node.parts)][::-1]

    def nodes(self) -> Iterator[Node]:
        """Every node once, this one first, however often it is shared."""
        seen: set[int] = set()
        left = [self]
        while left:
            node = left.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                left += reversed(node.parts)

    def names(self) -> set[str]:
        """The names that occur in the tree."""
        return {node.value for node in self.nodes() if node.kind == "name"}


def _same(a: Node, b: Node) -> bool:
    """Return True if two trees mean the same; each pair of shared parts is compared once."""
    seen: set[tuple[int, int]] = set()
    left = [(a, b)]
    while left:
        a, b = left.pop()
        if a is b or (id(a), id(b)) in seen:
            continue
        alike = (
            a._hash == b._hash
            and a.kind == b.kind
            and a.value == b.value
            and type(a.value) is type(b.value)
            and len(a.parts) == len(b.parts)
        )
        if not alike:
            return False
        if a.parts:
            seen.add((id(a), id(b)))
            left += zip(a.parts, b.parts, strict=True)
    return True


# --- printing -------------------------------------------------------------------------------------

_LEVEL = {"+": 4, "-": 4, "*": 5, "/": 5, "@": 5, "//": 5, "%": 5, "·": 6, "**": 8, "&": 3, "|": 2}
_SIGN = {"-": "−", "*": "⊙", "@": "", "·": "", "**": "^"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Signs that NumPy does not have, and commands of LaTeX.
SLIDES = re.compile(r"[ᵀ⊙−·×∘½⅓⅔¼¾⅛σ₀-₉⁰¹²³⁴-⁹⁻≥≤≠Σ∑′∂∇‖√𝟏|^]|\\[a-zA-Z]{2,}")
SUPERSCRIPTS = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᐟ"


def render(node: Node, slides: bool = False) -> str:
    """The text of a tree: the student's own wherever it came from there.

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> tree = parse("A1.T@(A2-Y) / m")
        >>> render(tree.replaced((0, 1, 1), Node("name", "X")))
        'A1.T@(A2-X) / m'
    """
    if node.source is None or len(node.holes) != len(node.parts):
        return _spelled(node, slides)
    start, end = node.span
    pieces, position, text = [], start, node.source
    for i, (part, hole) in enumerate(zip(node.parts, node.holes, strict=True)):
        if hole == (0, 0):  # what is not written: the missing ends of a slice
            continue
        if hole[0] < position:  # one sign that stands for several
            return text[start:end]
        lead, piece = text[position : hole[0]], render(part, slides)
        position = hole[1]
        if part.span != hole:
            operand = node.kind in ("binary", "unary") or (
                node.kind in ("attribute", "method", "index") and i == 0
            )
            if operand and lead.endswith("(") and text.startswith(")", hole[1]):
                lead, position = lead[:-1], hole[1] + 1  # brackets of what stood there before
            if text[hole[0]] in SUPERSCRIPTS:
                whole = part.kind == "number" and isinstance(part.value, int)
                piece = piece.translate(_RAISED) if whole else f"^({piece})"
            else:
                piece = _bracketed(piece, part, node, i, slides)
        pieces += [lead, piece]
    return "".join(pieces) + text[position:end]


def _level(node: Node) -> int:
    if node.kind == "binary":
        return _LEVEL[node.value]
    if node.kind == "unary":
        return 7 if node.source is None or "−" not in node.source else 4
    if node.kind == "call" and node.value[0] == "1ᵀ":
        return 6
    return {"compare": 1, "if": 0, "slice": 0, "sum over": 4, "indexed": 0}.get(node.kind, 10)


def _bracketed(piece: str, part: Node, parent: Node, i: int, slides: bool) -> str:
    """The piece, in brackets if it would be read differently without them."""
    level = _level(part)
    if parent.kind in ("binary", "unary"):
        sign = "·" if slides and parent.value == "@" else parent.value
        need = _LEVEL[sign] if parent.kind == "binary" else 7
        tight = (parent.value in ("-", "/", "@", "//", "%") and i == 1) or (
            parent.value == "**" and i == 0
        )
        if parent.value in ("*", "@", "·") and part.kind == "binary" and i == 1:
            tight = True
        if parent.value == "/" and i == 1 and "·" in piece:
            tight, need = True, max(need, level)
        if level < need or (level == need and tight):
            return f"({piece})"
    elif (parent.kind in ("attribute", "method", "index") and i == 0 and level < 10) or (
        parent.kind == "call" and parent.value[0] == "1ᵀ" and level < 6
    ):
        return f"({piece})"
    return piece


def _spelled(node: Node, slides: bool) -> str:
    """The text of a node that was not in the student's own."""
    parts = [
        _bracketed(render(part, slides), part, node, i, slides) for i, part in enumerate(node.parts)
    ]
    value = node.value
    match node.kind:
        case "number" | "bool":
            return f"{value:g}" if isinstance(value, float) else str(value)
        case "none":
            return "None"
        case "ellipsis":
            return "..."
        case "text":
            return repr(value)
        case "constant":
            return f"np.{value}"
        case "unary":
            return f"{'−' if slides and value == '-' else value}{parts[0]}"
        case "binary" if slides and value in ("@", "·"):
            return f"{parts[0]}·{parts[1]}" if parts[0][-1:].isdigit() else "".join(parts)
        case "binary" if slides and value == "**":
            whole = node.parts[1].kind == "number" and isinstance(node.parts[1].value, int)
            return parts[0] + (parts[1].translate(_RAISED) if whole else f"^({parts[1]})")
        case "binary" if value == "**" or (slides and value == "/"):
            return str(value).join(parts)
        case "binary":
            sign = _SIGN.get(value, value) if slides else value.replace("·", "@")
            return f" {sign} ".join(parts)
        case "compare":
            text = f" {value} ".join(parts)
            return f"[{text}]" if slides else text
        case "attribute":
            return f"{parts[0]}ᵀ" if slides and value == "T" else f"{parts[0]}.{value}"
        case "index":
            inside = parts[1][1:-1] if node.parts[1].kind == "tuple" else parts[1]
            return f"{parts[0]}[{inside}]"
        case "slice":
            ends = ["" if p.kind == "none" else t for p, t in zip(node.parts, parts, strict=True)]
            return ":".join(ends[: 3 if ends[2] else 2])
        case "tuple":
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        case "list":
            return f"[{', '.join(parts)}]"
        case "if":
            return f"{parts[0]} if {parts[1]} else {parts[2]}"
        case "call" | "method":
            return _spelled_call(node, parts, slides)
        case "comprehension":
            text, rest = parts[0], parts[1:]
            for target, tests in value[1]:
                text += f" for {target_text(target)} in {rest[0]}"
                text += "".join(f" if {test}" for test in rest[1 : 1 + tests])
                rest = rest[1 + tests :]
            return f"[{text}]" if value[0] == "list" else f"({text})"
        case "entry":
            return f"{parts[0]}[{','.join(value)}]"
        case "sum over":
            return f"Σ_{value} {parts[0]}"
        case "up to":
            return parts[1]
        case "indexed":
            return f"[{','.join(value)}] {parts[0]}"
    return str(value)


def _spelled_call(node: Node, parts: list[str], slides: bool) -> str:
    name, named = node.value
    if name == "1ᵀ":
        return f"1ᵀ{parts[0]}"
    receiver = f"{parts.pop(0)}." if node.kind == "method" else ""
    first = len(parts) - len(named)
    args = parts[:first] + [f"{k}={v}" for k, v in zip(named, parts[first:], strict=True)]
    name = {"Σ": "sum"}.get(name, name.removeprefix("np.") if slides else name)
    return f"{receiver}{name}({', '.join(args)})"


def target_text(target: Any) -> str:
    """What a loop runs over, as it is written.

    Example:
        >>> target_text(("i", ("a", "b")))
        'i, a, b'
    """
    return target if isinstance(target, str) else ", ".join(map(target_text, target))


def shorten(node: Node) -> str:
    """The text of a node in one line of 60 letters at most, for messages.

    Example:
        >>> shorten(Node("name", "X" * 100))[-4:]
        'XXX…'
    """
    if node.size <= _SHOWN:
        text = render(node)
    else:  # as its line has it, with names
        text = "…" if node.source is None else node.source[slice(*node.span)][:200]
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
