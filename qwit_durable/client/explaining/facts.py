"""Everything the store says about one run at one moment: what an explanation is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import attrs

from qwit_durable.client.explaining.lanes import Lane
from qwit_durable.client.explaining.standing import Standing
from qwit_durable.client.when import When
from qwit_durable.client.workers import Workers
from qwit_durable.core import Kind, origin_of
from qwit_durable.errors import RunNotFound
from qwit_durable.ids import child_id
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.rows import RunView, TaskRow, TimerRow

__all__ = ["Facts"]

_READINGS = 3


@attrs.frozen(kw_only=True)
class Facts:
    """One run and what surrounds it. `children` are only read where a sub-workflow is waited for."""

    view: RunView
    standing: Standing
    tasks: Mapping[str, TaskRow]
    timers: Mapping[str, TimerRow]
    children: Mapping[UUID, RunView]
    workers: Workers
    now: datetime
    lane: Lane | None = None

    @classmethod
    def read(cls, reader: Reader, view: RunView) -> Facts:
        """Read it all; again, if the run has moved meanwhile, for it is read in several pieces.

        Raises:
            RunNotFound: The run was removed meanwhile.
        """
        facts = cls._read_once(reader, view)
        for _ in range(_READINGS):
            found = reader.view(view.run.id)
            if found is None:
                msg = f"run {view.run.key} is not in the store any more"
                raise RunNotFound(msg)
            if found == facts.view:
                break
            facts = cls._read_once(reader, found)
        return facts

    @classmethod
    def _read_once(cls, reader: Reader, view: RunView) -> Facts:
        run_id = view.run.id
        is_open = view.live is not None
        standing = Standing(reader.history(run_id))
        children: Sequence[RunView] = ()
        if is_open and any(cls._calls_child(standing, position) for position in standing.open):
            children = reader.children(run_id)
        now = reader.now()
        tasks = reader.tasks(run_id) if is_open else ()
        waits_for_worker = any(task.owner is None and task.ready_at <= now for task in tasks)
        return cls(
            view=view,
            standing=standing,
            tasks={task.position: task for task in tasks},
            timers={timer.position: timer for timer in reader.timers(run_id)} if is_open else {},
            children={child.run.id: child for child in children},
            workers=Workers(
                tuple(reader.workers()) if is_open else (), now, reader.in_hand() if waits_for_worker else {}
            ),
            now=now,
            lane=Lane.read(reader, view.run) if is_open else None,
        )

    @staticmethod
    def _calls_child(standing: Standing, position: str) -> bool:
        if standing.reopens(position) is not None:
            return True
        return standing.open[position].kind is Kind.WORKFLOW

    @property
    def when(self) -> When:
        """Tells moments as seen from the store's time."""
        return When(self.now)

    def child_at(self, position: str) -> RunView | None:
        """The sub-workflow that an open command waits for."""
        debt = self.standing.reopens(position)
        run = self.view.run
        return self.children.get(
            child_id(run.id, *origin_of(position if debt is None else debt.position, self.view.generation))
        )

    def is_child(self, position: str) -> bool:
        """Whether the open command at a position is a sub-workflow."""
        return self._calls_child(self.standing, position)
