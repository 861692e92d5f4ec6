"""The tree of what a body has under way: frames (generators), groups (gathers) and open commands (leaves)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from qwit_durable.core.commands import Branch, CallStep, Gather, Leaf, Undo
from qwit_durable.core.decision import Pending

__all__ = ["Frame", "Group", "Open", "Target", "is_awaited", "settle_under", "successes_needed"]


@attrs.define(eq=False)
class Frame:
    """A generator under way. `target` is what gets its value: None for the body itself."""

    generator: Branch
    prefix: str
    target: Target | None
    closed: bool = False
    _issued: int = 0

    def next_position(self) -> str:
        """The position of the next command that this generator yields."""
        position = f"{self.prefix}{self._issued}"
        self._issued += 1
        return position


class Group:
    """A gather under way."""

    def __init__(self, position: str, command: Gather, target: Target) -> None:
        self.position = position
        self.site = command.site
        self.target = target
        self.failure: BaseException | None = None
        self.unsettled = 0
        self._members = command.members
        self._values: list[Any] = [None] * len(command.members)
        self._started = 0
        self._finished = 0
        self.is_flat = command.limit is None and all(isinstance(m, Leaf.__args__) for m in command.members)

    @property
    def has_next(self) -> bool:
        """Whether members wait for their turn under the limit."""
        return self._started < len(self._members)

    def start_next(self) -> tuple[int, str, Any]:
        """Index, position and object of the next member."""
        index = self._started
        self._started += 1
        return index, f"{self.position}.{index}", self._members[index]

    def finish(self, index: int, value: Any) -> bool:
        """Take a member's value; tell whether it was the last one."""
        self._values[index] = value
        self._finished += 1
        return self._finished == len(self._members)

    @property
    def values(self) -> tuple[Any, ...]:
        """The members' values, in order."""
        return tuple(self._values)


Target = Frame | tuple[Group, int]


def is_awaited(target: Target) -> bool:
    """Whether an answer still reaches a generator: no gather on the way up to it has failed."""
    while isinstance(target, tuple):
        group = target[0]
        if group.failure is not None:
            return False
        target = group.target
    return not target.closed


@attrs.define(eq=False)
class Open:
    """A command without an outcome. `settling`: nobody waits for it any more; `group`: who waits for it to settle."""

    position: str
    command: Leaf
    target: Target
    attempts: int = 0
    scheduled: bool = False
    queued: bool = False
    due: datetime | None = None
    retry_at: datetime | None = None
    began_at: datetime | None = None
    settling: bool = False
    group: Group | None = None

    @property
    def to_begin(self) -> bool:
        """Whether somebody has to carry it out or hand it over."""
        if self.settling:
            return False
        return not self.scheduled or (isinstance(self.command, CallStep | Undo) and not self.queued)

    def as_pending(self) -> Pending:
        """The same as a value."""
        return Pending(
            position=self.position,
            command=self.command,
            attempts=self.attempts,
            scheduled=self.scheduled,
            queued=self.queued,
            due=self.due,
            retry_at=self.retry_at,
            began_at=self.began_at,
        )


def settle_under(prefix: str, entries: dict[str, Open], group: Group | None) -> int:
    """Mark everything open under `prefix` as settling on behalf of `group`; tell how many that are."""
    count = 0
    for position, entry in entries.items():
        if position.startswith(prefix):
            entry.settling, entry.group = True, group
            count += 1
    return count


def successes_needed(entries: dict[str, Open]) -> int:
    """After how many further successes anything can go on: all for one flat gather or one settling, else one."""
    if len(entries) < 2:  # noqa: PLR2004 - one open command needs one outcome
        return 1
    values = list(entries.values())
    first = values[0]
    if all(entry.settling and entry.group is first.group for entry in values):
        return len(values)
    target = first.target
    if isinstance(target, tuple) and target[0].is_flat and not first.settling:
        group = target[0]
        if all(isinstance(e.target, tuple) and e.target[0] is group and not e.settling for e in values):
            return len(values)
    return 1
