"""A held run: its interpreter, what is about to be committed, and the commit itself.

What a body has seen and what it asks for gathers here as one transition and is committed before the next effect. Facts
(how an attempt went) are told apart from what was derived from them: when the history has grown by somebody else's
event, the facts are recorded all the same and everything derived is thrown away with the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Unpack

import attrs

from qwit_durable.core import Advance, Decision, Event, Interpreter, Restarted, Status
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.besides import Besides, Parts
from qwit_durable.stores.answers import Acquired, Committed, Conflict
from qwit_durable.stores.rows import Ring, RunRow, TimerRow
from qwit_durable.stores.writes import Checkpoint, Commit, NewTask, Release, Reopen, Transition

__all__ = ["Hold", "LostHold", "Rested", "Superseded"]


class LostHold(Exception):
    """Another process has the run: drop everything quietly."""


class Rested(Exception):
    """The run is free again, for others go first: somebody has to be rung for it."""


class Superseded(Exception):
    """The history has grown meanwhile. Facts are recorded and the run is free again: acquire it anew."""

    def __init__(self, rings: Sequence[Ring]) -> None:
        self.rings = rings
        super().__init__()


class Hold:
    """One run between its acquisition and its release, used by one thread.

    `give_back` is called when the run is no longer this thread's although the thread is still at it. `following` is the
    next run of its lane, once the end of this one has made it this thread's.
    """

    def __init__(
        self, services: Services, acquired: Acquired, interpreter: Interpreter, give_back: Callable[[], None]
    ) -> None:
        self._services = services
        self.give_back = give_back
        self.run: RunRow = acquired.run
        self.live = acquired.live
        self.lost = acquired.live.lost
        self.status: Status = acquired.live.status
        self.interpreter = interpreter
        self.head = acquired.live.head
        # It may have seen some of those that came along.
        unseen = len(acquired.events) - (self.head - interpreter.head)
        self._decision: Decision = interpreter.feed(acquired.events[unseen:])
        self._unfed: list[Event] = []
        self._events: list[Event] = []
        self._facts: list[Event] = []
        self._besides: Besides | None = None
        if interpreter.head != self.head:
            message = f"run {self.run.key}: {interpreter.head} of the history's {self.head} events were read"
            raise RuntimeError(message)
        self.rings: list[Ring] = []
        self.following: Acquired | None = None
        self.settled: set[str] = set()
        self.cancel_asked = acquired.live.cancel_asked
        self._sync(acquired.now)

    def _sync(self, store_now: datetime) -> None:
        self.offset = store_now - self._services.clock.now()

    # -- gathering ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The store's time."""
        return self._services.clock.now() + self.offset

    @property
    def decision(self) -> Decision:
        """What to do next. Events are fed when it is asked for, because deciding costs as much as is open."""
        if self._unfed:
            unfed, self._unfed = self._unfed, []
            self._decision = self.interpreter.feed(unfed)
        return self._decision

    @property
    def has_facts(self) -> bool:
        """Whether it is known how an attempt went that is not recorded yet."""
        return bool(self._facts)

    @property
    def is_clean(self) -> bool:
        """Whether everything the body has seen is recorded."""
        return not self._events

    def record(self, *events: Event) -> None:
        """Take events into the transition and into the interpreter."""
        self._events += events
        self._unfed += events

    def record_fact(
        self, event: Event, *, timer: TimerRow | None = None, then: Callable[[], None] | None = None
    ) -> None:
        """Take in how an attempt went: recorded whatever else happens, and `then` told."""
        self._facts.append(event)
        if then is not None:
            self._more.after_facts.append(then)
        if timer is not None:
            self._more.timers_of_facts.append(timer)
        self.record(event)

    @property
    def _more(self) -> Besides:
        if self._besides is None:
            self._besides = Besides()
        return self._besides

    def after_commit(self, call: Callable[[], None]) -> None:
        """Do this once the transition is durable: observers are told so."""
        self._more.after.append(call)

    def add(
        self,
        *,
        task: NewTask | None = None,
        timer: TimerRow | None = None,
        start: RunRow | None = None,
        reopen: Reopen | None = None,
    ) -> None:
        """Add rows to the transition."""
        if task is not None:
            self._more.tasks.append(task)
        if timer is not None:
            self._more.timers.append(timer)
        if start is not None:
            self._more.starts.append(start)
        if reopen is not None:
            self._more.reopens.append(reopen)

    def publish(self, key: str, value: bytes) -> None:
        """Let others see a value with the next commit."""
        self._more.published[key] = value

    def move_to(self, status: Status) -> None:
        """Change the status with the next commit."""
        self._more.status = status

    # -- committing --------------------------------------------------------------------------------------------

    def checkpoint(self) -> Transition:
        """The write, to be `answered`, that makes durable what the body has seen: before the next effect."""
        _ = self.decision  # feeds what is not fed yet: it may make timers needless
        if self._besides is not None or self.interpreter.needless_timers:
            return self.transition()
        # What a run does once a step.
        return Checkpoint(
            run_id=self.run.id,
            worker=self._services.worker,
            epoch=self.live.epoch,
            head=self.head,
            events=tuple(self._events),
        )

    def commit(self, **parts: Unpack[Parts]) -> Pieces[None]:
        """Make the transition durable, tell observers, and take in what settling recorded.

        Raises:
            LostHold: The run is somebody else's now.
            Superseded: Somebody else's event came first.
        """
        write = self.transition(**parts)
        self.answered((yield write), write)

    def answered(self, answer: object, write: Transition) -> None:
        """Take in the answer to a transition. Raises as `commit` does."""
        if isinstance(answer, Committed):
            self.committed(answer, write)
        elif isinstance(answer, Conflict):
            self.retreat()
        else:
            raise LostHold

    def transition(self, **parts: Unpack[Parts]) -> Commit:
        """The write that `commit` carries out."""
        whatever_came, reason = parts.get("whatever_came", False), parts.get("reason")
        if not whatever_came:
            _ = self.decision  # feeds what is not fed yet: it may make timers needless
        stuck = Status.STUCK if reason is not None else None
        besides = self._besides or Besides()
        return Commit(
            run_id=self.run.id,
            worker=self._services.worker,
            epoch=self.live.epoch,
            head=None if whatever_came else self.head,
            known=self.head if whatever_came else None,
            events=tuple(self._events),
            settle=parts.get("settle", ()),
            tasks=tuple(besides.tasks),
            timers=(*besides.timers, *besides.timers_of_facts),
            drop_timers=tuple(self.interpreter.needless_timers),
            starts=tuple(besides.starts),
            reopens=tuple(besides.reopens),
            published=tuple(besides.published.items()),
            restart=parts.get("restart"),
            generation=self.live.generation,
            status=stuck or besides.status,
            reason=reason.encode() if reason is not None else None,
            outcome=parts.get("outcome"),
            report=parts.get("report"),
            release=parts.get("release"),
        )

    def until_it_goes_on(self, decision: Advance) -> Release:
        """Letting go of the run while it waits, when all that can be handed over is.

        `decision` tells what for, unless more is decided since then.
        """
        current = self.decision
        return Release(awaiting=(current if isinstance(current, Advance) else decision).awaiting)

    def make_room(self, step: str) -> Pieces[None]:
        """Ask for leave to run code of a step's, or of a guard's before it, by which a thread may be held up.

        Raises:
            Rested: There are not enough threads.
        """
        if (yield step) is False:
            yield from self.rest()

    def rest(self) -> Pieces[None]:
        """Let others go first.

        Raises:
            Rested: That is done.
        """
        yield from self.commit(release=Release(wake_at=self.now(), keep_lost=True))
        raise Rested

    def begin_again(self, restarted: Restarted, interpreter: Interpreter) -> None:
        """Go on with the generation that a restart began."""
        self.interpreter.close()
        self.interpreter = interpreter
        self.live = attrs.evolve(self.live, generation=interpreter.generation)
        self.settled.clear()
        self._unfed = []
        self._decision = interpreter.feed([restarted])

    def committed(self, answer: Committed, write: Transition) -> None:
        """Take in that the transition is durable, tell observers, and take in what settling recorded."""
        self._sync(answer.now)
        self.head = answer.head
        events, self._events, self._facts = self._events, [], []
        if events:
            self.lost = 0
        if isinstance(write, Checkpoint):
            return
        self.rings.extend(answer.rings)
        self.interpreter.needless_timers.clear()
        before = len(self._unfed) - len(events)
        self._unfed[before:before] = answer.came
        besides, self._besides = self._besides or Besides(), None
        self.status = besides.status or self.status
        for timer in write.timers:
            self._services.timer_set(timer.fire_at - self.offset)
        for call in (*besides.after_facts, *besides.after):
            call()
        self._unfed.extend(answer.settled)

    def follow(self, event: Event, head: int) -> bool:
        """Take in an event that this thread has recorded by another write; False if others have come before it."""
        if head != self.head + 1:
            return False
        self.head, self.lost = head, 0
        self._unfed.append(event)
        return True

    def retreat(self) -> None:
        """Record the facts alone, let go of the run and ask for another look.

        Raises:
            Superseded: That is done.
            LostHold: The run is somebody else's now.
        """
        if not self.leave(Release(wake_at=self.now(), keep_lost=not self._facts)):
            raise LostHold
        raise Superseded(self.rings)

    def leave(self, release: Release, *, only_after: int | None = None) -> bool:
        """Record the facts alone and let go of the run, whatever was derived from them; False if it was not held.

        `only_after`: only if nothing was recorded since that event of the history.
        """
        answer = self._services.committer.write(
            Commit(
                run_id=self.run.id,
                worker=self._services.worker,
                epoch=self.live.epoch,
                head=only_after,
                events=tuple(self._facts),
                timers=() if self._besides is None else tuple(self._besides.timers_of_facts),
                release=release,
            )
        )
        if not isinstance(answer, Committed):
            return False
        for call in () if self._besides is None else self._besides.after_facts:
            call()
        self.head = answer.head
        self.rings.extend(answer.rings)
        return True
