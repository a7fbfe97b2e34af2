"""`python -m tinygrad_edu verify FILE…`: check derivations in files, or a class's work in a folder.

The format of a file is described in `submissions`. The exit code is 0 if all is right, 1 if
something is wrong, 2 if something cannot be checked.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import __version__
from .verifying.answers import CANNOT, Outcome
from .verifying.collecting import Submission, beside, read_file, submissions_in
from .verifying.hinting import HINTS
from .verifying.limits import protections, sandbox_trouble
from .verifying.submissions import Check, TaskRefused, outcomes
from .verifying.table import Printer, progress, summary, table_line, to_csv, to_json
from .verifying.wording import LANGUAGES, Told, say

__all__ = ["main"]

FORMATS = ("text", "table", "csv", "json")
INTERRUPTED, PIPE_CLOSED = 130, 141  # exit codes, as a shell has them


def parser(lang: str = "en") -> argparse.ArgumentParser:
    """Return the parser of the command line, its help in a language.

    Example:
        >>> parser().parse_args(["verify", "ada.py"]).files
        ['ada.py']
    """

    def told(key: str) -> str:
        return say(f"help-{key}", lang)

    p = argparse.ArgumentParser(prog="python -m tinygrad_edu", description=told("program"))
    p.add_argument("--version", action="version", version=f"tinygrad_edu {__version__}")
    commands = p.add_subparsers(dest="command", required=True, metavar="verify")
    v = commands.add_parser("verify", help=told("verify"), description=told("about"))
    v.add_argument("files", nargs="+", metavar="FILE", help=told("files"))
    v.add_argument("--task", metavar="FILE", help=told("task"))
    v.add_argument("--format", choices=FORMATS, help=told("format"))
    v.add_argument("--output", metavar="FILE", help=told("output"))
    v.add_argument("--lang", choices=LANGUAGES, default="en", help=told("lang"))
    v.add_argument("--hints", type=int, choices=HINTS, default=HINTS[-1], help=told("hints"))
    v.add_argument("--sandbox", choices=("auto", "on", "off"), default="auto", help=told("sandbox"))
    v.add_argument("--seconds", type=float, default=20.0, metavar="S", help=told("seconds"))
    v.add_argument("--memory", type=int, default=2048, metavar="MB", help=told("memory"))
    v.add_argument("--jobs", type=int, default=2, metavar="N", help=told("jobs"))
    for one in (p, v):
        _translate(one, lang)
    return p


class _KoreanHelp(argparse.HelpFormatter):
    """Help with the Korean word in front of the usage."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, say("help-usage", "ko"))


def _translate(p: argparse.ArgumentParser, lang: str) -> None:
    """Translate those parts of a parser that argparse names itself."""
    if lang != "ko":
        return
    p.formatter_class = _KoreanHelp
    p._positionals.title = say("help-positionals", lang)
    p._optionals.title = say("help-options", lang)
    for action in p._actions:
        if isinstance(action, argparse._HelpAction):
            action.help = say("help-help", lang)
        if isinstance(action, argparse._VersionAction):
            action.help = say("help-version", lang)


def _language(arguments: Sequence[str]) -> str:
    """Return the language in the arguments, before they are parsed."""
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        asked = value if name == "--lang" else name.removeprefix("--lang=")
        if name.startswith("--lang") and asked in LANGUAGES:
            return asked
    return "en"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Example:
        >>> main(["verify", "nowhere.py"])
        nowhere.py: cannot be checked: there is no such file or folder
        2
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(_language(given)).parse_args(given)
    try:
        with ExitStack() as opened:
            output = None
            if options.output:
                output = opened.enter_context(open(options.output, "w", encoding="utf-8"))
            return _verify(options, Printer(output))
    except BrokenPipeError:  # its reader has seen enough, as in `… | head`
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (TaskRefused, OSError) as error:
        Printer(sys.stderr).line(f"{options.task or options.output}: {error}")
        return CANNOT


def _verify(options: argparse.Namespace, out: Printer) -> int:
    lang = options.lang
    trouble = sandbox_trouble() if options.sandbox != "off" else "off"
    if options.sandbox == "on" and trouble:
        Printer(sys.stderr).line(say("no-sandbox", lang, why=_why(trouble, lang)))
        return CANNOT
    task = Path(options.task) if options.task else None
    submissions, folders = _submissions(options.files, task)
    form = options.format or ("csv" if folders else "text")
    settings = {
        "lang": lang,
        "hints": options.hints,
        "seconds": options.seconds,
        "megabytes": options.memory,
        "sandbox": not trouble,
    }
    shown = folders and sys.stderr.isatty()
    with Check(task, **settings) as check, progress(len(submissions), shown) as advance:
        rows = _Rows(out, form, lang, [s.name for s in submissions])
        try:
            for outcome in outcomes(check, submissions, options.jobs):
                rows.add(outcome)
                advance()
        finally:  # also where it is interrupted
            rows.end()
    if form != "text" or folders:
        below = out if form in ("text", "table") else Printer(sys.stderr)
        said = protections(not trouble, _why(trouble, lang), lang)
        below.line(summary(rows.written, said, lang))
    return max((outcome.code for outcome in rows.written), default=CANNOT)


def _why(trouble: str, lang: str) -> str:
    """Return why there is no sandbox, in a language."""
    return say(f"sandbox-{trouble}", lang) if trouble in ("absent", "off") else trouble


def _submissions(names: Sequence[str], task: Path | None) -> tuple[list[Submission], bool]:
    """Return the submissions, and True if a folder is among the paths."""
    found: list[Submission] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = submissions_in(path, task)
            found += inside or [Submission(name, refusal=Told("no-files"))]
        elif not path.exists() and not path.is_symlink():
            found.append(Submission(name, refusal=Told("no-path")))
        else:
            read = read_file(path)
            read.files = beside(path.parent)
            found.append(read)
    found.sort(key=lambda submission: submission.name)
    return found, any(Path(name).is_dir() for name in names)


class _Rows:
    """The rows in one of the formats, in the order of the names that are expected.

    A row is written as soon as those before it are known. JSON is written at the end.
    """

    def __init__(self, out: Printer, form: str, lang: str, names: Sequence[str]):
        self.out, self.form, self.lang = out, form, lang
        self.width = min(max(map(len, names), default=0), 40)
        self.expected = list(reversed(names))  # the next is the last
        self.waiting: dict[str, list[Outcome]] = {}
        self.written: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Take an outcome; write the rows that are now due."""
        self.waiting.setdefault(outcome.file, []).append(outcome)
        while self.expected and self.waiting.get(self.expected[-1]):
            self.write(self.waiting[self.expected.pop()].pop(0))

    def write(self, outcome: Outcome) -> None:
        """Write a row."""
        self.written.append(outcome)
        if self.form == "csv":
            first = len(self.written) == 1
            self.out.data(to_csv([outcome], self.lang, header=first), mark=first)
        elif self.form == "table":
            self.out.line(table_line(outcome, self.width, self.lang))
        elif self.form == "text":
            stream: Any = self.out.stream
            colour = stream.isatty() and "NO_COLOR" not in os.environ
            self.out.line(outcome.text(self.lang, colour))

    def end(self) -> None:
        """Write the rows that are left if the check was interrupted, and JSON."""
        for name in sorted(self.waiting):
            for outcome in self.waiting[name]:
                self.write(outcome)
        if self.form == "json":
            self.out.data(to_json(self.written) + "\n")


if __name__ == "__main__":
    sys.exit(main())
