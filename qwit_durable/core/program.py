"""What an interpreter runs: a workflow as the core sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from qwit_durable.core.commands import Branch, When
from qwit_durable.core.unwind import OnUndoFailure

__all__ = ["Program"]


def _no_undo(_: str) -> When | None:
    return None


def _no_restart(_: tuple[Any, ...], __: dict[str, Any]) -> bytes:
    message = "this program can't be restarted"
    raise TypeError(message)


@attrs.frozen(kw_only=True)
class Program:
    """What an interpreter runs.

    Attributes:
        name: The workflow's name, for messages.
        args: The arguments the run was started with, as canonical JSON.
        body: Makes a fresh generator with these arguments.
        encode: Turns the body's value into canonical JSON, or raises `EncodingError`.
        encode_args: Turns the arguments of a restart into canonical JSON, or raises.
        is_child: Whether a parent may yet ask this run to undo what it did.
        on_undo_failure: What follows an undo that gave up.
        parks: Whether a failure waits for a person instead of being unwound.
        undo_when: When the undo of a step of that name is owed: asked where the body can't be. Raises `UnknownName`
            where that can't be told: then nothing is undone by this interpreter.
        limit_bytes: The largest arguments a command may carry, encoded.
    """

    name: str
    args: bytes = b"null"
    body: Callable[[bytes], Branch]
    encode: Callable[[Any], bytes]
    encode_args: Callable[[tuple[Any, ...], dict[str, Any]], bytes] = _no_restart
    is_child: bool = False
    on_undo_failure: OnUndoFailure = "stop"
    parks: bool = False
    undo_when: Callable[[str], When | None] = _no_undo
    limit_bytes: int | None = None
