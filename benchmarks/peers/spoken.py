"""The common half of all peers: a program in the peer's own environment that is asked and answers.

The other half is in `programs/`, one file a peer, and `programs/asked.py` says how they talk.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from benchmarks.peers.installed import npm_program, python_of
from benchmarks.peers.peer import PeerFailed, PeerLate, PeerMissing, Servers, System
from tests.servers import run
from tests.servers.janitor import born, descendants, kill_tree

_PROGRAMS = Path(__file__).resolve().parent / "programs"
_READY_SECONDS = 120
_ANSWER_SECONDS = 150


class Peer:
    """A system at work: a program and its workers, with a database or a name in Redis of its own.

    Between two questions it stands still, so that one that polls takes nothing from what is measured meanwhile.

    Attributes:
        system: Which.
        database: The name of its own database, where it has one.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.database: str | None = None
        self._process: subprocess.Popen[str] | None = None
        self._folder = Path()
        self._few = (1, 1)
        self._is_awake = False
        self._left_behind = ExitStack()

    def prepare(self, servers: Servers) -> None:
        """Install what is not installed yet.

        Raises:
            PeerMissing: It can't be, or the server that it needs was not given.
        """
        needs = self.system.needs
        if needs is not None and getattr(servers, needs) is None:
            raise PeerMissing(f"it needs {needs.title()}", f"give the URL of one in `Servers({needs}=…)`")
        self._programs()

    def _programs(self) -> tuple[str, dict[str, str]]:
        """Its interpreter, and its server if it has one."""
        system = self.system
        python = sys.executable if system.requirements is None else python_of(system.requirements)
        return python, {} if system.server is None else {"server": npm_program(*system.server)}

    def open(self, servers: Servers, processes: int, threads: int, *, at_rest: bool = False) -> None:
        """Start its workers, so many processes of so many threads each, and let them warm up.

        Args:
            servers: What it may use.
            processes: How many.
            threads: Of each.
            at_rest: It will have nothing to do.

        Raises:
            PeerMissing: As for `prepare`.
            PeerFailed: It does not come up.
        """
        self.prepare(servers)
        try:
            self._begin(servers, processes, threads, at_rest=at_rest)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Its workers and its own server, not those of Postgres and Redis, nor the program that asks them."""
        assert self._process is not None, "open comes first"
        return descendants(self._process.pid)

    def ask(self, verb: str, *numbers: int) -> list[float]:
        """Ask its program, which `programs/asked.py` explains; figures, of which seconds are the first.

        Raises:
            PeerLate: It was too slow for that.
            PeerFailed: It has not done it.
        """
        if not self._is_awake:
            with self.awake():
                return self.ask(verb, *numbers)
        self._say(" ".join(map(str, (verb, *numbers))))
        found = json.loads(self._hear(_ANSWER_SECONDS))
        if isinstance(found, str):
            raise PeerLate(found)
        return found if isinstance(found, list) else [found]

    @contextmanager
    def awake(self) -> Generator[None]:
        """Let it go on meanwhile. Who stood still comes to itself first: connections, polls that are overdue."""
        assert self._process is not None, "open comes first"
        os.killpg(self._process.pid, signal.SIGCONT)
        self._is_awake = True
        try:
            self.ask("steps", *self._few)
            yield
        finally:
            self._is_awake = False
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGSTOP)

    def close(self) -> None:
        with self._left_behind:
            if self._process is None:
                return
            process, self._process = self._process, None
            # A program whose input ends would end itself and its group; one that stands still would not.
            kill_tree(process.pid)
            # Closes the pipes too.
            process.communicate()

    def _own(self, servers: Servers) -> tuple[dict[str, str], dict[str, str]]:
        """What is its own, until it is closed: for its program, and for the environment of all its processes."""
        name = f"peer_{uuid4().hex}"
        match self.system.needs:
            case "postgres":
                assert servers.postgres is not None
                _execute(servers.postgres, SQL("create database {}").format(Identifier(name)))
                self._left_behind.callback(_drop_database, servers.postgres, name)
                self.database = name
                return {"database": urlunsplit(urlsplit(servers.postgres)._replace(path=f"/{name}"))}, {}
            case "redis":
                assert servers.redis is not None
                self._left_behind.callback(_remove_keys, servers.redis, name)
                return {}, {"REDIS_URL": servers.redis, "PEER": name}
            case _:
                return {}, {}

    def _begin(self, servers: Servers, processes: int, threads: int, *, at_rest: bool) -> None:
        """Start the program and wait until its workers are warm."""
        system, (python, server), (own, environment) = self.system, self._programs(), self._own(servers)
        self._folder = run.new_folder("peer")
        given = {
            **system.options,
            **(system.at_rest if at_rest else {}),
            **own,
            **server,
            "processes": processes,
            "threads": threads,
            "folder": str(self._folder),
        }
        with (self._folder / "log").open("w") as log:
            process = subprocess.Popen(
                [python, str(_PROGRAMS / system.program), json.dumps(given)],
                cwd=_PROGRAMS,
                # What it leaves in a temporary directory goes with the folder.
                env={
                    **os.environ,
                    **environment,
                    "PEER_FOLDER": str(self._folder),
                    "TMPDIR": str(self._folder),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._process = process
        self._few = (2 * processes * threads, 5)
        # Where the janitor looks, should this process be killed.
        (self._folder / "peer.pids").write_text(f"{process.pid} 0 {born(process.pid)}\n")
        heard = self._hear(_READY_SECONDS)
        assert heard == "ready", heard
        os.killpg(process.pid, signal.SIGSTOP)

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
            raise PeerFailed(f"the program of {self.system.name} has {what}:\n{log}")
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
