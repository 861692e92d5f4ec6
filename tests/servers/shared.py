"""One server of each kind for a whole test run, over all its processes: whoever wants it first starts it."""

from __future__ import annotations

import json
import os
from typing import TypeVar
from urllib.parse import urlsplit

from tests.servers import run
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server, Unavailable

KINDS: tuple[type[Server], ...] = (PostgresServer, RedisServer, RabbitServer)

_ServerType = TypeVar("_ServerType", bound=Server)

# They run until the run's directory is closed; kept, so that nobody takes them for forgotten processes.
_started_here: list[Server] = []


def shared(kind: type[_ServerType]) -> _ServerType:
    """The run's server of this kind: from the environment, or started once. The janitor ends it.

    Raises:
        Unavailable: There is none on this machine.
    """
    variable = f"QWIT_TEST_{kind.kind.upper()}_URL"
    url = os.environ.get(variable)
    if url:
        return _with_api(kind.at(url, variable), os.environ.get("QWIT_TEST_RABBITMQ_API"))
    kind.locate()
    record = run.run_directory() / f"shared-{kind.kind}.json"
    with run.locked(f"shared-{kind.kind}"):
        if not record.exists():
            server = kind()
            _started_here.append(server)
            server.start()
            facts = {"url": server.url, "source": server.source, "pid": server.pid}
            facts["api"] = server.api_url if isinstance(server, RabbitServer) else None
            record.write_text(json.dumps(facts))
    facts = json.loads(record.read_text())
    return _with_api(kind.at(facts["url"], facts["source"], facts["pid"]), facts["api"])


def source(kind: type[Server]) -> str:
    """In words, where `shared` would take the server from. Starts nothing."""
    variable = f"QWIT_TEST_{kind.kind.upper()}_URL"
    if os.environ.get(variable):
        return variable
    try:
        return kind.locate()
    except Unavailable as missing:
        return str(missing).partition(":")[0]


def _with_api(server: _ServerType, api: str | None) -> _ServerType:
    if isinstance(server, RabbitServer):
        server.with_api(api or f"http://{urlsplit(server.url).hostname}:15672")
    return server
