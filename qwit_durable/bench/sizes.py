"""How much of everything: what promises are about, enough for a figure, or just enough to see that it works."""

from __future__ import annotations

import attrs

__all__ = ["FULL", "QUICK", "USUAL", "Sizes"]


@attrs.frozen(kw_only=True)
class Sizes:
    """How much of everything.

    Attributes:
        seconds: How long a round of a line is to take, where that can be chosen.
        patience_seconds: How long a line of others may take that can't be made shorter; else it is left out.
        runs: At most so many runs of `steps` inline steps.
        lone_steps: Steps of a run that is alone.
        links: Steps of a queued run, and links of a plain chain.
        chains: How many of either at once.
        short_steps: Steps of a run, where it is about threads.
        members: Of a fan-out.
        lengths: Steps of long runs.
        sleepers: Runs that are asleep.
        watched_seconds: How long those who have nothing to do are watched.
        signals: To each of `chains` runs.
        lane: Runs in one lane, few and many.
        starts: Runs that are started.
        latencies: Runs that are started when all is quiet.
        closed: Runs that have ended, of a store that has been in use for long.
        replayed: Events of a history that is replayed.
        processes: How many, where it is about threads.
        threads: Of each.
    """

    seconds: float = 4.0
    patience_seconds: float = 6.0
    runs: int = 600
    steps: int = 100
    lone_steps: int = 200
    links: int = 300
    chains: int = 32
    short_steps: int = 10
    members: tuple[int, ...] = (100, 1_000, 10_000)
    lengths: tuple[int, ...] = (10, 100, 1_000, 5_000)
    sleepers: int = 10_000
    watched_seconds: float = 10.0
    signals: int = 100
    lane: tuple[int, int] = (100, 2_000)
    starts: int = 4_000
    latencies: int = 200
    closed: int = 200_000
    replayed: int = 2_000
    processes: tuple[int, ...] = (1, 2)
    threads: tuple[int, ...] = (1, 8, 64)


USUAL = Sizes()
#: What was promised is promised of these; some scenarios take an hour.
FULL = Sizes(
    patience_seconds=60.0,
    members=(1_000, 10_000, 100_000),
    lengths=(10, 100, 1_000, 10_000, 100_000),
    sleepers=100_000,
    closed=10_000_000,
    lane=(100, 20_000),
    replayed=100_000,
    threads=(1, 2, 4, 8, 16, 32, 64),
)
QUICK = Sizes(
    seconds=0.01,
    runs=3,
    steps=4,
    lone_steps=5,
    links=4,
    chains=3,
    short_steps=3,
    members=(5, 60),
    lengths=(3, 6),
    sleepers=5,
    watched_seconds=0.5,
    signals=3,
    lane=(3, 12),
    starts=5,
    latencies=5,
    closed=50,
    replayed=20,
    processes=(1,),
    threads=(2,),
)
