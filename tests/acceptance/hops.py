"""Quick queued steps on two queues, and what they leave behind: a line a step, in a file that all processes add to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from qwit_durable import Retry, Workflow, current, gather, step, workflow

__all__ = ["hopping", "lines", "racing_calmly", "racing_urgently"]

_PATIENT = Retry(max_attempts=20, first=timedelta(milliseconds=10), cap=timedelta(milliseconds=50))


def _path() -> Path:
    return Path(os.environ["APP_LEDGER"]).with_name("hops")


def _note(what: str) -> None:
    step = current()
    line = f"{step.run_id} {what} {step.attempt} {os.getpid()}\n"
    handle = os.open(_path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def lines(path: Path) -> Sequence[tuple[str, str, int, int]]:
    """The run, what it did, the attempt and the process, in their order."""
    try:
        text = (path.with_name("hops")).read_text()
    except FileNotFoundError:
        return []
    found = [line.split() for line in text.splitlines()]
    return [(run, what, int(attempt), int(pid)) for run, what, attempt, pid in found]


@step(queue="near", dispatch="queue", retry=_PATIENT)
def hop_near(number: int) -> int:
    _note(f"near-{number}")
    return number + 1


@step(queue="far", dispatch="queue", retry=_PATIENT)
def hop_far(number: int) -> int:
    _note(f"far-{number}")
    return number + 1


@workflow(queue="near")
def hopping(hops: int) -> Workflow[int]:
    """To and fro, with three at once now and then."""
    number = 0
    while number < hops:
        number = yield from hop_near(number)
        number = yield from hop_near(number)
        number = yield from hop_far(number)
        number = max((yield from gather(*(hop_far(number + n) for n in range(3)))))
    return number


@step(queue="near", dispatch="queue", priority=0, retry=_PATIENT)
def hop_urgently(number: int) -> int:
    _note(f"urgent-{number}")
    return number + 1


@step(queue="near", dispatch="queue", priority=50, retry=_PATIENT)
def hop_calmly(number: int) -> int:
    _note(f"calm-{number}")
    return number + 1


@workflow(queue="near")
def racing_urgently(hops: int) -> Workflow[int]:
    """Steps that go first."""
    number = 0
    while number < hops:
        number = yield from hop_urgently(number)
    return number


@workflow(queue="near")
def racing_calmly(hops: int) -> Workflow[int]:
    """Steps that can wait."""
    number = 0
    while number < hops:
        number = yield from hop_calmly(number)
    return number


def made(path: Path) -> Counter[tuple[str, str]]:
    """How many attempts there were of what."""
    return Counter((run, what) for run, what, *_ in lines(path))
