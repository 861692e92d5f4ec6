"""What one process has of a `Durable`: its store, its bells, and, while a worker runs in it, its engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from qwit_durable.broker.actors import declare_step, declare_turn
from qwit_durable.broker.bells import BrokerBells
from qwit_durable.broker.listening import listen
from qwit_durable.broker.local import LocalBroker
from qwit_durable.broker.loop import Loop
from qwit_durable.clock import Clock
from qwit_durable.engine.engine import Engine
from qwit_durable.engine.ports import Services, Settings
from qwit_durable.ids import new_worker_id
from qwit_durable.language.current import Starter
from qwit_durable.language.guards import Guard
from qwit_durable.language.step import Step
from qwit_durable.language.workflow import WorkflowDefinition
from qwit_durable.observers.base import AttemptInfo, Observer, Observers
from qwit_durable.registry import Registered, Registry, StepLike
from qwit_durable.stores.committer import Committer
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import Ring

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

__all__ = ["Runtime"]

_DEFAULT_QUEUE = "default"


class Runtime:
    """Opened lazily, closed with its process. The engine lives from the first worker's start to the last one's end."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        clock: Clock,
        namespace: str,
        settings: Settings,
        observers: Sequence[Observer],
        around_step: tuple[Callable[[AttemptInfo], AbstractContextManager[Any]], ...],
        guards: tuple[Guard, ...],
        starter: Starter,
        home: Callable[[], Broker | None],
        others: Mapping[str, Broker],
        run_ended: Callable[[UUID], None],
    ) -> None:
        self.store = store
        self.committer = Committer(store)
        self.bells = BrokerBells(home, others)
        self._loop = Loop()
        self._registry = registry
        self._services: Callable[[], Services] = lambda: Services(
            store=store,
            committer=self.committer,
            registry=registry,
            clock=clock,
            observers=Observers(observers),
            bells=self.bells,
            worker=new_worker_id(),
            namespace=namespace,
            settings=settings,
            around_step=around_step,
            guards=guards,
            starter=starter,
            run_coroutine=self._loop.run,
            run_ended=run_ended,
        )
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._brokers: list[Broker] = []
        self.engine: Engine | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._unlisten: dict[int, Callable[[], None]] = {}

    # -- workers -----------------------------------------------------------------------------------------------

    def start_worker(self, broker: Broker, worker: Worker) -> None:
        """A worker is about to start on a broker: have everything ready before its first message."""
        with self._lock:
            self._workers.append(worker)
            if broker not in self._brokers:
                self._brokers.append(broker)
            wire = self.bells.attach(broker, worker)
            self._unlisten[id(worker)] = listen(broker, worker, wire)
            is_first = self.engine is None
            if self.engine is None:
                rings_locally = isinstance(broker, LocalBroker)
                queues = tuple(sorted(worker.consumer_whitelist or ()))
                self.engine = Engine(
                    self._services(),
                    queues=queues,
                    rings_locally=rings_locally,
                    room=self.bells.room,
                    idle=self.bells.idle,
                )
        if is_first:
            self._unsubscribe.append(self._registry.subscribe(self._declare))
        for workflow in self._registry.workflows():
            self._declare(workflow)
        for step in self._registry.steps():
            self._declare(step)
        self._declare_queue(_DEFAULT_QUEUE)
        if is_first:
            self.engine.start()

    def drain(self) -> None:
        """Workers are about to stop."""
        if self.engine is not None:
            self.engine.drain()

    def stop_worker(self, worker: Worker) -> None:
        """A worker has stopped; with the last one the engine ends."""
        if isinstance(worker.broker, LocalBroker):
            # The engine drains, so it follows none of them: it learns what was not followed.
            actors: dict[str, Any] = getattr(worker.broker, "actors")  # noqa: B009 - half typed upstream
            for message in worker.broker.left():
                if message.actor_name in actors:
                    actors[message.actor_name](*message.args)
        with self._lock:
            self._workers = [known for known in self._workers if known is not worker]
            self.bells.detach(worker)
            self._unlisten.pop(id(worker), lambda: None)()
            engine = self.engine if not self._workers else None
            if engine is not None:
                self.engine = None
        if engine is not None:
            while self._unsubscribe:
                self._unsubscribe.pop()()
            engine.stop(waits=not any(thread.is_alive() for thread in worker.workers))
            self._loop.close()

    def close(self) -> None:
        """End what runs and let go of all connections."""
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.stop()
        self._loop.close()
        self.store.close()

    # -- actors ------------------------------------------------------------------------------------------------

    def _declare(self, known: Registered) -> None:
        """Declare what a registered workflow or step needs on the brokers on which workers run here."""
        if self.engine is None:
            return
        if isinstance(known, WorkflowDefinition):
            self._declare_queue(known.queue)
        elif isinstance(known, Step):
            self._declare_step(cast("StepLike", known))

    def _declare_step(self, known: StepLike) -> None:
        queue = known.settings.queue
        if queue is not None:
            self._declare_queue(queue)
        for broker in self._brokers:
            # Any queue may carry the step's messages, a workflow's own or a call's: every broker knows the actor.
            owner = self.bells.broker_of(queue) if queue is not None else None
            home = queue if queue is not None and owner is broker else self._any_queue(broker)
            declare_step(broker, home, known, self._make_attempts)

    def _declare_queue(self, queue: str) -> None:
        broker = self.bells.broker_of(queue)
        if broker is not None and broker in self._brokers:
            broker.declare_queue(queue)
            declare_turn(broker, queue, self._take_turns)

    def _any_queue(self, broker: Broker) -> str:
        declared = sorted(
            name for name in broker.get_declared_queues() if self.bells.broker_of(name) is broker
        )
        return declared[0] if declared else _DEFAULT_QUEUE

    def _take_turns(self, rings: Sequence[Ring]) -> None:
        if self.engine is None:
            return
        # In a context of its own: what strikes the thread from outside may leave a body's variables as they were in it.
        if len(rings) == 1:
            copy_context().run(self.engine.take_turn, rings[0].run_id)
        else:
            copy_context().run(self.engine.take_turns, rings)

    def _make_attempts(self, rings: Sequence[Ring], alone: bool) -> None:  # noqa: FBT001 - see `declare_step`
        engine = self.engine
        if engine is None:
            return
        if alone:
            for ring in rings:
                copy_context().run(engine.make_attempt, ring.run_id, ring.position, ring.name)
        else:
            copy_context().run(engine.make_attempts, rings)
