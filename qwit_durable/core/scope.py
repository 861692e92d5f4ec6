"""The tree of what a body has under way: frames (generators), groups (of members) and open commands (leaves).

A group is a gather, a race or a saga. What nobody goes on with is closed as a whole (`Closing`): its commands settle,
then what it owes is undone if it is a compensation scope, and then whoever waits for that is answered. Whether a
position lies inside a scope is read from the position itself, so what a scope owes needs no book of its own.
"""

from __future__ import annotations

from typing import Any

import attrs

from qwit_durable.core.commands import Branch, CallStep, Gather, Leaf, MapSteps, Race, Saga, Undo
from qwit_durable.core.decision import Halt, Pending
from qwit_durable.core.events import Cause, Debt, Scheduled
from qwit_durable.core.unwind import Unwinding

__all__ = [
    "Closing",
    "Frame",
    "Group",
    "Open",
    "Target",
    "is_awaited",
    "is_past",
    "lies_in",
    "successes_needed",
]


def lies_in(position: str, scope: str) -> bool:
    """Whether a command is the one at `scope`, or part of it."""
    return position == scope or position.startswith(f"{scope}.")


@attrs.define(eq=False)
class Frame:
    """A generator under way. `target` is what gets its value: None for the body itself."""

    generator: Branch
    prefix: str
    target: Target | None
    closed: bool = False
    _issued: int = 0

    @property
    def place(self) -> str:
        """The position that the next command will have."""
        return f"{self.prefix}{self._issued}"

    def next_position(self) -> str:
        """The position of the next command that this generator yields."""
        number = self._issued
        self._issued = number + 1
        return f"{self.prefix}{number}"

    def is_past(self, position: str) -> bool:
        """Whether a position of this generator can only be reached beyond the place where it stands."""
        if not position.startswith(self.prefix):
            return False
        number = position[len(self.prefix) :].partition(".")[0].partition("!")[0]
        return number.isdigit() and int(number) >= self._issued


class Group:
    """A gather, a race or a saga under way. `since` is what the run owed last when it began."""

    def __init__(
        self, position: str, command: Gather | Race | Saga, target: Target, since: Debt | None
    ) -> None:
        self.position = position
        self.since = since
        self.command = command
        self.site = command.site
        self.target = target
        self.is_over = False
        self._members = (command.member,) if isinstance(command, Saga) else command.members
        self._limit = command.limit if isinstance(command, Gather) else None
        self._values: list[Any] = [None] * len(self._members)
        self._started = 0
        self._finished = 0
        self.is_flat = isinstance(command, Gather) and self._limit is None and self._has_leaves_only

    @property
    def _has_leaves_only(self) -> bool:
        return all(isinstance(member, Leaf.__args__) for member in self._members)

    @property
    def first_members(self) -> int:
        """How many members begin at once."""
        return min(len(self._members), self._limit or len(self._members))

    @property
    def members(self) -> range:
        """The numbers of the members that have begun."""
        return range(self._started)

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
    def value(self) -> Any:
        """What is answered when all members have theirs."""
        return self._values[0] if isinstance(self.command, Saga) else tuple(self._values)


Target = Frame | tuple[Group, int]


def is_awaited(target: Target) -> bool:
    """Whether an answer still reaches a generator: no group on the way up to it is over."""
    while isinstance(target, tuple):
        group = target[0]
        if group.is_over:
            return False
        target = group.target
    return not target.closed


def is_past(target: Target, position: str) -> bool:
    """Whether a position can only be reached once what waits at `target`, or a generator around it, has gone on."""
    up: Target | None = target
    while up is not None:
        if isinstance(up, tuple):
            up = up[0].target
        elif up.is_past(position):
            return True
        else:
            up = up.target
    return False


@attrs.define(eq=False)
class Closing:
    """A part of the tree that nobody goes on with.

    Attributes:
        scope: The position of what is closed.
        undoes: Whether it is a compensation scope: then what it owes is undone, because of `cause`.
        since: What the run owed last when the scope began.
        target: What is told when it is over, by raising `failure` there; None where nobody waits.
        unsettled: How many of its commands, and of the closings within it, are not over yet.
        outer: The closing that waits for this one.
        plan: What it owes, once it has settled; it waits for the plan to be recorded.
        unwinding: Pays the plan.
    """

    scope: str
    undoes: bool
    cause: Cause
    since: Debt | None = None
    failure: BaseException | None = None
    target: Target | None = None
    unsettled: int = 0
    outer: Closing | None = None
    plan: tuple[Debt, ...] = ()
    unwinding: Unwinding | None = None

    @property
    def has_given_up(self) -> bool:
        """Whether an undo of it waits for a person."""
        return self.unwinding is not None and isinstance(self.unwinding.decide(), Halt)


@attrs.define(eq=False)
class Open:
    """A command without an outcome. `settling`: nobody waits for it any more; `closing`: what waits for it to settle.

    Of a map, `values` are those of its calls, `missing` how many have none yet, and `left` how many attempts were
    under way when it was settled.
    """

    pending: Pending
    target: Target
    settling: bool = False
    closing: Closing | None = None
    values: list[bytes | None] = attrs.field(factory=list["bytes | None"])
    missing: int = 1
    left: int | None = None

    @property
    def position(self) -> str:
        """Where it stands."""
        return self.pending.position

    @property
    def command(self) -> Leaf:
        """What was asked for."""
        return self.pending.command

    def hand_over(self, event: Scheduled) -> None:
        """Something stands for it from now on."""
        self.pending = attrs.evolve(
            self.pending,
            scheduled=True,
            queued=event.queued,
            due=event.due,
            given=event.given,
            handed=event.upto,
        )

    @property
    def is_settled(self) -> bool:
        """Whether it is recorded that nobody waits for it: nothing is left but attempts under way."""
        return self.left is not None

    @property
    def to_begin(self) -> bool:
        """Whether somebody has to carry it out or hand it over."""
        if self.settling:
            return False
        pending = self.pending
        if not pending.scheduled:
            return True
        if isinstance(pending.command, MapSteps):
            return pending.handed < len(pending.command.items)
        return isinstance(pending.command, (CallStep, Undo)) and not pending.queued


def successes_needed(entries: dict[str, Open]) -> int:
    """After how many further successes anything can go on: all of one flat gather, map or closing, else one."""
    if len(entries) == 1:
        [entry] = entries.values()
        return entry.left or entry.missing
    units: dict[int, int] = {}
    for entry in entries.values():
        unit = _unit(entry)
        units[id(unit)] = units.get(id(unit), 0) + (entry.left or entry.missing)
    return min(units.values(), default=1)


def _unit(entry: Open) -> object:
    """What goes on only when this command and all others of the same unit have succeeded."""
    if entry.settling:
        return entry.closing
    if isinstance(entry.target, tuple) and entry.target[0].is_flat:
        return entry.target[0]
    return entry
