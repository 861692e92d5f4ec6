"""`module:workflow` and its arguments, as they are typed: found, decoded by the annotations, and checked."""

from __future__ import annotations

import inspect
import json
import sys
from types import ModuleType
from typing import Any, TypeGuard, cast

import click

from qwit_durable.cli.importing import CommandFailed, import_here
from qwit_durable.codec import SignatureCodec
from qwit_durable.errors import EncodingError
from qwit_durable.language import Step, WorkflowDefinition

__all__ = ["arguments", "json_value", "load_workflow", "load_workflows"]

_HINT = "'MODULE:WORKFLOW'"


def load_workflow(target: str) -> WorkflowDefinition[Any, Any]:
    """Import a workflow, looking in the current directory first.

    Raises:
        click.BadParameter: The text does not name one.
        CommandFailed: The module can't be imported, or has no such workflow.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and module_name and name):
        raise click.BadParameter(f"write module:workflow, got {target!r}", param_hint=_HINT)
    module = import_here(module_name)
    known = _workflows(module)
    by_name = {definition.name: definition for definition in known.values()}
    found = known.get(name) or by_name.get(name)
    if found is not None:
        return found
    what = "a step, not a workflow" if isinstance(getattr(module, name, None), Step) else "no workflow"
    raise CommandFailed(
        f"{target} is {what}; workflows of {module_name}: {', '.join(sorted(known)) or 'none'}"
    )


def load_workflows(target: str) -> dict[str, WorkflowDefinition[Any, Any]]:
    """Import `module:workflow`, or all workflows of `module`, by the names under which runs are stored.

    Raises:
        click.BadParameter: The text does not name one.
        CommandFailed: The module can't be imported, or has no such workflow.
    """
    if ":" in target:
        one = load_workflow(target)
        return {one.name: one}
    return {definition.name: definition for definition in _workflows(import_here(target)).values()}


def _workflows(module: ModuleType) -> dict[str, WorkflowDefinition[Any, Any]]:
    return {name: value for name, value in vars(module).items() if _is_workflow(value)}


def _is_workflow(value: object) -> TypeGuard[WorkflowDefinition[Any, Any]]:
    return isinstance(value, WorkflowDefinition)


def json_value(text: str, what: str) -> Any:
    """A JSON value as it was typed; `-` reads it from standard input.

    Raises:
        click.BadParameter: It is no JSON.
    """
    text = sys.stdin.read() if text == "-" else text
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}: {text[:60]}", param_hint=what) from None


def arguments(definition: WorkflowDefinition[Any, Any], text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a run: an object by name, an array by place; decoded as the annotations say.

    Raises:
        click.BadParameter: It is no JSON, or does not fit the workflow.
    """
    value = json_value(text, "'ARGS'")
    if not isinstance(value, (list, dict)):
        raise click.BadParameter(
            f"an object (arguments by name) or an array (by place), got {text[:60]}", param_hint="'ARGS'"
        )
    signature = inspect.signature(definition.fn)
    places: list[object] = list(cast("list[object]", value)) if isinstance(value, list) else []
    names = dict(cast("dict[str, object]", value)) if isinstance(value, dict) else {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY and name in names:
            places.append(names.pop(name))
    try:
        bound = signature.bind(*places, **names)
        return SignatureCodec(definition.fn).decode(json.dumps(bound.arguments).encode())
    except TypeError as error:
        takes = signature.replace(return_annotation=inspect.Signature.empty)
        reason = f"{definition.name}{takes}: " if not isinstance(error, EncodingError) else ""
        raise click.BadParameter(f"{reason}{error}", param_hint="'ARGS'") from None
