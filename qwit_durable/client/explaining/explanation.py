"""What `explain()` answers: records with fields for programs, and a `str()` for people."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from qwit_durable.client.plain import plain
from qwit_durable.core import Status
from qwit_durable.errors import Failure
from qwit_durable.stores.reasons import Reason

__all__ = ["Explanation", "Wait", "WaitKind"]

_SHOWN_WAITS = 20


class WaitKind(StrEnum):
    """Why something stands still.

    >>> [wait] = approval.start(order).explain().waits
    >>> wait.kind is WaitKind.SIGNAL
    True
    """

    START = "start"  # the run is not due yet
    LANE = "lane"  # the run waits in its lane behind another
    TURN = "turn"  # the run has something to do and no worker has taken it yet
    LEFT = "left"  # the last worker could not go on with it and left it to others
    WORKER = "worker"  # a live worker holds the run
    TAKEOVER = "takeover"  # a dead worker holds the run or an attempt
    TIMER = "timer"
    SIGNAL = "signal"
    QUEUE = "queue"  # a queued step that no worker has begun yet
    ATTEMPT = "attempt"  # an attempt of a queued step is under way
    COMPLETION = "completion"  # a step was left open with pending(), and nobody has completed it yet
    BACKOFF = "backoff"  # an attempt failed and the next one is not due yet
    MAP = "map"  # calls of a map have not ended
    WORKFLOW = "workflow"  # a sub-workflow has not ended
    OPERATOR = "operator"  # a person has paused the run
    PERSON = "person"  # the run is stuck and needs a person
    NOTHING = "nothing"  # nothing is owed: this should not be


@attrs.frozen(kw_only=True)
class Wait:
    """One thing that a run waits for.

    Attributes:
        what: The step, undo, signal, sub-workflow or queue that is waited for.
        position: The place of the command in the body; None where the run itself waits.
        since: When the wait began.
        until: When it ends by itself, if it does.
        attempt: The number of the attempt under way, or of the next one.
        last_error: Why the attempt before it failed.
        worker: `host:pid` of who holds the run or makes the attempt.
        text: All of it in words.
        ways_out: What a person can do about it.
        child: The explanation of the sub-workflow that is waited for.

    >>> [wait] = approval.start(order).explain().waits
    >>> wait.what, wait.position
    ('approved', '0')
    """

    kind: WaitKind
    what: str
    text: str
    position: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    attempt: int | None = None
    last_error: Failure | None = None
    worker: str | None = None
    ways_out: tuple[str, ...] = ()
    child: Explanation | None = None

    @property
    def is_work(self) -> bool:
        """Whether all that is waited for is that living workers come to the end of what they are doing."""
        below = () if self.child is None else self.child.waits
        return self.kind in {WaitKind.WORKER, WaitKind.ATTEMPT} or (
            bool(below) and all(wait.is_work for wait in below)
        )

    def lines(self) -> list[str]:
        """The wait as lines of text, those of a sub-workflow indented below it."""
        first, *rest = self.text.splitlines() or [""]
        below = [] if self.child is None else self.child.lines()
        return [first, *(f"  {line}" for line in (*rest, *below))]


@attrs.frozen(kw_only=True)
class Explanation:
    """Why a run stands where it stands. `str()` of it is what a person wants to read.

    Attributes:
        id: The run, as `durable.get` takes it.
        since: When the run was last moved: its latest event, or its end.
        waits: What it waits for; empty once it has ended.
        text: The state and what led to it, in words, without the waits.
        ways_out: What a person can do, the most fitting first.
        deadline_at: When the run's deadline ends it.
        cause: Why it, or a part of its body, is or was unwound, failed, cancelled or terminated.
        undone: Names of the undos that ran, in the order in which they ran.
        owed: Names of the undos that are still owed, the next one first.
        reason: Why it is stuck or paused.

    >>> print(approval.options(id="order-17").start(order).explain())
    run order-17 of workflow 'approval' is running, unchanged since 00:00:00 UTC (now)
      waits for signal 'approved' at 0 since 00:00:00 UTC (now), without a timeout
    ways out:
      send it: qwit signal order-17 approved <JSON value>
      stop it and undo what it did: qwit cancel order-17
    """

    id: str
    workflow: str
    status: Status
    since: datetime
    text: str
    waits: tuple[Wait, ...] = ()
    ways_out: tuple[str, ...] = ()
    deadline_at: datetime | None = None
    cause: Failure | None = None
    undone: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()
    reason: Reason | None = None

    @property
    def stuck(self) -> Explanation | None:
        """This explanation, or that of a sub-workflow below it, if that one is stuck."""
        if self.status is Status.STUCK:
            return self
        return next((found for wait in self.waits if wait.child and (found := wait.child.stuck)), None)

    def lines(self) -> list[str]:
        """The text and the waits, the waits indented; of very many only some, what is stuck before the others."""
        lines = self.text.splitlines()
        by_need = sorted(self.waits, key=lambda wait: wait.child is None or wait.child.stuck is None)
        for wait in self.waits if len(by_need) <= _SHOWN_WAITS else by_need[:_SHOWN_WAITS]:
            lines.extend(f"  {line}" for line in wait.lines())
        if len(self.waits) > _SHOWN_WAITS:
            lines.append(f"  … and for {len(self.waits) - _SHOWN_WAITS:,} more")
        return lines

    def __str__(self) -> str:
        ways = ["ways out:", *(f"  {way}" for way in self.ways_out)] if self.ways_out else []
        return "\n".join([*self.lines(), *ways])

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON data, for programs."""
        found: dict[str, Any] = plain(self)
        return found
