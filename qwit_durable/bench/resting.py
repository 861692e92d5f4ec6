"""Scenarios of those who have nothing to do: an idle crew, a hundred thousand runs asleep, and all awake at once."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

from qwit_durable.bench import figures
from qwit_durable.bench.bodies import EPOCH, asleep_until
from qwit_durable.bench.crew import Workers, pause
from qwit_durable.bench.plan import Line, Plan, Ratio, Scenario, Unmeasured
from qwit_durable.bench.processes import cpu_seconds_of, resident_bytes
from qwit_durable.bench.stage import Stage
from qwit_durable.broker.opening import falls_silent
from qwit_durable.client import Handle
from qwit_durable.client.explaining import WaitKind

__all__ = ["IDLE", "SLEEPERS"]

_PLAIN_MEMORY = "memory of a plain Dramatiq process, MiB"
_MIB = 1024 * 1024
#: How long they sleep: so many times as long as they take to fall asleep by what a part of them took, and so many times
#: as long as they are watched, and a little more.
_SPARE, _WATCHES, _PAUSE_SECONDS = 1.5, 6, 5
#: So many are looked at to see whether all are asleep, from one end of them to the other: they do not begin in order.
_LOOKED_AT = 1_000


def _over(what: str) -> str:
    return f"{what}, CPU over plain Dramatiq, % of a core"


def _cpu(what: str) -> str:
    return f"{what}, CPU, % of a core"


def _watch(stage: Stage, plain: Workers | None, what: str) -> dict[str, float]:
    """What the crew uses while it has nothing to do, beside plain Dramatiq workers at the same time."""
    seconds = stage.sizes.watched_seconds
    # Sessions of a Postgres server tell their statistics up to ten seconds late.
    pause(seconds * 1.1)
    own, others = stage.crew.pids, [] if plain is None else plain.pids
    had, theirs = cpu_seconds_of(own), cpu_seconds_of(others)
    queries = stage.postgres.queries() if stage.postgres is not None else 0
    pause(seconds)
    used = (cpu_seconds_of(own) - had) / seconds * 100
    found = {_cpu(what): used}
    if plain is not None:
        found[_over(what)] = used - (cpu_seconds_of(others) - theirs) / seconds * 100
    if stage.postgres is not None:
        # One of them was ours.
        asked = max(stage.postgres.queries() - queries - 1, 0)
        found[f"{what}, {stage.postgres.queries_unit}"] = asked / seconds
    return found


@contextmanager
def _plain(stage: Stage) -> Generator[Workers | None]:
    """As many plain Dramatiq workers, where there is a broker."""
    with ExitStack() as stack:
        plain = None
        if stage.broker is not None:
            plain = Workers(stage.place, stage.crew.processes, stage.threads, module="plain_worker")
            stack.callback(plain.close)
        yield plain


def _aims(stage: Stage, what: str) -> list[Ratio]:
    aims = [Ratio(_over(what), _over(what), at_most=1.0)]
    if stage.postgres is not None:
        name = f"{what}, {stage.postgres.queries_unit}"
        aims.append(Ratio(name, name, at_most=2.0 + 0.5 * (stage.crew.processes - 1)))
    return aims


@contextmanager
def _idle(stage: Stage) -> Generator[Plan]:
    with _plain(stage) as plain:
        # What processes do when they begin is no part of it.
        pause(stage.sizes.watched_seconds / 2)

        def idle() -> dict[str, float]:
            found = _watch(stage, plain, "idle")
            found[figures.MEMORY] = largest(stage.crew.pids)
            if plain is not None:
                found[_PLAIN_MEMORY] = largest(plain.pids)
            return found

        yield Plan([Line("an idle crew", idle)], _aims(stage, "idle"))


def largest(pids: list[int]) -> float:
    return max((resident_bytes(pid) for pid in pids), default=0) / _MIB


@contextmanager
def _sleepers(stage: Stage) -> Generator[Plan]:
    count = stage.sizes.sleepers
    what = f"{count:,} asleep"
    sample = max(count // 10, 2)
    with _plain(stage) as plain:

        def asleep() -> dict[str, float]:
            watched = stage.sizes.watched_seconds
            rate = sample / _put_to_sleep(stage, sample, timedelta(seconds=watched))[1]
            stage.settle()
            spare = timedelta(seconds=_SPARE * count / rate + _WATCHES * watched + _PAUSE_SECONDS)
            due, _ = _put_to_sleep(stage, count, spare)
            found = _watch(stage, plain, what)
            if stage.durable.reader.now() >= due:
                raise Unmeasured("due before all slept")
            stage.wait_until(stage.is_done, poll_seconds=0.1)
            return found | {figures.WAKING: count / (stage.durable.reader.now() - due).total_seconds()}

        yield Plan(
            [Line(what, asleep, (_cpu(what), figures.WAKING))],
            [*_aims(stage, what), Ratio(figures.WAKING, figures.WAKING, at_least=2_000)],
        )


def _put_to_sleep(stage: Stage, count: int, spare: timedelta) -> tuple[datetime, float]:
    """Start so many that are all due at once; when that is, and how many seconds it took until they slept."""
    began = stage.durable.reader.now()
    due = began + spare
    milliseconds = round((due - EPOCH) / timedelta(milliseconds=1))
    handles = stage.durable.start_many([asleep_until.to_start(milliseconds)] * count)
    waiting, postgres = handles[:: max(count // _LOOKED_AT, 1)], stage.postgres

    def all_sleep() -> bool:
        if postgres is not None:
            return postgres.timers() >= count
        while waiting and _sleeps(waiting[-1]):
            waiting.pop()
        return not waiting

    stage.wait_until(all_sleep)
    if stage.broker is not None:
        # Who waited long for a turn was rung for again: such bells ring in vain, and not for ever. What killed workers
        # had in hand may stay in the broker.
        falls_silent(stage.broker, asleep_until.queue, timedelta(seconds=stage.sizes.watched_seconds * 3))
    return due, (stage.durable.reader.now() - began).total_seconds()


def _sleeps(handle: Handle[None]) -> bool:
    found = handle.explain()
    return found.status.is_ended or any(wait.kind is WaitKind.TIMER for wait in found.waits)


IDLE = Scenario("idle", "what workers that have nothing to do cost, beside idle plain ones", _idle)
SLEEPERS = Scenario(
    "sleepers", "what runs that are asleep cost, and how fast they wake", _sleepers, is_long=True
)
