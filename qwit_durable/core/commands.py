"""What a body may yield: inert, frozen values.

A command says what is asked for and carries its arguments as canonical JSON, so that two of them can be compared
byte by byte with what history holds. The callables in it (how to decode the answer) are no part of its identity.
Objects of the language layer convert themselves through `as_command()`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, Literal, cast

import attrs

from qwit_durable.core.facts import fact
from qwit_durable.core.retry import Retry

__all__ = [
    "AS_DEFINED",
    "Branch",
    "CallStep",
    "CallWorkflow",
    "Command",
    "Compensate",
    "Dispatch",
    "Gather",
    "Info",
    "Kind",
    "Leaf",
    "MapSteps",
    "Now",
    "Patched",
    "Publish",
    "Race",
    "Record",
    "Restart",
    "Resumption",
    "Saga",
    "Settings",
    "Site",
    "Sleep",
    "Undo",
    "UndoRun",
    "WaitSignal",
    "Yieldable",
    "calls_in",
]

#: How many members of a container are looked at for a forgotten `yield`.
_FIRST = 100

Dispatch = Literal["inline", "queue"]
When = Literal["completed", "attempted"]


class Kind(StrEnum):
    """What sort of command stands at a position. The word is the same in the store, the history and the docs."""

    STEP = "step"
    WORKFLOW = "workflow"
    SLEEP = "sleep"
    SIGNAL = "signal"
    COMPENSATE = "compensate"
    RECORD = "record"
    GATHER = "gather"
    MAP = "map"
    PATCH = "patch"
    PUBLISH = "publish"
    UNDO = "undo"


def _same(data: bytes) -> bytes:
    return data


def _no_value(data: bytes) -> Any:  # noqa: ARG001 - the signature of a decoder
    return None


@fact
class Site:
    """Where in the user's source a command was built."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@fact(kw_only=True)
class Settings:
    """How a step's attempts are carried out.

    Attributes:
        queue: The broker queue, or None for the workflow's.
        dispatch: `inline`, `queue`, or None to let the engine choose.
        timeout: Bound on one attempt.
        deadline: Bound on all attempts together.
        priority: Dramatiq's: lower runs first.
        heartbeat: How long an attempt may go without reporting progress.
        transactional: Whether an attempt's writes and its checkpoint are one transaction of the store.
    """

    retry: Retry = Retry()
    queue: str | None = None
    priority: int | None = None
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    dispatch: Dispatch | None = None
    heartbeat: timedelta | None = None
    transactional: bool = False


#: A call without settings of its own, as `compensate` leaves it in the plan: what the step itself says holds.
AS_DEFINED = Settings()


@fact(kw_only=True)
class _Leaf:
    site: Site | None = attrs.field(default=None, eq=False, repr=False)


@fact(kw_only=True)
class CallStep(_Leaf):
    """Run a step and answer with its value. `undo_when` is None for a step without an undo.

    `takes_over` names the step that this one goes on with: its success is that step's result, for that step's undo.
    `is_changed` tells that the settings are this call's own, and not those of the step.
    """

    name: str
    args: bytes
    settings: Settings = attrs.field(default=AS_DEFINED, eq=False, repr=False)
    is_changed: bool = attrs.field(default=False, eq=False, repr=False)
    undo_when: When | None = None
    takes_over: str | None = attrs.field(default=None, eq=False, repr=False)
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)
    normalise: Callable[[bytes], bytes] = attrs.field(default=_same, eq=False, repr=False)


@fact(kw_only=True)
class CallWorkflow(_Leaf):
    """Run a sub-workflow and answer with its value."""

    name: str
    args: bytes
    deadline: timedelta | None = attrs.field(default=None, eq=False)
    attributes: dict[str, str | int | float | bool] | None = attrs.field(default=None, eq=False)
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)
    normalise: Callable[[bytes], bytes] = attrs.field(default=_same, eq=False, repr=False)


@fact(kw_only=True)
class Sleep(_Leaf):
    """Wait for a duration, or until a moment: exactly one of the two is given."""

    duration: timedelta | None = None
    until: datetime | None = None


