"""What `start` and `start_many` take: refused, before anything is encoded or stored, where it is something else."""

from __future__ import annotations

from typing import Any

from qwit_durable.client.handle import Handle
from qwit_durable.core import CallWorkflow
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.language.calls import Call, Uncalled, call_site
from qwit_durable.language.step import Step
from qwit_durable.language.workflow import BoundWorkflow, ToStart, WorkflowDefinition

__all__ = ["refuse_unstartable", "to_starts"]

#: These can be iterated too, and what is in them says nothing.
_NO_RUNS = (Call, Uncalled, str, bytes)


def to_starts(given: Any) -> list[ToStart[Any]]:
    """All that is to be started, in order.

    Raises:
        DefinitionError: It is nothing of the kind; the message shows the right line.
    """
    if issubclass(type(given), _NO_RUNS) or not hasattr(given, "__iter__"):
        msg = f"start_many() at {call_site()} takes runs, got {_shown(given)}\n{_hint(given, alone=True)}"
        raise DefinitionError(msg)
    runs: list[Any] = list(given)
    for index, run in enumerate(runs):
        if not isinstance(run, ToStart):
            msg = f"start_many() at {call_site()}: item {index} is {_shown(run)}\n{_hint(run, alone=False)}"
            raise DefinitionError(msg)
    return runs


def refuse_unstartable(given: object) -> None:
    """Refuse what `start` can't begin.

    Raises:
        DefinitionError: It is no workflow; the message says what to write.
    """
    if isinstance(given, WorkflowDefinition):
        return
    right = "durable.start(checkout, order), or durable.start(checkout.options(...), order)"
    shown, is_step = _shown(given), isinstance(given, Step)
    cause = "a step, which runs in a workflow alone" if is_step else "no workflow"
    msg = f"start() at {call_site()}: {shown} is {cause}\n  right:  {right}"
    raise DefinitionError(msg)


def _shown(given: object) -> str:
    return f"{describe(given)} of type {type(given).__name__}"


def _hint(given: object, *, alone: bool) -> str:
    cause, wrong, right = _mistake(given, type(given))
    if wrong:
        wrong = f"  wrong:  durable.start_many({wrong if alone else f'[{wrong}]'})\n"
    if " for " not in right:
        right = f"[{right}]"
    return f"  likely cause: {cause}\n{wrong}  right:  durable.start_many({right})"


def _mistake(given: Any, kind: type[object]) -> tuple[str, str, str]:
    """The likely cause, what is wrong if that can be told, and what is right."""
    if issubclass(kind, ToStart):
        run = f"{given.definition.name}.to_start(...)"
        return "one run is given without a list", run, run
    if issubclass(kind, WorkflowDefinition):
        return "its arguments are missing", given.name, f"{given.name}.to_start(...)"
    if issubclass(kind, BoundWorkflow):
        bound = f"{given.definition.name}.options(...)"
        return "its arguments are missing", bound, f"{bound}.to_start(...)"
    if issubclass(kind, Call) and isinstance(given.command, CallWorkflow):
        name = given.command.name
        return "it is called, as a body calls a sub-workflow", f"{name}(...)", f"{name}.to_start(...)"
    if issubclass(kind, Handle):
        return "it is started already", "checkout.start(order)", "checkout.to_start(order)"
    many = "checkout.to_start(order) for order in orders"
    if issubclass(kind, (Call, Step)):
        return "a step or a verb, which runs in a workflow alone", "", many
    if given is None:
        return "nothing was returned where runs were meant", "", many
    return "arguments without their workflow", "", many
