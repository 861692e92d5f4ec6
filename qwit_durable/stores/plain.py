"""Facts as plain JSON values and back: failures, debts, causes, what a queued attempt needs to know.

Extra keys are ignored, so that a newer release may add some; a missing one that has a default has it. Neighbour:
`stores.encoding` seals these and puts them into columns.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from qwit_durable.core import Cause, Debt, DebtKind, Kind, Resumption, SignalReceived
from qwit_durable.core.carried import Carried
from qwit_durable.core.retry import RecordedRetry
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import TaskSpec

__all__ = [
    "bytes_of",
    "dump_json",
    "from_cause",
    "from_debt",
    "from_failure",
    "from_signal",
    "from_span",
    "from_spec",
    "from_time",
    "text_of",
    "to_cause",
    "to_debt",
    "to_failure",
    "to_signal",
    "to_span",
    "to_spec",
    "to_time",
]

_MICROSECOND = timedelta(microseconds=1)
#: A spec of kind, name and arguments alone.
_PLAIN_SPEC = 3
_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def dump_json(value: Any) -> bytes:
    """`value` as JSON in ASCII."""
    return _dump(value).encode("ascii")


def text_of(data: bytes) -> str:
    """Bytes as text inside JSON. What is no UTF-8 goes through unharmed as lone surrogates, which JSON escapes."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes that `text_of` turned into text."""
    return text.encode("utf-8", "surrogateescape")


def from_time(at: datetime | None) -> str | None:
    """A moment as text."""
    return None if at is None else at.astimezone(UTC).isoformat()


def to_time(text: str | None) -> datetime | None:
    """The moment that a text names."""
    return None if text is None else datetime.fromisoformat(text)


def from_span(span: timedelta | None) -> int | None:
    """A duration as microseconds."""
    return None if span is None else span // _MICROSECOND


def to_span(microseconds: int | None) -> timedelta | None:
    """The duration of so many microseconds."""
    return None if microseconds is None else timedelta(microseconds=microseconds)


def from_failure(failure: Failure) -> dict[str, Any]:
    """A failure and what it wraps."""
    return {
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
        "lineage": failure.lineage,
        "outcome_unknown": failure.outcome_unknown,
        **({"by_deadline": True} if failure.by_deadline else {}),
        "cause": None if failure.cause is None else from_failure(failure.cause),
    }


def to_failure(found: dict[str, Any]) -> Failure:
    """The failure that lies in `found`."""
    cause = found.get("cause")
    return Failure(
        type=found["type"],
        message=found["message"],
        traceback=found.get("traceback", ""),
        lineage=tuple(found.get("lineage", ())),
        outcome_unknown=found.get("outcome_unknown", False),
        by_deadline=found.get("by_deadline", False),
        cause=None if cause is None else to_failure(cause),
    )


def from_debt(debt: Debt) -> dict[str, Any]:
    """One owed undo."""
    return {
        "position": debt.position,
        "kind": debt.kind,
        "name": debt.name,
        "args": text_of(debt.args),
        "result": None if debt.result is None else text_of(debt.result),
        "attempt": debt.attempt,
        **({"settings": _from_carried(debt.settings)} if debt.settings is not None else {}),
    }


def to_debt(found: dict[str, Any]) -> Debt:
    """The owed undo that lies in `found`."""
    result = found.get("result")
    return Debt(
        position=found["position"],
        kind=DebtKind(found["kind"]),
        name=found["name"],
        args=bytes_of(found["args"]),
        result=None if result is None else bytes_of(result),
        attempt=found.get("attempt", 1),
        settings=_to_carried(found["settings"]) if "settings" in found else None,
    )


def from_cause(cause: Cause) -> dict[str, Any]:
    """Why a run is unwound."""
    return {"failure": from_failure(cause.failure), "cancelled": cause.cancelled}


def to_cause(found: dict[str, Any]) -> Cause:
    """The cause that lies in `found`."""
    return Cause(failure=to_failure(found["failure"]), cancelled=found.get("cancelled", False))


