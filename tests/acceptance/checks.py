"""What must hold after everything that a test did to the workers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from qwit_durable import Durable, Handle, RunFailed, RunStuck
from qwit_durable.core import AttemptFailed, Resolved
from tests.acceptance.workers import PATIENCE_SECONDS, Workers


def approve(handle: Handle[Any], by: str = "Ann") -> None:
    """Send the signal that an order waits for; it may come long before anybody waits."""
    handle.signal("approved", by)


def result(workers: Workers, handle: Handle[Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """The value of a run, or the error that it ended with; what the workers said, if it does not end."""
    try:
        return handle.result(timeout=seconds)
    except RunStuck:
        raise
    except RunFailed as failed:
        return failed
    except TimeoutError as late:
        pytest.fail(f"{late}\n{history(handle)}\n{workers.logs()}")


def history(handle: Handle[Any]) -> str:
    """What is recorded, for messages."""
    reader = handle._access.reader
    return "\n".join(f"{each.number}: {each.event}" for each in reader.history(handle._run_id))


def most_lost(handle: Handle[Any]) -> int:
    """How many attempts were lost of the command of which most were."""
    recorded = handle._access.reader.history(handle._run_id)
    lost = Counter(each.event.position for each in recorded if isinstance(each.event, AttemptFailed))
    return max(lost.values(), default=0)


def assert_recorded_once(durable: Durable) -> None:
    """No command of any run has two outcomes, and the numbers of its events have no gap."""
    for run in durable.runs():
        recorded = durable.reader.history(run.run_id)
        assert [each.number for each in recorded] == [*range(1, len(recorded) + 1)]
        outcomes = Counter(each.event.position for each in recorded if isinstance(each.event, Resolved))
        assert [position for position, count in outcomes.items() if count > 1] == [], run


def assert_nothing_is_left(workers: Workers, durable: Durable) -> None:
    """Ended runs are owed nothing: no task, no timer."""
    for run in durable.runs():
        assert run.ended_at is not None, f"{run}\n{workers.logs()}"
        assert list(durable.reader.tasks(run.run_id)) == []
        assert list(durable.reader.timers(run.run_id)) == []
