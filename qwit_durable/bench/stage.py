"""What every scenario stands on: a store, perhaps a broker, a crew that works, and a way to time its work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qwit_durable.app import Durable
from qwit_durable.bench.bodies import inline_steps
from qwit_durable.bench.crew import Crew, Embedded, Workers, pause, wait_until
from qwit_durable.bench.neighbours import refuse_neighbours
from qwit_durable.bench.place import Place
from qwit_durable.bench.server import PostgresServer
from qwit_durable.bench.sizes import Sizes
from qwit_durable.client import Handle
from qwit_durable.clock import monotonic
from qwit_durable.core import OPEN
from qwit_durable.language.workflow import BoundWorkflow, WorkflowDefinition

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["Stage"]

_PATIENCE_SECONDS = 1_800.0
_POLL_SECONDS = 0.02
_TIDYING_SECONDS = 10.0
_MANY = 50


class Stage:
    """One namespace of one store, with a crew.

    Args:
        place: Where everything is.
        sizes: How much of everything.
        processes: Of the crew, where there is a broker.
        threads: Of each.

    Attributes:
        durable: Starts runs.
        postgres: The server below the store, where it is one.
    """

    def __init__(self, place: Place, sizes: Sizes, *, processes: int, threads: int) -> None:
        self.place = place
        self.sizes = sizes
        self.threads = threads
        self._processes = processes
        self.postgres: PostgresServer | None = None
        self.broker: Broker | None = None
        self.send_chain: Callable[[int], object] | None = None
        self.durable: Durable
        self._crew: Crew | None = None
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack) -> None:
        place = self.place
        if place.store.startswith("postgres"):
            self.postgres = stack.enter_context(PostgresServer(place.store))
        if place.broker:
            self.broker, self.durable, self.send_chain = place.connect()
            stack.callback(self.durable.close)
            stack.callback(self.broker.close)
            # What is wrong with the store is said here, not by workers.
            refuse_neighbours(self.durable, self.postgres, self.file)
            stack.callback(place.forget, self.broker)
            stack.callback(self._clear)
        else:
            self.durable = place.durable()
            stack.callback(self.durable.close)
            refuse_neighbours(self.durable, self.postgres, self.file)
            stack.callback(self._clear)
        stack.callback(self._dismiss)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def empty(self, durable: Durable) -> None:
        """Remove all runs of a namespace."""
        for run in durable.runs(status=tuple(OPEN)):
            if run.parent_id is None:
                durable.get(run.id).terminate("the benchmark has ended")
        durable.prune(timedelta(0), batch=1_000)

    def _clear(self) -> None:
        self.empty(self.durable)
        self.durable.close()

    def is_done(self) -> bool:
        """Whether no run is open."""
        return not any(True for _ in self.durable.runs(status=tuple(OPEN), limit=1))

    def settle(self) -> None:
        """Before a line is measured: nothing is left to do, and what was written is on its way to the disk."""
        self.wait_until(self.is_done)
        if self.postgres is not None:
            # Not for ever: on a server of others' it may never end.
            until = monotonic() + _TIDYING_SECONDS
            while self.postgres.is_tidying() and monotonic() < until:
                pause(_POLL_SECONDS)
            self.postgres.checkpoint()

    def wait_until(self, is_done: Callable[[], Any], *, poll_seconds: float = _POLL_SECONDS) -> None:
        """Look again and again. Raises `BenchFailed` when it takes too long, or the crew has ended."""
        wait_until(self.crew, is_done, patience_seconds=_PATIENCE_SECONDS, poll_seconds=poll_seconds)

    def seconds_of(self, workflow: WorkflowDefinition[[int], Any], runs: int, size: int) -> float:
        """Start so many runs of a workflow with this argument while nobody works; then how long they take."""
        return self.seconds_of_these([workflow.options()] * runs, size)

    def seconds_of_these(self, workflows: Sequence[BoundWorkflow[[int], Any]], size: int) -> float:
        """The same of workflows with options."""
        with self.crew.held():
            handles = self.start_all(workflows, size)
            began = self.durable.reader.now()
        return (self.end_of(handles) - began).total_seconds()

    def start_all(self, workflows: Sequence[BoundWorkflow[[int], Any]], size: int) -> list[Handle[Any]]:
        """Start them from several threads, so that they share commits."""

        def start(workflow: BoundWorkflow[[int], Any]) -> Handle[Any]:
            return self.durable.start(workflow, size)

        if len(workflows) < _MANY:
            return [start(workflow) for workflow in workflows]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(start, workflows))

    # -- the crew ----------------------------------------------------------------------------------------------

    @property
    def crew(self) -> Crew:
        """Works on runs; hired when it is first needed, and warm."""
        if self._crew is None:
            self._hire(self._processes, self.threads)
            self.warm_up()
        assert self._crew is not None
        return self._crew

    @contextmanager
    def crewed(self, processes: int, threads: int, *, place: Place | None = None) -> Generator[None]:
        """Have another crew work until the block ends, perhaps told otherwise where it is."""
        self._dismiss()
        self._hire(processes, threads, place)
        try:
            self.warm_up()
            yield
        finally:
            self._dismiss()

    def replace(self) -> float:
        """Kill the crew and have another do its work at once; when it was killed."""
        self._dismiss()
        killed_at = monotonic()
        self._hire(self._processes, self.threads)
        return killed_at

    def _hire(self, processes: int, threads: int, place: Place | None = None) -> None:
        if self.place.broker:
            self._crew = Workers(place or self.place, processes, threads)
        else:
            self._crew = Embedded(self.durable, threads)

    def _dismiss(self) -> None:
        if self._crew is not None:
            self._crew.close()
        self._crew = None

    def warm_up(self) -> float:
        """Let every process have imported, connected and prepared what it will use; roughly how many steps a second."""
        runs, steps = 4 * self.crew.processes * self.threads, min(self.sizes.steps, 20)
        return runs * steps / min(self.seconds_of(inline_steps, runs, steps) for _ in range(2))

    @property
    def file(self) -> Path | None:
        """The store's, if it is an SQLite file."""
        _, found, path = self.place.store.partition("sqlite:///")
        return Path(path) if found else None

    def written(self) -> tuple[int, int]:
        """Bytes of WAL and writing transactions until now, on a Postgres server."""
        if self.postgres is None:
            return 0, 0
        return self.postgres.wal_bytes(), self.postgres.commits()

    def kept_bytes(self) -> int:
        """How large the store is: its tables and indexes, or its file and the log beside it."""
        if self.postgres is not None:
            return self.postgres.kept_bytes()
        files = [self.file, self.file.with_name(f"{self.file.name}-wal")] if self.file is not None else []
        return sum(file.stat().st_size for file in files if file.exists())

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
