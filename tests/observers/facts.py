"""Hand-made facts: what the engine would tell observers, with times that are easy to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from qwit_durable.core import Status
from qwit_durable.errors import Failure
from qwit_durable.ids import child_id, new_run_id
from qwit_durable.observers.base import AttemptInfo, EndInfo
from qwit_durable.stores.rows import RunRow

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DECLINED = Failure(
    type="CardDeclined", message="no funds on 4242", lineage=("shop.CardDeclined", "Exception")
)


class Declined(Exception):
    pass


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def a_run(workflow: str = "checkout", *, trace: str | None = None, key: str | None = None) -> RunRow:
    run_id = new_run_id(T0)
    return RunRow(
        id=run_id,
        namespace="shop",
        key=key or str(run_id),
        workflow=workflow,
        version="7",
        queue="default",
        root_id=run_id,
        args=b'{"card":"4242"}',
        created_at=T0,
        start_at=T0,
        trace=trace,
    )


def a_child(parent: RunRow, workflow: str, position: str, *, started: float = 0) -> RunRow:
    run_id: UUID = child_id(parent.id, 0, position)
    return RunRow(
        id=run_id,
        namespace=parent.namespace,
        key=str(run_id),
        workflow=workflow,
        version=None,
        queue=parent.queue,
        root_id=parent.root_id,
        args=b"null",
        created_at=at(started),
        start_at=at(started),
        parent_id=parent.id,
        parent_position=position,
        trace=parent.trace,
    )


def an_attempt(
    run: RunRow,
    step: str,
    position: str,
    *,
    begin: float = 0,
    end: float | None = None,
    attempt: int = 1,
    failure: Failure | None = None,
    retry: float | None = None,
    inline: bool = True,
    undoes: int | None = None,
) -> AttemptInfo:
    return AttemptInfo(
        run=run,
        step=step,
        position=position,
        attempt=attempt,
        queue="mail",
        inline=inline,
        started_at=at(begin),
        ended_at=None if end is None else at(end),
        failure=failure,
        retry_at=None if retry is None else at(retry),
        undoes=undoes if undoes is not None or not position.startswith("~") else 1,
    )


def an_end(
    run: RunRow,
    status: Status = Status.COMPLETED,
    *,
    end: float,
    failure: Failure | None = None,
    reopened: bool = False,
) -> EndInfo:
    return EndInfo(run=run, status=status, ended_at=at(end), failure=failure, reopened=reopened)
