"""Kinds of values that options take: durations with their unit, aware moments, attributes as NAME=VALUE."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import click

__all__ = ["Attributes", "attribute", "duration", "moment"]

#: What several `--attribute` options give.
Attributes = tuple[tuple[str, str | int | float | bool], ...]

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)")


def duration(text: str) -> timedelta:
    """`500ms`, `90s`, `5m`, `2h`, `1d`.

    Raises:
        click.BadParameter: It is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(
            f"{text!r} is no duration: write a number and its unit, as 500ms, 90s, 5m, 2h or 1d"
        )
    return timedelta(**{_UNITS[found[2]]: float(found[1])})


def moment(text: str) -> datetime:
    """ISO 8601 with a time zone.

    Raises:
        click.BadParameter: It is none, or says nothing about its time zone.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no moment: write it as 2026-01-31T12:00:00Z") from None
    if found.utcoffset() is None:
        raise click.BadParameter(f"{text!r} has no time zone: write {text}Z for UTC, or {text}+01:00")
    return found


def attribute(text: str) -> tuple[str, str | int | float | bool]:
    """`NAME=VALUE`: a value that is a JSON number or boolean is one; anything else is text, quoted or not.

    Raises:
        click.BadParameter: It is none.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is no attribute: write NAME=VALUE")
    try:
        found = json.loads(value)
    except ValueError:
        found = value
    return name, found if isinstance(found, (str, int, float, bool)) else value
