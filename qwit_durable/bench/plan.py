"""What a scenario is made of: lines that are measured in turns, and what is divided by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from qwit_durable.errors import DurableError

if TYPE_CHECKING:
    from qwit_durable.bench.stage import Stage

__all__ = ["BROKER", "POSTGRES", "BenchFailed", "Curve", "Line", "Plan", "Ratio", "Scenario", "Unmeasured"]

#: What a scenario may need.
POSTGRES, BROKER = "a Postgres store", "a broker"


class BenchFailed(DurableError):
    """A benchmark can't be made, or has not come to its end; the message says why."""


class Unmeasured(DurableError):
    """A line can't be measured, now or in further rounds; others can. The message is what the table says instead."""


@attrs.frozen
class Line:
    """One thing that is measured, once a round.

    Attributes:
        name: What it is called while it is measured.
        measure: Gives figures by their names, each of which ends in its unit; raises `Unmeasured` where it can't.
        figures: Those that are missed where it can't be measured.
    """

    name: str
    measure: Callable[[], Mapping[str, float]]
    figures: tuple[str, ...] = ()


@attrs.frozen
class Ratio:
    """One figure over another, or alone, and what it is to be, where something was promised."""

    name: str
    of: str
    by: str | None = None
    at_least: float | None = None
    at_most: float | None = None


@attrs.frozen
class Curve:
    """Figures that belong together as points: how something grows; and that of others beside it, by their names."""

    name: str
    across: str
    points: tuple[tuple[float, str], ...]
    others: tuple[tuple[str, tuple[tuple[float, str], ...]], ...] = ()


@attrs.frozen
class Plan:
    """What one scenario measures, ready to be measured.

    Attributes:
        lines: In their order.
        ratios: Of their figures.
        curves: The same.
        absent: Figures that there can't be, and what is said instead.
    """

    lines: Sequence[Line]
    ratios: Sequence[Ratio] = ()
    curves: Sequence[Curve] = ()
    absent: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Scenario:
    """One question.

    Attributes:
        name: What `--only` takes.
        about: The question, in a line.
        open: Prepares it on a stage, and cleans up.
        needs: Which servers it is about.
        is_long: It takes minutes, and is measured only when it is asked for.
    """

    name: str
    about: str
    open: Callable[[Stage], AbstractContextManager[Plan]]
    needs: frozenset[str] = frozenset()
    is_long: bool = False
