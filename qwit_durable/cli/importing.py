"""Importing a user's module by the name that was typed, looking in the current directory first."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from types import ModuleType

import click

__all__ = ["CommandFailed", "import_here"]


class CommandFailed(click.ClickException):
    """A user's mistake, or something that can't be done: told on one line, exit code 1."""


def import_here(name: str) -> ModuleType:
    """Import a module.

    Raises:
        CommandFailed: There is none, or it can't be imported.
    """
    here = os.getcwd()  # noqa: PTH109 - the text that belongs on the path
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CommandFailed(f"there is no module {name!r} in {here} or on Python's path") from None
        raise CommandFailed(_import_failed(name, error)) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise CommandFailed(_import_failed(name, error)) from error


def _import_failed(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}, line {frame.lineno}"
    return f"module {name!r} can't be imported: {type(error).__name__}: {error} ({place})"
