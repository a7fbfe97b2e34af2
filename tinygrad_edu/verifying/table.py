"""A class list: rows in the order of names, as lines, CSV or JSON, and the mistakes of the class.

Anything can be printed in any encoding: signs that it does not have are written in other words, or
escaped. CSV that is not for a terminal is UTF-8 with a byte order mark, which spreadsheets need to
read Korean.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from .answers import CANNOT, RIGHT, WRONG, Outcome
from .hinting import kind_alone
from .repair import TABLES
from .sources import QUOTED
from .wording import say

__all__ = [
    "Mistake",
    "Printer",
    "class_mistakes",
    "progress",
    "summary",
    "table_line",
    "to_csv",
    "to_json",
]

DECLARED = TABLES  # the modules that declare the mistakes, whose hints are told here
UNKNOWN = "–"  # in the place of a number
MOST_MISTAKES = 30  # lines of the class's mistakes


# --- rows -----------------------------------------------------------------------------------------


def to_csv(outcomes: Sequence[Outcome], lang: str = "en", header: bool = True) -> str:
    """Return a class list as CSV, one row a submission.

    Example:
        >>> print(to_csv([Outcome("ada.py", 2, "the file is empty")]), end="")
        file,result,right,claims,first mistake,diagnosis,change,note
        ada.py,cannot be checked,0,–,,the file is empty,,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Outcome("", 0).row(lang)), lineterminator="\n")
    if header:
        writer.writeheader()
    for outcome in outcomes:
        writer.writerow({k: _inert(cell) for k, cell in outcome.row(lang).items()})
    return text.getvalue()


def _inert(cell: Any) -> Any:
    """Return a cell that no spreadsheet runs as a formula; a dash for what is not known."""
    if cell is None:
        return UNKNOWN
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell


def to_json(outcomes: Sequence[Outcome]) -> str:
    """Return a class list as JSON, with the reports in full; its keys are always English.

    Example:
        >>> json.loads(to_json([Outcome("ada.py", 2, "the file is empty")]))[0]["file"]
        'ada.py'
    """
    rows = [{**o.row(), "marks": o.marks, "report": o.report} for o in outcomes]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def table_line(outcome: Outcome, width: int = 20, lang: str = "en") -> str:
    """Return the line of one submission, its name padded to a width.

    Example:
        >>> table_line(Outcome("ada.py", 2, "the file is empty"), 8)
        '– ada.py    cannot be checked  0/–  the file is empty'
    """
    row = list(outcome.row(lang).values())
    sign = {RIGHT: "✓", WRONG: "✗", CANNOT: "–"}[outcome.code]
    count = f"{row[2]}/{UNKNOWN if row[3] is None else row[3]}"
    told = _one_line(row[5])
    if row[4]:
        told = f"∂L/∂{row[4]}: {told}" if told else f"∂L/∂{row[4]}"
    change = _one_line(row[6])
    if change and not outcome.first()["after"]:  # the hints end at the place
        change = f"{say('look-at', lang)} {change}"
    parts = [row[1], count, told, change, row[7]]
    return "  ".join([f"{sign} {row[0]:<{width}}", *filter(None, parts)])


def _one_line(text: str) -> str:
    """Return the first line of a text, and a line of source that is quoted below it."""
    first, _, rest = text.partition("\n")
    quoted = rest.partition("\n")[0]
    return f"{first}  {quoted.strip()}" if quoted.startswith(QUOTED) else first


# --- what the class got wrong ---------------------------------------------------------------------


class Mistake:
    """A mistake, and how many submissions made it.

    Example:
        >>> str(Mistake("∂L/∂b: a sign is wrong", 3, "E → -E"))
        '  3 × ∂L/∂b: a sign is wrong (E → -E)'
    """

    def __init__(self, text: str, count: int, example: str = ""):
        self.text, self.count, self.example = text, count, example

    def __str__(self) -> str:
        example = f" ({self.example})" if self.example else ""
        return f"{self.count:>3} × {self.text}{example}"


