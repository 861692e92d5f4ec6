"""Numbered steps that bring a store's schema up to date: `stores/schema/NNNN_name.<dialect>.sql`.

What was applied is in the store, with a checksum: a step that was changed after it was applied is refused, as is a
schema newer than this code. A database carries steps out in one transaction; two processes cannot do so at once.
Knows no driver: `stores.sqlite` and `stores.postgres` carry out what is planned here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

import attrs

from qwit_durable.errors import SchemaMismatch

__all__ = ["Migration", "check", "migrations", "pending"]


@attrs.frozen(kw_only=True)
class Migration:
    """One step."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What is taken down when the step is applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements one by one. The files hold no semicolon but at their ends, and no comment behind one."""
        lines = (line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


@cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """All steps for a database, in order."""
    found: list[Migration] = []
    for file in resources.files("qwit_durable.stores").joinpath("schema").iterdir():
        stem, _, kind = file.name.removesuffix(".sql").partition(".")
        if file.name.endswith(".sql") and kind == dialect:
            found.append(
                Migration(number=int(stem.partition("_")[0]), name=stem, sql=file.read_text(encoding="utf-8"))
            )
    found.sort(key=lambda migration: migration.number)
    assert [migration.number for migration in found] == [*range(1, len(found) + 1)]
    return tuple(found)


def pending(dialect: str, applied: Mapping[int, str], store: str) -> tuple[Migration, ...]:
    """The steps to be carried out, given the checksums of those that were.

    Raises:
        SchemaMismatch: The schema is newer than this code, or a step was changed after it was applied.
    """
    known = migrations(dialect)
    newest = max(applied, default=0)
    if newest > len(known):
        msg = (
            f"the schema of {store} is version {newest}; this code knows up to {len(known)}: "
            "a newer release has migrated it. Upgrade qwit-durable here"
        )
        raise SchemaMismatch(msg)
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            msg = (
                f"step {migration.name} of the schema of {store} was applied with another content than this code has: "
                "the two come from different builds. Install the release that migrated it"
            )
            raise SchemaMismatch(msg)
    return tuple(migration for migration in known if migration.number not in applied)


def check(dialect: str, applied: Mapping[int, str], store: str) -> None:
    """Make sure that nothing is to be carried out.

    Raises:
        SchemaMismatch: The schema is missing, older or newer. The message says what to do.
    """
    if pending(dialect, applied, store):
        newest, wanted = max(applied, default=0), len(migrations(dialect))
        found = (
            f"the schema of {store} is version {newest}, this code needs {wanted}"
            if applied
            else f"{store} has no schema"
        )
        msg = f"{found}: run `qwit migrate --store {store}`, or pass migrate=True"
        raise SchemaMismatch(msg)
