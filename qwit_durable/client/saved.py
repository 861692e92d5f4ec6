"""Histories outside of a store: saved as JSON, and replayed by today's code, without effects and without a store.

A saved history is what a store keeps of one run: its arguments, its events, and how it ended. Replaying it runs the
body alone, over recorded values: no step is run, nothing is written. That is how a change of a body is tried on runs
that are open before it is deployed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast
from uuid import UUID

import attrs

from qwit_durable.clock import NEVER
from qwit_durable.codec.text import write
from qwit_durable.core import (
    Advance,
    AttemptFailed,
    CancelRequested,
    Completed,
    DeadlinePassed,
    Decision,
    Event,
    Finish,
    Halt,
    Interpreter,
    Mismatch,
    Misuse,
    OperatorActed,
    Reopened,
    Resolved,
    StartOver,
    Status,
    Unwind,
    UnwindStarted,
    Verb,
)
from qwit_durable.core.identity import described
from qwit_durable.engine.ports import Settings
from qwit_durable.engine.turning.mismatch import report_of
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.errors import Failure, HistoryMismatch
from qwit_durable.registry import Registry, WorkflowLike
from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.plain import bytes_of, dump_json, text_of
from qwit_durable.stores.rows import RunRow, RunView

__all__ = ["SavedHistory", "from_history", "replay_history", "to_history"]

_FORMAT = 1
_TEXT = "$text"
_VALUE_CHARS = 120
_NIL = UUID(int=0)
_COLUMNS = ("kind", "position", "name", "attempt", "args", "value", "detail")
_ENCODING = Encoding()
_WAY_OUT = (
    "Nothing was run or recorded; a worker would leave the run stuck. Ways out: keep the old path for old runs with "
    "`patched`,\nor give the new body another workflow name; where no run like this is open, save the history anew."
)


@attrs.frozen(kw_only=True)
class SavedHistory:
    """One run as it was saved."""

    id: str
    workflow: str
    version: str | None
    args: bytes
    is_child: bool
    generation: int
    status: Status
    value: bytes | None
    events: tuple[Event, ...]


def from_history(view: RunView, events: Iterable[Event]) -> dict[str, Any]:
    """A run's history as JSON data. Tracebacks are left out: they name the files of one machine."""
    run, outcome = view.run, view.outcome
    return {
        "format": _FORMAT,
        "id": run.key,
        "workflow": run.workflow,
        "version": run.version,
        "args": _readable(run.args),
        "is_child": run.parent_id is not None,
        "generation": view.generation,
        "status": view.status.value,
        "value": None if outcome is None or outcome.value is None else _readable(outcome.value),
        "events": [_event_out(event) for event in events],
    }


def to_history(data: Mapping[str, Any]) -> SavedHistory:
    """What was saved.

    Raises:
        ValueError: It is no saved history, or of a newer release.
    """
    if data.get("format") != _FORMAT:
        msg = f"this is no saved history of format {_FORMAT}: save it with qwit_durable.testing.replay.save_history"
        raise ValueError(msg)
    value = data["value"]
    return SavedHistory(
        id=data["id"],
        workflow=data["workflow"],
        version=data["version"],
        args=_bytes(data["args"]),
        is_child=data["is_child"],
        generation=data["generation"],
        status=Status(data["status"]),
        value=None if value is None else _bytes(value),
        events=tuple(_event_in(found) for found in data["events"]),
    )


def _event_out(event: Event) -> dict[str, Any]:
    found = dict(zip(_COLUMNS, _ENCODING.write_event(_without_tracebacks(event)), strict=True))
    shown = {
        name: _readable(part) if isinstance(part, bytes) else part for name, part in found.items() if part
    }
    return {"kind": found["kind"], **shown}


def _event_in(found: Mapping[str, Any]) -> Event:
    texts = [found.get(name, "") for name in _COLUMNS[:3]]
    payloads = [_bytes(found[name]) if name in found else b"" for name in _COLUMNS[4:]]
    return _ENCODING.read_event([*texts, found.get("attempt", 0), *payloads])


def _readable(data: bytes) -> Any:
    """JSON as it is, where it can be written again in the same way; anything else as text."""
    text = text_of(data)
    try:
        value = json.loads(text)
    except ValueError:
        return {_TEXT: text}
    if data not in (write(value), dump_json(value)) or text.startswith(f'{{"{_TEXT}"'):
        return {_TEXT: text}
    return value


def _bytes(readable: Any) -> bytes:
    if isinstance(readable, dict) and _TEXT in readable:
        return bytes_of(str(cast("dict[str, object]", readable)[_TEXT]))
    return write(readable)


