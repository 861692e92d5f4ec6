"""A block of code in which a context variable has a value.

A class of its own, because each attempt of a step enters several of them: made by `contextlib.contextmanager`, the same
costs four times as much.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Generic, TypeVar

__all__ = ["Within"]

T = TypeVar("T")


class Within(Generic[T]):
    """Gives the variable the value in a `with` block, and its value from before after it."""

    __slots__ = ("_before", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._before: Token[T] = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._before)
