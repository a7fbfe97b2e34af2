"""`python -m tinygrad_edu verify FILE…`: check derivations in files, or a folder of them.

The format of a file is described in `submissions`. The exit code is 0 if all is right, 1 if
something is wrong, 2 if something cannot be checked.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .verifying.submissions import CANNOT, Outcome, check_file, check_folder, to_csv, to_json
from .verifying.wording import LANGUAGES, say

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """What can be said on the command line.

    Example:
        >>> parser().parse_args(["verify", "ada.py"]).files
        ['ada.py']
    """
    p = argparse.ArgumentParser(
        prog="python -m tinygrad_edu", description="Check gradients that were derived by hand."
    )
    p.add_argument("--version", action="version", version=f"tinygrad_edu {__version__}")
    commands = p.add_subparsers(dest="command", required=True)
    v = commands.add_parser(
        "verify",
        help="check the claims in files, or in a folder of submissions",
        description="Check files that hold a function `forward`, a dictionary `shapes`, and "
        "`claims` or a function `backprop` (see docs/verifying.md). With a folder: one row a file. "
        "Files are programs and are run, each in a process of its own with bounds on time and "
        "memory. Exit code: 0 right, 1 wrong, 2 cannot be checked.",
    )
    v.add_argument("files", nargs="+", metavar="FILE", help="files, or one folder")
    v.add_argument("--task", metavar="FILE", help="where `forward` and `shapes` come from")
    v.add_argument("--format", choices=("text", "csv", "json"), help="text; a folder: csv")
    v.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the messages")
    v.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for a file (20)")
    v.add_argument("--memory", type=int, default=2048, metavar="MB", help="for a file (2048)")
    v.add_argument("--jobs", type=int, default=2, metavar="N", help="files at the same time (2)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code.

    Example:
        >>> main(["verify", "nowhere.py"])
        nowhere.py: cannot be checked: there is no such file or folder
        2
    """
    options = parser().parse_args(arguments)
    task = Path(options.task) if options.task else None
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    settings = {"lang": options.lang, "seconds": options.seconds, "megabytes": options.memory}
    outcomes: list[Outcome] = []
    folders = False
    for name in options.files:
        path = Path(name)
        if path.is_dir():
            folders = True
            found = check_folder(path, task, jobs=options.jobs, **settings)
            outcomes += found or [Outcome(name, CANNOT, say("no-files", options.lang))]
        elif not path.exists():
            outcomes.append(Outcome(name, CANNOT, say("no-path", options.lang)))
        else:
            outcomes.append(check_file(path, task, colour=colour, **settings))
    form = options.format or ("csv" if folders else "text")
    if form == "csv":
        print(to_csv(outcomes, options.lang), end="")
    elif form == "json":
        print(to_json(outcomes))
    else:
        for outcome in outcomes:
            if outcome.text:
                print(f"{outcome.file}: {outcome.text}")
            else:
                about = {"file": outcome.file, "reason": outcome.reason}
                print(say("refused-file", options.lang, **about))
    return max(outcome.code for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
