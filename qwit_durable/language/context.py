"""What a running step can learn about its own attempt.

The engine enters a `StepContext` around every attempt; it follows the step into threads' contexts and coroutines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import attrs

from qwit_durable.errors import MisuseError, NotRunningError
from qwit_durable.language.inside import attempt_here

__all__ = ["StepContext", "current"]


def _never() -> bool:
    return False


def _nothing(detail: Any) -> None:
    """Report to nobody."""


def _refuse_to_open() -> NoReturn:
    msg = "this attempt can't be left open: it is made without an engine\n  way out: test what follows the completion"
    raise NotRunningError(msg)


def _no_connection() -> NoReturn:
    msg = "current().connection is there in the attempts of steps that are @step(transactional=True)"
    raise MisuseError(msg)


@attrs.frozen(kw_only=True)
class StepContext:
    """One attempt of one step.

    Attributes:
        run_id: The run that the step belongs to.
        step: The step's name.
        attempt: The number of this attempt; the first is 1.
        idempotency_key: A key for the outside world: the same for every attempt of this command.
        last_heartbeat: What was last reported by an attempt before this one, or None: where to go on.
    """

    run_id: str
    step: str
    attempt: int
    idempotency_key: str
    last_heartbeat: Any = None
    _asked_to_stop: Callable[[], bool] = attrs.field(
        default=_never, alias="asked_to_stop", eq=False, repr=False
    )
    _report: Callable[[Any], None] = attrs.field(default=_nothing, alias="report", eq=False, repr=False)
    _open: Callable[[], str] = attrs.field(default=_refuse_to_open, alias="open", eq=False, repr=False)
    _connect: Callable[[], Any] = attrs.field(default=_no_connection, alias="connect", eq=False, repr=False)

    @property
    def context(self) -> StepContext:
        """Itself."""
        return self

    @property
    def connection(self) -> Any:
        """A connection to the store's database, inside a transaction that commits with the step's checkpoint.

        For steps that are `transactional`: what is written through it happens exactly once, whatever dies or is
        repeated; if the step fails, it never happened. The transaction begins when this is first asked for: do slow
        things before. On SQLite it locks the file until the step returns. A part that may fail goes into a savepoint.

        Returns:
            A psycopg `Connection` on Postgres, an `sqlite3.Connection` on SQLite. It is not to be committed, rolled
            back or closed. Session settings (`SET`, not `SET LOCAL`) may be met by later steps.

        Raises:
            MisuseError: The step is not transactional, or the store has no database (`memory://`).
            StoreUnavailable: The database can't be reached.

        >>> @step(transactional=True)
        ... def book(account: str, cents: int) -> None:
        ...     current().connection.execute("INSERT INTO entry VALUES (?, ?)", (account, cents))
        """
        return self._connect()

    @property
    def cancelled(self) -> bool:
        """Whether this attempt is asked to stop. A long step looks now and then and returns early; nothing kills it.

        True once the run is cancelled or has ended, once nobody waits for this step any more, and once another worker
        has taken the attempt over. The store is asked five times a second at most: ask as often as you like.
        """
        return self._asked_to_stop()

    def heartbeat(self, detail: Any = None) -> None:
        """Report that this attempt gets on, and how far it has come.

        Within `heartbeat`, the step's option, there must be a report, or the attempt ends as timed out. The last
        `detail` is kept in the store, survives the worker, and is the next attempt's `last_heartbeat`. Call it as often
        as you like: it is written once a second, or three times within `heartbeat` if that is shorter, and when the
        attempt fails. A step may report without having the option. A transactional step only says that it gets on: the
        next attempt begins anew, as what this one wrote is rolled back.

        Args:
            detail: JSON data, within `limit_bytes`: where the next attempt is to go on.

        Raises:
            EncodingError: It can't be stored.

        >>> @step(heartbeat=timedelta(minutes=1))
        ... def export(pages: int) -> None:
        ...     for page in range(current().last_heartbeat or 0, pages):
        ...         write_out(page)
        ...         current().heartbeat(page + 1)
        """
        self._report(detail)

    def open_for_completion(self) -> str:
        """The token for this attempt; `pending()` is the pleasant form."""
        return self._open()


def current() -> StepContext:
    """Tell about the attempt that is running here.

    Returns:
        The context of the step's attempt.

    Raises:
        NotRunningError: No step runs here: this is a body, a test that calls `step.fn` itself, or a thread that the
            step started without its context.

    >>> @step
    ... def charge(cents: int) -> str:
    ...     return gateway.charge(cents, idempotency_key=current().idempotency_key)
    """
    attempt = attempt_here()
    if attempt is None:
        msg = (
            "current() was called where no step runs\n"
            "  likely cause: it is in a workflow's body, or in a thread that the step started by itself\n"
            "  way out: call it in the step, or start the thread with contextvars.copy_context().run"
        )
        raise NotRunningError(msg)
    return attempt.context
