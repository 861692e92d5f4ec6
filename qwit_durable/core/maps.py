"""A map under way: one command, with the outcomes of its calls kept as they are recorded until the last one is in."""

from __future__ import annotations

from qwit_durable.core.body import Body
from qwit_durable.core.commands import MapSteps
from qwit_durable.core.events import Resolved
from qwit_durable.core.frames import Answer
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.core.scope import Open
from qwit_durable.errors import Failure, StepFailed

__all__ = ["member_resolved", "settled_map"]


def settled_map(body: Body, entry: Open, event: Resolved) -> None:
    """Nobody waits for the map any more; attempts that are still under way are waited for."""
    left = event.outcome.left if isinstance(event.outcome, Dropped) else 0
    entry.left = left
    if not left:
        body.resolve(entry, Answer())


def member_resolved(body: Body, entry: Open, event: Resolved) -> StepFailed | None:
    """Take in the outcome of one call; the error, if this is the first call that failed."""
    if entry.left is not None:
        entry.left -= 1
        if not entry.left:
            body.resolve(entry, Answer())
        return None
    match event.outcome:
        case Value(data=data) if not entry.settling:
            index = int(event.position.rpartition(".")[2])
            if entry.values[index] is None:
                entry.values[index] = data
                entry.missing -= 1
        case Failure() as failure if not entry.settling:
            error = StepFailed(event.name, failure, event.attempt)
            body.fail_map(entry, error)
            return error
        case _:
            pass
    if not entry.missing and not entry.settling:
        _answer(body, entry)
    return None


def _answer(body: Body, entry: Open) -> None:
    assert isinstance(entry.command, MapSteps)
    decode = entry.command.decode
    try:
        values = tuple(decode(data or b"null") for data in entry.values)
    except Exception as error:  # noqa: BLE001 - types of the user's take part in it
        body.refuse_value(error)
        return
    body.resolve(entry, Answer(values))
