"""The tables of runs: as they were started, what changes about the open ones, and how they ended.

The names of columns are those of `stores/schema`.
"""

from __future__ import annotations

import json
from uuid import UUID

from qwit_durable.core import Status
from qwit_durable.stores.reasons import read_reason
from qwit_durable.stores.rows import LiveRow, OutcomeRow, RunRow
from qwit_durable.stores.sql.table import Columns, OfRun

__all__ = ["Lives", "Outcomes", "Runs"]


class Runs(OfRun[RunRow]):
    """Runs as they were started."""

    name = "run"
    columns = (
        *(
            "id",
            "namespace",
            "key",
            "workflow",
            "version",
            "queue",
            "root_id",
            "args",
            "created_at",
            "start_at",
        ),
        *("parent_id", "parent_position", "lane", "attributes", "deadline_at", "trace"),
    )

    def key_of(self, row: RunRow) -> UUID:
        return row.id

    def row_in(self, row: RunRow) -> Columns:
        d = self._dialect
        return (
            d.id_in(row.id),
            row.namespace,
            row.key,
            row.workflow,
            row.version,
            row.queue,
            d.id_in(row.root_id),
            self._encoding.seal(row.args),
            d.time_in(row.created_at),
            d.maybe_time(row.start_at),
            d.maybe_id(row.parent_id),
            row.parent_position,
            row.lane,
            json.dumps(row.attributes, sort_keys=True, allow_nan=False) if row.attributes else "{}",
            d.maybe_time(row.deadline_at),
            row.trace,
        )

    def row_out(self, columns: Columns) -> RunRow:
        d = self._dialect
        run_id, namespace, key, workflow, version, queue, root_id, args, created_at, start_at, *rest = columns
        parent_id, parent_position, lane, attributes, deadline_at, trace = rest
        return RunRow(
            id=d.id_out(run_id),
            namespace=namespace,
            key=key,
            workflow=workflow,
            version=version,
            queue=queue,
            root_id=d.id_out(root_id),
            args=self._encoding.open(args),
            created_at=d.time_out(created_at),
            start_at=d.maybe_time_out(start_at),
            parent_id=d.maybe_id_out(parent_id),
            parent_position=parent_position,
            lane=lane,
            attributes=json.loads(attributes),
            deadline_at=d.maybe_time_out(deadline_at),
            trace=trace,
        )


class Lives(OfRun[LiveRow]):
    """What changes about open runs. `reason_kind` is taken out of `reason`, which may be sealed."""

    name = "live"
    columns = (
        *(
            "run_id",
            "status",
            "updated_at",
            "owner",
            "epoch",
            "head",
            "awaiting",
            "begun",
            "lost",
            "cancel_asked",
        ),
        *("reason", "reason_kind", "note", "generation"),
    )

    def key_of(self, row: LiveRow) -> UUID:
        return row.run_id

    def row_in(self, row: LiveRow) -> Columns:
        d = self._dialect
        reason = read_reason(row.reason)
        return (
            d.id_in(row.run_id),
            row.status.value,
            d.time_in(row.updated_at),
            row.owner,
            row.epoch,
            row.head,
            row.awaiting,
            row.begun,
            row.lost,
            row.cancel_asked,
            None if row.reason is None else self._encoding.seal(row.reason),
            None if reason is None else reason.kind,
            row.note,
            row.generation,
        )

    def row_out(self, columns: Columns) -> LiveRow:
        d = self._dialect
        run_id, status, updated_at, owner, epoch, head, awaiting, begun, lost, cancel_asked, *rest = columns
        reason, _, note, generation = rest
        return LiveRow(
            run_id=d.id_out(run_id),
            status=Status(status),
            updated_at=d.time_out(updated_at),
            owner=owner,
            epoch=epoch,
            head=head,
            awaiting=awaiting,
            begun=bool(begun),
            lost=lost,
            cancel_asked=bool(cancel_asked),
            reason=None if reason is None else self._encoding.open(reason),
            note=note,
            generation=generation,
        )


class Outcomes(OfRun[OutcomeRow]):
    """How runs ended."""

    name = "outcome"
    columns = ("run_id", "status", "ended_at", "value", "failure", "undone", "epoch", "head", "generation")

    def key_of(self, row: OutcomeRow) -> UUID:
        return row.run_id

    def row_in(self, row: OutcomeRow) -> Columns:
        return (
            self._dialect.id_in(row.run_id),
            row.status.value,
            self._dialect.time_in(row.ended_at),
            None if row.value is None else self._encoding.seal(row.value),
            None if row.failure is None else self._encoding.write_failure(row.failure),
            json.dumps(row.undone),
            row.epoch,
            row.head,
            row.generation,
        )

    def row_out(self, columns: Columns) -> OutcomeRow:
        run_id, status, ended_at, value, failure, undone, epoch, head, generation = columns
        return OutcomeRow(
            run_id=self._dialect.id_out(run_id),
            status=Status(status),
            ended_at=self._dialect.time_out(ended_at),
            value=None if value is None else self._encoding.open(value),
            failure=None if failure is None else self._encoding.read_failure(failure),
            undone=tuple(json.loads(undone)),
            epoch=epoch,
            head=head,
            generation=generation,
        )
