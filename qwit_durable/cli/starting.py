"""Commands that start runs: `run` sees one through to its end here, `start` leaves it to workers, `watch` looks on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import click
from rich.logging import RichHandler

from qwit_durable.cli.following import Following, Glance, follow
from qwit_durable.cli.output import Output
from qwit_durable.cli.params import Attributes, attribute, duration, moment
from qwit_durable.cli.place import Place, common
from qwit_durable.cli.reports import run_json, view_json
from qwit_durable.cli.target import arguments, load_workflow
from qwit_durable.client.plain import decoded, plain
from qwit_durable.core import Status
from qwit_durable.language import StartOptions
from qwit_durable.stores.protocol import Reader

__all__ = ["run", "start", "watch"]

OnConflict = Literal["attach", "fail", "replace"]
_INTERRUPTED = 130


def _start_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `run` and `start` have in common."""
    for option in (
        click.option(
            "--on-conflict",
            type=click.Choice(["attach", "fail", "replace"]),
            default="attach",
            show_default=True,
            help="Where a run of this id exists.",
        ),
        click.option(
            "--deadline", type=duration, help="How long the run may take in all, as 90s, 5m, 2h or 1d."
        ),
        click.option(
            "--attribute",
            "attributes",
            multiple=True,
            type=attribute,
            help="A fact by which the run can be found; may be given several times.",
        ),
        click.option("--id", "key", metavar="ID", help="The run's id; a new one if left out."),
        click.argument("args", default="{}"),
        click.argument("target", metavar="MODULE:WORKFLOW"),
    ):
        command = option(command)
    return command


def _options(**given: Any) -> StartOptions:
    try:
        return StartOptions(**given)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None


@click.command()
@_start_options
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How much is worked on at once.",
)
@click.option("--timeout", type=duration, help="Leave after this time; the run stays in the store.")
@common(creates=True)
def run(
    place: Place,
    target: str,
    args: str,
    key: str | None,
    attributes: Attributes,
    deadline: timedelta | None,
    on_conflict: OnConflict,
    threads: int,
    timeout: timedelta | None,
) -> int:
    """Run a workflow to its end here, and print its value.

    ARGS is a JSON object (arguments by name) or an array (by place); `-` reads it from standard input. Kill this
    process at any moment and run it again with the same --id: it goes on.
    """
    definition = load_workflow(target)
    positional, named = arguments(definition, args)
    options = _options(id=key, attributes=dict(attributes), deadline=deadline, on_conflict=on_conflict)
    output = place.output
    with _log_shown(output), place.durable.embedded(threads=threads) as durable:
        handle = durable.start_run(definition, positional, named, options)
        try:
            glance = follow(output, Following(durable, handle), timeout)
        except KeyboardInterrupt:
            output.say(
                f"interrupted: run {handle.id} stays in the store; `qwit run` with --id {handle.id} goes on with it"
            )
            return _INTERRUPTED
        return _tell_end(output, durable.reader, glance)


@click.command()
@_start_options
@click.option("--lane", help="The lane in which it takes its place: one run at a time, in order.")
@click.option("--delay", type=duration, help="Begin after this time.")
@click.option("--at", "begins_at", type=moment, help="Begin then, as 2026-01-31T12:00:00Z.")
@common(creates=True)
def start(
    place: Place,
    target: str,
    args: str,
    key: str | None,
    attributes: Attributes,
    deadline: timedelta | None,
    on_conflict: OnConflict,
    lane: str | None,
    delay: timedelta | None,
    begins_at: datetime | None,
) -> None:
    """Store a run and leave it to the workers.

    ARGS is a JSON object (arguments by name) or an array (by place); `-` reads it from standard input.
    """
    definition = load_workflow(target)
    positional, named = arguments(definition, args)
    options = _options(
        id=key,
        attributes=dict(attributes),
        deadline=deadline,
        on_conflict=on_conflict,
        lane=lane,
        delay=delay,
        at=begins_at,
    )
    handle = place.durable.start_run(definition, positional, named, options)
    if place.output.is_json:
        place.output.json(run_json(handle.run()))
    else:
        place.output.line(handle.id)


@click.command()
@click.argument("run")
@click.option(
    "--events",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Begin with so many of the events that are there already.",
)
@click.option("--timeout", type=duration, help="Leave after this time.")
@common()
def watch(place: Place, run: str, events: int, timeout: timedelta | None) -> int:
    """Follow a run until it ends or needs a person.

    Exit code 0 if it completed.
    """
    handle = place.get(run)
    following = Following(place.durable, handle, last=events)
    try:
        glance = follow(place.output, following, timeout, as_lines=True)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return _tell_end(place.output, place.durable.reader, glance)


def _tell_end(output: Output, reader: Reader, glance: Glance) -> int:
    """Print the value of a run that completed, or why there is none; the exit code."""
    view, explanation = glance.view, glance.explanation
    if output.is_json:
        output.json({**view_json(view, reader), "explanation": plain(explanation)})
    elif view.status is Status.COMPLETED:
        output.json(decoded(view.outcome.value if view.outcome is not None else None))
    elif view.outcome is not None:
        output.say(f"run {view.run.key} of workflow {view.run.workflow!r} is {view.status}")
    else:
        output.say(str(explanation))
        if not glance.is_last:
            output.say("it has not ended in time; it stays in the store")
    return 0 if view.status is Status.COMPLETED else 1


@contextmanager
def _log_shown(output: Output) -> Generator[None]:
    """Show what the engine has to complain about between the lines of progress."""
    logger = logging.getLogger("qwit_durable")
    handler = RichHandler(logging.WARNING, console=output.progress, show_path=False, show_time=False)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