def _without_tracebacks(event: Event) -> Event:
    match event:
        case AttemptFailed(failure=failure):
            return attrs.evolve(event, failure=_bare(failure))
        case Resolved(outcome=Failure() as failure):
            return attrs.evolve(event, outcome=_bare(failure))
        case UnwindStarted(cause=cause) | Reopened(cause=cause):
            return attrs.evolve(event, cause=attrs.evolve(cause, failure=_bare(cause.failure)))
        case _:
            return event


def _bare(failure: Failure) -> Failure:
    cause = None if failure.cause is None else _bare(failure.cause)
    return attrs.evolve(failure, traceback="", cause=cause)


# -- replaying -------------------------------------------------------------------------------------------------


def replay_history(saved: SavedHistory, definition: WorkflowLike, registry: Registry) -> None:
    """Run today's body over a saved history; see `qwit_durable.testing.replay.replay`.

    Raises:
        HistoryMismatch: The body asks for something else than what is recorded, or goes on where it ended.
    """
    run = RunRow(
        id=_NIL,
        namespace="",
        key=saved.id,
        workflow=saved.workflow,
        version=saved.version,
        queue="",
        root_id=_NIL,
        args=saved.args,
        created_at=NEVER,
        parent_id=_NIL if saved.is_child else None,
    )
    interpreter = Programs(registry, Settings().limit_bytes).interpreter_of(definition, run, saved.generation)
    try:
        _replay(saved, interpreter)
    finally:
        interpreter.close()


def _replay(saved: SavedHistory, interpreter: Interpreter) -> None:
    """First what the body was asked for, then what became of the run when it was not asked any more."""
    asked = next((n for n, event in enumerate(saved.events) if _is_beyond_body(event)), len(saved.events))
    decision = interpreter.feed(saved.events[:asked])
    _refuse_halt(saved, decision)
    rest = saved.events[asked:]
    if rest and isinstance(rest[0], UnwindStarted) and not isinstance(decision, Unwind):
        cause = rest[0].cause.failure
        raise _mismatch(saved, f"the body failed here: {cause}", _told(decision))
    if rest and isinstance(rest[0], Completed) and not isinstance(decision, Finish):
        raise _mismatch(saved, "the body returned here", _told(decision))
    if rest or not saved.status.is_ended or saved.status is Status.TERMINATED:
        _refuse_halt(saved, interpreter.feed(rest))
        return
    ended = f"the run ended here: {saved.status}"
    if not isinstance(decision, Finish) or decision.status is not saved.status:
        raise _mismatch(saved, ended, _told(decision))
    if decision.value != saved.value:
        raise _mismatch(saved, f"{ended} {_text(saved.value)}", f"{decision.status} {_text(decision.value)}")


def _is_beyond_body(event: Event) -> bool:
    """Whether it ends the body, or comes after its end."""
    match event:
        case UnwindStarted(scope=scope):
            return scope is None
        case CancelRequested() | DeadlinePassed() | Completed() | Reopened():
            return True
        case OperatorActed(verb=verb):
            return verb is Verb.ROLLBACK
        case _:
            return False


def _refuse_halt(saved: SavedHistory, decision: Decision) -> None:
    if not isinstance(decision, Halt):
        return
    match decision.reason:
        case Mismatch() as mismatch:
            evidence = "\n".join(report_of(mismatch, saved.events).lines())
            raise HistoryMismatch(
                f"{_head(saved)} at position {mismatch.position}.\n{evidence}\n{_WAY_OUT}", mismatch.position
            )
        case Misuse(message=message):
            raise HistoryMismatch(f"{_head(saved)}: {message}")
        case _:
            return  # it was stuck over something else, and is so again


def _mismatch(saved: SavedHistory, recorded: str, found: str) -> HistoryMismatch:
    return HistoryMismatch(f"{_head(saved)}.\n  recorded: {recorded}\n  found:    {found}\n{_WAY_OUT}")


def _head(saved: SavedHistory) -> str:
    return f"the history of run {saved.id} does not match today's workflow {saved.workflow!r}"


def _told(decision: Decision) -> str:
    match decision:
        case Advance(begin=begin, waiting=waiting):
            asked = ", ".join(f"{described(p.command)} at {p.position}" for p in (*begin, *waiting))
            return f"the body goes on with {asked}" if asked else "the body goes on"
        case Finish(status=status, value=value):
            return f"the run ends {status} {_text(value)}".rstrip()
        case Unwind(cause=cause):
            return f"the body fails: {cause.failure}"
        case StartOver():
            return "the body begins anew"
        case Halt():
            return "the run is stuck"


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")[:_VALUE_CHARS]
