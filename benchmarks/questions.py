"""What our scenarios ask of a peer, and which of our figures the answers stand beside.

A peer gets as much work as it does in a few seconds, however slow it is; what can't be made smaller and would take too
long is left out, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import attrs

from benchmarks.peers import Peer, System
from qwit_durable.bench import figures
from qwit_durable.bench.crew import pause
from qwit_durable.bench.plan import Line, Unmeasured
from qwit_durable.bench.processes import cpu_seconds_of
from qwit_durable.bench.resting import largest
from qwit_durable.bench.sizes import Sizes
from qwit_durable.bench.stage import Stage

__all__ = ["QUESTIONS", "Question", "Turn", "work_for"]

_WARM_RUNS, _WARM_STEPS = 16, 5
_LONE_STEPS = 10
#: So often it is guessed how much work takes some seconds, as long as the guesses are so far apart.
_GUESSES, _FAR_OFF = 3, 3
_SAMPLE = 40


class Opened(Protocol):
    """Opens a peer, by default as large as our crew, or as it was left."""

    def __call__(
        self, processes: int | None = None, threads: int | None = None, *, at_rest: bool = False
    ) -> AbstractContextManager[Peer]: ...


@attrs.frozen
class Turn:
    """One peer beside one of our scenarios."""

    system: System
    stage: Stage
    opened: Opened

    @property
    def sizes(self) -> Sizes:
        return self.stage.sizes

    @property
    def crew(self) -> int:
        """How many threads work."""
        return self.stage.crew.processes * self.stage.threads

    def its(self, figure: str) -> str:
        """The peer's counterpart to one of our figures; not all of them are durable."""
        return f"{self.system.name}: {figure.removeprefix('durable ')}"

    def line(self, named: Sequence[str], measure: Callable[[], Mapping[str, float]], about: str = "") -> Line:
        """One that gives the peer's counterparts to these figures of ours, and what else it finds."""

        def measured() -> dict[str, float]:
            return {self.its(figure): value for figure, value in measure().items()}

        return Line(self.system.name + about, measured, tuple(self.its(figure) for figure in named))

    def enough(self, wanted: int, seconds_each: float) -> int:
        """As many of these as are done in some seconds, and no more than are wanted."""
        return max(min(wanted, int(self.sizes.seconds / max(seconds_each, 1e-6))), 1)


@attrs.frozen
class Question:
    """What a scenario asks.

    Attributes:
        figures: Those of ours that have a counterpart.
        lines: What is measured.
    """

    figures: Callable[[Stage], Sequence[str]]
    lines: Callable[[Turn], Iterable[Line]]


