"""A whole durable in one thread and in virtual time: no server, no threads, no sleeping.

Bells gather in a list and are answered one by one; when there are none left, the clock moves to the next timer. A year
of timers takes milliseconds. The rows are those of a real store, so a "process" can be thrown away at any moment and
another one made over the same store: that is how crashes are tested.

>>> from qwit_durable.testing.environment import Environment
>>> with Environment() as environment:
...     handle = environment.start(checkout, order)
...     environment.settle()
...     handle.result()
'shipped'
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from uuid import UUID

from qwit_durable.client.access import Endings
from qwit_durable.client.client import Client
from qwit_durable.clock import NEVER, ManualClock
from qwit_durable.core import OPEN, Status
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.engine import Engine
from qwit_durable.engine.ports import SPREAD, Services, Settings
from qwit_durable.errors import NotRunningError
from qwit_durable.ids import new_worker_id
from qwit_durable.language.current import enter, leave
from qwit_durable.language.guards import Guard
from qwit_durable.observers.base import AttemptInfo, Observer, Observers
from qwit_durable.registry import Registry, default_registry
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.protocol import RunQuery, Store
from qwit_durable.stores.rows import TURN, Ring, RunView
from qwit_durable.stores.writes import Start, Write

__all__ = ["Environment", "VirtualBells"]

P = ParamSpec("P")
R = TypeVar("R")
_MOMENT = timedelta(milliseconds=1)


def _nothing() -> None:
    """Nobody has to be told."""


def _unwatched(_: object) -> None:
    """Nobody looks."""


class VirtualBells:
    """Bells that gather until somebody answers them.

    Attributes:
        waiting: Those.
        queues: What this process works on; None for all.
        is_deaf: Whether bells are lost.
        are_seen: Whether somebody follows the bells of steps.
        kept: Those among `waiting` that are for this process alone, and what to call when they are over.
    """

    def __init__(self, queues: frozenset[str] | None = None) -> None:
        self.waiting: deque[Ring] = deque()
        self.queues = queues
        self.is_deaf = False
        self.are_seen = False
        self.kept: dict[tuple[UUID, str], Callable[[], None]] = {}

    def ring(
        self, rings: Sequence[Ring], *, spread: int = SPREAD, alike: frozenset[str] = frozenset()
    ) -> None:
        """Keep the bells, unless they are to be lost. Each is for one run."""
        _ = spread, alike
        if not self.is_deaf:
            self.waiting.extend(rings)

    def consumes(self, queue: str) -> bool:
        """Whether this process works on a queue."""
        return self.queues is None or queue in self.queues

    def is_busy(self) -> bool:
        """Whether bells wait."""
        return bool(self.waiting)

    def is_seen(self, queue: str, name: str) -> bool:
        """Whether somebody follows the bells of steps."""
        _ = queue, name
        return self.are_seen

    def goes_first(self, name: str) -> bool:
        """Whether no bells wait."""
        _ = name
        return not self.waiting

    def has_room(self, queue: str, name: str, is_quick: Callable[[str], bool]) -> bool:
        """Whether no bells wait, or all for quick steps."""
        _ = name
        return self.consumes(queue) and all(is_quick(ring.name) for ring in self.waiting)

    def keep(self, ring: Ring, is_quick: Callable[[str], bool], over: Callable[[], None]) -> bool:
        """Keep a bell, unless there is no room for it."""
        has_room = self.has_room(ring.queue, ring.name, is_quick)
        if has_room:
            self.waiting.append(ring)
            self.kept[ring.run_id, ring.position] = over
        return has_room


class _KnownPace(Pace):
    """Does not go by how long steps take."""

    def __init__(self, *, is_quick: bool) -> None:
        super().__init__()
        self._is_quick = is_quick

    def seems_quick(self, name: str) -> bool:
        _ = name
        return self._is_quick


class _EndingsByHand(Endings):
    """Where the thread that waits is the one that would have to go on."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def refuse_to_wait(self) -> None:
        if threading.get_ident() == self._thread:
            msg = (
                "result() would wait for ever: in an Environment nothing moves but in settle()\n"
                "  right:  environment.settle(), then handle.result()"
            )
            raise NotRunningError(msg)


