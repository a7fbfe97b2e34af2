"""The service: the compiler's process, kept for the next program.

Numba takes a second to start, and a training has several programs. The first one starts the
compiler (see `compiler`), which then waits for others, for some seconds. Its input is a pipe from
here that closes with this process, whatever it dies of; the compiler ends then too.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from typing import IO, TYPE_CHECKING

from .compiler import message, received
from .texts import NotNative

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["NoCompiler", "Service", "service"]

PATIENCE = 600.0  # seconds for one program, after which the compiler is ended


class NoCompiler(NotNative):
    """There is no machine code, since the compiler failed or could not be started."""

    def __str__(self) -> str:
        return str(self.args[0])


class Service:
    """The compiler for the threads of this process, which take turns."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: Popen[bytes] | None = None
        self._said: IO[bytes]  # what it printed

    def compiled(self, source: str, form: str) -> bytes:
        """What the compiler makes of a module (see there).

        Raises:  NoCompiler where it fails, with what it printed, or cannot be started
        """
        with self._lock:
            try:
                return self._answer(f"{form}\n{source}".encode())
            except BaseException as error:  # it may be about to answer, for which nobody waits
                self.end()
                if isinstance(error, OSError):
                    raise NoCompiler(
                        f"the compiler of backend='numba' could not be started: {error}"
                    ) from error
                raise

    def end(self) -> None:
        """Have no process until the next program."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._said.close()
            self._process = None

    def forget(self) -> None:
        """In a process that was split off: leave the compiler to whom it belongs."""
        self._lock = Lock()  # which a thread that is not here may have held
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                pipe.raw.close()  # type: ignore[union-attr]  # nothing is written first
            self._process.returncode = 0  # it is nobody here who has to wait for it
            self._process = None

    def _answer(self, question: bytes) -> bytes:
        from subprocess import TimeoutExpired  # longer to import than code from the cache to load

        is_new = self._process is None or self._process.poll() is not None
        if is_new:
            self.end()
            self._start()
        process = self._process
        assert process is not None
        answer = self._exchanged(process, question)
        if answer is not None:
            return answer
        with suppress(TimeoutExpired):  # of one that says something else
            process.wait(1)
        if not is_new and process.returncode == 0:  # it has just gone, with nothing to do
            return self._answer(question)
        process.kill()
        status = process.wait()
        self._said.seek(0)
        reason = self._said.read().decode(errors="replace").strip() or f"exit status {status}"
        raise NoCompiler(f"the compiler of backend='numba' has failed:\n{reason}")

    def _exchanged(self, process: Popen[bytes], question: bytes) -> bytes | None:
        """The compiler's answer; None if it ends without one, or says something else."""
        late: list[bool] = []

        def end() -> None:
            late.append(True)
            process.kill()  # which closes the pipes and so ends the waiting

        timer = Timer(PATIENCE, end)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:
            raise NoCompiler(f"no thread could be started to watch the compiler: {error}") from None
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(message(question))
            process.stdin.flush()
            answer = received(process.stdout)
        except OSError:  # it has ended
            answer = None
        finally:
            timer.cancel()
        if answer is None and late:
            raise NoCompiler(
                f"the compiler of backend='numba' was ended after {PATIENCE:g} s with one program"
            )
        return answer

    def _start(self) -> None:
        import subprocess
        import tempfile

        package = str(Path(__file__).resolve().parents[2])
        # Settings of Numba for debugging make other code; that for SVML, code that needs its
        # library.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {
            "NUMBA_DISABLE_INTEL_SVML": "1",
            "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)]),
        }
        if not sys.executable:
            raise NoCompiler("the compiler of backend='numba' could not be started: no Python")
        said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe would be full at some time
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tinygrad_edu.capturing.compiler"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment,
            )
        except BaseException:
            said.close()
            raise
        self._said = said


service = Service()
atexit.register(service.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=service.forget)
