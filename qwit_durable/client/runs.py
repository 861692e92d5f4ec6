"""Runs as records, and listing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

import attrs

from qwit_durable.client.access import Access
from qwit_durable.codec import unfit_as_name
from qwit_durable.core import Status
from qwit_durable.errors import Failure, RunNotFound
from qwit_durable.stores.protocol import Reader, RunQuery
from qwit_durable.stores.rows import RunView

__all__ = ["Run", "list_runs", "not_found", "query_of"]

_PAGE = 200


@attrs.frozen(kw_only=True)
class Run:
    """A run as it stood when it was read.

    Attributes:
        id: The id that `durable.get` takes.
        lane: The lane it was started in, or None; a sub-workflow has none of its own.
        updated_at: When something was last recorded about it.
        ended_at: None while it is open.
        parent_id: The id of the run that called it, as `durable.get` takes it, or None.
        root_id: The id of the run at the top of its tree; its own if nobody called it.
        error: Why it failed, was cancelled or terminated, or None.

    >>> handle = checkout.options(id="order-17", attributes={"customer": "Ann"}).start(order)
    >>> [run] = shop.runs(attributes={"customer": "Ann"})
    >>> run.id, run.workflow, str(run.status)
    ('order-17', 'checkout', 'completed')
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
    root_id: str
    error: Failure | None
    run_id: UUID

    @classmethod
    def of(cls, view: RunView, reader: Reader) -> Run:
        """The record of what a reader answered."""
        return cls.of_all([view], reader)[0]

    @classmethod
    def of_all(cls, views: Sequence[RunView], reader: Reader) -> list[Run]:
        """The records of several: the ids of their parents and roots are read at once."""
        above = {
            above for view in views for above in (view.run.parent_id, view.run.root_id) if above is not None
        }
        keys = {view.run.id: view.run.key for view in views}
        missing = above - keys.keys()
        if missing:
            keys |= reader.keys(sorted(missing))
        return [cls._of(view, keys) for view in views]

    @classmethod
    def _of(cls, view: RunView, keys: Mapping[UUID, str]) -> Run:
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
            lane=run.lane,
            attributes=run.attributes,
            created_at=run.created_at,
            updated_at=updated,
            ended_at=outcome.ended_at if outcome is not None else None,
            parent_id=None if run.parent_id is None else keys.get(run.parent_id, str(run.parent_id)),
            root_id=keys.get(run.root_id, str(run.root_id)),
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


def query_of(
    namespace: str,
    status: Status | str | Sequence[Status | str] | None,
    workflow: str | None,
    version: str | None,
    lane: str | None,
    attributes: Mapping[str, str | int | float | bool] | None,
    *,
    roots_only: bool,
) -> RunQuery:
    """Which runs are asked for.

    Raises:
        ValueError: There is no such status, or a filter is no text that could have been stored.
        TypeError: A filter is of the wrong type.
    """
    _check_text("workflow", workflow)
    _check_text("version", version)
    _check_text("lane", lane)
    return RunQuery(
        namespace=namespace,
        statuses=_statuses(status),
        workflow=workflow,
        version=version,
        lane=lane,
        attributes=_attributes(attributes),
        roots_only=roots_only,
    )


def _statuses(status: Status | str | Sequence[Status | str] | None) -> tuple[Status, ...]:
    wanted = () if status is None else (status,) if isinstance(status, str) else tuple(status)
    known = {one.value: one for one in Status}
    for one in wanted:
        if one not in known:
            msg = f"there is no status {one!r}\n  known: {', '.join(known)}"
            raise ValueError(msg)
    return tuple(known[one] for one in wanted)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str | None):
        msg = f"runs: {name} is a text, got {value!r}"
        raise TypeError(msg)
    if isinstance(value, str) and (why := unfit_as_name(value)) is not None:
        msg = f"runs: {name} {why}"
        raise ValueError(msg)


def _check_limit(limit: object) -> None:
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        msg = f"runs: limit is a whole number, or None for all, got {limit!r}"
        raise TypeError(msg)
    if limit is not None and limit < 0:
        msg = f"runs: limit is 0 or more, or None for all, got {limit}"
        raise ValueError(msg)


def _attributes(attributes: object) -> dict[str, str | int | float | bool]:
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        msg = f"runs: attributes is a dict, got {attributes!r}"
        raise TypeError(msg)
    given = cast("Mapping[object, object]", attributes)
    wrong = [
        name
        for name, value in given.items()
        if not isinstance(name, str) or not isinstance(value, str | int | float)
    ]
    if wrong:
        one = wrong[0]
        msg = f"runs: an attribute is a text, a number or a flag under a name; that of {one!r} is {given[one]!r}"
        raise TypeError(msg)
    found = cast("dict[str, str | int | float | bool]", dict(given))
    for text in (*found, *found.values()):
        if isinstance(text, str):
            _check_text("a name or a value of attributes", text)
    return found


def list_runs(access: Access, query: RunQuery, limit: int | None) -> Iterator[Run]:
    """The runs that a query wants, newest first, read page by page as they are asked for.

    Raises:
        ValueError: The limit is below 0.
        TypeError: It is no whole number.
    """
    _check_limit(limit)
    return iter(()) if limit == 0 else _pages(access, query, limit)


def _pages(access: Access, query: RunQuery, limit: int | None) -> Iterator[Run]:
    given = 0
    while True:
        page = access.reader.runs(
            attrs.evolve(query, limit=_PAGE if limit is None else min(_PAGE, limit - given))
        )
        yield from Run.of_all(page, access.reader)
        given += len(page)
        if not page or (limit is not None and given >= limit):
            return
        query = attrs.evolve(query, before=page[-1].run.id)
