"""Runs as records, and listing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

import attrs

from qwit_durable.client.access import Access
from qwit_durable.core import Status
from qwit_durable.errors import Failure, RunNotFound
from qwit_durable.stores.protocol import RunQuery
from qwit_durable.stores.rows import RunView

__all__ = ["Run", "list_runs", "not_found"]

_PAGE = 200


@attrs.frozen(kw_only=True)
class Run:
    """A run as it stood when it was read.

    Attributes:
        id: The id that `durable.get` takes.
        lane: The lane it belongs to, or None.
        updated_at: When something was last recorded about it.
        ended_at: None while it is open.
        parent_id: The UUID of the run that called it, or None.
        error: Why it failed, was cancelled or terminated, or None.
    """

    id: str
    workflow: str
    version: str | None
    status: Status
    lane: str | None
    attributes: Mapping[str, str | int | float | bool]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    parent_id: str | None
    error: Failure | None
    run_id: UUID

    @classmethod
    def of(cls, view: RunView) -> Run:
        """The record of what a reader answered."""
        run, live, outcome = view.run, view.live, view.outcome
        updated = (
            outcome.ended_at
            if outcome is not None
            else live.updated_at
            if live is not None
            else run.created_at
        )
        return cls(
            id=run.key,
            workflow=run.workflow,
            version=run.version,
            status=view.status,
            lane=None,
            attributes=run.attributes,
            created_at=run.created_at,
            updated_at=updated,
            ended_at=outcome.ended_at if outcome is not None else None,
            parent_id=str(run.parent_id) if run.parent_id is not None else None,
            error=outcome.failure if outcome is not None else None,
            run_id=run.id,
        )

    def __str__(self) -> str:
        error = f"  {self.error}" if self.error is not None else ""
        return f"{self.id}  {self.workflow}  {self.status}  {self.created_at:%Y-%m-%d %H:%M:%S}{error}"


def not_found(run_id: str, namespace: str, url: str) -> RunNotFound:
    """What to raise where no run has an id."""
    return RunNotFound(
        f"no run {run_id!r} in namespace {namespace!r} of {url}\n"
        f"  likely cause: another namespace or another store, or it has been pruned\n"
        f"  way out: durable.runs() lists what is there"
    )


def list_runs(access: Access, query: RunQuery, limit: int | None) -> Iterator[Run]:
    """The runs that a query wants, newest first, read page by page as they are asked for."""
    given = 0
    while True:
        page = access.reader.runs(
            attrs.evolve(query, limit=_PAGE if limit is None else min(_PAGE, limit - given))
        )
        for view in page:
            yield Run.of(view)
        given += len(page)
        if not page or (limit is not None and given >= limit):
            return
        query = attrs.evolve(query, before=page[-1].run.id)
