"""One benchmark from its beginning to its end: what `qwit bench` and `make bench` have in common."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence

import attrs

from qwit_durable.bench.ending import ended_by_signals
from qwit_durable.bench.measuring import conditions, measure
from qwit_durable.bench.place import Place
from qwit_durable.bench.plan import Scenario
from qwit_durable.bench.report import Report
from qwit_durable.bench.scenarios import chosen
from qwit_durable.bench.sizes import FULL, QUICK, USUAL
from qwit_durable.bench.stage import Stage
from qwit_durable.engine.ports import Settings
from qwit_durable.ids import new_uuid4

__all__ = ["Asked", "run"]

_ROUNDS, _QUICK_ROUNDS = 5, 1
_QUICK_LEASE_SECONDS = 3.0


@attrs.frozen(kw_only=True)
class Asked:
    """What is to be measured, and with what.

    Attributes:
        store: Its URL; empty for an SQLite file in a temporary folder.
        broker: Its URL; empty for threads of this process.
        only: Names of scenarios; none for all that can be measured.
        with_long: Also what takes minutes, where `only` is empty; with `quick` nothing does.
        rounds: How often; by default 5, or 1 if it is quick.
        quick: Tiny sizes, only to see that it works.
        full: The sizes that promises are about.
        processes: Of the workers.
        threads: Of each.
    """

    store: str = ""
    broker: str = ""
    only: Sequence[str] = ()
    with_long: bool = False
    rounds: int | None = None
    quick: bool = False
    full: bool = False
    processes: int = 2
    threads: int = 8


def run(
    asked: Asked,
    tell: Callable[[str], None],
    *,
    announce: Callable[[Place, Sequence[Scenario]], None] = lambda _place, _scenarios: None,
    extend: Callable[[Scenario, Stage], Scenario] = lambda scenario, _stage: scenario,
) -> Report:
    """Measure.

    Args:
        asked: What.
        tell: Told what is under way.
        announce: Told where things will be written, before anything is, and once all servers have been reached.
        extend: Adds lines to a scenario.

    Raises:
        BenchFailed: There is no such scenario, or it can't be measured here.
        StoreUnavailable: The store can't be reached.
        SchemaMismatch: It is not migrated.
    """
    with (
        ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="qwit-bench-", ignore_cleanup_errors=True) as folder,
    ):
        place = Place(
            store=asked.store or f"sqlite:///{folder}/qwit.db",
            broker=asked.broker,
            namespace=f"qwit-bench-{new_uuid4().hex[:12]}",
            folder=folder,
            lease_seconds=_QUICK_LEASE_SECONDS if asked.quick else Settings().lease.total_seconds(),
        )
        scenarios, skipped = chosen(asked.only, place.has, with_long=asked.with_long or asked.quick)
        rounds = asked.rounds or (_QUICK_ROUNDS if asked.quick else _ROUNDS)
        sizes = QUICK if asked.quick else FULL if asked.full else USUAL
        with Stage(place, sizes, processes=asked.processes, threads=asked.threads) as stage:
            announce(place, scenarios)
            return Report(
                conditions={**conditions(stage), "load": f"{os.getloadavg()[0]:.1f}"},
                rounds=rounds,
                measured=[measure(extend(one, stage), stage, rounds, tell) for one in scenarios],
                skipped=skipped,
            )
