"""Bells over Dramatiq brokers: which broker a queue belongs to, and messages that carry ids and no truth.

A message costs a broker and a worker about as much as the turn of a short run, so one may ask for turns of many: of
few runs each has its own, and many are spread over enough messages to keep all threads busy.

Steps have one each as a rule, since each is to pass through the user's middleware. Where there is none but what
Dramatiq itself brings, those of one name share messages while they are quick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    Callbacks,
    GroupCallbacks,
    Middleware,
    Pipelines,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from dramatiq.results import Results

from qwit_durable.broker.kept import ahead, has_room, keep
from qwit_durable.broker.wire import Wire
from qwit_durable.clock import monotonic
from qwit_durable.engine.ports import SPREAD
from qwit_durable.stores.rows import TURN, Ring

if TYPE_CHECKING:
    from dramatiq import Broker, MessageProxy, Worker

__all__ = [
    "IS_OWN_ACTOR",
    "MOST_RUNS",
    "MOST_STEPS",
    "NO_LIMIT_MILLISECONDS",
    "STEP_MARK",
    "TURN_ACTOR",
    "BrokerBells",
    "has_only_own_middleware",
    "is_bell",
]

_logger = logging.getLogger("qwit_durable.bells")

#: The actor that takes a turn of any run. One name for all, so that an old worker never meets an unknown actor.
TURN_ACTOR = "qwit.turn"

#: So many runs at most are asked for by one message.
MOST_RUNS = 64

#: So many quick steps at most, and among how many bells they are shared at least.
MOST_STEPS, FEW_BELLS = 8, 2

#: How the function of an actor is marked that does nothing but follow bells: the step is no actor of the user's.
IS_OWN_ACTOR = "is_qwit_actor"

#: A broker's client may try for seconds to reach it, for each message anew.
_LONG_SECONDS = 0.5

#: What the bells of steps begin with: an actor of the user's may be a step, and must tell them from its own messages.
STEP_MARK = "qwit:"

#: Such an actor has a time limit of its own, which is none of the step's: this is for its bells, some 300 years.
NO_LIMIT_MILLISECONDS = 10_000_000_000_000


#: What becomes of a bell is nothing to these.
_OWN = frozenset(
    {
        AgeLimit,
        AsyncIO,
        Callbacks,
        GroupCallbacks,
        Pipelines,
        Results,
        Retries,
        ShutdownNotifications,
        TimeLimit,
    }
)

#: What all others see messages by, and how it is where they do not.
_HOOKS = tuple(
    (hook, getattr(Middleware, hook))
    for hook in dir(Middleware)
    if hook.startswith(("before_", "after_")) and hook.endswith(("_ack", "_nack", "_enqueue", "_message"))
)


class BrokerBells:
    """`engine.ports.Bells` over one home broker and further ones for named queues.

    Args:
        home: Answers the broker of all queues that are not named, or None while it is not known.
        others: Queue name to broker.
    """

    def __init__(self, home: Callable[[], Broker | None], others: Mapping[str, Broker]) -> None:
        self._home = home
        self._others = dict(others)
        self._workers: list[tuple[Broker, Worker]] = []
        self._wires: list[tuple[Broker, Wire]] = []
        self._has_warned = False

    def broker_of(self, queue: str) -> Broker | None:
        """The broker a queue belongs to."""
        return self._others.get(queue) or self._home()

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are mapped to a broker of their own."""
        return tuple(self._others)

    def attach(self, broker: Broker, worker: Worker) -> Wire | None:
        """A worker starts in this process; on what bells go to its broker, if they go together."""
        self._workers.append((broker, worker))
        wire = self._wire_of(broker) or Wire.of(broker)
        if wire is not None and self._wire_of(broker) is None:
            self._wires.append((broker, wire))
        return wire

    def _wire_of(self, broker: Broker) -> Wire | None:
        return next((wire for known, wire in self._wires if known is broker), None)

    def detach(self, worker: Worker) -> None:
        """A worker has ended."""
        self._workers = [(b, w) for b, w in self._workers if w is not worker]
        for broker, wire in self._wires:
            if not any(b is broker for b, _ in self._workers):
                wire.close()
        self._wires = [(b, w) for b, w in self._wires if any(b is known for known, _ in self._workers)]

    def consumes(self, queue: str) -> bool:
        """Whether a worker of this process works on a queue."""
        return self._worker_of(queue) is not None

    def _worker_of(self, queue: str) -> tuple[Broker, Worker] | None:
        broker = self._others.get(queue) or self._home()
        # A loop, as each step asks: a generator costs twice as much as all the rest.
        for known in self._workers:
            its_broker, worker = known
            if its_broker is broker and (not worker.consumer_whitelist or queue in worker.consumer_whitelist):
                return known
        return None

    def is_seen(self, queue: str, name: str) -> bool:
        """Whether others than Dramatiq follow what becomes of a step's message, or the step is an actor of theirs."""
        broker = self._others.get(queue) or self._home()
        if broker is None or not has_only_own_middleware(broker):
            return True
        actors: dict[str, Any] = getattr(broker, "actors")  # noqa: B009 - half typed upstream
        known = actors.get(name)
        return known is not None and not getattr(known.fn, IS_OWN_ACTOR, False)

    def has_room(self, queue: str, name: str, is_quick: Callable[[str], bool]) -> bool:
        """Whether a bell for a step would soon be followed by a thread of this process."""
        found = self._worker_of(queue)
        return found is not None and has_room(found[1], name, is_quick)

    def goes_first(self, name: str) -> bool:
        """Whether no message waits in this process that goes before one for this step."""
        return not any(ahead(worker, name) for _, worker in self._workers)

    def keep(self, ring: Ring, is_quick: Callable[[str], bool], over: Callable[[], None]) -> bool:
        """Ring for a step in this process alone; False if something slow waits before it. An error is logged."""
        found = self._worker_of(ring.queue)
        if found is None or not has_room(found[1], ring.name, is_quick, is_decided=True):
            return False
        try:
            return keep(*found, _message([ring]), over)
        except Exception as error:  # noqa: BLE001 - whatever somebody's middleware raises
            _logger.warning("no bell for run %s on queue %r: %s", ring.run_id, ring.queue, error)
            return False

    def is_busy(self) -> bool:
        """Whether messages wait in this process for a thread."""
        return any(w.work_queue.qsize() > 0 for _, w in self._workers)

    def room(self) -> int:
        """How many more bells the threads of this process can soon follow: as many wait as are being followed."""
        return sum(w.worker_threads * 2 - w.work_queue.unfinished_tasks for _, w in self._workers)

    def idle(self) -> int:
        """How many threads of this process have nothing to do."""
        return sum(max(w.worker_threads - w.work_queue.unfinished_tasks, 0) for _, w in self._workers)

    def ring(
        self, rings: Sequence[Ring], *, spread: int = SPREAD, alike: frozenset[str] = frozenset()
    ) -> None:
        """Enqueue messages for all; an error is logged and left to the sweeper.

        A broker that takes long to fail is left alone with the rest: who rings has other things to do, and perhaps
        other brokers to ring by.
        """
        away: list[Broker] = []
        left = 0
        for together in _bunches(rings, spread, lambda ring: self._may_share(ring, alike)):
            broker = self.broker_of(together[0].queue)
            if broker is None:
                self._warn_once()
            elif broker in away:
                left += len(together)
            else:
                began = monotonic()
                if not self._enqueue(broker, together) and monotonic() - began > _LONG_SECONDS:
                    away.append(broker)
        if left:
            _logger.warning("no bell for %d more, the sweeper will ring: is their broker out of reach?", left)

        for broker, wire in self._wires:
            if broker not in away:
                wire.flush()

    def _enqueue(self, broker: Broker, together: Sequence[Ring]) -> bool:
        """Enqueue a message for these; tell whether all went well."""
        wire = self._wire_of(broker)
        failures = 0 if wire is None else wire.failures
        try:
            broker.declare_queue(together[0].queue)
            enqueue: Callable[[Any], Any] = getattr(broker, "enqueue")  # noqa: B009 - half typed upstream
            with nullcontext() if wire is None else wire.gathered(may_wait=True):
                enqueue(_message(together))
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            _logger.warning(
                "no bell for run %s%s on queue %r, the sweeper will ring: %s",
                together[0].run_id,
                f" and {len(together) - 1} more" if len(together) > 1 else "",
                together[0].queue,
                error,
            )
            return False
        return wire is None or wire.failures == failures

    def _may_share(self, step: Ring, alike: frozenset[str]) -> bool:
        broker = self.broker_of(step.queue) if step.name in alike else None
        return broker is not None and has_only_own_middleware(broker)

    def _warn_once(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "this Durable does not know its broker, so workers learn of new runs from the sweep only; "
                "call dramatiq.set_broker(broker) after broker.add_middleware(durable)"
            )


