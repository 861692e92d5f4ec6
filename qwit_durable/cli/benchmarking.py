"""`qwit bench`: what durable steps cost on one's own servers, beside their limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qwit_durable.cli.importing import CommandFailed
from qwit_durable.cli.output import Output

if TYPE_CHECKING:
    from qwit_durable.bench.place import Place
    from qwit_durable.bench.plan import Scenario
    from qwit_durable.bench.report import Report

__all__ = ["bench", "save", "show"]

_STDOUT = "-"


@click.command()
@click.option(
    "--store",
    envvar="QWIT_STORE_URL",
    show_envvar=True,
    default="",
    metavar="URL",
    help="The store; by default an SQLite file in a temporary folder.",
)
@click.option(
    "--broker",
    default="",
    metavar="URL",
    help="redis://… or amqp://…: real workers are started. By default threads of this process work.",
)
@click.option("--only", multiple=True, metavar="SCENARIO", help="Measure this; may be given several times.")
@click.option("--all", "with_long", is_flag=True, help="Measure also what takes minutes.")
@click.option("--rounds", type=click.IntRange(min=1), help="How often each is measured; by default 5.")
@click.option("--quick", is_flag=True, help="Tiny sizes: only to see that it works.")
@click.option("--full", is_flag=True, help="The sizes that promises are about: it takes hours.")
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True, help="Of the workers.")
@click.option("--threads", type=click.IntRange(min=1), default=8, show_default=True, help="Of each process.")
@click.option("--list", "as_list", is_flag=True, help="List the scenarios, and measure nothing.")
@click.option(
    "--chart", type=click.Path(dir_okay=False, path_type=Path), help="Draw it as SVG into this file."
)
@click.option(
    "--json",
    "json_to",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE]",
    help="Write JSON, for programs: to a file, or instead of the tables.",
)
def bench(
    *,
    store: str,
    broker: str,
    only: tuple[str, ...],
    with_long: bool,
    rounds: int | None,
    quick: bool,
    full: bool,
    processes: int,
    threads: int,
    as_list: bool,
    chart: Path | None,
    json_to: str | None,
) -> int:
    """Measure steps beside what they can at best cost.

    On your own servers, in a namespace of its own, which is emptied at the end.
    """
    from qwit_durable.bench.running import Asked, run
    from qwit_durable.bench.scenarios import unknown

    if (wrong := unknown(only)) is not None:
        raise click.UsageError(wrong)
    if quick and full:
        raise click.UsageError("--quick or --full, not both")
    _check_file(store)
    output = Output(is_json=json_to == _STDOUT)
    if as_list:
        _list(output)
        return 0
    asked = Asked(
        store=store,
        broker=broker,
        only=only,
        with_long=with_long,
        rounds=rounds,
        quick=quick,
        full=full,
        processes=processes,
        threads=threads,
    )

    def announce(place: Place, scenarios: Sequence[Scenario]) -> None:
        named = ", ".join(scenario.name for scenario in scenarios)
        output.say(
            f"{named}: everything is written in namespace {place.namespace} of {place.shown} and removed at the end"
        )

    with output.progress.status("") as status:
        report = run(asked, status.update, announce=announce)
    save(report, json_to=None if json_to in (None, _STDOUT) else Path(str(json_to)), chart_to=chart)
    if output.is_json:
        output.json(report.to_json())
    else:
        show(output, report)
    return 0


def _check_file(store: str) -> None:
    _, found, path = store.partition("sqlite:///")
    if found and not Path(path).exists():
        raise CommandFailed(
            f"there is no store {store}: no such file; make one with `qwit migrate`, or leave --store out"
        )


def _list(output: Output) -> None:
    from qwit_durable.bench.scenarios import SCENARIOS

    if output.is_json:
        output.json({name: scenario.about for name, scenario in SCENARIOS.items()})
        return
    rows = [
        (name, scenario.about, " and ".join(sorted(scenario.needs))) for name, scenario in SCENARIOS.items()
    ]
    output.table(("scenario", "about", "needs"), rows)


def save(report: Report, *, json_to: Path | None, chart_to: Path | None) -> None:
    """Write what came out into files."""
    from qwit_durable.bench.charts import chart

    if json_to is not None:
        json_to.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    if chart_to is not None:
        chart_to.write_text(chart(report), encoding="utf-8")


def show(output: Output, report: Report) -> None:
    """Write what came out as tables."""
    output.line(", ".join(f"{name} {value}" for name, value in report.conditions.items()))
    output.line()
    output.table(("scenario", "figure", "median", "least", "greatest"), list(report.figures()))
    ratios = list(report.ratios())
    if ratios:
        output.line()
        output.table(("scenario", "ratio", "", "least", "greatest", "aim", "holds"), ratios)
        output.line()
        output.line(report.verdict)
    for name, why in report.skipped.items():
        output.say(f"{name}: not measured, {why}")
