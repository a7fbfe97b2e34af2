"""Machine code: made by a process of its own, kept for others, and run only as it was written."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_edu.capturing import machine_code
from tinygrad_edu.capturing.texts import NotNative

pytest.importorskip("numba")

SOURCE = """
from numba import cfunc

@cfunc("i8(i8)")
def run(x):
    return x + 1
"""
FAILS = SOURCE.replace("return x + 1", "return x + y")
RAISES = SOURCE.replace("return x + 1", "if x < 0:\n        raise ValueError\n    return x + 1")
CHOOSES = SOURCE.replace(  # by a table of jumps, with functions of the C library
    "return x + 1",
    """y = float(x)
    if x == 0:
        y = 5.0
    elif x == 1:
        y = 3.0 ** y + 7.0
    elif x == 2:
        y = np.sin(y) * 1000
    elif x == 3:
        y = -y
    elif x == 4:
        y = y ** 0.25 * 1000
    return int(y)""",
).replace("from numba", "import numpy as np\nfrom numba")
STEP = """
import sys
import numpy as np
import tinygrad_edu as tg
if "compiles" not in sys.argv:
    sys.executable = "/nowhere"
step = tg.compile(lambda x: (np.exp(-x * x) + 1).sum(), backend="numba")
step(np.ones(4))  # runs the function
print(step(np.ones(4)).item(), step.native, "numba" in sys.modules)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, as a process finds it that has loaded nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine_code, "_loaded", {})
    return tmp_path / "tinygrad_edu" / "native"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are compiled from here on."""
    sources: list[str] = []
    make = machine_code._made

    def counted(source: str) -> bytes:
        sources.append(source)
        return make(source)

    monkeypatch.setattr(machine_code, "_made", counted)
    return sources


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STEP, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_a_process_that_finds_code_needs_no_compiler() -> None:
    told = []
    for arguments in (["compiles"], []):
        process = started(*arguments)
        told.append(process.communicate()[0].strip())
        assert process.returncode == 0
    assert told == ["5.471517764685769 [True] False"] * 2


def test_processes_that_compile_the_same_are_not_in_each_others_way(cache: Path) -> None:
    told = {process.communicate()[0].strip() for process in [started("compiles") for _ in "ab"]}
    assert told == {"5.471517764685769 [True] False"}
    (kept,) = cache.iterdir()
    assert machine_code._kept(kept)


def test_code_is_compiled_once_and_loaded_once(made: list[str], cache: Path) -> None:
    run = machine_code.compiled(SOURCE)
    assert run(41) == 42 and machine_code.compiled(SOURCE) is run
    machine_code._loaded.clear()
    assert machine_code.compiled(SOURCE)(-1) == 0
    assert made == [SOURCE]
    assert [path.suffix for path in cache.iterdir()] == [".code"]


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_file_is_compiled_anew(place: int, made: list[str], cache: Path) -> None:
    machine_code.compiled(SOURCE)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    for data in (damaged, whole[:-5], b""):
        kept.write_bytes(data)
        machine_code._loaded.clear()
        assert machine_code.compiled(SOURCE)(41) == 42
        assert kept.read_bytes() == whole
    assert len(made) == 4


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files")
def test_what_others_may_write_is_not_run(
    made: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_code.compiled(SOURCE)
    (kept,) = cache.iterdir()
    assert not kept.stat().st_mode & 0o077
    kept.chmod(0o666)
    assert machine_code._kept(kept) is None
    machine_code._loaded.clear()
    machine_code.compiled(SOURCE)
    assert len(made) == 2 and machine_code._kept(kept)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert machine_code._kept(kept) is None


def test_code_of_another_name_is_not_run(cache: Path) -> None:
    machine_code.compiled(SOURCE)
    (kept,) = cache.iterdir()
    other = kept.with_name(f"{machine_code._key(CHOOSES)}.code")
    kept.rename(other)
    assert machine_code._kept(other) is None


def test_other_processors_and_versions_have_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [machine_code._key(SOURCE), machine_code._key(CHOOSES)]
    with monkeypatch.context() as changed:
        changed.setattr(machine_code, "_processor", lambda: "another")
        keys.append(machine_code._key(SOURCE))
    with monkeypatch.context() as changed:
        changed.setattr(machine_code, "FORM", "another")
        changed.setattr(machine_code, "_processor", machine_code._processor)
        keys.append(machine_code._key(SOURCE))
    for package in ("numba", "llvmlite"):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "_version.py").write_text("version = '0.0'", encoding="utf-8")
        other = ModuleSpec(package, None, origin=str(folder / "__init__.py"))
        with monkeypatch.context() as changed:
            changed.setattr(
                f"{machine_code.__name__}.find_spec",
                lambda name, p=package, spec=other: spec if name == p else find_spec(name),
            )
            keys.append(machine_code._key(SOURCE))
    assert len(set(keys)) == len(keys)
    assert machine_code._key(SOURCE) == keys[0]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (FAILS, r"NameError.*'y' is not defined"),
        (RAISES, "the kernels raise errors"),
        ("?", "SyntaxError"),
    ],
)
def test_what_the_compiler_says_is_handed_on(source: str, reason: str, cache: Path) -> None:
    with pytest.raises(NotNative, match=f"(?s)backend='numba' has failed.*{reason}"):
        machine_code.compiled(source)
    assert not cache.exists()


def test_settings_for_debugging_numba_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert machine_code.compiled(SOURCE)(1) == 2


def test_nothing_is_kept_where_nothing_can_be_written(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    for _ in range(2):
        assert machine_code.compiled(SOURCE)(1) == 2
    assert made == [SOURCE]


@pytest.mark.parametrize("form", sorted({machine_code.FORM, "object"}))
def test_code_chooses_and_calls_functions_from_outside(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code, "FORM", form)
    run: Any = machine_code.compiled(CHOOSES)
    assert [run(i) for i in range(6)] == [5, 10, 909, -3, 1414, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_inner_loop_of_matmul_is_found(dtype: str) -> None:
    words = ctypes.c_int64
    loop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(
        machine_code._matmul(f"numpy_matmul_{dtype}")
    )
    a, b, c = (np.full(shape, 2, dtype) for shape in ((2, 3), (3, 4), (2, 4)))
    arrays = (words * 3)(*(x.ctypes.data for x in (a, b, c)))
    steps = (words * 9)(0, 0, 0, *a.strides, *b.strides, *c.strides)
    loop(arrays, (words * 4)(1, 2, 3, 4), steps, None)
    np.testing.assert_array_equal(c, a @ b)
