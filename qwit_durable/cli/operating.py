"""Commands by which a person acts on runs: `signal` and the operators' verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.text import Text

from qwit_durable.cli.output import one_line, styled
from qwit_durable.cli.place import Place, common
from qwit_durable.cli.target import json_value
from qwit_durable.client import Handle
from qwit_durable.errors import DurableError

__all__ = ["cancel", "pause", "resume", "retry", "rollback", "signal", "skip", "terminate"]

_runs = click.argument("runs", metavar="RUN...", nargs=-1, required=True)
_reason = click.option("--reason", default="", help="Why: kept in the history.")


def _act(place: Place, verb: str, runs: tuple[str, ...], action: Callable[[Handle[Any]], None]) -> int:
    """Do the same to each run; what can't be done to one does not hold up the others."""
    output = place.output
    found: list[dict[str, Any]] = []
    is_done = True
    for key in runs:
        told: dict[str, Any] = {"id": key, "asked": verb, "status": None, "error": None}
        try:
            handle = place.get(key)
            told["id"] = handle.id
            told["status"] = handle.status()
            action(handle)
            told["status"] = handle.status()
        except DurableError as error:
            is_done = False
            told["error"] = {"type": type(error).__name__, "message": one_line(str(error))}
        found.append(told)
        if not output.is_json:
            if told["error"] is not None:
                output.say(f"qwit {verb}: {told['error']['message']}")
            else:
                output.line(Text.assemble(f"{told['id']}: {verb}; it is ", styled(told["status"])))
    if output.is_json:
        output.json(found)
    return 0 if is_done else 1


@click.command()
@click.argument("run")
@click.argument("name")
@click.argument("value", default="null")
@click.option("--dedupe-id", help="A second signal with this id changes nothing.")
@common()
def signal(place: Place, run: str, name: str, value: str, dedupe_id: str | None) -> int:
    """Send a run a signal. VALUE is JSON; `-` reads it from standard input."""
    decoded = json_value(value, "'VALUE'")
    return _act(place, "signal", (run,), lambda handle: handle.signal(name, decoded, dedupe_id=dedupe_id))


@click.command()
@_runs
@_reason
@click.option("--no-compensate", is_flag=True, help="Undo nothing.")
@common()
def cancel(place: Place, runs: tuple[str, ...], reason: str, *, no_compensate: bool) -> int:
    """Ask runs to stop, and to undo what they did."""
    return _act(place, "cancel", runs, lambda handle: handle.cancel(reason, compensate=not no_compensate))


@click.command()
@_runs
@_reason
@common()
def retry(place: Place, runs: tuple[str, ...], reason: str) -> int:
    """Let stuck runs try again.

    Of a run that waits for a stuck sub-workflow, that one is meant.
    """
    return _act(place, "retry", runs, lambda handle: handle.retry(reason))


@click.command()
@_runs
@_reason
@click.option("--value", default="null", help="A JSON value to be recorded with it.")
@common()
def skip(place: Place, runs: tuple[str, ...], reason: str, value: str) -> int:
    """Take what runs are stuck over as done by hand."""
    decoded = json_value(value, "'--value'")
    return _act(place, "skip", runs, lambda handle: handle.skip(decoded, reason=reason))


@click.command()
@_runs
@_reason
@common()
def pause(place: Place, runs: tuple[str, ...], reason: str) -> int:
    """Let runs stand still from their next checkpoint on."""
    return _act(place, "pause", runs, lambda handle: handle.pause(reason))


@click.command()
@_runs
@common()
def resume(place: Place, runs: tuple[str, ...]) -> int:
    """Let paused runs go on."""
    return _act(place, "resume", runs, lambda handle: handle.resume())


@click.command()
@_runs
@_reason
@common()
def rollback(place: Place, runs: tuple[str, ...], reason: str) -> int:
    """Undo what runs have done so far, and end them.

    Unlike a cancel it can be said to runs that are stuck over an undo: that is tried again.
    """
    return _act(place, "rollback", runs, lambda handle: handle.rollback(reason))


@click.command()
@_runs
@_reason
@common()
def terminate(place: Place, runs: tuple[str, ...], reason: str) -> int:
    """Stop runs where they stand; nothing is undone.

    Their sub-workflows are stopped too.
    """
    return _act(place, "terminate", runs, lambda handle: handle.terminate(reason))
