"""The service: one compiler for all programs, and another where it is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.capturing.test_machine_code import FAILS, SOURCE
from tinygrad_edu.capturing import machine_code
from tinygrad_edu.capturing.compiler import message
from tinygrad_edu.capturing.service import Service
from tinygrad_edu.capturing.service import service as shared
from tinygrad_edu.capturing.texts import NotNative

pytest.importorskip("numba")


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.end()


def source(number: int) -> str:
    return SOURCE.replace("x + 1", f"x + {number}")


def process_of(service: Service) -> Any:
    assert service._process is not None
    return service._process


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """A script in the place of the compiler."""
    script = folder / "python"
    script.write_text(f"#!{sys.executable}\nimport os, sys, time\n{text}", encoding="utf-8")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))


def test_one_process_compiles_all_programs_of_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine_code, "_loaded", {})
    shared.compiled(SOURCE, machine_code.FORM)
    process = process_of(shared)
    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda n: machine_code.compiled(source(n)), [1, 2, 3, 1]))
    assert [run(10) for run in runs] == [11, 12, 13, 11]
    assert process_of(shared) is process and process.poll() is None


def test_after_a_source_that_fails_a_new_process_compiles_the_next(service: Service) -> None:
    service.compiled(SOURCE, "object")
    process = process_of(service)
    with pytest.raises(NotNative, match=r"(?s)has failed.*'y' is not defined"):
        service.compiled(FAILS, "object")
    assert process.poll() == 1
    service.compiled(SOURCE, "object")
    assert process_of(service) is not process


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_process_that_is_gone_is_no_error(service: Service) -> None:
    service.compiled(SOURCE, "object")
    process = process_of(service)
    process.kill()
    process.wait()
    assert service.compiled(SOURCE, "object")


@pytest.mark.skipif(sys.platform == "win32", reason="no scripts")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("print('hello'); sys.stdout.flush(); sys.exit('what now')", "what now"),
        ("os.write(2, b'lost'); os.write(1, b'x' * 100); time.sleep(60)", "lost"),
        (f"os.write(1, {message(b'code')[:-1]!r})", "exit status 0"),
        ("os.kill(os.getpid(), 9)", "exit status -9"),
    ],
)
def test_what_is_no_answer_is_an_error(
    text: str, reason: str, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        stand_in(changed, tmp_path, text)
        with pytest.raises(NotNative, match=f"(?s)backend='numba' has failed:\n.*{reason}"):
            service.compiled(SOURCE, "object")
    assert service._process is None
    service.compiled(SOURCE, "object")


@pytest.mark.skipif(sys.platform == "win32", reason="no scripts")
def test_one_that_ends_with_nothing_to_do_is_followed_by_another(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers once, and is gone when the second program is on its way to it."""
    answers = "\n".join(
        [
            f"sys.path[:0] = {sys.path!r}",
            "from tinygrad_edu.capturing.compiler import message, received",
            "received(sys.stdin.buffer)",
            "os.write(1, message(str(os.getpid()).encode()))",
            "received(sys.stdin.buffer)",
        ]
    )
    stand_in(monkeypatch, tmp_path, answers)
    assert service.compiled(SOURCE, "object") != service.compiled(SOURCE, "object")


@pytest.mark.parametrize(
    ("idle", "asked"), [(0.0, None), (1e6, b""), (1e6, b"?" * 99), (1e6, message(b"linked")[:-1])]
)
def test_the_compiler_ends_without_work_and_with_its_input(
    idle: float, asked: bytes | None
) -> None:
    text = f"from tinygrad_edu.capturing import compiler as c; c.IDLE = {idle}; c._serve()"
    arguments = [sys.executable, "-c", text]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        if asked is not None:
            process.stdin.write(asked)
            process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_that_is_split_off_has_a_compiler_of_its_own() -> None:
    shared.compiled(SOURCE, "object")
    process = process_of(shared)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        is_forgotten = shared._process is None
        answers.put((is_forgotten, bool(shared.compiled(SOURCE, "object"))))
        shared.end()

    with shared._lock:  # as by another thread
        other = context.Process(target=child)
        other.start()
    assert answers.get() == (True, True)
    other.join()
    assert process_of(shared) is process and process.poll() is None
    assert shared.compiled(SOURCE, "object")
    shared.end()
