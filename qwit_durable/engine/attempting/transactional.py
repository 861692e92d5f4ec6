"""The transaction of an attempt: of a transactional step's, its own; of any other step's, none."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import NoReturn, Self

from qwit_durable.engine.attempting.attempts import Work
from qwit_durable.errors import Failure, MisuseError, StoreUnavailable
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.transactions import Transaction
from qwit_durable.stores.writes import Commit, ResolveTask

__all__ = ["NO_TRANSACTION", "committed_within", "not_transactional", "transaction_of"]


def transaction_of(store: Store, work: Work) -> AbstractContextManager[Transaction]:
    """The transaction that an attempt may use; what was not committed in the block is rolled back with it."""
    return closing(store.transaction()) if work.settings.transactional else NO_TRANSACTION


def committed_within(transaction: Transaction, write: Commit | ResolveTask) -> Answer | Failure:
    """The answer to the checkpoint; how the attempt failed, if the database won't have what the step wrote."""
    try:
        return transaction.commit(write)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a constraint that is checked at the end, for example
        return Failure.of(error)


def not_transactional(work: Work) -> MisuseError:
    """The error for a step that asked for a connection and is given none."""
    name, undo = work.step.name, ".undo" if work.is_undo else ""
    right = f"@{name}.undo(transactional=True)" if undo else "@step(transactional=True)"
    return MisuseError(
        f"step {name!r}{undo} asked for current().connection and is not transactional\n  right:  {right}"
    )


class _NoTransaction:
    """For steps that asked for none. It is its own block, as almost every attempt has it."""

    is_begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to let go of."""

    def connection(self) -> NoReturn:
        raise AssertionError

    def commit(self, write: Commit | ResolveTask) -> NoReturn:
        msg = f"nothing was begun, so {type(write).__name__} is committed elsewhere"
        raise AssertionError(msg)

    def abandon(self) -> None:
        """Nothing to roll back."""

    def close(self) -> None:
        """Nothing to let go of."""


NO_TRANSACTION = _NoTransaction()
