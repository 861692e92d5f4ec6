"""Waiting for a turn to write: SQLite has one writer at a time, and tells nobody when the file is free.

Its own way of waiting is to sleep longer and longer, up to a tenth of a second. A busy process leaves the file free for
a tenth of a millisecond between two commits, so whoever waits like that meets ever fewer of these moments: eight
threads got a hundredth of the commits that one thread of another process made beside them, and waited for seconds.
Looks that follow each other closely find the moment after a few commits, however long those take. A look costs ten
microseconds.
"""

from __future__ import annotations

import sqlite3
import threading

from qwit_durable.clock import monotonic

__all__ = ["BEGIN", "is_busy", "wait_oneself", "when_free"]

BEGIN = "BEGIN IMMEDIATE"

_FIRST_PAUSE_SECONDS = 0.0002
_LAST_PAUSE_SECONDS = 0.001
#: How the pause grows with the wait.
_GROWTH = 0.001


def wait_oneself(connection: sqlite3.Connection, seconds: float = 0.0) -> None:
    """Keep SQLite from sleeping for longer than this where a statement finds the file locked."""
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")


def when_free(connection: sqlite3.Connection, sql: str, seconds: float) -> sqlite3.Cursor:
    """Carry out a statement on a connection that does not wait by itself, once nobody else has the file.

    Raises:
        sqlite3.OperationalError: Others have held it for so long.
    """
    cursor = sqlite3.Cursor(connection)
    since: float | None = None
    while True:
        try:
            return cursor.execute(sql)
        except sqlite3.OperationalError as error:
            now = monotonic()
            since = now if since is None else since
            if not is_busy(error) or now - since >= seconds:
                raise
            _pause(min(_FIRST_PAUSE_SECONDS + (now - since) * _GROWTH, _LAST_PAUSE_SECONDS))


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection has the file."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