def from_signal(signal: SignalReceived) -> dict[str, Any]:
    """A signal that nobody has taken."""
    return {"name": signal.name, "value": text_of(signal.value), "dedupe_id": signal.dedupe_id}


def to_signal(found: dict[str, Any]) -> SignalReceived:
    """The signal that lies in `found`."""
    return SignalReceived(
        name=found["name"], value=bytes_of(found["value"]), dedupe_id=found.get("dedupe_id")
    )


def from_spec(spec: TaskSpec) -> dict[str, Any]:
    """What a queued attempt needs to know, where it says more than nothing: most specs are name and arguments."""
    retry, resumes = spec.retry, spec.resumes
    said = {
        "undoes": spec.undoes,
        "given": None if spec.given is None else text_of(spec.given),
        "then": spec.then,
        "rings": spec.rings,
        "result": None if spec.result is None else text_of(spec.result),
        "resumes": None if resumes is None else [text_of(resumes.signal), text_of(resumes.so_far)],
        "failure": None if spec.failure is None else from_failure(spec.failure),
        "timeout": from_span(spec.timeout),
        "deadline": from_span(spec.deadline),
        "heartbeat": from_span(spec.heartbeat),
        "transactional": spec.transactional or None,
        "retry": None if retry is None else _from_retry(retry),
    }
    always = {"kind": spec.kind, "name": spec.name, "args": text_of(spec.args)}
    return always | {name: value for name, value in said.items() if value is not None}


def to_spec(found: dict[str, Any]) -> TaskSpec:
    """The spec that lies in `found`."""
    if len(found) == _PLAIN_SPEC:
        return TaskSpec(kind=Kind(found["kind"]), name=found["name"], args=bytes_of(found["args"]))
    given, result, resumes = found.get("given"), found.get("result"), found.get("resumes")
    failure, retry, rings = found.get("failure"), found.get("retry"), found.get("rings")
    return TaskSpec(
        kind=Kind(found["kind"]),
        name=found["name"],
        undoes=found.get("undoes"),
        args=bytes_of(found["args"]),
        given=None if given is None else bytes_of(given),
        then=found.get("then"),
        rings=None if rings is None else (rings[0], rings[1]),
        result=None if result is None else bytes_of(result),
        resumes=None if resumes is None else Resumption(*map(bytes_of, resumes)),
        failure=None if failure is None else to_failure(failure),
        timeout=to_span(found.get("timeout")),
        deadline=to_span(found.get("deadline")),
        heartbeat=to_span(found.get("heartbeat")),
        transactional=found.get("transactional", False),
        retry=None if retry is None else _to_retry(retry),
    )


def _from_retry(retry: RecordedRetry) -> tuple[Any, ...]:
    return retry[0], from_span(retry[1]), retry[2], from_span(retry[3]), *retry[4:]


def _to_retry(found: list[Any]) -> RecordedRetry:
    attempts, first, factor, cap, give_up_on, retry_on, *more = found
    first, cap = timedelta(microseconds=first), timedelta(microseconds=cap)
    return attempts, first, factor, cap, tuple(give_up_on), tuple(retry_on), bool(more and more[0])


def _from_carried(carried: Carried) -> dict[str, Any]:
    return {
        "retry": _from_retry(carried.retry),
        "queue": carried.queue,
        "priority": carried.priority,
        "timeout": from_span(carried.timeout),
        "deadline": from_span(carried.deadline),
        "heartbeat": from_span(carried.heartbeat),
        "dispatch": carried.dispatch,
        "transactional": carried.transactional,
    }


def _to_carried(found: dict[str, Any]) -> Carried:
    return Carried(
        retry=_to_retry(found["retry"]),
        queue=found.get("queue"),
        priority=found.get("priority"),
        timeout=to_span(found.get("timeout")),
        deadline=to_span(found.get("deadline")),
        heartbeat=to_span(found.get("heartbeat")),
        dispatch=found.get("dispatch"),
        transactional=found.get("transactional", False),
    )
