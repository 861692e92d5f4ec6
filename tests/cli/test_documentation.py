"""`docs/cli.md` names every command, every option and every field, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import click
import pytest

from qwit_durable.cli.main import cli
from qwit_durable.client import Run
from qwit_durable.client.entries import Entry
from qwit_durable.client.explaining import Explanation, Wait, WaitKind
from qwit_durable.client.plain import plain
from qwit_durable.client.schedule import Schedule
from qwit_durable.errors import Failure
from qwit_durable.stores.reasons import Reason

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##+ |\Z)", TEXT, re.DOTALL | re.MULTILINE))
COMMANDS = {
    " ".join(part for part in (name, sub) if part): command
    for name, found in cli.commands.items()
    for sub, command in (found.commands if isinstance(found, click.Group) else {"": found}).items()
}
COMMON = {"--store", "--codec", "--namespace", "--json", "--help"}


def options_of(command: click.Command) -> set[str]:
    found = {max(p.opts, key=len) for p in command.params if isinstance(p, click.Option)}
    return found - COMMON


def fields_in(section: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", SECTIONS[section], re.MULTILINE))


def names(record: type) -> set[str]:
    return {field.name for field in attrs.fields(record)}


def test_every_command_has_a_section_in_the_order_of_the_help() -> None:
    documented = [title.removeprefix("qwit ") for title in SECTIONS if title.startswith("qwit ")]

    assert documented == list(COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_is_documented_with_its_options_and_an_example(name: str) -> None:
    section = SECTIONS[f"qwit {name}"]

    assert set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)) == options_of(COMMANDS[name])
    assert re.search(rf"^```console\n\$ qwit {name}\b", section, re.MULTILINE)
    assert name == "demo" or "JSON" in section


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("bench", "demo")])
def test_a_command_has_the_options_of_every_command(name: str) -> None:
    given = {opt for param in COMMANDS[name].params for opt in param.opts}

    assert given >= COMMON - {"--help"}
    assert set(re.findall(r"^\| `(--[\w-]+)", SECTIONS["Every command"], re.MULTILINE)) == COMMON


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("A run", names(Run)),
        ("An entry", names(Entry)),
        ("An explanation", names(Explanation)),
        ("A wait", names(Wait)),
        ("A failure", set(plain(Failure(type="E", message="m")))),
        ("A run in full", {"args", "value", "undone", "published"}),
        ("A schedule", names(Schedule)),
        ("What became of it", {"id", "asked", "status", "error"}),
    ],
)
def test_a_record_is_documented_with_its_fields(section: str, fields: set[str]) -> None:
    assert fields_in(section) == fields


def test_the_kinds_of_waits_and_the_fields_of_a_reason_are_documented() -> None:
    for kind in WaitKind:
        assert f"`{kind.value}`" in SECTIONS["A wait"]
    for field in names(Reason):
        assert f"`{field}`" in SECTIONS["An explanation"]
