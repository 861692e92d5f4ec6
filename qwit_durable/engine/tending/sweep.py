"""The sweep: fires due timers, rings for work nobody has begun, and frees what dead workers held.

One process at a time sweeps for all (a leader by lease, see `engine.tending.heart`); where the broker is in process,
every process does so for itself. To look whether there is anything to do is one statement, and nothing is written
unless there is. The leader knows at each look when the next timer is due, and is there in time; a process that sets a
timer that is due before the leader looks again fires it itself. So timers are exact, and no process but one asks.

A backlog goes out in portions, so that it does not become a flood of bells: a portion each time it sweeps, whatever
happens, and the next one as soon as most of the last one is taken up. Portions shrink while they are not, and grow
while they are. Where the broker is in process, no more goes out than its threads can soon begin: the rest is left to
processes that idle.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import Services
from qwit_durable.engine.tending.mending import Mending
from qwit_durable.engine.tending.schedules import fire
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Rings
from qwit_durable.stores.outlook import Outlook
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import FireTimers, Reap, RingDue, WakeStuck, Write

__all__ = ["Sweeper", "plenty"]

_logger = logging.getLogger("qwit_durable.sweep")
_STAMP_SECONDS = 0.05
_HUNGRY_SECONDS = 0.01
_TOGETHER_SECONDS = 0.01
_PORTION = 500
_LARGEST_PORTION = 1000
_SOON_SECONDS = 0.3
_LEAST_PORTION = 100
_SAMPLE = 16


def plenty() -> int:
    """Room for a whole portion of bells."""
    return _PORTION


class Sweeper:
    """Sees to what is due and to what was lost.

    Args:
        leads: Answers whether this process sweeps for all.
        rings_locally: Whether the broker is in this process.
        room: Answers how many more bells the threads of this process can soon follow, where it rings locally.
    """

    def __init__(
        self,
        services: Services,
        *,
        leads: Callable[[], bool],
        mending: Mending,
        rings_locally: bool,
        room: Callable[[], int] = plenty,
    ) -> None:
        self._services = services
        self._leads = leads
        self._mending = mending
        self._rings_locally = rings_locally
        self._room = room
        self._left_some = False
        self._rang_at = -1e9
        self._portion = _PORTION
        self._sample: Sequence[tuple[UUID, str]] = ()
        self._condition = threading.Condition()
        self._next_timer: datetime | None = None
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._tidy_at = services.clock.now()

    def start(self) -> None:
        """Sweep in the background, at once and then again and again."""
        self._thread = threading.Thread(target=self._run, name="qwit-sweep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def timer_set(self, at: datetime) -> None:
        """This process has set a timer: wake for it, unless whoever leads will have seen it by then."""
        if not self._looks and at - self._services.clock.now() > self._services.settings.sweep * 2:
            return
        with self._condition:
            if self._next_timer is None or at < self._next_timer:
                self._next_timer = at
                self._condition.notify()

    def first(self) -> None:
        """What a starting worker does once.

        This deploy may have mended what stuck runs are stuck over. And it may come after a crash: what is known to be
        dead is not left alone until a leader's lease has lapsed too, nor what was rung for in a process that is gone.
        """
        self._ring(self._write(WakeStuck()))
        if self._services.may_take_over():
            self._ring(self._write(Reap(alone=self._services.worker if self._rings_locally else None)))

    def sweep(self) -> None:
        """One round of everything this process is responsible for."""
        services = self._services
        if self._looks or self._timer_is_due() or self._left_some:
            self._measure(may_go_on=not self._left_some or self._may_go_on())
            self._see_to()
        if services.clock.now() >= self._tidy_at:
            self._tidy_at = services.clock.now() + services.settings.lease
            for rings in self._mending.mend(leads=self._leads()):
                self._ring(rings)

    @property
    def _looks(self) -> bool:
        """Whether this process asks what is due."""
        return self._rings_locally or self._leads()

    # -- what is due -------------------------------------------------------------------------------------------

    def _see_to(self) -> None:
        """Look what is due, and let one portion of it go out."""
        self._left_some, self._sample = False, ()
        self._forget_timer()
        if not self._looks:
            self._fire()
            return
        outlook = self._services.store.outlook()
        if outlook.has_dead and self._leads() and self._services.may_take_over():
            self._ring(self._write(Reap()))
        if _has_come(outlook, outlook.timer_at) or _has_come(outlook, outlook.schedule_at):
            self._fire()
        else:
            self._expect(outlook)
        if _has_come(outlook, outlook.ring_at):
            self._ring_due()

    def _expect(self, outlook: Outlook) -> None:
        """Wake in time for what is due next."""
        offset = outlook.now - self._services.clock.now()
        for at in (outlook.timer_at, outlook.schedule_at):
            if at is not None:
                self.timer_set(at - offset)

    def _fire(self) -> None:
        """Fire a portion of the timers that are due, and the schedules."""
        limit = self._limit()
        if limit <= 0:
            return
        fired = self._write(FireTimers(limit=limit))
        self._ring(fired)
        self._left_some |= fired.more or self._fire_schedules(fired)
        if self._looks and not fired.more and fired.next_timer_at is not None:
            self.timer_set(fired.next_timer_at)

    def _fire_schedules(self, named: Rings) -> bool:
        """Fire the schedules that are due; whether there may be more."""
        if self._looks and not named.schedules and named.next_schedule_at is not None:
            self.timer_set(named.next_schedule_at)
        fired = False
        for row in named.schedules:
            try:
                fire(self._services, row, named.now or self._services.clock.now())
                fired = True
            except StoreUnavailable:
                raise
            except Exception:
                # One that can't be read here, as for a time zone that this machine does not know, is no one else's
                # trouble. It is tried again with each sweep.
                _logger.exception("schedule %s of namespace %r can't be fired", row.id, row.namespace)
        return fired

    def _ring_due(self) -> None:
        limit = self._limit()
        if limit <= 0:
            return
        due = self._write(RingDue(limit=limit))
        self._left_some |= due.more
        self._ring(due)

    # -- how much of it ----------------------------------------------------------------------------------------

    def _limit(self) -> int:
        limit = min(self._room(), _PORTION) if self._rings_locally else self._portion
        if self._rings_locally and self._services.draining.is_set():
            limit = 0  # what would be rung for now nobody here would follow
        self._left_some |= limit <= 0
        return limit

    def _measure(self, *, may_go_on: bool) -> None:
        """Let portions be half as large where the last one still waits, and grow where it does not.

        The larger they are, the more runs share a bell and a commit, and the longer waits what is started meanwhile. So
        they grow beyond the usual only in a backlog that is taken up quickly.
        """
        if not may_go_on:
            self._portion = max(self._portion // 2, _LEAST_PORTION)
        elif not self._left_some or self._portion < _PORTION:
            self._portion = min(self._portion * 2, _PORTION)
        elif monotonic() - self._rang_at < _SOON_SECONDS:
            self._portion = min(self._portion * 2, _LARGEST_PORTION)

    def _may_go_on(self) -> bool:
        """Whether there is room for what was left: most of what was rung for is taken up."""
        if self._rings_locally:
            return self._room() > 0
        return self._services.store.unbegun(self._sample) * 2 <= len(self._sample)

    def _write(self, write: Write) -> Rings:
        answer = self._services.committer.write(write)
        assert isinstance(answer, Rings)
        return answer

    def _ring(self, rings: Rings) -> None:
        mine: list[Ring] = list(rings.rings)
        if mine:
            # From everywhere in it: so many of them are taken up as of the whole.
            chosen = mine[:: max(len(mine) // _SAMPLE, 1)]
            self._sample = [*self._sample, *((ring.run_id, ring.position) for ring in chosen)]
            self._services.bells.ring(mine)
            self._rang_at = monotonic()

    # -- when --------------------------------------------------------------------------------------------------

    def _timer_is_due(self) -> bool:
        with self._condition:
            return self._next_timer is not None and self._next_timer <= self._services.clock.now()

    def _forget_timer(self) -> None:
        with self._condition:
            self._next_timer = None

    def _run(self) -> None:
        stamp: object = None
        swept_at = -1e9
        while not self._stopped:
            interval = self._services.settings.sweep.total_seconds()
            try:
                found = self._services.store.stamp() if self._rings_locally else None
                changed, stamp = found != stamp, found
                if changed or monotonic() - swept_at >= interval:
                    self.sweep()
                    swept_at = monotonic()
                elif self._left_some:
                    self._forget_timer()  # it is among what was left
                    if self._may_go_on():
                        self._measure(may_go_on=True)
                        self._see_to()
                elif self._timer_is_due():
                    self._see_to()
            except StoreUnavailable as error:
                _logger.warning("no sweep: %s; timers and lost bells wait until the store answers", error)
                swept_at = monotonic()
            except Exception:
                _logger.exception("no sweep")
                swept_at = monotonic()
            self._rest(swept_at + interval - monotonic(), polls=stamp is not None)

    def _rest(self, seconds: float, *, polls: bool) -> None:
        with self._condition:
            if self._stopped:
                return
            wait = min(seconds, _STAMP_SECONDS) if polls else seconds
            if self._left_some:
                wait = min(wait, _HUNGRY_SECONDS)
            elif self._next_timer is not None:
                until_timer = (self._next_timer - self._services.clock.now()).total_seconds()
                # Those that come close together are fired together.
                wait = min(wait, max(until_timer, _TOGETHER_SECONDS))
            if wait > 0:
                self._condition.wait(wait)


def _has_come(outlook: Outlook, at: datetime | None) -> bool:
    return at is not None and at <= outlook.now
