"""Puts each peer where its requirements clash with nobody's: an environment of its own, with pinned versions.

They are made when a benchmark first asks for them, in `.installed` beside this file, which git ignores.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from benchmarks.peers.peer import PeerMissing

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / ".installed"
_TIMEOUT_SECONDS = 600


def pinned(requirements: str, package: str) -> str:
    """The version of a package that a file of requirements asks for."""
    lines = _file(requirements).read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def python_of(requirements: str) -> str:
    """The interpreter of the environment that has these requirements; made on the first call."""
    wanted = _file(requirements)
    with _made_once(requirements, wanted.read_text() + sys.version) as folder:
        python = str(folder / "bin" / "python")
        if _is_new(folder):
            uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
            if uv is not None:
                _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
                _run([uv, "pip", "install", "--quiet", "--python", python, "-r", str(wanted)])
            else:
                _run([sys.executable, "-m", "venv", "--clear", str(folder)])
                _run([python, "-m", "pip", "install", "--quiet", "-r", str(wanted)])
    return python


def npm_program(package: str, version: str, program: str) -> str:
    """A program inside an npm package for this platform; installed on the first call."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise PeerMissing(
            f"{package} is an npm package, and there is no npm or no node on PATH", "install Node.js"
        )
    with _made_once(program, f"{package}@{version}") as folder:
        if _is_new(folder):
            quiet = [
                "--no-save",
                "--no-package-lock",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--silent",
            ]
            _run([npm, "install", *quiet, "--prefix", str(folder), f"{package}@{version}"])
    found = sorted(folder.glob(f"node_modules/{package}-*/bin/{program}"))
    if not found:
        raise PeerMissing(f"{package} {version} has no program for this platform", "run it on Linux or macOS")
    return str(found[0])


def _file(requirements: str) -> Path:
    return _HERE / "requirements" / f"{requirements}.txt"


@contextmanager
def _made_once(name: str, content: str) -> Generator[Path]:
    """The folder for this content; whole when the block has ended without an error."""
    folder = _INSTALLED / f"{name}-{sha256(content.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with _mark(folder).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
        _mark(folder).touch()


def _is_new(folder: Path) -> bool:
    return not _mark(folder).exists()


def _mark(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.whole"


def _run(command: Sequence[str]) -> None:
    remedy = "see that its package registry can be reached and run again"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(
            f"`{' '.join(command[:3])} …` took more than {_TIMEOUT_SECONDS} s", remedy
        ) from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-1000:]
        raise PeerMissing(f"`{' '.join(command[:3])} …` failed: {words}", remedy)
