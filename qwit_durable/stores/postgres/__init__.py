"""Everything on a Postgres server: any number of processes on any number of machines.

`store` is the whole of it; `hot` has the hottest writes, each as one statement for a whole batch. Nobody else imports
this, so that the driver is loaded only where it is used.
"""

from __future__ import annotations

from qwit_durable.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
