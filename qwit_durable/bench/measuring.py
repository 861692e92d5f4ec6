"""Rounds: each takes every line of a scenario once, forwards and backwards in turns."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import attrs

from qwit_durable.bench.plan import Line, Plan, Ratio, Scenario, Unmeasured
from qwit_durable.bench.stage import Stage

__all__ = ["Measured", "Quotient", "conditions", "measure"]


@attrs.frozen
class Quotient:
    """A ratio as it came out: the median over the median, and the least and the greatest of a round."""

    ratio: Ratio
    value: float
    least: float
    greatest: float

    @property
    def holds(self) -> bool | None:
        """Whether it is what it is to be, where that was promised."""
        ratio = self.ratio
        if ratio.at_least is not None:
            return self.value >= ratio.at_least
        return None if ratio.at_most is None else self.value <= ratio.at_most


@attrs.frozen
class Measured:
    """What a scenario gave, round by round.

    Attributes:
        scenario: Which.
        plan: What was measured.
        figures: By their names.
        absent: Those that there are not, and why.
    """

    scenario: Scenario
    plan: Plan
    figures: Mapping[str, Sequence[float]]
    absent: Mapping[str, str]

    def median(self, name: str) -> float:
        """Of one figure."""
        return statistics.median(self.figures[name])

    @property
    def quotients(self) -> list[Quotient]:
        """The ratios whose figures are there."""
        found: list[Quotient] = []
        for ratio in self.plan.ratios:
            if ratio.of not in self.figures or (ratio.by is not None and ratio.by not in self.figures):
                continue
            over = [1.0] * len(self.figures[ratio.of]) if ratio.by is None else self.figures[ratio.by]
            each = [a / b for a, b in zip(self.figures[ratio.of], over, strict=True) if b]
            value = self.median(ratio.of) / (statistics.median(over) or float("nan"))
            if each:
                found.append(Quotient(ratio, value, min(each), max(each)))
        return found


def measure(scenario: Scenario, stage: Stage, rounds: int, tell: Callable[[str], None]) -> Measured:
    """Measure a scenario.

    Args:
        scenario: Which.
        stage: On what.
        rounds: How often each line is measured.
        tell: Told what is being measured.
    """
    with scenario.open(stage) as plan:
        absent = dict(plan.absent)
        figures: dict[Line, dict[str, list[float]]] = {line: {} for line in plan.lines}
        for number in range(rounds):
            # What drifts with time falls on all alike.
            for line in list(figures) if number % 2 == 0 else list(reversed(figures)):
                tell(f"{scenario.name}: {line.name}, round {number + 1} of {rounds}")
                stage.settle()
                try:
                    found = line.measure()
                except Unmeasured as why:
                    absent |= dict.fromkeys(line.figures, str(why))
                    del figures[line]
                    continue
                for name, value in found.items():
                    figures[line].setdefault(name, []).append(value)
    together = {name: values for found in figures.values() for name, values in found.items()}
    return Measured(scenario, plan, together, absent)


def conditions(stage: Stage) -> dict[str, str]:
    """Under what it was measured."""
    found = {
        "qwit-durable": version("qwit-durable"),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "dramatiq": version("dramatiq"),
        "psycopg": version("psycopg"),
        "crew": f"{stage.crew.processes} processes of {stage.threads} threads",
    }
    if stage.postgres is not None:
        found |= stage.postgres.settings()
    return found
