"""Letting go of a run that was acquired and can't be carried on here.

What is written says why, for `explain()`, and when the run is looked at again. Neighbour: `engine.turning.turns`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from textwrap import shorten
from uuid import UUID

from qwit_durable.core import Status
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.errors import Failure, StoreError, StoreUnavailable
from qwit_durable.stores.answers import Acquired, Answer
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Commit, Release, Write

__all__ = ["UNKNOWN_LATER", "Breaks", "give_back", "leave_to_others", "stop_crashing"]

_logger = logging.getLogger("qwit_durable.turns")

#: When a run is looked at again that this process does not know how to carry on.
UNKNOWN_LATER = timedelta(seconds=5)

#: So many turns that break off at one place are enough.
_BREAKS, _MOST_BREAKS = 5, 10_000
_MOST_CHARS = 500


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


def give_back(write: Callable[[Write], Answer], acquired: Acquired) -> Answer:
    """Free a run that was acquired with its start and that nobody here is left to begin: no start is lost."""
    live = acquired.live
    assert live.owner is not None
    release = Release(keep_lost=True, wake_at=acquired.now)
    return write(Commit(run_id=live.run_id, worker=live.owner, epoch=live.epoch, head=None, release=release))


class Breaks:
    """Turns that broke off, by an error of ours or an interrupt: what becomes of the run. Safe to use from any thread.

    It is free again, and what is known of its attempts is recorded, so that no step is made twice; others may try a
    little later. A run whose turns always break off is left to a person.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        #: How often in a row, at which place of the history. Of this process, and a guess: it only has to end.
        self._in_a_row: dict[UUID, tuple[int, int]] = {}

    def let_go(self, acquired: Acquired, hold: Hold | None, error: BaseException) -> Sequence[Ring]:
        """Let go of a run whose turn broke off, or of the one that was to follow; answer what is still to be rung."""
        rings = () if hold is None else hold.rings
        if hold is not None and hold.following is not None:
            acquired, hold = hold.following, None
        try:
            self._let_go(acquired, hold, _in_short(error), is_answered=isinstance(error, Exception))
        except Exception:
            _logger.exception("run %s could not be released; its lease will lapse", acquired.run.key)
        return rings

    def _let_go(self, acquired: Acquired, hold: Hold | None, why: str, *, is_answered: bool) -> None:
        wake_at, note = acquired.now + UNKNOWN_LATER, f"the last turn broke off: {why}"
        release = Release(keep_lost=True, wake_at=wake_at, note=note)
        if hold is not None and hold.has_facts:
            # Interrupted in the middle of a write, nobody knows whether the facts are recorded already.
            only_after = None if is_answered else hold.head
            try:
                if hold.leave(release, only_after=only_after):
                    self._count(acquired.run.id, hold.head)
                    return
            except StoreUnavailable:
                raise
            except StoreError as refused:
                self._stop(
                    acquired, hold, f"how its last attempt ended can't be stored: {_in_short(refused)}"
                )
                return
        times = self._count(acquired.run.id, acquired.live.head if hold is None else hold.head)
        if times < _BREAKS:
            _release(self._services, acquired, release)
        else:
            self._stop(
                acquired, hold, f"{times} turns in a row broke off at the same place, the last by {why}"
            )

    def _count(self, run_id: UUID, head: int) -> int:
        if len(self._in_a_row) >= _MOST_BREAKS:
            self._in_a_row.clear()
        before, times = self._in_a_row.get(run_id, (head, 0))
        times = times + 1 if before == head else 1
        self._in_a_row[run_id] = head, times
        return times

    def _stop(self, acquired: Acquired, hold: Hold | None, what: str) -> None:
        self._in_a_row.pop(acquired.run.id, None)
        key, was = acquired.run.key, acquired.live.status if hold is None else hold.status
        text = (
            f"run {key} can't go on: {what}\n"
            f"  way out: the log of the workers has all of it; mend what is wrong, then `qwit retry {key}`"
        )
        _release(self._services, acquired, Release(), Reason(kind="crash", text=text, was=was))


def _in_short(error: BaseException) -> str:
    """An error as any store can keep it in a note."""
    text = str(Failure.of(error)).replace("\0", "\\0")
    return shorten(text.encode(errors="backslashreplace").decode(), _MOST_CHARS, placeholder=" ...")


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