def is_bell(message: MessageProxy) -> bool:
    """Whether a message is one of ours: doing without it, or following it twice, changes nothing."""
    if message.actor_name == TURN_ACTOR:
        return True
    first = message.args[0] if message.args else None
    return isinstance(first, str) and first.startswith(STEP_MARK)


def has_only_own_middleware(broker: Broker) -> bool:
    """Whether nobody but Dramatiq itself sees what becomes of a message."""
    return _are_own(tuple(map(type, broker.middleware)))


@lru_cache(maxsize=16)
def _are_own(kinds: tuple[type, ...]) -> bool:
    return all(kind in _OWN or all(getattr(kind, hook) is plain for hook, plain in _HOOKS) for kind in kinds)


def _bunches(
    rings: Sequence[Ring], spread: int, may_share: Callable[[Ring], bool]
) -> Iterator[Sequence[Ring]]:
    """What goes into one message each: a step, or quick ones of one name, or runs of one queue."""
    if len(rings) == 1:
        yield rings
        return
    turns: dict[str, list[Ring]] = {}
    steps: dict[tuple[str, str], list[Ring]] = {}
    for ring in rings:
        if ring.position == TURN:
            turns.setdefault(ring.queue, []).append(ring)
        else:
            steps.setdefault((ring.queue, ring.name), []).append(ring)
    for of_name in steps.values():
        size = min(-(-len(of_name) // FEW_BELLS), MOST_STEPS) if may_share(of_name[0]) else 1
        yield from (of_name[n : n + size] for n in range(0, len(of_name), size))
    for of_queue in turns.values():
        size = min(-(-len(of_queue) // spread), MOST_RUNS)
        yield from (of_queue[n : n + size] for n in range(0, len(of_queue), size))


def _message(together: Sequence[Ring]) -> dramatiq.Message[None]:
    ring = together[0]
    if ring.position == TURN:
        ids = [each.run_id.hex for each in together]
        return dramatiq.Message(
            queue_name=ring.queue,
            actor_name=TURN_ACTOR,
            # Of one run as it has always been: workers of an older version follow it.
            args=(ids[0],) if len(ids) == 1 else (ids, ring.queue),
            kwargs={},
            options={},
        )
    alone = f"{STEP_MARK}{ring.run_id.hex}", ring.position
    many = STEP_MARK, [(each.run_id.hex, each.position) for each in together], ring.queue
    return dramatiq.Message(
        queue_name=ring.queue,
        actor_name=ring.name,
        args=alone if len(together) == 1 else many,
        kwargs={},
        options={"time_limit": NO_LIMIT_MILLISECONDS},
    )
