"""How values of options are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from qwit_durable.cli.params import attribute, duration, moment


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("5m", timedelta(minutes=5)),
        ("5 min", timedelta(minutes=5)),
        ("2d", timedelta(days=2)),
    ],
)
def test_a_duration_has_a_unit(text: str, value: timedelta) -> None:
    assert duration(text) == value


@pytest.mark.parametrize("text", ["5", "", "h", "-5s", "5 weeks", "1h30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write a number and its unit"):
        duration(text)


def test_a_moment_has_a_time_zone() -> None:
    assert moment("2026-01-31T13:00:00+01:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00", "tomorrow"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        moment(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=b", "b"),
        ("a=5", 5),
        ("a=5.5", 5.5),
        ("a=true", True),
        ("a=", ""),
        ('a="5"', "5"),
        ("a=01234", "01234"),
        ("a=x=y", "x=y"),
        ("a=null", "null"),
        ("a=[1]", "[1]"),
    ],
)
def test_an_attribute_is_a_number_a_boolean_or_text(text: str, value: object) -> None:
    assert attribute(text) == ("a", value)
    assert type(attribute(text)[1]) is type(value)


@pytest.mark.parametrize("text", ["a", "=b"])
def test_what_is_no_attribute_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write NAME=VALUE"):
        attribute(text)
