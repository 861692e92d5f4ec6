"""Workflows whose steps write into the store's own database, and processes that embed workers for them."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from threading import Event

from qwit_durable import Durable, Workflow, current, gather, step, workflow
from tests.acceptance.ledger import ledger


@step(transactional=True)
def enter(what: str) -> str:
    ledger().begin(what)
    _write(what)
    return what


@step(transactional=True)
def enter_late(what: str, gate: str) -> int:
    ledger().begin(what)
    attempt = current().attempt
    while attempt == 1 and not Path(gate).exists():
        Event().wait(0.01)
    _write(f"{what} by attempt {attempt}")
    ledger().note(f"attempt {attempt} has written")
    return attempt


def _write(what: str) -> None:
    # No key: a second row would be there to be seen.
    mark = "?" if os.environ["APP_STORE"].startswith("sqlite") else "%s"
    current().connection.execute(f"INSERT INTO entry VALUES ({mark})", (what,))


@workflow
def many(name: str, count: int) -> Workflow[int]:
    for n in range(count):
        yield from enter(f"{name} {n}")
        if n % 5 == 0:
            yield from gather(enter(f"{name} {n}a"), enter(f"{name} {n}b"))
    return count


@workflow
def late(what: str, gate: str) -> Workflow[int]:
    return (yield from enter_late(what, gate))


def effects_of(name: str, count: int) -> list[str]:
    """What a run of `many` writes."""
    both = (f"{name} {n}{suffix}" for n in range(0, count, 5) for suffix in "ab")
    return sorted([*(f"{name} {n}" for n in range(count)), *both])


def wire() -> Durable:
    """On the store that the environment names."""
    return Durable(
        os.environ["APP_STORE"],
        lease=timedelta(seconds=1.5),
        beat=timedelta(seconds=0.5),
        sweep=timedelta(seconds=0.2),
    )


def serve() -> None:
    """Work until the standard input ends."""
    with wire().embedded(threads=3):
        sys.stdin.read()
