"""Commands about the store and the installation: `migrate`, `doctor`, `demo`."""

from __future__ import annotations

from datetime import timedelta

import click
from rich.text import Text

from qwit_durable.cli.output import Output
from qwit_durable.cli.params import duration
from qwit_durable.cli.place import CommandFailed, Place, common
from qwit_durable.core import OPEN, Status
from qwit_durable.stores.migrations import migrations

__all__ = ["demo", "doctor", "migrate", "prune"]

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@click.command()
@click.option(
    "--sql", "as_sql", is_flag=True, help="Print all steps for this kind of store, and change nothing."
)
@common(creates=True)
def migrate(place: Place, *, as_sql: bool) -> None:
    """Bring the store's schema up to date.

    A store that is not there is made.
    """
    output = place.output
    if as_sql:
        steps = migrations(_dialect(place))
        if output.is_json:
            output.json([{"number": step.number, "name": step.name, "sql": step.sql} for step in steps])
            return
        for step in steps:
            output.line(f"-- {step.name}\n{step.sql}")
        return
    store = place.store
    try:
        applied = list(store.migrate())
        version, wanted = store.schema_version()
    finally:
        store.close()
    if output.is_json:
        output.json({"applied": applied, "version": version, "wanted": wanted})
        return
    for name in applied:
        output.line(f"applied {name}")
    output.line(f"{place.shown_url}: schema version {version}" + ("" if applied else ", nothing to do"))


def _dialect(place: Place) -> str:
    scheme = place.url.partition(":")[0]
    match scheme:
        case "sqlite":
            return scheme
        case "postgres" | "postgresql":
            return "postgres"
        case _:
            raise CommandFailed(f"{place.shown_url} has no schema to print")


@click.command()
@click.option("--older-than", type=duration, required=True, help="How long ago they ended, as 12h or 30d.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status if status not in OPEN]),
    help="Only runs that ended so; may be given several times.",
)
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="How many runs are removed in one transaction.",
)
@common()
def prune(
    place: Place,
    older_than: timedelta,
    statuses: tuple[str, ...],
    workflow: str | None,
    limit: int | None,
    batch: int,
) -> None:
    """Remove runs that ended long ago, with their sub-workflows.

    In small transactions; run it again if it broke off.
    """
    found = place.durable.prune(
        older_than, status=statuses or None, workflow=workflow, limit=limit, batch=batch
    )
    if place.output.is_json:
        place.output.json({"roots": found.roots, "runs": found.runs})
    else:
        place.output.line(f"removed {found.roots} runs and {found.runs - found.roots} sub-workflows")


@click.command()
@common()
def doctor(place: Place) -> int:
    """Check the installation, the store, workers and runs.

    Exit code 1 if something is wrong; each finding says what to do.
    """
    from qwit_durable.cli.checks import check_all

    checks = check_all(place)
    is_well = all(check.verdict != "failed" for check in checks)
    output = place.output
    if output.is_json:
        output.json({"ok": is_well, "checks": checks})
        return 0 if is_well else 1
    for check in checks:
        output.line(
            Text.assemble((check.verdict.ljust(8), _STYLES[check.verdict]), f"{check.name}: {check.found}")
        )
        if check.remedy:
            output.line(f"        → {check.remedy}")
    return 0 if is_well else 1


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Write JSON, for programs.")
def demo(*, is_json: bool) -> int:
    """Run orders, kill the process half-way, and count.

    Sagas in a temporary store of their own: in the end everything adds up.
    """
    from qwit_durable.cli.demo import run_demo

    return run_demo(Output(is_json=is_json).console, as_json=is_json)
