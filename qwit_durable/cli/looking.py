"""Commands that look and change nothing: `ls`, `show`, `history`, `explain`."""

from __future__ import annotations

import json
from itertools import islice

import click
from rich.text import Text

from qwit_durable.cli.output import styled
from qwit_durable.cli.params import Attributes, attribute
from qwit_durable.cli.place import Place, common
from qwit_durable.cli.reports import EXPENDABLE_HEADS, family_json, family_tree, run_json, run_table
from qwit_durable.client.history import table
from qwit_durable.client.when import When
from qwit_durable.core import Status
from qwit_durable.stores.rows import RunView

__all__ = ["explain", "history", "ls", "show"]


@click.command()
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only runs in this status; may be given several times.",
)
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--version", "label", help="Only runs started by code with this label.")
@click.option("--lane", help="Only runs that were started in this lane.")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    type=attribute,
    help="Only runs with this attribute; may be given several times.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the newest."
)
@click.option("--all", "with_children", is_flag=True, help="Sub-workflows too.")
@common()
def ls(
    place: Place,
    statuses: tuple[str, ...],
    workflow: str | None,
    label: str | None,
    lane: str | None,
    attributes: Attributes,
    limit: int,
    *,
    with_children: bool,
) -> None:
    """List runs, newest first."""
    runs = place.durable.runs(
        status=statuses or None,
        workflow=workflow,
        version=label,
        lane=lane,
        attributes=dict(attributes),
        roots_only=not with_children and Status.STUCK.value not in statuses,
        limit=limit + 1,
    )
    found = list(islice(runs, limit + 1))
    output, when = place.output, When(place.durable.reader.now())
    if output.is_json:
        output.json([run_json(run) for run in found[:limit]])
        return
    if not found:
        output.say(f"no runs in namespace {place.namespace!r} of {place.shown_url}")
        return
    heads, rows = run_table(found[:limit], when)
    output.table(heads, rows, expendable=EXPENDABLE_HEADS)
    if len(found) > limit:
        output.say(f"the newest {limit}; there are more: --limit")


@click.command()
@click.argument("run")
@click.option(
    "--events", type=click.IntRange(min=0), default=10, show_default=True, help="How many of the last events."
)
@common()
def show(place: Place, run: str, events: int) -> None:
    """Show a run: its tree, its last events, why it stands.

    Sub-workflows as a tree, the last entries of the history, and the explanation.
    """
    handle, reader, output = place.get(run), place.durable.reader, place.output
    view = _view(place, run)
    entries = handle.history()
    last = entries[max(len(entries) - events, 0) :]
    explanation = handle.explain()
    if output.is_json:
        output.json(
            {
                **family_json(reader, view),
                "entries": last,
                "entries_total": len(entries),
                "explanation": explanation,
            }
        )
        return
    output.line(str(explanation))
    for line in str(handle.published()).splitlines():
        output.line(f"  published {line}")
    output.line()
    output.show(family_tree(reader, view))
    output.line()
    for line in table(last):
        output.line(line)
    if len(last) < len(entries):
        output.say(f"the last {len(last)} of {len(entries)} entries: --events, or qwit history")


@click.command()
@click.argument("run")
@click.option("--saved", is_flag=True, help="Print it as `qwit replay` and tests take it.")
@common()
def history(place: Place, run: str, *, saved: bool) -> None:
    """Print what is recorded about a run, in order."""
    found = place.get(run).history()
    if saved:
        click.echo(json.dumps(found.to_saved(), ensure_ascii=False, indent=1))
        return
    if place.output.is_json:
        place.output.json(found.to_json())
        return
    head = f"run {found.id} of workflow {found.workflow!r}{found.in_lane}: "
    place.output.line(Text.assemble(head, styled(found.status)))
    for line in table(found):
        place.output.line(f"  {line}")


@click.command()
@click.argument("run")
@common()
def explain(place: Place, run: str) -> None:
    """Say why a run stands still, and what can be done."""
    found = place.get(run).explain()
    if place.output.is_json:
        place.output.json(found.to_json())
    else:
        place.output.line(str(found))


def _view(place: Place, run: str) -> RunView:
    durable = place.durable
    view = durable.reader.find(place.namespace, run)
    assert view is not None  # `Place.get` has found it
    return view
