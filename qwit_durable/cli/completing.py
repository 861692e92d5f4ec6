"""Commands by which a person ends the wait of a step that was left open: `complete` and `fail`."""

from __future__ import annotations

import click

from qwit_durable.cli.place import Place, common
from qwit_durable.cli.target import json_value
from qwit_durable.errors import GiveUp

__all__ = ["complete", "fail"]


def _tell(place: Place, verb: str, *, is_first: bool) -> int:
    if place.output.is_json:
        place.output.json({"asked": verb, "first": is_first})
    else:
        place.output.line(f"{verb}: {'recorded' if is_first else 'nothing to do, that was recorded before'}")
    return 0


@click.command()
@click.argument("token")
@click.argument("value", default="null")
@common()
def complete(place: Place, token: str, value: str) -> int:
    """Give a step that was left open its value. VALUE is JSON; `-` reads it from standard input.

    The value has to fit the step's return annotation.
    """
    decoded = json_value(value, "'VALUE'")
    return _tell(place, "complete", is_first=place.durable.complete(token, decoded))


@click.command()
@click.argument("token")
@click.argument("error")
@click.option("--give-up", is_flag=True, help="Allow no further attempt.")
@common()
def fail(place: Place, token: str, error: str, *, give_up: bool) -> int:
    """End an attempt that was left open as failed. ERROR is text.

    The step's Retry says whether another attempt follows.
    """
    return _tell(place, "fail", is_first=place.durable.fail(token, GiveUp(error) if give_up else error))
