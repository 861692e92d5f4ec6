"""Scenarios of what may not grow: a step's cost with the length of its run, a member's with its fan-out, a lane's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from qwit_durable.bench import figures
from qwit_durable.bench.bodies import fan_out, inline_steps
from qwit_durable.bench.plan import Curve, Line, Plan, Ratio, Scenario
from qwit_durable.bench.processes import resident_bytes
from qwit_durable.bench.stage import Stage

__all__ = ["FAN_OUT", "LANES", "LENGTHS", "THREADS"]

_MEMORY = "memory a member, KiB"
#: Steps of short runs together, so that a length of ten is more than an instant.
_STEPS_AT_LEAST = 1_000
_SMALL, _MEASURABLE = 100, 10_000
_NO_LANE, _TENS = "no lane", "lanes of 10"


@contextmanager
def _lengths(stage: Stage) -> Generator[Plan]:
    lengths = stage.sizes.lengths
    stage.seconds_of(inline_steps, 1, lengths[0])
    names = {length: figures.step_of(length) for length in lengths}

    def alone(length: int) -> dict[str, float]:
        """One after the other; what it takes until the first step begins is left out."""
        times = max(min(_STEPS_AT_LEAST // length, 20), 1)
        found = [_between_events(stage, length) for _ in range(times)]
        return {names[length]: sum(found) / len(found) * 1000}

    longest, middle = lengths[-1], lengths[min(1, len(lengths) - 1)]
    yield Plan(
        [Line(f"a run of {length:,} steps", _bound(alone, length)) for length in lengths],
        [Ratio(f"step of a run of {longest:,} / {middle:,}", names[longest], names[middle], at_most=1.2)],
        [Curve("a step of a run, ms", "steps of the run", tuple((n, names[n]) for n in lengths))],
    )


def _between_events(stage: Stage, length: int) -> float:
    """Seconds for a step of a lone run: from its first record to its end."""
    handle = stage.durable.start(inline_steps, length)
    ended = stage.end_of([handle])
    view = stage.durable.reader.find(stage.place.namespace, handle.id)
    assert view is not None
    first = next(iter(stage.durable.reader.history(view.run.id)))
    return (ended - first.at).total_seconds() / length


def _bound(measure: Callable[[int], dict[str, float]], size: int) -> Callable[[], dict[str, float]]:
    return lambda: measure(size)


@contextmanager
def _fan_out(stage: Stage) -> Generator[Plan]:
    members = stage.sizes.members
    stage.seconds_of(fan_out, 1, members[0])
    names = {count: figures.member(count) for count in members}
    least, greatest = members[0], members[-1]
    # Not of so few that what a process grows by in any case is told as theirs.
    many = max((count for count in members if count <= _MEASURABLE), default=least)

    def fan(count: int) -> dict[str, float]:
        return {names[count]: stage.seconds_of(fan_out, 1, count) / count * 1000}

    def memory() -> dict[str, float]:
        """Of the process that grows most, in a crew that has done nothing large before."""
        with stage.crewed(stage.crew.processes, stage.threads):
            stage.seconds_of(fan_out, 2 * stage.crew.processes, min(least, _SMALL))
            before = {pid: resident_bytes(pid) for pid in stage.crew.pids}
            stage.seconds_of(fan_out, 1, many)
            grown = max(resident_bytes(pid) - had for pid, had in before.items())
        return {_MEMORY: max(grown, 0) / 1024 / many}

    yield Plan(
        [
            *(Line(f"a fan-out of {count:,}", _bound(fan, count)) for count in members),
            Line(f"memory of a fan-out of {many:,}", memory),
        ],
        [
            Ratio(f"member of {greatest:,} / of {least:,}", names[greatest], names[least], at_most=1.3),
            Ratio(_MEMORY, _MEMORY, at_most=1.0),
        ],
        [Curve("a member of a fan-out, ms", "members", tuple((n, names[n]) for n in members))],
    )


@contextmanager
def _threads(stage: Stage) -> Generator[Plan]:
    sizes = stage.sizes
    shapes = [(p, t) for p in (sizes.processes if stage.broker is not None else (1,)) for t in sizes.threads]
    names = {(p, t): figures.on_threads(p, t) for p, t in shapes}

    def crew(processes: int, threads: int) -> dict[str, float]:
        with stage.crewed(processes, threads):
            runs = 4 * processes * threads
            guess = runs * sizes.short_steps / stage.seconds_of(inline_steps, runs, sizes.short_steps)
            runs = max(int(guess * sizes.seconds / 2 / sizes.short_steps), runs)
            return {
                names[processes, threads]: runs
                * sizes.short_steps
                / stage.seconds_of(inline_steps, runs, sizes.short_steps)
            }

    yield Plan(
        [Line(f"{p} x {t} threads", lambda p=p, t=t: crew(p, t)) for p, t in shapes],  # type: ignore[misc]
        curves=[
            Curve(
                f"steps/s by {p} x threads", "threads", tuple((t, names[p, t]) for q, t in shapes if q == p)
            )
            for p in sorted({p for p, _ in shapes})
        ],
    )


@contextmanager
def _lanes(stage: Stage) -> Generator[Plan]:
    few, many = stage.sizes.lane
    shapes: dict[str, Callable[[int], str | None]] = {
        _NO_LANE: lambda _: None,
        figures.OWN_LANES: lambda n: f"lane {n}",
        _TENS: lambda n: f"lane {n // 10}",
        figures.ONE_LANE: lambda _: "lane",
    }

    def measure(shape: str, runs: int) -> dict[str, float]:
        options = [inline_steps.options(lane=shapes[shape](number)) for number in range(runs)]
        return {figures.in_lane(shape, runs): stage.seconds_of_these(options, 1) / runs * 1000}

    measure(figures.OWN_LANES, few)
    one = {runs: figures.in_lane(figures.ONE_LANE, runs) for runs in (few, many)}
    yield Plan(
        [
            Line(f"{runs:,} runs in {shape}", lambda s=shape, r=runs: measure(s, r))  # type: ignore[misc]
            for shape, runs in [*((shape, many) for shape in shapes), (figures.ONE_LANE, few)]
        ],
        [
            *(
                Ratio(f"{shape} / {_NO_LANE}", figures.in_lane(shape, many), figures.in_lane(_NO_LANE, many))
                for shape in (figures.OWN_LANES, _TENS)
            ),
            Ratio(f"one lane of {many:,} / of {few:,}", one[many], one[few]),
        ],
        [Curve("a run of one lane, ms", "runs in the lane", tuple(one.items()))],
    )


LENGTHS = Scenario("lengths", "what a step costs in short and in long runs", _lengths, is_long=True)
FAN_OUT = Scenario("fan-out", "what a member of a map costs among few and among many", _fan_out, is_long=True)
THREADS = Scenario("threads", "steps of short runs on few and on many threads", _threads, is_long=True)
LANES = Scenario("lanes", "what runs cost in no lane, in lanes of their own, of ten, and in one", _lanes)
