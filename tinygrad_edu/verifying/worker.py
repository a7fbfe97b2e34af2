"""The process that checks one file: bounds on its time and memory first, then the file.

Started by `submissions.check_file` and by nobody else. Its result goes through a pipe, so that
whatever the file prints does not matter.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from .submissions import outcome_of

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Check the file that the arguments name and send back what came of it.

    Example:
        main(["ada.py", "task.py", "en", "0", "5", "20", "2048"])
        >>> main([])
        Traceback (most recent call last):
        ...
        ValueError: not enough values to unpack (expected 7, got 0)
    """
    path, task, lang, colour, descriptor, seconds, megabytes = arguments
    memory, time = int(megabytes) << 20, int(float(seconds)) + 1
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, time),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    found = outcome_of(Path(path), Path(task) if task else None, lang, colour == "1")
    answer = json.dumps(found).encode()
    while answer:
        answer = answer[os.write(int(descriptor), answer) :]
    os._exit(0)  # no clean-up that the file has registered


if __name__ == "__main__":
    main(sys.argv[1:])
