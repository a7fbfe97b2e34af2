"""Machine code where the system gets in its way: right numbers each time, and a sentence why."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any, NoReturn

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.capturing.test_service import stand_in
from tinygrad_edu import nn, optim
from tinygrad_edu.capturing import machine_code, service

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no FIFO, no scripts")

X = np.random.default_rng(0).normal(size=(8, 3))
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: Patch) -> Path:
    """An empty cache, as a process finds it that has loaded nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(machine_code, "_loaded", {})
    return tmp_path / "cache" / "tinygrad_edu" / "native"


@pytest.fixture(autouse=True)
def own_service(monkeypatch: Patch) -> Any:
    """A compiler that has not been started."""
    own = service.Service()
    monkeypatch.setattr(machine_code, "service", own)
    yield own
    own.end()


MADE: dict[str, bytes] = {}


@pytest.fixture
def compiled_once(monkeypatch: Patch) -> None:
    """Take what has been compiled before in these tests, which are about something else."""
    make = machine_code._made

    def made(source: str) -> bytes:
        if source not in MADE:
            MADE[source] = make(source)
        return MADE[source]

    monkeypatch.setattr(machine_code, "_made", made)


def trained(backend: str) -> tuple[list[float], Any]:
    """Losses of three steps, one by one and in an epoch, and what the step says of its backend."""
    model = nn.Linear(3, 1, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @tg.compile(backend=backend)
    def step(x: Any) -> Any:
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(X).item() for _ in range(3)]
    return [*losses, *step.epoch(X, order=[range(8), range(7, -1, -1)])], step.native


def fitted(compile: Any) -> tuple[Any, Any]:
    """Losses of a training, and what its history says of the backend."""
    model = nn.Linear(3, 1, rng=0)
    history = tg.fit(
        model,
        X,
        X[:, :1].copy(),
        loss="mse",
        optimizer="sgd",
        epochs=3,
        shuffle=False,
        compile=compile,
    )
    return history.history["loss"], history.native


def check(reason: str) -> None:
    """The numbers are NumPy's, to rounding, and the sentence is found."""
    losses, native = trained("numba")
    np.testing.assert_allclose(losses, trained("numpy")[0], rtol=1e-12)
    assert [reason in str(x) for x in native] == [True] * len(native)
    losses, told = fitted("numba")
    np.testing.assert_allclose(losses, fitted(False)[0], rtol=1e-12)
    assert reason in str(told)


# --- what the system refuses ----------------------------------------------------------------------


def refuse(error: type[Exception], number: int) -> Callable[..., NoReturn]:
    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise error(number, os.strerror(number))

    return refused


@pytest.mark.parametrize(
    ("owner", "name", "error", "number", "reason"),
    [
        (machine_code, "_protect", PermissionError, 13, "cannot be used here: [Errno 13]"),
        (mmap, "mmap", OSError, 12, "cannot be used here: [Errno 12]"),
        (subprocess, "Popen", BlockingIOError, 11, "could not be started: [Errno 11]"),
        (subprocess, "Popen", OSError, 12, "could not be started: [Errno 12]"),
        (tempfile, "TemporaryFile", OSError, 28, "could not be started: [Errno 28]"),
        (Timer, "start", RuntimeError, 11, "no thread could be started"),
    ],
)
def test_what_is_refused_is_said(
    owner: Any, name: str, error: type[Exception], number: int, reason: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(owner, name, refuse(error, number))
    check(reason)


def test_without_executable_memory_nothing_is_compiled(monkeypatch: Patch) -> None:
    monkeypatch.setattr(machine_code, "_protect", refuse(PermissionError, 13))
    monkeypatch.setattr(machine_code, "_made", refuse(AssertionError, 1))
    if machine_code.FORM == "linked":
        check("cannot be used here")


DENIED = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE: no memory becomes executable
    sys.exit(99)
import numpy as np, tinygrad_edu as tg
step = tg.compile(lambda x: (x * x).sum(), backend="numba")
print(step(np.ones(4)).item(), step(np.ones(4)).item(), step.native)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of Linux")
def test_a_process_that_may_have_no_executable_memory() -> None:
    done = subprocess.run([sys.executable, "-c", DENIED], capture_output=True, text=True)
    if done.returncode == 99:
        pytest.skip("this kernel cannot be asked for it")
    assert done.stdout.startswith("4.0 4.0 ['machine code cannot be used here: [Errno 13]")


def test_without_an_interpreter_there_is_no_compiler(monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "executable", None)
    check("no Python")


# --- the compiler ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sys.exit('no license')", "has failed:\nno license"),
        ("os.kill(os.getpid(), 9)", "has failed:\nexit status -9"),
        ("os.write(1, b'x' * 100)", "has failed:\nexit status 0"),
        ("os.read(0, 1); os.kill(os.getpid(), 11)", "has failed:\nexit status -11"),
    ],
)
def test_a_compiler_that_dies(text: str, reason: str, tmp_path: Path, monkeypatch: Patch) -> None:
    stand_in(monkeypatch, tmp_path, text)
    check(reason)


@pytest.mark.parametrize("text", ["time.sleep(60)", "os.read(0, 1); time.sleep(60)"])
def test_a_compiler_that_hangs(
    text: str, own_service: Any, tmp_path: Path, monkeypatch: Patch
) -> None:
    stand_in(monkeypatch, tmp_path, text)
    monkeypatch.setattr(service, "PATIENCE", 0.01)
    check("was ended after 0.01 s")
    assert own_service._process is None


# --- the cache ------------------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def elsewhere(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"not code")
    path.symlink_to(other)


def large(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2 * machine_code.LARGEST)  # takes no room on the disk


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("put", [fifo, endless, elsewhere, large, folder])
def test_what_is_no_file_of_ours_is_not_read(
    put: Callable[[Path], None], cache: Path, monkeypatch: Patch
) -> None:
    want = trained("numba")
    assert want[1] == [True]
    for path in list(cache.iterdir()):
        path.unlink()
        put(path)
        assert machine_code._kept(path) is None
    machine_code._loaded.clear()
    assert trained("numba") == want
    codes = list(cache.glob("*.code"))
    assert len(codes) == 1 and not list(cache.glob("*.part"))
    if put is not folder:
        assert all(path.is_file() and not path.is_symlink() for path in codes)


def test_a_full_disk_leaves_no_part_of_a_file(cache: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        machine_code._keep(cache / "a.code", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(cache.iterdir())
    machine_code._keep(cache / "a.code", bytes(5000))
    assert machine_code._kept(cache / "a.code") == bytes(5000)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_who_interrupts_the_writing_finds_no_part_of_a_file(
    error: type[BaseException], cache: Path, monkeypatch: Patch
) -> None:
    def interrupted(*args: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(error):
        machine_code._keep(cache / "a.code", b"code")
    assert not list(cache.iterdir())


@pytest.mark.parametrize("relative", ["cache", "./cache", "../cache", ""])
def test_a_relative_cache_is_ignored(relative: str, tmp_path: Path, monkeypatch: Patch) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setenv("HOME", str(home))
    assert machine_code._folder() == home / ".cache" / "tinygrad_edu" / "native"


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("home", [".", "relative"])
def test_without_a_home_nothing_is_kept(home: str, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    assert machine_code._folder() is None
    assert trained("numba")[1] == [True]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("place", ["/dev/null/nowhere", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_done_without(place: str, monkeypatch: Patch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    losses, native = trained("numba")
    np.testing.assert_allclose(losses, trained("numpy")[0], rtol=1e-12)
    assert native == [True]
