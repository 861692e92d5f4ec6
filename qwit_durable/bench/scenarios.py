"""All scenarios, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Sequence

from qwit_durable.bench.ageing import HISTORY
from qwit_durable.bench.asking import LATENCY, SIGNALS, STARTS
from qwit_durable.bench.growing import FAN_OUT, LANES, LENGTHS, THREADS
from qwit_durable.bench.plan import BenchFailed, Scenario
from qwit_durable.bench.recovering import RECOVERY, REPLAY
from qwit_durable.bench.resting import IDLE, SLEEPERS
from qwit_durable.bench.steps import INLINE, LONE, QUEUED, SQLITE

__all__ = ["SCENARIOS", "chosen", "unknown"]

_ALL = (
    *(INLINE, LONE, QUEUED, SQLITE, STARTS, LATENCY, SIGNALS, LANES, REPLAY, IDLE, RECOVERY),
    # The last ones change the crew.
    *(SLEEPERS, HISTORY, LENGTHS, FAN_OUT, THREADS),
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def unknown(names: Sequence[str]) -> str | None:
    """What is wrong with these names, if one of them names nothing."""
    wrong = next((name for name in names if name not in SCENARIOS), None)
    return None if wrong is None else f"there is no scenario {wrong!r}; there are: {', '.join(SCENARIOS)}"


def chosen(
    names: Sequence[str], has: frozenset[str], *, with_long: bool
) -> tuple[list[Scenario], dict[str, str]]:
    """Which are measured, and why the others are not.

    Args:
        names: What was asked for; nothing is everything that can be measured here.
        has: What servers there are.
        with_long: Whether everything is also what takes minutes.

    Raises:
        BenchFailed: One that was named is none, or needs what is not there.
    """
    if (wrong := unknown(names)) is not None:
        raise BenchFailed(wrong)
    for name in names:
        if missing := SCENARIOS[name].needs - has:
            raise BenchFailed(f"the scenario {name!r} needs {' and '.join(sorted(missing))}; {_HOW}")
    found: list[Scenario] = []
    skipped: dict[str, str] = {}
    for scenario in SCENARIOS.values():
        if names and scenario.name not in names:
            continue
        if missing := scenario.needs - has:
            skipped[scenario.name] = f"needs {' and '.join(sorted(missing))}"
        elif scenario.is_long and not names and not with_long:
            skipped[scenario.name] = "takes minutes: ask for it with --only or --all"
        else:
            found.append(scenario)
    return found, skipped


_HOW = "name one with --store postgresql://… or --broker redis://… | amqp://…"
