"""The peers of the benchmark keep to its seam; the one that needs nothing installed is run."""

from __future__ import annotations

import inspect
import re
import socket
from pathlib import Path

import pytest

from benchmarks.peers import PEERS, Peer, PeerMissing, Servers, installed

SCENARIOS = {"steps", "lone", "queued", "fan_out", "start_rate", "latency", "sleepers"}
REQUIREMENTS = sorted((Path(installed.__file__).parent / "requirements").glob("*.txt"))


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_says_what_it_is_and_does_what_the_benchmark_asks(name):
    peer = PEERS[name]()

    said = (peer.name, peer.version, peer.settings)

    assert all(text and "\n" not in text for text in said)
    assert {"steps", "lone"} <= peer.scenarios <= SCENARIOS
    for verb in ("open", "steps", "lone", "close"):
        assert inspect.signature(getattr(type(peer), verb)) == inspect.signature(getattr(Peer, verb))


@pytest.mark.parametrize("name", sorted({*PEERS} - {"restate"}))
def test_a_peer_whose_server_is_not_there_is_missing_and_says_how_to_get_it(name):
    peer = PEERS[name]()

    with pytest.raises(PeerMissing) as caught:
        peer.open(Servers(), 1, 1)

    assert caught.value.why in {"it needs Redis", "it needs Postgres"}
    assert caught.value.remedy


def test_a_peer_that_was_not_opened_is_closed_without_a_word():
    peers = [peer() for peer in PEERS.values()]

    for peer in peers:
        peer.close()

    assert peers


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_requirement_of_a_peer_is_one_version_of_a_package(path):
    lines = path.read_text().splitlines()

    loose = [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)]

    assert lines
    assert loose == []


def test_without_npm_the_server_of_restate_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PeerMissing) as caught:
        installed.npm_program("@restatedev/restate-server", "1.7.12", "restate-server")

    assert caught.value.remedy == "install Node.js"


def test_an_install_that_fails_says_what_the_installer_said_and_is_tried_again(monkeypatch, tmp_path):
    monkeypatch.setattr(installed, "_INSTALLED", tmp_path / "installed")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for program in ("npm", "node"):
        (tmp_path / program).write_text("#!/bin/sh\necho the registry is far away >&2\nexit 1\n")
        (tmp_path / program).chmod(0o755)

    for _ in range(2):
        with pytest.raises(PeerMissing) as caught:
            installed.npm_program("@restatedev/restate-server", "1.7.12", "restate-server")

        assert "the registry is far away" in caught.value.why


def test_plain_dramatiq_is_measured_by_processes_of_its_own(redis_url):
    peer = PEERS["dramatiq"]()
    peer.open(Servers(redis=redis_url), 1, 2)

    try:
        figures = [peer.steps(3, 4), peer.lone(3)]
    finally:
        peer.close()

    assert all(0 < seconds < 60 for seconds in figures)


def test_a_peer_whose_program_ends_says_what_the_program_wrote():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    peer = PEERS["dramatiq"]()

    with pytest.raises(RuntimeError, match=r"PlainDramatiq has ended:[\s\S]*ConnectionError"):
        peer.open(Servers(redis=f"redis://127.0.0.1:{port}/0"), 1, 1)
