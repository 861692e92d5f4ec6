"""The names of figures that something else is measured beside: each ends in its unit."""

from __future__ import annotations

__all__ = [
    "ENDED_AGAIN",
    "IDLE_CPU",
    "LONE",
    "MEMORY",
    "ONCE_MORE",
    "ONE_LANE",
    "OWN_LANES",
    "P50",
    "P50_HERE",
    "P99",
    "P99_HERE",
    "QUEUED",
    "REPLAYED",
    "SIGNALS",
    "STARTS_ALONE",
    "STARTS_TOGETHER",
    "STEPS",
    "WAKING",
    "YOUNG",
    "beside",
    "in_lane",
    "label",
    "member",
    "on_threads",
    "step_of",
]

STEPS, LONE, QUEUED = "durable steps, /s", "step of a lone run, ms", "queued steps, /s"
STARTS_ALONE, STARTS_TOGETHER = "starts one by one, /s", "starts from threads, /s"
P50_HERE, P99_HERE = "in this process p50, ms", "in this process p99, ms"
P50, P99 = "from another process p50, ms", "from another process p99, ms"
SIGNALS = "signals, /s"
OWN_LANES, ONE_LANE = "lanes of their own", "one lane"
REPLAYED = "replayed event, µs"
IDLE_CPU, MEMORY = "idle, CPU, % of a core", "memory of a worker process, MiB"
WAKING = "waking when all are due, runs/s"
ONCE_MORE, ENDED_AGAIN = "from kill -9 of all to the first progress, s", "from kill -9 of all to the end, s"

YOUNG = "runs beside none that have ended, /s"


def beside(count: int) -> str:
    """Runs beside so many that have ended."""
    return f"runs beside {count:,} that have ended, /s"


def step_of(length: int) -> str:
    """Of a run of so many."""
    return f"step of a run of {length:,}, ms"


def member(count: int) -> str:
    """Of a fan-out of so many."""
    return f"member of a fan-out of {count:,}, ms"


def in_lane(shape: str, runs: int) -> str:
    """A run of so many there."""
    return f"run of {runs:,} in {shape}, ms"


def on_threads(processes: int, threads: int) -> str:
    """Steps of short runs there."""
    return f"{processes} x {threads} threads, steps/s"


def label(figure: str) -> str:
    """What is measured, without its unit."""
    return figure.rpartition(", ")[0]
