"""`Durable`: the one place where the parts are wired together.

Neither construction nor import does any I/O. Each process opens the store when something first needs it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from qwit_durable.broker.embedded import embedded_worker, global_broker_with
from qwit_durable.broker.middleware import DurableMiddleware
from qwit_durable.broker.runtime import Runtime
from qwit_durable.client.access import Endings
from qwit_durable.client.client import Client
from qwit_durable.clock import Clock, SystemClock
from qwit_durable.codec import unfit_as_name
from qwit_durable.codec.chaining import chained
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.language.current import enter, install, leave
from qwit_durable.language.guards import Guard
from qwit_durable.observers.base import AttemptInfo, Observer
from qwit_durable.registry import Registry, default_registry
from qwit_durable.stores import open_store
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Start, Write

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

__all__ = ["Durable"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_DEFAULT_STORE = "sqlite:///qwit.db"


def _all_of(name: str, given: Sequence[T], kind: type[T]) -> tuple[T, ...]:
    """Refuse what is none of its kind: a class that is not called, say."""
    _refuse_unless(hasattr(given, "__iter__"), f"{name} is a list", given)
    for one in given:
        if not isinstance(one, kind):
            msg = (
                f"Durable: {name} are objects of the class {kind.__name__}, got {describe(one)}\n"
                f"  likely cause: the class is given instead of an object, or is no heir of {kind.__name__}\n"
                f"  right:  {name}=[{getattr(one, '__name__', f'My{kind.__name__}')}()]"
            )
            raise DefinitionError(msg)
    return tuple(given)


def _refuse_unless(holds: bool, wanted: str, given: object) -> None:  # noqa: FBT001 - the condition
    if not holds:
        msg = f"Durable: {wanted}, got {describe(given)}"
        raise DefinitionError(msg)


class Durable(Client[Clock], DurableMiddleware):
    """Durable workflows on a Dramatiq broker, or embedded in this process.

    Add it to a broker as a middleware and run `dramatiq your.module`; or enter `embedded()` and need no server.

    Args:
        store: A URL (`sqlite:///orders.db`, `postgresql://…`, `memory://`) or a store object; else the environment's
            `QWIT_STORE_URL`, else `sqlite:///qwit.db`.
        namespace: Runs of different namespaces don't see each other.
        observers: Told of committed facts.
        guards: Asked before and after every step; give every worker the same ones.
        codec: Compresses or encrypts what users' values are stored as: `AesGcmCodec`, `ZlibCodec`, an object with
            `seal(bytes)` and `open(bytes)`, or several in a list, in the order in which a value passes them. Every
            process of the store needs the same. In memory it is not used.
        queues: Brokers for named queues; all other queues belong to the broker it is installed on.
        around_step: Context managers, made by `factory(attempt_info)` and entered around every attempt.
        migrate: Bring a Postgres schema up to date at boot instead of refusing an older one.
        clock: The time, for tests; stores on a server go by the server's unless given one.
        lease: How long a worker counts as alive after its last beat.
        beat: How often it beats; at most a third of the lease.
        sweep: How late a timer may be when nobody nearer knows of it.
        time_slice: How long a run may stay in one thread while others wait.
        cached_runs: How many runs' generators are kept alive between turns.
        limit_bytes: The largest value, encoded: 1 MiB.
        retention: How long runs of this namespace are kept after they have ended, however that was; workers remove
            what is older, with its sub-workflows, within an hour. `None`, the default, keeps them until `prune`.

    Raises:
        DefinitionError: An option is unknown, or not supported yet.

    >>> with Durable("memory://").embedded() as durable:
    ...     checkout.start(order).result()
    'shipped'
    """

    def __init__(
        self,
        store: str | Store | None = None,
        *,
        namespace: str = "default",
        observers: Sequence[Observer] = (),
        guards: Sequence[Guard] = (),
        codec: object = None,
        queues: Mapping[str, Broker] | None = None,
        around_step: Sequence[Callable[[AttemptInfo], AbstractContextManager[Any]]] = (),
        migrate: bool = False,
        registry: Registry | None = None,
        clock: Clock | None = None,
        lease: timedelta = Settings().lease,
        beat: timedelta = Settings().beat,
        sweep: timedelta = Settings().sweep,
        time_slice: timedelta = Settings().time_slice,
        cached_runs: int = Settings().cached_runs,
        limit_bytes: int = Settings().limit_bytes,
        retention: timedelta | None = None,
    ) -> None:
        if not namespace:
            msg = "Durable: namespace is a non-empty text"
            raise DefinitionError(msg)
        if (why := unfit_as_name(namespace)) is not None:
            msg = f"Durable: namespace {why}"
            raise DefinitionError(msg)
        if store is not None and not (store if isinstance(store, str) else hasattr(store, "apply")):
            msg = f"Durable: store is a URL, as 'sqlite:///orders.db', or a store object, got {store!r}"
            raise DefinitionError(msg)
        self.namespace = namespace
        self.registry = registry or default_registry
        self.clock = clock or SystemClock()
        self.endings = Endings()
        self.settings = Settings(
            lease=lease,
            beat=beat,
            sweep=sweep,
            time_slice=time_slice,
            cached_runs=cached_runs,
            limit_bytes=limit_bytes,
            retention=retention,
        )
        self.observers = _all_of("observers", observers, Observer)
        self.around_step = tuple(around_step)
        for factory in self.around_step:
            _refuse_unless(callable(factory), "around_step holds what makes context managers", factory)
        self.guards = _all_of("guards", guards, Guard)
        self._given_store = store
        self._given_clock = clock
        self._codec = chained(codec)
        if codec is not None and store is not None and not isinstance(store, str):
            msg = "Durable: codec goes to the store\n  right:  give the store's URL, or its payload_codec to the store"
            raise DefinitionError(msg)
        self._migrate = migrate
        self._lock = threading.RLock()
        self._runtimes: dict[int, Runtime] = {}
        self._stores: dict[int, Store] = {}
        self._home: Broker | None = None
        self._is_installed = False
        self._others = dict(queues or {})
        for broker in self._others.values():
            _refuse_unless(hasattr(broker, "add_middleware"), "queues are Dramatiq brokers by name", broker)
        for broker in {id(b): b for b in self._others.values()}.values():
            broker.add_middleware(self)

    def __repr__(self) -> str:
        return f"<Durable namespace={self.namespace!r}>"

    # -- a client's access -------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store, opened in this process."""
        return self.runtime.store

    @property
    def reader(self) -> Store:
        """The same, for reading."""
        return self.store

    @property
    def runtime(self) -> Runtime:
        """What this process has of it; made at first use, anew after a fork."""
        pid = os.getpid()
        with self._lock:
            found = self._runtimes.get(pid)
            if found is None:
                store = self._store_of(pid)
                if self._migrate:
                    store.migrate()
                store.open()
                found = self._runtimes[pid] = Runtime(
                    store=store,
                    registry=self.registry,
                    clock=self.clock,
                    namespace=self.namespace,
                    settings=self.settings,
                    observers=self.observers,
                    around_step=self.around_step,
                    guards=self.guards,
                    starter=self,
                    home=self.home_broker,
                    others=self._others,
                    run_ended=self.endings.ended,
                )
            return found

    def _store_of(self, pid: int) -> Store:
        """This process's store; one in memory outlives `close`."""
        if pid not in self._stores:
            given = self._given_store
            if given is None or isinstance(given, str):
                url = given or os.environ.get("QWIT_STORE_URL") or _DEFAULT_STORE
                given = open_store(url, clock=self._given_clock, payload_codec=self._codec)
            self._stores[pid] = given
        return self._stores[pid]

    @property
    def limit_bytes(self) -> int:
        """The largest value, encoded."""
        return self.settings.limit_bytes

    @property
    def can_ring(self) -> bool:
        """Whether this process knows a broker."""
        return self.home_broker() is not None

    def write(self, write: Write) -> Answer:
        """Carry out one write."""
        return self.runtime.committer.write(write)

    def write_all(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
        """Carry out some writes in as few batches as can be; the answer to each, or why it has none."""
        return self.runtime.committer.write_many(writes)

    def begin(self, write: Start) -> Answer:
        """Carry out a start; a thread of this process that is idle has the run's first turn by the same write."""
        runtime = self.runtime
        return (
            runtime.committer.write(write) if runtime.engine is None else runtime.engine.starts.start(write)
        )

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring bells; never raises. One that was never put on a broker has none: workers find the rows by sweeping."""
        if self._is_installed or self.can_ring:
            self.runtime.bells.ring(rings)

    # -- on a broker -------------------------------------------------------------------------------------------

    def home_broker(self) -> Broker | None:
        """The broker it is installed on, once that is known."""
        if self._home is None:
            self._home = global_broker_with(self)
        return self._home

    def on_installed(self) -> None:
        self._is_installed = True
        install(self)

    def on_broker(self, broker: Broker) -> None:
        if all(broker is not other for other in self._others.values()):
            self._home = broker

    def on_worker_starting(self, broker: Broker, worker: Worker) -> None:
        self.on_broker(broker)
        self.runtime.start_worker(broker, worker)

    def on_worker_draining(self) -> None:
        self.runtime.drain()

    def on_worker_stopped(self, broker: Broker, worker: Worker) -> None:
        _ = broker
        self.runtime.stop_worker(worker)

    # -- embedded ----------------------------------------------------------------------------------------------

    @contextmanager
    def embedded(self, *, threads: int = 8) -> Generator[Durable]:
        """Work in this process, without a server: workers in threads, until the block ends.

        Kill the process at any moment and run it again: what was under way goes on.

        Args:
            threads: How many runs and steps are worked on at once.

        Raises:
            StoreUnavailable: The store can't be reached.
            DefinitionError: It is installed on a broker already, or there would be no thread.

        >>> with Durable("sqlite:///orders.db").embedded(threads=2) as durable:
        ...     checkout.start(order).result()
        'shipped'
        """
        is_number = isinstance(cast("object", threads), int)
        _refuse_unless(is_number and threads > 0, "threads of embedded() are 1 or more", threads)
        if self._home is not None:
            msg = f"{self!r} is installed on a broker already: make another Durable for embedded()"
            raise DefinitionError(msg)
        try:
            # What is wrong with the store is raised here as what it is, not as a worker's failed boot.
            _ = self.runtime
            with embedded_worker(self, threads):
                enter(self)
                try:
                    yield self
                finally:
                    leave(self)
        finally:
            self._home = None
            self.close()

    def close(self) -> None:
        """Let go of this process's connections; the next use opens them anew.

        >>> durable = Durable("sqlite:///orders.db")
        >>> handle = durable.start(checkout, order)
        >>> durable.close()
        """
        with self._lock:
            runtime = self._runtimes.pop(os.getpid(), None)
        if runtime is not None:
            runtime.close()
