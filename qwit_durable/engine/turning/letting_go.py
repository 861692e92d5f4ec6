"""Letting go of a run that was acquired and can't be carried on here.

What is written says why, for `explain()`, and when the run is looked at again. Neighbour: `engine.turning.turns`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from qwit_durable.core import Status
from qwit_durable.engine.ports import Services
from qwit_durable.stores.answers import Acquired, Answer
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.writes import Commit, Release, Write

__all__ = ["UNKNOWN_LATER", "give_back", "leave_to_others", "let_go", "stop_crashing"]

_logger = logging.getLogger("qwit_durable.turns")

#: When a run is looked at again that this process does not know how to carry on.
UNKNOWN_LATER = timedelta(seconds=5)


def stop_crashing(services: Services, acquired: Acquired) -> None:
    """Leave a run to a person that has killed one worker after another."""
    live = acquired.live
    text = (
        f"{live.lost} workers in a row died while they held run {acquired.run.key}, before anything new was "
        f"recorded\n  way out: find what kills them, then `qwit retry {acquired.run.key}`"
    )
    _release(services, acquired, Release(), Reason(kind="crash", text=text, was=live.status))


def leave_to_others(services: Services, acquired: Acquired, why: str) -> None:
    """Leave a run to workers that know its workflow."""
    _logger.warning("run %s is left to other workers: %s", acquired.run.key, why)
    wake_at = acquired.now + UNKNOWN_LATER
    _release(services, acquired, Release(awaiting=1, keep_lost=True, wake_at=wake_at, note=why))


def give_back(write: Callable[[Write], Answer], acquired: Acquired) -> None:
    """Free a run that was acquired with its start and that nobody here is left to begin: no start is lost."""
    live = acquired.live
    assert live.owner is not None
    release = Release(keep_lost=True, wake_at=acquired.now)
    write(Commit(run_id=live.run_id, worker=live.owner, epoch=live.epoch, head=None, release=release))


def let_go(services: Services, acquired: Acquired) -> None:
    """After an error of our own: the run is free again at once, and the sweeper brings it back."""
    try:
        wake_at = acquired.now + UNKNOWN_LATER
        _release(services, acquired, Release(keep_lost=True, wake_at=wake_at, note="the last turn broke off"))
    except Exception:
        _logger.exception("run %s could not be released; its lease will lapse", acquired.run.key)


def _release(services: Services, acquired: Acquired, release: Release, reason: Reason | None = None) -> None:
    live = acquired.live
    commit = Commit(
        run_id=live.run_id,
        worker=services.worker,
        epoch=live.epoch,
        head=None,
        status=Status.STUCK if reason is not None else None,
        reason=reason.encode() if reason is not None else None,
        release=release,
    )
    services.committer.write(commit)
