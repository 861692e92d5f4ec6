"""The peers of the benchmark keep to its seam; the one that needs nothing installed is run."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from benchmarks.peers import PEERS, Peer, PeerFailed, PeerMissing, Servers, installed
from benchmarks.questions import QUESTIONS
from qwit_durable.bench.scenarios import SCENARIOS

FOLDER = Path(installed.__file__).parent
REQUIREMENTS = sorted((FOLDER / "requirements").glob("*.txt"))
README = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_says_what_it_is_and_which_scenarios_it_has_a_counterpart_to(name):
    system = PEERS[name]

    said = (system.name, system.version, system.settings)

    assert all(text and "\n" not in text for text in said)
    assert {"inline", "lone"} <= system.scenarios <= set(QUESTIONS) <= set(SCENARIOS)
    assert (FOLDER / "programs" / system.program).exists()


def test_the_readme_says_what_each_peer_takes_part_in_and_why_the_others_have_no_such_thing():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines()]

    told = {row[0].strip("`"): dict(zip(PEERS, row[1:], strict=False)) for row in rows if row[:1]}

    for scenario in QUESTIONS:
        for name, system in PEERS.items():
            has = (scenario in system.scenarios) or (scenario, name) == ("queued", "dramatiq")
            assert bool(told[scenario][name].startswith("no such thing")) is not has, (scenario, name)


@pytest.mark.parametrize("name", sorted({*PEERS} - {"restate"}))
def test_a_peer_whose_server_is_not_there_is_missing_and_says_how_to_get_it(name):
    peer = Peer(PEERS[name])

    with pytest.raises(PeerMissing) as caught:
        peer.open(Servers(), 1, 1)

    assert caught.value.why in {"it needs Redis", "it needs Postgres"}
    assert caught.value.remedy


def test_a_peer_that_was_not_opened_is_closed_without_a_word():
    peers = [Peer(system) for system in PEERS.values()]

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
    peer = Peer(PEERS["dramatiq"])
    peer.open(Servers(redis=redis_url), 1, 2)

    try:
        with peer.awake():
            several = peer.pids
            questions = [("steps", 3, 4), ("lone", 3), ("starts", 3, 2), ("latency", 2), ("fan_out", 3)]
            figures = [value for verb, *numbers in questions for value in peer.ask(verb, *numbers)]
    finally:
        peer.close()

    assert len(several) > 1
    assert len(figures) == len(questions) + 1
    assert all(0 < value < 60_000 for value in figures)


def test_a_peer_whose_program_ends_says_what_the_program_wrote():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    peer = Peer(PEERS["dramatiq"])

    with pytest.raises(PeerFailed, match=r"plain Dramatiq chain has ended:[\s\S]*ConnectionError"):
        peer.open(Servers(redis=f"redis://127.0.0.1:{port}/0"), 1, 1)
