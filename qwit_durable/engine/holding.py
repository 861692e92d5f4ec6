"""What the threads of this process have in hand, by key.

An entry is taken before the store is asked, so that nothing is ever held without being named here, and given back by
the one who took it: a thread whose attempt was recorded without it no longer owns its entry.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Holding"]

K = TypeVar("K")


class Holding(Generic[K]):
    """A set of keys, each with the token of its taker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[K, object] = {}

    def take(self, key: K) -> object | None:
        """Take a key; its token, or None if another thread has it."""
        with self._lock:
            if key in self._taken:
                return None
            token = self._taken[key] = object()
            return token

    def take_over(self, key: K) -> object:
        """Take a key that is this thread's by what the store has answered, whoever was about to ask for it."""
        with self._lock:
            token = self._taken[key] = object()
            return token

    def give_back(self, key: K, token: object) -> None:
        """Give a key back, unless it has passed to another thread."""
        with self._lock:
            if self._taken.get(key) is token:
                del self._taken[key]

    def keys(self) -> frozenset[K]:
        """All keys that are taken."""
        with self._lock:
            return frozenset(self._taken)
