"""What a run in a lane costs, start to end: with few and with very many lanes, and before few and very many that wait.

Writes alone, one after the other, on a small and on a large store of each kind, in alternating rounds. See
`benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from qwit_durable.clock import SystemClock  # noqa: E402 - after the path is set
from qwit_durable.core import Status  # noqa: E402
from qwit_durable.ids import new_run_id  # noqa: E402
from qwit_durable.stores import open_store  # noqa: E402
from qwit_durable.stores.answers import Acquired, Committed  # noqa: E402
from qwit_durable.stores.protocol import Store  # noqa: E402
from qwit_durable.stores.rows import OutcomeRow, RunRow  # noqa: E402
from qwit_durable.stores.writes import Acquire, Commit, Start  # noqa: E402
from tests.servers import PostgresServer, run  # noqa: E402

_BATCH = 500
_LANE = "the long one"


class Lanes:
    """A store with so many lanes of one run each, and one lane with so many that wait."""

    def __init__(self, store: Store, lanes: int, waiting: int) -> None:
        self._store = store
        self._clock = SystemClock()
        self._numbers = count()
        starts = [self._start(f"lane {number}") for number in range(lanes)]
        starts += [self._start(_LANE) for _ in range(waiting + 1)]
        for first in range(0, len(starts), _BATCH):
            store.apply(starts[first : first + _BATCH])

    def _start(self, lane: str | None) -> Start:
        run_id = new_run_id(self._clock.now())
        row = RunRow(
            id=run_id,
            namespace="benchmark",
            key=str(run_id),
            workflow="visit",
            version=None,
            queue="default",
            root_id=run_id,
            args=b"[1]",
            created_at=self._clock.now(),
            lane=lane,
        )
        return Start(run=row)

    def _finish(self, run_id: object) -> None:
        acquired = self._store.apply([Acquire(run_id=run_id, worker=1)])[0]  # type: ignore[arg-type]
        assert isinstance(acquired, Acquired), acquired
        outcome = OutcomeRow(run_id=acquired.run.id, status=Status.COMPLETED, ended_at=acquired.now)
        end = Commit(run_id=acquired.run.id, worker=1, epoch=acquired.live.epoch, head=0, outcome=outcome)
        assert isinstance(self._store.apply([end])[0], Committed)

    def without(self) -> None:
        """One run in no lane."""
        self._in(None)

    def alone(self) -> None:
        """One run in a lane of its own."""
        self._in(f"new {next(self._numbers)}")

    def _in(self, lane: str | None) -> None:
        start = self._start(lane)
        self._store.apply([start])
        self._finish(start.run.id)

    def in_line(self) -> None:
        """One run at the end of the long lane, and the end of its head."""
        self._store.apply([self._start(_LANE)])
        lane = self._store.lane("benchmark", _LANE)
        assert lane is not None
        self._finish(lane.head)


def timed(one: Callable[[], None], times: int) -> float:
    """Milliseconds for one, the median."""
    found: list[float] = []
    for _ in range(times):
        began = perf_counter()
        one()
        found.append((perf_counter() - began) * 1000)
    return statistics.median(found)


@contextmanager
def stores() -> Iterator[dict[str, tuple[Store, Store]]]:
    """Two of each kind, empty."""
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(fsync=True))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="qwit-bench-"))
        urls = {
            "SQLite": [f"sqlite:///{folder}/{size}.db" for size in ("small", "large")],
            "Postgres": [server.create_database() for _ in range(2)],
        }
        opened: dict[str, tuple[Store, Store]] = {}
        for name, (small, large) in urls.items():
            pair = open_store(small), open_store(large)
            for store in pair:
                store.migrate()
                store.open()
                stack.callback(store.close)
            opened[name] = pair
        yield opened
    run.close_run_directory()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    options = parser.parse_args(arguments)
    few, lanes, waiting = (2, 20, 10) if options.quick else (100, 100_000, 10_000)
    rounds, times = (1, 3) if options.quick else (10, 50)
    print(f"ms for one run, start to end, median of {rounds} rounds of {times}")
    print(f"{'':12}{'':32}{'few':>8}{'many':>8}{'ratio':>8}")
    with stores() as found:
        for name, (small, large) in found.items():
            one, many = Lanes(small, few, few), Lanes(large, lanes, waiting)
            shapes = {
                "in no lane": (one.without, many.without),
                f"its own lane, of {few:,} and {lanes:,}": (one.alone, many.alone),
                f"a lane with {few:,} and {waiting:,} waiting": (one.in_line, many.in_line),
            }
            for shape, pair in shapes.items():
                figures = [[timed(each, times) for each in pair] for _ in range(rounds)]
                low, high = (statistics.median(column) for column in zip(*figures, strict=True))
                print(f"{name:12}{shape:40}{low:>8.2f}{high:>8.2f}{high / low:>8.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
