"""A schedule each second, and processes that are killed: each due time has one run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qwit_durable import Durable
from qwit_durable.stores import open_store

ROOT = Path(__file__).parents[2]
_SECONDS = 3

WORKER = """
import sys, threading
from datetime import timedelta
from qwit_durable import Durable, Workflow, step, workflow

@step
def note(what: str) -> None: ...

@workflow
def ticking(what: str) -> Workflow[None]:
    yield from note(what)

with Durable(sys.argv[1], lease=timedelta(seconds=2), beat=timedelta(seconds=0.5)).embedded(threads=2) as durable:
    durable.schedule("tick", ticking, "x", every=timedelta(seconds=1), overlap="allow", catch_up="all")
    print("ready", flush=True)
    threading.Event().wait(60)  # until it is killed
"""


def process(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, url]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def kill(running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert running.stdout is not None
    running.stdout.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_each_due_time_has_one_run_though_processes_are_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/tick.db"
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    open_store(url).migrate()
    durable = Durable(url)
    first, second = process(url), process(url)
    until = datetime.now(UTC) + timedelta(seconds=_SECONDS)
    try:
        started = durable.get_schedule("tick").describe().created_at
        while datetime.now(UTC) < until:
            # The kills come in real time, between real due times: nothing could be waited for instead.
            time.sleep(0.7)
            kill(first)
            first, second = second, process(url)
        ended = durable.reader.now()
        deadline = time.monotonic() + 10
        while durable.get_schedule("tick").describe().last_due_at < ended - timedelta(seconds=1):
            assert time.monotonic() < deadline, durable.get_schedule("tick").describe()
            time.sleep(0.1)  # a look at another process's work, until it is done
        durable.get_schedule("tick").pause()
    finally:
        for running in (first, second):
            kill(running)

    schedule = durable.get_schedule("tick").describe()
    runs = [run.attributes["due_at"] for run in durable.get_schedule("tick").runs()]
    durable.close()

    last = schedule.last_due_at
    assert last is not None
    begin = started.replace(microsecond=0) + timedelta(seconds=1)
    wanted = [begin + timedelta(seconds=n) for n in range(int((last - begin).total_seconds()) + 1)]
    assert sorted(runs) == [due.isoformat().replace("+00:00", "Z") for due in wanted]
    assert (schedule.started, schedule.missed, schedule.skipped) == (len(wanted), 0, 0)
