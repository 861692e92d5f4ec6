"""What a scenario is made of: lines that are measured in turns, and what is divided by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import attrs

from qwit_durable.errors import DurableError

if TYPE_CHECKING:
    from qwit_durable.bench.stage import Stage

__all__ = ["BROKER", "POSTGRES", "BenchFailed", "Curve", "Line", "Plan", "Ratio", "Scenario"]

#: What a scenario may need.
POSTGRES, BROKER = "a Postgres store", "a broker"


class BenchFailed(DurableError):
    """A benchmark can't be made, or has not come to its end; the message says why."""


@attrs.frozen
class Line:
    """One thing that is measured, once a round.

    Attributes:
        name: What it is called while it is measured.
        measure: Gives figures by their names, each of which ends in its unit.
    """

    name: str
    measure: Callable[[], Mapping[str, float]]


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
    """Figures that belong together as points: how something grows."""

    name: str
    across: str
    points: tuple[tuple[float, str], ...]


@attrs.frozen
class Plan:
    """What one scenario measures, ready to be measured."""

    lines: Sequence[Line]
    ratios: Sequence[Ratio] = ()
    curves: Sequence[Curve] = ()


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
