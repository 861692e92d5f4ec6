"""Commands about schedules: `qwit schedule ls|show|create|pause|resume|run|backfill|rm`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import click

from qwit_durable.cli.params import Attributes, attribute, duration, moment
from qwit_durable.cli.place import Place, common
from qwit_durable.cli.reports import run_json
from qwit_durable.cli.target import arguments, load_workflow
from qwit_durable.client.plain import plain
from qwit_durable.client.schedule import Schedule
from qwit_durable.client.when import When
from qwit_durable.errors import DefinitionError
from qwit_durable.stores.schedules import CatchUp, Overlap

__all__ = ["schedule"]

_HEADS = ("id", "workflow", "due", "state", "next", "last run", "started", "skipped", "missed")
_EXPENDABLE = ("missed", "skipped", "started", "last run")


@click.group()
def schedule() -> None:
    """Start workflows at certain times."""


@schedule.command(name="ls")
@common()
def ls(place: Place) -> None:
    """List schedules."""
    found = list(place.durable.schedules())
    output = place.output
    if output.is_json:
        output.json(found)
        return
    if not found:
        output.say(f"no schedules in namespace {place.namespace!r} of {place.shown_url}")
        return
    output.table(_HEADS, [_row(one) for one in found], expendable=_EXPENDABLE)
    for warning in sorted({one.warning for one in found if one.warning is not None}):
        output.say(f"warning: {warning}")


def _row(one: Schedule) -> list[str]:
    next_at = "" if one.next_at is None else When(one.read_at).told(one.next_at)
    state = "paused" if one.is_paused else "active" if one.next_times else "over"
    counts = [str(one.started), str(one.skipped), str(one.missed)]
    return [one.id, one.workflow, one.due, state, next_at, one.last_run or "", *counts]


@schedule.command(name="show")
@click.argument("schedule_id", metavar="SCHEDULE")
@common()
def show(place: Place, schedule_id: str) -> None:
    """Show a schedule: its definition, its next due times, and what came of the last ones."""
    _show(place, schedule_id)


def _show(place: Place, schedule_id: str) -> None:
    found = place.durable.get_schedule(schedule_id).describe()
    if place.output.is_json:
        place.output.json(found)
    else:
        place.output.line(str(found))


@schedule.command(name="create")
@click.argument("schedule_id", metavar="SCHEDULE")
@click.argument("target", metavar="MODULE:WORKFLOW")
@click.argument("args", default="{}")
@click.option("--cron", multiple=True, help="When, as a cron expression; may be given several times.")
@click.option("--every", type=duration, help="An interval instead, as 30s, 5m or 2h.")
@click.option("--timezone", default="UTC", show_default=True, help="In which --cron is read.")
@click.option("--begins-at", type=moment, help="Nothing is due before.")
@click.option("--ends-at", type=moment, help="Nothing is due after.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "allow", "queue", "cancel"]),
    default="skip",
    show_default=True,
    help="While the last run is open.",
)
@click.option(
    "--catch-up",
    type=click.Choice(["latest", "all", "none"]),
    default="latest",
    show_default=True,
    help="Due times that were missed.",
)
@click.option("--catch-up-window", type=duration, help="What was missed longer ago is given up.")
@click.option(
    "--attribute", "attributes", multiple=True, type=attribute, help="A fact by which its runs can be found."
)
@click.option("--paused", is_flag=True, help="A new one waits for `resume`.")
@common(creates=True)
def create(
    place: Place,
    schedule_id: str,
    target: str,
    args: str,
    cron: tuple[str, ...],
    every: timedelta | None,
    timezone: str,
    begins_at: datetime | None,
    ends_at: datetime | None,
    overlap: Overlap,
    catch_up: CatchUp,
    catch_up_window: timedelta | None,
    attributes: Attributes,
    *,
    paused: bool,
) -> None:
    """Make a schedule, or change the one of this id.

    ARGS is a JSON object (arguments by name) or an array (by place); `-` reads it from standard input.
    """
    definition = load_workflow(target)
    positional, named = arguments(definition, args)
    try:
        place.durable.schedule(
            schedule_id,
            definition,
            *positional,
            kwargs=named,
            cron=cron,
            every=every,
            timezone=timezone,
            begins_at=begins_at,
            ends_at=ends_at,
            overlap=overlap,
            catch_up=catch_up,
            catch_up_window=catch_up_window,
            attributes=dict(attributes),
            paused=paused,
        )
    except DefinitionError as error:
        raise click.UsageError(str(error)) from None
    _show(place, schedule_id)


@schedule.command(name="pause")
@click.argument("schedule_id", metavar="SCHEDULE")
@click.option("--note", help="Why, for whoever looks at it.")
@common()
def pause(place: Place, schedule_id: str, note: str | None) -> None:
    """Start nothing until `resume`."""
    place.durable.get_schedule(schedule_id).pause(note)
    _done(place, schedule_id, "paused")


@schedule.command(name="resume")
@click.argument("schedule_id", metavar="SCHEDULE")
@common()
def resume(place: Place, schedule_id: str) -> None:
    """Go on with the next due time from now."""
    place.durable.get_schedule(schedule_id).resume()
    _done(place, schedule_id, "resumed")


@schedule.command(name="run")
@click.argument("schedule_id", metavar="SCHEDULE")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "allow", "queue", "cancel"]),
    help="While the last run is open; by default what the schedule says.",
)
@common()
def run(place: Place, schedule_id: str, overlap: Overlap | None) -> None:
    """Start its workflow now, beside its timetable."""
    handle = place.durable.get_schedule(schedule_id).run_now(overlap=overlap)
    if place.output.is_json:
        place.output.json(run_json(handle.run()))
    else:
        place.output.line(handle.id)


@schedule.command(name="backfill")
@click.argument("schedule_id", metavar="SCHEDULE")
@click.argument("start", type=moment)
@click.argument("end", type=moment)
@click.option(
    "--overlap",
    type=click.Choice(["queue", "allow"]),
    default="queue",
    show_default=True,
    help="One after the other, or all at once.",
)
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="At most so many.")
@common()
def backfill(
    place: Place,
    schedule_id: str,
    start: datetime,
    end: datetime,
    overlap: Literal["queue", "allow"],
    limit: int,
) -> None:
    """Start a run for each due time between two moments of the past that has none."""
    handle = place.durable.get_schedule(schedule_id)
    try:
        runs = handle.backfill(start, end, overlap=overlap, limit=limit)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if place.output.is_json:
        place.output.json([one.id for one in runs])
        return
    for one in runs:
        place.output.line(one.id)


@schedule.command(name="rm")
@click.argument("schedule_id", metavar="SCHEDULE")
@common()
def rm(place: Place, schedule_id: str) -> None:
    """Remove a schedule. Its runs stay."""
    place.durable.get_schedule(schedule_id).delete()
    _done(place, schedule_id, "removed")


def _done(place: Place, schedule_id: str, what: str) -> None:
    if place.output.is_json:
        result: dict[str, Any] = plain({"id": schedule_id, "done": what})
        place.output.json(result)
    else:
        place.output.line(f"schedule {schedule_id} {what}")
