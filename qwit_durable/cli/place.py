"""The store and the namespace that a command works on, and the options by which they are named.

A command that only looks at runs, or speaks to them, makes no store: where there is none, it says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from qwit_durable.app import Durable
from qwit_durable.cli.importing import CommandFailed, import_here
from qwit_durable.cli.output import Output
from qwit_durable.client import Handle
from qwit_durable.stores import open_store, redacted
from qwit_durable.stores.protocol import Store

__all__ = ["DEFAULT_STORE", "CommandFailed", "Place", "common"]

DEFAULT_STORE = "sqlite:///qwit.db"
_SQLITE = "sqlite:///"

P = ParamSpec("P")


class Place:
    """One namespace of one store, from the command line.

    Attributes:
        url: The store.
        output: Where the command writes.
    """

    def __init__(
        self, url: str, namespace: str, output: Output, *, creates: bool, codec: str | None = None
    ) -> None:
        self._codec = codec
        if not url:
            msg = f"--store is empty; leave it out for {DEFAULT_STORE}, or name one"
            raise click.UsageError(msg)
        self.url = url
        self.namespace = namespace
        self.output = output
        self._creates = creates
        self._durable: Durable | None = None

    @property
    def durable(self) -> Durable:
        """Opened at first use.

        Raises:
            CommandFailed: There is no store, and this command makes none.
        """
        if self._durable is None:
            if not self._creates:
                self.check_exists()
            self._durable = Durable(self.url, namespace=self.namespace, codec=self._loaded_codec())
        return self._durable

    def _loaded_codec(self) -> Any:
        """The codec that was named, if one was.

        Raises:
            CommandFailed: The text names none.
        """
        if not self._codec:
            return None
        module, colon, name = self._codec.partition(":")
        found: Any = getattr(import_here(module), name, None) if colon and module and name else None
        if found is None:
            raise CommandFailed(
                f"--codec {self._codec} names nothing: write module:object, as in shop.secrets:codec, for what "
                "Durable(codec=...) is given"
            )
        return found

    @property
    def store(self) -> Store:
        """The store alone, not opened yet: for what looks at the schema."""
        return open_store(self.url)

    def get(self, key: str) -> Handle[Any]:
        """The handle of a run. Raises RunNotFound."""
        return self.durable.get(key)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite store."""
        return Path(self.url.removeprefix(_SQLITE)) if self.url.startswith(_SQLITE) else None

    def check_exists(self) -> None:
        """Make sure that there is a store to look into, without making one.

        Raises:
            CommandFailed: There is none; the message says how to name or to make one.
        """
        hint = "name a store with --store or QWIT_STORE_URL, or make this one with `qwit migrate`"
        if self.url.startswith("memory:"):
            raise CommandFailed(f"{self.url} lives in one process only, and this one has just begun; {hint}")
        file = self.file
        if file is None:
            return
        if not file.exists():
            raise CommandFailed(f"there is no store {self.url}: no such file as {file}; {hint}")
        if file.is_file() and self.store.schema_version()[0] == 0:
            raise CommandFailed(f"{file} holds no store: it has no schema of qwit_durable; {hint}")

    @property
    def shown_url(self) -> str:
        """The store's URL without its password."""
        return redacted(self.url)

    def close(self) -> None:
        """Let go of the store."""
        if self._durable is not None:
            self._durable.close()


def common(
    *, creates: bool = False
) -> Callable[[Callable[Concatenate[Place, P], int | None]], Callable[..., Any]]:
    """Give a command its `--store`, `--namespace` and `--json`, and hand it the `Place` that they name.

    Args:
        creates: Whether the command makes a store where there is none.
    """

    def decorate(command: Callable[Concatenate[Place, P], int | None]) -> Callable[..., Any]:
        @click.option(
            "--store",
            envvar="QWIT_STORE_URL",
            default=DEFAULT_STORE,
            show_default=True,
            show_envvar=True,
            metavar="URL",
            help="The store: sqlite:///file.db, postgresql://…",
        )
        @click.option(
            "--codec",
            envvar="QWIT_CODEC",
            show_envvar=True,
            metavar="MODULE:OBJECT",
            help="What opens the store's payloads, where they are encrypted or compressed.",
        )
        @click.option("--namespace", default="default", show_default=True, help="The namespace of the runs.")
        @click.option("--json", "is_json", is_flag=True, help="Write JSON, for programs.")
        @wraps(command)
        def run(
            *args: Any, store: str, codec: str | None, namespace: str, is_json: bool, **options: Any
        ) -> int | None:
            place = Place(store, namespace, Output(is_json=is_json), creates=creates, codec=codec)
            try:
                return command(place, *args, **options)
            finally:
                place.close()

        return run

    return decorate
