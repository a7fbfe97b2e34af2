"""Reports of measurements: printed as tables, and saved as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .machine import pools, sentence
from .timing import Timing

RESULTS = Path(__file__).parent / "results"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """Return a Markdown table; all columns but the first ones are numbers, aligned right."""
    marks = ["---" if i < text_columns else "--:" for i in range(len(header))]
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(marks)}|", *lines[1:]])


def timings_table(cases: Mapping[str, tuple[dict[str, Timing], str, float | None]]) -> str:
    """Return a block of rows for each case: its timings, whose ratio is bounded, and the bound."""
    rows = []
    for what, (timings, subject, limit) in cases.items():
        for name, t in timings.items():
            bound = f"{limit:g}" if name == subject and limit else ""
            spread = f"{ratio(t.low)} … {ratio(t.high)}"
            rows.append([what, name, duration(t.seconds), ratio(t.ratio), spread, bound])
            what = ""
    return table(["what", "contestant", "time", "ratio", "quartiles", "limit"], rows, 2)


def ratio(value: float) -> str:
    """Return a ratio as text: two decimals; for small ones two digits, for large ones an
    integer.
    """
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Return a duration as text: three digits in seconds, milliseconds or microseconds."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def keep(
    name: str,
    title: str,
    text: str,
    data: dict[str, Any],
    facts: dict[str, Any],
    command: str,
    *,
    write: bool,
    show: bool = True,
) -> None:
    """Print the report, and write it to results/ as Markdown and JSON on request."""
    facts = facts | {"pools": pools()}
    about = sentence(facts)
    if show:
        print(f"{text}\n\n{about}")
    if not write:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(
        # The marks are for the pages that include the middle.
        f"# {title}\n\n`{command}`\n\n{about}\n\n<!-- table -->\n\n{text}\n\n<!-- end -->\n",
        encoding="utf-8",
    )
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"command": command, "machine": facts} | data, indent=1, ensure_ascii=False)
        + "\n",
        encoding="utf-8",
    )
