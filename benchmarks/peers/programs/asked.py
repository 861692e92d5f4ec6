"""How a peer's program talks with the benchmark: a question a line in, seconds a line out, until the input ends.

Standard library only: it runs in the peer's own environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent


def given() -> Any:
    """What the benchmark, or the program above, passed to this one."""
    return json.loads(sys.argv[-1])


def answer(verbs: Mapping[str, Callable[..., float]]) -> None:
    """Say that all is ready, then answer; returns when whoever asks has closed the input or is gone."""
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *numbers = line.split()
        print(repr(verbs[verb](*map(int, numbers))), flush=True)


class Workers:
    """The processes below a peer's program. They write to its log and end with it, at the end of the `with`."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            traceback.print_exception(error)
            sys.stderr.flush()
        # The program leads a group, with all that its workers have started. Nothing there is worth a slow goodbye.
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start one that needs no word from us."""
        self._processes.append(
            subprocess.Popen(
                command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, text=True
            )
        )

    def start_asked(self, command: Sequence[str]) -> None:
        """Start one that `answer`s; returns when it is ready."""
        process = subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        heard = self._hear(process)
        assert heard == "ready", heard

    def ask(self, questions: Sequence[str]) -> list[str]:
        """Ask the first, the second … worker at the same time; returns when all have answered."""
        asked = self._processes[: len(questions)]
        for process, question in zip(asked, questions, strict=True):
            assert process.stdin is not None
            process.stdin.write(question + "\n")
            process.stdin.flush()
        return [self._hear(process) for process in asked]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let them stand still meanwhile."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self._processes:
                process.send_signal(signal.SIGCONT)

    @staticmethod
    def _hear(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a worker has ended; the log says why")
        return line.strip()
