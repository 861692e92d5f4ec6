"""The undo of a step: what it may take, and when it is owed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import Any

import attrs

from qwit_durable.core.commands import Settings, Site, When
from qwit_durable.errors import DefinitionError
from qwit_durable.language.definitions import check_plain, site_of

__all__ = ["UndoDefinition", "check_undo"]

_EXTRAS = ("result", "error")
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@attrs.frozen(kw_only=True)
class UndoDefinition:
    """How a step is undone.

    Attributes:
        fn: The user's function.
        takes: The names of its parameters: parameters of the step, `result` and `error`.
        when: `completed`: owed once the step's success is recorded; `attempted`: owed as soon as an attempt may have
            begun.
        settings: How its attempts are carried out: on the step's queue, with its own retry and timeout.
        is_async: Whether `fn` is an `async def`.
        site: Where it is defined.
    """

    fn: Callable[..., Any]
    takes: tuple[str, ...]
    when: When
    settings: Settings
    is_async: bool
    site: Site


def check_undo(fn: object, step: str, of_step: Iterable[str]) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Refuse a function that can't be called with what is known when a step is undone.

    Returns:
        The function, and the names of its parameters.

    Raises:
        DefinitionError: One of its parameters is neither the step's nor `result` nor `error`.
    """
    if hasattr(fn, "undo_definition"):
        name = getattr(fn, "name", "undo")
        msg = f"the undo of step {step!r} is itself a step: give the plain function\n  right:  {step}.undo({name}.fn)"
        raise DefinitionError(msg)
    undo = check_plain(fn, f"{step}.undo")
    names = list(of_step)
    where = f"the undo of step {step!r} ({site_of(undo)})"
    for extra in _EXTRAS:
        if extra in names:
            msg = (
                f"step {step!r} has a parameter {extra!r}, which in an undo means something else\n"
                f"  way out: give the step's parameter another name"
            )
            raise DefinitionError(msg)
    if inspect.isgeneratorfunction(undo) or inspect.isasyncgenfunction(undo):
        msg = (
            f"{where} is a generator function: an undo is a step of its own, not a body\n"
            f"  way out: return instead of yielding"
        )
        raise DefinitionError(msg)
    for name, parameter in inspect.signature(undo).parameters.items():
        if parameter.kind not in _BY_NAME:
            msg = (
                f"{where} takes {parameter}, but an undo's parameters are passed by name\n"
                f"  it may take: {_choices(names)}"
            )
            raise DefinitionError(msg)
        if name not in names and name not in _EXTRAS:
            msg = (
                f"{where} takes {name!r}, which is neither a parameter of the step nor 'result' or 'error'\n"
                f"  likely cause: the step's value was meant, which is called 'result' here\n"
                f"  it may take: {_choices(names)}"
            )
            raise DefinitionError(msg)
    return undo, tuple(inspect.signature(undo).parameters)


def _choices(names: list[str]) -> str:
    return ", ".join(map(repr, [*names, *_EXTRAS]))
