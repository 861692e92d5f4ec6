"""A command line at a store of its own, and a worker that works when it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner, Result

from qwit_durable.cli.main import cli
from qwit_durable.clock import ManualClock, SystemClock
from qwit_durable.stores.sqlite import SqliteStore
from qwit_durable.testing.environment import Environment

__all__ = ["Desk"]


@attrs.frozen
class Desk:
    """Types commands."""

    folder: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/qwit.db"

    def type(self, *args: str, stdin: str | None = None) -> Result:
        """One command on this store."""
        words = 2 if args[0] == "schedule" else 1
        given = [*args[:words], "--store", self.url, *args[words:]]
        result = CliRunner().invoke(cli, given, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def ask(self, *args: str, stdin: str | None = None) -> Any:
        """The same, for its JSON."""
        result = self.type(*args, "--json", stdin=stdin)
        assert result.stdout, result.stderr
        return json.loads(result.stdout)

    @contextmanager
    def worker(self) -> Iterator[Environment]:
        """A worker in the same store, with a clock of its own."""
        clock = ManualClock(SystemClock().now())
        store = SqliteStore(self.url, clock=clock)
        environment = Environment(store, clock=clock)
        environment.engine.heart.beat()
        try:
            yield environment
        finally:
            store.close()

    def work(self) -> None:
        """Let a worker do everything that is due within some seconds."""
        with self.worker() as environment:
            environment.settle(until=environment.clock.now() + timedelta(seconds=5))
