"""Why a run is stuck or paused, as it is kept on its live row: JSON with a `kind`, a `text` and the status before.

Kinds: `code` (the body no longer matches, or misuses the language: a fixed deploy goes on), `undo` (an undo gave up),
`failed` (the body failed and its workflow parks on failure), `crash` (five holders died in a
row), `operator` (paused by a person).
"""

from __future__ import annotations

import json
from typing import Any, Literal

import attrs

from qwit_durable.core import Status

__all__ = ["Reason", "ReasonKind", "is_over_code", "read_reason", "status_before"]

ReasonKind = Literal["code", "undo", "failed", "crash", "operator"]


@attrs.frozen(kw_only=True)
class Reason:
    """Why a run stands still. `details` are facts for programs; `text` is for people."""

    kind: ReasonKind
    text: str
    was: Status = Status.RUNNING
    details: dict[str, Any] = attrs.field(factory=dict[str, Any])

    def encode(self) -> bytes:
        """As it is stored."""
        found = {"kind": self.kind, "text": self.text, "was": self.was.value, "details": self.details}
        return json.dumps(found, sort_keys=True).encode()


def read_reason(data: bytes | None) -> Reason | None:
    """The stored reason, or None."""
    if data is None:
        return None
    found = json.loads(data)
    return Reason(
        kind=found["kind"], text=found["text"], was=Status(found["was"]), details=found.get("details", {})
    )


def is_over_code(data: bytes | None) -> bool:
    """Whether another deploy may mend it."""
    reason = read_reason(data)
    return reason is not None and reason.kind == "code"


def status_before(data: bytes | None) -> Status:
    """The status to go back to."""
    reason = read_reason(data)
    return Status.RUNNING if reason is None else reason.was
