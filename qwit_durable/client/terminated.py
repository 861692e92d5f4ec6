"""Telling observers of runs that were terminated: nobody else saw them end."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from qwit_durable.client.access import Access
from qwit_durable.core import Status
from qwit_durable.observers.base import EndInfo, Observers
from qwit_durable.stores.rows import RunView

__all__ = ["tell_terminated"]


def tell_terminated(access: Access, run_id: UUID) -> None:
    """Tell this process's observers of a run that it has just terminated, after what ended with it below."""
    view = access.reader.view(run_id)
    if not access.observers or view is None:
        return
    observers = Observers(access.observers)
    for ended in _ended_with(access, view):
        assert ended.outcome is not None
        end = EndInfo(
            run=ended.run,
            status=Status.TERMINATED,
            ended_at=ended.outcome.ended_at,
            failure=ended.outcome.failure,
        )
        observers.tell("run_finished", end)


def _ended_with(access: Access, view: RunView) -> Iterator[RunView]:
    """The run and what ended in the same moment below it, the innermost first."""
    outcome = view.outcome
    if outcome is None or outcome.status is not Status.TERMINATED:
        return
    for child in access.reader.children(view.run.id):
        if child.outcome is not None and child.outcome.ended_at == outcome.ended_at:
            yield from _ended_with(access, child)
    yield view
