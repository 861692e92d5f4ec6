"""The common half of all peers: a program in the peer's own environment that is asked and answers.

The other half is in `programs/`, one file a peer, and `programs/asked.py` says how they talk.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import PeerMissing
from tests.servers import run
from tests.servers.janitor import born, kill_tree

_PROGRAMS = Path(__file__).resolve().parent / "programs"
_READY_SECONDS = 120
_ANSWER_SECONDS = 900


class Spoken:
    """What `steps`, `lone` and `close` are for every peer; `open` calls `_begin`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder = Path()

    def steps(self, runs: int, steps: int) -> float:
        return self._ask(f"steps {runs} {steps}")

    def lone(self, steps: int) -> float:
        return self._ask(f"lone {steps}")

    def close(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        # A program whose input ends would end itself and its group; one that hangs would not.
        kill_tree(process.pid)
        # Closes the pipes too.
        process.communicate()

    def _begin(
        self, python: str, program: str, environment: Mapping[str, str] | None = None, **given: Any
    ) -> None:
        """Start the program and wait until its workers are warm. `given` reaches it as JSON."""
        self._folder = run.new_folder("peer")
        given["folder"] = str(self._folder)
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
        # Where the janitor looks, should this process be killed.
        (self._folder / "peer.pids").write_text(f"{process.pid} 0 {born(process.pid)}\n")
        try:
            heard = self._hear(_READY_SECONDS)
            assert heard == "ready", heard
        except BaseException:
            self.close()
            raise

    def _ask(self, question: str) -> float:
        assert self._process is not None, "open comes first"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        return float(self._hear(_ANSWER_SECONDS))

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


def needed(url: str | None, server: str) -> str:
    """The URL, or what is missing."""
    if url is None:
        raise PeerMissing(f"it needs {server}", f"give the URL of one in `Servers({server.lower()}=…)`")
    return url
