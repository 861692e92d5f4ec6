"""A run and its sub-workflows as they are shown: rows and trees for people, JSON objects for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree

from qwit_durable.cli.output import styled
from qwit_durable.client import Published, Run
from qwit_durable.client.plain import decoded, plain, shortened
from qwit_durable.client.when import When
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.rows import RunView

__all__ = ["EXPENDABLE_HEADS", "family_json", "family_tree", "run_json", "run_table", "view_json"]

_HEADS = ("id", "workflow", "version", "status", "started", "updated", "attributes", "error")
EXPENDABLE_HEADS = ("version", "started", "attributes", "updated")
_ERROR_CHARS = 120
_CHILDREN_SHOWN = 100


def run_json(run: Run) -> dict[str, Any]:
    """A run as `ls --json` gives it: the fields of `Run`."""
    found: dict[str, Any] = plain(run)
    return found


def view_json(view: RunView, reader: Reader) -> dict[str, Any]:
    """A run with its arguments, what it has published and, once it has ended, its value and what was undone."""
    outcome = view.outcome
    return {
        **run_json(Run.of(view, reader)),
        "args": plain(decoded(view.run.args)),
        "value": None if outcome is None else plain(decoded(outcome.value)),
        "undone": [] if outcome is None else list(outcome.undone),
        "published": plain(Published(reader.published(view.run.id))),
    }


def run_table(runs: Sequence[Run], when: When) -> tuple[Sequence[str], list[list[str | Text]]]:
    """Runs as rows, and the heads above them; lanes are shown where there are any."""
    rows = [_row(run, when) for run in runs]
    if all(run.lane is None for run in runs):
        return _HEADS, rows
    shown = _HEADS.index("status") + 1
    for run, row in zip(runs, rows, strict=True):
        row.insert(shown, run.lane or "")
    return (*_HEADS[:shown], "lane", *_HEADS[shown:]), rows


def _row(run: Run, when: When) -> list[str | Text]:
    error = "" if run.error is None else " ".join(str(run.error.root).split())[:_ERROR_CHARS]
    attributes = " ".join(f"{name}={value}" for name, value in run.attributes.items())
    return [
        run.id,
        run.workflow,
        run.version or "",
        styled(run.status),
        when.at(run.created_at),
        when.distance(run.updated_at),
        attributes,
        error,
    ]


def family_json(reader: Reader, view: RunView) -> dict[str, Any]:
    """A run with its sub-workflows below it; of very many, the first."""
    children = reader.children(view.run.id)
    return {
        **view_json(view, reader),
        "children": [family_json(reader, child) for child in children[:_CHILDREN_SHOWN]],
        "children_total": len(children),
    }


def family_tree(reader: Reader, view: RunView) -> Tree:
    """The same as a tree."""
    tree = Tree(_label(view), guide_style="dim")
    _grow(tree, reader, view)
    return tree


def _grow(tree: Tree, reader: Reader, view: RunView) -> None:
    children = reader.children(view.run.id)
    for child in children[:_CHILDREN_SHOWN]:
        _grow(tree.add(_label(child)), reader, child)
    if len(children) > _CHILDREN_SHOWN:
        tree.add(Text(f"… and {len(children) - _CHILDREN_SHOWN:,} more", style="dim"))


def _label(view: RunView) -> Text:
    run, outcome = view.run, view.outcome
    place = "" if run.parent_position is None else f"{run.parent_position} "
    version = "" if run.version is None else f"{run.version} "
    label = Text.assemble(f"{place}{run.workflow} {version}", styled(view.status), f" {run.key}")
    if run.lane is not None:
        label.append(f" in lane {run.lane!r}", style="dim")
    if outcome is not None and outcome.failure is not None:
        label.append(f" {' '.join(str(outcome.failure.root).split())[:_ERROR_CHARS]}", style="dim")
    elif outcome is not None and outcome.value not in (None, b"null"):
        label.append(f" → {shortened(decoded(outcome.value), _ERROR_CHARS)}", style="dim")
    return label
