"""RabbitMQ from the machine, with its management API, through which tests get virtual hosts of their own.

It takes about six seconds to start, so a test run shares one. It brings its own `epmd` (Erlang's name server) on its
own port, because the one that Erlang starts by itself would outlive everything.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from base64 import b64encode
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from uuid import uuid4

from tests.servers.server import Server, Unavailable, free_port


class RabbitServer(Server):
    """A RabbitMQ node of its own, on the loopback address; user and password are `guest`."""

    kind: ClassVar[str] = "rabbitmq"
    start_timeout_seconds: ClassVar[float] = 90.0
    _told_api: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self._api_port, self._epmd_port, self._distribution_port = free_port(), free_port(), free_port()

    @classmethod
    def locate(cls) -> str:
        return str(_program())

    def _own_url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def api_url(self) -> str:
        """The management API: `QWIT_TEST_RABBITMQ_API` for a server that is not ours, else port 15672 of its host."""
        return self._told_api or f"http://127.0.0.1:{self._api_port}"

    def with_api(self, url: str) -> RabbitServer:
        """Say where the management API of a server is that somebody else started."""
        self._told_api = url
        return self

    def url_of(self, vhost: str) -> str:
        """The URL of another virtual host of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{quote(vhost, safe='')}"))

    def create_vhost(self) -> str:
        """Create an empty virtual host and return its URL."""
        name = f"test-{uuid4().hex}"
        user = unquote(urlsplit(self.url).username or "guest")
        self.call("PUT", f"/api/vhosts/{name}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.call("PUT", f"/api/permissions/{name}/{quote(user, safe='')}", everything)
        return self.url_of(name)

    def drop_vhost(self, url: str) -> None:
        """Drop the virtual host of `url` with its queues; connections to it are closed."""
        self.call("DELETE", f"/api/vhosts{urlsplit(url).path}")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management API, such as `call("GET", "/api/queues")`, and return its JSON answer, if any."""
        parts = urlsplit(self.url)
        login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        request = urllib.request.Request(
            self.api_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Basic {b64encode(login.encode()).decode()}",
            },
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _prepare(self) -> None:
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(self._api_port),
            "loopback_users": "none",
            "log.console": "true",
            "log.console.level": "info",
            "disk_free_limit.absolute": "1MB",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.folder / "rabbitmq.conf").write_text(lines)
        (self.folder / "plugins").write_text("[rabbitmq_management].\n")

    def _launch(self) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        epmd = {"ERL_EPMD_PORT": str(self._epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        self._run(["epmd"], inherited | epmd)
        self._run(
            [_program()],
            inherited
            | epmd
            | {
                "HOME": str(self.folder),  # where Erlang keeps its cookie
                "RABBITMQ_NODENAME": f"qwit-{self.port}@localhost",
                "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
                "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
                "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
                "RABBITMQ_LOG_BASE": str(self.folder / "log"),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
                "RABBITMQ_DIST_PORT": str(self._distribution_port),
            },
        )

    def is_ready(self) -> bool:
        """Whether the API answers that the default virtual host is up: the listener for clients is then open too."""
        try:
            listeners = self.call("GET", "/api/overview")["listeners"]
        except (HTTPException, HTTPError, URLError, OSError, KeyError):
            return False
        return any(each["protocol"] == "amqp" for each in listeners)


@cache
def _program() -> Path:
    """RabbitMQ's own start script; Debian's `/usr/sbin/rabbitmq-server` wraps it and insists on its own folders."""
    for place in ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server")):
        if place and Path(place).exists() and shutil.which("epmd"):
            return Path(place)
    raise Unavailable(
        "no RabbitMQ: no rabbitmq-server with epmd on this machine; or set QWIT_TEST_RABBITMQ_URL"
    )