@fact(kw_only=True)
class WaitSignal(_Leaf):
    """Wait for the next signal of a name."""

    name: str
    timeout: timedelta | None = None
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)


@fact(kw_only=True)
class Compensate(_Leaf):
    """Owe a step as an undo from here on."""

    call: CallStep


@fact(kw_only=True)
class Now(_Leaf):
    """Answer with the time at which this was first asked, by the store's clock."""

    name: str = "now"
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)


@fact(kw_only=True)
class Record(_Leaf):
    """Answer with what `produce` gave when this was first asked; it returns canonical JSON."""

    name: str
    produce: Callable[[], bytes] = attrs.field(eq=False, repr=False)
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)


@fact(kw_only=True)
class MapSteps(_Leaf):
    """Run one step for many items at once and answer with the tuple of their values, in order.

    `items` are the arguments of each call; `args` says how many they are and their digest: what is recorded and
    compared. The call of item n stands at the command's position and `.n`; none of them has an `Open` of its own.
    """

    name: str
    args: bytes
    items: tuple[bytes, ...] = attrs.field(eq=False, repr=False)
    limit: int | None = None
    settings: Settings = attrs.field(default=AS_DEFINED, eq=False, repr=False)
    undo_when: When | None = None
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)


@fact(kw_only=True)
class Publish(_Leaf):
    """Let others see a value under a name."""

    name: str
    value: bytes


@fact(kw_only=True)
class Patched(_Leaf):
    """Answer whether this run takes the new path: its place takes no number, so that old runs keep theirs."""

    name: str


@fact(kw_only=True)
class Info(_Leaf):
    """Answer with facts about the run, as they were when this was first asked."""

    name: str = "info"
    decode: Callable[[bytes], Any] = attrs.field(default=_no_value, eq=False, repr=False)


@fact(kw_only=True)
class Restart(_Leaf):
    """End the body and begin it anew with other arguments."""

    args: bytes


@fact
class Resumption:
    """With what an undo goes on: the value of the signal it waited for, and what it gave when it began to wait."""

    signal: bytes
    so_far: bytes


@fact(kw_only=True)
class Undo(_Leaf):
    """Run the undo of a step: its own arguments, its value if it completed, and why the run is unwound.

    `attempt` is the step's last one: the one whose effect is undone.
    """

    name: str
    args: bytes
    result: bytes | None = None
    attempt: int = 1
    resumes: Resumption | None = None


@fact(kw_only=True)
class UndoRun(_Leaf):
    """Reopen the sub-workflow that completed at `position` and let it undo what it did."""

    name: str
    position: str


Branch = Generator[Any, Any, Any]


@fact(kw_only=True, eq=False)
class Gather(_Leaf):
    """Run members at once and answer with the tuple of their values, in order."""

    members: tuple[Any, ...]
    limit: int | None = None


@fact(kw_only=True, eq=False)
class Race(_Leaf):
    """Run members at once and answer with the number and the value of the first to finish."""

    members: tuple[Any, ...]


@fact(kw_only=True, eq=False)
class Saga(_Leaf):
    """Run one member in a compensation scope of its own."""

    member: Any


Leaf = (
    CallStep
    | CallWorkflow
    | MapSteps
    | Sleep
    | WaitSignal
    | Compensate
    | Now
    | Record
    | Publish
    | Patched
    | Info
    | Restart
    | Undo
    | UndoRun
)
Command = Leaf | Gather | Race | Saga


class Yieldable:
    """An object of the language layer that stands for a command.

    A plain class: it is asked of whatever a body yields, and an abstract one answers that ten times slower.
    """

    __slots__ = ()

    @abstractmethod
    def as_command(self) -> Command:
        """The command, marked as used."""


def calls_in(value: object) -> list[Yieldable]:
    """The calls that stand where their values were meant: alone, or among the first of a container."""
    within: Iterable[object] = (value,)
    if isinstance(value, dict):
        within = cast("dict[object, object]", value).values()
    elif isinstance(value, (list, tuple, set)):
        within = cast("Iterable[object]", value)
    return [one for one in islice(within, _FIRST) if isinstance(one, Yieldable)]
