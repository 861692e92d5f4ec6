"""A process that embeds workers on the application's store, until its standard input ends."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from qwit_durable import Durable
from tests.acceptance import work

__all__ = ["work"]

if __name__ == "__main__":
    durable = Durable(
        os.environ["APP_STORE"],
        lease=timedelta(seconds=float(os.environ["APP_LEASE_SECONDS"])),
        sweep=timedelta(seconds=0.2),
    )
    with durable.embedded(threads=int(os.environ.get("APP_THREADS", "2"))):
        sys.stdin.read()
