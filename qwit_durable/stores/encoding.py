"""How facts lie in the columns of a table: written once for all stores that keep bytes.

Explicit and JSON only, so that any program can read a store and no class is loaded by a stored name. Extra keys are
ignored: a newer release may add some. Every payload of users (arguments, values, the texts of errors, signals, reasons)
passes through one `PayloadCodec`, which may compress or encrypt; what a store looks for (kind, position, name, times)
does not. Neighbours: `stores.plain` has the JSON forms, `stores.sql.tables` puts the columns into rows; what a value
itself looks like is `codec`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from qwit_durable.core import (
    AttemptFailed,
    CancelRequested,
    Completed,
    DeadlinePassed,
    Dropped,
    Event,
    Kind,
    OperatorActed,
    Reopened,
    Resolved,
    Restarted,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
    Value,
    Verb,
)
from qwit_durable.errors import Failure, PayloadError, StoreError
from qwit_durable.stores.plain import (
    bytes_of,
    dump_json,
    from_cause,
    from_debt,
    from_failure,
    from_signal,
    from_span,
    from_spec,
    from_time,
    text_of,
    to_cause,
    to_debt,
    to_failure,
    to_signal,
    to_span,
    to_spec,
    to_time,
)
from qwit_durable.stores.rows import TaskSpec

__all__ = ["Columns", "Encoding", "PayloadCodec"]

_FIRST_OF_JSON = ord(" ")

#: kind, position, name, attempt, args, value, detail. Nothing is None: what an event has not, is empty.
Columns = tuple[str, str, str, int, bytes, bytes, bytes]


class PayloadCodec(Protocol):
    """Changes payloads on their way into the store and back: to compress or to encrypt them."""

    def seal(self, data: bytes) -> bytes:
        """The payload as it is to be stored."""
        ...

    def open(self, data: bytes) -> bytes:
        """The payload that was sealed."""
        ...


class Encoding:
    """Events, specs and failures to columns and back, through one payload codec."""

    def __init__(self, codec: PayloadCodec | None = None) -> None:
        self.seal: Callable[[bytes], bytes] = codec.seal if codec is not None else _same
        self.open: Callable[[bytes], bytes] = codec.open if codec is not None else _plain
        self._readers: dict[str, Callable[[str, str, int, bytes, bytes, bytes], Event]] = {
            "resolved": self._resolved,
            "scheduled": self._scheduled,
            "attempt_failed": self._attempt_failed,
            "signal_received": self._signal_received,
            "timer_fired": self._timer_fired,
            "cancel_requested": self._cancel_requested,
            "deadline_passed": self._deadline_passed,
            "unwind_started": self._unwind_started,
            "completed": self._completed,
            "reopened": self._reopened,
            "restarted": self._restarted,
            "operator_acted": self._operator_acted,
        }

    # -- events ------------------------------------------------------------------------------------------------

    def write_event(self, event: Event) -> Columns:
        """The columns of an event."""
        match event:
            case Resolved():
                return self._write_resolved(event)
            case Scheduled():
                return self._write_scheduled(event)
            case AttemptFailed():
                times = {"retry_at": from_time(event.retry_at), "began_at": from_time(event.began_at)}
                failure, detail = self.write_failure(event.failure), dump_json(times)
                return "attempt_failed", event.position, event.name, event.attempt, b"", failure, detail
            case SignalReceived():
                detail = b"" if event.dedupe_id is None else dump_json({"dedupe_id": event.dedupe_id})
                return "signal_received", "", event.name, 0, b"", self.seal(event.value), detail
            case TimerFired():
                return "timer_fired", event.position, "", 0, b"", b"", b""
            case CancelRequested():
                value = self._seal_json({"reason": event.reason, "compensate": event.compensate})
                return "cancel_requested", "", "", 0, b"", value, b""
            case DeadlinePassed():
                detail = b"" if event.deadline is None else dump_json({"deadline": from_span(event.deadline)})
                return "deadline_passed", "", "", 0, b"", b"", detail
            case UnwindStarted():
                value = self._seal_json(
                    {"cause": from_cause(event.cause), "plan": [*map(from_debt, event.plan)]}
                )
                detail = b"" if event.scope is None else dump_json({"scope": event.scope})
                return "unwind_started", "", "", 0, b"", value, detail
            case Completed():
                owed = self._seal_json([*map(from_debt, event.owed)]) if event.owed else b""
                return "completed", "", "", 0, owed, self.seal(event.value), b""
            case Reopened():
                return "reopened", event.at, "", 0, b"", self._seal_json(from_cause(event.cause)), b""
            case Restarted():
                came = {"owed": [*map(from_debt, event.owed)], "signals": [*map(from_signal, event.signals)]}
                came_along = self._seal_json(came) if event.owed or event.signals else b""
                return "restarted", "", "", 0, self.seal(event.args), came_along, b""
            case OperatorActed():
                given = None if event.value is None else text_of(event.value)
                value = self._seal_json({"reason": event.reason, "value": given})
                return "operator_acted", "", event.verb.value, 0, b"", value, b""

    def read_event(self, columns: Sequence[Any]) -> Event:
        """The event that lies in these columns.

        Raises:
            StoreError: It can't be read: written by a newer release, sealed with another key, or damaged.
        """
        kind, position, name, attempt, args, value, detail = columns
        try:
            return self._readers[kind](position, name, attempt, args, value, detail)
        except (LookupError, TypeError, ValueError) as error:
            msg = (
                f"a stored event of kind {kind!r} ({name!r} at {position!r}) can't be read: {error!r}. "
                "Either a newer release wrote it (upgrade this process), or it was sealed with another payload codec"
            )
            raise StoreError(msg) from error

    def _write_resolved(self, event: Resolved) -> Columns:
        # The hot one: a step with its value needs no detail.
        outcome, seal = event.outcome, self.seal
        is_sealed = seal is not _same
        detail: dict[str, Any] = {}
        if event.kind is not Kind.STEP:
            detail["kind"] = event.kind
        if event.owes:
            detail["owes"] = True
        if event.refused is not None:
            detail["refused"] = text_of(self.seal(event.refused))
        match outcome:
            case Value():
                value = seal(outcome.data) if is_sealed else outcome.data
                if outcome.awaits is not None:
                    detail["awaits"] = outcome.awaits
            case Failure():
                detail["outcome"] = "failure"
                value = self.write_failure(outcome)
            case Dropped():
                detail["outcome"], detail["begun"], detail["left"] = "dropped", outcome.begun, outcome.left
                value = b""
        written = dump_json(detail) if detail else b""
        args = seal(event.args) if is_sealed else event.args
        return "resolved", event.position, event.name, event.attempt, args, value, written

    def _resolved(
        self, position: str, name: str, attempt: int, args: bytes, value: bytes, detail: bytes
    ) -> Resolved:
        if not detail:
            return Resolved(
                position=position,
                kind=Kind.STEP,
                name=name,
                args=self.open(args),
                outcome=Value(self.open(value)),
                attempt=attempt,
            )
        found = json.loads(detail)
        outcome: Value | Failure | Dropped
        match found.get("outcome", "value"):
            case "value":
                outcome = Value(self.open(value), found.get("awaits"))
            case "failure":
                outcome = self.read_failure(value)
            case "dropped":
                outcome = Dropped(begun=found["begun"], left=found.get("left", 0))
            case other:
                raise ValueError(other)
        refused = found.get("refused")
        return Resolved(
            position=position,
            kind=Kind(found.get("kind", Kind.STEP)),
            name=name,
            args=self.open(args),
            outcome=outcome,
            attempt=attempt,
            owes=found.get("owes", False),
            refused=None if refused is None else self.open(bytes_of(refused)),
        )

    def _write_scheduled(self, event: Scheduled) -> Columns:
        detail: dict[str, Any] = {
            "kind": event.kind,
            "due": from_time(event.due),
            "queued": event.queued,
        }
        if event.upto:
            detail["upto"] = event.upto
        value = b"" if event.given is None else self.seal(event.given)
        return (
            "scheduled",
            event.position,
            event.name,
            0,
            self.seal(event.args),
            value,
            dump_json(detail),
        )

    def _scheduled(
        self, position: str, name: str, _: int, args: bytes, value: bytes, detail: bytes
    ) -> Scheduled:
        found = json.loads(detail)
        return Scheduled(
            position=position,
            kind=Kind(found["kind"]),
            name=name,
            args=self.open(args),
            due=to_time(found.get("due")),
            queued=found.get("queued", False),
            given=self.open(value) if value else None,
            upto=found.get("upto", 0),
        )

    def _timer_fired(self, position: str, *_: Any) -> TimerFired:
        return TimerFired(position=position)

    def _attempt_failed(
        self, position: str, name: str, attempt: int, _: bytes, value: bytes, detail: bytes
    ) -> AttemptFailed:
        found = json.loads(detail)
        return AttemptFailed(
            position=position,
            name=name,
            attempt=attempt,
            failure=self.read_failure(value),
            retry_at=to_time(found.get("retry_at")),
            began_at=to_time(found.get("began_at")),
        )

    def _signal_received(
        self, _: str, name: str, __: int, ___: bytes, value: bytes, detail: bytes
    ) -> SignalReceived:
        dedupe_id = json.loads(detail)["dedupe_id"] if detail else None
        return SignalReceived(name=name, value=self.open(value), dedupe_id=dedupe_id)

    def _cancel_requested(self, *columns: Any) -> CancelRequested:
        found = self._open_json(columns[4])
        return CancelRequested(reason=found["reason"], compensate=found["compensate"])

    def _deadline_passed(self, *columns: Any) -> DeadlinePassed:
        detail = columns[5]
        return DeadlinePassed(deadline=to_span(json.loads(detail)["deadline"]) if detail else None)

    def _unwind_started(self, *columns: Any) -> UnwindStarted:
        found, detail = self._open_json(columns[4]), columns[5]
        scope = json.loads(detail)["scope"] if detail else None
        return UnwindStarted(
            cause=to_cause(found["cause"]), plan=tuple(map(to_debt, found["plan"])), scope=scope
        )

    def _completed(self, _: str, __: str, ___: int, args: bytes, value: bytes, ____: bytes) -> Completed:
        owed = tuple(map(to_debt, self._open_json(args))) if args else ()
        return Completed(value=self.open(value), owed=owed)

    def _reopened(self, *columns: Any) -> Reopened:
        return Reopened(cause=to_cause(self._open_json(columns[4])), at=columns[0])

    def _restarted(self, _: str, __: str, ___: int, args: bytes, value: bytes, ____: bytes) -> Restarted:
        came: dict[str, Any] = self._open_json(value) if value else {}
        return Restarted(
            args=self.open(args),
            owed=tuple(map(to_debt, came.get("owed", ()))),
            signals=tuple(map(to_signal, came.get("signals", ()))),
        )

    def _operator_acted(self, *columns: Any) -> OperatorActed:
        found = self._open_json(columns[4])
        given = found.get("value")
        return OperatorActed(
            verb=Verb(columns[1]), reason=found["reason"], value=None if given is None else bytes_of(given)
        )

    # -- parts of rows -----------------------------------------------------------------------------------------

    def write_failure(self, failure: Failure) -> bytes:
        """A failure, sealed."""
        return self._seal_json(from_failure(failure))

    def read_failure(self, data: bytes) -> Failure:
        """The failure that was sealed."""
        return to_failure(self._open_json(data))

    def write_spec(self, spec: TaskSpec) -> bytes:
        """What a queued attempt needs to know, sealed."""
        return self._seal_json(from_spec(spec))

    def read_spec(self, data: bytes) -> TaskSpec:
        """The spec that was sealed."""
        return to_spec(self._open_json(data))

    def _seal_json(self, value: Any) -> bytes:
        return self.seal(dump_json(value))

    def _open_json(self, data: bytes) -> Any:
        return json.loads(self.open(data))


def _same(data: bytes) -> bytes:
    return data


def _plain(data: bytes) -> bytes:
    # A process without the codec must not take what is sealed for a value: JSON begins with no control character.
    if data and data[0] < _FIRST_OF_JSON:
        msg = (
            "a stored payload is encrypted or compressed, and this process has no codec\n"
            "  way out: the Durable(codec=...) of the processes that wrote it; on the command line, --codec"
        )
        raise PayloadError(msg)
    return data
