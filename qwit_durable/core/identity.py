"""What makes a command the same command on replay: its kind, its name and its arguments."""

from __future__ import annotations

from qwit_durable.core.commands import (
    CallStep,
    CallWorkflow,
    Compensate,
    Info,
    Kind,
    Leaf,
    MapSteps,
    Now,
    Patched,
    Publish,
    Record,
    Restart,
    Sleep,
    Undo,
    UndoRun,
    WaitSignal,
)
from qwit_durable.core.events import Resolved, Scheduled
from qwit_durable.errors import EncodingError

__all__ = ["described", "identity", "matches"]

_NOTHING = b"null"


def identity(command: Leaf) -> tuple[Kind, str, bytes]:
    """Kind, name and canonical arguments of a command, as they are recorded."""
    match command:
        case CallStep():  # the frequent one: a pattern without attributes is quicker
            return Kind.STEP, command.name, command.args
        case CallWorkflow(name=name, args=args):
            return Kind.WORKFLOW, name, args
        case Sleep():
            return Kind.SLEEP, "sleep", _NOTHING
        case WaitSignal(name=name):
            return Kind.SIGNAL, name, _NOTHING
        case Compensate(call=call):
            return Kind.COMPENSATE, call.name, call.args
        case Now(name=name) | Record(name=name) | Info(name=name):
            return Kind.RECORD, name, _NOTHING
        case MapSteps(name=name, args=args):
            return Kind.MAP, name, args
        case Publish(name=name, value=value):
            return Kind.PUBLISH, name, value
        case Patched(name=name):
            return Kind.PATCH, name, _NOTHING
        case Restart(args=args):
            return Kind.WORKFLOW, "restart", args
        case Undo(name=name, args=args):
            return Kind.UNDO, name, args
        case UndoRun(name=name):
            return Kind.UNDO, name, _NOTHING


def matches(event: Scheduled | Resolved, command: Leaf) -> bool:
    """Whether what is recorded is what the body asks for, if need be after reading it with today's types."""
    kind, name, args = identity(command)
    if event.name != name or event.kind != kind:
        return False
    if event.args == args:
        return True
    call = command.call if isinstance(command, Compensate) else command
    if not isinstance(call, CallStep | CallWorkflow):
        return False
    try:
        return call.normalise(event.args) == args
    except (EncodingError, TypeError, ValueError, KeyError):
        return False


def described(command: Leaf) -> str:
    """The command in words, with the line where it was built."""
    kind, name, _ = identity(command)
    return f"{kind} {name!r} ({command.site})" if command.site is not None else f"{kind} {name!r}"
