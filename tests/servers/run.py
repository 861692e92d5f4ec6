"""The directory of one test run (or of one benchmark), and the janitor that watches over it.

The process that makes it is its owner: under xdist the controller, else whoever wants the first server. Its children
find it through the environment, so that they share servers.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.servers import janitor

_VARIABLE = "QWIT_TEST_RUN_DIRECTORY"
_MEMORY = Path("/dev/shm")
_ENOUGH_MEMORY_BYTES = 3 * 1024**3
_owned: tuple[Path, subprocess.Popen[bytes]] | None = None


def run_directory() -> Path:
    """The directory of this run; made, with its janitor, on the first call of the first process."""
    global _owned
    known = os.environ.get(_VARIABLE)
    if known:
        return Path(known)
    directory = Path(tempfile.mkdtemp(prefix="qwit-", dir=_reachable_temporary_folder()))
    directory.chmod(0o711)
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", janitor.__file__, str(directory), str(_MEMORY / directory.name)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    _owned = directory, keeper
    os.environ[_VARIABLE] = str(directory)
    return directory


def is_owner() -> bool:
    """Whether this process made the run's directory, and so outlives those that share it."""
    return _owned is not None


def close_run_directory() -> None:
    """Have everything of this run ended and removed, if this process owns it; returns when that is done."""
    global _owned
    if _owned is None:
        return
    _, keeper = _owned
    _owned = None
    os.environ.pop(_VARIABLE, None)
    keeper.communicate(b"done\n", timeout=30)


def new_folder(kind: str, *, in_memory: bool = False) -> Path:
    """A new folder in the run's directory, which the user that servers run as may write to.

    Args:
        kind: How its name begins.
        in_memory: Put it into memory where there is enough: creating a database there takes 8 ms, on a disk up to 300.
    """
    parent = memory_directory() if in_memory else run_directory()
    folder = parent / f"{kind}-{uuid4().hex[:8]}"
    folder.mkdir()
    user = unprivileged_user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def memory_directory() -> Path:
    """The part of the run's directory that lies in memory; the directory itself where memory is short."""
    on_disk = run_directory()
    in_memory = _MEMORY / on_disk.name
    if not in_memory.is_dir():
        if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ENOUGH_MEMORY_BYTES:
            return on_disk
        in_memory.mkdir(exist_ok=True)
        in_memory.chmod(0o711)
    return in_memory


@contextmanager
def locked(name: str) -> Generator[None]:
    """Hold a lock that all processes of this run know."""
    with (run_directory() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unprivileged_user() -> pwd.struct_passwd | None:
    """Who runs servers instead of root, which PostgreSQL refuses to run as; None where this process is not root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def open_to_all(path: Path) -> bool:
    """Whether every user may enter all folders above `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def _reachable_temporary_folder() -> str:
    usual = tempfile.gettempdir()
    if unprivileged_user() is None or open_to_all(Path(usual) / "x"):
        return usual
    return "/tmp"
