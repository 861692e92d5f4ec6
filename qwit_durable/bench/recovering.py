"""Scenarios of doing it again: after a kill of all workers, and the replay of a history."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from qwit_durable.bench import figures
from qwit_durable.bench.bodies import REGISTRY, inline_steps, queued_steps
from qwit_durable.bench.plan import BROKER, BenchFailed, Line, Plan, Ratio, Scenario
from qwit_durable.bench.stage import Stage
from qwit_durable.client import Handle
from qwit_durable.clock import monotonic
from qwit_durable.core import Event, Interpreter, Resolved, Value
from qwit_durable.engine.ports import Settings
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.stores.rows import RunView

__all__ = ["RECOVERY", "REPLAY"]

_LOOP = "event of a hand-written loop, µs"
_WARM, _COLD = "queued step with its run in the cache, ms", "queued step without the cache, ms"


@contextmanager
def _recovery(stage: Stage) -> Generator[Plan]:
    runs, steps = stage.crew.processes * stage.threads, 5 * stage.sizes.steps

    def heads(handles: Sequence[Handle[Any]]) -> int:
        """How much is recorded of all."""
        views = [stage.durable.reader.find(stage.place.namespace, handle.id) for handle in handles]
        return sum(_head(view) for view in views if view is not None)

    def killed(length: int) -> tuple[Sequence[Handle[Any]], float, int]:
        """Runs that were under way when all workers were killed, when that was, and how much was recorded by then."""
        handles = [stage.durable.start(inline_steps, length) for _ in range(runs)]
        stage.wait_until(lambda: heads(handles) > runs)
        killed_at = stage.replace()
        before = heads(handles)
        # They may have been over already.
        return killed(length * 4) if before == runs * length else (handles, killed_at, before)

    def recover() -> dict[str, float]:
        """The new workers start at once; what they need to boot is in it."""
        handles, killed_at, before = killed(steps)
        stage.wait_until(lambda: heads(handles) > before)
        first = monotonic() - killed_at
        stage.end_of(handles)
        return {
            figures.ONCE_MORE: first,
            figures.ENDED_AGAIN: monotonic() - killed_at,
        }

    yield Plan([Line("kill -9 of all workers", recover)])


def _head(view: RunView) -> int:
    if view.live is not None:
        return view.live.head
    return 0 if view.outcome is None else view.outcome.head


@contextmanager
def _replay(stage: Stage) -> Generator[Plan]:
    count = stage.sizes.replayed
    handle = stage.durable.start(inline_steps, count)
    stage.end_of([handle])
    view = stage.durable.reader.find(stage.place.namespace, handle.id)
    if view is None:
        raise BenchFailed(f"run {handle.id} is gone")
    events = [found.event for found in stage.durable.reader.history(view.run.id)]
    programs = Programs(REGISTRY, Settings().limit_bytes)

    def replay() -> dict[str, float]:
        interpreter = programs.interpreter(view.run, 0)
        return {figures.REPLAYED: _seconds(lambda: _feed(interpreter, events)) / len(events) * 1e6}

    def loop() -> dict[str, float]:
        return {_LOOP: _seconds(lambda: _by_hand(count, events)) / len(events) * 1e6}

    def queued(*, is_cached: bool) -> dict[str, float]:
        """Each step is a turn of its own, so without the cache each turn replays what was before."""
        steps = min(count // 4, 500)
        part, cached = ("cached", Settings().cached_runs) if is_cached else ("uncached", 0)
        with stage.place.durable(part, cached_runs=cached).embedded(threads=stage.threads) as durable:
            try:
                began = monotonic()
                durable.start(queued_steps, steps).result(timeout=600)
                return {_WARM if is_cached else _COLD: (monotonic() - began) / steps * 1000}
            finally:
                stage.empty(durable)

    yield Plan(
        [
            Line("replay", replay),
            Line("a hand-written loop", loop),
            Line("queued steps with the cache", lambda: queued(is_cached=True)),
            Line("queued steps without the cache", lambda: queued(is_cached=False)),
        ],
        [
            Ratio("replay / hand-written loop", figures.REPLAYED, _LOOP, at_most=3.0),
            Ratio("without the cache / with it", _COLD, _WARM),
        ],
    )


def _seconds(work: Callable[[], object]) -> float:
    began = monotonic()
    work()
    return monotonic() - began


def _feed(interpreter: Interpreter, events: Sequence[Event]) -> None:
    interpreter.feed(events)
    interpreter.close()


def _by_hand(count: int, events: Sequence[Event]) -> None:
    """What anybody would write who replays a generator over a history: compare what it asks for, give it its value."""

    def body() -> Generator[tuple[str, dict[str, int]], int, int]:
        x = 0
        for _ in range(count):
            x = yield "qwit-bench.add", {"x": x}
        return x

    generator = body()
    asked = next(generator)
    for number, event in enumerate(events):
        assert isinstance(event, Resolved)
        assert isinstance(event.outcome, Value)
        name, args = asked
        assert event.position == str(number)
        assert event.name == name
        assert json.dumps(args, separators=(",", ":"), sort_keys=True).encode() == event.args
        try:
            asked = generator.send(json.loads(event.outcome.data))
        except StopIteration:
            return


RECOVERY = Scenario(
    "recovery", "how soon work goes on after all workers were killed", _recovery, frozenset({BROKER})
)
REPLAY = Scenario("replay", "what a recorded event costs when it is replayed, beside a loop by hand", _replay)
