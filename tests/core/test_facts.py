"""Facts: that nobody changes one is for the type checkers to say, and for Python's development mode."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest

from qwit_durable.core.facts import fact

CHANGES_A_FACT = """
from attrs.exceptions import FrozenInstanceError
from qwit_durable.core import Value
value = Value(b"1")
try:
    value.data = b"2"
except FrozenInstanceError:
    print("refused")
"""


@fact(kw_only=True)
class Paid:
    cents: int
    note: str = attrs.field(default="", eq=False)


@fact(eq=False)
class Group:
    members: tuple[str, ...]


def test_facts_are_compared_by_what_they_say():
    assert Paid(cents=3, note="one") == Paid(cents=3, note="another")
    assert Paid(cents=3) != Paid(cents=4)
    assert {Paid(cents=3), Paid(cents=3)} == {Paid(cents=3)}


def test_facts_may_be_told_apart_by_themselves_alone():
    assert Group(("a",)) != Group(("a",))
    assert len({Group(("a",)), Group(("a",))}) == 2


def test_facts_hold_nothing_else():
    with pytest.raises(AttributeError):
        Paid(cents=3).dollars = 1  # type: ignore[attr-defined]


def test_development_mode_refuses_to_change_a_fact():
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", CHANGES_A_FACT], capture_output=True, text=True, check=False
    )

    assert done.stdout == "refused\n", done.stderr
