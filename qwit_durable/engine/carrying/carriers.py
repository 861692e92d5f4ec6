"""The threads of a process, and the runs that they carry: the lock and the waiting around a `Roster`."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from qwit_durable.clock import monotonic
from qwit_durable.engine.carrying.alone import carry_alone
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.carrying.roster import Carrier, Next, Pieces, Rider, Roster
from qwit_durable.engine.ports import Bells
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.kernel import goes_alone, may_wait
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.writes import Checkpoint, Write

__all__ = ["Carriers"]

_logger = logging.getLogger("qwit_durable.turns")
_T = TypeVar("_T")

#: How long a step that was thought quick may hold up others: far above a quick one, and too short to be felt.
_MOMENT_SECONDS = 0.01
_FOR_EVER = -1
#: For so many runs and steps one rings at once.
_MOST_RINGS = 64


class Carriers:
    """Carries runs on. Safe to use from any number of threads.

    Attributes:
        roster: Who carries which; under a lock of this object's.
    """

    def __init__(self, committer: Committer, bells: Bells, pace: Pace) -> None:
        self._committer = committer
        self._bells = bells
        self._rings: deque[Ring] = deque()
        self._pace = pace
        self.roster = Roster(self._pace)
        self._lock = threading.Lock()
        self._reliefs: dict[threading.Thread, Carrier | None] = {}

    def carry(self, *pieces: Pieces[None]) -> None:
        """Bring runs, and carry on with others, for as long as this thread is needed."""
        with self._lock:
            me = self.roster.enter(*map(Rider, pieces))
            self._see_to_guard()
        self._run(me)

    def carry_alone(self, pieces: Pieces[_T]) -> _T:
        """Carry one in this thread, whatever the others do; what it comes to."""
        return carry_alone(pieces, self._committer.write, self._pace)

    def join(self, pieces: Pieces[None]) -> bool:
        """Bring a run to those that are carried already; False where each had better have a thread of its own."""
        with self._lock:
            joins = self.roster.join(Rider(pieces))
            self._see_to_guard()
        return joins

    def is_quick(self, step: str) -> bool:
        """Whether a step is likely to hold up nobody."""
        return self._pace.seems_quick(step)

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring before any thread waits for anything, together with what else there is to ring for by then."""
        self._rings.extend(rings)
        if len(self._rings) >= _MOST_RINGS:
            self._ring()

    def ring_at_once(self, rings: Sequence[Ring]) -> None:
        """Ring."""
        names = {ring.name for ring in rings if ring.position != TURN}
        self._bells.ring(rings, alike=frozenset(filter(self._pace.seems_quick, names)))

    def _ring(self) -> None:
        if not self._rings:
            return
        rings: list[Ring] = []
        with suppress(IndexError):  # another thread may ring for the last of them
            while self._rings:
                rings.append(self._rings.popleft())
        if rings:
            self.ring_at_once(rings)

    def stop(self, seconds: float) -> None:
        """Wait for threads that were added: they leave when the runs are over, or let go of, as when draining.

        One that sits in a step for longer than that is left behind, as Dramatiq leaves its own threads: its run is
        given back without it, and what it records later is refused.
        """
        until = monotonic() + seconds
        for thread in self._reliefs:
            thread.join(max(until - monotonic(), 0))
        left = [carrier for thread, carrier in self._reliefs.items() if thread.is_alive()]
        if left:
            steps = sorted(
                {carrier.step for carrier in left if carrier is not None and carrier.step is not None}
            )
            _logger.warning(
                "threads that were added are still at work and are left behind: %d%s; what they hold is given back",
                len(left),
                f", in steps {', '.join(map(repr, steps))}" if steps else "",
            )

    def _run(self, me: Carrier) -> None:
        try:
            if me.rider is not None:
                self._go_on(me, me.rider)
            while self._next(me):
                if me.rider is not None:
                    self._go_on(me, me.rider)
                else:
                    self._flush(me)
        except BaseException as error:
            self._break_off(me, error)
            raise

    def _next(self, me: Carrier) -> bool:
        """Put down what is done, and wait until there is something to do; False to leave."""
        while True:
            with self._lock:
                if me.rider is not None:
                    self.roster.waits(me.rider, me)
                elif me.batch:
                    self.roster.is_answered(me)
                todo = self.roster.next(me)
                if todo is Next.WORK and not self.roster.asleep:
                    self._see_to_guard()
            if todo is Next.WORK:
                return True
            self._ring()
            if todo is Next.LEAVE:
                return False
            self._sleep(me)
            if me.leaves:
                return False

    def _sleep(self, me: Carrier) -> None:
        while True:
            is_told = me.bell.acquire(timeout=_MOMENT_SECONDS if self.roster.is_on_guard(me) else _FOR_EVER)
            with self._lock:
                if me not in self.roster.asleep or (not is_told and self.roster.takes_over(me)):
                    return

    def _go_on(self, me: Carrier, rider: Rider) -> None:
        """Carry a run up to its next write that can be flushed with others'."""
        try:
            asked = rider.go_on()
            while type(asked) is not Checkpoint:  # the frequent one
                if isinstance(asked, str):
                    asked = self._through_step(me, rider, asked)
                elif may_wait(asked) or goes_alone(asked):
                    asked = self._by_itself(me, rider, asked)
                else:
                    break
        except StopIteration:
            with self._lock:
                self.roster.is_over(rider, me)
            return
        rider.write = asked

    def _through_step(self, me: Carrier, rider: Rider, name: str) -> Write | str:
        if not self._pace.is_quick(name):
            with self._lock:
                is_here = self.roster.has_thread_for(rider, me)
                self._see_to_guard()
            if not is_here:
                return rider.pieces.send(is_here)
            self._ring()
        me.step = name
        began = monotonic()
        try:
            return rider.pieces.send(None)
        finally:
            me.step = None
            self._pace.took(name, monotonic() - began)

    def _by_itself(self, me: Carrier, rider: Rider, write: Write) -> Write | str:
        with self._lock:
            self.roster.leave_to_others(me)
            self._see_to_guard()
        self._ring()
        try:
            rider.answer = self._committer.write(write)
        except Exception as error:  # noqa: BLE001 - raised in the run
            rider.answer = error
        return rider.go_on()

    def _flush(self, me: Carrier) -> None:
        self._ring()
        writes = [rider.write for rider in me.batch if rider.write is not None]
        for rider, answer in zip(me.batch, self._committer.write_all(writes), strict=True):
            rider.answer = answer

    def _break_off(self, me: Carrier, error: BaseException) -> None:
        with self._lock:
            failing = self.roster.break_off(me)
            self._see_to_guard()
        for rider in failing:
            with suppress(BaseException):
                rider.pieces.throw(error)
        self._ring()

    # -- one thread more ---------------------------------------------------------------------------------------

    def _see_to_guard(self) -> None:
        """Add a thread, if there has to be one more. The lock is held: the thread begins by waiting for it."""
        if not self.roster.calls_relief():
            return
        thread = threading.Thread(target=self._relieve, name="qwit-carrier", daemon=True)
        self._reliefs = {known: at for known, at in self._reliefs.items() if known.is_alive()} | {
            thread: None
        }
        thread.start()

    def _relieve(self) -> None:
        with self._lock:
            me = self._reliefs[threading.current_thread()] = self.roster.enter()
        try:
            self._run(me)
        except Exception:
            _logger.exception("a thread that carried runs broke off")
