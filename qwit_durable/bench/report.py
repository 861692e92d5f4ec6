"""What came out: as tables for people, as JSON for programs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from qwit_durable.bench.measuring import Measured, Quotient
from qwit_durable.bench.plan import Ratio

__all__ = ["Report"]


@attrs.frozen(kw_only=True)
class Report:
    """What a benchmark has found.

    Attributes:
        conditions: Under what it was measured.
        rounds: How often each line was.
        measured: Each scenario.
        skipped: What was not measured, and why.
    """

    conditions: Mapping[str, str]
    rounds: int
    measured: Sequence[Measured]
    skipped: Mapping[str, str]

    def figures(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Rows of scenario, figure, median, least and greatest."""
        for one in self.measured:
            for name, values in one.figures.items():
                shown = (number(value) for value in (statistics.median(values), min(values), max(values)))
                yield (one.scenario.name, name, *shown)  # type: ignore[misc]
            for name, why in one.absent.items():
                yield (one.scenario.name, name, why, "", "")

    def ratios(self) -> Iterator[tuple[str, str, str, str, str, str, str]]:
        """Rows of scenario, ratio, its value, least and greatest, what it is to be, and whether it is."""
        for one in self.measured:
            for found in one.quotients:
                shown = (number(value) for value in (found.value, found.least, found.greatest))
                holds = {True: "yes", False: "no", None: ""}[found.holds]
                yield (one.scenario.name, found.ratio.name, *shown, goal(found.ratio), holds)  # type: ignore[misc]

    @property
    def verdict(self) -> str:
        """How many of the ratios are what they are to be, and which are not."""
        held = [
            (f"{one.scenario.name}: {found.ratio.name}", found.holds)
            for one in self.measured
            for found in one.quotients
            if found.holds is not None
        ]
        missed = [name for name, holds in held if not holds]
        told = f"{len(held) - len(missed)} of {len(held)} aims are reached"
        return f"{told}; missed: {', '.join(missed)}" if missed else told

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "conditions": dict(self.conditions),
            "rounds": self.rounds,
            "scenarios": {one.scenario.name: _scenario(one) for one in self.measured},
            "skipped": dict(self.skipped),
        }


def _scenario(one: Measured) -> dict[str, Any]:
    return {
        "about": one.scenario.about,
        "rounds": {name: list(values) for name, values in one.figures.items()},
        "medians": {name: one.median(name) for name in one.figures},
        "absent": dict(one.absent),
        "ratios": {found.ratio.name: _ratio(found) for found in one.quotients},
        "curves": {
            curve.name: [[x, one.median(name)] for x, name in curve.points if name in one.figures]
            for curve in one.plan.curves
        },
    }


def _ratio(found: Quotient) -> dict[str, float | bool | None]:
    return {
        "value": found.value,
        "least": found.least,
        "greatest": found.greatest,
        "at_least": found.ratio.at_least,
        "at_most": found.ratio.at_most,
        "holds": found.holds,
    }


def goal(ratio: Ratio) -> str:
    """What a ratio is to be, if that was promised."""
    if ratio.at_least is not None:
        return f"≥ {ratio.at_least:g}"
    return "" if ratio.at_most is None else f"≤ {ratio.at_most:g}"


def number(value: float) -> str:
    """Three digits at least.

    >>> number(15123.4), number(41.37), number(0.3456)
    ('15,123', '41.4', '0.346')
    """
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"  # noqa: PLR2004 - digits
