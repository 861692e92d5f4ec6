"""Where live rows lie, for those that are looked for again and again while nothing of what they were can be removed.

Each update leaves a dead version of its row. As a rule the next look by the key removes those of its page, and the row
stays where it is. While somebody holds an old snapshot (a dump, a report, a forgotten transaction) none can be removed,
and a look by the key passes all of them: 50 ns each, half a millisecond after 10,000 steps of one run. The row then
moves from page to page, which is how it is known: from there on it is looked for where the last write has said.

That place is a guess. Statements compare the run's id there and all else besides; a row that somebody else has changed
since lies elsewhere, is not found, and is left to the kernel, which looks by the key. A look by place removes no dead
versions, so it is not the rule, and the key has its turn again: after 64 writes, and if the row moves on, after twice
as many each time. So what the looks by key cost a write stays the same, however long the run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import attrs

__all__ = ["AT_PLACE", "IS_TASK", "Places", "is_key"]


def is_key(column: str, key: str) -> str:
    """The condition that a column is a key from elsewhere in the statement, by which its rows are to be looked for.

    A plain comparison joins in any direction. Where the server took a table to be all but empty when it planned, it
    would read its whole index each time, dead entries and all; by this one it can only look a key up.
    """
    return f"{column} = ANY(ARRAY[{key}])"


#: The same for a task at `place` of a run `id`: both parts of its key at once.
IS_TASK = """
task.ctid = (SELECT own.ctid FROM qwit.task AS own WHERE own.run_id = id AND own.position = place)
"""

#: The condition that a live row is at `place`, or has the key `id` where that is NULL. (The comparison of ids is one
#: that no index serves, so that no plan goes by it.)
AT_PLACE = """
live.ctid = coalesce(place, (SELECT own.ctid FROM qwit.live AS own WHERE own.run_id = id))
AND live.run_id IS NOT DISTINCT FROM id
"""

_MOST_ROWS = 2000
_BLOCK_BYTES = 4
#: How many writes go by place when a row has moved for the first time.
_STRETCH = 64
#: A page holds fewer versions of rows than this: if a row stays, then the dead ones are being removed.
_STAYS = 512


@attrs.define
class _Row:
    """Where a row was last, whether it was left there, and how many writes in a row are to go by that place."""

    at: bytes
    is_there: bool = True
    left: int = 0
    stretch: int = _STRETCH // 2


class Places:
    """What a process knows of where live rows are, by the bytes of their runs' ids."""

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()

    def of(self, run_ids: Sequence[bytes]) -> Sequence[bytes | None] | None:
        """Where these rows are, None for each that is not known; None if all are to be looked for by their keys."""
        rows = [self._rows.get(run_id) for run_id in run_ids]
        for row in rows:
            if row is not None and row.is_there and row.left > 0:
                return [row.at if row is not None and row.is_there else None for row in rows]
        return None

    def found(self, run_id: bytes, place: bytes) -> None:
        """A write of ours has left a row there."""
        row = self._rows.get(run_id)
        if row is None:
            self._rows[run_id] = _Row(place)
            if len(self._rows) > _MOST_ROWS:
                self._rows.popitem(last=False)
            return
        row.left -= 1
        if row.left < 0:
            if row.at[:_BLOCK_BYTES] != place[:_BLOCK_BYTES]:
                row.stretch *= 2
                row.left = row.stretch
            elif row.left < -_STAYS:
                row.stretch = _STRETCH // 2
        row.at, row.is_there = place, True
        self._rows.move_to_end(run_id)

    def lost(self, run_id: bytes) -> None:
        """Another write may have changed a row."""
        row = self._rows.get(run_id)
        if row is not None:
            row.is_there = False
