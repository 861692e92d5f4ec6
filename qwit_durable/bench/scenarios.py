"""All scenarios, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Sequence

from qwit_durable.bench import steps
from qwit_durable.bench.plan import BenchFailed, Scenario

__all__ = ["SCENARIOS", "chosen"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (steps.INLINE, steps.LONE, steps.QUEUED)
}


def chosen(names: Sequence[str], has: frozenset[str]) -> tuple[list[Scenario], dict[str, str]]:
    """Which are measured, and why the others are not.

    Args:
        names: What was asked for; nothing is everything that can be measured here.
        has: What servers there are.

    Raises:
        BenchFailed: One that was named is none, or needs what is not there.
    """
    for name in names:
        if name not in SCENARIOS:
            raise BenchFailed(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
        if missing := SCENARIOS[name].needs - has:
            raise BenchFailed(f"the scenario {name!r} needs {' and '.join(sorted(missing))}; {_HOW}")
    wanted = [scenario for name, scenario in SCENARIOS.items() if name in names or not names]
    skipped = {
        scenario.name: f"needs {' and '.join(sorted(scenario.needs - has))}"
        for scenario in wanted
        if scenario.needs - has
    }
    return [scenario for scenario in wanted if scenario.name not in skipped], skipped


_HOW = "name one with --store postgresql://… or --broker redis://… | amqp://…"
