"""The common half of all peers: a program in the peer's own environment that is asked and answers.

The other half is in `programs/`, one file a peer, and `programs/asked.py` says how they talk.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from benchmarks.peers.peer import PeerMissing, Servers
from tests.servers import run
from tests.servers.janitor import born, kill_tree

_PROGRAMS = Path(__file__).resolve().parent / "programs"
_READY_SECONDS = 300
_ANSWER_SECONDS = 900


class Spoken:
    """What all peers have in common. Each says in `_start` which of its needs comes from where, and calls `_begin`.

    Between two questions the peer stands still, so that one that polls takes nothing from what is measured meanwhile.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder = Path()
        self._few = ""
        self._left_behind = ExitStack()

    def open(self, servers: Servers, processes: int, threads: int) -> None:
        try:
            self._start(servers, processes, threads)
        except BaseException:
            self.close()
            raise

    def _start(self, servers: Servers, processes: int, threads: int) -> None:
        raise NotImplementedError

    def steps(self, runs: int, steps: int) -> float:
        return self._ask(f"steps {runs} {steps}")

    def lone(self, steps: int) -> float:
        return self._ask(f"lone {steps}")

    def close(self) -> None:
        with self._left_behind:
            if self._process is None:
                return
            process, self._process = self._process, None
            # A program whose input ends would end itself and its group; one that stands still would not.
            kill_tree(process.pid)
            # Closes the pipes too.
            process.communicate()

    def _own_database(self, servers: Servers) -> str:
        """The URL of a new database, which `close` drops."""
        url = servers.postgres
        if url is None:
            raise PeerMissing("it needs Postgres", "give the URL of one in `Servers(postgres=…)`")
        name = f"peer_{uuid4().hex}"
        _execute(url, SQL("create database {}").format(Identifier(name)))
        self._left_behind.callback(_drop_database, url, name)
        return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    def _own_corner(self, servers: Servers) -> dict[str, str]:
        """An environment with the URL of Redis and a name; `close` removes every key that has the name in it."""
        url = servers.redis
        if url is None:
            raise PeerMissing("it needs Redis", "give the URL of one in `Servers(redis=…)`")
        name = f"peer-{uuid4().hex}"
        self._left_behind.callback(_remove_keys, url, name)
        return {"REDIS_URL": url, "PEER": name}

    def _begin(
        self,
        python: str,
        program: str,
        *,
        processes: int,
        threads: int,
        environment: Mapping[str, str] | None = None,
        **given: Any,
    ) -> None:
        """Start the program and wait until its workers are warm. All but `environment` reaches it as JSON."""
        self._folder = run.new_folder("peer")
        given |= {"processes": processes, "threads": threads, "folder": str(self._folder)}
        with (self._folder / "log").open("w") as log:
            process = subprocess.Popen(
                [python, str(_PROGRAMS / program), json.dumps(given)],
                cwd=_PROGRAMS,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._process = process
        self._few = f"steps {2 * processes * threads} 5"
        # Where the janitor looks, should this process be killed.
        (self._folder / "peer.pids").write_text(f"{process.pid} 0 {born(process.pid)}\n")
        heard = self._hear(_READY_SECONDS)
        assert heard == "ready", heard
        os.killpg(process.pid, signal.SIGSTOP)

    def _ask(self, question: str) -> float:
        assert self._process is not None, "open comes first"
        os.killpg(self._process.pid, signal.SIGCONT)
        try:
            # Who stood still has to come to itself: connections, polls that are overdue.
            self._say(self._few)
            self._hear(_ANSWER_SECONDS)
            self._say(question)
            return float(self._hear(_ANSWER_SECONDS))
        finally:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def _say(self, question: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # Who is gone does not answer either, and `_hear` says it.
        with suppress(BrokenPipeError):
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()

    def _hear(self, patience_seconds: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        can_be_read, _, _ = select.select([self._process.stdout], [], [], patience_seconds)
        line = self._process.stdout.readline() if can_be_read else ""
        if not line:
            log = (self._folder / "log").read_text(errors="replace")[-3000:]
            what = "ended" if can_be_read else f"said nothing for {patience_seconds} s"
            raise RuntimeError(f"the program of {type(self).__name__} has {what}:\n{log}")
        return line.strip()


def _execute(url: str, statement: Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _drop_database(url: str, name: str) -> None:
    # A server that is gone has kept nothing.
    with suppress(psycopg.OperationalError):
        _execute(url, SQL("drop database if exists {} with (force)").format(Identifier(name)))


def _remove_keys(url: str, name: str) -> None:
    with suppress(RedisConnectionError), Redis.from_url(url) as redis:
        for key in redis.scan_iter(f"*{name}*", count=1000):
            redis.delete(key)
