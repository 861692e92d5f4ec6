"""Where the truth is kept. `open_store(url)` picks the store that a URL names, without connecting."""

from __future__ import annotations

import re

from qwit_durable.clock import Clock
from qwit_durable.errors import DefinitionError
from qwit_durable.stores.encoding import PayloadCodec
from qwit_durable.stores.protocol import Store

__all__ = ["open_store", "redacted"]

_KNOWN = "sqlite:///orders.db (relative), sqlite:////var/lib/orders.db (absolute), postgresql://user@host/db, memory://"
_SECRET = "***"  # noqa: S105 - what stands for one
_IN_QUERY = re.compile(r"([^&=]*password[^&=]*=)[^&]*", re.IGNORECASE)


def open_store(
    url: str,
    *,
    clock: Clock | None = None,
    migrate: bool = False,
    payload_codec: PayloadCodec | None = None,
) -> Store:
    """Make the store that a URL names. Nothing is connected to before `Store.open`.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://…` or `memory://`.
        clock: Tells the time; by default the machine's, or the server's where there is one.
        migrate: Whether opening brings the schema of a server up to date. Memory and SQLite always do so.
        payload_codec: Compresses or encrypts what users' values are stored as.

    Raises:
        DefinitionError: The URL names no known kind of store. The message lists them.

    >>> open_store("memory://").url
    'memory://'
    """
    scheme, separator, rest = url.partition("://")
    match scheme:
        case "memory" if separator:
            from qwit_durable.stores.memory import MemoryStore

            return MemoryStore(clock)
        case "sqlite" if rest.startswith("/") and rest.strip("/") not in ("", ":memory:"):
            from qwit_durable.stores.sqlite import SqliteStore

            return SqliteStore(url, clock=clock, payload_codec=payload_codec)
        case "postgresql" | "postgres" if separator:
            from qwit_durable.stores.postgres import PostgresStore

            return PostgresStore(url, clock=clock, migrate=migrate, payload_codec=payload_codec)
        case _:
            msg = f"{redacted(url)!r} names no store\n  likely cause: {_cause(url)}\n  known: {_KNOWN}"
            raise DefinitionError(msg)


def _cause(url: str) -> str:
    """What may have been meant by a URL that names no store."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return f"a bare path, which is written sqlite:///{url.removeprefix('./')}"
    if scheme != "sqlite":
        return f"{scheme!r} is no kind of store that there is"
    if rest and not rest.startswith("/"):
        return f"a slash is missing: sqlite:///{rest}"
    return "a database in memory, which is written memory://"


def redacted(url: str) -> str:
    """The URL without its password, for messages and logs.

    >>> redacted("postgresql://ann:secret@db/shop")
    'postgresql://ann:***@db/shop'
    """
    scheme, separator, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    user, at, host = place.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:{_SECRET}"
    hidden = _IN_QUERY.sub(lambda found: found[1] + _SECRET, query)
    return f"{scheme}{separator}{user}{at}{host}{mark}{hidden}"
