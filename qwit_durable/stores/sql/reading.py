"""What the readers over SQL share: the store's tables, and one statement at a time outside any transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qwit_durable.stores.sql.table import Columns

if TYPE_CHECKING:
    from qwit_durable.stores.sql.tables import Tables

__all__ = ["SqlReading"]


class SqlReading(ABC):
    """A store says how a statement is carried out; readers say which."""

    _tables: Tables

    @abstractmethod
    def _rows(self, sql: str, params: Sequence[Any] = ()) -> Sequence[Columns]:
        """Carry out one statement."""
