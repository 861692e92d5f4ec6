"""Saved histories: whether today's code fits runs of yesterday, told by a test.

Save the history of a run of each kind that matters, keep it with the tests, and replay it for ever: a change of a body
that would leave open runs stuck is then found before it is deployed. Replaying runs the body alone, over recorded
values: no step runs, and there is no store.

>>> text = save_history(approval.start(order))
>>> found = replay(approval, text)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from qwit_durable.client import Handle
from qwit_durable.client.saved import replay_history, to_history
from qwit_durable.errors import HistoryMismatch
from qwit_durable.language.workflow import WorkflowDefinition
from qwit_durable.registry import Registry, default_registry

__all__ = ["HistoryMismatch", "replay", "save_history"]


def save_history(handle: Handle[Any]) -> str:
    """Give the history of a run, open or ended, as JSON text to be kept in a file.

    It holds arguments and values as the store has them, and no tracebacks. A run's sub-workflows have histories of
    their own.

    Raises:
        RunNotFound: The run is not in the store any more.
    """
    return json.dumps(handle.history().to_saved(), ensure_ascii=False, indent=1) + "\n"


def replay(
    workflow: WorkflowDefinition[..., Any],
    history: str | Path | Mapping[str, Any],
    *,
    registry: Registry | None = None,
) -> None:
    """Run a workflow's body over a saved history and return if it asks for what is recorded, to the end.

    Args:
        workflow: Today's; its name may be another one than the saved.
        history: The text that `save_history` gave, the path of a file with it, or its data.
        registry: Where its steps are known, if not where all are.

    Raises:
        HistoryMismatch: It asks for something else. The message has what is recorded beside it, with file and line.
        ValueError: This is no saved history.
    """
    data = _data(history)
    replay_history(to_history(data), workflow, registry or default_registry)


def _data(history: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    match history:
        case Path():
            return cast("Mapping[str, Any]", json.loads(history.read_text(encoding="utf-8")))
        case str():
            return cast("Mapping[str, Any]", json.loads(history))
        case _:
            return history
