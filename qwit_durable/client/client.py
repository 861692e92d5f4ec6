"""`Client`: starting and finding runs, the same for a `Durable` and for the tests' environment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from qwit_durable.client.completing import Completing
from qwit_durable.client.handle import Handle
from qwit_durable.client.pruning import Pruning
from qwit_durable.client.runs import Run, list_runs, not_found, query_of
from qwit_durable.client.schedules import Schedules
from qwit_durable.client.startable import refuse_unstartable
from qwit_durable.client.starting import start_run, start_runs
from qwit_durable.codec import unfit_as_name
from qwit_durable.core import Status
from qwit_durable.errors import describe
from qwit_durable.language.options import StartOptions
from qwit_durable.language.workflow import BoundWorkflow, ToStart, WorkflowDefinition

if TYPE_CHECKING:
    from qwit_durable.client.access import Endings
    from qwit_durable.clock import Clock
    from qwit_durable.observers.base import Observer
    from qwit_durable.registry import Registry
    from qwit_durable.stores.answers import Answer
    from qwit_durable.stores.protocol import Store
    from qwit_durable.stores.rows import Ring
    from qwit_durable.stores.writes import Start, Write

__all__ = ["Client"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="Clock")


class Client(Completing, Schedules, Pruning, ABC, Generic[C]):
    """Starts runs and finds them. What it works with is `Access`, which its heirs give it."""

    namespace: str
    registry: Registry
    endings: Endings
    clock: C
    observers: tuple[Observer, ...]

    @property
    @abstractmethod
    def reader(self) -> Store:
        """The store, for reading."""

    @property
    @abstractmethod
    def limit_bytes(self) -> int:
        """The largest value, encoded."""

    @property
    @abstractmethod
    def can_ring(self) -> bool:
        """Whether this process knows a broker."""

    @abstractmethod
    def write(self, write: Write) -> Answer:
        """Carry out one write."""

    @abstractmethod
    def write_all(self, writes: Sequence[Write]) -> Sequence[Answer | BaseException]:
        """Carry out some writes in as few batches as can be; the answer to each, or why it has none."""

    @abstractmethod
    def begin(self, write: Start) -> Answer:
        """Carry out a start; a thread of this process that is idle has the run's first turn by the same write."""

    @abstractmethod
    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring bells; never raises."""

    def start_within(self, connection: object, write: Start) -> Answer:
        """Carry out a start in the caller's transaction."""
        return self.reader.start_within(connection, write)

    # -- for users ---------------------------------------------------------------------------------------------

    def start(
        self, workflow: WorkflowDefinition[P, R] | BoundWorkflow[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[R]:
        """Start a run here and return its handle: the run is stored before this returns.

        Args:
            workflow: The workflow, or what its `options(...)` gave.
            *args: The workflow's arguments.
            **kwargs: The same.

        Raises:
            EncodingError: An argument can't be stored; the message names it. Nothing was stored.
            DefinitionError: It is no workflow.
            RunAlreadyExists: A run of this id has another input, or `on_conflict` says so.
            StoreUnavailable: The store can't be reached.

        >>> with Durable("memory://").embedded() as durable:
        ...     durable.start(checkout, order).result()
        'shipped'
        """
        if isinstance(workflow, BoundWorkflow):
            return self.start_run(workflow.definition, args, kwargs, workflow.start_options)
        refuse_unstartable(workflow)
        return self.start_run(workflow, args, kwargs, StartOptions())

    def start_many(self, runs: Iterable[ToStart[R]], /) -> list[Handle[R]]:
        """Start many runs, some hundreds in each write, and return their handles in order.

        All are taken, checked and encoded before the first is stored: where that fails, or what gives them raises,
        nothing is. From then on each run stands by itself, as if `start` had stored it: one that is refused keeps no
        other from being started. Where ids are given, the whole may be repeated, which starts what is missing.

        Args:
            runs: What `workflow.to_start(...)` and `workflow.options(...).to_start(...)` give, of one workflow or of
                several.

        Raises:
            DefinitionError: Something else is among them. Nothing was stored.
            TypeError: Arguments don't fit a workflow's signature. Nothing was stored.
            EncodingError: An argument can't be stored; the message names it. Nothing was stored.
            RunAlreadyExists: Runs of those ids have another input, or `on_conflict` says so. All others are started:
                `refused` of the error has these ids, `handles` the others' handles.
            StoreUnavailable: The store can't be reached. Some may be started. The same holds for whatever a
                `connection=` that was given raises.

        >>> with Durable("memory://").embedded() as durable:
        ...     handles = durable.start_many(checkout.to_start(order) for _ in range(3))
        ...     [handle.result() for handle in handles]
        ['shipped', 'shipped', 'shipped']
        """
        return start_runs(self, runs, observers=self.observers)

    def start_run(
        self,
        definition: WorkflowDefinition[Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: StartOptions,
    ) -> Handle[Any]:
        """Start a run with options; `workflow.options(...).start(...)` is the pleasant form."""
        return start_run(self, definition, args, kwargs, options, observers=self.observers)

    def get(self, run_id: str) -> Handle[Any]:
        """The handle of the run that stands under an id.

        Raises:
            RunNotFound: There is none in this namespace.

        >>> durable = Durable("memory://")
        >>> started = durable.start(checkout.options(id="order-17"), order)
        >>> durable.get("order-17").status()
        <Status.RUNNING: 'running'>
        """
        if not isinstance(cast("object", run_id), str):
            msg = f"get: the id of a run is a text, got {describe(run_id)}"
            raise TypeError(msg)
        # No run can stand under an id that can't be kept.
        view = None if unfit_as_name(run_id) else self.reader.find(self.namespace, run_id)
        if view is None:
            raise not_found(run_id, self.namespace, self.reader.url)
        return Handle(self, view.run.id, view.run.key)

    def runs(
        self,
        *,
        status: Status | str | Sequence[Status | str] | None = None,
        workflow: str | None = None,
        version: str | None = None,
        lane: str | None = None,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        roots_only: bool = False,
        limit: int | None = None,
    ) -> Iterator[Run]:
        """List runs, newest first, reading them page by page.

        Args:
            status: One status or several.
            workflow: Only runs of this workflow.
            version: Only runs started by code with this label.
            lane: Only runs that were started in this lane.
            attributes: Only runs that have all of these.
            roots_only: Leave sub-workflows out.
            limit: At most so many.

        Raises:
            ValueError: There is no such status, or the limit is below 0.

        >>> durable = Durable("memory://")
        >>> started = durable.start(checkout.options(id="order-17", attributes={"customer": "Ann"}), order)
        >>> [run.id for run in durable.runs(status="running", attributes={"customer": "Ann"})]
        ['order-17']
        """
        wanted = query_of(self.namespace, status, workflow, version, lane, attributes, roots_only=roots_only)
        return list_runs(self, wanted, limit)

    def counts(self) -> dict[Status, int]:
        """How many runs stand in each status; 0 where there are none.

        It looks at every run that is stored: some seconds for a million.

        >>> durable = Durable("memory://")
        >>> started = durable.start(checkout, order)
        >>> durable.counts()[Status.RUNNING]
        1
        """
        return dict.fromkeys(Status, 0) | dict(self.reader.counts(self.namespace))
