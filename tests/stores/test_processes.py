"""Whether a process is the one that it was."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qwit_durable.stores.processes import process_started, this_host


def _program(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


def test_a_living_process_always_gives_the_same_number():
    assert process_started(os.getpid()) is not None
    assert process_started(os.getpid()) == process_started(os.getpid())


def test_another_process_began_at_another_time():
    with _program("input()") as other:
        found = process_started(other.pid)
        other.communicate(b"\n")

    assert found is not None
    assert found >= process_started(os.getpid())


def test_a_process_that_has_ended_is_gone():
    with _program("") as ended:
        ended.wait()

        assert process_started(ended.pid) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process waits to be collected")
def test_a_process_that_waits_to_be_collected_is_gone():
    with _program("") as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)

        assert process_started(ended.pid) is None


def test_a_host_has_a_name():
    assert this_host()
