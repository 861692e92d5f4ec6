"""Kinds of values that options take: durations with their unit, aware moments, attributes as NAME=VALUE."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import click

__all__ = ["ATTRIBUTE", "DURATION", "MOMENT", "attributes_of"]

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)")


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """`90s`, `5m`, `2h`, `1d`, `500ms`."""
        if isinstance(value, timedelta):
            return value
        found = _DURATION.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration: write a number and its unit, as 500ms, 90s, 5m, 2h or 1d", param, ctx)
        return timedelta(**{_UNITS[found[2]]: float(found[1])})


class _Moment(click.ParamType):
    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """ISO 8601 with a time zone."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no moment: write it as 2026-01-31T12:00:00Z", param, ctx)
        if found.utcoffset() is None:
            self.fail(f"{value!r} has no time zone: write {value}Z for UTC, or {value}+01:00", param, ctx)
        return found


class _Attribute(click.ParamType):
    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | int | float | bool]:
        """A value that is a JSON number or boolean is one; anything else is text, quoted or not."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is no attribute: write NAME=VALUE", param, ctx)
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        return name, found if isinstance(found, (str, int, float, bool)) else text


DURATION = _Duration()
MOMENT = _Moment()
ATTRIBUTE = _Attribute()


def attributes_of(given: tuple[tuple[str, str | int | float | bool], ...]) -> dict[str, str | int | float | bool]:
    """The attributes of several `--attribute` options; the last of a name wins."""
    return dict(given)
