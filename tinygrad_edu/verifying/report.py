"""Reports: the verdicts on claims, and every form in which they are told.

Text with colour on a terminal, a table, JSON, Markdown, and the display of a notebook; in English
or in Korean.
"""

from __future__ import annotations

import html
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from ..arrays import Array, NameMissing
from .wording import say

__all__ = ["Counterexample", "Report", "Verdict", "width_of"]


@dataclass
class Counterexample:
    """The smallest sizes and roundest numbers on which a claim fails.

    Example:
        >>> from tinygrad_edu.verifying.verification import verify
        >>> report = verify(lambda w: (w * w).sum(), {"w": "w"}, inputs={"w": "n"})
        >>> example = report["w"].counterexample
        >>> example.sizes, example.claimed.tolist(), example.true.tolist()
        ({'n': 1}, [2.0], [4.0])
    """

    sizes: dict[str, int]
    inputs: dict[str, Any]
    claimed: Any
    true: Array


@dataclass
class Verdict:
    """The verdict on one claim.

    name            what it is the gradient of
    status          "right"; "wrong"; "special": right for some sizes only; "error": it cannot be
                    worked out; "unreadable": it is no expression
    text            the claim, as it was written
    conditions      where it is right ("special"), or where it is not although right elsewhere
    kinds, reason   what is wrong: of what kind, and in a sentence
    before, after   the student's own text, and the same with the change that makes it right
    line, cell      the line of its file (or of a notebook's cell) to be changed, of a function
    counterexample  None if the claim is right or cannot be worked out

    Example:
        >>> from tinygrad_edu.verifying.verification import verify
        >>> verdict = verify(lambda w: (w * w).sum(), {"w": "w"}, inputs={"w": "n"})["w"]
        >>> verdict.status, verdict.kinds, verdict.after
        ('wrong', ('number-missing',), '2 * w')
    """

    name: str
    status: str
    text: str
    conditions: list[str] = field(default_factory=list)
    kinds: tuple[str, ...] = ()
    reason: str = ""
    before: str = ""
    after: str = ""
    line: int | None = None
    counterexample: Counterexample | None = None
    remarks: list[str] = field(default_factory=list)
    cell: int | None = None

    @property
    def right(self) -> bool:
        """Return True if the claim is right for all sizes."""
        return self.status == "right"

    def to_dict(self) -> dict[str, Any]:
        """Everything, in dictionaries and lists."""
        return {
            k: _plain(x.__dict__ if isinstance(x, Counterexample) else x)
            for k, x in self.__dict__.items()
        }


