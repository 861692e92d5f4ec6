"""What a table is: its columns and the statements that follow from them.

Neighbours: `stores.sql.run_tables` and `stores.sql.tables` describe each table; `stores.sql.mapped` keeps rows of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from qwit_durable.stores.encoding import Encoding
from qwit_durable.stores.sql.dialect import Dialect, marks

__all__ = ["AtPosition", "Columns", "OfRun", "Table"]

_K = TypeVar("_K")
_R = TypeVar("_R")
Columns = Sequence[Any]


class Table(ABC, Generic[_K, _R]):
    """One table and its statements. The first `width` columns are its key; values follow in the order of `columns`."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    width: ClassVar[int] = 1

    def __init__(self, dialect: Dialect, encoding: Encoding) -> None:
        self._dialect = dialect
        self._encoding = encoding
        key, rest = self.columns[: self.width], self.columns[self.width :]
        where = " AND ".join(f"{column} = ?" for column in key)
        insert = (
            f"INSERT INTO {{{self.name}}} ({', '.join(self.columns)}) VALUES ({marks(len(self.columns))})"
        )
        renewed = ", ".join(f"{column} = excluded.{column}" for column in rest)
        then = f"DO UPDATE SET {renewed}" if rest else "DO NOTHING"
        changed = ", ".join(f"{column} = ?" for column in rest)
        self.select = dialect.sql(f"SELECT {self.listed()} FROM {{{self.name}}} WHERE {where}")
        self.insert = dialect.sql(insert)
        self.upsert = dialect.sql(f"{insert} ON CONFLICT ({', '.join(key)}) {then}")
        self.update = dialect.sql(f"UPDATE {{{self.name}}} SET {changed} WHERE {where}")
        self.delete = dialect.sql(f"DELETE FROM {{{self.name}}} WHERE {where}")

    @classmethod
    @cache
    def listed(cls, alias: str = "") -> str:
        """The columns as they stand in a select."""
        return ", ".join(f"{alias}.{column}" if alias else column for column in cls.columns)

    @abstractmethod
    def key_of(self, row: _R) -> _K:
        """The key of a row."""

    @abstractmethod
    def key_in(self, key: _K) -> Columns:
        """A key as columns."""

    @abstractmethod
    def row_in(self, row: _R) -> Columns:
        """A row as columns."""

    @abstractmethod
    def row_out(self, columns: Columns) -> _R:
        """The row in these columns."""


class OfRun(Table[UUID, _R]):
    """One row per run."""

    def key_in(self, key: UUID) -> Columns:
        return (self._dialect.id_in(key),)


class AtPosition(Table[tuple[UUID, str], _R]):
    """Rows of a run, each with a text of its own."""

    width = 2

    def key_in(self, key: tuple[UUID, str]) -> Columns:
        return self._dialect.id_in(key[0]), key[1]
