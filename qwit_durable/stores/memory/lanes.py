"""Lanes in memory: row access over the dictionaries of `stores.memory.rows`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from qwit_durable.stores.lanes import LaneKey
from qwit_durable.stores.rows import LaneRow, PlaceRow

if TYPE_CHECKING:
    from qwit_durable.stores.memory.rows import MemoryRows

__all__ = ["MemoryLanes"]


class MemoryLanes:
    """`stores.lanes.Lanes` over dictionaries; the store's one lock is held."""

    def __init__(self, rows: MemoryRows) -> None:
        self._rows = rows

    def lock(self, keys: Iterable[LaneKey]) -> None:
        pass

    def get(self, key: LaneKey) -> LaneRow | None:
        return self._rows.lane.get(key)

    def head(self, key: LaneKey) -> UUID | None:
        lane = self._rows.lane.get(key)
        return None if lane is None else lane.head

    def put(self, row: LaneRow) -> None:
        self._rows.lane.put((row.namespace, row.lane), row)

    def drop(self, key: LaneKey) -> None:
        self._rows.lane.drop(key)

    def place(self, run_id: UUID) -> PlaceRow | None:
        return self._rows.place.get(run_id)

    def next_place(self, lane: LaneRow) -> PlaceRow:
        # Each number is passed once in a lane's life: the head's number moves past those who left.
        numbers = range(lane.number + 1, lane.last + 1)
        found = (self._rows.place_at.get((lane.namespace, lane.lane, number)) for number in numbers)
        return self._rows.place[next(run_id for run_id in found if run_id is not None)]

    def put_place(self, row: PlaceRow) -> None:
        self._rows.place.put(row.run_id, row)
        self._rows.place_at.put((row.namespace, row.lane, row.number), row.run_id)

    def drop_place(self, row: PlaceRow) -> None:
        self._rows.place.drop(row.run_id)
        self._rows.place_at.drop((row.namespace, row.lane, row.number))
