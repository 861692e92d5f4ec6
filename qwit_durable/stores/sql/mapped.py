"""The rows of one table that a batch has touched: so it sees its own writes, and writes each row once.

Imports nothing but the description of tables. `stores.sql.session` has one per table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from qwit_durable.stores.sql.dialect import Statements
from qwit_durable.stores.sql.table import Columns, Table

__all__ = ["Mapped"]

_K = TypeVar("_K")
_R = TypeVar("_R")
Change = tuple[str, Sequence[Sequence[Any]]]


class Mapped(Generic[_K, _R]):
    """Rows by their keys: as they were found (None: not there), and as they are to be."""

    def __init__(self, table: Table[_K, _R], statements: Statements, lock: str = "") -> None:
        self._table = table
        self._statements = statements
        self._lock = lock
        self._found: dict[_K, _R | None] = {}
        self._changed: dict[_K, _R | None] = {}

    def knows(self, key: _K) -> bool:
        """Whether the database need not be asked."""
        return key in self._changed or key in self._found

    def get(self, key: _K) -> _R | None:
        """The row as this batch sees it."""
        if key in self._changed:
            return self._changed[key]
        if key not in self._found:
            rows = self._statements.rows(self._table.select + self._lock, self._table.key_in(key))
            self._found[key] = self._table.row_out(rows[0]) if rows else None
        return self._found[key]

    def put(self, row: _R) -> None:
        """Insert or replace a row."""
        self._changed[self._table.key_of(row)] = row

    def drop(self, key: _K) -> None:
        """Remove a row."""
        self._changed[key] = None

    def forget(self, keys: Iterable[_K]) -> None:
        """Take it that these rows are gone: somebody else's statement removes them."""
        for key in keys:
            self._changed.pop(key, None)
            self._found[key] = None

    def unlearn(self, keys: Iterable[_K]) -> None:
        """Ask the database again for these rows; nothing of them may be waiting to be written."""
        for key in keys:
            self._found.pop(key, None)

    def known_keys(self) -> set[_K]:
        """All keys that this batch has touched."""
        return self._found.keys() | self._changed.keys()

    def take(self, rows: Iterable[Columns]) -> list[_R]:
        """Rows that a statement has answered, as this batch sees them; nothing may be waiting to be written."""
        taken: list[_R] = []
        for columns in rows:
            row = self._table.row_out(columns)
            self._found[self._table.key_of(row)] = row
            taken.append(row)
        return taken

    def expect(self, keys: Iterable[_K], rows: Iterable[Columns]) -> None:
        """Take down what a statement has answered for these keys: those without a row are not there."""
        for key in keys:
            self._found.setdefault(key, None)
        self.take(rows)

    def written(self) -> Iterator[tuple[_K, _R]]:
        """The rows that are there, as far as this batch knows."""
        for key, row in {**self._found, **self._changed}.items():
            if row is not None:
                yield key, row

    @property
    def is_dirty(self) -> bool:
        """Whether anything is to be written."""
        return bool(self._changed)

    def changes(self) -> list[Change]:
        """The statements that make the database so, by kind; afterwards nothing is left to be written."""
        table, width = self._table, self._table.width
        inserts: list[Columns] = []
        upserts: list[Columns] = []
        updates: list[Columns] = []
        deletes: list[Columns] = []
        # In the order of keys: rows that are not locked yet are locked in that order.
        changed: Any = self._changed
        keys: list[_K] = sorted(changed)
        for key in keys:
            row = self._changed[key]
            if key not in self._found:
                if row is None:
                    deletes.append(table.key_in(key))
                else:
                    upserts.append(table.row_in(row))
            elif (found := self._found[key]) is None:
                if row is not None:
                    inserts.append(table.row_in(row))
            elif row is None:
                deletes.append(table.key_in(key))
            elif row != found:
                columns = table.row_in(row)
                updates.append((*columns[width:], *columns[:width]))
        self._found.update(self._changed)
        self._changed.clear()
        kinds = (
            (table.delete, deletes),
            (table.update, updates),
            (table.insert, inserts),
            (table.upsert, upserts),
        )
        return [change for change in kinds if change[1]]
