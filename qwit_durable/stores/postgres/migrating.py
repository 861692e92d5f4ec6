"""Carrying out migrations on a Postgres server: in one transaction, by one process at a time."""

from __future__ import annotations

from qwit_durable.stores import redacted
from qwit_durable.stores.migrations import pending
from qwit_durable.stores.postgres.connecting import Connection, PgStatements

__all__ = ["applied", "bring_up_to_date"]

#: Any number, the same for ever: two processes must not migrate at once.
_MIGRATION_LOCK = 7_094_216_305
_VERSIONS = """
CREATE TABLE IF NOT EXISTS qwit.migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""


def applied(connection: Connection) -> dict[int, str]:
    """The checksums of the steps that were carried out, by their numbers."""
    statements = PgStatements(connection)
    if statements.rows("SELECT to_regclass('qwit.migration')")[0][0] is None:
        return {}
    return {row[0]: row[1] for row in statements.rows("SELECT number, checksum FROM qwit.migration")}


def bring_up_to_date(connection: Connection, url: str) -> list[str]:
    """Carry out what is to be carried out, and answer the names of the steps."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        steps = pending("postgres", applied(connection), redacted(url))
        if steps and connection.execute("SELECT to_regnamespace('qwit')").fetchall()[0][0] is None:
            connection.execute("CREATE SCHEMA qwit")
        if steps:
            connection.execute(_VERSIONS)
        for step in steps:
            for statement in step.statements:
                connection.execute(statement.encode())
            found = (step.number, step.name, step.checksum)
            connection.execute(
                "INSERT INTO qwit.migration (number, name, checksum) VALUES (%s, %s, %s)", found
            )
    return [step.name for step in steps]
