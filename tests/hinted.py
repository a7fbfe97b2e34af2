"""At `hints=n` nothing of level n + 1 is told: over the planted mistakes of `tests.mistakes`.

    python -m tests.hinted            all of them, every level, every form; some minutes
    python -m tests.hinted --every 20

The forms are text, table, JSON, Markdown, HTML, the exception of `assert_right`, and the row that
the command writes as CSV.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator

import tinygrad_edu as tg
from tests.mistakes import SYSTEMS, Mistake, planted
from tinygrad_edu.verifying.answers import Outcome
from tinygrad_edu.verifying.hinting import HINTS, kind_alone
from tinygrad_edu.verifying.report import Report
from tinygrad_edu.verifying.table import to_csv
from tinygrad_edu.verifying.wording import say

FIELDS = ((), ("before", "line"), ("kinds", "conditions", "counterexample"), ("after",))


def report_on(mistake: Mistake, hints: int, lang: str = "en") -> Report:
    """Return the report on a planted mistake."""
    claims = {mistake.target: mistake.text}
    inputs = mistake.system.inputs
    return tg.verify(mistake.system.forward, claims, inputs=inputs, hints=hints, lang=lang)


def forms(report: Report) -> Iterator[tuple[str, str]]:
    """Yield every form in which a report can be read, with its name."""
    yield "text", report.text()
    yield "colour", report.text(colour=True)
    yield "table", report.table()
    yield "json", report.json()
    yield "markdown", report.markdown()
    yield "html", report._repr_html_()
    yield "csv", to_csv([Outcome("ada.py", 1, report=report.to_dict())])
    try:
        report.raise_if_wrong()
    except AssertionError as error:
        yield "exception", f"{error!s} {error.args!r} {error.__cause__!r} {error.__context__!r}"


def words(text: str) -> set[str]:
    """Return the names in a formula."""
    return set(re.findall(r"[^\W\d]\w*", text))


def secrets(full: Report, name: str, hints: int, lang: str = "en") -> Iterator[str]:
    """Yield the texts of a full report that a report of a lower level must not hold."""
    verdict = full[name]
    if hints < 3:
        yield verdict.after
        if verdict.kinds:
            yield verdict.reason
    if hints < 2:
        yield kind_alone(verdict.kinds, lang)
        yield from verdict.kinds
        yield from verdict.conditions
        yield from verdict.remarks
        yield say("special", lang)
        yield say("counterexample", lang)
        yield say("true", lang) + ":"
    if hints < 1:
        yield say("look-at", lang)
        yield say("first", lang, name=name)


def leaks(mistake: Mistake, full: Report, hints: int, lang: str = "en") -> list[str]:
    """Return what a report of a level tells although it is of a higher one."""
    report, verdict = report_on(mistake, hints, lang), full[mistake.target]
    kinds = [kind_alone(verdict.kinds, lang), *verdict.kinds]
    sizes = full.text().rpartition("\n")[2]
    told = [s for s in secrets(full, mistake.target, hints, lang) if s and s != mistake.text]
    new = words(verdict.after) - words(mistake.text) - {*mistake.system.inputs} - words(sizes)
    found = []
    for form, text in forms(report):
        for kind in filter(None, kinds if hints == 2 else []):
            text = text.replace(kind, "")  # "a matrix must be transposed" holds "x must be …"
        own = text.replace(mistake.text, "")
        found += [f"{form}: {s}" for s in told if s in (own if s in mistake.text else text)]
        found += [f"{form}: the word {w}" for w in new & words(own)]
    held = report[mistake.target]
    for level, fields in enumerate(FIELDS):
        found += [f"the field {f}" for f in fields if level > hints and getattr(held, f)]
    return found


def main() -> int:
    """Check every planted mistake at every level; print what leaks, and how many were checked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="check every nth mistake only")
    options = parser.parse_args()
    every = [mistake for system in SYSTEMS for mistake in planted(system)][:: options.every]
    start, leaking = time.perf_counter(), 0
    for mistake in every:
        full = report_on(mistake, 3)
        for hints in HINTS[:-1]:
            for leak in leaks(mistake, full, hints):
                leaking += 1
                print(f"hints={hints} {mistake.text}: {leak}")
    seconds = time.perf_counter() - start
    print(f"{len(every)} mistakes at {len(HINTS) - 1} levels: {leaking} leaks ({seconds:.0f} s)")
    return bool(leaking)


if __name__ == "__main__":
    raise SystemExit(main())
