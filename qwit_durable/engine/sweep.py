"""The two threads of a worker process: one beats, one sweeps.

The beat keeps the process's lease. The sweep fires due timers, rings for work nobody has begun, frees what dead workers
held and mends what this process holds by mistake. One process at a time sweeps for all (a leader by lease); every
process wakes at the times of the timers it set itself, so that they are exact. Where the broker is in process, every
process rings for itself, and takes no more than its threads can soon begin: the rest is left to processes that idle.

After an outage of the store longer than a lease, every worker looks dead. So a process that was cut off takes nothing
over until one more lease has passed: the living beat first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import Services
from qwit_durable.engine.schedules import fire
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Accepted, Rings
from qwit_durable.stores.rows import Ring, WorkerRow
from qwit_durable.stores.writes import Beat, Disown, FireTimers, Lead, Reap, RingDue, WakeStuck, Write

__all__ = ["Heart", "Sweeper", "plenty"]

_logger = logging.getLogger("qwit_durable.sweep")
_STAMP_SECONDS = 0.05
_HUNGRY_SECONDS = 0.01
_MISTAKE = timedelta(seconds=3)


def plenty() -> int:
    """Room for as many bells as are asked for at once."""
    return 500


class Heart:
    """Keeps a worker's lease."""

    def __init__(self, services: Services, worker: WorkerRow) -> None:
        self._services = services
        self._worker = worker
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = monotonic()
        self._cut_off_until = 0.0

    def start(self) -> None:
        """Beat once, then in the background."""
        self.beat()
        self._thread = threading.Thread(target=self._run, name="qwit-beat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the lease lapses by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def beat(self) -> None:
        """Say that this worker lives."""
        lease = self._services.settings.lease
        self._services.committer.write(Beat(worker=self._worker, lease=lease))
        now = monotonic()
        if now - self._last > lease.total_seconds():
            self._cut_off_until = now + lease.total_seconds()
        self._last = now

    def may_take_over(self) -> bool:
        """Whether this process may treat another one as dead."""
        now = monotonic()
        is_fresh = now - self._last <= self._services.settings.lease.total_seconds()
        return is_fresh and now >= self._cut_off_until

    def _run(self) -> None:
        while not self._stop.wait(self._services.settings.beat.total_seconds()):
            try:
                self.beat()
            except StoreUnavailable as error:
                _logger.warning("no beat: %s", error)
            except Exception:
                _logger.exception("no beat")


class Sweeper:
    """Sees to what is due and to what was lost."""

    def __init__(
        self,
        services: Services,
        *,
        rings_locally: bool,
        held: Callable[[], Disown],
        room: Callable[[], int] = plenty,
    ) -> None:
        self._services = services
        self._rings_locally = rings_locally
        self._held = held
        self._room = room
        self._left_some = False
        self._condition = threading.Condition()
        self._next_timer: datetime | None = None
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._leads = False
        self._ask_lead_at = services.clock.now()
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
        """This process has set a timer: wake for it."""
        with self._condition:
            if self._next_timer is None or at < self._next_timer:
                self._next_timer = at
                self._condition.notify()

    def first(self) -> None:
        """What a starting worker does once.

        This deploy may have mended what stuck runs are stuck over. And it may come after a crash: what is known to be
        dead is not left alone until a leader's lease has lapsed too.
        """
        self._ring(self._write(WakeStuck()))
        if self._services.may_take_over():
            self._ring(self._write(Reap()))

    def sweep(self) -> None:
        """One round of everything this process is responsible for."""
        services = self._services
        self._lead()
        if self._leads or self._timer_is_due():
            self._fire()
        if self._leads or self._rings_locally:
            self._ring_due()
        is_tidying = services.clock.now() >= self._tidy_at
        if self._leads and services.may_take_over():
            self._ring(self._write(Reap(orphans=is_tidying)))
        if is_tidying:
            self._tidy_at = services.clock.now() + services.settings.lease
            self._ring(self._write(self._held()))

    def _ring_due(self) -> None:
        limit = self._room() if self._rings_locally else plenty()
        self._left_some = limit <= 0
        if limit > 0:
            due = self._write(RingDue(limit=limit))
            self._left_some = due.more and self._rings_locally
            self._ring(due)

    def _lead(self) -> None:
        now = self._services.clock.now()
        if now < self._ask_lead_at:
            return
        lease = max(self._services.settings.sweep * 5, timedelta(seconds=3))
        answer = self._services.committer.write(Lead(duty="sweep", worker=self._services.worker, lease=lease))
        self._leads = isinstance(answer, Accepted)
        self._ask_lead_at = now + lease / 2

    def _timer_is_due(self) -> bool:
        with self._condition:
            return self._next_timer is not None and self._next_timer <= self._services.clock.now()

    def _fire(self) -> None:
        with self._condition:
            self._next_timer = None
        while True:
            fired = self._write(FireTimers())
            self._ring(fired)
            if fired.next_timer_at is not None:
                self.timer_set(fired.next_timer_at)
            if not self._fire_schedules(fired) and not fired.more:
                return

    def _fire_schedules(self, named: Rings) -> bool:
        """Fire the schedules that are due; whether there may be more."""
        if not named.schedules and named.next_schedule_at is not None:
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

    def _write(self, write: Write) -> Rings:
        answer = self._services.committer.write(write)
        assert isinstance(answer, Rings)
        return answer

    def _ring(self, rings: Rings) -> None:
        mine: list[Ring] = list(rings.rings)
        if mine:
            self._services.bells.ring(mine)

    def _run(self) -> None:
        stamp: object = None
        swept_at = -1e9
        while not self._stopped:
            interval = self._services.settings.sweep.total_seconds()
            changed = False
            try:
                found = self._services.store.stamp() if self._rings_locally else None
                changed, stamp = found != stamp, found
                if changed or monotonic() - swept_at >= interval or self._timer_is_due():
                    self.sweep()
                    swept_at = monotonic()
                elif self._left_some and self._room() > 0:
                    self._ring_due()
            except StoreUnavailable as error:
                _logger.warning("no sweep: %s", error)
            except Exception:
                _logger.exception("no sweep")
            self._rest(interval, polls=stamp is not None)

    def _rest(self, interval: float, *, polls: bool) -> None:
        with self._condition:
            if self._stopped:
                return
            wait = min(interval, _STAMP_SECONDS) if polls else interval
            if self._left_some:
                wait = min(wait, _HUNGRY_SECONDS)
            if self._next_timer is not None:
                until_timer = (self._next_timer - self._services.clock.now()).total_seconds()
                wait = min(wait, max(until_timer, 0.001))
            self._condition.wait(wait)
