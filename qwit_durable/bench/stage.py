"""What every scenario stands on: a store, perhaps a broker, a crew that works, and a way to time its work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qwit_durable.app import Durable
from qwit_durable.bench.crew import Crew, Embedded, Workers, wait_until
from qwit_durable.bench.place import Place
from qwit_durable.bench.server import PostgresServer
from qwit_durable.bench.sizes import Sizes
from qwit_durable.client import Handle
from qwit_durable.clock import monotonic
from qwit_durable.core import OPEN
from qwit_durable.language.workflow import WorkflowDefinition

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["Stage"]

_PATIENCE_SECONDS = 1_800.0
_POLL_SECONDS = 0.02


class Stage:
    """One namespace of one store, with a crew.

    Args:
        place: Where everything is.
        sizes: How much of everything.
        processes: Of the crew, where there is a broker.
        threads: Of each.

    Attributes:
        durable: Starts runs.
        crew: Works on them.
        postgres: The server below the store, where it is one.
    """

    def __init__(self, place: Place, sizes: Sizes, *, processes: int, threads: int) -> None:
        self.place = place
        self.sizes = sizes
        self.threads = threads
        self.postgres: PostgresServer | None = None
        self.broker: Broker | None = None
        self.send_chain: Callable[[int], object] | None = None
        self.durable: Durable
        self.crew: Crew
        with ExitStack() as stack:
            self._open(stack, processes)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack, processes: int) -> None:
        place = self.place
        if place.store.startswith("postgres"):
            self.postgres = stack.enter_context(PostgresServer(place.store))
        if place.broker:
            self.broker, self.durable, self.send_chain = place.connect()
            stack.callback(self.durable.close)
            stack.callback(self.broker.close)
            _ = self.durable.store  # what is wrong with the store is said here, not by workers
            stack.callback(place.forget, self.broker)
            stack.callback(self._clear)
            self.crew = Workers(place, processes, self.threads)
        else:
            self.durable = place.durable()
            self.crew = Embedded(self.durable, self.threads)
            stack.callback(self._clear)
        stack.callback(self.crew.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _clear(self) -> None:
        """Remove all runs of the namespace."""
        for run in self.durable.runs(status=tuple(OPEN)):
            if run.parent_id is None:
                self.durable.get(run.id).terminate("the benchmark has ended")
        self.durable.prune(timedelta(0), batch=1_000)
        self.durable.close()

    def settle(self) -> None:
        """Before a line is measured: nothing is left to do, and what was written is on its way to the disk."""
        self.wait_until(lambda: not any(self.durable.counts().get(status, 0) for status in OPEN))
        if self.postgres is not None:
            self.postgres.checkpoint()

    def wait_until(self, is_done: Callable[[], Any], *, poll_seconds: float = _POLL_SECONDS) -> None:
        """Look again and again. Raises `BenchFailed` when it takes too long, or the crew has ended."""
        wait_until(self.crew, is_done, patience_seconds=_PATIENCE_SECONDS, poll_seconds=poll_seconds)

    def seconds_of(self, workflow: WorkflowDefinition[[int], Any], runs: int, size: int) -> float:
        """Start so many runs of a workflow with this argument while nobody works; then how long they take."""
        with self.crew.held():
            handles = [self.durable.start(workflow, size) for _ in range(runs)]
            began = self.durable.reader.now()
        return (self.end_of(handles) - began).total_seconds()

    def server_cpu_seconds(self) -> float:
        """CPU time of a Postgres server on this machine."""
        return 0.0 if self.postgres is None else self.postgres.cpu_seconds()

    def end_of(self, handles: Sequence[Handle[Any]]) -> datetime:
        """Wait for these to end; when the last one did."""
        waiting, last = list(handles), datetime.min.replace(tzinfo=self.durable.clock.now().tzinfo)

        def are_done() -> bool:
            nonlocal last
            # The last one first: while it is open, nobody else is asked.
            while waiting and (ended := waiting[-1].run().ended_at) is not None:
                last = max(last, ended)
                waiting.pop()
            return not waiting

        self.wait_until(are_done)
        return last

    def seconds_of_chains(self, chains: int, links: int) -> float:
        """Plain Dramatiq chains, of which nothing is durable; where there is a broker."""
        assert self.send_chain is not None
        self.place.clear_ends()
        with self.crew.held():
            for _ in range(chains):
                self.send_chain(links)
            began = monotonic()
        self.wait_until(lambda: len(self.place.ends()) >= chains)
        return max(self.place.ends()) - began
