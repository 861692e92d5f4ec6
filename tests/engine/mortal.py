"""A store and bells that die: what crash-point tests are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwit_durable.engine.ports import SPREAD
from qwit_durable.errors.interrupt import Interrupt
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Commit, ResolveTask, Write
from qwit_durable.testing.environment import VirtualBells


class ProcessDied(Interrupt):
    """The process is gone: nothing of the library may catch this."""


class MortalStore:
    """Passes everything on to a store until the n-th write, and dies before or after it."""

    def __init__(self, store: Store, *, dies_at: int | None = None, after: bool = False) -> None:
        self._store = store
        self._dies_at = dies_at
        self._after = after
        self.calls = 0
        self.is_dead = False

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        if self.is_dead:
            raise ProcessDied
        self.calls += 1
        if self.calls == self._dies_at:
            self.is_dead = True
            if self._after:
                self._store.apply(writes)
            raise ProcessDied
        return self._store.apply(writes)

    def transaction(self) -> _MortalTransaction:
        """A step's transaction: its end is a write too."""
        return _MortalTransaction(self, self._store.transaction())

    def commit(self, transaction: Transaction, write: Commit | ResolveTask) -> Answer:
        """Commit, or die before or after it."""
        if self.is_dead:
            raise ProcessDied
        self.calls += 1
        if self.calls == self._dies_at:
            self.is_dead = True
            if self._after:
                transaction.commit(write)
            raise ProcessDied
        return transaction.commit(write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _MortalTransaction:
    def __init__(self, store: MortalStore, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction

    def commit(self, write: Commit | ResolveTask) -> Answer:
        return self._store.commit(self._transaction, write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)


class LossyBells(VirtualBells):
    """Bells of which the n-th is lost, or rung twice."""

    def __init__(self, *, loses: int | None = None, doubles: int | None = None) -> None:
        super().__init__()
        self._loses = loses
        self._doubles = doubles
        self.count = 0

    def ring(
        self, rings: Sequence[Ring], *, spread: int = SPREAD, alike: frozenset[str] = frozenset()
    ) -> None:
        _ = spread, alike
        for ring in rings:
            self.count += 1
            if self.count == self._loses:
                continue
            super().ring([ring, ring] if self.count == self._doubles else [ring])
