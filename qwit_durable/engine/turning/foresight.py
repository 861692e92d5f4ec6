"""Deciding ahead: the turn that an outcome makes due, known before that outcome is recorded.

A claim says how the run stands, if nothing but this attempt stands between the run and its next turn. So once the
step's code has returned, the outcome is fed to the run's interpreter, and where all that follows is to hand the next
steps over and to wait for them, that goes into the write that records the outcome: two writes a step, the claim and
this, and nobody holds the run in between.

Only the pure body runs before the outcome is durable; what it leads to leaves the process afterwards. A write that is
refused discards the interpreter. Where more follows, or others' events came first, the run is gone on with as ever, by
the turn that comes with the outcome.

Nor is anybody rung for who is at home: where one quick step follows, and nothing else waits for a thread of this
process, its first attempt begins with that write, too. Then a queued step is one write and no message. Where somebody
follows messages, it has one all the same, which waits for a thread of this process, and only behind quick steps.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

import attrs

from qwit_durable.core import Advance, CallStep, Interpreter, Pending, Resolved
from qwit_durable.engine.attempting.recording import Recorded
from qwit_durable.engine.holding import Holding
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.handover import hand_over, queue_of
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.engine.turning.interpreters import Interpreters
from qwit_durable.errors import UnknownName
from qwit_durable.stores.answers import Acquired, Claimed, Committed, Standing
from qwit_durable.stores.rows import LiveRow, TaskRow
from qwit_durable.stores.writes import Acquire, Commit

__all__ = ["Ahead", "AtHome", "Begun", "Foresight"]

_logger = logging.getLogger("qwit_durable.turns")


class Foresight:
    """Decides ahead with the interpreters that this process keeps."""

    def __init__(self, services: Services, interpreters: Interpreters) -> None:
        self._services = services
        self._interpreters = interpreters
        self._elsewhere: OrderedDict[UUID, None] = OrderedDict()

    def turn(self, run_id: UUID) -> Acquire | None:
        """The turn that this process would take: what it knows of the run. None if the run's turns are others'.

        A claim brings what happened since, up to the whole history: for nothing, where nobody here takes turns.
        """
        if run_id in self._elsewhere:
            return None
        generation, head = self._interpreters.known(run_id)
        return Acquire(run_id=run_id, worker=self._services.worker, after=head, generation=generation)

    def of(self, claimed: Claimed, at_home: AtHome | None) -> Ahead:
        """What can be decided ahead in an attempt, after which `at_home` may go on with the next one."""
        run = claimed.run
        if run.id not in self._elsewhere and not self._services.bells.consumes(run.queue):
            self._elsewhere[run.id] = None
            with suppress(KeyError):  # another thread has taken out the last one
                while len(self._elsewhere) > self._services.settings.cached_runs:
                    self._elsewhere.popitem(last=False)
        return Ahead(self._services, self._interpreters, claimed, at_home)


@attrs.frozen
class AtHome:
    """What it takes to go on with the next step at once: whether it is quick, and where it is named as begun."""

    is_quick: Callable[[str], bool]
    making: Holding[tuple[UUID, str]]


@attrs.frozen
class Begun:
    """An attempt that has begun with the write of the one before it, and the token under which it is named.

    `is_seen`: it is to have a bell of its own.
    """

    claimed: Claimed
    token: object
    is_seen: bool

    @property
    def key(self) -> tuple[UUID, str]:
        """Under which it is named."""
        return self.claimed.task.run_id, self.claimed.task.position


class Ahead:
    """What follows from one attempt. Close it when the outcome is recorded, or is not."""

    def __init__(
        self,
        services: Services,
        interpreters: Interpreters,
        claimed: Claimed,
        at_home: AtHome | None,
    ) -> None:
        self._services = services
        self._interpreters = interpreters
        self._claimed = claimed
        self._offset = claimed.now - services.clock.now()
        self._interpreter: Interpreter | None = None
        self._hold: Hold | None = None
        self._then: Commit | None = None
        self._at_home = at_home
        self._begins: tuple[tuple[UUID, str], object] | None = None
        self._is_seen = False

    def follows(self, event: Resolved) -> tuple[Acquire | None, Commit | None]:
        """The turn that this process takes with an outcome, if any, and the whole of it, if it can be told."""
        run = self._claimed.run
        if self._services.draining.is_set() or not self._services.bells.consumes(run.queue):
            return None, None
        try:
            self._foresee(event)
        except Exception:
            # The turn meets it again, and says what is wrong.
            _logger.debug("run %s: what follows is not decided ahead", run.key, exc_info=True)
            self.close()
        if self._hold is not None:
            generation, head = self._claimed.generation, self._hold.head - 1
        else:
            generation, head = self._interpreters.known(run.id)
        turn = Acquire(run_id=run.id, worker=self._services.worker, after=head, generation=generation)
        return turn, self._then

    def _foresee(self, event: Resolved) -> None:
        claimed, standing = self._claimed, self._claimed.standing
        if standing is None or self._services.guards:
            return
        run, known = claimed.run, standing.head - len(standing.events)
        try:
            self._interpreter = self._interpreters.take(
                run, claimed.generation, since=known, head=standing.head
            )
        except UnknownName:
            return
        if self._interpreter is None:
            return
        now = self._services.clock.now() + self._offset
        live = LiveRow(
            run_id=run.id,
            status=standing.status,
            updated_at=now,
            head=standing.head + 1,
            generation=claimed.generation,
        )
        expected = Acquired(run=run, live=live, events=(*standing.events, event), now=now)
        hold = self._hold = Hold(self._services, expected, self._interpreter, _nothing)
        decision = hold.decision
        if isinstance(decision, Advance) and not decision.settle and self._only_hands_over(decision.begin):
            begins = len(decision.begin) == 1 and self._begins_here(hold, decision.begin[0])
            for pending in decision.begin:
                hand_over(self._services, hold, pending, begins=begins)
            self._then = hold.transition(release=hold.until_it_goes_on(decision))

    def _begins_here(self, hold: Hold, pending: Pending) -> bool:
        """Whether this worker goes on with the next step at once. It is named as begun from now on."""
        command, at_home, bells = pending.command, self._at_home, self._services.bells
        if at_home is None or not isinstance(command, CallStep):
            return False
        if not at_home.is_quick(command.name):
            return False
        queue = queue_of(self._services, hold.run, command)
        self._is_seen = bells.is_seen(queue, command.name)
        if not (
            bells.has_room(queue, command.name, at_home.is_quick)
            if self._is_seen
            else bells.goes_first(command.name) and bells.consumes(queue)
        ):
            return False
        key = (hold.run.id, pending.position)
        token = at_home.making.take(key)
        self._begins = None if token is None else (key, token)
        return token is not None

    def _only_hands_over(self, begin: Sequence[Pending]) -> bool:
        assert self._interpreter is not None
        return not (self._interpreter.refusals or self._interpreter.needless_timers) and all(
            isinstance(pending.command, CallStep)
            and pending.command.settings.dispatch == "queue"
            and pending.retry_at is None
            for pending in begin
        )

    def take_in(self, recorded: Recorded | None) -> Recorded | None:
        """Take in what was recorded: the bells that are owed by then, and the turn that is to be gone on with."""
        hold = self._hold
        if hold is None or recorded is None:
            return recorded
        if recorded.committed is not None:
            assert self._then is not None
            hold.committed(recorded.committed, self._then)
            self._keep()
            return Recorded(
                rings=(*recorded.rings, *hold.rings),
                event=recorded.event,
                head=recorded.head,
                begun=self._begun(recorded.committed, self._then),
            )
        acquired = recorded.acquired
        if acquired is None or self._then is not None or acquired.live.head != hold.head:
            return recorded
        # The interpreter knows everything already.
        self._keep()
        return attrs.evolve(recorded, acquired=attrs.evolve(acquired, events=()))

    def _begun(self, committed: Committed, then: Commit) -> Begun | None:
        if self._begins is None:
            return None
        (_, token), self._begins = self._begins, None
        (new,), claimed, now = then.tasks, self._claimed, committed.now
        task = TaskRow(
            run_id=then.run_id,
            position=new.position,
            queue=new.queue,
            name=new.spec.name,
            ready_at=now,
            ring_at=now + self._services.settings.lease,
            priority=new.priority,
            attempt=new.attempt,
            owner=then.worker,
            began_at=now,
            claimed_at=now,
            spec=new.spec,
        )
        assert claimed.standing is not None
        standing = Standing(head=committed.head, status=claimed.standing.status, events=())
        return Begun(
            claimed=Claimed(
                task=task, run=claimed.run, generation=claimed.generation, now=now, standing=standing
            ),
            token=token,
            is_seen=self._is_seen,
        )

    def _keep(self) -> None:
        interpreter, self._interpreter = self._interpreter, None
        assert interpreter is not None
        self._interpreters.put(self._claimed.run.id, interpreter)

    def close(self) -> None:
        """Discard what did not become durable."""
        interpreter, self._interpreter = self._interpreter, None
        self._hold = self._then = None
        if self._begins is not None and self._at_home is not None:
            self._at_home.making.give_back(*self._begins)
            self._begins = None
        if interpreter is not None:
            interpreter.close()


def _nothing() -> None:
    """The run is held by nobody."""
