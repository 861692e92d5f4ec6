"""What the programs of all peers have in common: how they talk with the benchmark, their workers, their notes.

A question a line in, figures as JSON a line out, until the input ends. Standard library only: it runs in the peer's own
environment.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Event
from time import monotonic, perf_counter, time
from typing import Any, Self

HERE = Path(__file__).resolve().parent
#: Marks are in a folder that the benchmark makes and removes; every process below it knows where that is.
_FOLDER = "PEER_FOLDER"
_PAUSE_SECONDS = 0.02
#: How long anything may take: much longer than what the benchmark asks for should.
PATIENCE_SECONDS = 120


def given() -> Any:
    """What the benchmark, or the program above, passed to this one."""
    return json.loads(sys.argv[-1])


def answer(verbs: Mapping[str, Callable[..., float | Sequence[float]]]) -> None:
    """Say that all is ready, then answer; returns when whoever asks has closed the input or is gone.

    What takes too long is answered by a word instead of figures.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *numbers = line.split()
        try:
            found = json.dumps(verbs[verb](*map(int, numbers)))
        except Exception as error:
            # Each client has a class of its own for it.
            if "timeout" not in type(error).__name__.lower():
                raise
            traceback.print_exception(error)
            found = json.dumps(f"not done in {PATIENCE_SECONDS} s")
        print(found, flush=True)


# -- notes that cost next to nothing: bytes at the end of a file -----------------------------------------------------


@cache
def _notes(name: str) -> int:
    return os.open(Path(os.environ[_FOLDER], name), os.O_CREAT | os.O_APPEND | os.O_RDWR)


def mark(name: str) -> None:
    """Note, from any process of the peer, that one more has come so far."""
    os.write(_notes(name), b".")


def marks(name: str) -> int:
    """How many have."""
    return os.fstat(_notes(name)).st_size


def pause(seconds: float = 0.002) -> None:
    Event().wait(seconds)


def wait_until(is_done: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not is_done():
        if monotonic() > deadline:
            raise TimeoutError(f"not done within {PATIENCE_SECONDS} s")
        pause()


# -- what is asked of several peers in the same way ------------------------------------------------------------------


def seconds_of(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def calls(act: Callable[[int], object], count: int, threads: int) -> float:
    """Seconds of so many calls by so many threads."""
    if threads == 1:
        return seconds_of(lambda: [act(number) for number in range(count)])
    with ThreadPoolExecutor(threads) as pool:
        return seconds_of(lambda: list(pool.map(act, range(count))))


def percentiles(latencies: Sequence[float]) -> list[float]:
    """Milliseconds, p50 and p99, of seconds."""
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return [cuts[49] * 1000, cuts[98] * 1000]


def latency(stamped: Callable[[], float], count: int) -> list[float]:
    """From a start to its first step, which says by `perf_counter` when it began; each after a moment of quiet."""

    def once() -> float:
        pause(_PAUSE_SECONDS)
        began = perf_counter()
        return stamped() - began

    once()
    return percentiles([once() for _ in range(count)])


def sleepers(put_to_sleep: Callable[[int, float], object], count: int, seconds: int) -> list[float]:
    """How many workflows a second wake and end that are all due at once, and how many there were.

    Each marks `asleep` before it sleeps until that time and `awake` after it. There are so many at most, and no more
    than go to sleep in so many seconds.
    """

    def all_sleep(some: int, due: float) -> float | None:
        """Seconds for each; nothing if not all of them slept before they were due."""
        before, asleep = time(), marks("asleep") + some
        put_to_sleep(some, due)
        wait_until(lambda: marks("asleep") >= asleep or time() >= due)
        return (time() - before) / some if time() < due else None

    def sleep(some: int, spare: float) -> tuple[float | None, float]:
        """What `all_sleep` says, and the time from when they were due until all were awake."""
        awake, due = marks("awake") + some, time() + spare
        each = all_sleep(some, due)
        wait_until(lambda: marks("awake") >= awake)
        return each, time() - due

    sample = max(count // 50, 2)
    spare = float(max(seconds, 2))
    each, _ = sleep(sample, spare)
    each = each or spare / sample
    count = max(min(count, int(seconds / each)), 1)
    while True:
        slept, waking = sleep(count, 3 * each * count + 1)
        if slept is not None or count == 1:
            return [count / waking, count]
        count = max(count // 3, 1)


def recovery(workers: Workers, start: Callable[[int, int], object], runs: int, steps: int) -> list[float]:
    """Seconds from a `kill -9` of all workers, which are started again at once, to the next step and to the last end.

    Each step marks `step`, each workflow `end`.
    """
    begun, ended = marks("step"), marks("end")
    start(runs, steps)
    wait_until(lambda: marks("step") > begun + runs)
    workers.kill()
    killed_at, before, were_over = perf_counter(), marks("step"), marks("end") >= ended + runs
    workers.start_again()
    if were_over:
        workers.await_ready()
        return recovery(workers, start, runs, 4 * steps)
    wait_until(lambda: marks("step") > before)
    first = perf_counter() - killed_at
    wait_until(lambda: marks("end") >= ended + runs)
    found = [first, perf_counter() - killed_at]
    workers.await_ready()
    return found


# -- processes -------------------------------------------------------------------------------------------------------


class Workers:
    """The processes below a peer's program. They write to its log and end with it, at the end of the `with`."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._again: list[Callable[[], subprocess.Popen[str]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            traceback.print_exception(error)
            sys.stderr.flush()
        # The program leads a group, with all that its workers have started. Nothing there is worth a slow goodbye.
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def start(self, command: Sequence[str]) -> None:
        """Start one that needs no word from us."""
        self._start(lambda: self._popen(command))

    def start_server(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start what is no worker: it neither stands still nor dies with them."""
        self._popen(command, env={**os.environ, **environment})

    def start_asked(self, command: Sequence[str]) -> None:
        """Start one that `answer`s; returns when it is ready."""

        def begin() -> subprocess.Popen[str]:
            return self._popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        self._start(begin)
        self._await(self._processes[-1])

    def _start(self, begin: Callable[[], subprocess.Popen[str]]) -> None:
        self._again.append(begin)
        self._processes.append(begin())

    @staticmethod
    def _popen(command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        options = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr, **options}
        return subprocess.Popen(command, cwd=HERE, text=True, **options)

    def ask(self, questions: Sequence[str]) -> list[Any]:
        """Ask the first, the second … worker at the same time; returns when all have answered."""
        asked = self._processes[: len(questions)]
        for process, question in zip(asked, questions, strict=True):
            assert process.stdin is not None
            process.stdin.write(question + "\n")
            process.stdin.flush()
        return [json.loads(self._hear(process)) for process in asked]

    def kill(self) -> None:
        """End all at once."""
        self._signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def start_again(self) -> None:
        """Start all that were killed; `await_ready` comes before the next question."""
        self._processes = [begin() for begin in self._again]

    def await_ready(self) -> None:
        """Return when all that answer can."""
        for process in self._processes:
            if process.stdout is not None:
                self._await(process)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let them stand still meanwhile."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in self._processes:
            for pid in [process.pid, *_below(process.pid)]:
                os.kill(pid, number)

    def _await(self, process: subprocess.Popen[str]) -> None:
        heard = self._hear(process)
        assert heard == "ready", heard

    @staticmethod
    def _hear(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a worker has ended; the log says why")
        return line.strip()


def _below(pid: int) -> list[int]:
    """What a process has started, and what those have."""
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    found = [int(line) for line in done.stdout.split()]
    return found + [each for child in found for each in _below(child)]