class Report:
    """The verdicts of all claims, from the loss inwards.

    `print(report)` gives them as text, with colour on a terminal; `report[name]` gives one;
    `table()`, `json()`, `markdown()` other forms.

    Example:
        >>> from tinygrad_edu.verifying.verification import verify
        >>> report = verify(lambda w: (w * w).sum(), {"w": "2 * w"}, inputs={"w": "n"})
        >>> report.right
        True
        >>> print(report.table())
        claim  verdict  text
        w      right    2 * w
    """

    def __init__(self, verdicts: Sequence[Verdict], notes: Sequence[str], lang: str):
        self.verdicts, self.notes, self.lang = list(verdicts), list(notes), lang

    @property
    def right(self) -> bool:
        """Return True if every claim is right."""
        return all(verdict.right for verdict in self.verdicts)

    @property
    def first_wrong(self) -> Verdict | None:
        """The wrong claim that is nearest to the loss."""
        return next((verdict for verdict in self.verdicts if not verdict.right), None)

    def __getitem__(self, name: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        names = ", ".join(verdict.name for verdict in self.verdicts)
        raise NameMissing(f"no claim about {name!r}; there are claims about {names}")

    def __str__(self) -> str:
        terminal = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return self.text(colour=terminal and os.environ.get("TERM") != "dumb")

    def __repr__(self) -> str:
        return f"<Report: {self._summary()}>"

    def text(self, colour: bool = False) -> str:
        """The report for people."""
        lines = [self._summary()]
        for v, details in self._explained(colour):
            head = f"{'✓' if v.right else '✗'} ∂L/∂{v.name}  {say(v.status, self.lang)}"
            lines.append(_paint(head, "32" if v.right else "31", colour))
            lines += [f"    {line}" for line in details]
        return "\n".join(lines + self.notes)

    def _explained(self, colour: bool = False) -> Iterator[tuple[Verdict, list[str]]]:
        """Yield each verdict with the lines that explain it, one mistake only once.

        A line that several gradients share, or a function that fails, is explained with the first.
        """
        told: dict[tuple[Any, ...], str] = {}
        for v in self.verdicts:
            shared = v.line is not None or (v.status == "error" and v.text)
            place = (v.before, v.after, v.line, v.cell) if v.before else (v.reason,)
            if shared and any(place) and place in told:
                yield v, [say("same", self.lang, other=told[place])]
                continue
            if shared:
                told[place] = v.name
            yield v, self._details(v, colour)

    def _details(self, v: Verdict, colour: bool = False) -> list[str]:
        lines = [v.reason] if v.reason else []
        place = f" ({self._place(v)})" if v.line else ""
        if v.before and not v.after:  # the hints end here
            lines.append(f"{say('look-at', self.lang)}  {_paint(v.before, '31', colour)}{place}")
        if v.after:
            words = [say("change", self.lang), say("to", self.lang)]
            width = max(map(len, words))
            lines.append(f"{words[0]:<{width}}  {_paint(v.before, '31', colour)}{place}")
            lines.append(f"{words[1]:<{width}}  {_paint(v.after, '32', colour)}")
        lines += v.remarks
        if v.counterexample is not None:
            lines += self._example(v.counterexample)
        return lines

    def _place(self, v: Verdict) -> str:
        if v.cell is None:
            return say("line", self.lang, line=v.line)
        return say("line-of-cell", self.lang, line=v.line, cell=v.cell)

    def _example(self, example: Counterexample) -> list[str]:
        sizes = ", ".join(f"{k} = {n}" for k, n in example.sizes.items())
        lines = [f"{say('counterexample', self.lang)}{': ' if sizes else ''}{sizes}"]
        lines += [f"  {name} = {_numbers(x)}" for name, x in example.inputs.items()]
        lines.append(f"  {say('claimed', self.lang)}: {_numbers(example.claimed)}")
        lines.append(f"  {say('true', self.lang)}: {_numbers(example.true)}")
        return lines

    def _summary(self) -> str:
        n, wrong = len(self.verdicts), sum(not v.right for v in self.verdicts)
        unreadable = sum(v.status == "unreadable" for v in self.verdicts)
        what = "right" if not wrong else "unreadable" if wrong == unreadable else "wrong"
        if what == "wrong" and unreadable:
            what, wrong = "of-both", wrong - unreadable
        key = f"one-{what}" if n == 1 else f"some-{what}"
        return say(key, self.lang, n=n, wrong=wrong, unreadable=unreadable)

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, verdict and text of each claim; a wrong one with what makes it right."""
        return [
            (v.name, say(v.status, self.lang), f"{v.before} → {v.after}" if v.after else v.text)
            for v in self.verdicts
        ]

    def _titles(self) -> tuple[str, str, str]:
        first, second, third = (say(f"column-{k}", self.lang) for k in ("claim", "verdict", "text"))
        return first, second, third

    def table(self) -> str:
        """One line a claim."""
        rows = [self._titles(), *self.rows()]
        widths = [max(width_of(row[i]) for row in rows) for i in range(2)]
        return "\n".join(
            "  ".join([_padded(a, widths[0]), _padded(b, widths[1]), c]) for a, b, c in rows
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, in dictionaries and lists."""
        claims = [v.to_dict() for v in self.verdicts]
        return {"right": self.right, "claims": claims, "notes": self.notes}

    def json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def markdown(self) -> str:
        """A table in Markdown."""
        rows = [[c.replace("|", "\\|").replace("\n", " ") for c in row] for row in self.rows()]
        lines = [f"| {' | '.join(self._titles())} |", "|---|---|---|"]
        return "\n".join(lines + [f"| {a} | {b} | {_as_code(c)} |" for a, b, c in rows])

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        rows = []
        for v, lines in self._explained():
            colour = "#1a7f37" if v.right else "#cf222e"
            style = f'style="text-align:left;color:{colour}"'
            cells = [f"∂L/∂{v.name}", say(v.status, self.lang), v.text]
            row = "".join(f"<td {style}>{html.escape(c)}</td>" for c in cells)
            details = html.escape("\n".join(lines))
            more = f'<tr><td colspan="3"><pre>{details}</pre></td></tr>' if details else ""
            rows.append(f"<tr>{row}</tr>{more}")
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(self._summary())}</p><table>{''.join(rows)}</table>{notes}"

    def raise_if_wrong(self) -> None:
        """Do nothing if all is right.

        Raises:  AssertionError with the report
        """
        if not self.right:
            raise AssertionError(self.text())


def _as_code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal: two for a Korean letter.

    Example:
        >>> width_of("W"), width_of("가")
        (1, 2)
    """
    return sum(1 + (east_asian_width(c) in "WF") for c in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _numbers(x: Any) -> str:
    if isinstance(x, (np.ndarray, list, tuple)):
        try:
            array = np.asarray(x)
        except ValueError:  # rows that are not equally long
            return str(x)
        small = array.dtype.kind == "f" and not np.abs(array).max(initial=0.0) > 1e-6
        if array.dtype.kind == "f":  # no −0, and no 1e-17 beside larger numbers
            array = (array if small else array.round(12)) + 0.0
        return np.array2string(
            array, separator=", ", precision=4, suppress_small=not small, threshold=60
        ).replace("\n", "\n" + " " * 10)
    if isinstance(x, (float, np.floating)):
        return f"{0.0 if abs(float(x)) < 1e-14 else float(x):.6g}"
    return str(x)


def _plain(x: Any) -> Any:
    """As JSON knows it."""
    if isinstance(x, (np.ndarray, np.generic)):
        return _plain(x.tolist())
    if isinstance(x, dict):
        return {k: _plain(y) for k, y in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(y) for y in x]
    if isinstance(x, float) and not np.isfinite(x):
        return str(x)
    return x if x is None or isinstance(x, (bool, int, float, str)) else repr(x)
