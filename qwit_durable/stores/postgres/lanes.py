"""Lanes on a server: locked by name, and whoever is next is looked up ahead.

The lock is an advisory one on the hash of the name, which ends with the transaction: it is there before the lane is, so
two starts into an empty lane come one after the other. The lane's row is locked besides: by that alone it is had by the
end of a head that waits for nobody (`pg.hot.finish_in_lane`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from qwit_durable.stores.lanes import LaneKey
from qwit_durable.stores.rows import LaneRow, PlaceRow
from qwit_durable.stores.sql.lanes import PlaceTable, SqlLanes
from qwit_durable.stores.sql.run_tables import Runs
from qwit_durable.stores.sql.table import Columns

__all__ = ["LOCK", "LOCK_PATIENCE", "PATIENCE", "PgLanes", "lock_of"]

#: A process that is stopped in the middle of a transaction keeps its lanes locked: whoever waits for one gives up after
#: a while. For this transaction alone: a pooler may stand in between.
PATIENCE = "SELECT set_config('lock_timeout', %s, true)"
LOCK_PATIENCE = "10s"
LOCK = "SELECT pg_advisory_xact_lock(lock) FROM unnest(%s::int8[]) AS lock"
_NEXT = f"""
SELECT {PlaceTable.listed("place")}, {Runs.listed("run")}
FROM unnest(%s::text[], %s::text[]) AS wanted (namespace, lane)
JOIN qwit.lane USING (namespace, lane)
CROSS JOIN LATERAL (
    SELECT {PlaceTable.listed("found")} FROM qwit.place AS found
    WHERE found.namespace = lane.namespace AND found.lane = lane.lane AND found.number > lane.number
    ORDER BY found.number LIMIT 1
) AS place
JOIN qwit.run ON run.id = place.run_id
"""


def lock_of(key: tuple[str, str], person: bytes) -> int:
    """The number of the advisory lock for a name in a namespace; `person` tells kinds of names apart."""
    digest = hashlib.blake2b("\0".join(key).encode(), digest_size=8, person=person).digest()
    return int.from_bytes(digest, "big", signed=True)


class PgLanes(SqlLanes):
    """`stores.lanes.Lanes`, locked, and with foresight."""

    _foreseen: dict[LaneKey, PlaceRow] | None = None

    def foresee_locks(self, keys: Collection[LaneKey]) -> tuple[str, Sequence[Any]]:
        """The statement that locks these lanes."""
        self._locked.update(keys)
        return LOCK, [sorted(lock_of(key, b"qwit-lane") for key in keys)]

    def foresee_next(self, keys: Collection[LaneKey]) -> tuple[str, Sequence[Any]]:
        """The statement that finds who is next in these locked lanes, and that run as it was started."""
        return _NEXT, [list(names) for names in zip(*sorted(keys), strict=True)]

    def expect_next(self, rows: Iterable[Columns]) -> None:
        """Take down what that statement has answered."""
        self._foreseen = {(row.namespace, row.lane): row for row in self.places.take(rows)}

    def next_place(self, lane: LaneRow) -> PlaceRow:
        found = (self._foreseen or {}).get((lane.namespace, lane.lane))
        # It may have moved up or left earlier in this batch.
        if found is not None and found.number > lane.number and self.places.get(found.run_id) is not None:
            return found
        return super().next_place(lane)

    def _take_locks(self, keys: list[LaneKey]) -> None:
        self._statements.rows(*self.foresee_locks(keys))
