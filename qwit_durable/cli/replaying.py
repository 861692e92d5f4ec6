"""`qwit replay`: today's code tried on saved histories, or on the runs that are open, before it is deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from qwit_durable.cli.place import CommandFailed, Place, common
from qwit_durable.cli.target import load_workflows
from qwit_durable.client.saved import SavedHistory, replay_history, to_history
from qwit_durable.core import OPEN
from qwit_durable.errors import HistoryMismatch, RunNotFound
from qwit_durable.registry import default_registry

__all__ = ["replay"]


@click.command()
@click.argument("target", metavar="MODULE[:WORKFLOW]")
@click.argument(
    "files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@common()
def replay(place: Place, target: str, files: tuple[Path, ...]) -> int:
    """Try today's code on saved histories, or on open runs.

    FILE is what `qwit history --saved` wrote. Without any, all open runs of the store whose workflows are in MODULE are
    tried. No step is run, and nothing is changed.
    """
    workflows, output = load_workflows(target), place.output
    found: list[dict[str, Any]] = []
    for saved in _of_files(files) if files else _of_open_runs(place, list(workflows)):
        definition = workflows.get(saved.workflow)
        error: HistoryMismatch | None = None
        if definition is None and len(workflows) == 1:
            (definition,) = workflows.values()  # it was named, perhaps because it has another name now
        if definition is None:
            raise CommandFailed(f"{target} has no workflow {saved.workflow!r}, of which {saved.id} is a run")
        try:
            replay_history(saved, definition, default_registry)
        except HistoryMismatch as mismatch:
            error = mismatch
        position = None if error is None else error.position
        told = {"id": saved.id, "workflow": saved.workflow, "fits": error is None, "position": position}
        found.append({**told, "error": None if error is None else str(error)})
        if not output.is_json:
            output.line(f"{saved.id}: fits" if error is None else f"{saved.id}: {error}")
    if output.is_json:
        output.json(found)
    elif not found:
        output.say("no open run of these workflows")
    return 0 if all(one["fits"] for one in found) else 1


def _of_files(files: tuple[Path, ...]) -> Iterator[SavedHistory]:
    for path in files:
        try:
            yield to_history(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, LookupError, AttributeError) as error:
            raise CommandFailed(f"{path}: {error}") from None


def _of_open_runs(place: Place, names: list[str]) -> Iterator[SavedHistory]:
    durable = place.durable
    for name in names:
        for run in durable.runs(workflow=name, status=sorted(OPEN)):
            try:
                yield to_history(durable.get(run.id).history().to_saved())
            except RunNotFound:
                continue  # removed meanwhile
