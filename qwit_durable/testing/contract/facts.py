"""Hypothesis strategies for what stores keep: events of every kind, failures, specs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from qwit_durable.core import (
    AttemptFailed,
    CancelRequested,
    Cause,
    Completed,
    DeadlinePassed,
    Debt,
    DebtKind,
    Dropped,
    Event,
    Kind,
    OperatorActed,
    Reopened,
    Resolved,
    Scheduled,
    SignalReceived,
    TimerFired,
    UnwindStarted,
    Value,
    Verb,
)
from qwit_durable.core.carried import Carried
from qwit_durable.errors import Failure
from qwit_durable.stores.rows import TaskSpec

__all__ = ["events", "failures", "payloads", "specs"]

# What every database takes as text: no NUL, and no half of a surrogate pair.
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as it wants
_spans = st.timedeltas(timedelta(0), timedelta(days=400))
_positions = st.sampled_from(["0", "3", "3.1.0", "~3", "12"])
_kinds = st.sampled_from(Kind)
_attempts = st.integers(0, 1000)

payloads: st.SearchStrategy[bytes] = st.recursive(
    st.none() | st.booleans() | st.integers() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=4,
).map(lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False).encode())

_causeless = st.builds(
    Failure,
    type=_texts,
    message=_texts,
    traceback=_texts,
    lineage=st.lists(_texts, max_size=3).map(tuple),
    outcome_unknown=st.booleans(),
    by_deadline=st.booleans(),
)
failures: st.SearchStrategy[Failure] = st.builds(
    Failure,
    type=_texts,
    message=_texts,
    lineage=st.lists(_texts, max_size=3).map(tuple),
    cause=st.none() | _causeless,
)
_retries = st.tuples(
    st.integers(1, 100),
    _spans,
    st.floats(1, 10),
    _spans,
    st.lists(_texts, max_size=2).map(tuple),
    st.lists(_texts, max_size=2).map(tuple),
    st.booleans(),
)
_debts = st.lists(
    st.builds(
        Debt,
        position=_positions,
        kind=st.sampled_from(DebtKind),
        name=_texts,
        args=payloads,
        result=st.none() | payloads,
        settings=st.none()
        | st.builds(
            Carried,
            retry=_retries,
            queue=st.none() | _texts,
            priority=st.none() | st.integers(0, 9),
            timeout=st.none() | _spans,
            heartbeat=st.none() | _spans,
            transactional=st.booleans(),
        ),
    ),
    max_size=3,
).map(tuple)
_causes = st.builds(Cause, failure=failures, cancelled=st.booleans())
_outcomes = st.one_of(st.builds(Value, payloads), failures, st.builds(Dropped, begun=st.booleans()))

events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Resolved,
        position=_positions,
        kind=st.just(Kind.STEP),
        name=_texts,
        outcome=st.builds(Value, payloads),
    ),
    st.builds(
        Resolved,
        position=_positions,
        kind=_kinds,
        name=_texts,
        args=payloads,
        outcome=_outcomes,
        attempt=_attempts,
        owes=st.booleans(),
    ),
    st.builds(
        Scheduled,
        position=_positions,
        kind=_kinds,
        name=_texts,
        args=payloads,
        due=st.none() | _times,
        queued=st.booleans(),
    ),
    st.builds(
        AttemptFailed,
        position=_positions,
        name=_texts,
        attempt=_attempts,
        failure=failures,
        retry_at=st.none() | _times,
        began_at=st.none() | _times,
    ),
    st.builds(SignalReceived, name=_texts, value=payloads, dedupe_id=st.none() | _texts),
    st.builds(TimerFired, position=_positions),
    st.builds(CancelRequested, reason=_texts, compensate=st.booleans()),
    st.builds(DeadlinePassed, deadline=st.none() | _spans),
    st.builds(UnwindStarted, cause=_causes, plan=_debts),
    st.builds(Completed, value=payloads, owed=_debts),
    st.builds(Reopened, cause=_causes),
    st.builds(OperatorActed, verb=st.sampled_from(Verb), reason=_texts, value=st.none() | payloads),
)

specs: st.SearchStrategy[TaskSpec] = st.builds(
    TaskSpec,
    kind=_kinds,
    name=_texts,
    args=payloads,
    then=st.none() | _positions,
    rings=st.none() | st.tuples(_attempts, _attempts),
    result=st.none() | payloads,
    failure=st.none() | failures,
    timeout=st.none() | _spans,
    deadline=st.none() | _spans,
    heartbeat=st.none() | _spans,
    retry=st.none() | _retries,
)
