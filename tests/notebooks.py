"""The assignment of docs/grading.md, graded by nbgrader and by Otter, where they are installed.

    python -m tests.notebooks nbgrader
    python -m tests.notebooks otter

The cells are those of the page. Two students hand in: one has the solution of the page, the other
has forgotten `axis=0`. The first gets all points, the second none and the hint of the page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "grading.md"
CELL = re.compile(r"<!-- cell: (\w+) -->\n```py(?:thon)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
HINT = "look at  b_grad = np.sum(err) / m (in line 5)"


def cells() -> dict[str, str]:
    """Return the cells of the page by their names."""
    return dict(CELL.findall(PAGE.read_text(encoding="utf-8")))


def forgetful(solution: str) -> str:
    """Return the solution without `axis=0`."""
    assert ", axis=0" in solution
    return solution.replace(", axis=0", "")


def handed_in(solution: str) -> str:
    """Return a solution as a student's cell has it, without the teacher's marks."""
    return "\n".join(line for line in solution.splitlines() if not line.startswith("###"))


def notebook(sources: dict[str, str]) -> dict[str, Any]:
    """Return a notebook with these cells, the metadata of nbgrader in them."""
    made = []
    for name, source in sources.items():
        about = {
            "grade": name == "test",
            "grade_id": name,
            "locked": name != "solution",
            "schema_version": 3,
            "solution": name == "solution",
            "task": False,
        }
        if name == "test":
            about["points"] = 2
        cell = {"cell_type": "code", "id": name, "source": source, "outputs": []}
        made.append({**cell, "execution_count": None, "metadata": {"nbgrader": about}})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def students() -> dict[str, dict[str, str]]:
    """Return the cells of each student's notebook."""
    given = cells()
    right = {**given, "solution": handed_in(given["solution"])}
    return {"ada": right, "bob": {**right, "solution": forgetful(right["solution"])}}


def write(path: Path, sources: dict[str, str], names: tuple[str, ...]) -> None:
    """Write a notebook with some of the cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook({name: sources[name] for name in names})))


def called(*command: str, cwd: Path) -> str:
    """Run a command with this library on its path; return what it prints.

    Raises:  SystemExit with its output if it fails
    """
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": programs}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


GRADES = """
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    print(json.dumps({s.student.id: s.score for s in book.assignment_submissions("ps1")}))
"""


def with_nbgrader(root: Path) -> dict[str, float]:
    """Return the points that nbgrader gives each student; the hint has to be in bob's notebook."""
    names = ("task", "solution", "test")
    write(root / "source" / "ps1" / "gradients.ipynb", cells(), names)
    (root / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'course'\n"
        f"c.CourseDirectory.root = {str(root)!r}\n"
    )
    nbgrader = [sys.executable, "-m", "nbgrader"]
    called(*nbgrader, "generate_assignment", "ps1", cwd=root)
    released = json.loads((root / "release" / "ps1" / "gradients.ipynb").read_text())
    assert "np.dot" not in json.dumps(released), "the solution must not be released"
    for student, sources in students().items():
        path = root / "submitted" / student / "ps1" / "gradients.ipynb"
        path.parent.mkdir(parents=True)
        for cell in released["cells"]:
            cell["source"] = sources[cell["id"]]
        path.write_text(json.dumps(released))
    called(*nbgrader, "autograde", "ps1", cwd=root)
    graded = (root / "autograded" / "bob" / "ps1" / "gradients.ipynb").read_text()
    assert HINT in errors(graded), errors(graded)
    return dict(json.loads(called(sys.executable, "-c", GRADES, cwd=root)))


def errors(text: str) -> str:
    """Return the messages of the errors in a notebook that has been run."""
    outputs = [o for cell in json.loads(text)["cells"] for o in cell.get("outputs", [])]
    return "\n".join(o.get("evalue", "") for o in outputs)


def with_otter(root: Path) -> dict[str, float]:
    """Return the points that Otter gives each student; the hint has to be in what it prints."""
    (root / "tests").mkdir()
    (root / "tests" / "q1.py").write_text(cells()["otter"])
    found, otter = {}, [str(Path(sys.executable).parent / "otter"), "check"]
    for student, sources in students().items():
        write(root / f"{student}.ipynb", sources, ("task", "solution"))
        printed = called(*otter, "-t", "tests", "-q", "q1", f"{student}.ipynb", cwd=root)
        passed = "All tests passed" in printed
        assert passed or HINT in printed, printed
        found[student] = 2.0 if passed else 0.0
    return found


def main() -> int:
    """Grade with the tool that is named; print the points."""
    grade = {"nbgrader": with_nbgrader, "otter": with_otter}[sys.argv[1]]
    root = Path(tempfile.mkdtemp())
    try:
        points = grade(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(points)
    return points != {"ada": 2.0, "bob": 0.0}


if __name__ == "__main__":
    raise SystemExit(main())
