"""Pieces that one thread carries to their end, whatever the others do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from qwit_durable.clock import monotonic
from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.carrying.roster import Pieces
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.writes import Write

__all__ = ["carry_alone"]

_T = TypeVar("_T")


def carry_alone(pieces: Pieces[_T], write: Callable[[Write], Answer], pace: Pace | None = None) -> _T:
    """Carry out each write and make each step at once; what the pieces come to. How quick steps are is taken down."""
    try:
        asked = next(pieces)
        while True:
            if not isinstance(asked, str):
                asked = _written(pieces, asked, write)
                continue
            step, began = asked, monotonic()
            try:
                asked = next(pieces)
            finally:
                if pace is not None:
                    pace.took(step, monotonic() - began)
    except StopIteration as over:
        return cast("_T", over.value)


def _written(pieces: Pieces[_T], asked: Write, write: Callable[[Write], Answer]) -> Write | str:
    try:
        answer = write(asked)
    except BaseException as error:  # noqa: BLE001 - raised in the pieces, and by them
        return pieces.throw(error)
    return pieces.send(answer)
