"""What goes into a transition of a held run besides events: what gathers for it, and what is said when it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import attrs

from qwit_durable.core import Resolved, Restarted, Status
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.rows import OutcomeRow, RunRow, TimerRow
from qwit_durable.stores.writes import NewTask, Release, Reopen, Report

__all__ = ["Besides", "Parts"]


@attrs.define
class Besides:
    """What goes into a transition besides events, and who is told of it: most transitions have none of this.

    Those of facts go with the facts, whatever becomes of the rest.
    """

    tasks: list[NewTask] = attrs.field(factory=list[NewTask])
    timers: list[TimerRow] = attrs.field(factory=list[TimerRow])
    timers_of_facts: list[TimerRow] = attrs.field(factory=list[TimerRow])
    starts: list[RunRow] = attrs.field(factory=list[RunRow])
    reopens: list[Reopen] = attrs.field(factory=list[Reopen])
    published: dict[str, bytes] = attrs.field(factory=dict[str, bytes])
    status: Status | None = None
    after: list[Callable[[], None]] = attrs.field(factory=list["Callable[[], None]"])
    after_facts: list[Callable[[], None]] = attrs.field(factory=list["Callable[[], None]"])


class Parts(TypedDict, total=False):
    """What goes into a transition besides what has gathered.

    `whatever_came`: it holds whatever else is recorded meanwhile, which is taken in before it.
    """

    release: Release | None
    settle: tuple[Resolved, ...]
    outcome: OutcomeRow | None
    report: Report | None
    reason: Reason | None
    restart: Restarted | None
    whatever_came: bool