def class_mistakes(outcomes: Sequence[Outcome], lang: str = "en") -> list[Mistake]:
    """Return the mistakes of a class, the most frequent first, each with its most frequent repair.

    A line that several gradients share is one mistake.

    Example:
        >>> [m.count for m in class_mistakes([Outcome("a.py", 2, "it is empty")] * 2)]
        [2]
    """
    count: Counter[str] = Counter()
    repairs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        made = dict(_mistakes_of(outcome, lang))  # each once
        count.update(made.keys())
        for text, repair in made.items():
            repairs[text][repair] += 1
    return [
        Mistake(text, n, repairs[text].most_common(1)[0][0])
        for text, n in sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _mistakes_of(outcome: Outcome, lang: str) -> Iterator[tuple[str, str]]:
    """Yield the mistakes in a submission, each with the change that repairs it, if that is told."""
    if outcome.code == CANNOT:
        yield f"{say('cannot be checked', lang)}: {outcome.reason.partition(chr(10))[0]}", ""
    seen: set[tuple[Any, ...]] = set()
    for claim in outcome.report.get("claims", []):
        if claim["status"] == "right":
            continue
        place: tuple[Any, ...] = (claim["reason"] or claim["name"],)
        if claim["before"]:
            place = tuple(claim[part] for part in ("before", "after", "line", "cell"))
        if place in seen:  # a line that several gradients share, or a function that fails
            continue
        seen.add(place)
        why = kind_alone(claim["kinds"], lang) if claim["kinds"] else claim["reason"]
        why = why.partition("\n")[0] or say(claim["status"], lang)
        repair = f"{claim['before']} → {claim['after']}" if claim["after"] else ""
        yield f"∂L/∂{claim['name']}: {why}", repair


def summary(outcomes: Sequence[Outcome], protections: str, lang: str = "en") -> str:
    """Return what stands below the rows: counts, the class's mistakes, what protected from them.

    Example:
        >>> print(summary([Outcome("ada.py", 0)], "protections: none"))
        1 submissions: 1 right, 0 wrong, 0 cannot be checked
        protections: none
    """
    codes = Counter(outcome.code for outcome in outcomes)
    counts = {"right": codes[RIGHT], "wrong": codes[WRONG], "cannot": codes[CANNOT]}
    lines = [say("class-counts", lang, n=len(outcomes), **counts)]
    mistakes = class_mistakes(outcomes, lang)
    if mistakes:
        lines.append(say("class-mistakes", lang))
        lines += map(str, mistakes[:MOST_MISTAKES])
    if len(mistakes) > MOST_MISTAKES:
        lines.append(say("class-more", lang, n=len(mistakes) - MOST_MISTAKES))
    return "\n".join([*lines, protections])


# --- printing -------------------------------------------------------------------------------------

# What signs are called where an encoding lacks them; any other is escaped, as in \u2099.
PLAIN = {
    "✓": "v",
    "✗": "x",
    "∂": "d",
    "−": "-",
    "–": "-",
    "→": "->",
    "ᵀ": "^T",
    "⊙": "*",
    "·": "*",
    "×": "x",
    "Σ": "sum",
    "…": "...",
    "√": "sqrt",
    "²": "^2",
    "ᵢ": "_i",
    "≤": "<=",
    "≥": ">=",
}


def _plain_signs(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    told = (PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(told), error.end


codecs.register_error("tinygrad_edu.plain_signs", _plain_signs)


class Printer:
    """Writes to a stream of any encoding, and flushes, so that rows appear when they are ready.

    Example:
        >>> stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        >>> Printer(stream).line("b → W")
        >>> stream.buffer.getvalue()
        b'b -> W\\n'
    """

    def __init__(self, stream: TextIO | None = None):
        self.own = stream

    @property
    def stream(self) -> TextIO:
        """Return the stream: standard output as it is now, where none was given."""
        return sys.stdout if self.own is None else self.own

    def line(self, text: str) -> None:
        """Write a line."""
        self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Write a text in the encoding of the stream."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "tinygrad_edu.plain_signs").decode(encoding))
        self.stream.flush()

    def data(self, text: str, mark: bool = False) -> None:
        """Write a text for programs: in UTF-8 where the stream is no terminal.

        `mark` puts the byte order mark in front of it.
        """
        stream = self.stream
        binary = getattr(stream, "buffer", None)
        if binary is None or stream.isatty():
            self.write(text)
            return
        stream.flush()
        binary.write(text.encode("utf-8-sig" if mark else "utf-8", "backslashreplace"))
        binary.flush()


@contextmanager
def progress(total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Show how many of all submissions are done, on a terminal; yield what counts one more.

    The bar is drawn by Rich where it is installed; else it is a line with two numbers.

    Example:
        >>> with progress(2, shown=False) as advance:
        ...     advance()
    """
    if not shown:
        yield lambda: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield from _plain_progress(total)
        return
    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _plain_progress(total: int) -> Iterator[Callable[[], None]]:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        sys.stderr.write(f"\r{done}/{total} ")
        sys.stderr.flush()

    yield advance
    sys.stderr.write("\r" + " " * 20 + "\r")
