"""Who carries which runs: the rules of `engine.carrying`, without its lock and its waiting.

Not safe to be used by several threads at once: whoever uses it holds the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from enum import Enum, auto
from typing import TypeVar

from qwit_durable.clock import monotonic
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.errors import StoreUnavailable
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.writes import Write

__all__ = ["Carrier", "Next", "Pieces", "Rider", "Roster"]

_T = TypeVar("_T")

#: A run in pieces. It yields each write that it wants durable, and is resumed with the answer; and the name of each
#: step before it is made, and is resumed with whether that may be here and now.
Pieces = Generator[Write | str, Answer | bool | None, _T]

#: How many runs there are at most while there are more than threads, and with how few more are asked for.
_MOST_RIDERS, _FEW_RIDERS = 32, 24
_SLICE_SECONDS = 1.0


class Rider:
    """One run on its way.

    Attributes:
        rests: Whether it is being let go of.
    """

    __slots__ = ("answer", "pieces", "rests", "write")

    def __init__(self, pieces: Pieces[None]) -> None:
        self.pieces = pieces
        self.write: Write | None = None
        self.answer: Answer | BaseException | None = None
        self.rests = False

    def go_on(self) -> Write | str:
        """Carry it up to its next write or step.

        Raises:
            StopIteration: It is over.
        """
        answer, self.answer = self.answer, None
        if isinstance(answer, BaseException):
            return self.pieces.throw(answer)
        return self.pieces.send(answer)


class Carrier:
    """One thread, and what it has in hand: a run, or a batch to be flushed.

    Attributes:
        step: The name of the step that it is making.
        since: When it began.
        is_relief: Whether it was added, and brought no run.
        leaves: Whether it was sent away in its sleep.
        bell: Held while there is nothing to do.
    """

    __slots__ = ("batch", "bell", "is_relief", "leaves", "rider", "since", "step")

    def __init__(self, rider: Rider | None, since: float) -> None:
        self.rider = rider
        self.batch: list[Rider] = []
        self.step: str | None = None
        self.since = since
        self.is_relief = rider is None
        self.leaves = False
        self.bell = threading.Lock()
        self.bell.acquire()

    def wake(self) -> None:
        """End its sleep, or the next one."""
        if self.bell.locked():
            self.bell.release()


class Next(Enum):
    """What a thread does next."""

    WORK = auto()
    SLEEP = auto()
    LEAVE = auto()


class Roster:
    """The runs and the threads of one process.

    Attributes:
        threads: How many there are.
        riders: How many runs are not over.
        ready: Those to be resumed with their answers.
        waiting: Those with a write that nobody flushes yet.
        holder: The thread that carries and flushes, if one does.
        asleep: The threads with nothing to do. The first is on guard.
    """

    def __init__(self, pace: Pace, now: Callable[[], float] = monotonic) -> None:
        self._pace = pace
        self._now = now
        self.threads = 0
        self._reliefs = 0
        self.riders = 0
        self._resting = 0
        self.ready: deque[Rider] = deque()
        self.waiting: list[Rider] = []
        self.holder: Carrier | None = None
        self._passes = 0
        self._passes_seen = -1
        self.asleep: list[Carrier] = []
        self._relief_comes = False

    def enter(self, *riders: Rider) -> Carrier:
        """A thread comes, with runs or as a relief."""
        self.threads += 1
        self.riders += len(riders)
        self.ready.extend(riders[1:])
        if not riders:
            self._relief_comes = False
            self._reliefs += 1
        return Carrier(riders[0] if riders else None, self._now())

    def join(self, rider: Rider) -> bool:
        """A run comes without a thread; False if it may not."""
        if not (self._pace.is_brisk and self.threads and self.riders < 2 * _MOST_RIDERS):
            return False
        self.riders += 1
        self.ready.append(rider)
        self._wake_one()
        return True

    def _goes(self, carrier: Carrier) -> None:
        self.threads -= 1
        self._reliefs -= carrier.is_relief

    @property
    def has_work(self) -> bool:
        """Whether there is something for the holder to do."""
        return bool(self.ready or self.waiting)

    def calls_relief(self) -> bool:
        """Whether a thread has to be called now: there are more runs than threads, and none of those is free."""
        if self.riders <= self.threads or self.asleep or self._relief_comes:
            return False
        self._relief_comes = True
        return True

    # -- what a thread does next -------------------------------------------------------------------------------

    def next(self, me: Carrier) -> Next:
        """Decide it, and put it in its hands."""
        if self.holder is None or self.holder is me:
            if (self.ready or self.waiting) and not (len(self.asleep) > 1 and self._is_relieved(me)):
                self.holder = me
                self._take(me)
                return Next.WORK
            self.holder = None
        if self._may_leave(me):
            self._goes(me)
            self._send_away()
            self._wake_one()
            return Next.LEAVE
        self.asleep.append(me)
        return Next.SLEEP

    def _take(self, me: Carrier) -> None:
        self._passes += 1
        if self.asleep:
            self._send_away()
        if self.ready:
            me.rider = self.ready[0]
            self.ready.popleft()
        else:
            me.batch, self.waiting = self.waiting, []

    def _send_away(self) -> None:
        """Let threads go that are not needed: those that were added, and those that have been here for longest."""
        has_room = self.riders <= _FEW_RIDERS and len(self.asleep) > 1 and self._pace.is_brisk
        while self.asleep and (has_room or self.threads > self.riders):
            sleeper = min(self.asleep, key=lambda sleeper: (not sleeper.is_relief, sleeper.since))
            if not (has_room or self._is_surplus(sleeper)):
                return
            self._dismiss(sleeper)
            has_room = False

    def _is_surplus(self, carrier: Carrier) -> bool:
        """Whether there are more threads than runs. One that brought a run makes room only for its like."""
        return (self.threads if carrier.is_relief else self.threads - self._reliefs) > self.riders

    def _dismiss(self, sleeper: Carrier) -> None:
        self._goes(sleeper)
        sleeper.leaves = True
        self._wake(sleeper)

    def _wake(self, sleeper: Carrier) -> None:
        was_guard = sleeper is self.asleep[0]
        self.asleep.remove(sleeper)
        sleeper.wake()
        if was_guard and self.asleep:
            self.asleep[0].wake()  # to be on guard from now on

    def _is_overdue(self, carrier: Carrier) -> bool:
        return self._now() - carrier.since > _SLICE_SECONDS

    def _is_relieved(self, me: Carrier) -> bool:
        """Whether it has carried on for long, and there are others to do so and to be on guard."""
        return self._pace.is_brisk and len(self.asleep) > 1 and self._is_overdue(me)

    def _may_leave(self, me: Carrier) -> bool:
        if self._is_surplus(me) or self._is_relieved(me):
            return True
        if not (self._pace.is_brisk and self.asleep and self.riders < _MOST_RIDERS):
            return False
        if self._is_overdue(self.asleep[0]):
            self._dismiss(self.asleep[0])
            return False
        return self.holder is not None and not self._is_overdue(self.holder)

    def _wake_one(self) -> None:
        """Have a thread do what there is to do, if nobody is at it."""
        if self.asleep and self.holder is None and self.has_work:
            self._wake(self.asleep[-1])

    def is_on_guard(self, me: Carrier) -> bool:
        """Whether a thread that sleeps has to look, now and then, whether all is well."""
        return self.asleep[:1] == [me]

    def takes_over(self, me: Carrier) -> bool:
        """Whether the one on guard has to carry on from now: nothing has happened since it looked last."""
        if not self.is_on_guard(me):
            return False
        holder, seen = self.holder, self._passes_seen
        self._passes_seen = self._passes
        is_flushing = holder is not None and bool(holder.batch)
        if not self.has_work or is_flushing or seen != self._passes:
            return False
        if holder is not None and holder.step is not None:
            self._pace.holds_up(holder.step)
        self.holder = me
        self._wake(me)
        return True

    # -- what has become of runs -------------------------------------------------------------------------------

    def has_thread_for(self, rider: Rider, me: Carrier) -> bool:
        """Whether a step that may take long can be made: what else there is, is left to others. If not, it rests."""
        if self.riders - self._resting > self.threads - self._reliefs and not rider.rests:
            self._resting += 1
            rider.rests = True
            return False
        self.leave_to_others(me)
        return True

    def leave_to_others(self, me: Carrier) -> None:
        """This thread may be held up: another one carries on."""
        if self.holder is me:
            self.holder = None
        self._wake_one()

    def waits(self, rider: Rider, me: Carrier) -> None:
        """A run has come to a write."""
        me.rider = None
        self.waiting.append(rider)

    def is_over(self, rider: Rider, me: Carrier) -> None:
        """A run has ended, or was let go of."""
        me.rider = None
        self._drop([rider])

    def _drop(self, riders: Sequence[Rider]) -> None:
        self.riders -= len(riders)
        self._resting -= sum(rider.rests for rider in riders)

    def is_answered(self, me: Carrier) -> None:
        """The batch in hand is flushed."""
        self.ready.extend(me.batch)
        me.batch = []

    def break_off(self, me: Carrier) -> Sequence[Rider]:
        """A thread was interrupted: the runs that have to be failed, and others have the rest."""
        if me in self.asleep:
            self._wake(me)
        failing = [me.rider] if me.rider is not None else me.batch[:1]
        for rider in me.batch[1:]:
            rider.answer = StoreUnavailable("the write was interrupted before it was answered")
            self.ready.append(rider)
        if not me.leaves:
            self._goes(me)
        if not self.threads:
            failing = [*failing, *self.ready, *self.waiting]
            self.ready.clear()
            self.waiting.clear()
        self._drop(failing)
        self._send_away()
        self.leave_to_others(me)
        return failing
