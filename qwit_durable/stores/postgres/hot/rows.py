"""A batch as rows: arrays side by side, one for each column.

Written as what a SELECT lists, and not as `FROM unnest(a, b)`: there the server keeps what each array yields in a
store of its own before it puts the rows together, 3 µs an array, and some statements have thirty.
"""

from __future__ import annotations

from qwit_durable.stores.kernel.waking import RING_GRACE

__all__ = ["EVENT_ROWS", "rows", "turns_asked"]

_GRACE = f"interval '{RING_GRACE.total_seconds()} seconds'"
#: The columns of events, as `rows` takes them.
EVENT_ROWS = "kind text, position text, name text, attempt int8, args bytea, value bytea, detail bytea"


def rows(name: str, first: int, columns: str, *others: tuple[int, str]) -> str:
    """Rows of that name, whose columns are given with their types: parameters from `first` on.

    `others` are further columns, each with the number of its parameter.

    >>> rows("given", 2, "id uuid, count int8", (9, "place tid"))
    '(SELECT unnest($2::uuid[]) AS id, unnest($3::int8[]) AS count, unnest($9::tid[]) AS place) AS given'
    """
    numbered = [*enumerate(columns.split(", "), start=first), *others]
    listed = [(number, *column.split(" ")) for number, column in numbered]
    return (
        f"(SELECT {', '.join(f'unnest(${n}::{kind}[]) AS {label}' for n, label, kind in listed)}) AS {name}"
    )


def turns_asked(source: str, at: str, grace: str = _GRACE) -> str:
    """Owe a turn to each `run` of a source, at the time in that column: `stores.kernel.waking.ask_for_turn`."""
    return f"""INSERT INTO qwit.task (
        run_id, position, queue, name, ready_at, ring_at, attempt, rings, cancelled, opened
    )
    SELECT run.id, '', run.queue, run.workflow, {at}, {at} + {grace}, 0, 0, false, 0
    FROM {source}
    ON CONFLICT (run_id, position) DO UPDATE SET
        ready_at = least(task.ready_at, excluded.ready_at), ring_at = least(task.ring_at, excluded.ring_at),
        rings = 0, note = null"""