def work_for(sizes: Sizes, rate: float, *, at_once: int) -> tuple[int, int]:
    """Runs, and steps of each, for a peer that makes so many steps a second: a few seconds of work, however slow it is.

    There are as many runs as it works on at once, if need be shorter ones.
    """
    wanted = int(rate * sizes.seconds)
    at_least = min(at_once, sizes.runs)
    runs = max(min(wanted // sizes.steps, sizes.runs), at_least)
    return runs, min(max(wanted // runs, min(_WARM_STEPS, sizes.steps)), sizes.steps)


# -- steps -----------------------------------------------------------------------------------------------------------


def _steps(turn: Turn, figure: str) -> Iterator[Line]:
    stage, label = turn.stage, figures.label(figure)

    def reach(processes: int) -> tuple[float, dict[str, float]]:
        """Steps a second, and what a step costs besides."""
        with turn.opened(processes) as peer, peer.awake():
            runs, count = _work(turn, peer, at_once=2 * processes * stage.threads)
            pids, steps = peer.pids, runs * count
            own, server, written = cpu_seconds_of(pids), stage.server_cpu_seconds(), stage.written()
            [seconds] = peer.ask("steps", runs, count)
            found = {f"{label}, CPU µs each": (cpu_seconds_of(pids) - own) / steps * 1e6}
            if peer.database is not None:
                found[f"{label}, CPU µs each in the server"] = (
                    (stage.server_cpu_seconds() - server) / steps * 1e6
                )
                wal, commits = (now - then for now, then in zip(stage.written(), written, strict=True))
                found |= {f"{label}, bytes of WAL": wal / steps, f"{label}, commits": commits / steps}
        return steps / seconds, found

    def measure() -> dict[str, float]:
        """The best number of processes counts, up to that of our crew."""
        found = {processes: reach(processes) for processes in sorted({1, stage.crew.processes})}
        each = {f"{label} in {processes}, /s": rate for processes, (rate, _) in found.items()}
        best, besides = max(found.values(), key=lambda one: one[0])
        return {figure: best} | besides | each

    yield turn.line([figure], measure)


def _work(turn: Turn, peer: Peer, *, at_once: int) -> tuple[int, int]:
    """Work for some seconds, by how fast it is once it is warm: some are slow with little to do, and at first."""
    runs, count = _WARM_RUNS, _WARM_STEPS
    for _ in range(_GUESSES):
        [seconds] = peer.ask("steps", runs, count)
        before = runs * count
        runs, count = work_for(turn.sizes, before / seconds, at_once=at_once)
        if runs * count < _FAR_OFF * before:
            break
    return runs, count


def _lone(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        steps = turn.sizes.lone_steps
        with turn.opened(1) as peer:
            few = min(steps, _LONE_STEPS)
            steps = max(turn.enough(steps, peer.ask("lone", few)[0] / few), few)
            return {figures.LONE: peer.ask("lone", steps)[0] / steps * 1000}

    yield turn.line([figures.LONE], measure)


def _growing(turn: Turn, verb: str, sizes: Sequence[int], named: Callable[[int], str]) -> Iterator[Line]:
    """Larger and larger ones, as long as they can be expected not to take too long."""
    each: dict[int, float] = {}
    left_out: set[int] = set()

    def measure(size: int) -> dict[str, float]:
        # By what the largest before it took, if one of this size has not been measured.
        known = each.get(size) or max(((n, cost) for n, cost in each.items() if n < size), default=(0, 0))[1]
        if size in left_out or known * size > turn.sizes.patience_seconds:
            left_out.add(size)
            raise Unmeasured(f"takes over {turn.sizes.patience_seconds:g} s")
        with turn.opened(1 if verb == "lone" else None) as peer:
            times = max(min(100 // size, 5), 1)
            each[size] = sum(peer.ask(verb, size)[0] for _ in range(times)) / times / size
        return {named(size): each[size] * 1000}

    for size in sizes:
        yield turn.line([named(size)], partial(measure, size), f", {size:,}")


def _shapes(stage: Stage) -> list[tuple[int, int]]:
    sizes = stage.sizes
    return [(p, t) for p in (sizes.processes if stage.broker is not None else (1,)) for t in sizes.threads]


def _threads(turn: Turn) -> Iterator[Line]:
    steps = turn.sizes.short_steps

    def measure(processes: int, threads: int) -> dict[str, float]:
        with turn.opened(processes, threads) as peer, peer.awake():
            runs = 2 * processes * threads
            for _ in range(_GUESSES):
                before = runs
                runs = max(turn.enough(1_000_000, 2 * peer.ask("steps", runs, steps)[0] / runs), runs)
                if runs < _FAR_OFF * before:
                    break
            rate = runs * steps / peer.ask("steps", runs, steps)[0]
            return {figures.on_threads(processes, threads): rate}

    for shape in _shapes(turn.stage):
        yield turn.line([figures.on_threads(*shape)], partial(measure, *shape), " on {} x {}".format(*shape))


# -- from outside, and at rest ---------------------------------------------------------------------------------------


def _starts(turn: Turn) -> Iterator[Line]:
    def rate(peer: Peer, threads: int) -> float:
        [sample] = peer.ask("starts", _SAMPLE, threads)
        count = turn.enough(turn.sizes.starts, sample / _SAMPLE)
        return count / peer.ask("starts", count, threads)[0]

    def measure() -> dict[str, float]:
        with turn.opened() as peer:
            return {
                figures.STARTS_ALONE: rate(peer, 1),
                figures.STARTS_TOGETHER: rate(peer, turn.stage.threads),
            }

    yield turn.line([figures.STARTS_ALONE, figures.STARTS_TOGETHER], measure)


def _latency(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        with turn.opened() as peer:
            found = peer.ask("latency", turn.sizes.latencies // 2)
        return dict(zip((figures.P50, figures.P99, figures.P50_HERE, figures.P99_HERE), found, strict=False))

    yield turn.line([figures.P50, figures.P99], measure)


def _signals(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        runs = turn.sizes.chains
        with turn.opened() as peer:
            few = min(3, turn.sizes.signals)
            each = turn.enough(turn.sizes.signals, peer.ask("signals", runs, few)[0] / few)
            return {figures.SIGNALS: runs * each / peer.ask("signals", runs, each)[0]}

    yield turn.line([figures.SIGNALS], measure)


def _lanes(turn: Turn) -> Iterator[Line]:
    """From the first that is started, unlike ours, which are prepared while nobody works."""
    many = turn.sizes.lane[-1]

    def measure(shape: str) -> dict[str, float]:
        is_one = int(shape == figures.ONE_LANE)
        with turn.opened() as peer:
            few = min(_SAMPLE, many)
            runs = turn.enough(many, peer.ask("lanes", few, is_one)[0] / few)
            return {figures.in_lane(shape, many): peer.ask("lanes", runs, is_one)[0] / runs * 1000}

    for shape in (figures.OWN_LANES, figures.ONE_LANE):
        yield turn.line([figures.in_lane(shape, many)], partial(measure, shape), f", {shape}")


def _sleepers(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        seconds = max(int(turn.sizes.seconds / 2), 1)
        with turn.opened() as peer:
            rate, count = peer.ask("sleepers", turn.sizes.sleepers, seconds)
        return {figures.WAKING: rate, "so many were asleep, runs": count}

    yield turn.line([figures.WAKING], measure)


def _idle(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        seconds, postgres = turn.sizes.watched_seconds / 2, turn.stage.postgres
        with turn.opened(at_rest=bool(turn.system.at_rest)) as peer, peer.awake():
            pause(seconds / 2)
            pids = peer.pids
            own, asked = cpu_seconds_of(pids), postgres.queries(peer.database) if postgres else 0
            pause(seconds)
            found = {
                figures.IDLE_CPU: (cpu_seconds_of(pids) - own) / seconds * 100,
                figures.MEMORY: largest(pids),
            }
            if postgres is not None and peer.database is not None:
                found[f"idle, {postgres.queries_unit}"] = (postgres.queries(peer.database) - asked) / seconds
        return found

    yield turn.line([figures.IDLE_CPU, figures.MEMORY], measure)


def _recovery(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        with turn.opened() as peer:
            [sample] = peer.ask("steps", turn.crew, _WARM_STEPS)
            steps = max(turn.enough(5 * turn.sizes.steps, sample / _WARM_STEPS), _WARM_STEPS)
            return dict(
                zip(
                    (figures.ONCE_MORE, figures.ENDED_AGAIN),
                    peer.ask("recovery", turn.crew, steps),
                    strict=True,
                )
            )

    yield turn.line([figures.ONCE_MORE, figures.ENDED_AGAIN], measure)


def _replay(turn: Turn) -> Iterator[Line]:
    def measure() -> dict[str, float]:
        with turn.opened(1) as peer:
            few = min(turn.sizes.replayed, _LONE_STEPS)
            steps = max(turn.enough(turn.sizes.replayed, 2 * peer.ask("lone", few)[0] / few), few)
            return {figures.REPLAYED: peer.ask("replay", steps)[0] * 1e6}

    yield turn.line([figures.REPLAYED], measure)


def _alike(*named: str) -> Callable[[Stage], Sequence[str]]:
    return lambda _: named


#: By the names of our scenarios.
QUESTIONS: Mapping[str, Question] = {
    "inline": Question(_alike(figures.STEPS), partial(_steps, figure=figures.STEPS)),
    "lone": Question(_alike(figures.LONE), _lone),
    "queued": Question(_alike(figures.QUEUED), partial(_steps, figure=figures.QUEUED)),
    "starts": Question(_alike(figures.STARTS_ALONE, figures.STARTS_TOGETHER), _starts),
    "latency": Question(_alike(figures.P50, figures.P99), _latency),
    "signals": Question(_alike(figures.SIGNALS), _signals),
    "lanes": Question(
        lambda stage: [
            figures.in_lane(shape, stage.sizes.lane[-1]) for shape in (figures.OWN_LANES, figures.ONE_LANE)
        ],
        _lanes,
    ),
    "replay": Question(_alike(figures.REPLAYED), _replay),
    "idle": Question(_alike(figures.IDLE_CPU, figures.MEMORY), _idle),
    "recovery": Question(_alike(figures.ONCE_MORE, figures.ENDED_AGAIN), _recovery),
    "sleepers": Question(_alike(figures.WAKING), _sleepers),
    "lengths": Question(
        lambda stage: [figures.step_of(n) for n in stage.sizes.lengths],
        lambda turn: _growing(turn, "lone", turn.sizes.lengths, figures.step_of),
    ),
    "fan-out": Question(
        lambda stage: [figures.member(n) for n in stage.sizes.members],
        lambda turn: _growing(turn, "fan_out", turn.sizes.members, figures.member),
    ),
    "threads": Question(lambda stage: [figures.on_threads(*shape) for shape in _shapes(stage)], _threads),
}