class Environment(Client[ManualClock]):
    """One process of a durable, driven by hand.

    Args:
        store: Shared by several environments to play several processes; a new `MemoryStore` by default.
        clock: Theirs, too.
        queues: The queues this process works on; None for all.
        observers: As in `Durable`.
        guards: As in `Durable`.
        around_step: As in `Durable`.
        settings: As in `Durable`.
        steps_are_quick: Whether this process takes them all for quick, or none.
        steps_are_seen: Whether somebody follows the bells of steps, so that each has its own.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        clock: ManualClock | None = None,
        queues: frozenset[str] | None = None,
        registry: Registry | None = None,
        observers: Sequence[Observer] = (),
        guards: Sequence[Guard] = (),
        around_step: Sequence[Callable[[AttemptInfo], AbstractContextManager[Any]]] = (),
        settings: Settings | None = None,
        namespace: str = "default",
        steps_are_quick: bool = False,
        steps_are_seen: bool = False,
    ) -> None:
        self.clock = clock or ManualClock()
        self.store: Store = store if store is not None else MemoryStore(self.clock)
        self.registry = registry or default_registry
        self.namespace = namespace
        self.endings = _EndingsByHand()
        self.bells = VirtualBells(queues)
        self.bells.are_seen = steps_are_seen
        self.begins_at_once = False
        self.observers = tuple(observers)
        self._committer = Committer(self.store)
        self.engine = Engine(
            Services(
                store=self.store,
                committer=self._committer,
                registry=self.registry,
                clock=self.clock,
                observers=Observers(self.observers),
                bells=self.bells,
                worker=new_worker_id(),
                namespace=namespace,
                settings=settings or Settings(),
                around_step=tuple(around_step),
                guards=tuple(guards),
                starter=self,
                run_coroutine=asyncio.run,
                run_ended=self.endings.ended,
            ),
            rings_locally=True,
            pace=_KnownPace(is_quick=steps_are_quick),
            # One thread, which follows one bell after another.
            idle=lambda: 0 if self.bells.waiting else 1,
        )

        # No thread looks at the time.
        self.engine.queued.kept.watch = _unwatched

    def __enter__(self) -> Self:
        enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leave(self)

    # -- a client's access -------------------------------------------------------------------------------------

    @property
    def reader(self) -> Store:
        """The store, for reading."""
        return self.store

    @property
    def limit_bytes(self) -> int:
        """The largest value, encoded."""
        return self.engine.services.settings.limit_bytes

    @property
    def can_ring(self) -> bool:
        """Bells are always at hand."""
        return True

    def write(self, write: Write) -> Answer:
        """Carry out one write."""
        return self._committer.write(write)

    def write_all(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
        """Carry out some writes in as few batches as can be; the answer to each, or why it has none."""
        return self._committer.write_many(writes)

    def begin(self, write: Start) -> Answer:
        """Carry out a start, with the first turn if the test wants its runs to be begun by whoever starts them."""
        return self.engine.starts.start(write) if self.begins_at_once else self.write(write)

    def ring(self, rings: Sequence[Ring]) -> None:
        """Keep bells."""
        self.bells.ring(rings)

    # -- driving -----------------------------------------------------------------------------------------------

    def answer_bells(self, limit: int = 100_000) -> int:
        """Answer what is rung, and what that rings, until there is silence; tell how many bells that were."""
        answered = 0
        while self.bells.waiting and answered < limit:
            self.answer(self.bells.waiting.popleft())
            answered += 1
        return answered

    def answer(self, ring: Ring) -> None:
        """Answer one bell."""
        if ring.position == TURN:
            self.engine.take_turn(ring.run_id)
        elif self.bells.are_seen:
            self.engine.make_attempt(ring.run_id, ring.position, ring.name)
            self.bells.kept.pop((ring.run_id, ring.position), _nothing)()
        else:
            self.engine.make_attempts([ring])

    def settle(self, *, until: datetime | None = None, rounds: int = 10_000) -> None:
        """Answer bells and move the clock from timer to timer until nothing is due, or until a moment.

        Schedules never come to rest: the clock moves to their due times only where `until` says how far.

        Raises:
            RuntimeError: It does not come to rest.
        """
        for _ in range(rounds):
            self.engine.heart.beat()
            self.answer_bells()
            self.engine.sweeper.sweep()
            if self.bells.waiting:
                continue
            due = self._next_due(with_schedules=until is not None)
            if due is None or (until is not None and due > until):
                if until is not None and self.clock.now() < until:
                    self.clock.advance(until - self.clock.now())
                return
            if due > self.clock.now():
                self.clock.advance(due - self.clock.now())
            else:
                self.clock.advance(_MOMENT)
        msg = f"the environment did not come to rest in {rounds} rounds"
        raise RuntimeError(msg)

    def _next_due(self, *, with_schedules: bool = False) -> datetime | None:
        open_runs = [view for view in self._open_views() if view.live is not None]
        dues = [timer.fire_at for view in open_runs for timer in self.store.timers(view.run.id)]
        for view in open_runs:
            assert view.live is not None
            if view.live.status in {Status.STUCK, Status.PAUSED}:
                continue
            dues.extend(task.ring_at for task in self.store.tasks(view.run.id) if task.rings < 20)  # noqa: PLR2004
            owner = view.live.owner
            if owner is not None and owner != self.engine.services.worker:
                dues.append(self._end_of(owner))
        if with_schedules:
            rows = self.store.schedules(self.namespace)
            dues.extend(row.next_at for row in rows if row.next_at is not None)
        return min((due for due in dues if due < NEVER), default=None)

    def _end_of(self, worker: int) -> datetime:
        """When a worker that does not beat any more counts as dead, and what it held is taken up."""
        ends = [row.expires_at for row in self.store.workers() if row.id == worker]
        return max([*ends, self.clock.now()]) + self.engine.services.settings.lease

    def _open_views(self) -> Sequence[RunView]:
        query = RunQuery(namespace=self.namespace, statuses=tuple(OPEN), limit=100_000)
        return self.store.runs(query)
