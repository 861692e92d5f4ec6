"""Waiting awake for an answer: only as long as it pays, and only where there is a core for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from qwit_durable.stores.postgres.hot.awake import Wakefulness
from qwit_durable.stores.processes import cores


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_is_there_is_seen_at_once(ends):
    ours, theirs = ends
    wakefulness = Wakefulness(ours.fileno(), can_spare=True)
    theirs.send(b"x")

    found = [(wakefulness.pays, wakefulness.wait()) for _ in range(3)]

    assert found == [(True, True)] * 3


def test_who_waited_in_vain_sleeps_for_a_while_and_then_for_longer(ends):
    ours, _ = ends
    wakefulness = Wakefulness(ours.fileno(), can_spare=True)

    has_come = wakefulness.wait()
    first = [wakefulness.pays for _ in range(16)]
    wakefulness.wait()
    then = [wakefulness.pays for _ in range(32)]

    assert not has_come
    assert first == [False] * 15 + [True]
    assert then == [False] * 31 + [True]


def test_an_answer_in_time_is_forgiven_at_once(ends):
    ours, theirs = ends
    wakefulness = Wakefulness(ours.fileno(), can_spare=True)
    wakefulness.wait()
    wakefulness.wait()
    theirs.send(b"x")
    wakefulness.wait()
    ours.recv(1)

    wakefulness.wait()

    assert [wakefulness.pays for _ in range(16)] == [False] * 15 + [True]


def test_nobody_waits_awake_without_a_core_to_spare(ends):
    ours, theirs = ends
    theirs.send(b"x")

    assert not Wakefulness(ours.fileno(), can_spare=False).pays


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "100000000 100000"}, None),
        ("0::/", {"cpu.max": "?"}, None),
        ("0::/", {}, None),
        (None, {"cpu.max": "50000 100000"}, None),
        # A service of systemd's; the slice around it has a limit too.
        ("0::/shop.slice/w.service", {"shop.slice/w.service/cpu.max": "75000 100000"}, 0.75),
        (
            "0::/shop.slice/w.service",
            {"shop.slice/cpu.max": "50000 100000", "shop.slice/w.service/cpu.max": "max 100000"},
            0.5,
        ),
        # The older control groups: as the host has them, and in a container that is told the host's path.
        (
            "4:cpu,cpuacct:/w\n0::/",
            {"cpu/w/cpu.cfs_quota_us": "50000", "cpu/w/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "4:cpu,cpuacct:/docker/1f\n3:cpuset:/",
            {"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "50000\n"},
            0.5,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_a_process_may_use_the_cores_that_its_container_has(tmp_path: Path, groups, files, expected):
    told = {"proc/self/cgroup": groups} if groups else {}
    for name, text in (told | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert cores(tmp_path) == (expected or len(os.sched_getaffinity(0)))
